"""Whether a match that was found by names can be true of the rig's shape.

Names lie: copied rigs with swapped sides, a "shin" that hangs over the thigh. Where the shape
contradicts, the joints' confidence goes down and a note says why.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

import numpy as np

from .bone_match import BoneMatch
from .bone_tree import BoneTree
from .facing import find_facing
from .rotations import FloatArray, unit
from .target_rig import TargetRig

_LIMBS = (("hip", "knee", "ankle"), ("shoulder", "elbow", "wrist"))
_SIDES = ("left", "right")
_WRONG, _DOUBTFUL = 0.3, 0.6
_BESIDE = 0.9  # of the trunk's length: bones further from its line are no spine or neck


@dataclass(kw_only=True)
class _Review:
    rig: TargetRig
    match: BoneMatch
    confidence: dict[str, float]
    notes: list[str] = field(default_factory=list[str])

    def lower(self, joints: Iterable[str], to: float, note: str) -> None:
        for joint in joints:
            if joint in self.match.bones:
                self.confidence[joint] = min(self.confidence.get(joint, 1.0), to)
        self.notes.append(note)

    def head(self, joint: str) -> FloatArray:
        return self.rig.heads[self.rig.index[self.match.bones[joint]]]

    def has(self, *joints: str) -> bool:
        return all(joint in self.match.bones for joint in joints)


def review(rig: TargetRig, match: BoneMatch) -> BoneMatch:
    """The match with its confidence lowered, and notes added, where the shape contradicts it."""
    known = _Review(rig=rig, match=match, confidence=dict(match.confidence))
    for side in _SIDES:
        for limb in _LIMBS:
            joints = [f"{side}_{joint}" for joint in limb]
            _check_limb(known, joints)
            _check_ends(known, *joints[1:])
    _check_twins(known)
    _check_posture(known)
    _check_middle(known)
    _check_constraints(known)
    return replace(
        match, confidence=known.confidence, notes=(*match.notes, *dict.fromkeys(known.notes))
    )


def _words(joint: str) -> str:
    return joint.replace("_", " ")


def _check_limb(known: _Review, joints: list[str]) -> None:
    tree = BoneTree(known.rig)
    present = [joint for joint in joints if known.has(joint)]
    bones = [known.rig.index[known.match.bones[joint]] for joint in present]
    parents = known.rig.parents
    for place, bone in enumerate(bones):
        for lower in range(place + 1, len(bones)):
            above, chain = int(parents[bone]), set[int]()
            while above >= 0:
                chain.add(above)
                above = int(parents[above])
            if bones[lower] in chain:
                pair = (present[place], present[lower])
                note = f"The {_words(pair[0])} hangs below the {_words(pair[1])}"
                known.lower(pair, _WRONG, note)
    if len(present) < 3:
        return
    upper, middle, end = (known.head(joint) for joint in joints)
    first, second = float(np.linalg.norm(middle - upper)), float(np.linalg.norm(end - middle))
    if min(first, second) < 1e-3 * max(tree.size, 1e-9):
        known.lower(joints, _WRONG, f"The {_words(joints[1])} lies on another joint of its limb")
    elif not 0.25 < first / second < 4.0:
        known.lower(joints, _DOUBTFUL, f"The {_words(joints[1])} is far from the limb's middle")
    elif float(np.linalg.norm(end - upper)) < 0.35 * (first + second):
        note = f"The {_words(joints[1])} isn't between {_words(joints[0])} and {_words(joints[2])}"
        known.lower(joints, 0.45, note)


def _check_ends(known: _Review, upper: str, end: str) -> None:
    """A limb's last joint isn't the first that bends there: a hand after the wrist's own bone."""
    if not known.has(upper, end):
        return
    rig, match = known.rig, known.match
    start, stop = known.head(upper), known.head(end)
    along = stop - start
    above = int(rig.parents[rig.index[match.bones[end]]])
    while above >= 0 and rig.bone_names[above] != match.bones[upper]:
        place = float((rig.heads[above] - start) @ along) / max(float(along @ along), 1e-12)
        if 0.7 < place < 0.95 and rig.bone_names[above] not in match.twist_bones:
            note = f"Another bone bends before the {_words(end)}"
            known.lower((end,), 0.45, note)
            return
        above = int(rig.parents[above])


def _check_twins(known: _Review) -> None:
    """Left and right limbs are as long."""
    for limb in _LIMBS:
        lengths: list[float] = []
        for side in _SIDES:
            joints = [f"{side}_{joint}" for joint in limb]
            if not known.has(*joints):
                return
            points = np.stack([known.head(joint) for joint in joints])
            lengths.append(float(np.linalg.norm(np.diff(points, axis=0), axis=-1).sum()))
        if abs(lengths[0] - lengths[1]) > 0.3 * max(lengths):
            both = [f"{side}_{joint}" for side in _SIDES for joint in limb]
            part = "legs" if limb[0] == "hip" else "arms"
            known.lower(both, _DOUBTFUL, f"Its {part} are not of one length")


def _check_posture(known: _Review) -> None:
    """Trunk over legs, arms beside it, and the left side where the toes say that it is."""
    needed = [f"{side}_{joint}" for side in _SIDES for joint in ("hip", "ankle", "shoulder")]
    if not known.has(*needed):
        return
    hips, ankles, shoulders = (
        np.stack([known.head(f"{side}_{joint}") for side in _SIDES])
        for joint in ("hip", "ankle", "shoulder")
    )
    sided = [joint for joint in known.match.bones if joint.startswith(_SIDES)]
    trunk, down = shoulders.mean(axis=0) - hips.mean(axis=0), ankles.mean(axis=0)
    down = down - hips.mean(axis=0)
    leg = float(np.linalg.norm(ankles - hips, axis=-1).mean())
    across, chest_across = hips[0] - hips[1], shoulders[0] - shoulders[1]
    sizes = [float(np.linalg.norm(vector)) for vector in (trunk, across, chest_across)]
    opposite = float(unit(trunk) @ unit(down)) if min(sizes) > 1e-3 * leg else 0.0
    if min(sizes) <= 1e-3 * leg or np.linalg.norm(down) < 0.5 * leg or opposite > 0.5:
        note = "The rest pose isn't a standing one, so its shape can't confirm the bones"
        known.lower(sided, _DOUBTFUL, note)
        return
    if opposite > -0.5:
        known.lower(known.match.bones, 0.4, "Its trunk doesn't stand on its legs")
        return
    if float(unit(across) @ unit(chest_across)) < -0.3:
        known.lower(sided, _WRONG, "The left arm is on the side of the right leg")
        return
    _check_sides(known, sided, hips, shoulders)


def _check_middle(known: _Review) -> None:
    """Pelvis, spine, neck and head are near the middle line: no other body's, no prop's."""
    pairs = [[f"{side}_{joint}" for side in _SIDES] for joint in ("hip", "shoulder")]
    if not known.has(*pairs[0], *pairs[1]):
        return
    hips, shoulders = (np.mean([known.head(joint) for joint in pair], axis=0) for pair in pairs)
    trunk = shoulders - hips
    length = max(float(np.linalg.norm(trunk)), 1e-12)
    names = [known.match.bones[joint] for joint in ("pelvis", "head") if known.has(joint)]
    for name in (*names, *known.match.spine, *known.match.neck):
        way = known.rig.heads[known.rig.index[name]] - hips
        beside = way - trunk * float(way @ trunk) / length**2
        if float(np.linalg.norm(beside)) > _BESIDE * length:
            known.lower(known.match.bones, _WRONG, f"{name} isn't between its hips and shoulders")
            return


def _check_sides(known: _Review, sided: list[str], hips: FloatArray, shoulders: FloatArray) -> None:
    feet = [f"{side}_foot" for side in _SIDES]
    if not known.has(*feet):
        return
    ways = [known.head(foot) - known.head(foot.replace("foot", "ankle")) for foot in feet]
    facing = find_facing(BoneTree(known.rig), hips, shoulders, np.stack(ways))
    if facing.confidence > 0.9 and float((hips[0] - hips[1]) @ facing.left) < 0:
        note = "By its toes the character's left bones are on its right side"
        known.lower(sided, 0.45, note)


def _check_constraints(known: _Review) -> None:
    """Keys on bones that constraints drive don't show."""
    if known.match.properties:  # a control rig whose switches are keyed
        return
    held = {
        joint: known.rig.constrained[known.rig.index[bone]]
        for joint, bone in known.match.bones.items()
        if known.rig.index[bone] in known.rig.constrained
    }
    solved = [joint for joint, kind in held.items() if kind == "IK"]
    copied = [joint for joint, kind in held.items() if kind != "IK"]
    if solved:
        places = ", ".join(_words(joint) for joint in solved)
        note = f"Inverse kinematics drives {places}; turn it off, or the keys don't show"
        known.lower(solved, 0.55, note)
    if copied:
        places = ", ".join(_words(joint) for joint in copied)
        note = f"Constraints drive {places}: pick the controls that they follow"
        known.lower(copied, 0.45, note)
