"""HumanML3D's layout: one file of joints or features per clip, captions beside it.

new_joints/ID.npy      (T, 22, 3) float32, metres, y up, 20 fps
new_joint_vecs/ID.npy  (T - 1, 263) float32, the features of engine.motion.representation; read
                       where new_joints has no such clip
texts/ID.txt           see trainer.data.layouts.captions
train.txt val.txt test.txt (also train_val.txt, all.txt): one id a line
Mean.npy, Std.npy      (263,) of the features; deviations are equal inside each block
t2m_mean.npy, t2m_std.npy   what T2M's evaluators normalise with (MDM keeps them in dataset/);
                       the deviations of root and contacts are 25 times smaller
index.jsonl            ours, optional: id, source, licence and performer of each clip

The published lists name mirrored clips as clips of their own, with an M before the id; a corpus
that lists none may give a mirrored clip's captions as texts/MID.txt, and gets it made.

Source: github.com/EricGuo5513/HumanML3D (README, raw_pose_processing.ipynb,
motion_representation.ipynb, cal_mean_variance.ipynb); the evaluator's deviations: T2M's dataset
divides them by a feature bias of 5, twice (data_loaders/humanml/data/dataset.py of MDM), checked
on the published files: 24.9 to 25.3.
"""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from engine.motion.representation import HUMANML3D
from trainer.data.clip import (
    READ_ERRORS,
    Clip,
    ClipError,
    CorpusError,
    LeftOut,
    check_motion,
    load_array,
)
from trainer.data.layouts.captions import Spans, read_captions
from trainer.data.uniform_skeleton import (
    SourceConstants,
    measure_source,
    mirror_joints,
    to_uniform_skeleton,
)

EVALUATOR_BIAS = 25.0  # deviations of root and contacts are smaller by it in the evaluator's file
_BIASED_BLOCKS = ("root_heading_rate", "root_velocity", "root_height", "foot_contacts")


@dataclass(frozen=True, kw_only=True)
class FeatureStatistics:
    """What HumanML3D's features are normalised with, in training and by its evaluators."""

    mean: NDArray[np.float32]  # (263,)
    deviation: NDArray[np.float32]
    evaluator_mean: NDArray[np.float32]
    evaluator_deviation: NDArray[np.float32]

    def for_evaluator(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """Normalised features (..., 263) of a model as the evaluators want them."""
        plain = features * self.deviation + self.mean
        return ((plain - self.evaluator_mean) / self.evaluator_deviation).astype(np.float32)


def is_humanml3d(folder: Path) -> bool:
    """Whether the folder has this layout."""
    kinds = ("new_joints", "new_joint_vecs")
    return (folder / "texts").is_dir() and any((folder / kind).is_dir() for kind in kinds)


def read_clips(folder: Path, split: str, *, mirrored: bool = True) -> list[Clip]:
    """The clips of a split, on the built-in skeleton; mirrored twins follow their originals.

    Raises:
        CorpusError: there is no such split, or the index is damaged.
    """
    names = read_split(folder, split)
    listed = set(names)
    if not mirrored:
        names = [name for name in names if not (name.startswith("M") and name[1:] in listed)]
    index = _read_index(folder)
    left_out = LeftOut(folder, split)
    by_source: dict[str, list[str]] = defaultdict(list)
    for name in names:
        by_source[str(index.get(name, {}).get("source", ""))].append(name)
    clips: list[Clip] = []
    for source, members in by_source.items():
        joints = _read_members(folder, members, left_out)
        constants = measure_source(list(joints.values())) if joints else SourceConstants()
        for name, raw in joints.items():
            row = index.get(name, {})
            uniform = to_uniform_skeleton(raw, constants).astype(np.float32)
            if not np.isfinite(uniform).all():
                left_out.add(name, "its joints make no body")
                continue
            clip = Clip(
                clip_id=name,
                joints=uniform,
                captions=(),
                source=source,
                licence=str(row.get("licence", "")),
                performer=str(row.get("performer") or ""),
            )
            makes_twin = mirrored and f"M{name}" not in listed
            clips += _with_captions(folder, clip, left_out, makes_twin=makes_twin)
    left_out.tell(len(names))
    return clips


def read_split(folder: Path, split: str) -> list[str]:
    """The ids of a split.

    Raises:
        CorpusError: there is no such list.
    """
    path = folder / f"{split}.txt"
    if not path.is_file():
        found = sorted(other.stem for other in folder.glob("*.txt"))
        raise CorpusError(
            f"{folder} has no {split}.txt, the list of the clips of split {split!r} "
            f"(lists found: {', '.join(found) or 'none'})"
        )
    return list(dict.fromkeys(path.read_text().split()))


def read_statistics(folder: Path) -> FeatureStatistics:
    """Mean and deviation of the features; the evaluator's follow from them where its are absent.

    Raises:
        CorpusError: Mean.npy or Std.npy is missing or damaged.
    """
    try:
        mean, deviation = (load_array(folder / name, 263) for name in ("Mean.npy", "Std.npy"))
        if (folder / "t2m_mean.npy").is_file():
            names = ("t2m_mean.npy", "t2m_std.npy")
            evaluator_mean, evaluator_deviation = (load_array(folder / n, 263) for n in names)
        else:
            evaluator_mean, evaluator_deviation = mean, deviation.copy()
            for block in _BIASED_BLOCKS:
                evaluator_deviation[HUMANML3D.part(block)] /= EVALUATOR_BIAS
    except ClipError as error:
        raise CorpusError(f"{folder}: {error}") from error
    return FeatureStatistics(
        mean=mean,
        deviation=deviation,
        evaluator_mean=evaluator_mean,
        evaluator_deviation=evaluator_deviation,
    )


def read_joints(folder: Path, name: str) -> NDArray[np.float32]:
    """Joints (T, 22, 3) of a clip, from its features where there are only those.

    Raises:
        ClipError: they can't be read, or aren't those of a person.
    """
    if (folder / "new_joints" / f"{name}.npy").is_file() or not (
        folder / "new_joint_vecs" / f"{name}.npy"
    ).is_file():
        joints = load_array(folder / "new_joints" / f"{name}.npy", None, 22, 3)
    else:
        joints = joints_of_features(
            load_array(folder / "new_joint_vecs" / f"{name}.npy", None, 263)
        )
    check_motion(joints)
    return joints


def joints_of_features(features: NDArray[np.float32]) -> NDArray[np.float32]:
    """Joints (T, 22, 3) of features (T, 263); they start at the origin and face +z."""
    return HUMANML3D.decode(torch.from_numpy(features)).joints.numpy()


def captioned_parts(clip: Clip, spans: Spans) -> list[Clip]:
    """The clip with its captions, and the parts of it that have captions of their own.

    Raises:
        ClipError: no caption is about enough frames of the clip.
    """
    parts: list[Clip] = []
    for (start, stop), captions in spans.items():
        part = replace(clip, joints=clip.joints[start:stop], captions=tuple(captions))
        try:
            check_motion(part.joints)
        except ClipError:
            continue
        parts.append(part)
    if not parts:
        raise ClipError("none of its captions is about enough frames of it")
    return parts


def _read_index(folder: Path) -> dict[str, dict[str, Any]]:
    path = folder / "index.jsonl"
    if not path.is_file():
        return {}
    try:
        rows = [json.loads(line) for line in path.read_text().splitlines() if line.strip()]
        return {row["id"]: row for row in rows}
    except READ_ERRORS as error:
        raise CorpusError(f"{path} can't be read: {error}") from error


def _read_members(
    folder: Path, names: list[str], left_out: LeftOut
) -> dict[str, NDArray[np.float32]]:
    found: dict[str, NDArray[np.float32]] = {}
    for name in names:
        try:
            found[name] = read_joints(folder, name)
        except ClipError as error:
            left_out.add(name, error)
    return found


def _with_captions(folder: Path, clip: Clip, left_out: LeftOut, *, makes_twin: bool) -> list[Clip]:
    """The clip, its captioned parts, and the mirrored twins of both."""
    clips: list[Clip] = []
    try:
        clips += captioned_parts(clip, read_captions(folder / "texts" / f"{clip.clip_id}.txt"))
        twin_texts = folder / "texts" / f"M{clip.clip_id}.txt"
        if makes_twin and twin_texts.is_file():
            twin = replace(clip, clip_id=f"M{clip.clip_id}", joints=mirror_joints(clip.joints))
            clips += captioned_parts(twin, read_captions(twin_texts))
    except ClipError as error:
        left_out.add(clip.clip_id, error)
    return clips
