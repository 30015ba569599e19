"""How answers are scored: exact match and F1 as SQuAD does it (Rajpurkar et al., 2016)."""

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


def f1(answer, expected):
    got, wanted = normalised(answer).split(), normalised(expected).split()
    common = sum((Counter(got) & Counter(wanted)).values())
    return 2 * common / (len(got) + len(wanted)) if common else 0.0
