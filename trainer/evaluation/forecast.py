"""How well a lifter tells the poses shortly before and after a frame, against "nothing moves".

Positions are compared with roots at the origin, in the camera of the frame that is looked at.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor

from engine.checkpoint import CheckpointInfo
from engine.motion import proportions
from engine.motion.lifting import Lift, Observation, observe
from trainer.data.corpus import FPS
from trainer.evaluation import lifting_metrics as metrics
from trainer.evaluation.lifting import LiftCase
from trainer.evaluation.metrics import Estimate, bootstrap_mean

FORECAST_ROWS = (
    ("past", "past, mm"),
    ("past_stays", "past if the pose stays, mm"),
    ("future", "future, mm"),
    ("future_stays", "future if the pose stays, mm"),
)


@runtime_checkable
class Forecaster(Protocol):
    """A lifter that also tells past and future."""

    info: CheckpointInfo

    def lift(self, observation: Observation) -> Lift:
        """Poses of now, in each frame's camera."""
        ...

    def forecast(self, observation: Observation) -> dict[str, Tensor]:
        """Local rotations (T, 22, 3, 3) of "past" and "future" of each frame."""
        ...


def measure_forecast(method: Forecaster, cases: Sequence[LiftCase]) -> dict[str, Estimate]:
    """PA-MPJPE in mm of past and future, and of the lifter's own pose of now in their place."""
    shift = round(float(method.info.method_config["offset_seconds"]) * FPS)
    rows: list[dict[str, float]] = []
    for case in cases:
        if case.windows.mask.shape[1] <= 2 * shift:
            continue
        with torch.inference_mode():
            rows.append(_measure_case(method, case, shift))
    return {key: bootstrap_mean(np.array([row[key] for row in rows])) for key, _ in FORECAST_ROWS}


def _measure_case(method: Forecaster, case: LiftCase, shift: int) -> dict[str, float]:
    observation = observe(case.clip.track(), fps=FPS)
    lift = method.lift(observation)
    offsets = proportions.rest_offsets(lift.log_bones)
    now, _ = proportions.pose_bodies(lift.local_rotations, offsets)
    true = case.windows.joints[0] - case.windows.joints[0, :, :1]
    turn = case.seen.camera.rotation[0]
    figures: dict[str, float] = {}
    for name, local in method.forecast(observation).items():
        told, _ = proportions.pose_bodies(local, offsets)
        here = slice(0, -shift) if name == "future" else slice(shift, None)
        then = slice(shift, None) if name == "future" else slice(0, -shift)
        wanted = true[then] @ turn[here].mT
        figures[name] = 1e3 * float(metrics.aligned_error(told[here], wanted).mean())
        figures[f"{name}_stays"] = 1e3 * float(metrics.aligned_error(now[here], wanted).mean())
    return figures
