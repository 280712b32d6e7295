"""How much nearer to the truth a model brings the motions that a lifter has made."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from engine.methods.base import Prompt
from engine.methods.video_mdm import RefineOptions, VideoMdm
from trainer.data.corpus import FPS, CorpusError
from trainer.data.teacher_corpus import TeacherClip
from trainer.evaluation.lifting_metrics import acceleration_error, aligned_error, joint_error
from trainer.evaluation.metrics import Estimate, bootstrap_mean


def measure_refinement(
    method: VideoMdm,
    clips: Sequence[TeacherClip],
    options: RefineOptions | None = None,
    *,
    with_prompt: bool = False,
    report: Callable[[], object] = lambda: None,
) -> dict[str, Estimate]:
    """Errors of lifted motions before and after, mm, means over clips with intervals.

    Both are in the lifter's own camera, the truth in the true one, roots at the origin.
    `lift_gain` is the share of the lifter's MPJPE that is gone.

    Raises:
        CorpusError: a clip's truth isn't told.
    """
    rows: list[dict[str, float]] = []
    for clip in clips:
        if clip.truth is None or clip.given is None:
            raise CorpusError(f"The true motion of clip {clip.clip_id} isn't told in its corpus")
        sight = clip.sight("estimated")
        prompt = Prompt(clip.captions[0]) if with_prompt else None
        found = method.refine_joints(
            clip.teacher, sight, prompt, options or RefineOptions(), lambda step, of: None
        )
        true = clip.given.to_camera(clip.truth)
        row: dict[str, float] = {}
        for name, joints in (("teacher", clip.teacher), ("lift", found)):
            seen = clip.estimated.to_camera(joints)
            row[f"{name}_mpjpe"] = 1e3 * float(joint_error(seen, true).mean())
            row[f"{name}_pa_mpjpe"] = 1e3 * float(aligned_error(seen, true).mean())
            row[f"{name}_acceleration"] = float(acceleration_error(seen, true, FPS).mean())
        rows.append(row)
        report()
    figures = {key: bootstrap_mean(np.array([row[key] for row in rows])) for key in rows[0]}
    before, after = figures["teacher_mpjpe"].value, figures["lift_mpjpe"].value
    return {**figures, "lift_gain": Estimate(1 - after / before)}
