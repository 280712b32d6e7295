"""Motion corpora on disk: HumanML3D's layout, read onto one skeleton.

new_joints/ID.npy   (T, 22, 3) float32, metres, y up
texts/ID.txt        lines caption#tokens#start#end; start and end in seconds, 0 for the whole
texts/MID.txt       the captions of the mirrored clip (optional)
train.txt val.txt test.txt
index.jsonl         optional: source, licence and performer of each clip
"""

from __future__ import annotations

import json
import logging
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainer.data.uniform_skeleton import (
    SourceConstants,
    measure_source,
    mirror_joints,
    to_uniform_skeleton,
)

log = logging.getLogger(__name__)

FPS = 20.0
MIN_FRAMES = 12


class CorpusError(Exception):
    """A folder that isn't a corpus, or one with nothing in the split that was asked for."""


@dataclass(frozen=True, kw_only=True)
class Clip:
    """A stretch of motion with its captions, on the built-in skeleton at 20 fps."""

    clip_id: str  # mirrored clips start with M
    joints: NDArray[np.float32]  # (T, 22, 3) metres, on the floor
    captions: tuple[str, ...]
    source: str = ""
    licence: str = ""
    performer: str = ""  # who was recorded, where the corpus says so

    @property
    def is_mirrored(self) -> bool:
        """Whether this is the mirror image of a recorded clip."""
        return self.clip_id.startswith("M")


def load_corpus(folders: Sequence[Path], split: str, *, mirrored: bool = True) -> list[Clip]:
    """Read a split of one or more corpora; mirrored twins follow their originals.

    A clip that can't be read is left out with a warning that names it.

    Raises:
        CorpusError: a folder is no corpus, or no clip is left.
    """
    clips: list[Clip] = []
    for folder in folders:
        clips += _load_folder(folder, split, mirrored=mirrored)
    if not clips:
        raise CorpusError(f"No clip in split {split!r} of {', '.join(map(str, folders))}")
    return clips


def _load_folder(folder: Path, split: str, *, mirrored: bool) -> list[Clip]:
    names = _read_split(folder, split)
    index = _read_index(folder)
    by_source: dict[str, list[str]] = defaultdict(list)
    for name in names:
        by_source[str(index.get(name, {}).get("source", ""))].append(name)
    clips: list[Clip] = []
    for source, members in by_source.items():
        joints = {
            name: found for name in members if (found := _read_joints(folder, name)) is not None
        }
        constants = measure_source(list(joints.values())) if joints else SourceConstants()
        for name, raw in joints.items():
            clip = Clip(
                clip_id=name,
                joints=to_uniform_skeleton(raw, constants).astype(np.float32),
                captions=(),
                source=source,
                licence=str(index.get(name, {}).get("licence", "")),
                performer=str(index.get(name, {}).get("performer") or ""),
            )
            clips += _with_captions(folder, clip, mirrored=mirrored)
    return clips


def _read_split(folder: Path, split: str) -> list[str]:
    path = folder / f"{split}.txt"
    if not path.is_file():
        raise CorpusError(
            f"{folder} is no corpus: it has no {split}.txt (needs new_joints/, texts/, {split}.txt)"
        )
    return path.read_text().split()


def _read_index(folder: Path) -> dict[str, dict[str, Any]]:
    path = folder / "index.jsonl"
    if not path.is_file():
        return {}
    rows = [json.loads(line) for line in path.read_text().splitlines() if line.strip()]
    return {row["id"]: row for row in rows}


def _read_joints(folder: Path, name: str) -> NDArray[np.float32] | None:
    path = folder / "new_joints" / f"{name}.npy"
    try:
        joints = np.load(path)
    except (OSError, ValueError) as error:
        log.warning("Left out clip %s: %s", name, error)
        return None
    if joints.ndim != 3 or joints.shape[1:] != (22, 3) or not np.isfinite(joints).all():
        log.warning("Left out clip %s: shape %s, or numbers that aren't finite", name, joints.shape)
        return None
    if len(joints) < MIN_FRAMES:
        log.warning("Left out clip %s: %d frames, needs %d", name, len(joints), MIN_FRAMES)
        return None
    return joints.astype(np.float32)


def _with_captions(folder: Path, clip: Clip, *, mirrored: bool) -> list[Clip]:
    """The clip, its captioned parts, and the mirrored twins of both."""
    clips = _captioned(folder / "texts" / f"{clip.clip_id}.txt", clip)
    twin_texts = folder / "texts" / f"M{clip.clip_id}.txt"
    if mirrored and twin_texts.is_file():
        twin = replace(clip, clip_id=f"M{clip.clip_id}", joints=mirror_joints(clip.joints))
        clips += _captioned(twin_texts, twin)
    return clips


def _captioned(path: Path, clip: Clip) -> list[Clip]:
    if not path.is_file():
        log.warning("Left out clip %s: it has no captions", clip.clip_id)
        return []
    spans: dict[tuple[float, float], list[str]] = defaultdict(list)
    for line in path.read_text().splitlines():
        caption, *rest = line.strip().split("#")
        start, end = (float(rest[1]), float(rest[2])) if len(rest) == 3 else (0.0, 0.0)
        if caption:
            spans[start, end].append(caption)
    return [_part(clip, span, captions) for span, captions in spans.items()]


def _part(clip: Clip, span: tuple[float, float], captions: list[str]) -> Clip:
    start, end = span
    stop = round(end * FPS) if end > start else len(clip.joints)
    part = clip.joints[round(start * FPS) : stop]
    return replace(clip, joints=part, captions=tuple(captions))
