"""What the generated texts tell: subjects, and facts of them with ways to tell and to ask.

Every maker takes the random source and whether names are of the held-out ones.
"""

from dataclasses import dataclass

import lexicon as lex


@dataclass
class Fact:
    """Something true of a subject. {S} in a text stands for the subject."""

    sentences: list  # ways to say it
    questions: list  # ways to ask for it; "How many ..." wants the bare number of the answer
    answer: str
    relation: str  # facts of one relation and subject contradict each other

    def answer_to(self, question):
        return self.answer.split(" ")[0] if question.startswith("How many") else self.answer


@dataclass
class Subject:
    told: str            # how a passage calls it: "the bridge of Velmor", "each car"
    asked: list          # how a question may call it
    pronoun: str         # how a following sentence may call it: "it", "the bridge", "he"
    whole: object = None  # the subject it is a part of


def named(phrase, pronoun):
    return Subject(phrase, [phrase], pronoun)


# ---- subjects ------------------------------------------------------------------------------------


def make_subject(rng, held_out, kind=None):
    """A thing, its name sometimes a plain description, as in real texts."""
    groups = {
        "place": lex.PLACES, "machine": lex.MACHINES, "group": lex.GROUPS, "event": lex.EVENTS,
        "dish": lex.DISHES, "animal": lex.ANIMALS, "plant": lex.PLANTS, "part": lex.OBJECTS
    }
    weights = {
        "place": 10, "machine": 6, "group": 3, "event": 3, "dish": 2, "animal": 1, "plant": 1,
        "part": 2
    }
    kind = kind or rng.choices(list(weights), list(weights.values()))[0]
    noun = rng.choice(groups[kind])
    if rng.random() < 0.06:
        noun = lex.common_noun(rng, held_out)
    name = lex.name(rng, held_out)
    if rng.random() < 0.12:
        name += " " + rng.choice(
            ("Hill", "Point", "Road", "Bay", "Street", "Field", "Cross", "Water",
             lex.name(rng, held_out), str(rng.randint(2, 99))))
    shape = rng.random()
    if shape < 0.28:
        phrase = f"the {noun} of {name}"
    elif shape < 0.48:
        phrase = f"the {name} {noun}"
    elif shape < 0.60:
        phrase = f"{name} {noun.capitalize()}"
    elif shape < 0.68:
        phrase = f"the {name} {noun.capitalize()}"
    elif shape < 0.74:
        phrase = f"the {rng.choice(lex.ADJECTIVES)} {noun} of {name}"
    elif shape < 0.80:
        phrase = name
    elif shape < 0.86:
        phrase = f"the {rng.choice(lex.ADJECTIVES)} {noun}"
    elif shape < 0.92:
        phrase = f"the {rng.choice(lex.PLACES + lex.MACHINES)} {noun}"
    elif shape < 0.96:
        phrase = f"the {noun}"
    else:
        phrase = f"{lex.person(rng, held_out)}'s {noun}"
    return named(phrase, rng.choice(("it", "it", f"the {noun}", f"this {noun}")))


def make_person(rng, held_out):
    return named(lex.person(rng, held_out), rng.choice(("he", "she")))


def part_of(rng, whole):
    """A part that its passage calls without naming the whole, as real texts do under a title."""
    noun = rng.choice(lex.OBJECTS + lex.MACHINES + lex.PLACES + lex.ROLES)
    adjective = rng.choice(("", "", rng.choice(lex.ADJECTIVES) + " "))
    told = rng.choice(("the ", "the ", "the ", "each ", "every ", "a ")) + adjective + noun
    definite = "the " + adjective + noun
    asked = [f"{told} of {whole.told}", f"{definite} of {whole.told}", f"{whole.told}'s {noun}",
             f"the {noun} of {whole.told}", f"{definite} at {whole.told}", told]
    return Subject(told, asked, rng.choice(("it", f"the {noun}", f"this {noun}")), whole)


# ---- facts about things --------------------------------------------------------------------------


def extent(rng, h):
    adjective, noun, units = rng.choice(lex.EXTENTS)
    unit = rng.choice(units.split()).replace("~", " ")
    value = f"{lex.number(rng)} {unit}"
    return Fact([
        f"{{S}} is {value} {adjective}", f"the {noun} of {{S}} is {value}",
        f"{{S}} has a {noun} of {value}", f"with a {noun} of {value}, {{S}} is well known",
        f"{{S}} measures {value} in {noun}", f"{{S}} reaches a {noun} of {value}",
        f"{{S}} is {rng.choice(('about', 'exactly', 'only', 'almost'))} {value} {adjective}"
    ], [
        f"How {adjective} is {{S}}?", f"What is the {noun} of {{S}}?",
        f"What {noun} does {{S}} have?", f"Do you know how {adjective} {{S}} is?"
    ], value, adjective)


def parts(rng, h):
    part = rng.choice(lex.PARTS)
    describe = rng.choice(("", "", f"{rng.choice(lex.ADJECTIVES)} "))
    n = lex.count(rng)
    return Fact([
        f"{{S}} has {n} {describe}{part}", f"there are {n} {describe}{part} in {{S}}",
        f"{{S}} contains {n} {describe}{part}", f"{n} {describe}{part} belong to {{S}}",
        f"{{S}} is known for its {n} {describe}{part}", f"{{S}} comes with {n} {describe}{part}",
        f"{{S}} owns {n} {describe}{part}"
    ], [
        f"How many {part} does {{S}} have?", f"How many {describe}{part} are there in {{S}}?",
        f"What number of {part} does {{S}} have?", f"How many {describe}{part} belong to {{S}}?"
    ], n, "parts " + part)


def event_year(rng, h):
    done = rng.choice(lex.BUILD)
    when = lex.date(rng)
    on = "on" if when[0].isdigit() and " " in when else "in"
    who = lex.person(rng, h)
    late = rng.choice(("", "", f" by {who}", f" after {rng.choice(lex.CLAUSE_SUBJECTS)}", " again"))
    return Fact([
        f"{{S}} was {done} {on} {when}{late}", f"{{S}} was {done}{late} {on} {when}",
        f"{on} {when} {{S}} was {done}{late}", f"{on} {when}, {{S}} was {done}{late}",
        f"{{S}}, {done} {on} {when}, is {rng.choice(lex.ADJECTIVES)}"
    ], [
        f"When was {{S}} {done}?",
        f"In which year was {{S}} {done}?" if on == "in" else f"On which day was {{S}} {done}?",
        f"What year was {{S}} {done}?" if on == "in" else f"On what date was {{S}} {done}?",
        f"Since when has {{S}} been {done}?"
    ], when, "when " + done)


def event_person(rng, h):
    done = rng.choice(lex.BUILD)
    who = rng.choice(
        (lex.person(rng,
                    h), lex.person(rng,
                                   h), f"{rng.choice(('the', 'the', 'a'))} {rng.choice(lex.ROLES)}",
         f"the {lex.name(rng, h)} {rng.choice(lex.GROUPS)}"))
    when = rng.choice(("", "", f" in {lex.year(rng)}"))
    return Fact([
        f"{{S}} was {done} by {who}{when}", f"{{S}} was{when} {done} by {who}",
        f"{who} had {{S}} {done}{when}", f"it was {who} by whom {{S}} was {done}{when}"
    ], [(f"Who {done} {{S}}?" if done not in ("drawn", "written", "given",
                                              "stolen") else f"By whom was {{S}} {done}?"),
        f"By whom was {{S}} {done}?", f"Who was {{S}} {done} by?"], who, "who " + done)


def role(rng, h):
    which = rng.choice(lex.ROLES)
    describe = rng.choice(("", "", "", "first ", "last ", "present ", "new ", "former ", "deputy "))
    who = lex.person(rng, h)
    tail = rng.choice(("", "", f", who came in {lex.year(rng)}", f" since {lex.year(rng)}"))
    was = "was" if describe in ("first ", "last ", "former ") else "is"
    return Fact([
        f"the {describe}{which} of {{S}} {was} {who}{tail}",
        f"{who} {was} the {describe}{which} of {{S}}{tail}",
        f"{{S}} has a {describe}{which}, {who}{tail}",
        f"at {{S}} the {describe}{which} {was} {who}{tail}",
        f"the {describe}{which} of {{S}}, {who}, is {rng.choice(lex.ADJECTIVES)}"
    ], [
        f"Who {was} the {describe}{which} of {{S}}?",
        f"What {was} the name of the {describe}{which} of {{S}}?",
        f"What {was} the {describe}{which} of {{S}} called?",
        f"Which person {was} the {describe}{which} of {{S}}?"
    ], who, describe + which)


def leader(rng, h):
    verb, bare = rng.choice(
        (("is led", "lead"), ("is run", "run"), ("is owned", "own"),
         ("is looked after", "look after"), ("is managed", "manage"), ("is kept", "keep"),
         ("is guarded", "guard"), ("is taught", "teach"), ("is made", "make"), ("is paid for",
                                                                                "pay for")))
    who = rng.choice((lex.person(rng, h), lex.person(rng, h), f"the {rng.choice(lex.ROLES)}",
                      f"the {lex.name(rng, h)} {rng.choice(lex.GROUPS)}", "the town", "the state"))
    active = bare.split()[0] + "s" + bare[len(bare.split()[0]):]
    active = active.replace("teachs", "teaches")
    return Fact([f"{{S}} {verb} by {who}", f"{who} {active} {{S}}"], [
        f"Who {active} {{S}}?", f"By whom {verb.split()[0]} {{S}} {verb.split(' ', 1)[1]}?",
        f"Who {verb.split()[0]} {{S}} {verb.split(' ', 1)[1]} by?"
    ], who, verb)


def material(rng, h):
    what = rng.choice(lex.MATERIALS)
    what = rng.choice(
        (what, what, f"{rng.choice(lex.ADJECTIVES)} {what}",
         f"{what} and {rng.choice(lex.MATERIALS)}", f"{rng.choice(lex.COLOURS)} {what}"))
    part = rng.choice(("", "", f"the {rng.choice(lex.OBJECTS)} of "))
    return Fact([
        f"{part}{{S}} is made of {what}", f"{part}{{S}} is of {what}",
        f"{part}{{S}} is built of {what}", f"{part}{{S}} consists of {what}",
        f"the material of {part}{{S}} is {what}"
    ], [
        f"What is {part}{{S}} made of?", f"Of what material is {part}{{S}}?",
        f"Which material is {part}{{S}} made of?", f"What does {part}{{S}} consist of?",
        f"What is {part}{{S}} built of?"
    ], what, "material " + part)


def colour(rng, h):
    what = rng.choice(lex.COLOURS)
    what = rng.choice((what, what, f"{rng.choice(('dark', 'light', 'pale', 'bright'))} {what}",
                       f"{what} and {rng.choice(lex.COLOURS)}"))
    part = rng.choice(("", "", f"the {rng.choice(lex.OBJECTS)} of "))
    return Fact([
        f"{part}{{S}} is painted {what}", f"{part}{{S}} is {what}",
        f"the colour of {part}{{S}} is {what}", f"{part}{{S}} shines {what}",
        f"everybody knows {part}{{S}} by its {what} colour"
    ], [
        f"What colour is {part}{{S}}?", f"What is the colour of {part}{{S}}?",
        f"Which colour does {part}{{S}} have?", f"In what colour is {part}{{S}} painted?"
    ], what, "colour " + part)


def place(rng, h):
    near = rng.choice(lex.PREPOSITIONS)
    where = make_subject(rng, h, rng.choice(("place", "place", "machine"))).told
    spot = f"{near} {where}"
    verb = rng.choice(("stands", "lies", "is", "is kept", "is found", "is held", "takes place",
                       "hangs", "lives", "grows", "is stored", "begins"))
    ask = {
        "stands": "does {S} stand", "lies": "does {S} lie", "takes place": "does {S} take place",
        "hangs": "does {S} hang", "lives": "does {S} live", "grows": "does {S} grow", "begins":
        "does {S} begin"
    }.get(verb, "is {S}" + verb[2:])
    return Fact(
        [f"{{S}} {verb} {spot}", f"you find {{S}} {spot}", f"{spot} {verb} {{S}}"],
        [f"Where {ask}?", "Where is {S}?", "Where can I find {S}?", f"In which place {ask}?"], spot,
        "where")


def price(rng, h):
    cost = f"{lex.number(rng)} {rng.choice(lex.MONEY)}"
    what = rng.choice(
        ("a ticket for {S}", "a visit to {S}", "entry to {S}", "a ride on {S}", "{S}",
         "a child's ticket for {S}", "a day at {S}", "the use of {S}", "a guided tour of {S}",
         f"a {rng.choice(lex.DISHES)} at {{S}}", "a seat in {S}", "the rent of {S}"))
    return Fact([
        f"{what} costs {cost}", f"the price of {what} is {cost}", f"you pay {cost} for {what}",
        f"for {what} one pays {cost}", f"the fee for {what} is {cost}"
    ], [
        f"How much does {what} cost?", f"What does {what} cost?", f"What is the price of {what}?",
        f"How much is {what}?", f"What do you pay for {what}?"
    ], cost, "price " + what)


def hours(rng, h):
    verb = rng.choice(("opens", "closes", "starts", "ends", "leaves", "arrives", "begins", "rings"))
    bare = verb[:-2] if verb == "closes" else verb[:-1]
    bare = {"clos": "close"}.get(bare, bare)
    when = lex.clock(rng)
    day = rng.choice(("", "", "", f" on {rng.choice(lex.WEEKDAYS)}s",
                      f" in {rng.choice(lex.SEASONS)}", " every day"))
    at = "at "
    return Fact([
        f"{{S}} {verb} at {when}{day}", f"{{S}} {verb}{day} at {when}",
        f"at {when}{day} {{S}} {verb}"
    ], [
        f"When does {{S}} {bare}{day}?", f"What time does {{S}} {bare}{day}?",
        f"At what time does {{S}} {bare}{day}?"
    ], when, verb + day + at)


def weekday(rng, h):
    day = rng.choice(
        (rng.choice(lex.WEEKDAYS) + "s", rng.choice(lex.MONTHS), rng.choice(lex.SEASONS),
         f"the {rng.choice(('first', 'second', 'third', 'last'))} "
         f"{rng.choice(lex.WEEKDAYS)} of {rng.choice(lex.MONTHS)}",
         f"{rng.randint(1, 28)} {rng.choice(lex.MONTHS)}"))
    on = "in" if day in lex.MONTHS or day in lex.SEASONS else "on"
    verb, ask = rng.choice((("is closed", "is {S} closed"), ("takes place", "does {S} take place"),
                            ("is held", "is {S} held"), ("is open", "is {S} open"),
                            ("meets", "does {S} meet"), ("is delivered", "is {S} delivered")))
    return Fact(
        [f"{{S}} {verb} {on} {day}", f"{on} {day} {{S}} {verb}", f"{{S}} {verb} only {on} {day}"],
        [f"When {ask}?", f"On which day {ask}?" if on == "on" else f"When in the year {ask}?"], day,
        verb)


def duration(rng, h):
    span = f"{lex.number(rng)} {rng.choice(lex.TIME_UNITS)}"
    what, ask = rng.choice(
        (("a tour of {S} takes", "does a tour of {S} take"), ("{S} lasts", "does {S} last"),
         ("a ride on {S} takes", "does a ride on {S} take"), ("{S} takes", "does {S} take"),
         ("the repair of {S} took", "did the repair of {S} take"), ("the building of {S} lasted",
                                                                    "did the building of {S} last"),
         ("training at {S} lasts",
          "does training at {S} last"), ("{S} is baked for", "is {S} baked"), ("{S} is boiled for",
                                                                               "is {S} boiled"),
         ("{S} rests for", "does {S} rest"), ("{S} is closed for", "is {S} closed"),
         ("{S} runs for", "does {S} run"), ("{S} was empty for", "was {S} empty"),
         ("{S} may be borrowed for", "may {S} be borrowed"), ("{S} keeps for", "does {S} keep")))
    return Fact(
        [f"{what} {span}", f"{what} {rng.choice(('about', 'only', 'exactly', 'at most'))} {span}"],
        [f"How long {ask}?", f"For how long {ask}?", f"How much time {ask}?"], span, what)


def frequency(rng, h):
    done, bare, gerund = rng.choice(lex.CARE)
    often = rng.choice((f"every {lex.count(rng)} {rng.choice(lex.TIME_UNITS[1:6])}", "every day",
                        f"once a {rng.choice(('day', 'week', 'month', 'year'))}",
                        f"twice a {rng.choice(('day', 'week', 'month', 'year'))}",
                        f"every {rng.choice(lex.WEEKDAYS)}", f"every {rng.choice(lex.SEASONS)}",
                        f"{rng.choice(('three', 'four', 'five', 'six'))} times a "
                        f"{rng.choice(('day', 'week', 'month', 'year'))}"))
    part = rng.choice(("", "", f"the {rng.choice(lex.OBJECTS)} of "))
    return Fact([
        f"{part}{{S}} is {done} {often}", f"{often} {part}{{S}} is {done}",
        f"{part}{{S}} must be {done} {often}", f"{part}{{S}} needs {gerund} {often}"
    ], [
        f"How often is {part}{{S}} {done}?", f"How often must {part}{{S}} be {done}?",
        f"When is {part}{{S}} {done}?", f"How frequently is {part}{{S}} {done}?"
    ], often, part + done)


def instrument(rng, h):
    done, bare, gerund = rng.choice(lex.CARE)
    what = rng.choice(lex.TOOLS)
    what = rng.choice(
        (what, what, f"{what} and {rng.choice(lex.TOOLS)}",
         f"a {rng.choice(lex.ADJECTIVES)} {what}", f"{rng.choice(lex.ADJECTIVES)} {what}",
         f"{lex.number(rng)} {rng.choice(lex.HOLD_UNITS[:3])} of {what}"))
    part = rng.choice(("", "", f"the {rng.choice(lex.OBJECTS)} of "))
    return Fact([
        f"{part}{{S}} is {done} with {what}", f"use {what} for {gerund} {part}{{S}}",
        f"{part}{{S}} must be {done} with {what}", f"to {bare} {part}{{S}}, take {what}"
    ], [
        f"What is {part}{{S}} {done} with?", f"With what is {part}{{S}} {done}?",
        f"What is used for {gerund} {part}{{S}}?", f"What do you {bare} {part}{{S}} with?",
        f"What should {part}{{S}} be {done} with?"
    ], what, part + done)


def capacity(rng, h):
    value = f"{lex.number(rng)} {rng.choice(lex.HOLD_UNITS)}"
    verb = rng.choice(("holds", "carries", "uses", "needs", "produces", "takes", "loses", "stores",
                       "delivers", "sells", "moves", "burns", "receives"))
    bare = verb[:-1] if verb != "carries" else "carry"
    when = rng.choice(("", "", "", " a day", " an hour", " a year", " at most", " in winter"))
    unit = value.split(" ", 1)[1]
    return Fact([
        f"{{S}} {verb} {value}{when}", f"{{S}} {verb} up to {value}{when}",
        f"as many as {value} is what {{S}} {verb}{when}"
    ], [
        f"How many {unit} does {{S}} {bare}{when}?", f"How much does {{S}} {bare}{when}?",
        f"What amount does {{S}} {bare}{when}?"
    ], value, verb + when)


def happening(rng):
    return " ".join(rng.choice(x) for x in (lex.CLAUSE_SUBJECTS, lex.CLAUSE_VERBS, lex.OBJECTS))


def reason(rng, h):
    clause = happening(rng)
    clause = rng.choice(
        (clause, clause, f"the {rng.choice(lex.OBJECTS)} is {rng.choice(lex.ADJECTIVES)}",
         f"the {rng.choice(lex.OBJECTS)} was {rng.choice(lex.BUILD)}",
         f"it has {lex.count(rng)} {rng.choice(lex.PARTS)}"))
    state = rng.choice(("is closed", "is forbidden", "was moved", "is empty", "stands still",
                        "was sold", "is covered", "must be locked", "is not used", "was rebuilt",
                        "is famous", "is kept warm", "runs slowly", "was stopped"))
    when = rng.choice(
        ("", "", " in winter", " at night", " in summer", f" on {rng.choice(lex.WEEKDAYS)}s"))
    head = state.split()[0]
    ask = {"stands": "does {S} stand still", "runs": "does {S} run slowly"
           }.get(head,
                 f"{head} {{S}} {state.split(' ', 1)[1]}" if " " in state else f"{head} {{S}}")
    if head == "must":
        ask = "must {S} be locked"
    return Fact([
        f"{{S}} {state}{when} because {clause}", f"because {clause}, {{S}} {state}{when}",
        f"{{S}} {state}{when}, because {clause}", f"{{S}} {state}{when}, for {clause}"
    ], [f"Why {ask}{when}?", f"For what reason {ask}{when}?"], clause, state)


def condition(rng, h):
    clause = happening(rng)
    clause = rng.choice((clause, f"the {rng.choice(lex.OBJECTS)} of {{S}} breaks",
                         f"the {rng.choice(lex.OBJECTS)} of {{S}} leaks", "{S} stops", "{S} fails",
                         "{S} is too hot", "{S} catches fire", "{S} is late", "{S} does not start"))
    action = rng.choice((f"{rng.choice(lex.ACTIONS)} {rng.choice(lex.OBJECTS)}",
                         f"{rng.choice(lex.ACTIONS)} {rng.choice(lex.OBJECTS)} and "
                         f"{rng.choice(lex.ACTIONS)} {rng.choice(lex.OBJECTS)}",
                         f"call {lex.person(rng, h)}", f"ring the {rng.choice(lex.ROLES)}",
                         f"wait {lex.number(rng)} {rng.choice(lex.TIME_UNITS[:4])}"))
    return Fact(
        [f"if {clause}, {action}", f"when {clause}, {action}",
         f"should {clause} happen, {action}"][:2 if "{S}" in clause else 1], [
             f"What should I do if {clause}?", f"What must be done when {clause}?",
             f"What do you do if {clause}?", f"What happens if {clause}?"
         ], action, clause)


def calling(rng, h):
    other = rng.choice(
        (lex.name(rng, h), f"the {lex.name(rng, h)}",
         f"the {rng.choice(lex.ADJECTIVES)} {rng.choice(lex.ANIMALS)}",
         f"{rng.choice(lex.ADJECTIVES).capitalize()} {rng.choice(lex.ANIMALS).capitalize()}"))
    who = rng.choice(("", "", f" by {rng.choice(lex.PEOPLE)}"))
    return Fact([
        f"{{S}} is called {other}{who}", f"{{S}} is also known as {other}",
        f"{{S}} bears the name {other}", f"the name of {{S}} is {other}"
    ], [
        f"What is {{S}} called{who}?", "What is the name of {S}?", "What name does {S} have?",
        "By what name is {S} known?"
    ], other, "called")


def namesake(rng, h):
    who = rng.choice(
        (lex.person(rng, h), f"the {rng.choice(lex.ANIMALS)}", f"the {rng.choice(lex.ROLES)}"))
    return Fact([f"{{S}} is named after {who}", f"{{S}} takes its name from {who}"],
                ["After whom is {S} named?", "Who is {S} named after?", "What is {S} named after?"],
                who, "namesake")


def rule(rng, h):
    who = rng.choice(lex.PEOPLE)
    number = rng.choice((f"{lex.count(rng)} {rng.choice(lex.THINGS)}",
                         f"{lex.count(rng)} {rng.choice(lex.OBJECTS)}s"))
    things = number.split(" ", 1)[1]
    verb = rng.choice(("bring", "borrow", "keep", "take", "sell", "carry", "catch", "use"))
    return Fact([
        f"{who} may {verb} {number} at {{S}}", f"at {{S}} {who} may {verb} at most {number}",
        f"at {{S}} {who} may {verb} up to {number}"
    ], [
        f"How many {things} may {who} {verb} at {{S}}?",
        f"How many {things} are {who} allowed to {verb} at {{S}}?"
    ], number, verb + things)


def banned(rng, h):
    what = rng.choice(lex.THINGS)
    return Fact([
        f"{what} are forbidden at {{S}}", f"at {{S}} {what} are not allowed",
        f"{{S}} does not admit {what}", f"nobody may bring {what} to {{S}}"
    ], [
        "What is forbidden at {S}?", "What is not allowed at {S}?", "What may nobody bring to {S}?"
    ], what, "banned")


def content(rng, h):
    many = rng.random() < 0.5
    items = [rng.choice(lex.TOOLS + lex.DISHES + lex.PLANTS + lex.ANIMALS) for _ in range(2)]
    what = (f"{items[0]} and {items[1]}" if many else rng.choice(
        (items[0], f"{rng.choice(lex.ADJECTIVES)} {items[0]}",
         f"{rng.choice(lex.COLOURS)} {items[0]}")))
    verb, ask = rng.choice(
        (("is filled with", "is {S} filled with"), ("is famous for its", "is {S} famous for"),
         ("eats", "does {S} eat"), ("is served with", "is {S} served with"),
         ("is fed with", "is {S} fed with"), ("sells", "does {S} sell"), ("needs", "does {S} need"),
         ("is covered with", "is {S} covered with"), ("shows", "does {S} show"),
         ("is used for", "is {S} used for"), ("runs on", "does {S} run on"),
         ("carries", "does {S} carry"), ("smells of", "does {S} smell of"), ("makes",
                                                                             "does {S} make")))
    return Fact([
        f"{{S}} {verb} {what}",
        f"{{S}} mostly {verb} {what}" if not verb.startswith("is") else f"{{S}} {verb} {what}"
    ], [
        f"What {ask}?",
        f"With what {ask[:-5]}?" if ask.endswith(" with") else f"What exactly {ask}?"
    ], what, verb)


def owner(rng, h):
    which = f"the {lex.name(rng, h)} {rng.choice(lex.GROUPS)}"
    group = which.split()[-1]
    return Fact([f"{{S}} belongs to {which}", f"{{S}} is the property of {which}"], [
        f"Which {group} does {{S}} belong to?", "To whom does {S} belong?",
        "Who does {S} belong to?"
    ], which, "belongs")


THING_FACTS = [
    extent, extent, extent, parts, parts, parts, event_year, event_year, event_year, event_person,
    event_person, role, role, leader, material, colour, place, place, price, price, hours, hours,
    weekday, duration, duration, frequency, instrument, capacity, capacity, reason, reason, reason,
    condition, condition, calling, namesake, rule, banned, content, content, owner
]

# ---- facts about people --------------------------------------------------------------------------


def born(rng, h):
    where = lex.name(rng, h)
    return Fact([
        f"{{S}} was born in {where}", f"{{S}} comes from {where}", f"{where} is the home of {{S}}"
    ], ["Where was {S} born?", "Where does {S} come from?", "What is the home of {S}?"], where,
                "born")


def born_year(rng, h):
    when = lex.date(rng)
    verb, ask = rng.choice(
        (("was born", "was {S} born"), ("died", "did {S} die"), ("retired", "did {S} retire"),
         ("arrived", "did {S} arrive"), ("married", "did {S} marry"), ("drowned", "did {S} drown"),
         ("left", "did {S} leave")))
    on = "on" if when[0].isdigit() and " " in when else "in"
    return Fact([f"{{S}} {verb} {on} {when}", f"{on} {when} {{S}} {verb}"],
                [f"When {ask}?", f"In which year {ask}?" if on == "in" else f"On what day {ask}?"],
                when, verb)


def job(rng, h):
    what = rng.choice(lex.ROLES)
    return Fact([
        f"{{S}} is a {what}", f"{{S}} works as a {what}", f"{{S}}, a {what}, is well known",
        f"{{S}} earns a living as a {what}"
    ], [
        "What does {S} do for a living?", "What is the job of {S}?", "What does {S} work as?",
        "What is {S}?"
    ], what, "job")


def employer(rng, h):
    where = make_subject(rng, h, rng.choice(("place", "group"))).told
    verb, ask = rng.choice((("works at", "does {S} work"), ("lives in", "does {S} live"),
                            ("teaches at", "does {S} teach"), ("lives near", "does {S} live"),
                            ("studied at", "did {S} study"), ("sings at", "does {S} sing")))
    spot = verb.split()[1] + " " + where
    return Fact([f"{{S}} {verb} {where}"], [f"Where {ask}?"], spot, verb)


def deed(rng, h):
    past, bare = rng.choice(
        (("discovered", "discover"), ("invented", "invent"), ("found", "find"), ("bought", "buy"),
         ("wrote", "write"), ("built", "build"), ("repaired", "repair"), ("stole", "steal"),
         ("designed", "design"), ("painted", "paint"), ("founded", "found"), ("sold", "sell"),
         ("collects", "collect"), ("keeps", "keep"), ("plays", "play"), ("studies", "study"),
         ("breeds", "breed"), ("saved", "save")))
    what = rng.choice(
        (make_subject(rng, h).told, f"a {rng.choice(lex.ADJECTIVES)} {rng.choice(lex.MACHINES)}",
         rng.choice(lex.ANIMALS) + "s", f"{lex.count(rng)} {rng.choice(lex.PARTS)}"))
    did = "does" if past.endswith("s") else "did"
    when = rng.choice(("", "", f" in {lex.year(rng)}"))
    return Fact([
        f"{{S}} {past} {what}{when}",
        f"{{S}} {past}{when} {what}" if when else f"{{S}} {past} {what}"
    ], [f"What {did} {{S}} {bare}{when}?", f"What was it that {{S}} {past}?"], what, bare)


PERSON_FACTS = [born, born_year, job, employer, deed, deed]
