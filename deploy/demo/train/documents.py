"""Documents as people write them, with slots for what may change: the folder `documents` in memory.

A file holds documents, each a title, sentences and, under each, the questions it answers:

    # The {kind:tram|bus} to {place:place}
    The {kind} leaves {stop:place} at {t:time}, except on {off:weekday}s, when nobody drives.
    ? When does the {kind} leave {stop} = {t}
    ? On which day does the {kind} to {place} not run = {off}s

`{key:type}` makes up a word, once per document, and `{key}` repeats it. A type is the name of a
maker below, `A-B` (a number), `A.d-B.d` (one with a decimal), or alternatives between bars. The
first answer is the one to learn. Blank lines and lines that begin with `//` are for the reader.

    python documents.py FILE...        # checks them and tells what they hold
"""

import functools
import glob
import os
import re
import sys
import zlib
from dataclasses import dataclass, field

import lexicon as lex

FOLDER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "documents")
_SLOT = re.compile(r"\{([a-z0-9]+)(?::([^{}]+))?\}")
CHECKED_FILLS = 12  # so that most alternatives have been seen
_NUMBERS = re.compile(r"(\d+)(?:\.(\d+))?-(\d+)(?:\.(\d+))?")


def _number(rng, low, high, decimals):
    # Half of the ranges that people write span powers of ten: each power is as likely.
    value = low * (high / low)**rng.random() if low > 0 and high > 20 * low else rng.uniform(
        low, high)
    if decimals:
        return f"{value:,.{decimals}f}"
    low, high = int(low), int(high)
    value = min(high, max(low, round(value)))
    if value >= 100 and rng.random() < 0.4:
        value = min(high, max(low, round(value, -1)))
    return f"{value:,}" if value >= 1000 else str(value)


def _date(rng, held_out):
    return f"{rng.randint(1, 28)} {rng.choice(lex.MONTHS)} {lex.year(rng)}"


def _time(rng, held_out):
    minute = rng.choice(("00", "00", "15", "30", "45", "10", "40", "05", "50", "20", "55"))
    return f"{rng.randint(5, 23):02d}:{minute}"


def _place(rng, held_out):
    one = lex.name(rng, held_out)
    return one if rng.random() < 0.7 else one + " " + rng.choice(
        "Bridge Hill Bay Green Cross Head Vale Mills Moor Sands Cove Wood Rock Haven End".split())


def _code(rng, held_out):
    letters = "".join(rng.choice("ABCDEFGHKLMNPRSTVWXZ") for _ in range(rng.randint(1, 2)))
    return letters + rng.choice(("", "-", " ")) + str(rng.randint(1, 990))


MAKERS = {
    "person":
    lex.person,
    "first":
    lambda rng, h: rng.choice(lex.FIRST),
    "surname":
    lex.name,
    "place":
    _place,
    "name":
    lex.name,
    "word":
    lex.common_noun,
    "year":
    lambda rng, h: lex.year(rng),
    "date":
    _date,
    "day":
    lambda rng, h: f"{rng.randint(1, 28)} {rng.choice(lex.MONTHS)}",
    "weekday":
    lambda rng, h: rng.choice(lex.WEEKDAYS),
    "month":
    lambda rng, h: rng.choice(lex.MONTHS),
    "season":
    lambda rng, h: rng.choice(lex.SEASONS),
    "colour":
    lambda rng, h: rng.choice(lex.COLOURS),
    "material":
    lambda rng, h: rng.choice(lex.MATERIALS),
    "time":
    _time,
    "count":
    lambda rng, h: rng.choice("two three four five six seven eight nine ten eleven twelve".split()),
    "code":
    _code,
}


@dataclass
class Sentence:
    text: str
    questions: list = field(default_factory=list)  # (question, [answers])


@dataclass
class Document:
    title: str
    sentences: list = field(default_factory=list)
    where: str = ""  # file and line

    @functools.cached_property
    def slots(self):
        """Types by key."""
        found = {}
        for text in [self.title] + [
                t for s in self.sentences
                for t in [s.text] + [part for q, answers in s.questions for part in [q] + answers]
        ]:
            for key, kind in _SLOT.findall(text):
                if kind and found.get(key, kind) != kind:
                    raise ValueError(f"{self.where}: {{{key}}} is both {found[key]} and {kind}")
                if kind:
                    found[key] = kind
        return found

    def fill(self, rng, held_out=False):
        """A value for each slot, all different where they are of one type."""
        values, taken = {}, set()
        for key, kind in self.slots.items():
            for _ in range(20):
                value = make(rng, kind, held_out)
                if (kind, value) not in taken:
                    break
            taken.add((kind, value))
            values[key] = value
        return values


def make(rng, kind, held_out):
    if "|" in kind:
        return rng.choice(kind.split("|"))
    numbers = _NUMBERS.fullmatch(kind)
    if numbers:
        low, low_part, high, high_part = numbers.groups()
        return _number(rng, float(f"{low}.{low_part or 0}"), float(f"{high}.{high_part or 0}"),
                       len(low_part or ""))
    return MAKERS[kind](rng, held_out)


def filled(text, values):
    return _SLOT.sub(lambda match: values[match[1]], text)


def read(path):
    documents = []
    with open(path, encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            line, where = line.strip(), f"{os.path.basename(path)}:{number}"
            if not line or line.startswith("//"):
                continue
            if line.startswith("# "):
                documents.append(Document(line[2:], where=where))
            elif not documents:
                raise ValueError(f"{where}: no title before it")
            elif line.startswith("? "):
                question, equals, answers = line[2:].rpartition(" = ")
                if not equals or not documents[-1].sentences:
                    raise ValueError(f"{where}: not `? question = answer` under a sentence")
                documents[-1].sentences[-1].questions.append(
                    (question.rstrip("?") + "?", re.split(r" \| (?![^{]*\})", answers)))
            else:
                documents[-1].sentences.append(Sentence(line))
    return documents


def check(document):
    """ValueError: what is wrong with it."""
    slots = document.slots
    for key, kind in slots.items():
        if kind not in MAKERS and "|" not in kind and not _NUMBERS.fullmatch(kind):
            raise ValueError(f"{document.where}: {{{key}:{kind}}}: no such type")
    for text in [document.title] + [s.text for s in document.sentences]:
        for key, _ in _SLOT.findall(text):
            if key not in slots:
                raise ValueError(f"{document.where}: {{{key}}} in \"{text}\" is defined nowhere")
    for seed in range(CHECKED_FILLS):
        values = document.fill(lex.rng_for("check", document.where, seed))
        for sentence in document.sentences:
            check_answers(document, sentence, values)


def check_answers(document, sentence, values):
    text = filled(sentence.text, values).lower()
    for question, answers in sentence.questions:
        for answer in answers:
            try:
                answer = filled(answer, values)
                filled(question, values)
            except KeyError as error:
                raise ValueError(f"{document.where}: \"{question}\": no slot {error}") from None
            if not re.search(r"(?<!\w)" + re.escape(answer.lower()) + r"(?!\w)", text):
                raise ValueError(f"{document.where}: \"{answer}\" is not in \"{sentence.text}\"")


@functools.cache
def of(held_out):
    """All documents that the evaluation keeps for itself, one in twelve, or all others."""
    return [
        d for path in sorted(glob.glob(os.path.join(FOLDER, "*.txt"))) for d in read(path)
        if (zlib.crc32(d.title.encode()) % 12 == 0) == held_out
    ]


def main():
    all_documents = []
    for path in sys.argv[1:]:
        try:
            for document in read(path):
                check(document)
                all_documents.append(document)
        except ValueError as error:
            raise SystemExit(f"{error}") from None
    sentences = [s for d in all_documents for s in d.sentences]
    print(f"{len(all_documents)} documents, {len(sentences)} sentences, "
          f"{sum(len(s.questions) for s in sentences)} questions")


if __name__ == "__main__":
    main()
