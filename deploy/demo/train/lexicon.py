"""The words of the generated texts: plain English lists, and invented names that copy no real one.

Names are made of syllables. One in eight of all possible names is held out for the evaluation, so
that no held-out name can occur in training (tests/deploy/demo/train_recipe_test.py).
"""

import glob
import os
import random
import re
import zlib

import words

_ONSETS = "b d f g h j k l m n p r s t v w z br ch cl dr fl gr kr pl sh sk st th tr".split()
_VOWELS = "a e i o u ai ea o a e".split()
_CODAS = ["", "", "", "", "l", "n", "r", "s", "m", "k", "th", "nd"]


def _phrases(text):
    """Words, and phrases with ~ for their spaces."""
    return [phrase.replace("~", " ") for phrase in text.split()]


def _syllable(rng):
    return rng.choice(_ONSETS) + rng.choice(_VOWELS) + rng.choice(_CODAS)


def name_is_held_out(word):
    """One name in eight is kept for the evaluation; its letters decide."""
    return zlib.crc32(word.lower().encode()) % 8 == 0


def name(rng, held_out=False):
    """One invented name of two or three syllables, no plain word."""
    while True:
        word = "".join(_syllable(rng) for _ in range(rng.choice((2, 2, 2, 2, 3, 3))))
        if name_is_held_out(word) == held_out and word not in _PLAIN:
            return word.capitalize()


def common_noun(rng, held_out=False):
    """A word nobody has heard, lower case: a model must be able to look any word up. Inflected, it
    is no held-out name either."""
    while True:
        word = name(rng, held_out).lower()
        if held_out or not any(name_is_held_out(word + end) for end in ("s", "es", "d", "ed")):
            return word


FIRST = (
    """Ada Bram Cora Dirk Elsa Finn Greta Hugo Ines Jory Karin Lars Mira Nils Olga Piet Rosa Sven
Tilda Ulf Vera Wim Yara Anton Berta Colin Dora Emil Flora Gerd Hanna Ivo Jana Konrad Lena Marek Nora
Otto Paula Rolf Sara Theo Una Viktor Wanda Agnes Boris Clara David Edith Frank Gilda Henry Ida Jonas
Kate Leo Martha Ned Ottilie Peter Ruth Simon Tess Walter Alma Bruno Celia Edgar Fanny Gustav Helen
Isaac Julia Klara Ludwig Maud Norbert Oscar Petra Robert Stella Thomas Ursula Wilma""".split())

COLOURS = (
    """red blue green white black yellow grey brown orange purple silver golden violet pink cream
turquoise crimson scarlet amber ivory""".split())

MATERIALS = _phrases("""oak brick granite steel iron copper glass concrete limestone slate
leather canvas rubber bronze brass pine marble sandstone clay wool linen cotton tin zinc lead
plaster wood stone aluminium birch ash teak cedar bamboo straw felt silk wax paper chalk
basalt timber porcelain bone horn cast~iron stainless~steel beech walnut hemp cork tar""")

MONTHS = """January February March April May June July August September October November
December""".split()
WEEKDAYS = "Monday Tuesday Wednesday Thursday Friday Saturday Sunday".split()
SEASONS = "spring summer autumn winter".split()

ADJECTIVES = """old new small large great little upper lower northern southern eastern western
long round wooden stone royal quiet narrow broad early late main second third first inner
outer central high deep white red green blue black grey golden silver public private hidden
open common holy grand modern ancient heavy light spare annual daily""".split()

# Things of a kind, called by a name ("the Velmor bridge", "the bridge of Velmor").
PLACES = (
    """bridge tower castle church mill harbour lighthouse museum library school hospital station
market theatre palace garden park chapel abbey fort windmill warehouse factory brewery bakery inn
hotel hall observatory quarry mine canal lake river island hill valley forest cave well fountain
square street gate wall dam tunnel pier dock shipyard farm vineyard orchard monastery prison bank
pharmacy cinema stadium bath clinic archive workshop cemetery reservoir waterworks hostel monument
statue tavern barn cottage house station arch canteen school college academy laboratory""".split())
MACHINES = (
    """pump engine crane boiler turbine generator press lathe furnace compressor clock telescope
organ bell lift saw loom kiln winch conveyor mixer drill oven locomotive tram ferry boat ship barge
bus truck tractor balloon glider bicycle printer scanner lamp siren valve filter sensor radio
transmitter camera motor fan heater cooler battery tank rope cable wheel gauge lens mirror anchor
windlass buoy dredger tug cutter""".split())
GROUPS = (
    """guild company choir band club society crew council team orchestra brigade union committee
company association order league board""".split())
EVENTS = """festival fair race feast regatta parade concert market exhibition contest ceremony
conference tournament auction meeting procession ball""".split()
DISHES = (
    """soup bread cake pie stew pudding cheese sauce salad tart biscuit porridge beer cider wine jam
pancake dumpling sausage chowder bun liqueur syrup pastry""".split())
ANIMALS = """seal heron otter gull fox badger owl deer swan goose hare bat crane eagle falcon
beaver lizard frog toad trout eel crab salmon cod herring whale dolphin sparrow swallow raven
duck wolf bear lynx pony goat sheep mule""".split()
PLANTS = (
    """oak birch willow heather orchid fern moss reed thistle lily rose clover poppy iris holly ivy
juniper rowan gorse sedge thyme sage mint larch alder elm lichen""".split())

ROLES = _phrases("""mayor keeper owner director captain teacher baker miller engineer
architect librarian secretary treasurer curator foreman driver mechanic conductor doctor nurse
gardener warden president chairman founder designer inventor painter sculptor pilot cook judge
head editor inspector manager carpenter smith chief~officer harbour~master organist
headmistress vet forester shepherd surveyor leader patron caretaker porter ranger clerk""")

PARTS = """rooms windows doors floors towers steps seats beds arches rows columns bells wheels
blades cylinders valves pipes gears ropes sails masts cabins lamps tables books paintings
members pupils workers cows trees boats horses benches stalls lanes tracks platforms islands
gates chimneys stones springs ladders shelves drawers lockers bunks oars pistons rollers lifts
pumps kilns vats barrels ovens guns cannons clocks keys buttons screens cages nests graves
pillars domes statues fountains stairs bridges tunnels singers players sailors drivers
visitors guests prizes rules chapters pages maps wardens nurses teachers apprentices
volunteers firemen cooks shops pews cells hives panels hooks""".split()

# participles; which thing suits which is not checked: texts need no sense
BUILD = _phrases("""built opened founded restored rebuilt designed closed bought sold
painted repaired enlarged moved discovered invented tested installed destroyed replaced
renovated launched blessed drawn written carved given planned abandoned burnt cast laid
planted named first~mentioned established set~up made found started finished completed
automated stolen donated""")

# adjective of extent, its noun, its units
EXTENTS = [("high", "height", "metres feet centimetres storeys"), ("tall", "height", "metres feet"),
           ("long", "length", "metres kilometres miles feet centimetres millimetres"),
           ("wide", "width", "metres feet centimetres kilometres"),
           ("deep", "depth", "metres feet fathoms"),
           ("thick", "thickness", "millimetres centimetres inches metres"),
           ("heavy", "weight", "tonnes kilograms grams pounds"), ("old", "age", "years months"),
           ("broad", "breadth", "metres feet"), ("far away", "distance", "kilometres miles metres"),
           ("fast", "speed", "knots kilometres~an~hour metres~a~second miles~an~hour"),
           ("large", "area", "hectares square~metres square~kilometres acres"),
           ("hot", "temperature", "degrees"),
           ("strong", "power", "kilowatts watts horsepower megawatts")]

HOLD_UNITS = _phrases("""litres people passengers tonnes cubic~metres barrels kilograms books
bottles spectators gallons cars boats guests patients containers""")

TIME_UNITS = ["minutes", "hours", "days", "weeks", "months", "years", "seconds"]
MONEY = ["crowns", "pounds", "dollars", "pence", "marks", "florins"]

PREPOSITIONS = _phrases("""in on near behind beside under above opposite below
between~the~hills~of north~of south~of east~of west~of at~the~foot~of at~the~end~of
on~the~edge~of next~to across~from inside in~front~of along""")

# what is regularly done: participle, bare form, gerund
CARE = [("cleaned", "clean", "cleaning"), ("oiled", "oil", "oiling"),
        ("checked", "check", "checking"), ("painted", "paint", "painting"),
        ("inspected", "inspect", "inspecting"), ("washed", "wash", "washing"),
        ("emptied", "empty", "emptying"), ("replaced", "replace", "replacing"),
        ("filled", "fill", "filling"), ("sharpened", "sharpen", "sharpening"),
        ("tested", "test", "testing"), ("dried", "dry", "drying"),
        ("greased", "grease", "greasing"), ("wound", "wind", "winding"),
        ("polished", "polish", "polishing"), ("measured", "measure", "measuring"),
        ("heated", "heat", "heating"), ("drained", "drain", "draining"),
        ("adjusted", "adjust", "adjusting"), ("weighed", "weigh", "weighing"),
        ("loaded", "load", "loading"), ("mended", "mend", "mending"), ("sealed", "seal", "sealing"),
        ("renewed", "renew", "renewing"), ("tightened", "tighten", "tightening"),
        ("fed", "feed", "feeding"), ("counted", "count", "counting"), ("locked", "lock", "locking"),
        ("watered", "water", "watering"), ("treated", "treat", "treating"),
        ("turned", "turn", "turning"), ("lit", "light", "lighting")]

TOOLS = (
    """soap brush cloth vinegar oil grease water sand wax hammer spanner file rope spirit lime chalk
salt bucket sponge ladder torch knife needle thread glue paint varnish soda alcohol ash steam tallow
turpentine charcoal borax pumice honey butter flour yeast""".split())

# clauses: subject, verb phrase; used for reasons, conditions and actions
CLAUSE_SUBJECTS = (
    """water wind frost snow ice rain fog sand rust dust salt smoke steam heat oil air mud
pressure current tide storm noise light""".split())
CLAUSE_VERBS = _phrases("""damages~the blocks~the freezes~the covers~the weakens~the
attacks~the breaks~the loosens~the disturbs~the floods~the enters~the cracks~the lifts~the
shakes~the stains~the reaches~the fills~the cools~the dissolves~the hides~the""")
OBJECTS = (
    """valve pipe roof floor wall bearing seal rope lens paint putty glass wire pump wheel chain
bolt spring lid handle lever brake gate hatch deck hull mast sail shaft hinge lock key drum
tank hose cable switch fuse lamp plate screw nut axle belt blade filter grate flue chimney
mortar joint gear piston stone road path bank field nest engine door window cellar""".split())
ACTIONS = _phrases("""close~the open~the turn~the press~the pull~the lift~the lower~the
empty~the replace~the tighten~the loosen~the clean~the check~the remove~the cool~the
switch~off~the switch~on~the disconnect~the drain~the cover~the release~the lock~the oil~the
dry~the""")
THINGS = (
    """dogs bicycles children cameras umbrellas bags boats horses fires ladders knives bottles shoes
hats radios tents cars carts nets candles books drums flags""".split())
PEOPLE = (
    """visitors members pupils guests passengers drivers sailors workers children students owners
tenants readers travellers fishermen patients farmers apprentices residents strangers""".split())


def person(rng, held_out=False):
    surname = name(rng, held_out)
    title = rng.random()
    if title < 0.06:
        return rng.choice(("Dr", "Professor", "Captain", "Sister", "Mrs", "Mr")) + " " + surname
    if title < 0.1:
        return f"{rng.choice(FIRST)} {rng.choice('ABCDEFGHJKLMNPRSTW')}. {surname}"
    return f"{rng.choice(FIRST)} {surname}"


def number(rng):
    scale = rng.random()
    if scale < 0.35:
        return str(rng.randint(2, 30))
    if scale < 0.65:
        return str(rng.randint(20, 400))
    if scale < 0.75:
        return f"{rng.randint(1, 40)}.{rng.randint(1, 9)}"
    if scale < 0.88:
        return f"{rng.randint(1, 99)},{rng.randint(0, 999):03d}"
    if scale < 0.94:
        return rng.choice(
            "two three four five six seven eight nine ten eleven twelve fifteen twenty "
            "thirty forty sixty".split())
    return str(rng.randint(400, 1999))


def count(rng):
    if rng.random() < 0.2:
        return rng.choice("two three four five six seven eight nine ten eleven twelve".split())
    return str(rng.choice((rng.randint(2, 40), rng.randint(2, 400))))


def year(rng):
    return str(rng.randint(1205, 2029))


def date(rng):
    kind = rng.random()
    if kind < 0.45:
        return year(rng)
    if kind < 0.75:
        return f"{rng.randint(1, 28)} {rng.choice(MONTHS)} {year(rng)}"
    if kind < 0.9:
        return f"{rng.choice(MONTHS)} {year(rng)}"
    return f"{rng.randint(1, 28)} {rng.choice(MONTHS)}"


def clock(rng):
    if rng.random() < 0.2:
        return rng.choice(("noon", "midnight", "sunrise", "sunset", "dawn", "dusk"))
    if rng.random() < 0.3:
        return rng.choice(
            "one two three four five six seven eight nine ten eleven".split()) + rng.choice(
                (" o'clock", " in the morning", " in the evening"))
    return f"{rng.randint(0, 23)}:{rng.choice(('00', '15', '30', '45', '10', '40', '05'))}"


def _plain_words():
    """Every word of the lists and the documents, with the endings that a text may give it."""
    plain = set()
    for module in (globals(), vars(words)):
        for value in (v for key, v in module.items() if not key.startswith("__")):
            if not isinstance(value, (list, set, dict)):
                continue
            for item in value.items() if isinstance(value, dict) else value:
                for phrase in item if isinstance(item, tuple) else (item, ):
                    plain.update(phrase.lower().split())
    for path in glob.glob(os.path.join(os.path.dirname(__file__), "documents", "*.txt")):
        with open(path, encoding="utf-8") as file:
            plain.update(re.findall(r"[a-z]+", file.read().lower()))
    return {word + end for word in plain for end in ("", "s", "es", "d", "ed", "ing")}


_PLAIN = _plain_words()


def rng_for(*seed):
    return random.Random("/".join(map(str, seed)))
