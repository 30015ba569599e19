"""How answers are scored. The model answers with the sentence that tells: it is right where that is
one sentence and the expected words stand in it; exact match and F1, as SQuAD has them (Rajpurkar et
al., 2016), are taken against the sentence of the document."""

import re
import string
from collections import Counter

MARK = re.compile(r"\[\d+\]")
_DROPPED = str.maketrans("", "", string.punctuation.replace(".", "").replace(",", ""))


def normalised(text):
    """Lower case; no citation marks, articles, or punctuation but for that inside numbers."""
    text = MARK.sub(" ", text).lower().translate(_DROPPED)
    text = re.sub(r"(?<!\d)[.,]|[.,](?!\d)", " ", text)
    return " ".join(word for word in text.split() if word not in ("a", "an", "the"))


def exact_match(answer, expected):
    return normalised(answer) == normalised(expected)


_SENTENCE_END = re.compile(r"""[.!?]["')]*\s+(?=["'(]?[A-Z0-9])""")


def tells(answer, expected):
    """Whether it is a single sentence, and the expected words stand in it as they are."""
    text = MARK.sub(" ", answer).strip()
    wanted = normalised(expected)
    return (wanted != "" and not _SENTENCE_END.search(text) and
            f" {wanted} " in f" {normalised(text)} ")


def f1(answer, expected):
    got, wanted = normalised(answer).split(), normalised(expected).split()
    common = sum((Counter(got) & Counter(wanted)).values())
    return 2 * common / (len(got) + len(wanted)) if common else 0.0
