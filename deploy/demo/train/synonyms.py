"""Other words for the same thing: written documents are reworded with them, passage and question
each in its own way, so that a question need not use its passage's words.

synonyms.txt has one set a line, after its kind: words of which any may stand for any other.

    n boat vessel craft              # nouns; irregular plurals as man/men
    v leave/left depart set~off      # verbs; irregular ones as give/gave/given; ~ is a space
    a big large sizeable             # words of one form
    k vehicle: tram bus lorry        # a kind of noun, for questions, and what is one
"""

import functools
import os
import re

import words

PATH = os.path.join(os.path.dirname(os.path.abspath(__file__)), "synonyms.txt")
REWORDED_SHARE = 0.5  # of passages and of questions
WORD_SHARE = 0.3  # of the words in those that have synonyms
KIND_SHARE = 0.15  # of the words of a question whose kind has a name
STRANGE_SHARE = 0.25  # of contexts in which nouns stand for one another, whatever they mean
_WORD = re.compile(r"(?<![\w'{-])[a-z]+(?:-[a-z]+)*(?![\w'}-])")
_ARTICLE = re.compile(r"\b([Aa]n?) ([a-z]+)")
_BEFORE_PARTICIPLE = set("is are was were be been being has have had not".split())


def noun_forms(text):
    one, _, many = text.partition("/")
    return one, many or words.plural(one)


def verb_forms(text):
    """As words.verb_forms has them; of a phrase the first word is inflected."""
    text, *irregular = text.split("/")
    if irregular:
        irregular[-1], space, rest = irregular[-1].partition(" ")
        bare = text
    else:
        bare, space, rest = text.partition(" ")
    bare, third, past, participle, continuous = words.verb_forms(bare)
    if irregular:
        past, participle = irregular[0], irregular[-1]
    return tuple(form + space + rest for form in (bare, third, past, participle, continuous))


_FORMS = {"n": noun_forms, "v": verb_forms, "a": lambda text: (text, ), "k": noun_forms}


def read(path):
    """For each word that is in one set only and has one meaning there, the other words for it; and
    for members of kinds the kind. The words for a past tense that is a participle too: both."""
    same, kinds, ambiguous, seen = {}, {}, set(), {}
    with open(path, encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            kind, _, rest = line.partition("#")[0].strip().partition(" ")
            if not kind:
                continue
            if kind not in _FORMS or (":" in rest) != (kind == "k") or len(rest.split()) < 2:
                raise ValueError(f"{os.path.basename(path)}:{number}: not a set of words: {line}")
            forms = [_FORMS[kind](w.replace("~", " ")) for w in rest.replace(":", " ").split()]
            if kind == "k":
                for mine in forms[1:]:
                    kinds.update(zip(mine, forms[0]))
                continue
            for mine in forms:
                for place, word in enumerate(mine):
                    others = [f[place] for f in forms if f is not mine]
                    if seen.setdefault(word, number) != number or (
                            word in same and not (kind == "v" and mine[2] == mine[3] == word)):
                        ambiguous.add(word)
                    same.setdefault(word, []).append(others)
    return {word: found for word, found in same.items() if word not in ambiguous}, kinds


@functools.cache
def known():
    return read(PATH)


def replaced(text, choose):
    """The text with choose(word, word before it) for each lower-case word; None keeps it."""
    changed = False

    def one(match):
        nonlocal changed
        before = re.search(r"(\w+)\W*$", text[:match.start()])
        other = choose(match[0], before[1] if before else "")
        changed = changed or other is not None
        return match[0] if other is None else other

    text = _WORD.sub(one, text)
    return _ARTICLE.sub(_agreed, text) if changed else text


def _agreed(match):
    vowel = match[2][0] in "aeio" or (match[2][0] == "u" and not match[2].startswith("uni"))
    if match[2].startswith(("hour", "honest", "one", "eu")):
        vowel = match[2].startswith("ho")
    return match[1][0] + ("n" if vowel else "") + " " + match[2]


class Rewording:
    """A choice of words for one passage, or for one question where `question`; the same word is
    always reworded alike."""

    def __init__(self, rng, share, question=False):
        self.rng, self.share, self.question, self.chosen = rng, share, question, {}

    def __call__(self, text):
        return replaced(text, self._choose) if self.share > 0 else text

    def _choose(self, word, before):
        same, kinds = known()
        if self.question and word in kinds and self.rng.random() < KIND_SHARE:
            return kinds[word]
        if word not in same:
            return None
        if word not in self.chosen:
            self.chosen[word] = (self.rng.randrange(len(same[word][0]))
                                 if self.rng.random() < self.share else None)
        which = self.chosen[word]
        return which if which is None else same[word][before in _BEFORE_PARTICIPLE and
                                                      len(same[word]) > 1][which]


class Strange:
    """Nouns that stand for others, the same in passages and questions: what a text says must be
    looked up in it, however odd."""

    def __init__(self, rng, share):
        self.rng, self.share, self.chosen = rng, share, {}

    def __call__(self, text):
        return replaced(text, self._choose) if self.share > 0 else text

    def _choose(self, word, before):
        one, many = _nouns()
        if word not in one and word not in many:
            return None
        noun = word if word in one else many[word]
        if noun not in self.chosen:
            self.chosen[noun] = (self.rng.choice(words.NOUNS)
                                 if self.rng.random() < self.share else noun)
        other = self.chosen[noun]
        return other if word in one else words.plural(other)


_VERBS_TOO = set("""balance bend board bolt brick cage can cast cause chain change channel comb
course cover cream crew crop cross crowd cut date dawn dress drink drop dust even eye face fine
finger fish fit flag float flow fork form frame ground guard guest hand handle harness head hole
hour journey judge label land last layer lead leaf leather leg letter light line link list load lock
log loop lunch mail man map mark mask may meal mine note notice number nursery oil order own pack
paste patch pen people pick pin place plant plate play plug pocket pole post pot powder press price
prize pulse rain record report ring rock roll root row rule sack sail sample saw scale school screw
seal season seat set shape share shell shelter shift shop show sign signal sink skin slope smoke
snow sound sow spice split spot spread stable stage stain stamp star start station stay stem step
stick stitch stone stop store stream string study supply surface tail tan tap tax team tear term
thumb tie time tip title top touch tow trade train trap tray treat trip turn twist use view visit
voice wait walk wash waste watch water wave way wear weather weight whistle will wind wire witness
woman word work worm wound yard year back light office""".split())


@functools.cache
def _nouns():
    """Nouns that are no verbs, and by their plurals."""
    one = set(words.NOUNS) - _VERBS_TOO
    return one, {words.plural(noun): noun for noun in one}
