"""Pelvis, spine, neck and head of a body whose legs and arms are known. Armature space."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .bone_tree import BoneTree
from .rotations import FloatArray, unit

_HEAD_HEIGHT = (0.12, 0.6)  # over the shoulders, against the trunk: where a head's bone may begin
_BESIDE = 0.12  # of the trunk: bones further from the middle are no neck
_NEAR_PELVIS = 0.5  # of the trunk: a pelvis' bone further from the hips is a root


@dataclass(frozen=True, kw_only=True)
class Trunk:
    """Bones of the middle line; -1 for none."""

    pelvis: int
    pelvis_confidence: float
    spine: tuple[int, ...]
    neck: tuple[int, ...]
    head: int
    head_confidence: float
    location_bone: int
    root_bone: int


def find_trunk(
    tree: BoneTree,
    legs: int,
    arms: int,
    points: tuple[FloatArray, FloatArray],
    after_toes: int,
) -> Trunk:
    """Find the middle line; `legs` and `arms` are the bones on which both sides hang.

    `points` are the places (3,) between the hips and between the shoulders. Rigs that end their
    toes with bones without a joint, `after_toes` of them, end the head with as many.
    """
    hips, shoulders = points
    length = float(np.linalg.norm(shoulders - hips))
    top = tree.common_ancestor(legs, arms)
    near = [bone for bone in (top, legs) if _distance(tree, bone, hips) < _NEAR_PELVIS * length]
    pelvis = near[0] if near else legs
    # An animation of the whole body moves what carries both halves.
    location_bone = -1 if pelvis == top else top
    spine = list(tree.path_between(top, arms))
    if pelvis != top and pelvis in spine:
        spine = list(tree.path_between(pelvis, arms))
    neck_start, neck = arms, list[int]()
    height = float((shoulders - tree.rig.heads[arms]) @ unit(shoulders - hips))
    if len(spine) >= 2 and height < 0.06 * length:
        neck = [spine.pop()]  # arms that hang on the neck, as in 3ds Max
    line = _line_up(tree, neck_start, hips, shoulders)
    head, confidence = _choose_head(tree, line, points, after_toes)
    neck += line[: line.index(head)] if head >= 0 else line
    return Trunk(
        pelvis=pelvis,
        pelvis_confidence=0.95 if near else 0.5,
        spine=tuple(spine),
        neck=tuple(neck),
        head=head,
        head_confidence=confidence,
        location_bone=location_bone,
        root_bone=_root(tree, top, hips, shoulders),
    )


def _distance(tree: BoneTree, bone: int, point: FloatArray) -> float:
    return float(np.linalg.norm(tree.rig.heads[bone] - point))


def _root(tree: BoneTree, top: int, hips: FloatArray, shoulders: FloatArray) -> int:
    """The highest bone above the body, if it lies well below the hips."""
    above = list(tree.ancestors(top))
    if not above:
        return -1
    height = float((tree.rig.heads[above[-1]] - hips) @ unit(shoulders - hips))
    return above[-1] if height < -0.5 * float(np.linalg.norm(shoulders - hips)) else -1


def _line_up(tree: BoneTree, start: int, hips: FloatArray, shoulders: FloatArray) -> list[int]:
    """The bones of the middle line from above `start` up to the top of the head."""
    trunk = shoulders - hips
    length, up = float(np.linalg.norm(trunk)), unit(trunk)
    line: list[int] = []
    bone = start
    while True:
        places = {
            child: tree.rig.heads[child] - hips
            for child in tree.children[bone]
            if float((tree.rig.heads[child] - tree.rig.heads[bone]) @ up) > -0.05 * length
        }
        heights = {child: float(place @ up) for child, place in places.items()}
        middle = [
            child
            for child, place in places.items()
            if np.linalg.norm(place - heights[child] * up) < (_BESIDE + 0.25) * length
            and not _has_twin(tree, child, bone, hips, up)
            and heights[child] > 0.8 * length
        ]
        if not middle:
            return line
        above = max(middle, key=lambda child: (tree.reach(child), heights[child]))
        if not line or tree.distance(above, bone) > 2e-3 * tree.size:
            line.append(above)
        bone = above


def _has_twin(tree: BoneTree, child: int, bone: int, hips: FloatArray, up: FloatArray) -> bool:
    """Whether a branch is one of a pair: eyes, ears, horns; arms of which one holds a sword."""
    for pair in (pair for pair in tree.twin_pairs if pair.junction == bone):
        starts = [path.bones[0] for path in pair.paths]
        if child in starts:
            places = tree.rig.heads[starts] - hips
            beside = places - np.outer(places @ up, up)
            across = beside[0] - beside[1]
            # Both as far from the middle, one to each side.
            if pair.is_whole or abs(float(beside.sum(axis=0) @ across)) < 0.5 * across @ across:
                return True
    return False


def _choose_head(
    tree: BoneTree, line: list[int], points: tuple[FloatArray, FloatArray], after_toes: int
) -> tuple[int, float]:
    """The head among the bones above the shoulders, and how sure that is.

    Two things tell it from the neck and from the top of the skull: what branches off it (eyes,
    jaw, hair), and how many bones follow. Where they differ nothing is sure.
    """
    hips, shoulders = points
    trunk = shoulders - hips
    length = float(np.linalg.norm(trunk))
    heights = {b: float((tree.rig.heads[b] - shoulders) @ unit(trunk)) / length for b in line}
    likely = [b for b in line if _HEAD_HEIGHT[0] <= heights[b] <= _HEAD_HEIGHT[1]]
    if not likely:
        return -1, 0.0
    # A face's root lies before the head, not over it: what hangs on it hangs on the head.
    rising = [b for b in likely if _rises(tree, line, b, unit(trunk))]
    with_face = [
        b for b in rising if _branches(tree, b) >= 2 or _carries_face(tree, line, b, rising)
    ]
    by_face = with_face[-1] if with_face else -1
    by_end = line[-1 - after_toes] if len(line) > after_toes else -1
    if len(likely) == 1 and by_face < 0:
        return likely[0], 0.75
    if by_face >= 0:
        sure = by_face == by_end or len(with_face) == 1
        return by_face, 0.75 if sure else 0.4
    if by_end in likely:
        return by_end, 0.7
    return likely[-1], 0.4


def _branches(tree: BoneTree, bone: int) -> int:
    """How many bones hang on a bone, and on those that start where it does (a face's root)."""
    count = 0
    for child in tree.children[bone]:
        together = tree.distance(child, bone) < 2e-3 * tree.size
        count += max(1, _branches(tree, child)) if together else 1
    return count


def _rises(tree: BoneTree, line: list[int], bone: int, up: FloatArray) -> bool:
    """Whether a bone lies over the one before it in the line."""
    place = line.index(bone)
    if place == 0:
        return True
    way = tree.rig.heads[bone] - tree.rig.heads[line[place - 1]]
    return float(way @ up) > 0.6 * float(np.linalg.norm(way))


def _carries_face(tree: BoneTree, line: list[int], bone: int, rising: list[int]) -> bool:
    """Whether the line goes on from a bone with a face's root."""
    place = line.index(bone) + 1
    return place < len(line) and line[place] not in rising and _branches(tree, line[place]) >= 2
