"""What a model knew before it is taught more, as motions to go on practising with.

A model that learns from a dozen clips alone forgets the rest. Its own motions, sampled once for
captions that it has learned from, stand for the corpus that its user doesn't have; where there is
one, its clips are taken instead.

Source: the idea is the prior preservation of DreamBooth (Ruiz et al., CVPR 2023, section 3.3), and
generative replay before it (Shin et al., NeurIPS 2017).
"""

from __future__ import annotations

import json
import logging
import random
import time
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from engine.checkpoint import CheckpointInfo
from engine.methods import load_method
from engine.methods.base import BatchMethod, Prompt, SampleOptions
from engine.motion.representation import ROOT_LOCAL
from trainer.config import ConfigError
from trainer.data.corpus import Clip, load_corpus
from trainer.data.examples import encode_clip
from trainer.device import training_device

log = logging.getLogger(__name__)

Replayed = list[tuple[str, Tensor]]
"""Captions, each with the features (T, F) of a motion, not normalised."""

FILE = "replay.safetensors"
_LENGTHS = (60, 160)  # frames
_BATCH = 16
_NUM_STEPS, _GUIDANCE = 10, 2.0
_LINE_EVERY_S = 5.0


def replayed(base: Path, info: CheckpointInfo, count: int, folder: Path, seed: int) -> Replayed:
    """`count` motions of the base model, from the run's folder if they are there already.

    Raises:
        ConfigError: the model doesn't tell its captions, or the folder has another model's motions.
    """
    path = folder / FILE
    if path.is_file():
        return _read(path, info)
    captions: list[str] = list(info.extra.get("captions", ()))
    if not captions:
        raise ConfigError(
            f"{info.name} doesn't tell which captions it has learned: give a corpus to practise "
            "with (--set replay=FOLDER), or none (--set replay_weight=0)"
        )
    motions = _sample(base, _spread(captions, count, seed), seed)
    _write(path, motions, info)
    return motions


def replayed_corpus(folder: Path, count: int, seed: int) -> Replayed:
    """`count` clips of a corpus of 3D motion.

    Raises:
        CorpusError: the folder is none.
    """
    clips = load_corpus([folder], "train")
    generator = random.Random(seed)
    chosen: Sequence[Clip] = generator.sample(clips, min(count, len(clips)))
    return [(generator.choice(clip.captions), encode_clip(clip, ROOT_LOCAL)) for clip in chosen]


def _spread(captions: Sequence[str], count: int, seed: int) -> list[str]:
    """So many of the captions, all of them as often as each other."""
    generator = random.Random(seed)
    chosen: list[str] = []
    while len(chosen) < count:
        chosen += generator.sample(captions, min(len(captions), count - len(chosen)))
    return chosen


def _sample(base: Path, captions: Sequence[str], seed: int) -> Replayed:
    model = load_method(base, training_device())
    assert isinstance(model, BatchMethod)
    log.info("Sampling %d motions that %s knows, to practise with", len(captions), model.info.name)
    generator = random.Random(seed)
    lengths = sorted(generator.randint(*_LENGTHS) for _ in captions)
    motions: Replayed = []
    last = time.monotonic()
    for start in range(0, len(captions), _BATCH):
        part = range(start, min(start + _BATCH, len(captions)))
        options = [
            SampleOptions(
                num_frames=lengths[k], seed=seed + k, num_steps=_NUM_STEPS, guidance_scale=_GUIDANCE
            )
            for k in part
        ]
        made = model.run_batch([Prompt(captions[k]) for k in part], options, lambda step, of: None)
        for k, motion in zip(part, made, strict=True):
            joints = motion.joints().float().cpu().numpy()
            clip = Clip(clip_id=str(k), joints=joints, captions=(captions[k],))
            motions.append((captions[k], encode_clip(clip, ROOT_LOCAL)))
        if time.monotonic() - last > _LINE_EVERY_S:
            last = time.monotonic()
            log.info("Sampled %d of %d", len(motions), len(captions))
    return motions


def _write(path: Path, motions: Replayed, info: CheckpointInfo) -> None:
    told = {"captions": json.dumps([caption for caption, _ in motions]), "base": info.model_hash}
    tensors = {
        "features": torch.cat([features for _, features in motions]),
        "lengths": torch.tensor([len(features) for _, features in motions]),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    save_file(tensors, partial, metadata=told)
    partial.replace(path)


def _read(path: Path, info: CheckpointInfo) -> Replayed:
    with safe_open(path, framework="pt") as file:
        told: dict[str, str] = file.metadata()
        features, lengths = file.get_tensor("features"), file.get_tensor("lengths")
    if told["base"] != info.model_hash:
        raise ConfigError(f"{path.parent} was begun from another model than {info.name}")
    captions: list[str] = json.loads(told["captions"])
    return list(zip(captions, features.split(lengths.tolist()), strict=True))
