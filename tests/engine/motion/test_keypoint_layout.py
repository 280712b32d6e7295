"""Detectors' points in our order, and a pose as a detector would see it."""

from __future__ import annotations

import pytest
import torch

from engine.motion import skeleton as sk
from engine.motion.keypoint_layout import (
    EARS_OFFSET,
    LAYOUTS,
    OBSERVED_JOINTS,
    keypoints_of_pose,
    to_joint_keypoints,
)
from engine.motion.person_box import fit_boxes, normalise_keypoints
from engine.motion.skeleton import SMPL_22

# A person facing the camera: their left is on the image's right. Points by name, as each
# detector's documentation numbers them.
BLAZEPOSE = {"nose": 0, "left_ear": 7, "right_ear": 8, "left_shoulder": 11, "right_wrist": 16}
BLAZEPOSE |= {"right_shoulder": 12, "left_hip": 23, "right_hip": 24, "left_foot_index": 31}


def named(layout: dict[str, int], count: int, **points: tuple[float, float]) -> torch.Tensor:
    keypoints = torch.zeros(1, count, 3)
    for name, (x, y) in points.items():
        keypoints[0, layout[name]] = torch.tensor((x, y, 0.9))
    return keypoints


def test_blazepose_points_come_to_their_joints_and_middles() -> None:
    keypoints = named(
        BLAZEPOSE,
        33,
        left_ear=(0.1, -0.9),
        right_ear=(-0.1, -0.9),
        left_shoulder=(0.2, -0.6),
        right_shoulder=(-0.2, -0.6),
        left_hip=(0.1, 0.0),
        right_hip=(-0.1, 0.2),
        left_foot_index=(0.3, 0.9),
        right_wrist=(-0.5, -0.3),
    )
    keypoints[0, 24, 2] = 0.4
    joints = to_joint_keypoints(keypoints, "blazepose_33")[0]
    expected = {
        sk.PELVIS: (0.0, 0.1, 0.4),
        sk.NECK: (0.0, -0.6, 0.9),
        sk.HEAD: (0.0, -0.9, 0.9),
        sk.LEFT_FOOT: (0.3, 0.9, 0.9),
        sk.RIGHT_WRIST: (-0.5, -0.3, 0.9),
        sk.LEFT_KNEE: (0.0, 0.0, 0.0),
        sk.SPINE3: (0.0, 0.0, 0.0),
    }
    for joint, values in expected.items():
        torch.testing.assert_close(joints[joint], torch.tensor(values))


def test_the_nose_stands_in_for_ears_that_are_not_seen() -> None:
    keypoints = named(BLAZEPOSE, 33, nose=(0.0, -0.8), left_ear=(0.1, -0.9))
    joints = to_joint_keypoints(keypoints, "blazepose_33")[0]
    torch.testing.assert_close(joints[sk.HEAD], torch.tensor((0.0, -0.8, 0.9)))


@pytest.mark.parametrize("name", sorted(LAYOUTS))
def test_every_layout_mirrors_with_its_points(name: str) -> None:
    layout = LAYOUTS[name]
    order = list(SMPL_22.mirror_order)
    generator = torch.Generator().manual_seed(0)
    keypoints = torch.rand(1, layout.num_keypoints, 3, generator=generator) + 0.1
    swapped = keypoints.clone()
    for joint in (j for j in layout.sources if order[j] != j):
        (point,), (twin,) = layout.sources[joint], layout.sources[order[joint]]
        swapped[:, point] = keypoints[:, twin]
    found = to_joint_keypoints(swapped, name)
    torch.testing.assert_close(found, to_joint_keypoints(keypoints, name)[:, order])
    seen = {j for j in range(22) if float(found[0, j, 2]) > 0}
    missing = {sk.LEFT_FOOT, sk.RIGHT_FOOT} if name in ("coco_17", "nba_16") else set()
    assert seen == set(OBSERVED_JOINTS) - missing


def test_numbers_that_are_not_finite_are_not_seen() -> None:
    keypoints = torch.full((2, 17, 3), 0.5)
    keypoints[1, 9, 0] = torch.nan
    found = to_joint_keypoints(keypoints, "coco_17")
    assert found[0, sk.LEFT_WRIST, 2] == 0.5
    assert found[1, sk.LEFT_WRIST].tolist() == [0, 0, 0]
    assert found.isfinite().all()


def test_a_wrong_layout_or_count_is_refused() -> None:
    with pytest.raises(ValueError, match="needs one of"):
        to_joint_keypoints(torch.zeros(1, 33, 3), "openpose")
    with pytest.raises(ValueError, match="33, 3"):
        to_joint_keypoints(torch.zeros(1, 17, 3), "blazepose_33")


def test_a_pose_shows_middles_and_ears() -> None:
    joints = torch.tensor(SMPL_22.rest_joints())
    quarter = torch.tensor([[0.0, 0.0, 1.0], [0.0, 1.0, 0.0], [-1.0, 0.0, 0.0]])  # z to x
    found = keypoints_of_pose(joints, quarter)
    ears = joints[sk.HEAD] + torch.tensor((EARS_OFFSET[2], EARS_OFFSET[1], 0.0))
    torch.testing.assert_close(found[sk.HEAD], ears)
    torch.testing.assert_close(found[sk.NECK], (joints[16] + joints[17]) / 2)
    torch.testing.assert_close(found[sk.PELVIS], (joints[1] + joints[2]) / 2)
    lifted = keypoints_of_pose(joints, quarter, torch.tensor((0.0, 0.1, 0.0)).expand(22, 3))
    torch.testing.assert_close(lifted - found, torch.tensor((0.0, 0.1, 0.0)).expand(22, 3))


def test_boxes_hold_the_person_and_are_steady() -> None:
    generator = torch.Generator().manual_seed(1)
    keypoints = torch.rand(2, 40, 22, 3, generator=generator) * torch.tensor((0.2, 0.8, 0.0))
    keypoints += torch.tensor((0.3, -0.5, 0.9))
    steady = fit_boxes(keypoints)
    assert ((steady[..., 0] - 0.4).abs() < 0.02).all()
    assert ((steady[..., 1] + 0.1).abs() < 0.05).all()
    assert ((steady[..., 2] - 0.48).abs() < 0.08).all()
    keypoints[0, 20] = torch.tensor((5.0, 5.0, 0.9))  # a slip in one frame
    keypoints[1, 10:14, :, 2] = 0.0  # nobody in four
    torch.testing.assert_close(fit_boxes(keypoints), steady, atol=0.03, rtol=0)


def test_boxes_of_nothing_and_of_one_frame_are_usable() -> None:
    nothing = fit_boxes(torch.zeros(1, 7, 22, 3))
    torch.testing.assert_close(nothing, torch.tensor((0.0, 0.0, 1.0)).expand(1, 7, 3))
    one = torch.rand(1, 1, 22, 3, generator=torch.Generator().manual_seed(0))
    assert normalise_keypoints(one, fit_boxes(one)).isfinite().all()


def test_a_bigger_or_moved_person_looks_the_same_in_the_box() -> None:
    keypoints = torch.rand(1, 30, 22, 3, generator=torch.Generator().manual_seed(2))
    moved = keypoints * torch.tensor((0.4, 0.4, 1.0)) + torch.tensor((0.2, -0.7, 0.0))
    first = normalise_keypoints(keypoints, fit_boxes(keypoints))
    torch.testing.assert_close(
        normalise_keypoints(moved, fit_boxes(moved)), first, atol=1e-4, rtol=1e-4
    )
