"""Stand-ins for what is slow or not there: a method without a network, a store without files."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import replace

import torch

from engine.checkpoint import CheckpointError, CheckpointInfo
from engine.methods.base import (
    Condition,
    Method,
    Prompt,
    Report,
    RequestError,
    SampleOptions,
)
from engine.motion.motion import Motion
from engine.motion.skeleton import SMPL_22
from engine.server.model_store import UnknownModelError

FAKE_INFO = CheckpointInfo(
    method="fake",
    method_config={},
    accepts=("prompt",),
    fps=20.0,
    feature_blocks=(),
    licence="CC0-1.0",
    sampling={"num_steps": 10, "guidance_scale": 2.5},
    name="fake",
    model_hash="0" * 64,
)


class FakeMethod:
    """Walks along z with one arm swinging; the seed sets how far. Costs seconds_per_step."""

    def __init__(
        self, info: CheckpointInfo = FAKE_INFO, *, num_steps: int = 10, seconds_per_step: float = 0
    ) -> None:
        self.info = info
        self.accepts = frozenset(info.accepts)
        self._num_steps = num_steps
        self._seconds_per_step = seconds_per_step

    def run(self, condition: Condition, options: SampleOptions, report: Report) -> Motion:
        if not isinstance(condition, Prompt):
            raise RequestError("The fake makes motion from words only")
        num_steps = options.num_steps or self._num_steps
        for step in range(num_steps):
            report(step, num_steps)
            time.sleep(self._seconds_per_step)
        report(num_steps, num_steps)
        motion = sine_motion(options.num_frames, fps=self.info.fps, phase=options.seed % 100)
        warnings = ("Far from what was learned",) if "zzz" in condition.text else ()
        return replace(motion, provenance={"num_steps": num_steps}, warnings=warnings)


class BrokenMethod(FakeMethod):
    """Fails in the middle of a job, as a bug would."""

    def run(self, condition: Condition, options: SampleOptions, report: Report) -> Motion:
        report(0, 2)
        raise ZeroDivisionError("the fake was told to break")


class NotANumberMethod(FakeMethod):
    """Makes a motion that can't be sent."""

    def run(self, condition: Condition, options: SampleOptions, report: Report) -> Motion:
        motion = super().run(condition, options, report)
        return replace(motion, root_translation=motion.root_translation * math.nan)


def sine_motion(num_frames: int, *, fps: float = 20.0, phase: float = 0.0) -> Motion:
    """The skeleton in its rest pose, moving along z, one elbow swinging."""
    seconds = torch.arange(num_frames) / fps
    root = torch.zeros(num_frames, 3)
    root[:, 1] = SMPL_22.root_height()
    root[:, 2] = seconds * (1 + phase / 100)
    angle = 0.3 * torch.sin(seconds + phase)
    rotations = torch.zeros(num_frames, SMPL_22.num_joints, 4)
    rotations[..., 0] = 1
    rotations[:, 18, 0] = torch.cos(angle / 2)
    rotations[:, 18, 1] = torch.sin(angle / 2)
    return Motion(
        fps=fps,
        skeleton=SMPL_22,
        root_translation=root,
        local_rotations=rotations,
        contacts=torch.zeros(num_frames, 4),
    )


class FakeModels:
    """A model store of fakes: fake (the default), slow, broken, nan, and one that can't load."""

    def __init__(self, *, seconds_per_step: float = 0.05) -> None:
        makers: dict[str, Callable[[CheckpointInfo], Method]] = {
            "fake": FakeMethod,
            "slow": lambda info: FakeMethod(info, num_steps=200, seconds_per_step=seconds_per_step),
            "broken": BrokenMethod,
            "nan": NotANumberMethod,
        }
        self._makers = makers

    def entries(self) -> list[CheckpointInfo]:
        return [replace(FAKE_INFO, name=name) for name in sorted([*self._makers, "half"])]

    def default_name(self) -> str:
        return "fake"

    @property
    def is_on_cpu(self) -> bool:
        return True

    def load(self, name: str, *, on_cpu: bool = False) -> Method:
        if name == "half":
            raise CheckpointError("half.safetensors is only half a file")
        if name == "unreadable":
            raise CheckpointError("The folder \udcff can't be read")  # as Python reads odd names
        if name and name not in self._makers:
            raise UnknownModelError(f"There is no model {name!r}")
        return self._makers[name or "fake"](replace(FAKE_INFO, name=name or "fake"))
