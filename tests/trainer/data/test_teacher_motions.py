"""Teachers of views: upright where the camera is told, level where it isn't."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import cast

import pytest
import torch
from torch import Tensor

from engine.methods.base import Method, SampleOptions, VideoClip
from engine.motion import rotations as rot
from engine.motion.camera import Camera
from engine.motion.motion import Motion
from engine.motion.pose_solve import solve_local_rotations
from engine.motion.skeleton import SMPL_22
from tests.trainer.conftest import made_clip
from tests.trainer.made_teachers import camera_around, from_origin
from trainer.data.clip import View
from trainer.data.teacher_corpus import TeacherClip
from trainer.data.teacher_motions import Lifters, TeacherError, brought_onto_rays, lift_view

FRAMES = 30
TILT = math.radians(12)


def tilted(camera: Camera) -> tuple[Tensor, Camera]:
    """A turn of the world about x, and the camera in the turned world."""
    cos, sin = math.cos(TILT), math.sin(TILT)
    turn = torch.tensor([[1.0, 0.0, 0.0], [0.0, cos, -sin], [0.0, sin, cos]])
    return turn, camera.in_moved_world(turn, torch.zeros(3))


class TiltedLifter:
    """Lifts without a fault, but for an upright that is off."""

    def __init__(self, joints: Tensor, camera: Camera) -> None:
        self.info = SimpleNamespace(name="tilted", model_hash="0", training={})
        self.accepts = frozenset({"video"})
        self._joints, self._camera = joints, camera

    def run(
        self, clip: VideoClip, options: SampleOptions, report: Callable[[int, int], None]
    ) -> Motion:
        turn, camera = tilted(self._camera)
        joints = self._joints @ turn.T
        return Motion(
            fps=20.0,
            skeleton=SMPL_22,
            root_translation=joints[:, 0],
            local_rotations=rot.make_continuous(solve_local_rotations(joints, SMPL_22)),
            contacts=torch.zeros(len(joints), 4),
            camera=camera,
        )


@pytest.fixture
def walk() -> Tensor:
    return from_origin(torch.from_numpy(made_clip(0, FRAMES)))


def view_of(joints: Tensor, camera: Camera) -> View:
    points, _ = camera.project(joints)
    return View(
        view_id="made",
        captions=("a person walks",),
        fps=20.0,
        keypoints=torch.cat((points, torch.full((FRAMES, 22, 1), 0.9)), dim=-1),
        camera=camera,
        extent=torch.tensor([1.0, 1.0]),
        joints=joints,
        row={"source": "made"},
    )


def climb(joints: Tensor) -> float:
    """How much higher the root is at the end than at the start, over the way."""
    way = joints[-1, 0] - joints[0, 0]
    return float(way[1].abs() / way[[0, 2]].norm())


def test_a_told_camera_tells_the_upright(walk: Tensor) -> None:
    camera = camera_around(0.0, FRAMES)
    lifters = Lifters([cast(Method, TiltedLifter(walk, camera))], {})
    clip = lift_view(view_of(walk, camera), lifters)
    assert climb(walk) < 0.02
    assert climb(clip.teacher) < 0.03  # the lifter itself climbs by a fifth
    # what the lifter saw is still where its camera sees it
    seen, _ = clip.estimated.project(clip.teacher)
    lifted, _ = camera.project(solved(walk))
    assert (seen - lifted).abs().max() < 1e-3


def test_an_untold_one_leaves_the_upright_to_the_motion(walk: Tensor) -> None:
    camera = camera_around(0.0, FRAMES)
    lifters = Lifters([cast(Method, TiltedLifter(walk, camera))], {})
    view = view_of(walk, camera)
    alone = lift_view(view, lifters, is_camera_known=False)
    told = lift_view(view, lifters)
    assert climb(alone.teacher) > climb(told.teacher)
    assert alone.given is not None  # the truth is still told, for who compares


def test_nobody_to_be_seen_is_said(walk: Tensor) -> None:
    camera = camera_around(0.0, FRAMES)
    view = view_of(walk, camera)
    empty = replace(view, keypoints=view.keypoints * torch.tensor([1.0, 1.0, 0.0]))
    with pytest.raises(TeacherError, match="seen in 0 frames"):
        lift_view(empty, Lifters([cast(Method, TiltedLifter(walk, camera))], {}))


def solved(joints: Tensor) -> Tensor:
    """Joints on the built-in body, as the lifter has them."""
    motion = Motion(
        fps=20.0,
        skeleton=SMPL_22,
        root_translation=joints[:, 0],
        local_rotations=solve_local_rotations(joints, SMPL_22),
        contacts=torch.zeros(len(joints), 4),
    )
    return motion.joints()


def far_off(joints: Tensor) -> Tensor:
    """A body that leans and lifts an arm where the true one doesn't, half a metre too far away."""
    local = solve_local_rotations(joints, SMPL_22)
    local[:, 16] = rot.multiply(local[:, 16], torch.tensor([math.cos(0.3), 0.0, 0.0, 0.3]))
    local[:, 3] = rot.multiply(local[:, 3], torch.tensor([math.cos(0.1), 0.1, 0.0, 0.0]))
    motion = Motion(
        fps=20.0,
        skeleton=SMPL_22,
        root_translation=joints[:, 0] - torch.tensor([0.0, 0.0, 0.5]),
        local_rotations=local,
        contacts=torch.zeros(len(joints), 4),
    )
    return motion.joints()


@pytest.mark.parametrize("is_truth_told", [True, False])
def test_on_its_rays_a_teacher_is_nearer_the_truth(walk: Tensor, is_truth_told: bool) -> None:
    true = from_origin(solved(walk))
    camera = camera_around(0.0, FRAMES)
    points, _ = camera.project(true)
    clip = TeacherClip(
        clip_id="made",
        captions=("a person walks",),
        teacher=far_off(true),
        truth=true if is_truth_told else None,
        plane_points=points,
        confidence=torch.full((FRAMES, 22), 0.9),
        given=camera,
        estimated=camera,
        row={"id": "made"},
    )
    found = brought_onto_rays(clip, "given")
    assert found.row["on_rays"] is True

    def off(one: TeacherClip) -> float:
        seen = one.estimated.to_camera(one.teacher)
        return float((seen - camera.to_camera(true)).norm(dim=-1).mean())

    assert off(clip) > 0.3
    assert off(found) < 0.25 * off(clip)
    assert found.teacher[0, 0, [0, 2]].abs().max() < 1e-5
    # what is learned from is seen from where the motion starts: the true one's start if told
    assert found.given is not None
    expected = camera if is_truth_told else found.estimated
    assert torch.equal(found.given.translation, expected.translation)
    lengths = (found.teacher[:, 5] - found.teacher[:, 2]).norm(dim=-1)
    assert lengths.max() - lengths.min() < 1e-4
