"""Find a body by its shape: two legs and two arms on a trunk, whatever the bones are called.

Legs and arms are twin branches of the tree of bones. Of all choices of two pairs the one that is
least unlike a standing human is taken; how much less unlike than the next choice it is says how
sure that is. Where the toes point tells left from right. What isn't sure is said to be so: a rig
that is no standing human (a quadruped, a prop, a lone hand) gets a low confidence or nothing.

Armature space throughout: the object's own rotation and scale play no part.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import takewhile

import numpy as np

from .bone_match import BoneMatch, FoundBy, TwistBone
from .bone_tree import BonePath, BoneTree, TwinPair
from .facing import Facing, find_facing
from .limb_shape import LimbFit, fit_arm, fit_leg
from .rotations import FloatArray, unit
from .steps import Steps
from .target_rig import TargetRig
from .trunk import find_trunk

STRUCTURE_NAME = "Found by shape"
_BEST_CONFIDENCE = 0.85  # shape alone is never as sure as names
_MOST_COST = 2.6  # a body that is more unlike a human than this is none
_CLEAR_MARGIN = 0.35  # cost; a lead over the next choice from which on there is no doubt
_RIVAL_LENGTH = 0.6  # of a leg: shorter pairs of branches are no second pair of legs
_RIVAL_LEAD = 0.6  # cost by which other legs or arms must be worse


@dataclass(frozen=True, kw_only=True, eq=False)
class Body:
    """One choice of legs and arms."""

    legs: TwinPair
    arms: TwinPair
    leg_fit: LimbFit
    arm_fit: LimbFit
    cost: float

    def leg_points(self, place: int) -> FloatArray:
        """(2, 3) hips (0), knees (1) or ankles (2)."""
        return _points(self.legs.paths, self.leg_fit, place)

    def arm_points(self, place: int) -> FloatArray:
        """(2, 3) shoulders (0), elbows (1) or wrists (2), by the legs' order of sides."""
        return _points(self.arms.paths, self.arm_fit, place)


@dataclass(kw_only=True)
class _Findings:
    """A match in the making."""

    bones: dict[str, str] = field(default_factory=dict[str, str])
    confidence: dict[str, float] = field(default_factory=dict[str, float])
    twist_bones: dict[str, TwistBone] = field(default_factory=dict[str, TwistBone])
    notes: list[str] = field(default_factory=list[str])

    def add(self, joint: str, bone: str, confidence: float) -> None:
        self.bones[joint] = bone
        self.confidence[joint] = max(0.0, min(confidence, _BEST_CONFIDENCE))

    def doubt_all(self, most: float) -> None:
        self.confidence = {joint: min(sure, most) for joint, sure in self.confidence.items()}


def match_structure(rig: TargetRig) -> Steps[BoneMatch]:
    """The body of a rig by its shape; without bones where there is none.

    Bones that no mesh follows are helpers, but some rigs tie the body together with them.
    """
    match = yield from _match_tree(BoneTree(rig))
    if not match.bones and rig.deforming is not None:
        match = yield from _match_tree(BoneTree(rig, with_all=True))
    return match


def _match_tree(tree: BoneTree) -> Steps[BoneMatch]:
    rig = tree.rig
    bodies = yield from _bodies(tree)
    bodies.sort(key=lambda body: body.cost)
    if not bodies or bodies[0].cost > _MOST_COST:
        note = (
            "The bones don't have the shape of a standing human: two legs and two arms on a trunk"
        )
        return BoneMatch(map_name="", found_by=FoundBy.STRUCTURE, bones={}, notes=(note,))
    body = bodies[0]
    findings = _Findings()
    sure = _certainty(tree, body, bodies[1:], findings.notes)
    facing = find_facing(tree, body.leg_points(0), body.arm_points(0), _feet(body))
    if facing.confidence < 0.5:
        findings.notes.append("Which way the character faces can't be told from its bones")
    sides = _sides(body, facing)
    for side, leg, arm in zip(sides, body.legs.paths, body.arms.paths, strict=True):
        _add_leg(tree, findings, side, leg, body.leg_fit, min(sure, facing.confidence))
        _add_arm(tree, findings, side, arm, body.arm_fit, min(sure, facing.confidence))
    after_toes = max(0, len(body.legs.paths[0].bones) - body.leg_fit.places[2] - 2)
    trunk = find_trunk(
        tree, body.legs.junction, body.arms.junction, _trunk_points(body), after_toes
    )
    names = rig.bone_names
    findings.add("pelvis", names[trunk.pelvis], min(sure, trunk.pelvis_confidence))
    if trunk.head >= 0:
        findings.add("head", names[trunk.head], min(sure, trunk.head_confidence))
    elif trunk.neck:
        findings.notes.append("No bone above the shoulders is where a human's head is")
        findings.doubt_all(0.45)
    return BoneMatch(
        map_name=STRUCTURE_NAME,
        found_by=FoundBy.STRUCTURE,
        bones=findings.bones,
        spine=tuple(names[bone] for bone in trunk.spine),
        neck=tuple(names[bone] for bone in trunk.neck),
        twist_bones=findings.twist_bones,
        location_bone=names[trunk.location_bone] if trunk.location_bone >= 0 else "",
        root_bone=names[trunk.root_bone] if trunk.root_bone >= 0 else "",
        confidence=findings.confidence,
        notes=tuple(findings.notes),
    )


def _points(paths: Sequence[BonePath], fit: LimbFit, place: int) -> FloatArray:
    return np.stack([path.points[fit.places[place]] for path in paths])


def _bodies(tree: BoneTree) -> Steps[list[Body]]:
    """All choices of legs and arms that could be a human's, or a rival to it."""
    bodies: list[Body] = []
    arm_fits: dict[tuple[int, bool], LimbFit | None] = {}
    for legs in tree.twin_pairs:
        yield
        leg_fit = fit_leg(legs.paths)
        if leg_fit is None or leg_fit.cost > _MOST_COST:
            continue
        hips = _points(legs.paths, leg_fit, 0)
        for number, arms in enumerate(tree.twin_pairs):
            if not _may_belong(tree, legs, arms):
                continue
            paths = _by_side(hips, arms.paths)
            key = number, paths is arms.paths
            if key not in arm_fits:
                yield
                middle = np.mean([path.points[0] for path in paths], axis=0)
                arm_fits[key] = fit_arm(paths, middle)
            arm_fit = arm_fits[key]
            if arm_fit is None or leg_fit.cost + arm_fit.cost > _MOST_COST + _CLEAR_MARGIN:
                continue
            yield
            body = Body(
                legs=legs,
                arms=replace(arms, paths=paths),
                leg_fit=leg_fit,
                arm_fit=arm_fit,
                cost=leg_fit.cost + arm_fit.cost,
            )
            posture = _posture_cost(tree, body)
            if posture is not None:
                bodies.append(replace(body, cost=body.cost + posture))
    return bodies


def _may_belong(tree: BoneTree, legs: TwinPair, arms: TwinPair) -> bool:
    """Arms hang on the trunk above the legs, or on another branch; neither on the other."""
    if min(legs.junction, arms.junction) < 0:
        return False
    starts = {path.bones[0] for path in legs.paths} | {path.bones[0] for path in arms.paths}
    if len(starts) < 4:
        return False
    leg_starts = [path.bones[0] for path in legs.paths]
    arm_starts = [path.bones[0] for path in arms.paths]
    on_leg = any(tree.is_below(arms.junction, start) for start in leg_starts)
    on_arm = any(tree.is_below(legs.junction, start) for start in arm_starts)
    return not on_leg and not on_arm and tree.common_ancestor(legs.junction, arms.junction) >= 0


def _by_side(hips: FloatArray, paths: tuple[BonePath, BonePath]) -> tuple[BonePath, BonePath]:
    """The arms in the order of the legs' sides."""
    across = hips[0] - hips[1]
    ends = [path.points[min(len(path.points) - 1, 2)] for path in paths]
    return paths if float((ends[0] - ends[1]) @ across) >= 0 else (paths[1], paths[0])


def _posture_cost(tree: BoneTree, body: Body) -> float | None:
    """What is unlike a standing human in how the limbs lie; None for what can't be one."""
    hips, ankles = body.leg_points(0), body.leg_points(2)
    shoulders, wrists = body.arm_points(0), body.arm_points(2)
    trunk = shoulders.mean(axis=0) - hips.mean(axis=0)
    length = float(np.linalg.norm(trunk))
    leg = float(np.linalg.norm(hips - body.leg_points(1), axis=-1).mean())
    leg += float(np.linalg.norm(body.leg_points(1) - ankles, axis=-1).mean())
    arm = float(np.linalg.norm(shoulders - body.arm_points(1), axis=-1).mean())
    arm += float(np.linalg.norm(body.arm_points(1) - wrists, axis=-1).mean())
    across, chest_across = hips[0] - hips[1], shoulders[0] - shoulders[1]
    if min(length, leg, arm) < 1e-6 * tree.size or np.linalg.norm(across) < 1e-3 * leg:
        return None
    down = ankles.mean(axis=0) - hips.mean(axis=0)
    opposite = -float(unit(trunk) @ unit(down))
    level = abs(float(unit(across) @ unit(trunk)))
    alike = float(unit(across) @ unit(chest_across))
    if opposite < 0.6 or alike < 0.7 or level > 0.45:
        return None
    cost = 2.0 * max(0.0, 0.9 - opposite) + 2.0 * max(0.0, 0.95 - alike) + max(0.0, level - 0.2)
    cost += _outside(leg / length, 0.6, 2.8) + _outside(arm / length, 0.55, 2.2)
    cost += _outside(arm / leg, 0.35, 1.5)
    # Wider than the shoulders are no hips of a human, and hands don't reach the floor.
    cost += _outside(float(np.linalg.norm(across) / np.linalg.norm(chest_across)), 0.12, 1.5)
    lowest = float(((wrists - hips.mean(axis=0)) @ unit(trunk)).min())
    cost += 2.0 * max(0.0, -lowest / leg - 0.6)
    if tree.depth(body.legs.junction) > tree.depth(body.arms.junction) + 1:
        cost += 0.6  # the tree of most rigs begins at the pelvis
    return cost


def _outside(value: float, low: float, high: float) -> float:
    """How far a ratio is out of its range, as a logarithm."""
    return float(max(0.0, np.log(low / max(value, 1e-9)), np.log(max(value, 1e-9) / high)))


def _certainty(tree: BoneTree, body: Body, others: Sequence[Body], notes: list[str]) -> float:
    """How sure legs and arms are, 0 to 1, by how unlike a human they and their rivals are.

    others: the other choices, the least unlike a human first.
    """
    sure = 1.0 - 0.22 * max(0.0, body.cost)
    near = takewhile(lambda other: other.cost - body.cost < _CLEAR_MARGIN, others)
    lead = next((other.cost - body.cost for other in near if _is_other(body, other)), np.inf)
    if lead < _CLEAR_MARGIN:
        notes.append("More than one pair of branches could be its legs or arms")
        sure = min(sure, 0.25 + 0.5 * max(0.0, float(lead)))
    if _has_more_legs(tree, body):
        notes.append("It has more than two legs")
        sure = min(sure, 0.2)
    return sure


def _is_other(body: Body, other: Body) -> bool:
    """Whether another choice has other limbs, not the same ones from a higher junction."""
    mine = {path.bones[-1] for path in (*body.legs.paths, *body.arms.paths)}
    theirs = {path.bones[-1] for path in (*other.legs.paths, *other.arms.paths)}
    return mine != theirs


def _has_more_legs(tree: BoneTree, body: Body) -> bool:
    """Whether other branches look as much like legs that stand beside these."""
    down = unit(body.leg_points(2).mean(axis=0) - body.leg_points(0).mean(axis=0))
    own = {bone for path in (*body.legs.paths, *body.arms.paths) for bone in path.bones}
    for pair in (pair for pair in tree.twin_pairs if pair.is_whole):
        starts = [path.bones[0] for path in pair.paths]
        hangs_on_limb = any(
            tree.is_below(start, path.bones[0])
            for start in starts
            for path in (*body.legs.paths, *body.arms.paths)
        )
        if hangs_on_limb or own & set(starts) or pair.length < _RIVAL_LENGTH * body.legs.length:
            continue
        fit = fit_leg(pair.paths)
        if fit is None or fit.cost > body.leg_fit.cost + _RIVAL_LEAD:
            continue
        way = _points(pair.paths, fit, 2).mean(axis=0) - _points(pair.paths, fit, 0).mean(axis=0)
        if float(unit(way) @ down) > 0.7:
            return True
    return False


def _feet(body: Body) -> FloatArray | None:
    """(2, 3) from ankle to the next point of both feet; None without."""
    ankle = body.leg_fit.places[2]
    if any(ankle + 1 >= len(path.points) for path in body.legs.paths):
        return None
    return np.stack([path.points[ankle + 1] - path.points[ankle] for path in body.legs.paths])


def _sides(body: Body, facing: Facing) -> tuple[str, str]:
    across = body.leg_points(0)[0] - body.leg_points(0)[1]
    return ("left", "right") if float(across @ facing.left) > 0 else ("right", "left")


def _trunk_points(body: Body) -> tuple[FloatArray, FloatArray]:
    """(3,) between the hips, and between the shoulders."""
    return body.leg_points(0).mean(axis=0), body.arm_points(0).mean(axis=0)


def _fit_confidence(fit: LimbFit, sure: float) -> float:
    """A limb whose next best reading is nearly as good is no sure one."""
    return min(sure, 0.45 + 0.5 * fit.margin / _CLEAR_MARGIN)


def _add_leg(
    tree: BoneTree, findings: _Findings, side: str, path: BonePath, fit: LimbFit, sure: float
) -> None:
    hip, knee, ankle = fit.places
    names, sure = tree.rig.bone_names, _fit_confidence(fit, sure)
    findings.add(f"{side}_hip", names[path.bones[hip]], sure)
    findings.add(f"{side}_knee", names[path.bones[knee]], sure)
    if ankle < len(path.bones):
        findings.add(f"{side}_ankle", names[path.bones[ankle]], sure)
    if ankle + 1 < len(path.bones):
        findings.add(f"{side}_foot", names[path.bones[ankle + 1]], sure)
    _add_twists(tree, findings, f"{side}_hip", path, hip, knee)
    _add_twists(tree, findings, f"{side}_knee", path, knee, ankle)


def _add_arm(
    tree: BoneTree, findings: _Findings, side: str, path: BonePath, fit: LimbFit, sure: float
) -> None:
    shoulder, elbow, wrist = fit.places
    names, sure = tree.rig.bone_names, _fit_confidence(fit, sure)
    findings.add(f"{side}_shoulder", names[path.bones[shoulder]], sure)
    findings.add(f"{side}_elbow", names[path.bones[elbow]], sure)
    if wrist < len(path.bones):
        findings.add(f"{side}_wrist", names[path.bones[wrist]], sure)
    if shoulder > 0:
        lengths = np.linalg.norm(np.diff(path.points[: shoulder + 1], axis=0), axis=-1)
        findings.add(f"{side}_collar", names[path.bones[int(np.argmax(lengths))]], sure)
    _add_twists(tree, findings, f"{side}_shoulder", path, shoulder, elbow)
    _add_twists(tree, findings, f"{side}_elbow", path, elbow, wrist)


def _add_twists(
    tree: BoneTree, findings: _Findings, joint: str, path: BonePath, start: int, end: int
) -> None:
    """The bones between two joints of a chain share the twist, each with the middle of its part."""
    along = path.points[end] - path.points[start]
    places = [
        float((path.points[place] - path.points[start]) @ along / (along @ along))
        for place in range(start, end + 1)
    ]
    for step in range(1, end - start):
        share = (places[step] + places[step + 1]) / 2
        bone = tree.rig.bone_names[path.bones[start + step]]
        findings.twist_bones[bone] = TwistBone(joint=joint, share=float(np.clip(share, 0, 1)))
