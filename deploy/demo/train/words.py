"""Plain English words by kind, for sentences that need make no sense, and their forms."""

VERBS = """accept
admire adopt alter anchor answer arrange attack award bake balance bend bind boil bolt
borrow brew burn bury call carve catalogue chain change chase choose claim clamp clear climb
coat collect combine compare complete compose connect consult control cook copy correct count
cross crush cure cut damage decorate deliver demand describe destroy dig dilute dip discover
divide donate double drag draw dress drop earn empty end enter erect examine exchange expand
explore export extend farm fasten fetch fight finance find fish fit fold follow forbid forge
freeze furnish gather give grade grant grind guard guide hang harvest hatch haul hide hire hoist
import improve inherit insert insure invite iron join judge keep kick label land lay lead leave
lend level light limit line link list load lose mark marry match mend mine mix mount name need
note number obey observe offer order organise own pack pass patch pave pay pick pile plan plant
plough polish post pour praise prepare press print promise propose protect prove publish pull
pump punish push raise reach record reduce refuse remember rename rent report rescue restore
return reward ride roast roll row rule sail salt save scrape screw seal search sell send serve
settle sew share sharpen shear shelter shift show sign sing sink smoke solve sort sow split
spread stack start steer stop store stretch study supply support survey survive swallow tan
teach test throw tie tow trade train translate trap treat trim turn twist unload use visit wash
watch water weave weigh weld widen win wind wrap write""".split()
IRREGULAR = dict(
    pair.split(":") for pair in (
        """bend:bent bind:bound choose:chosen cut:cut dig:dug draw:drawn fight:fought find:found
forbid:forbidden freeze:frozen give:given grind:ground hang:hung hide:hidden keep:kept lay:laid
lead:led leave:left lend:lent light:lit lose:lost pay:paid ride:ridden sell:sold send:sent
sew:sewn shear:shorn show:shown sing:sung sink:sunk sow:sown split:split spread:spread
steal:stolen swallow:swallowed teach:taught throw:thrown weave:woven win:won wind:wound
write:written""".split()))
PAST = dict(
    pair.split(":") for pair in (
        """choose:chose draw:drew forbid:forbade freeze:froze give:gave hide:hid ride:rode sew:sewed
shear:sheared show:showed sing:sang sink:sank sow:sowed throw:threw weave:wove write:wrote""".split(
        )))
DOUBLED = set("""ban beg cut dig dip drag drop fit get hit let plan put ram rip rob run set shut sit
spot stop tan trap trim wed win wrap""".split())

NOUNS = """account
acid album alphabet amount angle apple apron arrow atlas attic autumn axe badge bag
balcony banner barley basin basket bath beacon bead beam bean bed beetle bench berry bill bird
blanket block blossom board bone bonnet bottle bottom bowl box bracket branch brass bread
breakfast breath brick bristle bucket budget buckle bulb bulletin bush butter button cage
calendar candle candlestick canvas card cargo carpet cart case cask catalogue ceiling cell chair
chalk channel chapter charter chart cheek cherry chest choir circle clause clay cliff cloak
cloth cloud coal coast coat coin collar comb corn corner cottage counter couple course cover
cream crew crop cross crowd crown cup cupboard current curtain cushion custom dairy date dawn
debt desk diary dinner dish ditch doll donkey drain drawer dress drink dust duty dyke ear earth
edge egg election elbow ember enamel engraving envelope eye fabric face fee feather fence fibre
fig figure fine finger fish flag flame flask flint flour flower flute foot fork formula
foundation frame fruit fund fur furrow garlic garment gasket glove glow goblet grain grammar
grape gravel grease grip ground guest gum hair hand handle harness harp hat hay hazel head
hearth heart hedge helmet herb hide hinge hive hole hood hoof horn horse hour husk infant ink
insect instrument invoice iron ivory jacket jar jaw jewel journal journey jug juice junction
kettle kitchen knee knot label lace lad lamb landing lane lantern lard laundry lawn layer leaf
leather ledger leg lemon lesson letter licence line linen lining liquid list lizard load loaf
loan log loop lord luggage lunch maid mail mallet manual map marble margin mask mat meadow meal
meat medal medicine melody menu metal method midwife milk mineral mist mitten model monk moon
morning mosaic motto mouth mud muscle mushroom mustard nail napkin neck needle net newspaper
nickel nose note notice number oar oath oats office oil onion opal orange oven owner oyster
package paddle pair palm pan panel parcel parish park part party passage paste pasture patient
pattern pea peach pear pearl pebble pen pencil people pepper permit petal petrol phrase piano
picture piece pig pillow pin pint plaster plate plug plum pocket poem pole pond porch pot potato
powder price prize puddle pulley pulse puppet puzzle rack raft rail rain raisin ramp record reef
register report resin ribbon rice ring river robe rock rod root row rubber rug rule sack saddle
sample sand scale scarf school scissors scythe seal seam seat seed shadow shape shell shield
shirt shore shoulder shovel sieve sign signal silk silver skin skirt sledge slope snail snow
sock soil song sound speech spice spike spoon spot sprout stable stain stair stalk stamp star
station stem step stick stitch stocking stone stool stove straw stream string sugar suit supper
surface sword table tail tale tar tax tea team tent text throat thumb ticket tide tile timber
title toe token tongue tooth towel town toy trade train tray treasure treaty trench trunk tube
tunic turnip twig uniform urn vase vault veil vein velvet verse vessel vest vinegar violin voice
voyage wagon waist wallet walnut ward water wave wax way weather wedding weed weight whistle
wick widow wing winter wire witness wolf woman word work worm wound wreath wrist yard yarn year
yolk""".split()
ADJECTIVES = """able
angry bare best big bitter blind blunt bold brave bright broken busy calm careful cheap
chief clean clear clever cold complete cool crooked curious curved damp dark dead dear deaf
double dry dull dusty eager early easy empty equal even extra fair false famous fat final fine
firm first flat foreign free fresh full general gentle glad good hard heavy honest hot huge
hungry idle ill joint keen kind known large last late lazy left light local lonely long loose
loud low lucky mad main male married mild missing mixed moist narrow native natural near neat
next noisy odd official only orderly pale past patient plain pleasant polite poor pure quick
rare raw ready real rich right ripe rough rural rusty sad safe salty same secret senior separate
severe shallow sharp short shy sick simple single slim slow small smooth soft solid sour special
square steady steep sticky stiff straight strange strict strong sudden sweet swift tall tame
thick thin tidy tight tiny tired top total tough true twin ugly urban usual vast warm weak wet
whole wide wild wise wrong yearly young""".split()


def plural(word):
    if word.endswith("y") and word[-2] not in "aeiou":
        return word[:-1] + "ies"
    return word + ("es" if word.endswith(("s", "x", "z", "ch", "sh")) else "s")


def verb_forms(bare):
    """Bare, third person, past, participle, -ing."""
    doubled = bare + (bare[-1] if bare in DOUBLED else "")
    regular = doubled + "ed"
    if bare.endswith("e"):
        regular = bare + "d"
    elif bare.endswith("y") and bare[-2] not in "aeiou":
        regular = bare[:-1] + "ied"
    participle = IRREGULAR.get(bare, regular)
    silent = bare.endswith("e") and not bare.endswith(("ee", "ye", "oe"))
    return (bare, plural(bare), PAST.get(bare, participle), participle,
            (bare[:-1] if silent else doubled) + "ing")
