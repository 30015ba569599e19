"""Facts of no particular kind: somebody did something somewhere, at some time, with something.

Their words are drawn from long lists and need make no sense together; some are invented. Who reads
them learns what a question word asks for, whatever the words around it.
"""

import lexicon as lex
import words
from facts import Fact

_ALL_NOUNS = sorted(
    set(words.NOUNS + lex.OBJECTS + lex.PLACES + lex.MACHINES + lex.TOOLS + lex.ANIMALS +
        lex.PLANTS + lex.DISHES + lex.ROLES + lex.GROUPS + lex.EVENTS))
_ALL_ADJECTIVES = sorted(set(words.ADJECTIVES + lex.ADJECTIVES + lex.COLOURS))
_INVENTED = 0.1
_UNITS = (lex.TIME_UNITS + lex.MONEY + lex.HOLD_UNITS +
          "metres kilometres degrees tonnes percent knots volts sheets turns strokes".split())


def noun(rng, h):
    return lex.common_noun(rng, h) if rng.random() < _INVENTED else rng.choice(_ALL_NOUNS)


def adjective(rng):
    return rng.choice(_ALL_ADJECTIVES)


def verb(rng, h):
    """Bare form, third person, past, participle."""
    return words.verb_forms(
        lex.common_noun(rng, h) if rng.random() < _INVENTED else rng.choice(words.VERBS))[:4]


def thing(rng, h):
    """A noun phrase."""
    word = (adjective(rng) + " " if rng.random() < 0.4 else "") + noun(rng, h)
    kind = rng.random()
    if kind < 0.45:
        return "the " + word
    if kind < 0.6:
        return ("an " if word[0] in "aeiou" else "a ") + word
    if kind < 0.7:
        return words.plural(word)
    if kind < 0.8:
        return f"the {word} of {rng.choice((lex.name(rng, h), 'the ' + noun(rng, h)))}"
    if kind < 0.9:
        return f"{word} and {noun(rng, h)}"
    return f"the {lex.name(rng, h)} {word}"


def somebody(rng, h):
    kind = rng.random()
    if kind < 0.5:
        return lex.person(rng, h)
    if kind < 0.7:
        return f"the {rng.choice(lex.ROLES)}"
    if kind < 0.8:
        return f"the {rng.choice(lex.ROLES)} {lex.person(rng, h)}"
    if kind < 0.9:
        return rng.choice(lex.PEOPLE)
    return f"the {lex.name(rng, h)} {rng.choice(lex.GROUPS)}"


def amount(rng, h):
    return f"{lex.number(rng)} {rng.choice((rng.choice(_UNITS), words.plural(noun(rng, h))))}"


# ---- what else a sentence says: its text, and how to ask for it, or its preposition --------------


def time(rng, h):
    kind = rng.random()
    if kind < 0.3:
        return f"in {lex.year(rng)}", rng.choice(("When", "In which year", "In what year"))
    if kind < 0.5:
        return f"on {rng.randint(1, 28)} {rng.choice(lex.MONTHS)} {lex.year(rng)}", rng.choice(
            ("When", "On what day", "On which date"))
    if kind < 0.6:
        return f"at {lex.clock(rng)}", rng.choice(("When", "At what time"))
    if kind < 0.7:
        return f"on {rng.choice(lex.WEEKDAYS)}s", rng.choice(
            ("When", "On which day", "On what day"))
    if kind < 0.8:
        return f"in {rng.choice(lex.SEASONS + lex.MONTHS)}", "When"
    if kind < 0.9:
        return f"every {rng.choice(lex.TIME_UNITS[:6])[:-1]}", rng.choice(("How often", "When"))
    return (f"{rng.choice(('before', 'after', 'during'))} the {noun(rng, h)}", "When")


def spot(rng, h):
    where = rng.choice(
        (lex.name(rng, h), "the " + noun(rng, h), "the " + noun(rng, h),
         f"the {adjective(rng)} {noun(rng, h)}", f"the {noun(rng, h)} of {lex.name(rng, h)}"))
    return f"{rng.choice(lex.PREPOSITIONS)} {where}", "Where"


def means(rng, h):
    preposition = rng.choice(("with", "with", "with", "for", "from", "by", "over", "under", "into",
                              "without", "through", "against", "out of"))
    return f"{preposition} {thing(rng, h)}", preposition


def cause(rng, h):
    clause = (f"{rng.choice((thing(rng, h), 'it', somebody(rng, h)))} {verb(rng, h)[2]} "
              f"{thing(rng, h)}")
    if rng.random() < 0.3:
        clause = f"{thing(rng, h)} {rng.choice(('is', 'was'))} {adjective(rng)}"
    return f"because {clause}", "Why"


def span(rng, h):
    return f"for {lex.number(rng)} {rng.choice(lex.TIME_UNITS)}", rng.choice(
        ("How long", "For how long"))


_EXTRAS = (time, time, spot, spot, means, means, cause, span)


def bare_answer(text, ask):
    """Without the preposition that the question has or makes superfluous."""
    first, rest = text.split(" ", 1)
    drops = ("because", "for") if ask in ("Why", "How long", "For how long") else (
        "in", "on", "at") if ask[:2] in ("Wh", "In", "On", "At") and ask != "Where" else ()
    return rest if first in drops else text


def clause(rng, h):
    """A sentence about {S} in one of several voices; one of its parts is asked for."""
    bare, third, past, done = verb(rng, h)
    extras = [rng.choice(_EXTRAS)(rng, h) for _ in range(rng.choice((0, 1, 1, 2, 2, 3)))]
    told = {}
    for text, ask in extras:  # one of a kind: two places would both be an answer
        told.setdefault({"How often": "When"}.get(ask, ask.split()[0]), (text, ask))
    extras = list(told.values())
    what = thing(rng, h)
    many = rng.random() < 0.2
    if many:
        what = amount(rng, h)
    voice = rng.choice(
        ("past", "past", "present", "must", "passive", "passive", "passive present", "agent"))
    who = somebody(rng, h)
    owned = rng.choice(("{S}", f"the {noun(rng, h)} of {{S}}"))
    head, asks = {
        "past": (f"{{S}} {past} {what}", ("did {S} " + bare, what)),
        "present": (f"{{S}} {third} {what}", ("does {S} " + bare, what)),
        "must": (f"{{S}} must {bare} {what}", ("must {S} " + bare, what)),
        "passive": (f"{owned} was {done}", (f"was {owned} {done}", None)),
        "passive present": (f"{owned} is {done}", (f"is {owned} {done}", None)),
        "agent": (f"{who} {past} {owned}", (None, None)),
    }[voice]
    by = f" by {who}" if voice.startswith("passive") and rng.random() < 0.5 else ""
    parts = [text for text, _ in extras]
    rng.shuffle(parts)
    sentence = head + by + "".join(" " + part for part in parts)
    if parts and rng.random() < 0.2 and not parts[0].startswith("because"):
        sentence = f"{parts[0]} {head}{by}" + "".join(" " + part for part in parts[1:])

    def also(but):
        """Some of what else is told, in a question for something else."""
        return "".join(" " + text for text, ask in extras if ask != but and rng.random() < 0.25)

    choices = []
    asked, wanted = asks
    if asked and wanted and many:
        unit = wanted.split(" ", 1)[1]
        choices.append((wanted, [f"How many {unit} {asked}{also('')}?"]))
    elif asked and wanted:
        choices.append(
            (wanted,
             [f"What {asked}{also('')}?", f"What is it that {head.split(what)[0]}".rstrip() + "?"]))
    if by:
        choices.append((who, [f"Who {past} {owned}{also('')}?", f"By whom {asked}?"]))
    if voice == "agent":
        choices += [(who, [f"Who {past} {owned}{also('')}?"])] * 2
        asked = f"did {who} {bare} {owned}"
        wanted = None
    rest = f" {wanted}" if wanted else ""
    for text, ask in extras:
        if ask in ("with", "for", "from", "by", "over", "under", "into", "without", "through",
                   "against", "out of"):
            answer = text.removeprefix(ask + " ")
            questions = [
                f"What {asked}{rest} {ask}?", f"{ask.capitalize()} what {asked}{rest}{also(ask)}?"
            ]
            if ask == "with":
                questions.append(f"How {asked}{rest}?")
            choices.append((answer, questions))
        else:
            choices.append((bare_answer(text, ask), [f"{ask} {asked}{rest}{also(ask)}?"]))
    if not choices:
        return clause(rng, h)
    answer, questions = rng.choice(choices)
    return Fact([sentence], questions, answer, f"{done} {questions[0].split()[0]}")


def attribute(rng, h):
    """The such-and-such of {S} is this."""
    what = rng.choice(("", adjective(rng) + " ")) + noun(rng, h)
    value = rng.choice((amount, thing, somebody, amount))(rng, h)
    return Fact([
        f"the {what} of {{S}} is {value}", f"{{S}} has {value} as its {what}",
        f"as its {what} {{S}} has {value}", f"{value} is the {what} of {{S}}",
        f"the {what} of {{S}} was {value}"
    ], [
        f"What is the {what} of {{S}}?", f"Which {what} does {{S}} have?",
        f"What was the {what} of {{S}}?"
    ], value, what)


def number_of(rng, h):
    """So many of these do that."""
    bare, _, past, done = verb(rng, h)
    what = words.plural((adjective(rng) + " " if rng.random() < 0.3 else "") + noun(rng, h))
    n = lex.count(rng) if rng.random() < 0.7 else lex.number(rng)
    where = rng.choice(("", " " + spot(rng, h)[0]))
    return Fact(
        *rng.choice((
            ([f"{n} {what} {bare} {{S}}{where}", f"{where[1:]} {n} {what} {bare} {{S}}".lstrip()],
             [f"How many {what} {bare} {{S}}?", f"How many {what} {bare} {{S}}{where}?"]),
            ([f"{n} {what} were {done} at {{S}}{where}",
              f"at {{S}} {n} {what} were {done}{where}"], [
                  f"How many {what} were {done} at {{S}}?",
                  f"How many {what} were {done} at {{S}}{where}?"
              ]),
            ([
                f"{{S}} {past} {n} {what}{where}",
                f"{{S}} and its {noun(rng, h)} {past} {n} {what}{where}"
            ], [f"How many {what} did {{S}} {bare}?", f"How many {what} did {{S}} {bare}{where}?"]),
        )), f"{n} {what}", what)


def threshold(rng, h):
    """From such an amount on."""
    _, _, _, done = verb(rng, h)
    unit = rng.choice(_UNITS)
    value = f"{lex.number(rng)} {unit}"
    word, ask = rng.choice(
        (("after", "After"), ("above", "Above"), ("below", "Below"), ("within", "Within"),
         ("from", "From"), ("at", "At"), ("up to", "Up to")))
    must = rng.choice(("is", "must be", "may not be", "was", "cannot be"))
    first, rest = (must.split(" ", 1) + [""])[:2]
    rest = rest + " " if rest else ""
    measure = rng.choice(("value", "number", "amount", noun(rng, h)))
    return Fact([
        f"{word} {value} {{S}} {must} {done}", f"{{S}} {must} {done} {word} {value}",
        f"{word} a {measure} of {value} {{S}} {must} {done}"
    ], [
        f"{ask} how many {unit} {first} {{S}} {rest}{done}?",
        f"{ask} what {measure} {first} {{S}} {rest}{done}?"
    ], value, f"{word} {done}")


def meaning(rng, h):
    sign = rng.choice(
        (f"{lex.count(rng)} {words.plural(noun(rng, h))}", f"a {adjective(rng)} {noun(rng, h)}"))
    clause_text = rng.choice(
        (thing(rng, h), f"{somebody(rng, h)} {verb(rng, h)[1]} {thing(rng, h)}",
         f"{thing(rng, h)} is {adjective(rng)}", f"{lex.number(rng)} {rng.choice(_UNITS)}"))
    do, s = ("do", "") if sign[0].isdigit() or sign.endswith("s") else ("does", "s")
    return Fact(
        [f"{sign} at {{S}} mean{s} {clause_text}", f"at {{S}} {sign} mean{s} {clause_text}"],
        [f"What {do} {sign} at {{S}} mean?", f"What {do} {sign} mean at {{S}}?"], clause_text, sign)


def permission(rng, h):
    bare = verb(rng, h)[0]
    who, what = rng.choice(lex.PEOPLE), thing(rng, h)
    return Fact(
        [f"only {who} may {bare} {what} of {{S}}", f"{who} alone may {bare} {what} of {{S}}"],
        [f"Who may {bare} {what} of {{S}}?", f"Who alone may {bare} {what} of {{S}}?"], who,
        f"may {bare}")


CLAUSE_FACTS = [clause] * 8 + [
    attribute, attribute, number_of, number_of, threshold, meaning, permission
]
