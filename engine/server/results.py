"""What the engine has, in the words of the protocol: motions and checkpoint headers."""

from __future__ import annotations

import json
import math

import numpy as np
from torch import Tensor

from blender_addon import protocol
from engine.checkpoint import CheckpointInfo
from engine.methods.base import MAX_SECONDS
from engine.motion.motion import Motion

MAX_CAPTIONS = 80  # of a model, in Welcome
MAX_LETTERS = 60  # of such a caption


def motion_to_result(
    motion: Motion, *, job_id: str, candidate: int, count: int
) -> protocol.JobResult:
    """A finished motion as the message that carries it."""
    return protocol.JobResult(
        job_id=job_id,
        candidate=candidate,
        count=count,
        fps=float(motion.fps),
        joint_names=list(motion.skeleton.joint_names),
        parents=list(motion.skeleton.parents),
        rest_offsets=np.asarray(motion.skeleton.rest_offsets, dtype=np.float32),
        root_translation=_to_array(motion.root_translation),
        local_rotations=_to_array(motion.local_rotations),
        contacts=_to_array(motion.contacts),
        provenance=json.dumps(dict(motion.provenance), allow_nan=False),
        warnings=list(motion.warnings),
    )


def info_to_entry(
    info: CheckpointInfo, *, is_default: bool, is_default_lifter: bool = False
) -> protocol.ModelEntry:
    """A checkpoint's header as an entry of Welcome."""
    return protocol.ModelEntry(
        name=info.name,
        method=info.method,
        accepts=sorted(info.accepts),
        fps=float(info.fps),
        licence=info.licence,
        size_bytes=info.size_bytes,
        model_hash=info.model_hash,
        default=is_default,
        default_for_video=is_default_lifter,
        refines=info.method == "video_mdm",
        max_seconds=float(info.sampling.get("max_seconds", MAX_SECONDS)),
        num_steps=int(info.sampling.get("num_steps", 0)),
        guidance_scale=float(info.sampling.get("guidance_scale", 0.0)),
        captions=_some_captions(info),
    )


def _some_captions(info: CheckpointInfo) -> list[str]:
    """Short captions out of all corners of what a model was trained on, for its users to try."""
    captions: list[str] = info.extra.get("captions") or []
    short = list(
        dict.fromkeys(text.rstrip(".") for text in captions if 0 < len(text) <= MAX_LETTERS)
    )
    step = max(1, math.ceil(len(short) / MAX_CAPTIONS))
    return short[::step]


def _to_array(tensor: Tensor) -> protocol.FloatArray:
    return np.ascontiguousarray(tensor.detach().float().cpu().numpy())
