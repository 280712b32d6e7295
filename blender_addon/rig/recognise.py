"""Recognise a rig: which of its bones are a body's joints, and how sure that is.

In this order: mappings of the user's own, families that Marey knows, names that make sense, shape.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from .bone_match import BODY_JOINTS, REQUIRED_JOINTS, SURE_ENOUGH, BoneMatch, FoundBy, RigError
from .bone_names import NameIndex
from .family_match import MappingMatch, match_mapping
from .name_match import match_names
from .plausibility import review
from .rig_mapping import RigMapping, known_families
from .structure import match_structure
from .target_rig import TargetRig

_FILLED = 0.75  # the most that a joint is sure which shape adds to names
_LEAST_FAMILY = 0.5  # share of a family's bones below which naming it would mislead
_LEAST_AGREED = 4  # joints on which names and shape must agree before one completes the other


def recognise(
    rig: TargetRig,
    user_mappings: Sequence[RigMapping] = (),
    tables: Sequence[RigMapping] = (),
) -> BoneMatch:
    """The best match for a rig. It may be unsure or empty: ask `require_sure` before using it.

    Mappings of the user's own count first, then tables that the rig itself brings; of each the
    first that has all bones that a body needs.
    """
    index = NameIndex(rig.bone_names)
    for mapping in user_mappings:
        own = match_mapping(mapping, rig, index, FoundBy.USER)
        if own is not None and not own.match.missing_joints():
            return _with_location(own.match)
    for mapping in tables:
        brought = match_mapping(mapping, rig, index)
        if brought is not None and not brought.match.missing_joints():
            return _finished(rig, brought.match)
    family = _best_family(rig, index)
    named = match_names(rig, index)
    if family is not None and not family.match.missing_joints():
        return _finished(rig, _completed(family.match, named))
    shape = match_structure(rig)
    candidates = [_filled(rig, named, shape), shape]
    if family is not None and family.score >= _LEAST_FAMILY:
        # A family of which bones are missing says less than names that say all.
        place = 0 if named.missing_joints() else 1
        candidates.insert(place, _filled(rig, _completed(family.match, named), shape))
    candidates = [_finished(rig, match) for match in candidates]
    sure = [match for match in candidates if match.overall_confidence >= SURE_ENOUGH]
    if sure:
        return sure[0]
    # Nothing is sure: the one that says most helps the user most.
    most = reversed(candidates)  # of equals the shape, whose notes say what is lacking
    return max(most, key=lambda match: (match.overall_confidence, len(match.bones)))


def with_picks(
    rig: TargetRig, match: BoneMatch, picks: Mapping[str, str | Sequence[str]]
) -> BoneMatch:
    """A match with bones picked by hand: joint -> bone, spine and neck -> bones, "" for none.

    Raises:
        RigError: a joint or a bone isn't there, or one bone is picked for two joints.
    """
    bones, confidence = dict(match.bones), dict(match.confidence)
    chains = {"spine": match.spine, "neck": match.neck}
    for joint, pick in picks.items():
        picked = tuple(name for name in ([pick] if isinstance(pick, str) else pick) if name)
        unknown = [name for name in picked if name not in rig.index]
        if unknown:
            raise RigError(f"The rig has no bone {', '.join(unknown)}")
        if joint in chains:
            chains[joint] = picked
        elif joint not in BODY_JOINTS or len(picked) > 1:
            raise RigError(f"A bone can't be picked for {joint}")
        elif picked:
            bones[joint], confidence[joint] = picked[0], 1.0
        else:
            bones.pop(joint, None)
            confidence.pop(joint, None)
    _refuse_twice(bones)
    used = {*bones.values(), *chains["spine"], *chains["neck"]}
    return replace(
        match,
        found_by=FoundBy.USER,
        bones=bones,
        confidence=confidence,
        spine=tuple(name for name in chains["spine"] if name not in bones.values()),
        neck=tuple(name for name in chains["neck"] if name not in bones.values()),
        twist_bones={
            bone: twist
            for bone, twist in match.twist_bones.items()
            if bone not in used and twist.joint in bones
        },
        followers={
            bone: joint
            for bone, joint in match.followers.items()
            if bone not in used and joint in bones
        },
        still_bones=tuple(bone for bone in match.still_bones if bone not in used),
    )


def _refuse_twice(bones: Mapping[str, str]) -> None:
    joints: dict[str, str] = {}
    for joint, bone in bones.items():
        if bone in joints:
            raise RigError(f"{bone} is picked for {joints[bone]} and for {joint}")
        joints[bone] = joint


def _best_family(rig: TargetRig, index: NameIndex) -> MappingMatch | None:
    found = (match_mapping(family, rig, index) for family in known_families())
    return max(
        (match for match in found if match is not None),
        key=lambda found: (not found.match.missing_joints(), found.score, found.count),
        default=None,
    )


def _completed(match: BoneMatch, named: BoneMatch) -> BoneMatch:
    """With joints that the family has no name for, where a bone's name says which it is."""
    taken = {*match.bones.values(), *match.spine, *match.neck, *match.twist_bones}
    taken |= {*match.followers, *match.still_bones, match.location_bone, match.root_bone}
    added = {
        joint: bone
        for joint, bone in named.bones.items()
        if joint not in match.bones and bone not in taken
    }
    sure = {joint: named.confidence.get(joint, 0.0) for joint in added}
    taken |= set(added.values())
    return replace(
        match,
        bones={**match.bones, **added},
        confidence={**match.confidence, **sure},
        spine=_longer(match.spine, named.spine, taken),
        neck=_longer(match.neck, named.neck, taken),
    )


def _longer(chain: tuple[str, ...], named: tuple[str, ...], taken: set[str]) -> tuple[str, ...]:
    """The chain with the bones that the names add, if these are free and it has all of its own."""
    added = [name for name in named if name not in chain]
    return named if set(chain) < set(named) and not taken.intersection(added) else chain


def _with_location(match: BoneMatch) -> BoneMatch:
    """With the pelvis' bone to carry the root's path where no other does."""
    if match.location_bone or "pelvis" not in match.bones:
        return match
    return replace(match, location_bone=match.bones["pelvis"])


def _finished(rig: TargetRig, match: BoneMatch) -> BoneMatch:
    """Reviewed, and without joints that a body may lack and that are unsure."""
    match = review(rig, match)
    doubtful = [
        joint
        for joint in match.unsure_joints()
        if joint not in REQUIRED_JOINTS and match.found_by is not FoundBy.USER
    ]
    kept = {joint: bone for joint, bone in match.bones.items() if joint not in doubtful}
    notes = match.notes
    if doubtful:
        words = ", ".join(joint.replace("_", " ") for joint in doubtful)
        notes = (*notes, f"Left out because it isn't sure: {words}")
    return _with_location(replace(match, bones=kept, notes=notes))


def _filled(rig: TargetRig, named: BoneMatch, shape: BoneMatch) -> BoneMatch:
    """What names leave open, by shape, where both agree on the rest."""
    if not named.bones:
        return named
    both = [joint for joint in named.bones if joint in shape.bones]
    differing = [joint for joint in both if not _same_place(rig, named, shape, joint)]
    agreed = len(both) - len(differing)
    confidence = dict(named.confidence)
    notes = list(named.notes)
    needed = [joint for joint in differing if joint in REQUIRED_JOINTS]
    if needed and agreed >= _LEAST_AGREED:
        for joint in needed:
            confidence[joint] = min(confidence.get(joint, 1.0), SURE_ENOUGH - 0.05)
        words = ", ".join(joint.replace("_", " ") for joint in needed)
        notes.append(f"Names and shape say different bones for {words}")
    bones = dict(named.bones)
    spine, neck = named.spine, named.neck
    if agreed >= _LEAST_AGREED and not needed:
        for joint in _open_joints(named, shape):
            bones[joint] = shape.bones[joint]
            confidence[joint] = min(shape.confidence.get(joint, 0.0), _FILLED)
        taken = {*bones.values(), *named.followers, *named.still_bones}
        spine = _longer(spine, shape.spine, taken | set(neck))
        neck = _longer(neck, shape.neck, taken | set(spine))
    return replace(
        named,
        bones=bones,
        spine=spine,
        neck=neck,
        confidence=confidence,
        notes=tuple(notes),
        root_bone=named.root_bone or shape.root_bone,
    )


def _open_joints(named: BoneMatch, shape: BoneMatch) -> Iterable[str]:
    taken = {*named.bones.values(), *named.spine, *named.neck, *named.twist_bones}
    return (
        joint
        for joint, bone in shape.bones.items()
        if joint not in named.bones and bone not in taken
    )


def _same_place(rig: TargetRig, a: BoneMatch, b: BoneMatch, joint: str) -> bool:
    first, second = rig.index[a.bones[joint]], rig.index[b.bones[joint]]
    apart = abs(rig.heads[first] - rig.heads[second]).max()
    return bool(first == second or apart < 1e-3 * abs(rig.heads).max())
