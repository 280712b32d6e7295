"""Figures against a known truth: none for the truth itself, and what was put in for others."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import check_synthetic_capture as check
import synthetic_measures
import synthetic_trunk
from engine.motion import rotations as rot
from engine.motion.camera import Camera, look_at
from engine.motion.motion import Motion
from engine.motion.skeleton import SMPL_22
from synthetic_measures import Figures, Truth

FRAMES = 21


@pytest.fixture
def motion() -> Motion:
    """Two metres straight ahead with swinging limbs, seen by a camera that stands still."""
    generator = torch.Generator().manual_seed(5)
    swing = 0.2 * torch.randn(1, 22, 4, generator=generator)
    moment = torch.linspace(0, 2 * math.pi, FRAMES).sin()[:, None, None]
    rotation, translation = look_at(
        torch.tensor([3.0, 1.4, 5.0]).expand(FRAMES, 3), torch.tensor([0.0, 0.9, 1.0])
    )
    root = torch.zeros(FRAMES, 3)
    root[:, 1], root[:, 2] = 0.95, torch.linspace(0, 2, FRAMES)
    return Motion(
        fps=20.0,
        skeleton=SMPL_22,
        root_translation=root,
        local_rotations=rot.normalise(torch.tensor([1.0, 0, 0, 0]) + moment * swing),
        contacts=torch.zeros(FRAMES, 4),
        camera=Camera(
            rotation=rotation,
            translation=translation,
            focal_length=torch.full((FRAMES,), 1.9),
            principal_point=torch.zeros(FRAMES, 2),
        ),
    )


@pytest.fixture
def truth(motion: Motion) -> Truth:
    """The same, in a world that is turned and moved, over the floor."""
    turn = rot.quaternion_to_matrix(torch.tensor([math.cos(0.6), 0.0, math.sin(0.6), 0.0]))
    shift = torch.tensor([1.0, 0.0, -2.0])
    joints = motion.joints() @ turn.T + shift
    assert motion.camera is not None
    camera = motion.camera.in_moved_world(turn, shift)
    return Truth(joints=joints, bone_heads=joints, camera=camera, fps=20.0, is_turning=False)


def test_the_truth_has_no_errors(motion: Motion, truth: Truth) -> None:
    figures = synthetic_measures.measure(motion, truth)

    assert figures.pa_mpjpe == pytest.approx(0, abs=0.02)  # mm: float32
    assert figures.mpjpe == pytest.approx(0, abs=0.02)
    assert figures.path == pytest.approx(0, abs=0.01)
    assert figures.size == pytest.approx(100, abs=0.01)
    assert figures.up == pytest.approx(0, abs=0.1)  # acos near 1


def test_a_smaller_body_with_its_way_is_only_small(motion: Motion, truth: Truth) -> None:
    assert motion.camera is not None
    offsets = tuple((0.9 * x, 0.9 * y, 0.9 * z) for x, y, z in SMPL_22.rest_offsets)
    smaller = replace(
        motion,
        skeleton=replace(SMPL_22, rest_offsets=offsets),
        root_translation=0.9 * motion.root_translation,
        camera=replace(motion.camera, translation=0.9 * motion.camera.translation),
    )

    figures = synthetic_measures.measure(smaller, truth)

    assert figures.size == pytest.approx(90, abs=0.1)
    assert figures.pa_mpjpe == pytest.approx(0, abs=0.02)
    assert figures.scaled_path == pytest.approx(0, abs=0.05)
    assert figures.path == pytest.approx(5, abs=0.2)  # a tenth at the end, none at the start


def test_one_wrong_limb_counts_by_its_share(motion: Motion, truth: Truth) -> None:
    joints = truth.joints.clone()
    joints[:, 20] += torch.tensor([0.0, 0.22, 0.0])  # the left wrist
    figures = synthetic_measures.measure(motion, replace(truth, joints=joints))

    assert figures.mpjpe == pytest.approx(220 / 22, abs=0.05)
    assert 5 < figures.pa_mpjpe < 30  # one joint turns and shrinks the whole
    assert figures.pa_limbs > figures.pa_mpjpe
    assert figures.pa_heads == pytest.approx(0, abs=0.02)


def test_truth_is_read_as_it_was_kept(truth: Truth, tmp_path: Path) -> None:
    path = tmp_path / "walk-front.npz"
    np.savez(
        path,
        joints=truth.joints.numpy(),
        bone_heads=truth.joints.numpy(),
        fps=np.array(20.0),
        is_turning=np.array(False),
        camera_rotation=truth.camera.rotation.numpy(),
        camera_translation=truth.camera.translation.numpy(),
        focal_length=np.array(1.9 * 240),
        principal_point=np.array([240.0, 180.0]),
        image_size=np.array([480, 360]),
    )

    read = synthetic_measures.read_truth(path)

    torch.testing.assert_close(read.joints, truth.joints)
    torch.testing.assert_close(read.camera.focal_length, truth.camera.focal_length)
    assert not read.camera.principal_point.any()
    between = read.at(torch.tensor([0.025]))[0][0]
    torch.testing.assert_close(between, (truth.joints[0] + truth.joints[1]) / 2)


def test_what_is_no_truth_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "walk-front.npz"
    np.savez(path, joints=np.zeros((2, 22, 3)))
    with pytest.raises(ValueError, match=r"walk-front\.npz can't be read"):
        synthetic_measures.read_truth(path)
    path.write_bytes(path.read_bytes()[:90])
    with pytest.raises(ValueError, match=r"walk-front\.npz can't be read"):
        synthetic_measures.read_truth(path)


def test_limits_are_of_capture_and_it_must_beat_the_lifter() -> None:
    def row(way: str, error: float, path: float | None) -> check.Row:
        figures = Figures(
            pa_mpjpe=error,
            pa_limbs=error,
            pa_heads=error,
            mpjpe=error,
            acceleration=1.0,
            path=path,
            scaled_path=path,
            size=100.0,
            up=0.0,
            slide=0.0,
        )
        return check.Row(video="walk-front", view="front", way=way, seen=100.0, figures=figures)

    def table(lifted: float, captured: float, path: float) -> dict[str, dict[str, float]]:
        words = ("focal guessed", "focal known")
        rows = [row(f"lifter, {one}", lifted, 20.0) for one in words]
        rows += [row(f"capture, {one}", captured, path) for one in words]
        rows += [row(f"capture, {one}", captured, None) for one in words]  # stays in its place
        return check.summary(rows)

    assert json.dumps(table(60, 50, 5))
    assert table(60, 50, 5)["all: capture, focal known"]["path"] == 5
    assert check.is_good(table(60, 50, 5))
    assert not check.is_good(table(50, 60, 5)), "worse than the lifter"
    assert not check.is_good(table(80, 70, 5)), "over 65 mm"
    assert not check.is_good(table(60, 50, 12)), "the path is off"
    ways = ((60, "lifter"), (50, "capture"))
    rows = [row(f"{way}, focal {how}", e, None) for e, way in ways for how in ("guessed", "known")]
    assert check.is_good(check.summary(rows)), "nobody goes anywhere"


def test_the_trunk_is_the_built_in_one() -> None:
    places = dict(zip(SMPL_22.joint_names, SMPL_22.rest_joints(), strict=True))
    assert SMPL_22.joint_names == synthetic_trunk.JOINTS
    for joint, place in synthetic_trunk.TRUNK.items():
        assert place == pytest.approx(places[joint], abs=1e-9)

    # a body half as large, lying on its back: z up, its left to -x
    lying = {joint: 0.5 * np.array([-x, y, -z]) for joint, (x, y, z) in places.items()}
    found = synthetic_trunk.our_trunk(lying)

    for joint, place in found.items():
        # shoulders stand 2 cm behind the hips: the trunk is laid along the line between them
        assert place == pytest.approx(lying[joint], abs=0.012), joint
