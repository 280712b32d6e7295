"""A motion that is off its keypoints is moved onto them, with bones of one length."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from engine.motion import rotations as rot
from engine.motion.camera import Camera
from engine.motion.floor import level, standing
from engine.motion.keypoint_layout import keypoints_of_pose
from engine.motion.kinematics import forward_kinematics
from engine.motion.motion import Motion
from engine.motion.skeleton import HEAD, SMPL_22
from engine.motion.track_fit import fit_to_keypoints
from engine.motion.track_loss import FitDeviations

FRAMES = 20


@pytest.fixture
def truth() -> Motion:
    generator = torch.Generator().manual_seed(0)
    swing = 0.3 * torch.sin(torch.linspace(0, 3, FRAMES))[:, None, None]
    turns = swing * torch.randn(1, 22, 3, generator=generator)
    turns[:, 0] = 0.0
    root = torch.tensor([0.0, SMPL_22.root_height(), 0.0]).repeat(FRAMES, 1)
    facing = torch.tensor([[1.0, 0, 0], [0, -1.0, 0], [0, 0, -1.0]])
    camera = Camera(
        rotation=facing.repeat(FRAMES, 1, 1),
        translation=torch.tensor([0.0, 1.0, 4.0]).repeat(FRAMES, 1),
        focal_length=torch.full((FRAMES,), 2.0),
        principal_point=torch.zeros(FRAMES, 2),
    )
    return Motion(
        fps=20.0,
        skeleton=SMPL_22,
        root_translation=root,
        local_rotations=rot.axis_angle_to_quaternion(turns),
        contacts=torch.zeros(FRAMES, 4),
        camera=camera,
    )


def _keypoints(motion: Motion) -> torch.Tensor:
    assert motion.camera is not None
    joints, turned = forward_kinematics(
        motion.local_rotations, motion.root_translation, motion.skeleton
    )
    head = rot.quaternion_to_matrix(turned[:, HEAD])
    seen = motion.camera.project(keypoints_of_pose(joints, head))[0]
    return torch.cat((seen, torch.ones(FRAMES, 22, 1)), dim=-1)


def test_a_fit_comes_nearer_and_ignores_a_mistake(truth: Motion) -> None:
    keypoints = _keypoints(truth)
    off = replace(truth, root_translation=truth.root_translation + torch.tensor([0.1, 0.05, 0.0]))
    keypoints[5, 20, :2] += 0.5
    steps: list[int] = []

    fitted = fit_to_keypoints(
        off,
        keypoints,
        lambda step, _: steps.append(step),
        deviations=FitDeviations(num_steps=60),
    )

    before = (_keypoints(off) - keypoints)[..., :2].norm(dim=-1).median()
    after = (_keypoints(fitted) - keypoints)[..., :2].norm(dim=-1).median()
    assert after < 0.2 * before
    assert len(steps) == 60
    lengths = torch.tensor(fitted.skeleton.rest_offsets).norm(dim=-1)
    assert (lengths[1] - lengths[2]).abs() < 1e-6  # left and right alike
    assert (_keypoints(fitted) - keypoints)[5, 20, :2].norm() > 0.4


def test_a_known_body_keeps_its_bones_and_joints_are_seen_themselves(truth: Motion) -> None:
    assert truth.camera is not None
    points = truth.camera.project(truth.joints())[0]
    keypoints = torch.cat((points, torch.ones(FRAMES, 22, 1)), dim=-1)
    bent = rot.multiply(
        truth.local_rotations,
        rot.axis_angle_to_quaternion(0.15 * torch.tensor([1.0, 0.0, 1.0]).expand(FRAMES, 22, 3)),
    )
    off = replace(truth, local_rotations=bent)

    fitted = fit_to_keypoints(
        off,
        keypoints,
        lambda step, of: None,
        deviations=FitDeviations(depth=1.0),  # true joints of true bones tell it
        of_joints=True,
        is_body_known=True,
    )

    own = torch.tensor(truth.skeleton.rest_offsets)
    assert torch.tensor(fitted.skeleton.rest_offsets).sub(own).abs().max() < 1e-6
    # depth as well: a bone of known length that looks shorter points towards the camera or away
    before, after = (
        (motion.joints() - truth.joints()).norm(dim=-1).mean() for motion in (off, fitted)
    )
    assert after < 0.4 * before


def test_a_motion_without_a_camera_is_refused(truth: Motion) -> None:
    with pytest.raises(ValueError, match="camera"):
        fit_to_keypoints(replace(truth, camera=None), _keypoints(truth), lambda step, steps: None)


def test_a_slope_is_levelled_and_still_feet_stand(truth: Motion) -> None:
    still = truth.local_rotations[:1].repeat(FRAMES, 1, 1)
    way = torch.zeros(FRAMES, 3)
    way[FRAMES // 2 :, 0] = 2.0  # two places
    tilt = rot.axis_angle_to_quaternion(torch.tensor([[0.0, 0.0, 0.1]])).expand(FRAMES, 4)
    root = rot.rotate(tilt, truth.root_translation + way)
    local = torch.cat((rot.multiply(tilt, still[:, 0])[:, None], still[:, 1:]), dim=1)

    levelled = level(replace(truth, root_translation=root, local_rotations=local))

    feet = levelled.joints()[:, 10]
    assert (feet[0, 1] - feet[-1, 1]).abs() < 0.05  # it was 0.2
    assert standing(levelled)[2:6].bool().all()


def test_depth_stays_the_lifters(truth: Motion) -> None:
    """A keypoint off along a limb must not swing it towards the camera."""
    keypoints = _keypoints(truth)
    shoulder, elbow, wrist = (keypoints[:, joint, :2].clone() for joint in (16, 18, 20))
    keypoints[:, 18, :2] = shoulder + 0.9 * (elbow - shoulder)
    keypoints[:, 20, :2] = keypoints[:, 18, :2] + 0.9 * (wrist - elbow)

    def turned(motion: Motion) -> torch.Tensor:
        assert motion.camera is not None
        depth = motion.camera.to_camera(motion.joints())[..., 2]
        return depth[:, [18, 20]] - depth[:, [16, 18]]

    def off(depth: float) -> float:
        known = FitDeviations(num_steps=60, depth=depth, bone=1e-3)
        fitted = fit_to_keypoints(truth, keypoints, lambda *_: None, deviations=known)
        return float((turned(fitted) - turned(truth)).abs().mean())

    assert off(FitDeviations().depth) < 0.8 * off(1.0)
