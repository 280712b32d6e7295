"""Teacher motions: keypoint clips lifted by a model that has never seen their performer.

A lifter knows a body that it was trained on too well: its lifts of that body would carry 3D truth
into learning from 2D. So of several lifters the one is taken that was trained without the clip's
performer. Shape letters: T frames.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from engine.methods.base import Method, SampleOptions, VideoClip
from engine.motion import rotations as rot
from engine.motion.camera import Camera, units_to_pixels
from engine.motion.floor import at_standing_height, level, standing
from engine.motion.foot_lock import place_on_floor
from engine.motion.joint_points import joint_points
from engine.motion.lifting import observe
from engine.motion.motion import Motion
from engine.motion.pose_solve import solve_local_rotations
from engine.motion.ray_fit import fit_onto_rays
from engine.motion.ray_projection import canonical_turn
from engine.motion.representation import estimate_heading
from engine.motion.skeleton import SMPL_22
from trainer.data.corpus import FPS, MIN_FRAMES, Clip
from trainer.data.performers import halves
from trainer.data.teacher_corpus import TeacherClip, unit_camera
from trainer.data.views_corpus import View

_PIXELS = 1920  # of the longer side; only what an interface in pixels asks for
_MOST_OVER_FLOOR = 0.3  # metres that the lowest joint of most frames may be, of a lifted video


class TeacherError(ValueError):
    """A clip that can't be lifted; says why."""


@dataclass(frozen=True)
class Lifters:
    """Models that lift, and which performers each of them has learned from."""

    models: Sequence[Method]
    half_of: Mapping[str, str]  # performer to "a" or "b"; empty where nobody was learned from

    @classmethod
    def of(cls, models: Sequence[Method], learned: Sequence[Clip]) -> Lifters:
        """Models with the training clips that they, or halves of which they, have learned from."""
        return cls(models, halves(learned) if learned else {})

    def for_performer(self, performer: str) -> Method:
        """The first model that never saw the performer.

        Raises:
            TeacherError: all have.
        """
        for model in self.models:
            part = model.info.training.get("settings", {}).get("performers", "all")
            half = self.half_of.get(performer)
            if half is None or part not in ("all", half):
                return model
        raise TeacherError(f"every lifter has learned from its performer, {performer}")


def lift_view(view: View, lifters: Lifters, *, is_camera_known: bool = True) -> TeacherClip:
    """The view with its teacher motion, keypoints of all joints and cameras.

    Where the view tells its camera the teacher stands upright in that camera's world; where it
    doesn't, or is_camera_known is false, the upright is found from the lifted motion.

    Raises:
        TeacherError: too few frames, nobody in them, or no lifter may lift it.
    """
    _check(view)
    performer = str(view.row.get("performer") or f"someone in {view.row.get('source', '')}")
    model = lifters.for_performer(performer)
    clip = _video_clip(view)
    observation = observe(clip.track(), fps=FPS)
    num_frames = len(observation.keypoints)
    options = SampleOptions(num_frames=num_frames, seed=0)
    motion = model.run(clip, options, _silent)
    if not bool(motion.joints().isfinite().all()) or motion.camera is None:
        raise TeacherError("the lifter made no motion of it")
    frames = torch.linspace(0, len(view.keypoints) - 1, num_frames).round().long()
    camera = view.camera[frames]
    is_given = view.row.get("camera", "given") == "given"
    is_upright_known = is_given and is_camera_known
    motion = _on_floor(_in_world_of(camera, motion) if is_upright_known else level(motion))
    assert motion.camera is not None
    height = float(motion.joints()[..., 1].amin(-1).median())
    if not is_given and height > _MOST_OVER_FLOOR:
        raise TeacherError(
            f"its lift floats: the feet are {height:.1f} m over the floor in most frames"
        )
    plane_points, confidence = joint_points(motion, observation.keypoints)
    joints = motion.joints().float()
    teacher, rotation, translation = _from_origin(joints)
    estimated = motion.camera.in_moved_world(rotation, translation)
    if view.joints is not None:
        truth, turn, shift = _from_origin(view.joints[frames])
    else:
        in_camera = motion.camera.to_camera(joints) - camera.translation[:, None]
        truth, (_, turn, shift) = None, _from_origin(in_camera @ camera.rotation)
    given = camera.in_moved_world(turn, shift)
    return TeacherClip(
        clip_id=view.view_id,
        captions=view.captions,
        teacher=teacher,
        truth=truth,
        plane_points=plane_points,
        confidence=confidence,
        given=unit_camera(given.rotation, given.translation) if is_given else None,
        estimated=unit_camera(estimated.rotation, estimated.translation),
        row={**view.row, "lifter": model.info.name, "lifter_hash": model.info.model_hash},
    )


def brought_onto_rays(clip: TeacherClip, cameras: str) -> TeacherClip:
    """The clip with its teacher fitted to what the camera saw, on a body of the usual stature.

    What a lifter leaves wrong in the picture goes, and with it much of what it has wrong in depth
    (engine.motion.ray_fit). The teacher then stands in the world of the camera.

    Args:
        clip: as lifted.
        cameras: "given" or "estimated", by which it was seen.
    """
    sight = clip.sight(cameras)
    fitted = fit_onto_rays(as_motion(clip, sight.camera), sight, _silent)
    teacher, rotation, translation = _from_origin(fitted.joints().float())
    seen_by = sight.camera.in_moved_world(rotation, translation)
    is_placed_by_lift = clip.truth is None and clip.given is not None
    return replace(
        clip,
        teacher=teacher,
        given=seen_by if is_placed_by_lift and cameras == "given" else clip.given,
        estimated=seen_by,
        row={**clip.row, "on_rays": True},
    )


def as_motion(clip: TeacherClip, camera: Camera) -> Motion:
    """The teacher's joints as a motion of the built-in body, in the camera's world."""
    seen = clip.estimated.to_camera(clip.teacher)
    joints = (seen - camera.translation[:, None]) @ camera.rotation
    return Motion(
        fps=FPS,
        skeleton=SMPL_22,
        root_translation=joints[:, 0],
        local_rotations=rot.make_continuous(solve_local_rotations(joints, SMPL_22)),
        contacts=torch.zeros(len(joints), 4),
        camera=camera,
    )


def _in_world_of(camera: Camera, motion: Motion) -> Motion:
    """The motion in the world of its given camera, as that camera (T,) sees it.

    A lifter's own upright is a few degrees off, so that whoever walks climbs or sinks by
    decimetres; where the camera is known, so is the upright.
    """
    assert motion.camera is not None
    root = motion.camera.to_camera(motion.root_translation[:, None])[:, 0] - camera.translation
    turn = camera.rotation.mT @ motion.camera.rotation
    rotations = rot.multiply(rot.matrix_to_quaternion(turn), motion.local_rotations[:, 0])
    return replace(
        motion,
        root_translation=(root[:, None] @ camera.rotation)[:, 0],
        local_rotations=rot.make_continuous(
            torch.cat((rotations[:, None], motion.local_rotations[:, 1:]), dim=1)
        ),
        camera=replace(motion.camera, rotation=camera.rotation, translation=camera.translation),
    )


def _on_floor(motion: Motion) -> Motion:
    """The upright motion, and its camera, in a world whose floor is where the feet stand."""
    known = replace(motion, contacts=standing(motion))
    has_stands = bool((known.contacts > 0.5).any())
    placed = at_standing_height(known) if has_stands else place_on_floor(known)
    assert motion.camera is not None
    shift = placed.root_translation[0] - motion.root_translation[0]
    return replace(placed, camera=motion.camera.in_moved_world(torch.eye(3).to(shift), shift))


def _check(view: View) -> None:
    if not bool(view.keypoints.isfinite().all()):
        raise TeacherError("its keypoints have numbers that aren't finite")
    if view.num_seen < MIN_FRAMES:
        raise TeacherError(f"the person is seen in {view.num_seen} frames, needs {MIN_FRAMES}")


def _video_clip(view: View) -> VideoClip:
    extent = view.extent / view.extent.max()
    size = (round(float(extent[0]) * _PIXELS), round(float(extent[1]) * _PIXELS))
    pixels = units_to_pixels(view.keypoints[..., :2], size)
    rotation = view.camera.rotation
    is_focal_told = view.row.get("focal_length") != "assumed"
    focal = float(view.camera.focal_length[0]) * max(size) / 2
    return VideoClip(
        keypoints=torch.cat((pixels, view.keypoints[..., 2:]), dim=-1),
        fps=view.fps,
        image_size=size,
        layout="smpl_22",
        focal_length=focal if is_focal_told else None,
        camera_rotations=rotation @ rotation[:1].mT,
    )


def _silent(step: int, of: int) -> None:
    pass


def _from_origin(joints: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """A motion that starts at the origin and faces +z, with the turn and shift to there."""
    rotation, translation = canonical_turn(joints, estimate_heading(joints))
    return joints @ rotation.mT + translation, rotation, translation
