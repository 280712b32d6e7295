"""Which actions a caption names, by rules over its words.

Two uses: captions of the same action count as hits in R-precision, and rare actions are drawn
more often in training. A name is coarse ("kick"), with the side where mixing the sides up would
be a mistake ("turn_left", "wave_right"). A caption may name several actions, or none.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache

_WORD = re.compile(r"[a-z0-9]+(?:['-][a-z0-9]+)*")
_CLAUSE = re.compile(r"[,;:.]|\b(?:then|and|before|after|while|until|finally|when)\b")

# "the left and right hand" names both hands; it must not be split at its "and".
_BOTH = re.compile(r"\b(?:the\s+)?(?:left and (?:the )?right|right and (?:the )?left)\b")
_BODY_SIDE = re.compile(
    r"\b(left|right)[ -](?:hand|arm|fist|elbow|wrist|leg|foot|knee|forearm|shoulder|side kick|hook"
    r"|jab|punch|kick|heel|toe|hip|thigh|hook|uppercut|palm|knife-hand|one|behind|in front)s?\b"
)

# Actions that one word, or a few words in order, give away. Searched in the whole caption.
_RULES: dict[str, str] = {
    "walk": (
        r"strut\w*|stamp(?:s|ing)|walk\w*|stroll\w*|ambl(?:es?|ing)|strid(?:es?|ing)|strode"
        r"|march\w*|pac(?:es|ing)\b(?! of)|wander\w*|saunter\w*|stalk\w*|prowl\w*|plod\w*"
        r"|trudg\w*|swagger(?:s|ed)?|gait|heads? (?:off|away|straight)|on foot|limp\w*"
        r"|waddl\w*|shuffl\w*|trip along|travels?|advances?|makes? (?:his|her|their) way"
        r"|(?:takes?|took|taking|with|in|makes?|making) (?:\w+[ -]){0,4}(?:steps|strides)"
        r"|(?:steps?|stepping|goes|moves|moving|going|comes|heads"
        r"|heading)(?: \w+){0,2} (?:forward|ahead|along)"
        r"|(?:goes|moves) (?:straight )?(?:on|off)|moves? (?:\w+ ){0,2}diagonally|corner"
        r"|on tiptoe|tiptoes"
    ),
    "run": (
        r"runs?|running|ran|jog\w*|sprint\w*|dash(?:es|ed|ing)?|rush(?:es|ed|ing)?|races?"
        r"|hurr(?:y|ies|ied)|gallop\w*|trots?|at a run|run-up|charges?"
    ),
    "jump": (
        r"jump\w*|leap\w*|bound(?:s|ing)|hops?|hopping|hopped|hopscotch"
        r"|springs? (?:up|forward|off|into|high|across)|skips?|skipping|vaults?|airborne"
        r"|takeoff|lands? on"
    ),
    "kick": r"kick\w*|roundhouse",
    "punch": (
        r"punch\w*|jabs?|uppercut\w*|hook(?:s|ed)? (?:punch|with)|box(?:es|ing)|boxers?"
        r"|strikes?|striking"
        r"|thrusts? (?:the |a |one |both |\w+ )?(?:left |right )?(?:fist|hand)s?|hits?"
        r"|hitting|haymaker|cross punch|left hook|right hook|slaps?|elbow strike|knife-hand"
        r"|blow"
    ),
    "dance": (
        r"danc\w+|toprock|footwork|floor moves|freeze|salsa|ballet|pirouett\w*|arabesque"
        r"|waltz\w*|charleston|twist dance|breakdance\w*|pli[eé]\w*|cabriole|attitude turn"
        r"|grooves?|grooving|jet[eé]s?|moonwalk\w*|indian dance|cha-cha"
        r"|to (?:the )?(?:music|beat)|musical|bounc\w+ to"
    ),
    "sit": r"chair|sits?|sitting|sat|seated|takes? a seat|seat",
    "crouch": (
        r"crouch\w*|squat\w*|duck(?:s|ed|ing)?|hunker\w*|stoop\w*|bent-knee\w*"
        r"|knees (?:deeply )?bent|bends? (?:the |both |his |her |their )?knees"
        r"|sinks? (?:down|low|deep|into)|(?:stays?|keeps?|moves|walks) low"
        r"|low (?:stance|pose|position|crouch)|deep (?:stance|lunge|squat)|dips?"
    ),
    "sneak": r"sneak\w*|creep\w*|crept|tiptoe\w*|stealth\w*|prowl\w*|stalk\w*|quietly",
    "kneel": r"kneel\w*|knelt|on (?:one|both|the (?:left|right)) knees?",
    "crawl": r"crawl\w*|all fours|hands and knees",
    "float": r"float\w*|hover\w*|levitat\w*|treads? water|meditat\w*",
    "shoot": r"pistol|handgun|gun|reloads?|aims?|magazine",
    "climb": (
        r"climb\w*|ladder|clambers?|rungs?|stairs?|stairway|staircase|steps? up (?:on|onto)"
        r"|upstairs|descend\w*|hoists?|pulls? (?:\w+ ){0,2}up (?:on|onto)|scal(?:es|ing)"
    ),
    "hang": (
        r"bars?|hangs? from|hanging (?:from|by|on)|trapeze|playground|monkey|pull-?ups?"
        r"|swings? (?:back and forth )?(?:from|under|along|hand over hand)|hand over hand"
        r"|dangl\w+|brachiat\w+"
    ),
    "stand_up": (
        r"(?:stands?|standing|stood) up"
        r"|(?:gets?|rises?|rising|rose|straightens?|comes?|straightened) (?:\w+ ){0,2}(?:up"
        r"|upright)\b(?! on)"
        r"|rises?|rising|gets? (?:back )?(?:on(?:to)?|to) (?:\w+ )?feet|upright again"
    ),
    "lie": (
        r"lies|lying|lays? down|lie down|on (?:the|their|his|her) (?:back|stomach|belly)\b"
        r"|flat on|prone|supine|sleep\w*"
    ),
    "fall": (
        r"slips?|falls? (?:down|over|to|back|forward|on|flat)|collaps\w+|stumbl\w*"
        r"|trips? (?:over|and)|stagger\w*|topples?|dies|death"
        r"|drops? to (?:the )?(?:ground|floor|knees)|knocked|staggers?"
    ),
    "throw": (
        r"throw(?:s|n|ing)?(?! (?:\w+ ){0,3}(?:punch|jab|kick|hook|uppercut|hand|arm)\w*)"
        r"|threw|toss\w*|pitch(?:es|ing)|hurl\w*|lobs?|shoots?|shooting|casts?|bowls?"
        r"|serves?|flings?"
    ),
    "catch": r"catch\w*|caught|receives?",
    "dribble": r"dribbl\w*|basketball|bounces? (?:a|the) ball",
    "swing": (
        r"golf\w*|bats?|racket|tennis|baseball|club"
        r"|swings? (?:a|the|at) (?:\w+ )?(?:club|bat|racket|ball|axe|hammer|sword)|chops?"
        r"|chopping|axe"
    ),
    "slash": r"sword\w*|slash\w*|swordplay|stabs?|cuts?|blade|katana|spear|knife",
    "fight": (
        r"karat\w*|martial|fight\w*|guard|blocks?|blocking|parr(?:y|ies)|kung|stance"
        r"|spar(?:s|ring)|fencing|self-defen[cs]e|fists"
    ),
    "flip": (
        r"cartwheel\w*|somersault\w*|flips?|handspring\w*|handstand\w*|backflip|acrobat\w*"
        r"|tumbl\w+|round-?off|dive-?roll|forward roll"
        r"|rolls? (?:over|forward|onto|backward\w*|on|to)|roll|upside down"
    ),
    "dive": r"dives?|diving|slides? (?:in|on|along|to)|swims?|swimming",
    "balance": (
        r"balanc\w*|tightrope|beam|on (?:one|a single|the (?:left|right)) (?:leg|foot)"
        r"|one-legged|wobbl\w*"
    ),
    "stretch": (
        r"stretch(?:es|ing)|yoga|warms? up|warm-up|toe touch"
        r"|touches? (?:the |their |his |her )?toes|side bends?"
    ),
    "bow": r"bow|bows|bowed|bowing|curts\w+",
    "lunge": r"lung(?:es?|ing)|straddl\w*|splits?",
    "pick_up": (
        r"picks?|picking|lifts? (?:something|an? (?:object|box)|it) (?:up )?(?:from|off)"
        r"|grabs?|reach(?:es|ing)? down|scoops?|gathers?|collects?"
    ),
    "put_down": (
        r"(?:puts?|sets?|places?) (?:\w+ ){1,3}(?:down|on (?:a|the))(?= on|$| in| at| to)"
    ),
    "reach": (
        r"reach(?:es|ing)?|(?:extends?|moves?) the (?:left|right) hand|stretch(?:es)? out"
        r"|points?|pointing|offers?"
    ),
    "push": r"push(?:es|ing)?|shov(?:es|ing)|presses|pressing",
    "pull": r"pull(?:s|ing)?|drags?|tugs?",
    "carry": r"carr(?:y|ies|ying)",
    "drink": r"drink\w*|sips?|eats?|eating|cup|bottle",
    "wash": (r"wash\w*|wip(?:es|ing)|scrub\w*|sweep(?:s|ing)? the floor|mop\w*|window|polish\w*"),
    "beckon": (
        r"yells?|scratch\w*|torch|angry pose|beckon\w*|calls? (?:\w+ )?over|come here"
        r"|gestur\w+|please-go-ahead|guid(?:e|es|ing)|directs?|traffic|signal\w*|salut\w+"
        r"|shows? (?:\w+ ){0,3}(?:the way|in)|calls|mouth|summons?|ushers?|invit\w+|shrugs?"
        r"|claps?|clapping|applau\w+|talk\w*|speak\w*|nods?|threaten\w*"
    ),
    "look": (
        r"looks? (?:around|over|about|back|up|down|left|right)"
        r"|looking (?:around|over|about|up|down)|peer(?:s|ing)?|scan(?:s|ning)"
    ),
    "sway": (
        r"sway\w*|rock(?:s|ing)?|shifts? (?:\w+ )?weight|shifting (?:\w+ )?weight"
        r"|bob(?:s|bing)?|bounc(?:es|ing)"
    ),
    "backward": (
        r"backwards?|in reverse|back(?:s|ed|ing) (?:up|away|off)|retreat\w*"
        r"|walks? back(?! and forth)|steps? back(?!\w| and forth| onto| into| up| down)"
        r"|moonwalk\w*|reverses?|rearward"
    ),
    "sideways": (
        r"sideways|side-?steps?|side-?stepping|laterally|grapevine|crab\w*|side to side step"
        r"|steps? to the side|facing forward(?:s)?(?: and)? (?:walks?|walked|steps?|moves?)"
        r"|without turning"
        r"|(?:walks?|moves?|steps?|walked|shuffles?) (?:\w+ ){0,2}to the (?:left|right) (?:side"
        r"|sideways)"
    ),
    "circle": (
        r"circles?|circling|circular\w*|loops?|looping|figure[- ](?:of[- ])?eight|figure-8"
        r"|curv(?:es?|ing|ed)|arcs?|arcing|veer\w*|semicircle|ring"
    ),
    "diagonal": r"diagonal\w*|slant\w*|at an angle",
    "stand": (
        r"stand(?:s|ing)? (?:still|in place|quietly|there|motionless|idle|idly|relaxed|normally"
        r"|on the spot)"
        r"|idle|waits?|stays? (?:still|in place)|stands(?! up)|motionless|breath\w*"
        r"|stands upright"
    ),
    "raise_leg": (
        r"(?:lifts?|raises?|lifting|raising|bends?|brings?|pulls?) (?:\w+ ){0,2}(?:knees?|legs?"
        r"|foot)"
        r"|high knees|knee raise|(?:leg|knee|foot) (?:is )?(?:raised|lifted|swung)"
        r"|swings? (?:the |a |one |his |her |both )?(?:left |right )?legs?"
    ),
    "uneven": r"rough|terrain|uneven|obstacle\w*|steps? over|ducks? under|bent underneath",
    "swing_arms": (
        r"(?:swings?|swinging|circles?|rotates?|windmills?|flaps?|circling) (?:\w+ ){0,2}arms?"
        r"|arms? (?:swing\w*|circl\w+|rotat\w+)|jumping jacks?"
        r"|swings? (?:the |both |his |her |their )?(?:hands|fists)"
    ),
    "spread_arms": (
        r"arms? (?:\w+ ){0,2}(?:out|spread|open|wide|stretched|apart)"
        r"|(?:spreads?|opens?|extends?) (?:\w+ ){0,2}arms?|arms? held"
    ),
    "hop": r"hops?|hopping|hopped|on one (?:leg|foot)",
    "animal": (
        r"monkey|chicken|bear|gorilla|ape|snake|elephant|cat|dog|dinosaur|penguin|duck walk"
        r"|horse|bird|zombie|animal|mummy|dragon|robot"
    ),
    "twist": r"twist\w*",
    "bend": (
        r"bends? (?:\w+ ){0,2}(?:over|down|forward|at|sideways)|leans?|leaning"
        r"|bending (?:over|forward|down)"
    ),
}
_COMPILED = {name: re.compile(rf"\b(?:{rule})\b") for name, rule in _RULES.items()}

_TURN = re.compile(
    r"\b(?:turn(?:s|ed|ing)?|spins?|spinning|spun|rotat\w+|pivot\w*|whirl\w*|twirl\w*|u-turns?"
    r"|wheels?|swivels?|about-face|revolv\w+|rounds?|corner|pirouett\w*)\b"
)
_BEND = re.compile(r"\b(?:curv\w+|veer\w*|circl\w+|arcs?|arcing|bends|loops?|looping|swerv\w*)\b")
_TO_SIDE = re.compile(r"\b(?:walk|mov|step|shuffl|slid)\w* (?:\w+ ){0,3}(?:left|right)\b")
_RAISE = re.compile(
    r"\b(?:rais\w+|lift\w*|throws?|rises?|puts? (?:\w+ ){0,5}up|put up|(?:held|holds?"
    r"|holding) (?:\w+ ){0,5}(?:up|high|overhead)"
    r"|brings? (?:\w+ ){0,4}up|(?:goes|go|going) up|up in the air|upward"
    r"|stretch\w* (?:\w+ ){0,4}up)\b"
)
_WAVE = re.compile(
    r"\b(?:wav(?:e|es|ed|ing)|say(?:s|ing)? (?:hello|hi|goodbye|bye)|greets?|greeting"
    r"|(?:good)?bye(?:-bye)?|farewell)\b"
)
_LIMB = re.compile(r"\b(?:(left|right|both|two|its|the) )?(?:hands?|arms?)\b")


@lru_cache(maxsize=65536)
def actions_of(caption: str) -> frozenset[str]:
    """Return the names of the actions in a caption; empty where no rule knows a word of it."""
    text = " ".join(_WORD.findall(_keep_marks(caption.lower())))
    marked = _BOTH.sub("both", _keep_marks(caption.lower()))
    clauses = [" ".join(_WORD.findall(part)) for part in _CLAUSE.split(marked)]
    found = {name for name, rule in _COMPILED.items() if rule.search(text)}
    found |= _turns(clauses)
    if "sideways" in found:
        found = found - {"sideways"} | _sideways(clauses)
    found |= _waves_and_raises(clauses)
    return frozenset(_settle(found))


def main_actions(captions: Sequence[str]) -> frozenset[str]:
    """The actions that more than half of a clip's captions name, sides of hands left out.

    One of four captions of a run says that the heels kick up: that is no kick. A wave is a wave
    also where its captions differ on the hand.
    """
    counts = Counter(
        name
        for caption in captions
        for name in {_SIDELESS.get(name, name) for name in actions_of(caption)}
    )
    return frozenset(name for name, count in counts.items() if 2 * count > len(captions))


def same_action(first: str, second: str) -> bool:
    """Say whether two captions name the same, and at least one, action."""
    return bool(actions_of(first)) and actions_of(first) == actions_of(second)


def _keep_marks(text: str) -> str:
    return text.replace("’", "'")


def _turns(clauses: list[str]) -> set[str]:
    found: set[str] = set()
    for clause in clauses:
        is_turn = _TURN.search(clause) is not None
        if not is_turn and not _BEND.search(clause):
            continue
        sides = set(re.findall(r"\b(left|right)\b", _BODY_SIDE.sub(" ", clause)))
        if "counterclockwise" in clause or "counter-clockwise" in clause:
            sides.add("left")
        elif "clockwise" in clause:
            sides.add("right")
        found |= {f"turn_{side}" for side in sides}
        if is_turn and not sides:
            found.add("turn")
    return found


def _sideways(clauses: list[str]) -> set[str]:
    rule = re.compile(rf"\b(?:{_RULES['sideways']}|facing forward)\b")
    named = " ".join(clause for clause in clauses if rule.search(clause) or _TO_SIDE.search(clause))
    sides = set(re.findall(r"\b(left|right)\b", _BODY_SIDE.sub(" ", named)))
    return {f"sideways_{side}" for side in sides} or {"sideways"}


def _waves_and_raises(clauses: list[str]) -> set[str]:
    whole = " ".join(clauses)
    if _WAVE.search(whole):
        return {_with_side("wave", whole)}
    found: set[str] = set()
    for clause in clauses:
        if _RAISE.search(clause) and _LIMB.search(clause):
            found.add(_with_side("raise", clause))
    return found


def _with_side(verb: str, text: str) -> str:
    """Add the side of the hand or arm that is named; the first named wins where both are."""
    if re.search(r"\b(?:both|two|left and right)\b|\b(?:hands|arms)\b", text):
        return f"{verb}_both"
    match = re.search(r"\b(left|right)(?:[ -]\w+)? (?:hand|arm)|\b(left|right)-hand", text)
    side = (match.group(1) or match.group(2)) if match else None
    return f"{verb}_{side}" if side else verb


_SIDELESS = {f"wave_{side}": "wave" for side in ("left", "right", "both")}
_BESIDE_OTHERS = frozenset({"stand", "spread_arms", "look", "sway", "bend", "stretch", "put_down"})
_BESIDE_GAITS = frozenset({"swing_arms", "raise_leg"})
_OVERRULED = (  # where one of the first is found, the second says nothing more
    ({"run", "sneak"}, {"walk"}),
    ({"walk", "run"}, _BESIDE_GAITS),
    ({"turn_left", "turn_right"}, {"turn"}),
    ({"sideways_left", "sideways_right"}, {"turn_left", "turn_right"}),
    ({"kneel", "crawl"}, {"crouch"}),
    ({"kick", "punch", "slash"}, {"fight", "swing_arms"}),
    ({"kick"}, {"raise_leg"}),
    ({"hang", "flip"}, {"balance"}),
    ({"raise_left", "raise_right", "raise_both", "bow"}, {"stand_up", "throw"}),
)


def _settle(found: set[str]) -> set[str]:
    """Drop what a more telling name already says."""
    settled = set(found)
    for telling, idle in _OVERRULED:
        if settled & telling:
            settled -= idle
    return settled - _BESIDE_OTHERS or settled
