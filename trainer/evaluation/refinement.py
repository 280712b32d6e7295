"""How much nearer to the truth a model brings the motions that a lifter has made."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from engine.methods.base import Prompt
from engine.methods.video_mdm import RefineOptions, VideoMdm
from trainer.data.corpus import FPS, CorpusError
from trainer.data.teacher_corpus import TeacherClip
from trainer.data.teacher_motions import as_motion
from trainer.evaluation.lifting_metrics import acceleration_error, aligned_error, joint_error
from trainer.evaluation.metrics import Estimate, bootstrap_mean


def measure_refinement(
    method: VideoMdm,
    clips: Sequence[TeacherClip],
    options: RefineOptions | None = None,
    *,
    cameras: str = "given",
    with_prompt: bool = False,
    report: Callable[[], object] = lambda: None,
) -> dict[str, Estimate]:
    """Errors of lifted motions before and after, means over clips with intervals.

    "teacher" is the lifter's motion, "rays" the same steps without asking the prior, "lift" with
    it. Lengths are in mm: `mpjpe` in the camera with roots at the origin, `world_mpjpe` where the
    joints are (the protocol of VideoMDM, arXiv 2606.13364), `pa_mpjpe` after a similarity in every
    frame; accelerations in m/s2. `lift_gain` and `lift_world_gain` are the shares of the lifter's
    errors that are gone.

    Args:
        method: the prior.
        clips: with their truth.
        options: how.
        cameras: "given" or "estimated", by which the motion is brought onto its rays.
        with_prompt: tell the prior the clip's first caption.
        report: called after every clip.

    Raises:
        CorpusError: a clip's truth or camera isn't told.
    """
    chosen = options or RefineOptions()
    rows: list[dict[str, float]] = []
    for clip in clips:
        if clip.truth is None or clip.given is None:
            raise CorpusError(f"The true motion of clip {clip.clip_id} isn't told in its corpus")
        sight = clip.sight(cameras)
        prompt = Prompt(clip.captions[0]) if with_prompt else None
        teacher = as_motion(clip, sight.camera)
        true = clip.given.to_camera(clip.truth)
        row = _errors("teacher", clip.estimated.to_camera(clip.teacher), true)
        for name, how in (("rays", replace(chosen, num_steps=0)), ("lift", chosen)):
            found = method.refine(teacher, sight, prompt, how, lambda step, of: None)
            row |= _errors(name, sight.camera.to_camera(found.joints()), true)
        rows.append(row)
        report()
    figures = {key: bootstrap_mean(np.array([row[key] for row in rows])) for key in rows[0]}
    for kind in ("", "world_"):
        before, after = (figures[f"{name}_{kind}mpjpe"].value for name in ("teacher", "lift"))
        figures[f"lift_{kind}gain"] = Estimate(1 - after / before)
    return figures


def _errors(name: str, seen: Tensor, true: Tensor) -> dict[str, float]:
    """Errors of joints (T, 22, 3) in the camera's axes."""
    apart = torch.linalg.vector_norm(seen - true, dim=-1)
    return {
        f"{name}_mpjpe": 1e3 * float(joint_error(seen, true).mean()),
        f"{name}_pa_mpjpe": 1e3 * float(aligned_error(seen, true).mean()),
        f"{name}_world_mpjpe": 1e3 * float(apart.mean()),
        f"{name}_acceleration": float(acceleration_error(seen, true, FPS).mean()),
    }
