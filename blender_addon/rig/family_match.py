"""Find the bones of a known family, or of a user's mapping, in one rig by their names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from .bone_match import BODY_JOINTS, BoneMatch, FoundBy, IkControls, TwistBone
from .bone_names import NameIndex, NameKey, name_key
from .rig_mapping import Names, RigMapping
from .target_rig import TargetRig

_EXACT, _ALIKE = 1.0, 0.95  # confidence of a name as written, and of one that means the same
_LOOSE_WEIGHT = 0.85  # in the score: a family whose very names are there comes first
# Rigify's rigs hold its controls and its deforming bones; bones of their own mark the controls.
_SIGNED_BONUS = 0.1
_NEXT = {"shoulder": "elbow", "elbow": "wrist", "hip": "knee", "knee": "ankle"}


@dataclass(frozen=True, kw_only=True)
class MappingMatch:
    """What a rig has of one mapping."""

    match: BoneMatch
    count: int  # how many of the rig's bones it says something of
    score: float  # share of the mapping's bones, less for loose names, more for marking ones


@dataclass(frozen=True, eq=False)
class _Lookup:
    """The rig's bones by the names of one mapping."""

    mapping: RigMapping
    index: NameIndex

    @cached_property
    def own(self) -> dict[str, str]:
        return self.index.without(self.mapping.prefix)

    @cached_property
    def own_keys(self) -> dict[NameKey, str]:
        return self.index.keys_without(self.mapping.prefix)

    def find(self, candidates: Names) -> tuple[str, float] | None:
        """The bone of the best candidate, and how well the name fits."""
        for candidate in candidates:
            if candidate in self.own:
                return self.own[candidate], _EXACT
        for candidate in candidates:
            if candidate in self.index.plain:
                return self.index.plain[candidate], _ALIKE
        for candidate in candidates:
            alike = self.own_keys.get(name_key(candidate))
            if alike:
                return alike, _ALIKE
        meaning = self.index.meaning(candidates)
        return (meaning, _ALIKE) if meaning else None

    def name(self, *candidates: str) -> str:
        """The bone of the best candidate, "" for none."""
        found = self.find(candidates) if any(candidates) else None
        return found[0] if found else ""


def match_mapping(
    mapping: RigMapping, rig: TargetRig, index: NameIndex, found_by: FoundBy = FoundBy.NAMES
) -> MappingMatch | None:
    """What the rig has of a mapping; None if it lacks what the family needs."""
    lookup = _Lookup(mapping, index)
    if not all(lookup.find(names) for names in mapping.needs):
        return None
    bones: dict[str, str] = {}
    confidence: dict[str, float] = {}
    total = 0.0
    for joint in (joint for joint in BODY_JOINTS if joint in mapping.bones):
        found = lookup.find(mapping.bones[joint])
        if found and found[0] not in bones.values():
            bones[joint], confidence[joint] = found
            total += _weight(found[1])
    spine, spine_total = _chain(lookup, mapping.spine, bones)
    neck, neck_total = _chain(lookup, mapping.neck, bones)
    twists = _twist_names(lookup, {*bones.values(), *spine, *neck})
    total += spine_total + neck_total
    slots = len(mapping.bones) + len(mapping.spine) + len(mapping.neck)
    _promote_upper_ends(rig, bones, twists)
    spine, carried = _carriers_of_legs(rig, bones, spine)
    used = {*bones.values(), *spine, *neck, *twists}
    followers = {
        lookup.name(bone): joint
        for bone, joint in mapping.followers.items()
        if lookup.name(bone) not in ("", *used)
        and joint in bones
        # MMD's D bones follow by themselves where an importer gave them constraints.
        and (mapping.properties or rig.index[lookup.name(bone)] not in rig.constrained)
    }
    match = BoneMatch(
        map_name=mapping.name,
        found_by=found_by,
        bones=bones,
        spine=spine,
        neck=neck,
        twist_bones=_twist_bones(rig, bones, twists),
        followers=followers | dict.fromkeys(carried, "pelvis"),
        still_bones=tuple(lookup.name(n) for n in mapping.still_bones if lookup.name(n)),
        location_bone=lookup.name(mapping.location_bone),
        root_bone=lookup.name(*mapping.root_bone),
        properties=_properties(lookup, mapping.properties),
        ik=_ik(lookup, mapping.ik),
        confidence=confidence,
    )
    return MappingMatch(
        match=match,
        count=len(used),
        score=round(total / max(slots, 1) + (_SIGNED_BONUS if mapping.needs else 0.0), 4),
    )


def _weight(confidence: float) -> float:
    return 1.0 if confidence == _EXACT else _LOOSE_WEIGHT


def _chain(
    lookup: _Lookup, slots: tuple[Names, ...], bones: Mapping[str, str]
) -> tuple[tuple[str, ...], float]:
    """The bones of a chain that the rig has, and what they add to the score."""
    taken = set(bones.values())
    chain: list[str] = []
    total = 0.0
    for names in slots:
        found = lookup.find(names)
        if found and found[0] not in taken:
            chain.append(found[0])
            taken.add(found[0])
            total += _weight(found[1])
    return tuple(chain), total


def _twist_names(lookup: _Lookup, used: set[str]) -> dict[str, str]:
    """Twist bone -> joint of its segment."""
    return {
        lookup.name(name): joint
        for joint, names in lookup.mapping.twist_bones.items()
        for name in names
        if lookup.name(name) not in ("", *used)
    }


def _parents(rig: TargetRig, bone: int) -> list[int]:
    above: list[int] = []
    while (bone := int(rig.parents[bone])) >= 0:
        above.append(bone)
    return above


def _promote_upper_ends(rig: TargetRig, bones: dict[str, str], twists: dict[str, str]) -> None:
    """Where a twist bone carries its segment's main bone, it is the one at the joint."""
    for joint in {joint for joint in twists.values() if joint in bones}:
        above = [rig.bone_names[bone] for bone in _parents(rig, rig.index[bones[joint]])]
        carrying = [name for name in above if twists.get(name) == joint]
        if carrying:
            top = carrying[-1]
            twists[bones[joint]] = joint
            del twists[top]
            bones[joint] = top


def _carriers_of_legs(
    rig: TargetRig, bones: Mapping[str, str], spine: tuple[str, ...]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The spine, and the bones of it that carry the legs: these go with the pelvis.

    3ds Max hangs the thighs on the lowest spine bone.
    """
    if not {"pelvis", "left_hip", "right_hip"} <= set(bones):
        return spine, ()
    above = [set(_parents(rig, rig.index[bones[f"{side}_hip"]])) for side in ("left", "right")]
    carried = tuple(
        name
        for name in spine
        if rig.index[name] in above[0] & above[1]
        and rig.index[bones["pelvis"]] in _parents(rig, rig.index[name])
    )
    return tuple(name for name in spine if name not in carried), carried


def _twist_bones(
    rig: TargetRig, bones: Mapping[str, str], twists: Mapping[str, str]
) -> dict[str, TwistBone]:
    """Twist bones with their share: where their head is along the segment.

    A bone of the chain itself skins its whole part and takes what the part's middle has.
    """
    found: dict[str, TwistBone] = {}
    by_joint: dict[str, list[str]] = {}
    for bone, joint in twists.items():
        by_joint.setdefault(joint, []).append(bone)
    for joint, names in by_joint.items():
        side, _, part = joint.rpartition("_")
        end = bones.get(f"{side}_{_NEXT.get(part, '')}")
        if joint not in bones or end is None:
            continue
        start, chain = rig.heads[rig.index[bones[joint]]], _parents(rig, rig.index[end])
        along = rig.heads[rig.index[end]] - start
        length = max(float(along @ along), 1e-12)
        places = {n: float((rig.heads[rig.index[n]] - start) @ along) / length for n in names}
        inside = sorted((place, n) for n, place in places.items() if rig.index[n] in chain)
        for step, (place, name) in enumerate(inside):
            following = inside[step + 1][0] if step + 1 < len(inside) else 1.0
            places[name] = (place + following) / 2
        for name, place in places.items():
            found[name] = TwistBone(joint=joint, share=round(float(np.clip(place, 0, 1)), 3))
    return found


def _properties(
    lookup: _Lookup, properties: tuple[tuple[str, str, float], ...]
) -> tuple[tuple[str, str, float], ...]:
    return tuple(
        (lookup.name(bone), name, value) for bone, name, value in properties if lookup.name(bone)
    )


def _ik(lookup: _Lookup, ik: IkControls | None) -> IkControls | None:
    if ik is None:
        return None
    bones = {joint: lookup.name(bone) for joint, bone in ik.bones.items() if lookup.name(bone)}
    if not bones:
        return None
    poles = {joint: lookup.name(bone) for joint, bone in ik.poles.items() if lookup.name(bone)}
    return IkControls(bones=bones, poles=poles, properties=_properties(lookup, ik.properties))
