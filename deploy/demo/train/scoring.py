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


_HEDGE = re.compile(r"^(about|at most|up to|no more than|no higher than|at|in|on|to) ",
                    re.IGNORECASE)


def accepted(question, answer):
    """What is as good an answer as the one that is written down: a number without its unit where
    the question names the unit, and what follows a preposition or the words of a limit."""
    answers = [answer]
    if re.search(r"how many", question, re.IGNORECASE):
        answers.append(_HEDGE.sub("", answer).split()[0])
    answers.append(_HEDGE.sub("", answer))
    return answers


def f1(answer, expected):
    got, wanted = normalised(answer).split(), normalised(expected).split()
    common = sum((Counter(got) & Counter(wanted)).values())
    return 2 * common / (len(got) + len(wanted)) if common else 0.0
