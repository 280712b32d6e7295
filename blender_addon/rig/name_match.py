"""Find a body by what the names of its bones say, for rigs of no known family.

A name is a side and words: "Lft_Arm_Upper_JNT" says left and upper arm. Words mean different
joints in different rigs (an arm may be the whole limb or its upper part, a shoulder may be a
collar bone), so the words that say one thing only come first and the others fill what is left.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from .bone_match import BoneMatch, FoundBy
from .bone_names import NameIndex, name_key
from .target_rig import TargetRig

NAMED = "Bone names of no known family"
_CONFIDENCE, _GUESS = 0.8, 0.65  # of words that say one thing, and of those that may say two

_SIDED = {
    "hip": "thigh upleg upperleg legupper legup femur uleg upperthigh thighbone",
    "knee": "calf shin lowerleg leglower lowleg leglow knee tibia shank shinbone",
    "ankle": "foot ankle",
    "foot": "toe toes toebase ball toebone toejoint",
    "collar": "clavicle collar collarbone clav scapula shoulderblade",
    "shoulder": "upperarm uparm armupper armup uarm humerus",
    "elbow": "forearm lowerarm armlower lowarm armlow elbow loarm radius",
    "wrist": "hand wrist",
}
# Words that stand for one of several joints, by what else there is.
_UNSURE = {"leg": ("hip", "knee"), "arm": ("shoulder", "elbow"), "hip": ("hip",)}
_KNOWN_SIDED = frozenset({*_UNSURE, "shoulder", *" ".join(_SIDED.values()).split()})
_MIDDLE = {
    "pelvis": "pelvis hips hip cog",
    "spine": "spine chest torso abdomen belly ribs ribcage stomach waist back upperbody upperchest "
    "thorax lowerback upperback uppertorso chestupper chestlower spinebase spinelow spinemid "
    "spineup spinetop backbone lowerspine upperspine",
    "neck": "neck",
    "head": "head",
}
# Words that say nothing of the place.
_NEUTRAL_WORDS = (
    "bone bones jnt joint jt def deform bind skin sk rig char bn jo fk ctrl con ctl m x a b c d e"
)
# Words of bones that only help or hang on the body.
_HELPER_WORDS = (
    "ik pole target end tip nub leaf eff effector twist roll helper share adjust corrective "
    "correct cor aux phys physics dyn jiggle muscle bulge weapon prop socket attach holster "
    "finger thumb index middle ring pinky little metacarpal carpal palm mid eye jaw ear hair "
    "skirt cloth cape breast bust tail wing mch org tweak vis wgt heel root sleeve coat belt bag "
    "nail lip brow lid tongue teeth nose cheek tassel ribbon scale stretch bendy dummy null"
)
_NEUTRAL = frozenset(_NEUTRAL_WORDS.split())
_HELPERS = frozenset(_HELPER_WORDS.split())
_PARTS = {name: part for part, names in _SIDED.items() for name in names.split()}
_MIDDLE_PARTS = {name: part for part, names in _MIDDLE.items() for name in names.split()}


@dataclass(frozen=True, kw_only=True)
class _Named:
    """A bone whose name says something."""

    bone: int
    side: str
    word: str
    number: int


def match_names(rig: TargetRig, index: NameIndex) -> BoneMatch:
    """What names alone say; joints may be missing, and nothing is checked against the shape."""
    read = (_read(rig, short, name) for short, name in index.plain.items())
    named = list({one.bone: one for one in read if one}.values())
    bones: dict[str, str] = {}
    confidence: dict[str, float] = {}

    def add(joint: str, bone: int, sure: float) -> None:
        bones[joint], confidence[joint] = rig.bone_names[bone], sure

    for side in ("left", "right"):
        sided = [one for one in named if one.side == side]
        for joint, (bone, sure) in _limb_joints(rig, sided).items():
            add(f"{side}_{joint}", bone, sure)
    middle = [one for one in named if not one.side]
    for part in ("pelvis", "head"):
        found = [one.bone for one in middle if _MIDDLE_PARTS.get(one.word) == part]
        if found:
            add(part, min(found, key=lambda bone: _depth(rig, bone)), _CONFIDENCE)
    taken = set(bones.values())
    return BoneMatch(
        map_name=NAMED if bones else "",
        found_by=FoundBy.NAMES,
        bones=bones,
        spine=_chain(rig, middle, "spine", taken),
        neck=_chain(rig, middle, "neck", taken),
        confidence=confidence,
    )


def _read(rig: TargetRig, short: str, name: str) -> _Named | None:
    key = name_key(short)
    words = [word for word in key.words if word not in _NEUTRAL]
    if _HELPERS & set(words):
        return None
    numbers = [int(word) for word in words if word.isdigit()]
    text = "".join(word for word in words if not word.isdigit())
    side = key.side
    if not side and text not in _MIDDLE_PARTS:
        side, text = _glued_side(text)
    known = text in (_KNOWN_SIDED if side else _MIDDLE_PARTS)
    if not known:
        return None
    return _Named(bone=rig.index[name], side=side, word=text, number=numbers[-1] if numbers else 0)


def _glued_side(text: str) -> tuple[str, str]:
    """A side that is one letter on a word: lthigh, thighl."""
    for side, letter in (("left", "l"), ("right", "r")):
        for rest in (text.removeprefix(letter), text.removesuffix(letter)):
            if rest != text and rest in _KNOWN_SIDED:
                return side, rest
    return "", text


def _limb_joints(rig: TargetRig, sided: list[_Named]) -> dict[str, tuple[int, float]]:
    """The joints of one side's arm and leg: joint -> bone and how sure its name is."""
    found: dict[str, tuple[int, float]] = {}
    for part in _SIDED:
        of_part = [one.bone for one in sided if _PARTS.get(one.word) == part]
        if of_part:
            # Of several (foot and ankle, wrist and hand) the upper one is the joint.
            highest = min(of_part, key=lambda bone: _depth(rig, bone))
            is_chain = all(bone == highest or _is_below(rig, bone, highest) for bone in of_part)
            found[part] = highest, _CONFIDENCE if is_chain else 0.45
    _split_ankle(rig, sided, found)
    for word, parts in _UNSURE.items():
        left = [part for part in parts if part not in found]
        unsure = sorted(
            (one for one in sided if one.word == word),
            key=lambda one: (_depth(rig, one.bone), one.number),
        )
        for part, one in zip(left, unsure, strict=False):
            # A lone "leg" beside a named thigh is the shin; with nothing beside it, who knows.
            sure = _GUESS if len(left) == len(unsure) else 0.45
            found[part] = one.bone, sure
    _settle_shoulder(sided, found)
    return found


def _split_ankle(rig: TargetRig, sided: list[_Named], found: dict[str, tuple[int, float]]) -> None:
    """Ankle and foot, where a rig names both: the lower one bends at the toes' joint."""
    if "foot" in found:
        return
    words = {one.word: one.bone for one in sided if one.word in ("ankle", "foot")}
    if len(words) == 2 and _is_below(rig, words["foot"], words["ankle"]):
        found["ankle"] = words["ankle"], _CONFIDENCE
        found["foot"] = words["foot"], _GUESS


def _settle_shoulder(sided: list[_Named], found: dict[str, tuple[int, float]]) -> None:
    """A "shoulder" is the upper arm where no other bone is, else the collar bone."""
    shoulders = [one.bone for one in sided if one.word == "shoulder"]
    if not shoulders:
        return
    if "shoulder" not in found:
        found["shoulder"] = shoulders[0], _GUESS
    elif "collar" not in found:
        found["collar"] = shoulders[0], _CONFIDENCE


def _chain(rig: TargetRig, middle: Iterable[_Named], part: str, taken: set[str]) -> tuple[str, ...]:
    """The bones of spine or neck, from the lowest up, if they hang on each other."""
    bones = sorted(
        (
            one.bone
            for one in middle
            if _MIDDLE_PARTS.get(one.word) == part and rig.bone_names[one.bone] not in taken
        ),
        key=lambda bone: _depth(rig, bone),
    )
    chain: list[int] = []
    for bone in bones:
        if not chain or _is_below(rig, bone, chain[-1]):
            chain.append(bone)
    return tuple(rig.bone_names[bone] for bone in chain)


def _depth(rig: TargetRig, bone: int) -> int:
    depth = 0
    while (bone := int(rig.parents[bone])) >= 0:
        depth += 1
    return depth


def _is_below(rig: TargetRig, bone: int, ancestor: int) -> bool:
    while bone >= 0 and bone != ancestor:
        bone = int(rig.parents[bone])
    return bone >= 0
