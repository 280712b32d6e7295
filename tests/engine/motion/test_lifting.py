"""From a lifter's words to a motion: known scenes come back, in a world with a floor."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from engine.motion import proportions
from engine.motion import rotations as rot
from engine.motion.camera import Camera, look_at
from engine.motion.contacts import detect_contacts
from engine.motion.keypoint_layout import keypoints_of_pose
from engine.motion.kinematics import bone_lengths
from engine.motion.lifting import Lift, Observation, Track, motion_of_lift, observe, poses_in_place
from engine.motion.resample import resample
from engine.motion.root_path import solve_root_path
from engine.motion.skeleton import HEAD, SMPL_22

FPS = 20.0
BODY = proportions.centred(torch.linspace(-0.1, 0.1, 13))
FRAMES = 60


def walk(num_frames: int = FRAMES) -> tuple[torch.Tensor, torch.Tensor]:
    """A figure that glides 2 m ahead and turns: local matrices (T, 22, 3, 3), root (T, 3)."""
    time = torch.linspace(0, 1, num_frames)
    turns = torch.zeros(num_frames, 22, 3)
    turns[:, 0, 1] = 1.2 * time + 0.5
    turns[:, 16, 2] = -1.2 + 0.3 * torch.sin(6 * time)
    turns[:, 18, 1] = -0.8
    turns[:, 5, 0] = 0.6 * time
    local = rot.quaternion_to_matrix(rot.axis_angle_to_quaternion(turns))
    joints, _ = proportions.pose_bodies(local, proportions.rest_offsets(BODY))
    height = -joints[..., 1].amin(-1)
    root = torch.stack((0.5 * time, height, 2 * time), dim=-1)
    return local, root


def camera_for(num_frames: int, *, turns: bool = False) -> Camera:
    position = torch.tensor((2.0, 1.8, 5.0)).expand(num_frames, 3)
    aim = torch.tensor((0.0, 0.9, 1.0)).expand(num_frames, 3)
    if turns:
        aim = aim + torch.linspace(0, 1, num_frames)[:, None] * torch.tensor((1.0, 0.3, 0.0))
    rotation, translation = look_at(position, aim, torch.full((num_frames,), 0.1))
    return Camera(
        rotation=rotation,
        translation=translation,
        focal_length=torch.full((num_frames,), 1.7),
        principal_point=torch.zeros(num_frames, 2),
    )


def seen(num_frames: int = FRAMES, *, turns: bool = False) -> tuple[Lift, Observation, Camera]:
    """What a perfect lifter and a perfect detector tell of the walk."""
    local, root = walk(num_frames)
    camera = camera_for(num_frames, turns=turns)
    joints, turned = proportions.pose_bodies(local, proportions.rest_offsets(BODY))
    points, _ = camera.project(keypoints_of_pose(joints + root[:, None], turned[:, HEAD]))
    keypoints = torch.cat((points, torch.full((num_frames, 22, 1), 0.9)), dim=-1)
    keypoints[:, [3, 6, 9, 13, 14]] = 0.0
    to_frame = camera.rotation @ camera.rotation[:1].mT
    track = Track(
        keypoints=keypoints,
        fps=FPS,
        focal_length=1.7,
        camera_rotations=to_frame if turns else None,
    )
    in_camera = camera.rotation @ local[:, 0]
    lift = Lift(
        local_rotations=torch.cat((in_camera[:, None], local[:, 1:]), dim=1),
        log_bones=BODY,
        up=camera.rotation[..., 1],
        contacts=detect_contacts(joints + root[:, None], FPS, proportions.skeleton_of(BODY)),
        depth=camera.to_camera(root[:, None])[:, 0, 2],
        error=torch.full((num_frames, 22), 0.03),
    )
    return lift, observe(track, fps=FPS), camera


@pytest.mark.parametrize("turns", [False, True])
def test_a_perfect_lift_is_the_scene_itself(turns: bool) -> None:
    lift, observation, camera = seen(turns=turns)
    motion = motion_of_lift(lift, observation, lock=False)
    local, root = walk()
    joints = motion.joints()
    # in the camera: the same places
    true, _ = proportions.pose_bodies(local, proportions.rest_offsets(BODY))
    assert motion.camera is not None
    found = motion.camera.to_camera(joints)
    expected = camera.to_camera(true + root[:, None])
    assert (found - expected).norm(dim=-1).max() < 0.02
    # in the world: on the floor, at the origin, facing ahead, upright
    assert motion.root_translation[0, [0, 2]].abs().max() < 1e-4
    assert abs(float(joints[..., 1].amin(-1).median())) < 0.01
    assert abs(float(rot.quaternion_to_heading(motion.local_rotations[0, 0]))) < 1e-2
    height = root[:, 1] + true[:, :, 1].amin(-1)
    assert (motion.root_translation[:, 1] - (root[:, 1] - height)).abs().max() < 0.02
    way = (motion.root_translation[-1] - motion.root_translation[0]).norm()
    assert float(way) == pytest.approx(float((root[-1] - root[0]).norm()), rel=0.01)


def test_bones_are_those_of_the_body_in_every_frame() -> None:
    lift, observation, _ = seen()
    motion = motion_of_lift(lift, observation)
    lengths = bone_lengths(motion.joints(), SMPL_22)
    expected = bone_lengths(torch.tensor(motion.skeleton.rest_joints()), SMPL_22)
    torch.testing.assert_close(lengths, expected.expand_as(lengths), atol=1e-5, rtol=0)
    assert motion.joint_confidence is not None
    assert motion.joint_confidence.shape == (FRAMES, 22)
    assert ((motion.joint_confidence > 0) & (motion.joint_confidence <= 1)).all()


def test_one_frame_and_frames_without_anyone_are_lifted() -> None:
    lift, observation, _ = seen(1)
    assert motion_of_lift(lift, observation).num_frames == 1
    lift, observation, camera = seen()
    whole = motion_of_lift(lift, observation, lock=False)
    observation.keypoints[20:26] = 0.0
    gap = motion_of_lift(lift, observation, lock=False)
    assert (gap.root_translation - whole.root_translation).norm(dim=-1).max() < 0.03
    assert any("isn't seen in 6 of 60" in line for line in gap.warnings)
    observation.keypoints[:] = 0.0
    nobody = motion_of_lift(lift, observation)
    assert nobody.joints().isfinite().all()
    del camera


def test_an_unknown_focal_length_is_said() -> None:
    lift, observation, _ = seen(10)
    assert not motion_of_lift(lift, observation).warnings
    track = Track(keypoints=observation.keypoints, fps=FPS)
    warnings = motion_of_lift(lift, observe(track, fps=FPS)).warnings
    assert any("focal length" in line for line in warnings)


def test_standing_feet_hold_the_path_against_noise() -> None:
    generator = torch.Generator().manual_seed(0)
    points = 0.4 * torch.randn(1, 22, 3, generator=generator).expand(80, 22, 3)
    root = torch.tensor((0.2, 0.1, 4.0))
    plane = (points + root)[..., :2] / (points + root)[..., 2:]
    plane = plane + 0.01 * torch.randn(plane.shape, generator=generator)

    def solve(contacts: float) -> torch.Tensor:
        return solve_root_path(
            points,
            plane,
            torch.ones(80, 22),
            depth=torch.full((80,), 4.0),
            feet=points[:, :4],
            contacts=torch.full((80, 4), contacts),
            camera_rotations=torch.eye(3).expand(80, 3, 3),
            fps=FPS,
        )

    free, held = (solve(c).diff(dim=0).norm(dim=-1).mean() for c in (0.0, 1.0))
    assert held < 0.3 * free
    assert (solve(1.0) - root).norm(dim=-1).max() < 0.1


def test_feet_that_may_or_may_not_stand_hold_nobody() -> None:
    lift, observation, _ = seen()
    free = motion_of_lift(replace(lift, contacts=0 * lift.contacts), observation, lock=False)
    even = motion_of_lift(replace(lift, contacts=0 * lift.contacts + 0.5), observation, lock=False)
    torch.testing.assert_close(even.root_translation, free.root_translation)
    sure = motion_of_lift(replace(lift, contacts=0 * lift.contacts + 1.0), observation, lock=False)
    way = (sure.root_translation[-1] - sure.root_translation[0]).norm()
    assert way < 0.7 * (free.root_translation[-1] - free.root_translation[0]).norm()


def test_the_path_is_the_solution_of_its_own_equations() -> None:
    generator = torch.Generator().manual_seed(1)
    points = 0.4 * torch.randn(5, 22, 3, generator=generator, dtype=torch.float64)
    plane = 0.3 * torch.randn(5, 22, 2, generator=generator, dtype=torch.float64)
    weights = torch.rand(5, 22, generator=generator, dtype=torch.float64)
    depth = torch.full((5,), 4.0, dtype=torch.float64)
    feet, contacts = points[:, :4], torch.rand(5, 4, generator=generator, dtype=torch.float64)
    matrices = rot.quaternion_to_matrix(
        rot.normalise(torch.randn(5, 4, generator=generator, dtype=torch.float64))
    )

    def cost(path: torch.Tensor) -> torch.Tensor:
        in_camera = (matrices @ path[..., None])[..., 0]
        placed = points + in_camera[:, None]
        residual = placed[..., :2] - plane * placed[..., 2:]
        total = (weights * residual.square().sum(-1)).sum() / 0.03**2
        total = total + ((in_camera[:, 2] - depth) / (0.15 * depth)).square().sum()
        moved = (path[:, None] + feet).diff(dim=0).square().sum(-1)
        total = total + (contacts[1:] * contacts[:-1] * moved).sum() / 0.008**2
        return total + (path.diff(n=2, dim=0) * 400 / 4.0).square().sum()

    found = solve_root_path(
        points,
        plane,
        weights,
        depth=depth,
        feet=feet,
        contacts=contacts,
        camera_rotations=matrices,
        fps=FPS,
    )
    path = found.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(cost(path), path)
    assert gradient.abs().max() < 1e-3 * float(cost(torch.zeros(5, 3, dtype=torch.float64)))
    assert gradient.abs().max() < 1e-2


def test_another_frame_rate_keeps_the_times_and_what_is_seen() -> None:
    keypoints = torch.zeros(61, 22, 3)
    keypoints[:, :, 0] = torch.linspace(0, 2, 61)[:, None]  # 1 unit a second at 30 fps
    keypoints[..., 2] = 0.8
    keypoints[30] = 0.0
    turns = torch.zeros(61, 3)
    turns[:, 1] = torch.linspace(0, 0.6, 61)
    track = Track(
        keypoints=keypoints,
        fps=30.0,
        camera_rotations=rot.quaternion_to_matrix(rot.axis_angle_to_quaternion(turns)),
    )
    found = observe(track, fps=20.0)
    assert len(found.keypoints) == 41
    times = torch.arange(41) / 20
    is_seen = found.keypoints[:, 0, 2] > 0
    assert 39 <= int(is_seen.sum()) <= 41
    torch.testing.assert_close(found.keypoints[is_seen, 0, 0], times[is_seen], atol=0.02, rtol=0)
    angle = torch.atan2(found.camera.rotation[:, 0, 2], found.camera.rotation[:, 0, 0])
    torch.testing.assert_close(angle, 0.3 * times.clamp(max=2), atol=2e-3, rtol=0)


def test_poses_in_place_stand_where_the_frame_is() -> None:
    lift, observation, _ = seen()
    matrices = lift.local_rotations[[20, 25, 30]]
    errors = torch.full((3, 22), 0.05)
    motion = poses_in_place(matrices, errors, (lift, observation, 25), fps=5.0)
    whole = motion_of_lift(lift, observation, lock=False)
    assert (motion.num_frames, motion.fps) == (3, 5.0)
    torch.testing.assert_close(motion.joints()[1], whole.joints()[25], atol=1e-4, rtol=0)
    lowest = motion.joints()[..., 1].amin(-1)
    torch.testing.assert_close(lowest, lowest[1].expand(3), atol=1e-4, rtol=0)


@pytest.mark.parametrize("fps", [10.0, 24.0, 60.0])
def test_a_resampled_motion_keeps_its_camera(fps: float) -> None:
    lift, observation, _ = seen(turns=True)
    motion = motion_of_lift(lift, observation, lock=False)
    other = resample(motion, fps)
    assert motion.camera is not None
    assert other.camera is not None
    assert other.joint_confidence is not None
    assert len(other.joint_confidence) == len(other.camera.rotation) == other.num_frames
    # the pelvis is seen where it was at the same time
    own, _ = motion.camera.project(motion.joints()[:, :1])
    found, _ = other.camera.project(other.joints()[:, :1])
    times = torch.arange(other.num_frames) * FPS / fps
    before = times.floor().long().clamp(max=FRAMES - 2)
    part = (times.clamp(max=FRAMES - 1) - before)[:, None]
    expected = torch.lerp(own[before, 0], own[before + 1, 0], part)
    assert (found[:, 0] - expected).norm(dim=-1).max() < 5e-3
    held = resample(motion.crop(3, 4), 60.0)
    assert held.camera is not None
    assert held.camera.rotation.shape == (3, 3, 3)


def test_what_is_no_track_is_refused() -> None:
    with pytest.raises(ValueError, match="22, 3"):
        Track(keypoints=torch.zeros(4, 17, 3), fps=20.0)
    with pytest.raises(ValueError, match="frame"):
        Track(keypoints=torch.zeros(0, 22, 3), fps=20.0)
