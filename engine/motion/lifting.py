"""From what a lifter tells of a clip to one motion in the world. Every lifter ends here.

A lifter sees keypoints (`Observation`) and tells poses in the camera's frame, a body, where up is
and which feet stand (`Lift`). What follows is the same for all: the root's path from the keypoints'
rays, a world with y up and the floor at 0, feet locked, a camera per frame, and how sure each joint
is. The body has the built-in size: one camera can't tell a small person nearby from a large one.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from engine.motion import proportions
from engine.motion import rotations as rot
from engine.motion.camera import DEFAULT_FOCAL_LENGTH, Camera, degrees_across
from engine.motion.foot_lock import lock_feet, place_on_floor
from engine.motion.keypoint_layout import OBSERVED_JOINTS, keypoints_of_pose
from engine.motion.motion import Motion
from engine.motion.person_box import box_on_plane, fit_boxes, normalise_keypoints
from engine.motion.pose_solve import solve_local_rotations
from engine.motion.ray_refinement import corrections
from engine.motion.root_path import solve_root_path
from engine.motion.skeleton import FOOT_JOINTS, HEAD

_ERROR_SCALE = 0.15  # metres of expected error at which a joint's confidence is 0.37


@dataclass(frozen=True, kw_only=True)
class Track:
    """One person's keypoints over time, in the joints' order and in image units."""

    keypoints: Tensor  # (T, 22, 3) x, y, confidence
    fps: float
    focal_length: float | None = None  # image units; None: not known
    principal_point: tuple[float, float] = (0.0, 0.0)
    # (T, 3, 3) from the axes of the first frame's camera to each frame's; None: it stands still
    camera_rotations: Tensor | None = None

    def __post_init__(self) -> None:
        if self.keypoints.ndim != 3 or tuple(self.keypoints.shape[1:]) != (22, 3):
            raise ValueError(f"keypoints has shape {tuple(self.keypoints.shape)}, needs (T, 22, 3)")
        if len(self.keypoints) < 1 or not 0 < self.fps < float("inf"):
            raise ValueError("A track needs 1 frame or more, and a frame rate above 0")


@dataclass(frozen=True, kw_only=True)
class Observation:
    """A track at the lifter's frame rate, and as seen in the person's box."""

    keypoints: Tensor  # (T, 22, 3) image units and confidence
    normalised: Tensor  # (T, 22, 3) in units of the box, and confidence
    boxes: Tensor  # (T, 3) on the plane at depth 1: centre, half side
    camera: Camera  # (T,) in the axes of the first frame's camera; it stands at the origin
    fps: float
    is_focal_known: bool


@dataclass(frozen=True, kw_only=True)
class Lift:
    """What a lifter tells, per frame but for the body."""

    local_rotations: Tensor  # (T, 22, 3, 3) to the parent; the root's to the frame's camera
    log_bones: Tensor  # (13,)
    up: Tensor  # (T, 3) unit, in the frame's camera
    contacts: Tensor  # (T, 4) 0 to 1, how surely each foot joint stands
    depth: Tensor  # (T,) metres
    error: Tensor  # (T, 22) metres, how far off a joint is expected to be


def observe(track: Track, *, fps: float, device: torch.device | None = None) -> Observation:
    """The track at fps, in boxes. Frames without keypoints stay, and are empty."""
    keypoints, rotations = _resampled(track, fps)
    keypoints = keypoints.to(device or keypoints.device)
    num_frames = len(keypoints)
    focal = track.focal_length or DEFAULT_FOCAL_LENGTH
    if rotations is None:
        rotations = torch.eye(3).expand(num_frames, 3, 3)
    camera = Camera(
        rotation=rotations.to(keypoints),
        translation=keypoints.new_zeros(num_frames, 3),
        focal_length=keypoints.new_full((num_frames,), focal),
        principal_point=keypoints.new_tensor(track.principal_point).expand(num_frames, 2),
    )
    boxes = fit_boxes(keypoints[None])[0]
    return Observation(
        keypoints=keypoints,
        normalised=normalise_keypoints(keypoints, boxes),
        boxes=box_on_plane(boxes, camera),
        camera=camera,
        fps=fps,
        is_focal_known=track.focal_length is not None,
    )


def refine(lift: Lift, observation: Observation, *, seconds: float = 0.15) -> Lift:
    """The lift with its joints pulled towards the rays of their keypoints; the same body.

    seconds is the deviation over which corrections are averaged; 0 takes each frame by itself.
    """
    pose = _to_world_axes(lift, observation)
    root = (observation.camera.rotation @ _root_path(pose, lift, observation)[..., None])[..., 0]
    moved = corrections(
        pose.seen + root[:, None],
        observation.camera.to_plane(observation.keypoints[..., :2]),
        observation.keypoints[..., 2],
        frames=seconds * observation.fps,
    )
    to_world = pose.turn @ observation.camera.rotation.mT  # (T, 3, 3)
    joints = (pose.joints + root[:, None] + moved) @ to_world.mT
    solved = solve_local_rotations(joints, proportions.skeleton_of(lift.log_bones))
    local = rot.quaternion_to_matrix(solved)
    in_camera = to_world.mT @ local[:, 0]
    return replace(lift, local_rotations=torch.cat((in_camera[:, None], local[:, 1:]), dim=1))


def motion_of_lift(lift: Lift, observation: Observation, *, lock: bool = True) -> Motion:
    """The motion in the world: it starts above the origin, facing +z, on the floor y = 0.

    With lock, standing feet stay in their places. `camera` and `joint_confidence` are set.
    """
    pose = _to_world_axes(lift, observation)
    root = _root_path(pose, lift, observation)
    contacts = lift.contacts.clamp(0.0, 1.0)
    start = pose.turn @ root[0]
    away = start * start.new_tensor((1.0, 0.0, 1.0))
    motion = Motion(
        fps=observation.fps,
        skeleton=proportions.skeleton_of(lift.log_bones),
        root_translation=root @ pose.turn.T - away,
        local_rotations=pose.local_rotations,
        contacts=torch.zeros_like(contacts),
    )
    placed = place_on_floor(motion)
    shift = placed.root_translation[0] - motion.root_translation[0] - away
    if lock:
        placed = lock_feet(placed, contact_probabilities=contacts)
    return replace(
        placed,
        camera=observation.camera.in_moved_world(pose.turn, shift),
        joint_confidence=_confidence(lift, observation),
        warnings=(*placed.warnings, *_warnings(observation)),
    )


def poses_in_place(
    matrices: Tensor, errors: Tensor, seen: tuple[Lift, Observation, int], *, fps: float
) -> Motion:
    """Poses that one frame of a clip tells, as a motion that stays where that frame is.

    A frame tells nothing of the way between the poses: each stands on the floor if the frame's
    does, at its place.

    Args:
        matrices: (N, 22, 3, 3) to the parent, the root's to that frame's camera.
        errors: (N, 22) metres, expected.
        seen: the clip's lift and observation, and the frame's number.
        fps: of the result.
    """
    lift, observation, frame = seen
    whole = motion_of_lift(lift, observation, lock=False)
    assert whole.camera is not None
    here = whole.camera[frame]
    root = here.rotation.T @ matrices[:, 0]
    local = torch.cat((root[:, None], matrices[:, 1:]), dim=1)
    motion = Motion(
        fps=fps,
        skeleton=whole.skeleton,
        root_translation=whole.root_translation[frame].expand(len(matrices), 3),
        local_rotations=rot.make_continuous(rot.matrix_to_quaternion(local)),
        contacts=lift.contacts.new_zeros(len(matrices), 4),
    )
    height = whole.joints()[frame, :, 1].amin()
    lowest = motion.joints()[..., 1].amin(-1, keepdim=True)
    up = height.new_tensor((0.0, 1.0, 0.0))
    return replace(
        motion,
        root_translation=motion.root_translation + (height - lowest) * up,
        joint_confidence=torch.exp(-errors / _ERROR_SCALE),
        camera=here[None].repeated(len(matrices)),
        warnings=_warnings(observation),
    )


@dataclass(frozen=True, kw_only=True)
class _Posed:
    joints: Tensor  # (T, 22, 3) from the root, in each frame's camera
    seen: Tensor  # (T, 22, 3) keypoints of the pose, from the root, in each frame's camera
    feet: Tensor  # (T, 4, 3) from the root, in the first camera's axes
    local_rotations: Tensor  # (T, 22, 4) in the world
    turn: Tensor  # (3, 3) first camera's axes to the world's


def _to_world_axes(lift: Lift, observation: Observation) -> _Posed:
    offsets = proportions.rest_offsets(lift.log_bones)
    joints, turned = proportions.pose_bodies(lift.local_rotations, offsets)
    back = observation.camera.rotation.transpose(-1, -2)  # to the first camera's axes
    in_first = back @ lift.local_rotations[:, 0]
    up = rot.normalise((back @ lift.up[..., None])[..., 0].sum(0))
    # where the body faces in the first frame; towards the camera if that is straight up or down
    ahead = in_first[0, :, 2] - 1e-3 * up.new_tensor((0.0, 0.0, 1.0))
    left = torch.linalg.cross(up, ahead)
    turn = rot.axes_to_matrix(up, left)[:, [1, 0, 2]]  # columns left, up, and minus ahead
    turn = torch.stack((turn[:, 0], turn[:, 1], -turn[:, 2]), dim=0)  # rows: the world's axes
    local = torch.cat(((turn @ in_first)[:, None], lift.local_rotations[:, 1:]), dim=1)
    feet = joints[:, list(FOOT_JOINTS)] @ back.transpose(-1, -2)
    return _Posed(
        joints=joints,
        seen=keypoints_of_pose(joints, turned[:, HEAD]),
        feet=feet,
        local_rotations=rot.make_continuous(rot.matrix_to_quaternion(local)),
        turn=turn,
    )


def _root_path(pose: _Posed, lift: Lift, observation: Observation) -> Tensor:
    """The root's places (T, 3) in the first camera's axes."""
    return solve_root_path(
        pose.seen,
        observation.camera.to_plane(observation.keypoints[..., :2]),
        observation.keypoints[..., 2] * _trusted(lift.error),
        depth=lift.depth,
        feet=pose.feet,
        # even odds hold nobody: feet that only may stand would keep the body from moving
        contacts=((lift.contacts - 0.5) / 0.4).clamp(0.0, 1.0),
        camera_rotations=observation.camera.rotation,
        fps=observation.fps,
    )


def _trusted(error: Tensor) -> Tensor:
    """Joints whose place in the pose is unsure count less for the root's path."""
    return (0.05 / error.clamp(min=0.02)).square().clamp(max=1.0)


def _confidence(lift: Lift, observation: Observation) -> Tensor:
    """(T, 22) 0 to 1: how sure the lifter is, and of an observed joint also how well it is seen."""
    sure = torch.exp(-lift.error / _ERROR_SCALE)
    seen = torch.ones_like(sure)
    observed = list(OBSERVED_JOINTS)
    seen[:, observed] = 0.5 + 0.5 * observation.keypoints[:, observed, 2].clamp(0.0, 1.0)
    return (sure * seen).clamp(0.0, 1.0)


def _warnings(observation: Observation) -> tuple[str, ...]:
    warnings: list[str] = []
    if not observation.is_focal_known:
        across = degrees_across(float(observation.camera.focal_length[0]))
        warnings.append(
            f"The camera's focal length is not known: an ordinary one was taken ({across:.0f} "
            "degrees across the picture), so the way towards and away from the camera may be too "
            "long or too short"
        )
    missing = int((observation.keypoints[..., 2] <= 0).all(-1).sum())
    if missing:
        total = len(observation.keypoints)
        warnings.append(f"The person isn't seen in {missing} of {total} frames: made up there")
    return tuple(warnings)


def _resampled(track: Track, fps: float) -> tuple[Tensor, Tensor | None]:
    """Keypoints and camera rotations at another rate, as `resample` does with motions."""
    keypoints, rotations = track.keypoints, track.camera_rotations
    count = len(keypoints)
    if fps == track.fps or count == 1:
        return keypoints, rotations
    num_frames = max(1, round(count * fps / track.fps))
    times = torch.arange(num_frames, dtype=torch.float64) * track.fps / fps
    times = times.clamp(max=count - 1.0)
    before = times.floor().long().clamp(max=count - 2)
    part = (times - before).to(keypoints)[:, None, None]
    first, second = keypoints[before], keypoints[before + 1]
    mixed = torch.cat(
        (
            torch.lerp(first[..., :2], second[..., :2], part),
            torch.minimum(first[..., 2:], second[..., 2:]),
        ),
        dim=-1,
    )
    nearest = keypoints[times.round().long()]
    found = torch.where(mixed[..., 2:] > 0, mixed, nearest)  # not both are seen
    if rotations is None:
        return found, None
    quaternions = rot.make_continuous(rot.matrix_to_quaternion(rotations))
    between = torch.lerp(quaternions[before], quaternions[before + 1], part[..., 0])
    return found, rot.quaternion_to_matrix(rot.normalise(between))
