"""English function words: those that hold sentences together, rather than say what they are about."""

from __future__ import annotations

ARTICLES = "a an the"
PRONOUNS = (
    "i me my mine myself we us our ours ourselves you your yours yourself yourselves he him his himself she her hers "
    "herself it its itself they them their theirs themselves one ones oneself who whom whose which what whoever "
    "whatever whichever this that these those someone somebody something anyone anybody anything everyone everybody "
    "everything nobody nothing none each other another"
)
QUANTIFIERS = "all any both either neither every few many much more most less least some several such enough no same"
PREPOSITIONS = (
    "about above across after against along among around as at before behind below beneath beside besides between "
    "beyond by despite down during except for from in inside into like near of off on onto out outside over past per "
    "since than through throughout till to toward towards under underneath until unto up upon via with within without"
)
CONJUNCTIONS = (
    "and but or nor so yet because although though unless while whereas whether if when whenever where wherever why "
    "how then once coz cuz"
)
AUXILIARIES = (
    "am is are was were be been being do does did doing done have has had having can could may might must shall should "
    "will would ought need dare used let lets"
)
ADVERBS = (
    "not never here there now just too also very quite rather even still again only ever already almost always often "
    "else however therefore thus hence instead anyway maybe perhaps"
)
FILLERS = "um umm uh uhm er erm hm hmm mm oh ah eh yeah yes ok okay well"
CONTRACTIONS = (  # with and without apostrophe, as transcripts write them
    "i'm you're he's she's it's we're they're that's there's here's what's who's where's how's i've you've we've "
    "they've i'd you'd he'd she'd we'd they'd it'd i'll you'll he'll she'll we'll they'll it'll that'll isn't aren't "
    "wasn't weren't don't doesn't didn't haven't hasn't hadn't can't couldn't won't wouldn't shouldn't mustn't "
    "mightn't needn't ain't could've would've should've might've must've let's gonna wanna gotta kinda sorta"
)

FUNCTION_WORDS = frozenset(
    word
    for group in (
        ARTICLES, PRONOUNS, QUANTIFIERS, PREPOSITIONS, CONJUNCTIONS, AUXILIARIES, ADVERBS, FILLERS, CONTRACTIONS,
        CONTRACTIONS.replace("'", ""),
    )
    for word in group.split()
) - {"shell", "hell", "ill", "wed"}  # without an apostrophe these are other words  # fmt: skip
