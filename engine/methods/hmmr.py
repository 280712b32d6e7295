"""Keypoints to motion by a short-memory regressor, with past and future (HMMR).

Source: Kanazawa et al., Learning 3D Human Dynamics from Video, CVPR 2019. A code per frame from
the frames around it (the movie strip) is read three times over by a regressor for pose and camera;
two more regressors read the poses shortly before and after; a hallucinator guesses the movie strip
from one frame. What differs here: keypoints take the place of image features, our skeleton with
bones of one length for the whole clip takes the place of SMPL, and the camera is a true perspective
one. Shape letters: B clips, T frames, D width.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from engine.checkpoint import CheckpointError, CheckpointInfo
from engine.methods.base import Condition, Report, RequestError, SampleOptions, VideoClip
from engine.motion import proportions
from engine.motion import rotations as rot
from engine.motion.lifting import Lift, Observation, motion_of_lift, observe, poses_in_place, refine
from engine.motion.motion import Motion
from engine.networks.keypoint_encoder import KeypointEncoder, TemporalEncoder

NUM_ROTATIONS = 22 * 6
NUM_STATE = NUM_ROTATIONS + 3  # and the camera: log scale, place in the box
OFFSETS = ("past", "future")
REFINEMENT_SECONDS = 0.15  # over which poses are pulled towards their keypoints
CHUNK_FRAMES = 4_000  # a longer clip is read in parts, which changes nothing


@dataclass(frozen=True, kw_only=True)
class HmmrConfig:
    """What a checkpoint of this method must say to be run."""

    width: int = 384
    regressor_width: int = 384
    dilations: tuple[int, ...] = (1, 2, 4)
    num_iterations: int = 3
    offset_seconds: float = 0.2  # of the past and future heads

    def __post_init__(self) -> None:
        if min(self.width, self.regressor_width, self.num_iterations, *self.dilations) < 1:
            raise ValueError("widths, dilations and num_iterations need to be 1 or more")
        if not self.offset_seconds > 0:
            raise ValueError(f"offset_seconds is {self.offset_seconds}, needs more than 0")

    @classmethod
    def from_header(cls, values: Mapping[str, Any]) -> HmmrConfig:
        """The configuration that a checkpoint's header spells out.

        Raises:
            CheckpointError: a field is missing, unknown or out of range.
        """
        try:
            fields: dict[str, Any] = {**values, "dilations": tuple(values["dilations"])}
            return cls(**fields)
        except (KeyError, TypeError, ValueError) as error:
            raise CheckpointError(f"The model's configuration can't be read: {error}") from error


@dataclass(frozen=True, kw_only=True)
class Reading:
    """What is read from codes, for frames "..." (any leading axes)."""

    sixd: Tensor  # (..., 22, 6) rotations; the root's to the camera
    camera: Tensor  # (..., 3) log scale, x and y of the root in the box
    up: Tensor  # (..., 3) where up is in the camera's frame, not of unit length
    contact_logits: Tensor  # (..., 4)
    log_errors: Tensor  # (..., 3, 22) log metres: now, past, future


class Regressor(nn.Module):
    """Reads a state off a code by a few rounds of correction."""

    def __init__(self, width: int, hidden: int, size: int, num_iterations: int) -> None:
        super().__init__()
        self.num_iterations = num_iterations
        self.of_code = nn.Linear(width, hidden)
        self.of_state = nn.Linear(size, hidden, bias=False)
        self.middle = nn.Linear(hidden, hidden)
        self.out = nn.Linear(hidden, size)
        for layer in (self.of_code, self.middle):
            nn.init.kaiming_normal_(layer.weight)  # torch's own default shrinks what passes
        nn.init.normal_(self.out.weight, std=0.01 / hidden**0.5)
        nn.init.zeros_(self.out.bias)

    def forward(self, codes: Tensor, start: Tensor) -> Tensor:
        """States (..., S) from codes (..., D) and where to start (..., S)."""
        told = self.of_code(codes)
        state = start
        for _ in range(self.num_iterations):
            h = F.relu(told + self.of_state(state))
            state = state + self.out(F.relu(self.middle(h)))
        return state


class HmmrNetwork(nn.Module):
    """The parts of the method; how they are put together is training's and lifting's."""

    def __init__(self, config: HmmrConfig) -> None:
        super().__init__()
        width, hidden = config.width, config.regressor_width
        self.keypoints = KeypointEncoder(width)
        self.temporal = TemporalEncoder(width, config.dilations)
        self.guess = nn.Sequential(
            nn.Linear(width, hidden),
            nn.ReLU(),
            nn.Linear(hidden, hidden),
            nn.ReLU(),
            nn.Linear(hidden, width),
        )
        self.guess_norm = nn.LayerNorm(width)
        self.now = Regressor(width, hidden, NUM_STATE, config.num_iterations)
        self.offsets = nn.ModuleDict(
            {
                name: Regressor(width, hidden, NUM_ROTATIONS, config.num_iterations)
                for name in OFFSETS
            }
        )
        self.scene = nn.Linear(width, 3 + 4)
        self.bones = nn.Linear(width, 1 + proportions.NUM_BONES)
        self.errors = nn.Linear(width, 3 * 22)
        self.start = nn.Parameter(_upright_state())
        for head in (self.scene, self.bones, self.errors):
            nn.init.normal_(head.weight, std=0.01 / width**0.5)
            nn.init.zeros_(head.bias)

    def hallucinate(self, codes: Tensor) -> Tensor:
        """The movie strip (..., D) guessed from codes (..., D) of single frames."""
        return self.guess_norm(codes + self.guess(codes))

    def read(self, strip: Tensor) -> Reading:
        """Pose, camera and the rest at the frames of a movie strip (..., D)."""
        start = self.start.expand(*strip.shape[:-1], -1)
        state = self.now(strip, start).float()
        scene = self.scene(strip).float()
        # the strip is not bent towards telling its own errors
        errors = self.errors(strip.detach()).float()
        return Reading(
            sixd=state[..., :NUM_ROTATIONS].unflatten(-1, (22, 6)),
            camera=state[..., NUM_ROTATIONS:],
            up=scene[..., :3] + scene.new_tensor((0.0, -1.0, 0.0)),
            contact_logits=scene[..., 3:],
            log_errors=errors.unflatten(-1, (3, 22)) - 3.0,
        )

    def read_offset(self, name: str, strip: Tensor, sixd: Tensor) -> Tensor:
        """Rotations (..., 22, 6) of the past or future, from those of now."""
        start = sixd.detach().flatten(-2)
        return self.offsets[name](strip, start).float().unflatten(-1, (22, 6))

    def read_bones(self, strip: Tensor, mask: Tensor) -> Tensor:
        """One body (B, 13) per clip: (B, T, D) and (B, T) bool, weighed by what frames can tell."""
        told = self.bones(strip).float()
        weights = torch.where(mask, told[..., 0], -torch.inf).softmax(dim=-1)
        return proportions.centred((weights[..., None] * told[..., 1:]).sum(-2))


def root_in_camera(camera: Tensor, boxes: Tensor) -> Tensor:
    """Where the root is, (..., 3) metres, by the camera numbers (..., 3) and boxes on the plane.

    A scale of 1 has a metre as large as the box's half side.
    """
    depth = 1.0 / (torch.exp(camera[..., :1].clamp(-3.0, 3.0)) * boxes[..., 2:].clamp(min=1e-3))
    across = boxes[..., :2] + boxes[..., 2:] * camera[..., 1:]
    return torch.cat((across * depth, depth), dim=-1)


class Hmmr:
    """A loaded lifter."""

    accepts = frozenset({"video"})

    def __init__(
        self, info: CheckpointInfo, tensors: Mapping[str, Tensor], device: torch.device
    ) -> None:
        """Build the network from a checkpoint.

        Raises:
            CheckpointError: its configuration or tensors don't fit this version.
        """
        self.config = HmmrConfig.from_header(info.method_config)
        self.info = info
        self._device = device
        self.network = HmmrNetwork(self.config)
        weights = {n[6:]: t for n, t in tensors.items() if n.startswith("model.")}
        try:
            self.network.load_state_dict(weights)
        except RuntimeError as error:
            raise CheckpointError(
                f"{info.name} doesn't fit its own configuration: {error}"
            ) from error
        self.network.eval().requires_grad_(False).to(device)
        self._is_frame_by_frame = False

    def single_frame(self) -> Hmmr:
        """The same lifter with the movie strip hallucinated from each frame alone."""
        other = copy(self)
        other._is_frame_by_frame = True
        return other

    def run(self, condition: Condition, options: SampleOptions, report: Report) -> Motion:
        """Lift a clip; see engine.methods.base.Method.

        The motion has the clip's length at the model's rate, or options.num_frames if that is
        less. Nothing is drawn: the seed doesn't matter.
        """
        observation = self._observation(condition)
        report(0, 2)
        with torch.inference_mode():
            lift = self.lift(observation)
            report(1, 2)
            motion = motion_of_lift(self._refined(lift, observation), observation)
        report(2, 2)
        return self._signed(motion.crop(0, options.num_frames))

    def predict(self, condition: VideoClip, report: Report) -> Motion:
        """Past, now and future of the clip's middle frame: a motion of three frames.

        They are info.method_config["offset_seconds"] apart. From one frame alone the movie strip
        is hallucinated.
        """
        observation = self._observation(condition)
        report(0, 1)
        with torch.inference_mode():
            lift = self.lift(observation)
            frame = len(observation.keypoints) // 2
            offsets = self.forecast(observation)
            reading = self.network.read(self._strip(observation)[0, frame])
            told = lift.local_rotations[frame]
            lift = self._refined(lift, observation)
            # what the keypoints have corrected in the pose of now holds for the others too
            corrected = told.mT @ lift.local_rotations[frame]
            poses = (offsets["past"][frame], told, offsets["future"][frame])
            motion = poses_in_place(
                torch.stack(poses) @ corrected,
                torch.exp(reading.log_errors[[1, 0, 2]]),
                (lift, observation, frame),
                fps=1.0 / self.config.offset_seconds,
            )
        report(1, 1)
        return self._signed(motion)

    def lift(self, observation: Observation) -> Lift:
        """Poses and the rest, in the camera's frame."""
        return self._lift_of(self._strip(observation), observation)

    def forecast(self, observation: Observation) -> dict[str, Tensor]:
        """Local rotations (T, 22, 3, 3) of "past" and "future" of each frame, in its camera."""
        strip = self._strip(observation)[0]
        now = self.network.read(strip).sixd
        return {
            name: rot.sixd_to_matrix(self.network.read_offset(name, strip, now)) for name in OFFSETS
        }

    def _refined(self, lift: Lift, observation: Observation) -> Lift:
        seconds = 0.0 if self._is_frame_by_frame else REFINEMENT_SECONDS
        return refine(lift, observation, seconds=seconds)

    def _observation(self, condition: Condition) -> Observation:
        if not isinstance(condition, VideoClip):
            raise RequestError(f"The model {self.info.name} makes motion from video, not from text")
        return observe(condition.track(), fps=self.info.fps, device=self._device)

    def _strip(self, observation: Observation) -> Tensor:
        """The movie strip (1, T, D) of the clip."""
        codes = self.network.keypoints(observation.normalised, observation.boxes)[None]
        if self._is_frame_by_frame or codes.shape[1] == 1:
            return self.network.hallucinate(codes)
        reach, num_frames = self.network.temporal.reach, codes.shape[1]
        parts: list[Tensor] = []
        for start in range(0, num_frames, CHUNK_FRAMES):
            first = max(0, start - reach)
            part = codes[:, first : start + CHUNK_FRAMES + reach]
            mask = torch.ones(part.shape[:2], dtype=torch.bool, device=part.device)
            strip = self.network.temporal(part, mask)
            parts.append(strip[:, start - first : start - first + CHUNK_FRAMES])
        return torch.cat(parts, dim=1)

    def _lift_of(self, strip: Tensor, observation: Observation) -> Lift:
        reading = self.network.read(strip[0])
        mask = torch.ones(strip.shape[:2], dtype=torch.bool, device=strip.device)
        return Lift(
            local_rotations=rot.sixd_to_matrix(reading.sixd),
            log_bones=self.network.read_bones(strip, mask)[0],
            up=rot.normalise(reading.up),
            contacts=torch.sigmoid(reading.contact_logits),
            depth=root_in_camera(reading.camera, observation.boxes)[..., 2],
            error=torch.exp(reading.log_errors[:, 0]),
        )

    def _signed(self, motion: Motion) -> Motion:
        provenance = {
            "model": self.info.name,
            "model_hash": self.info.model_hash,
            "licence": self.info.licence,
        }
        return replace(motion, provenance={**motion.provenance, **provenance})


def _upright_state() -> Tensor:
    """Standing in the rest pose and facing the camera, whose y points down."""
    identity: Sequence[float] = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
    facing: Sequence[float] = (1.0, 0.0, 0.0, 0.0, -1.0, 0.0)
    return torch.tensor([*facing, *(21 * [*identity]), 0.0, 0.0, 0.0])
