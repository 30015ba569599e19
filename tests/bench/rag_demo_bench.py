#!/usr/bin/python3
"""How well the demo answers, end to end through the daemon: the demo corpus is ingested, all of
deploy/demo/questions.jsonl is asked, and the model reads texts about names that its training never
saw. Expected answers are looked at only after the daemon has answered.

With --no-model there are only the figures of retrieval."""

import argparse
import json
import os
import platform
import random
import sys
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(ROOT, "tests", "bench"))
sys.path.insert(0, os.path.join(ROOT, "tests", "support"))
sys.path.insert(0, os.path.join(ROOT, "deploy", "demo", "train"))

import baton_client  # noqa: E402
import generate  # noqa: E402
import lexicon  # noqa: E402
import scoring  # noqa: E402
from bench_report import Report  # noqa: E402

COLLECTION = "demo"
RECALL_AT = (1, 3, 5)
HELD_OUT_PASSAGES = 3
CALL_SECONDS_MAX = 120


def share(hits, of):
    return hits / of if of else 0.0


class Demo:
    def __init__(self, daemon):
        from baton.v1 import inference_pb2, inference_pb2_grpc, rag_pb2, rag_pb2_grpc
        self.rag_pb2, self.inference_pb2 = rag_pb2, inference_pb2
        self.rag = rag_pb2_grpc.RagServiceStub(daemon.channel)
        self.inference = inference_pb2_grpc.InferenceServiceStub(daemon.channel)

    def ingest(self, folder):
        documents = []
        for name in sorted(os.listdir(folder)):
            with open(os.path.join(folder, name), encoding="utf-8") as file:
                text = file.read()
            # As batonctl has it: the first line is the title.
            title = text.split("\n", 1)[0].lstrip("# ")
            documents.append(self.rag_pb2.Document(id=name, title=title, text=text))
        return self.rag.Ingest(
            self.rag_pb2.IngestRequest(collection=COLLECTION, documents=documents),
            timeout=CALL_SECONDS_MAX)

    def ask(self, question, retrieval_only=False):
        """Passages, generated text, and the closing event."""
        passages, text, finished = [], "", None
        for event in self.rag.Ask(
                self.rag_pb2.AskRequest(collection=COLLECTION, question=question, k=max(RECALL_AT),
                                        retrieval_only=retrieval_only),
                timeout=CALL_SECONDS_MAX):
            kind = event.WhichOneof("event")
            if kind == "retrieved":
                passages = list(event.retrieved.passages)
            elif kind == "tokens":
                text += event.tokens.text
            else:
                finished = event.finished
        return passages, text, finished

    def generate(self, prompt):
        text = ""
        for event in self.inference.Generate(
                self.inference_pb2.GenerateRequest(text=prompt, max_tokens=48),
                timeout=CALL_SECONDS_MAX):
            if event.WhichOneof("event") == "tokens":
                text += event.tokens.text
        return text


def holds(passage, question):
    return passage.document_id == question["document"] and question["quote"] in passage.text


def refuses(text):
    return text.strip().startswith(generate.REFUSAL.rstrip("."))


def measure_retrieval(demo, answerable, unanswerable, report):
    from baton.v1 import rag_pb2
    found = dict.fromkeys(RECALL_AT, 0)
    refused = {True: 0, False: 0}  # by rag.answer_score_min alone
    for question in answerable + unanswerable:
        passages, _, finished = demo.ask(question["question"], retrieval_only=True)
        has_answer = question["document"] is not None
        refused[has_answer] += finished.mode == rag_pb2.AskFinished.NOTHING_FOUND
        for k in RECALL_AT:
            found[k] += has_answer and any(holds(p, question) for p in passages[:k])
    for k in RECALL_AT:
        report.add(f"retrieval.recall_at_{k}", share(found[k], len(answerable)),
                   f"of {len(answerable)} questions")
    report.add("retrieval.refused", share(refused[False], len(unanswerable)),
               f"of {len(unanswerable)} without an answer")
    report.add("retrieval.refused_wrongly", share(refused[True], len(answerable)),
               f"of {len(answerable)}")


def measure_answers(demo, answerable, unanswerable, report, show):
    from baton.v1 import rag_pb2
    exact = f1 = cited = cited_right = tokens = steps = guessed = 0
    seconds = 0.0
    for question in answerable:
        began = time.monotonic()
        passages, text, finished = demo.ask(question["question"])
        seconds += time.monotonic() - began
        tokens += finished.generated_tokens
        steps += finished.decode_steps
        guessed += finished.draft_tokens_accepted
        accepted = scoring.accepted(question["question"], question["answer"])
        right = any(scoring.exact_match(text, a) for a in accepted)
        exact += right
        f1 += max(scoring.f1(scoring.MARK.sub(" ", text), a) for a in accepted)
        by_id = {p.id: p for p in passages}
        for citation in finished.citations:
            cited += 1
            cited_right += holds(by_id[citation.passage_id], question)
        if show:
            print(f"{'right' if right else 'WRONG'}: {question['question']}\n    wanted "
                  f"{question['answer']!r}, got {text!r}; {finished.mode_reason}")
    refused = 0
    for question in unanswerable:
        _, text, finished = demo.ask(question["question"])
        right = finished.mode == rag_pb2.AskFinished.NOTHING_FOUND or refuses(text)
        refused += right
        if show:
            print(f"{'right' if right else 'WRONG'}: {question['question']}\n    got {text!r}; "
                  f"{finished.mode_reason}")
    report.add("answers.exact_match", share(exact, len(answerable)), f"of {len(answerable)}")
    report.add("answers.f1", share(f1, len(answerable)), f"of {len(answerable)}")
    report.add("refusals.correct", share(refused, len(unanswerable)), f"of {len(unanswerable)}")
    report.add("citations.precision", share(cited_right, cited), f"of {cited}")
    report.add("answers.tokens_per_s", share(tokens, seconds), "tokens/s, whole Ask")
    report.add("lookup.accepted_per_step", share(guessed, steps),
               f"right guesses, {steps} decode steps")


def measure_held_out(demo, args, report):
    rng = lexicon.rng_for("held-out", args.seed)
    exact = answerable = refused = unanswerable = 0
    for _ in range(args.held_out):
        context = generate.make_context(rng, HELD_OUT_PASSAGES, 4, 2, 1, held_out=True,
                                        refusals=0.3)
        question = context.questions[0]
        text = demo.generate(context.prompt_head() + generate.prompt_tail(question.text))
        if question.passage:
            answerable += 1
            exact += scoring.exact_match(text, question.answer)
        else:
            unanswerable += 1
            refused += refuses(text)
    report.add("heldout.exact_match", share(exact, answerable), f"of {answerable}")
    report.add("heldout.refusals", share(refused, unanswerable), f"of {unanswerable}")


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    baton_client.add_arguments(parser)
    parser.add_argument("--json", default="")
    parser.add_argument("--commit", default="")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--tiny", action="store_true", help="a few questions, to see that it runs")
    parser.add_argument("--model",
                        default=os.path.join(ROOT, "deploy", "demo", "model", "baton-reader.gguf"),
                        help="language model (default: the bundled one)")
    parser.add_argument("--no-model", action="store_const", dest="model", const="",
                        help="retrieval only")
    parser.add_argument("--config", default=os.path.join(ROOT, "deploy", "demo", "batond.yaml"))
    parser.add_argument("--held-out", type=int, default=500, help="generated questions")
    parser.add_argument("--show", action="store_true", help="every question with its answer")
    parser.add_argument("flags", nargs="*", help="further flags of batond, behind --")
    args = parser.parse_args()

    with open(os.path.join(ROOT, "deploy", "demo", "questions.jsonl"), encoding="utf-8") as file:
        questions = [json.loads(line) for line in file]
    if args.tiny:
        questions = random.Random(args.seed).sample(questions, 12)
        args.held_out = 5
    answerable = [q for q in questions if q["document"] is not None]
    unanswerable = [q for q in questions if q["document"] is None]

    flags = ["--config", args.config, *args.flags]
    if args.model:
        flags += ["--model", os.path.abspath(args.model)]
    daemon = baton_client.Daemon(args.batond, flags)
    try:
        baton_client.make_stubs(args, daemon.folder.name)
        demo = Demo(daemon)
        report = Report()
        print(f"seed {args.seed}, model {os.path.basename(args.model) or 'none'}")
        ingested = demo.ingest(os.path.join(ROOT, "deploy", "demo", "corpus"))
        report.add("corpus.passages", ingested.passages, "passages")
        measure_retrieval(demo, answerable, unanswerable, report)
        if args.model:
            measure_answers(demo, answerable, unanswerable, report, args.show)
            measure_held_out(demo, args, report)
        report.write(args)
    finally:
        daemon.close()


if __name__ == "__main__":
    main()
