"""Recognise a rig: which of its bones are a body's joints, and how sure that is.

In this order: mappings of the user's own, families that Marey knows, names that make sense, shape.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from .bone_match import (
    BODY_JOINTS,
    CHAIN_ENDS,
    REQUIRED_JOINTS,
    SURE_ENOUGH,
    BoneMatch,
    FoundBy,
    RigError,
)
from .bone_names import NameIndex
from .family_match import MappingMatch, match_mapping
from .name_match import match_names
from .plausibility import review
from .rig_mapping import RigMapping, known_families
from .steps import Steps, finished
from .structure import match_structure
from .target_rig import TargetRig

_FILLED = 0.75  # the most that a joint is sure which shape adds to names
_LEAST_FAMILY = 0.5  # share of a family's bones below which naming it would mislead
_ROOT_BELOW = 0.5  # of the trunk's length: how far a root bone is below the hips at least
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
    return finished(recognise_in_steps(rig, user_mappings, tables))


def recognise_in_steps(
    rig: TargetRig,
    user_mappings: Sequence[RigMapping] = (),
    tables: Sequence[RigMapping] = (),
) -> Steps[BoneMatch]:
    """What `recognise` finds, in steps of some milliseconds: a rig may have a thousand bones."""
    index = NameIndex(rig.bone_names)
    for mapping in user_mappings:
        yield
        own = match_mapping(mapping, rig, index, FoundBy.USER)
        if own is not None and not own.match.missing_joints():
            return _with_location(own.match)
    for mapping in tables:
        brought = match_mapping(mapping, rig, index)
        if brought is not None and not brought.match.missing_joints():
            return _finished(rig, brought.match)
    family = yield from _best_family(rig, index)
    named = match_names(rig, index)
    yield
    if family is not None and not family.match.missing_joints():
        return _finished(rig, _completed(family.match, named))
    shape = yield from match_structure(rig)
    candidates = [_filled(rig, named, shape), shape]
    if family is not None and family.score >= _LEAST_FAMILY:
        # A family of which bones are missing says less than names that say all.
        place = 0 if named.missing_joints() else 1
        candidates.insert(place, _filled(rig, _completed(family.match, named), shape))
    reviewed: list[BoneMatch] = []
    for match in candidates:
        yield
        reviewed.append(_finished(rig, match))
    sure = [match for match in reviewed if match.overall_confidence >= SURE_ENOUGH]
    if sure:
        return sure[0]
    # Nothing is sure: the one that says most helps the user most.
    most = reversed(reviewed)  # of equals the shape, whose notes say what is lacking
    return max(most, key=lambda match: (match.overall_confidence, len(match.bones)))


def with_picks(
    rig: TargetRig, match: BoneMatch, picks: Mapping[str, str | Sequence[str]]
) -> BoneMatch:
    """A match with bones picked by hand: joint -> bone, spine and neck -> bones, "" for none.

    Chains may also be picked by their ends: spine_first, spine_last, neck_first, neck_last -> bone.

    Raises:
        RigError: a joint or a bone isn't there, or one bone is picked for two joints, or the ends
            of a chain don't hang on each other.
    """
    bones, confidence = dict(match.bones), dict(match.confidence)
    chains = {"spine": match.spine, "neck": match.neck}
    whole = {joint: pick for joint, pick in picks.items() if joint not in CHAIN_ENDS}
    for joint, pick in (whole | _chains_by_ends(rig, chains, picks)).items():
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


def _chains_by_ends(
    rig: TargetRig,
    chains: Mapping[str, tuple[str, ...]],
    picks: Mapping[str, str | Sequence[str]],
) -> dict[str, tuple[str, ...]]:
    """The chains of which an end is picked; an end that isn't stays as it was found."""
    found: dict[str, tuple[str, ...]] = {}
    for chain, bones in chains.items():
        first, last = (picks.get(f"{chain}_{end}") for end in ("first", "last"))
        if "" in (first, last):
            found[chain] = ()
        elif first is not None or last is not None:
            # One end alone, where none was found, is the whole chain.
            lower = str(first or (bones[0] if bones else last))
            upper = str(last or (bones[-1] if bones else first))
            found[chain] = _bones_between(rig, lower, upper)
    return found


def _bones_between(rig: TargetRig, first: str, last: str) -> tuple[str, ...]:
    unknown = [name for name in (first, last) if name not in rig.index]
    if unknown:
        raise RigError(f"The rig has no bone {', '.join(dict.fromkeys(unknown))}")
    chain, bone = [last], rig.index[last]
    while rig.bone_names[bone] != first:
        bone = int(rig.parents[bone])
        if bone < 0:
            raise RigError(f"{last} doesn't hang on {first}: pick the ends of a chain, lower first")
        chain.append(rig.bone_names[bone])
    return tuple(reversed(chain))


def _refuse_twice(bones: Mapping[str, str]) -> None:
    joints: dict[str, str] = {}
    for joint, bone in bones.items():
        if bone in joints:
            raise RigError(f"{bone} is picked for {joints[bone]} and for {joint}")
        joints[bone] = joint


def _best_family(rig: TargetRig, index: NameIndex) -> Steps[MappingMatch | None]:
    found: list[MappingMatch | None] = []
    for family in known_families():
        yield
        found.append(match_mapping(family, rig, index))
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
    return _with_root(rig, _with_location(replace(match, bones=kept, notes=notes)))


def _with_root(rig: TargetRig, match: BoneMatch) -> BoneMatch:
    """With the topmost bone above the hips, if it lies well below them, where no name tells one."""
    if match.root_bone or match.missing_joints():
        return match
    pelvis = top = rig.index[match.bones["pelvis"]]
    while rig.parents[top] >= 0:
        top = int(rig.parents[top])
    hips, shoulders = (
        rig.heads[[rig.index[match.bones[f"{side}_{joint}"]] for side in ("left", "right")]].mean(0)
        for joint in ("hip", "shoulder")
    )
    trunk = shoulders - hips
    height = float((rig.heads[top] - hips) @ trunk) / max(float(trunk @ trunk), 1e-12)
    if top == pelvis or height > -_ROOT_BELOW:
        return match
    return replace(match, root_bone=rig.bone_names[top])


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
