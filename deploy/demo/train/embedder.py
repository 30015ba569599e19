"""Would a small trained embedding model find passages better than the built-in lexical one? Trains
one on the generated texts and says what it recalls; README.md has the answer.

The model: a trained vector and a trained weight for each of 65,536 buckets of words, summed and
normalised; a question and its passage are drawn together and apart from the other passages of a
batch (InfoNCE: van den Oord et al., 2018). Words begin as random vectors, so that even an unknown
one is matched by itself.

    python embedder.py [--minutes 5] [--seed 1] [--data FOLDER of xquad-en.* and cranfield.*]
"""

import argparse
import json
import os
import re
import time
import zlib

import torch
import torch.nn.functional as F
from torch import nn

import generate
import lexicon

BUCKETS = 65536
WIDTH = 256
BATCH = 128
TEMPERATURE = 0.05
RECALL_AT = (1, 3, 5)
DEMO = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
DEMO_PASSAGE_CHARS = 400
ENDINGS = ("ing", "es", "ed", "s")


def stem(word):
    for ending in ENDINGS:
        if word.endswith(ending) and len(word) > len(ending) + 2:
            return word[:-len(ending)]
    return word


def buckets(text):
    return [zlib.crc32(stem(w).encode()) % BUCKETS for w in re.findall(r"\w+", text.lower())] or [0]


class BagOfWords(nn.Module):

    def __init__(self):
        super().__init__()
        self.vectors = nn.Embedding(BUCKETS, WIDTH)
        self.weights = nn.Embedding(BUCKETS, 1)
        nn.init.normal_(self.vectors.weight, std=WIDTH**-0.5)
        nn.init.zeros_(self.weights.weight)

    def forward(self, texts):
        rows = [buckets(text) for text in texts]
        flat = torch.tensor([b for row in rows for b in row])
        owner = torch.tensor([i for i, row in enumerate(rows) for _ in row])
        words = self.vectors(flat) * F.softplus(self.weights(flat))
        return F.normalize(torch.zeros(len(rows), WIDTH).index_add(0, owner, words), dim=-1)


def train(model, minutes, seed):
    optimizer = torch.optim.AdamW(model.parameters(), 1e-3, weight_decay=0)
    rng = lexicon.rng_for("embedder", seed)
    end = time.monotonic() + 60 * minutes
    steps = 0
    while time.monotonic() < end:
        contexts = [
            generate.make_context(rng, 1, 4, 2, 1, refusals=0, written=0) for _ in range(BATCH)
        ]
        questions = model([c.questions[0].text for c in contexts])
        passages = model([c.passages[0] for c in contexts])
        loss = F.cross_entropy(questions @ passages.T / TEMPERATURE, torch.arange(BATCH))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        steps += 1
    print(f"{steps} steps of {BATCH}, last loss {loss.item():.3f}")


def lines(folder, name):
    with open(os.path.join(folder, name), encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def demo_set():
    """Passages of whole paragraphs, each with its document's first line."""
    passages = []
    for name in sorted(os.listdir(os.path.join(DEMO, "corpus"))):
        with open(os.path.join(DEMO, "corpus", name), encoding="utf-8") as file:
            text = file.read()
        title, passage = text.split("\n", 1)[0].lstrip("# "), ""
        for paragraph in text.split("\n\n"):
            if passage and len(passage) + len(paragraph) > DEMO_PASSAGE_CHARS:
                passages.append((name, title, passage))
                passage = ""
            passage += paragraph + "\n\n"
        passages.append((name, title, passage))
    queries = []
    for question in lines(DEMO, "questions.jsonl"):
        if question["document"] is not None:
            queries.append((question["question"],
                            {i for i, (name, _, text) in enumerate(passages)
                             if name == question["document"] and question["quote"] in text}))
    return [f"{title}\n{text}" for _, title, text in passages], queries


def xquad_set(folder):
    passages = lines(folder, "xquad-en.passages.jsonl")
    index = {p["id"]: i for i, p in enumerate(passages)}
    return ([f"{p['title']}\n{p['text']}" for p in passages],
            [(q["text"], {index[q["doc"]]}) for q in lines(folder, "xquad-en.questions.jsonl")])


def cranfield_set(folder):
    passages = lines(folder, "cranfield.docs.jsonl")
    index = {p["id"]: i for i, p in enumerate(passages)}
    relevant = {}
    with open(os.path.join(folder, "cranfield.qrels.tsv"), encoding="utf-8") as file:
        for query, document, grade in (line.split() for line in file):
            if int(grade) > 0 and document in index:
                relevant.setdefault(query, set()).add(index[document])
    return ([f"{p['title']}\n{p['text']}" for p in passages],
            [(q["text"], relevant[q["id"]]) for q in lines(folder, "cranfield.queries.jsonl")
             if q["id"] in relevant])


def evaluate(model, name, passages, queries):
    with torch.no_grad():
        order = (model([q for q, _ in queries]) @ model(passages).T).argsort(1, descending=True)
    recall = [
        sum(len(wanted & set(row[:k].tolist())) / min(k, len(wanted))
            for (_, wanted), row in zip(queries, order) if wanted) / len(queries) for k in RECALL_AT
    ]
    print(f"{name}: " + ", ".join(f"recall@{k} {r:.3f}" for k, r in zip(RECALL_AT, recall)) +
          f", {len(queries)} questions, {len(passages)} passages")


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--minutes", type=float, default=5)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--data", default="", help="folder of xquad-en.* and cranfield.*")
    args = parser.parse_args()
    torch.manual_seed(args.seed)
    model = BagOfWords()
    sets = [("demo", *demo_set())]
    if args.data:
        sets += [("xquad", *xquad_set(args.data)), ("cranfield", *cranfield_set(args.data))]
    for name, passages, queries in sets:
        evaluate(model, name + ", untrained", passages, queries)
    train(model, args.minutes, args.seed)
    for name, passages, queries in sets:
        evaluate(model, name + ", trained", passages, queries)


if __name__ == "__main__":
    main()
