"""Synthetic reading comprehension: passages of invented facts, questions about them, short answers.

A context is what stands before the question in the daemon's prompt (engine/rag/prompt.cc): numbered
passages. Each of its questions is asked alone; they share the context to save work in training.

    python generate.py --seed 1 --count 3 --passages 3     # look at some
"""

import argparse
from dataclasses import dataclass, field

import documents
import lexicon as lex
from clauses import CLAUSE_FACTS
from facts import (PERSON_FACTS, THING_FACTS, Fact, Subject, happening, make_person, make_subject,
                   named, part_of)
from synonyms import REWORDED_SHARE, STRANGE_SHARE, WORD_SHARE, Rewording, Strange

REFUSAL = "Not in the documents."
HEAD = ("Answer the question from the numbered passages only and cite them like [1]. "
        f"If they do not hold the answer, say: {REFUSAL}\n\n")
OPENERS = ("today ", "as a rule ", "in fact ", "nowadays ", "for years ", "since then ", "usually ")


@dataclass
class Question:
    text: str
    answer: str
    passage: int  # which of the context holds it, from 1; 0: none
    known_wording: bool = True


@dataclass
class Context:
    passages: list  # texts, in order
    questions: list = field(default_factory=list)

    def prompt_head(self):
        return HEAD + "".join(f"[{i}] {text}\n\n" for i, text in enumerate(self.passages, 1))

    def characters(self):
        """Of all that is learned from."""
        return len(self.prompt_head()) + sum(
            len(prompt_tail(q.text)) + len(answer_text(q)) for q in self.questions)


def prompt_tail(question):
    return f"Question: {question}\nAnswer:"


def answer_text(question):
    return f" {question.answer} [{question.passage}]" if question.passage else f" {REFUSAL}"


# ---- texts ---------------------------------------------------------------------------------------


def upper_first(text):
    return text[:1].upper() + text[1:]


def filler(rng, h):
    """A sentence that answers nothing."""
    who, thing = rng.choice(lex.PEOPLE), rng.choice(lex.OBJECTS)
    act = f"{rng.choice(lex.ACTIONS)} {rng.choice(lex.OBJECTS)}"
    return rng.choice(
        (f"{who} come in {rng.choice(lex.SEASONS)}",
         f"many {who} like the {rng.choice(lex.DISHES)}",
         f"the {thing} is {rng.choice(lex.ADJECTIVES)} and {rng.choice(lex.ADJECTIVES)}",
         f"nobody knows who took the {thing}",
         f"{who} talk about the {rng.choice(lex.CLAUSE_SUBJECTS)}",
         f"the {rng.choice(lex.ANIMALS)} and the {rng.choice(lex.ANIMALS)} are seen here",
         f"in {rng.choice(lex.SEASONS)} the {happening(rng)}",
         f"{lex.person(rng, h)} likes the {rng.choice(lex.PLACES)}",
         f"the road to the {rng.choice(lex.PLACES)} is {rng.choice(lex.ADJECTIVES)}",
         f"before {rng.choice(lex.CARE)[2]} the {thing}, {act}",
         f"all {who} must have a {rng.choice(lex.TOOLS)}",
         f"there is a {rng.choice(lex.PLACES)} for {who}"))


@dataclass
class Told:
    """A fact as one passage tells it."""
    fact: Fact
    subject: Subject
    form: int  # which of the fact's sentences


def heading(rng, subject):
    words = rng.choice((subject.told.removeprefix("the "), subject.told, rng.choice(lex.OBJECTS),
                        f"{rng.choice(lex.OBJECTS)} and {rng.choice(lex.PLACES)}"))
    return f"## {upper_first(words)}\n"


def write_passage(rng, held_out, topic, makers, facts, fillers, parts=True):
    """A passage about `topic`, and parts of it if `parts`: its text and what it told."""
    parts = [part_of(rng, topic) for _ in range(rng.choice((0, 0, 1, 1, 2)) if parts else 0)]
    told, sentences, known, last = [], [], set(), None
    while len(told) < facts:
        subject = rng.choice(parts) if parts and rng.random() < 0.7 else topic
        fact = rng.choice(makers)(rng, held_out)
        if (subject.told, fact.relation) in known:
            continue
        known.add((subject.told, fact.relation))
        form = rng.randrange(len(fact.sentences))
        called = subject.told
        if subject is last and rng.random() < 0.35:
            called = subject.pronoun
        last = subject
        text = fact.sentences[form].replace("{S}", called)
        if rng.random() < 0.08:
            text = rng.choice(OPENERS) + text
        if sentences and rng.random() < 0.12:
            sentences[-1] += rng.choice((" and ", "; ", ", and ")) + text
        else:
            sentences.append(text)
        told.append(Told(fact, subject, form))
    text = upper_first(sentences[0]) + "."
    begun = ""
    for sentence in sentences[1:]:
        text += rng.choice((" ", ) * 20 + ("\n\n" + heading(rng, topic), "\n\n", "\n"))
        text += upper_first(sentence) + "."
    for _ in range(fillers):  # never between a pronoun and what it stands for
        if rng.random() < 0.5:
            begun += upper_first(filler(rng, held_out)) + ". "
        else:
            text += " " + upper_first(filler(rng, held_out)) + "."
    text = begun + text
    if rng.random() < 0.12:
        text = heading(rng, topic if not parts else rng.choice(parts)) + text
    if any(t.subject is not topic for t in told) or rng.random() < 0.8:
        title = topic.told if rng.random() < 0.5 else topic.told.removeprefix("the ")
        text = f"{upper_first(title)}: {text}"
    return text, told


def makers_for(people):
    return PERSON_FACTS * 3 + CLAUSE_FACTS if people else THING_FACTS + CLAUSE_FACTS * 3


def wording_is_held_out(fact, form, question_form):
    """Some pairs of a way to tell and a way to ask are never trained on."""
    return len(fact.questions) > 1 and (form * 3 + question_form * 5 + len(fact.relation)) % 11 == 0


def make_context(rng,
                 passages,
                 facts,
                 fillers,
                 questions,
                 held_out=False,
                 refusals=0.25,
                 parts=True,
                 written=0.5):
    """A context of written documents, as the share `written` of all are, or of made-up facts."""
    while True:
        if rng.random() < written:
            context = of_documents(rng, passages, facts, questions, held_out, refusals)
        else:
            context = of_facts(rng, passages, facts, fillers, questions, held_out, refusals, parts)
        if context.questions:
            return context


# ---- written documents ---------------------------------------------------------------------------

_PROPER = ("person", "surname", "place", "name")


def pick_sentences(rng, count, wanted):
    """Numbers of some sentences, in order: neighbours, or what a search for a question leaves."""
    wanted = min(wanted, count)
    if rng.random() < 0.5:
        first = rng.randint(0, count - wanted)
        return list(range(first, first + wanted))
    return sorted(rng.sample(range(count), wanted))


def of_documents(rng, passages, sentences, questions, held_out, refusals):
    """`passages` of up to `sentences` sentences each, up to `questions` about them."""
    pool = documents.of(held_out)
    chosen = rng.sample(pool, passages)
    if passages > 1 and rng.random() < 0.3:
        chosen[0] = chosen[1]  # the same words about something else
    texts, told = [], []
    as_written = held_out  # the evaluation asks for what was written, with held-out names
    strange = Strange(rng, 0.5 if not as_written and rng.random() < STRANGE_SHARE else 0)

    def rewording(question=False):
        plain = as_written or rng.random() >= REWORDED_SHARE
        return Rewording(rng, 0 if plain else WORD_SHARE, question)

    for document in chosen:
        values = document.fill(rng, held_out)
        reword = rewording()

        def tell(template, values=values, reword=reword):
            return reword(strange(documents.filled(template, values)))

        kept = pick_sentences(rng, len(document.sentences), rng.randint(1, sentences))
        text = rng.choice((" ", " ", " ", " ", "\n")).join(
            upper_first(tell(document.sentences[i].text)) for i in kept)
        if rng.random() < 0.85:
            text = tell(document.title) + ": " + text
        texts.append(text)
        told.append((document, values, tell, kept))
    context = Context(texts)
    everything = "\n".join(texts).lower()

    def ask(text, answer, number):
        text = vary(rng, rewording(question=True)(strange(text)))
        if number and answer.lower() not in texts[number - 1].lower():
            return  # a word that begins its sentence is not reworded
        if all(text != other.text for other in context.questions):
            context.questions.append(Question(text, answer, number))

    for _ in range(questions):
        number = rng.randrange(passages)
        document, values, tell, kept = told[number]
        if rng.random() >= refusals:
            asked = [q for i in kept for q in document.sentences[i].questions]
            if asked:
                text, answers = rng.choice(asked)
                ask(documents.filled(text, values), tell(answers[0]), number + 1)
            continue
        # A near miss: the same about another name, or what only the rest of the document tells.
        other = dict(values)
        if rng.random() < 0.4:
            slots = document.slots
            for key in other:
                if slots[key] in _PROPER:
                    other[key] = documents.make(rng, slots[key], held_out)
            asked = [q for i in kept for q in document.sentences[i].questions]
        else:
            asked = [
                q for i, s in enumerate(document.sentences) if i not in kept for q in s.questions
            ]
        if not asked:
            continue
        text, answers = rng.choice(asked)
        same = documents.filled(text, other) == documents.filled(text, values)
        if other != values and same:
            continue  # no name in it
        if other == values and any(
                tell(a).lower() in everything for a in answers):
            continue
        ask(documents.filled(text, other), REFUSAL, 0)
    return context


# ---- made-up facts -------------------------------------------------------------------------------


def of_facts(rng, passages, facts, fillers, questions, held_out, refusals, parts):
    """`passages` of up to `facts` facts and `fillers` other sentences, up to `questions` of them.

    The topics of one context are often alike, so that only a name or an adjective tells them
    apart, and its passages often tell facts of the same relations.
    """
    alike = rng.random() < 0.5
    kind = rng.choice(("place", "machine", "group", "event", None, None)) if alike else None
    people = rng.random() < 0.12
    makers = makers_for(people)
    if alike:
        makers = rng.sample(makers, min(len(makers), 2 + facts))
    topics = []
    while len(topics) < passages:
        topic = make_person(rng, held_out) if people else make_subject(rng, held_out, kind)
        if all(topic.told != other.told for other in topics):
            topics.append(topic)
    texts, told = [], []
    for number, topic in enumerate(topics, 1):
        wanted = rng.randint(max(1, facts // 2), facts)
        text, facts_told = write_passage(rng, held_out, topic, makers, wanted,
                                         rng.randint(0, fillers), parts)
        texts.append(text)
        told += [(number, t) for t in facts_told]
    context = Context(texts)

    def ask(question):
        """None twice: two facts told twice over would be most of what is asked."""
        if all(question.text != other.text for other in context.questions):
            context.questions.append(question)

    for _ in range(questions):
        if rng.random() < refusals:
            ask(unanswerable(rng, held_out, topics, told, people))
            continue
        number, t = rng.choice(told)
        forms = [
            f for f in range(len(t.fact.questions))
            if held_out or not wording_is_held_out(t.fact, t.form, f)
        ]
        form = rng.choice(forms)
        asked = t.fact.questions[form]
        ask(
            Question(vary(rng, asked.replace("{S}", rng.choice(t.subject.asked))),
                     t.fact.answer_to(asked), number,
                     not wording_is_held_out(t.fact, t.form, form)))
    return context


def vary(rng, text):
    if rng.random() < 0.04:
        text = text.rstrip("?")
    return upper_first(text)


def unanswerable(rng, held_out, topics, told, people):
    """A near miss: a told relation of another subject, or another relation of a told subject."""
    _, t = rng.choice(told)
    asked = None
    if rng.random() < 0.5:
        fact = t.fact
        topic = next(x for x in topics if x is t.subject or x is t.subject.whole)
        other = make_person(rng, held_out) if people else make_subject(rng, held_out)
        if rng.random() < 0.6:  # the same words but for the name
            words = topic.told.split()
            names = [i for i, word in enumerate(words) if word[:1].isupper()]
            if names:
                words[names[-1]] = lex.name(rng, held_out)
                other = named(" ".join(words), "it")
        if all(other.told != x.told for x in topics):
            asked = rng.choice(t.subject.asked).replace(topic.told, other.told)
            if asked in t.subject.asked:  # a part asked for without its whole
                asked = other.told
    if asked is None:
        known = {x.fact.relation for _, x in told if x.subject is t.subject}
        while True:
            fact = rng.choice(makers_for(people))(rng, held_out)
            if not any(overlaps(fact.relation, k) for k in known):
                break
        asked = rng.choice(t.subject.asked)
    forms = [q for q in fact.questions if "{S}" in q]
    if not forms:
        return unanswerable(rng, held_out, topics, told, people)
    return Question(vary(rng, rng.choice(forms).replace("{S}", asked)), REFUSAL, 0)


# Relations that may answer one another's questions.
SAME = [{"high", "tall"}, {"wide", "broad"},
        {
            "where", "born", "works at", "lives in", "teaches at", "lives near", "studied at",
            "sings at"
        }, {"belongs", "is owned"}, {"job", "is"}]


def overlaps(a, b):
    return a.split()[-1] == b.split()[-1] or any(a in group and b in group for group in SAME)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--count", type=int, default=2)
    parser.add_argument("--passages", type=int, default=3)
    parser.add_argument("--held-out", action="store_true")
    args = parser.parse_args()
    rng = lex.rng_for("look", args.seed)
    for _ in range(args.count):
        context = make_context(rng, args.passages, 4, 2, 6, args.held_out)
        print(context.prompt_head(), end="")
        for question in context.questions:
            print(prompt_tail(question.text) + answer_text(question))
        print("-" * 80)


if __name__ == "__main__":
    main()
