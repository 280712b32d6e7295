"""What carries the figure, where it starts, how large its path is; twist and chains of bones."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from blender_addon.rig.bone_match import RigError
from blender_addon.rig.retarget import RigMotion, retarget
from blender_addon.rig.retarget_options import RetargetOptions, RootMode, Start
from blender_addon.rig.target_rig import TargetRig
from tests.blender_addon.rig.figures import (
    RigShape,
    make_rig,
    match_of,
    pose,
    rest_motion,
    walk_motion,
)
from tests.blender_addon.rig.rig_parts import FREE, turned, with_bone

TOLERANCE = 1e-4  # metres; float32 of the wire
A_POSE = RigShape(arms_down=0.8, roll_seed=3)


def placed_object(angle: float = 2.0) -> np.ndarray:
    matrix = np.eye(4)
    cosine, sine = np.cos(angle), np.sin(angle)
    matrix[:2, :2] = [[cosine, -sine], [sine, cosine]]
    matrix[:3, 3] = (3.0, -2.0, 0.5)
    return matrix


def with_root(rig: TargetRig) -> TargetRig:
    top = next(n for n, p in zip(rig.bone_names, rig.parents, strict=True) if p < 0)
    return with_bone(rig, "root", "", np.zeros(3), np.array([0.0, 0.3, 0.1]), children=(top,))


def in_world(rig: TargetRig, keyed: RigMotion) -> np.ndarray:
    matrices = pose(rig, keyed)
    if keyed.object_matrices is not None:
        still = np.linalg.inv(rig.object_matrix)
        matrices = keyed.object_matrices[:, None] @ still @ matrices
    return matrices


def hips(rig: TargetRig, matrices: np.ndarray) -> np.ndarray:
    bones = [rig.index[match_of(rig).bones[j]] for j in ("left_hip", "right_hip")]
    return matrices[:, bones][..., :3, 3].mean(axis=1)


@pytest.mark.parametrize("smooth_s", [0.0, 0.6])
@pytest.mark.parametrize("root", [RootMode.OBJECT, RootMode.BONE])
def test_what_carries_the_figure_does_not_change_what_is_seen(
    root: RootMode, smooth_s: float
) -> None:
    rig, motion = with_root(make_rig(A_POSE, placed_object())), walk_motion(60)
    match = replace(match_of(rig), root_bone="root")
    plain = in_world(rig, retarget(motion, rig, match))
    options = RetargetOptions(root=root, smooth_root_s=smooth_s)
    carried = in_world(rig, retarget(motion, rig, match, options))
    moving = [bone for bone, name in enumerate(rig.bone_names) if name != "root"]
    assert np.abs(carried[:, moving] - plain[:, moving]).max() < TOLERANCE


def test_a_root_bone_walks_on_the_ground_and_faces_ahead() -> None:
    rig, motion = with_root(make_rig(A_POSE)), turned(walk_motion(60), 1.0)
    match = replace(match_of(rig), root_bone="root")
    keyed = retarget(motion, rig, match, RetargetOptions(root=RootMode.BONE))
    matrices = pose(rig, keyed)
    root = matrices[:, rig.index["root"]]
    assert np.abs(root[:, 2, 3]).max() < TOLERANCE
    under_hips = hips(rig, matrices)[:, :2]
    assert np.abs(root[:, :2, 3] - under_hips).max() < TOLERANCE
    change = root[:, :3, :3] @ rig.rest_matrices[rig.index["root"], :3, :3].T
    assert np.abs(change[:, 2, 2] - 1).max() < 1e-9  # it turns about the vertical only
    ahead = change @ (0.0, -1.0, 0.0)
    walked = under_hips[-1] - under_hips[0]
    assert ahead[:, :2].mean(axis=0) @ walked / np.linalg.norm(walked) > 0.9


def test_a_smoothed_root_is_smoother_and_ends_where_the_motion_does() -> None:
    rig, motion = make_rig(A_POSE), walk_motion(80)
    paths = []
    for smooth_s in (0.0, 0.8):
        options = RetargetOptions(root=RootMode.OBJECT, smooth_root_s=smooth_s)
        matrices = retarget(motion, rig, match_of(rig), options).object_matrices
        assert matrices is not None
        paths.append(matrices[:, :2, 3])
    rough, smooth = (np.abs(np.diff(path, 2, axis=0)).max() for path in paths)
    assert smooth < 0.5 * rough
    assert np.abs(paths[0][[0, -1]] - paths[1][[0, -1]]).max() < 1e-6


def test_in_place_takes_out_the_path_and_keeps_the_heading() -> None:
    rig, motion = make_rig(A_POSE), turned(walk_motion(60), 0.8)
    plain = pose(rig, retarget(motion, rig, match_of(rig)))
    options = RetargetOptions(root=RootMode.IN_PLACE)
    still = pose(rig, retarget(motion, rig, match_of(rig), options))
    assert np.ptp(hips(rig, still)[:, :2], axis=0).max() < TOLERANCE
    assert np.abs(hips(rig, still)[:, 2] - hips(rig, plain)[:, 2]).max() < TOLERANCE
    assert np.abs(still[..., :3, :3] - plain[..., :3, :3]).max() < 1e-9


@pytest.mark.parametrize(
    ("name", "message"), [("", "no root bone"), ("nothing", "nothing"), ("prop", "does not hang")]
)
def test_a_root_bone_that_cannot_carry_is_refused(name: str, message: str) -> None:
    rig = with_bone(make_rig(A_POSE), "prop", "", np.zeros(3), np.array([0.0, 0.0, 1.0]))
    options = RetargetOptions(root=RootMode.BONE, root_bone=name)
    with pytest.raises(RigError, match=message):
        retarget(rest_motion(), rig, match_of(rig), options)


def test_starting_at_the_world_origin_keeps_the_motions_own_place_and_heading() -> None:
    """Wherever the character stands: +z of the motion is -Y of the world, the path is scaled."""
    motion = walk_motion(40)
    motion = replace(motion, root_translation=motion.root_translation + np.float32([1.0, 0, 0.5]))
    options = RetargetOptions(start=Start.ORIGIN, scale=1.0, plant_feet=False)
    found = []
    for matrix in (np.eye(4), placed_object()):
        rig = make_rig(A_POSE, matrix)
        keyed = retarget(motion, rig, match_of(rig), options)
        found.append(hips(rig, in_world(rig, keyed)))
    x, _, z = motion.root_translation.T
    for path in found:
        # The pelvis is over the hips by 75 mm, and leans.
        assert np.abs(path[:, :2] - np.stack([x, -z], axis=-1)).max() < 0.05
    assert np.abs(found[0][:, :2] - found[1][:, :2]).max() < TOLERANCE


def test_the_first_frame_may_face_where_the_character_does() -> None:
    rig = make_rig(A_POSE)
    options = RetargetOptions(keep_heading=False)
    for angle in (0.9, -2.5):
        matrices = pose(rig, retarget(turned(walk_motion(20), angle), rig, match_of(rig), options))
        sides = [
            matrices[0, rig.index[match_of(rig).bones[f"{side}_hip"]], :3, 3]
            for side in ("left", "right")
        ]
        left = sides[0] - sides[1]
        assert abs(np.degrees(np.arctan2(left[1], left[0]))) < 10  # faces -Y: its left is +X


@pytest.mark.parametrize("floor_z", [0.0, 1.25])
def test_the_floor_is_at_the_height_asked_for(floor_z: float) -> None:
    rig, motion = make_rig(A_POSE, placed_object()), walk_motion(60)
    lowest = []
    for options in (RetargetOptions(), RetargetOptions(floor_z=floor_z)):
        matrices = in_world(rig, retarget(motion, rig, match_of(rig), options))
        toes = [rig.index[match_of(rig).bones[f"{s}_foot"]] for s in ("left", "right")]
        lowest.append(matrices[:, toes, 2, 3].min())
    assert lowest[0] == pytest.approx(0.52, abs=1e-3)  # the object is at 0.5, toes at 0.02
    assert lowest[1] == pytest.approx(floor_z + 0.02, abs=1e-3)


def test_the_scale_of_the_path_may_be_given() -> None:
    rig, motion = make_rig(A_POSE), walk_motion(40)
    for scale in (0.5, 2.0):
        keyed = retarget(motion, rig, match_of(rig), replace(FREE, scale=scale))
        path = hips(rig, pose(rig, keyed))
        walked = np.linalg.norm(path[-1, :2] - path[0, :2])
        wanted = np.linalg.norm((motion.root_translation[-1] - motion.root_translation[0])[[0, 2]])
        assert walked == pytest.approx(scale * wanted, rel=0.02)


@pytest.mark.parametrize(
    "wrong",
    [{"smooth_root_s": -1.0}, {"scale": 0.0}, {"scale": float("nan")}, {"floor_z": float("inf")}],
)
def test_options_out_of_range_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        RetargetOptions(**wrong)


def test_each_correction_of_the_feet_can_be_switched_off() -> None:
    rig, motion = make_rig(A_POSE), walk_motion(80)
    planted = retarget(motion, rig, match_of(rig)).report
    loose = retarget(motion, rig, match_of(rig), replace(FREE, keep_above_floor=True)).report
    free = retarget(motion, rig, match_of(rig), FREE).report
    assert planted.foot_slide_mm < 0.1 < 1.0 < loose.foot_slide_mm
    assert planted.penetration_mm < 1.0
    assert free.planted_direction_error == pytest.approx(free.max_direction_error)
    assert loose.penetration_mm <= free.penetration_mm
