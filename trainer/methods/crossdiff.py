"""CrossDiff: one diffusion over motion in space and its views, learned along four paths.

Stages: all four paths; motion in space, with the other paths only kept alive; and, where asked for,
wild footage, whose targets in space are the model's own lift.

Source: CrossDiff, ECCV 2024, sections 3.2 and 3.3, and its release.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from engine.checkpoint import CheckpointInfo, save_checkpoint
from engine.diffusion.schedule import cosine_schedule
from engine.methods.crossdiff import CrossDiffConfig
from engine.motion.representation_2d import VIEW
from engine.networks import text_encoder
from engine.networks.two_domain import FLAT, SOLID
from trainer.config import ConfigError
from trainer.data.augmentation import MAX_FRAMES
from trainer.data.corpus import FPS, Clip, CorpusError, load_corpus
from trainer.data.examples import Example, TextStore, augmented, encode_clip
from trainer.data.feature_bank import FeatureBank
from trainer.data.footage import Footage, load_footage, without_motion
from trainer.data.statistics import Statistics, measure_statistics
from trainer.data.two_domain_examples import (
    TwoDomainBatch,
    TwoDomainDataSettings,
    TwoDomainSampler,
    make_examples,
    measure_views,
    split_clips,
)
from trainer.device import to_device, training_device
from trainer.loop import LoopSettings
from trainer.losses.two_domain import CrossWeights, Draws, Objective
from trainer.precision import PRECISIONS
from trainer.stages import Player, Stage
from trainer.wild_targets import WildSampler, lift_wild

VALIDATION_TIMESTEPS = (4, 14, 24, 34, 44)  # of 50


@dataclass(frozen=True, kw_only=True)
class CrossDiffTraining:
    """One CrossDiff run. Counts are optimiser steps, of all stages together."""

    method: str = "crossdiff"
    licence: str
    model: CrossDiffConfig = field(default_factory=CrossDiffConfig)
    data: TwoDomainDataSettings = field(default_factory=TwoDomainDataSettings)
    weights: CrossWeights = field(default_factory=CrossWeights)
    loop: LoopSettings = field(default_factory=lambda: LoopSettings(num_steps=6_000))
    solid_stage: float = 0.25  # share of the steps that belong to the stage in space
    wild_stage: float = 0.0  # share of them that belong to wild footage
    wild_batch_share: float = 0.5  # of a batch in that stage
    learning_rate: float = 1e-3
    later_rate: float = 0.2  # of the learning rate, in the later stages
    weight_decay: float = 0.02
    batch_size: int = 32
    prompt_dropout: float = 0.1
    noisiest_share: float = 0.4  # of the batch drawn from the noisiest timesteps alone
    lift_share: float = 0.1  # of the batch that is clean and without words, as lifting meets it
    is_augmented: bool = True  # see trainer.data.augmentation
    rewordings: int = 4  # of each caption
    text_noise: float = 0.3  # added to its vectors, against their own length
    precision: str = "auto"  # of the forward pass; see trainer.precision
    num_steps: int = 25  # default when sampling
    guidance_scale: float = 4.0

    def __post_init__(self) -> None:
        shares = (self.solid_stage, self.wild_stage)
        if min(shares) < 0 or sum(shares) >= 1:
            raise ValueError(f"solid_stage and wild_stage are {shares}, need 0 to below 1 together")
        for name in ("prompt_dropout", "wild_batch_share", "noisiest_share", "lift_share"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}, needs 0 to below 1")
        if self.precision not in PRECISIONS:
            raise ValueError(
                f"precision is {self.precision!r}, needs one of {', '.join(PRECISIONS)}"
            )

    @property
    def size(self) -> str:
        """The network in a few characters."""
        if self.model.network == "published":
            return f"{self.model.published.width} x 6 + 6"
        return f"{self.model.unified.width} x {self.model.unified.shared_layers} + 4"


def stages(training: CrossDiffTraining, folders: Sequence[Path], run: Path) -> list[Stage]:
    """All paths, then space, then wild footage.

    Folders that hold keypoints alone are footage: their clips have no 3D.

    Raises:
        ConfigError: the network takes other features than the representation has, or fewer frames.
        CorpusError: a folder isn't a corpus, no clip is left with 3D, or a stage with wild footage
            is asked for and none is without.
    """
    torch.manual_seed(training.loop.seed)
    device = training_device()
    representation = training.model.solid
    _check_sizes(training.model)
    filmed = without_motion(folders)
    recorded = [folder for folder in folders if folder not in filmed]
    if not recorded:
        raise CorpusError(
            f"{', '.join(map(str, folders))}: keypoints alone; lifting is learned from motion in "
            "3D, so a corpus of it is needed beside them"
        )
    footage = load_footage(filmed, "train")
    solid, flat = split_clips(load_corpus(recorded, "train"), training.data)
    is_wild = training.wild_stage > 0
    if is_wild and not flat and not footage:
        raise CorpusError(
            f"wild_stage is {training.wild_stage}, but every clip has 3D: add a folder of "
            "keypoints to --data (`trainer prepare video`), or hold 3D back with data.solid_share "
            "below 1 or data.held_out, and data.flat_share above 0"
        )
    statistics = {
        SOLID: measure_statistics(
            [encode_clip(clip, representation) for clip in solid], representation
        ),
        FLAT: measure_views(solid),
    }
    examples, texts, num_solid = _examples((solid, flat, footage), statistics[SOLID], training)
    bank = FeatureBank(
        examples, num_solid, statistics, representation, training.data, device, footage
    )
    model = training.model.build().to(device)
    objective = Objective(
        model,
        bank,
        statistics,
        (representation, training.weights),
        cosine_schedule(training.model.num_timesteps),
        Draws(
            noisiest_share=training.noisiest_share,
            lift_share=training.lift_share,
            text_noise=training.text_noise,
            precision=training.precision,
        ),
    )
    held_out = _held_out(load_corpus(recorded, "val"), statistics, training, device)
    captions = _captions([*solid, *flat], footage)
    saver = _Saver(training, statistics, model, (texts, captions), folders, run)

    def sampler(count: int, wild_share: float | None) -> TwoDomainSampler:
        return TwoDomainSampler(
            examples[:count],
            texts,
            training.data,
            batch_size=training.batch_size,
            prompt_dropout=training.prompt_dropout,
            num_solid=num_solid,
            first_footage=len(examples) - len(footage),
            wild_share=wild_share,
        )

    # wild footage comes last, and isn't known before
    ordinary = num_solid if is_wild else len(examples)
    plans = [
        ("all-paths", sampler(ordinary, None), training.weights, 1.0),
        ("space", sampler(num_solid, None), training.weights.later(), training.later_rate),
    ]
    result: list[Stage] = []
    counts = _stage_steps(training)
    for name, batches, weights, rate in plans:
        player = _player(model, objective, weights, training, rate)
        result.append(_stage(name, player, batches, (objective, held_out), saver, counts))
    if is_wild:
        on_device = {domain: s.to(device) for domain, s in statistics.items()}
        made = WildSampler(
            sampler(len(examples), training.wild_batch_share),
            bank,
            lambda: lift_wild(objective.lifted, bank, on_device, representation),
            run / "wild.safetensors",
        )
        player = _player(model, objective, training.weights.wild(), training, training.later_rate)
        result.append(_stage("wild", player, made, (objective, held_out), saver, counts))
    return [stage for stage in result if stage.num_steps]


def _check_sizes(model: CrossDiffConfig) -> None:
    sizes, expected = model.network_config, model.solid.num_features
    if sizes.solid_features != expected:
        raise ConfigError(
            f"model.network {model.network!r} takes {sizes.solid_features} features a frame, "
            f"model.representation {model.representation!r} has {expected}: set "
            f"model.{model.network}.solid_features={expected}, or change one of the two"
        )
    if sizes.max_frames < MAX_FRAMES - 1:
        raise ConfigError(
            f"model.{model.network}.max_frames is {sizes.max_frames}, needs {MAX_FRAMES - 1} "
            "or more"
        )


def _stage_steps(training: CrossDiffTraining) -> dict[str, tuple[int, int]]:
    """Number of steps of each stage, and of those before it."""
    total = training.loop.num_steps
    space, wild = round(training.solid_stage * total), round(training.wild_stage * total)
    first = total - space - wild
    return {"all-paths": (first, 0), "space": (space, first), "wild": (wild, first + space)}


def _stage(
    name: str,
    player: Player,
    batches: TwoDomainSampler | WildSampler,
    judged: tuple[Objective, Sequence[tuple[FeatureBank, TwoDomainBatch]]],
    saver: _Saver,
    counts: Mapping[str, tuple[int, int]],
) -> Stage:
    objective, held_out = judged
    num_steps, before = counts[name]
    return Stage(
        name=name,
        players=(player,),
        batches=batches,
        validate=lambda: objective.validate(held_out, VALIDATION_TIMESTEPS),
        save=lambda kind, step, figures: saver.save(kind, name, before + step, figures),
        # no held-out clip shows what wild footage teaches
        keeps_last=isinstance(batches, WildSampler),
        num_steps=num_steps,
        steps_before=before,
    )


def _player(
    model: nn.Module,
    objective: Objective,
    weights: CrossWeights,
    training: CrossDiffTraining,
    rate: float,
) -> Player:
    decayed = [p for p in model.parameters() if p.ndim >= 2]
    others = [p for p in model.parameters() if p.ndim < 2]
    optimizer = torch.optim.AdamW(
        [
            {"params": decayed, "weight_decay": training.weight_decay},
            {"params": others, "weight_decay": 0.0},
        ],
        lr=rate * training.learning_rate,
        betas=(0.9, 0.98),
        fused=True,
    )
    return Player(
        name="denoiser",
        module=model,
        optimizer=optimizer,
        loss=lambda batch, generator: objective.loss(batch, generator, weights),
    )


def _examples(
    groups: tuple[Sequence[Clip], Sequence[Clip], Sequence[Footage]],
    statistics: Statistics,
    training: CrossDiffTraining,
) -> tuple[list[Example], TextStore, int]:
    """Examples with 3D first and footage last, the store of their texts, and how many have 3D.

    What is told by views alone is augmented by itself: nothing of it gets into the others.
    """
    recorded = [list(group) for group in groups[:2]]
    if training.is_augmented:
        recorded = [augmented(group, random.Random(k)) for k, group in enumerate(recorded)]
    examples, texts = make_examples(
        [*recorded, groups[2]], statistics, training.model.solid, training.rewordings
    )
    return examples, TextStore(texts), len(recorded[0])


def _captions(clips: Sequence[Clip], footage: Sequence[Footage]) -> list[str]:
    """Captions as they were given: what a prompt is held against."""
    own = [clip for clip in clips if not clip.is_mirrored]
    return list(dict.fromkeys(caption for clip in [*own, *footage] for caption in clip.captions))


def _held_out(
    clips: Sequence[Clip],
    statistics: Mapping[str, Statistics],
    training: CrossDiffTraining,
    device: torch.device,
) -> list[tuple[FeatureBank, TwoDomainBatch]]:
    """All held-out clips with their first caption, in batches of like length, from the front."""
    first = [replace(clip, captions=clip.captions[:1]) for clip in clips]
    examples, texts = make_examples([first], statistics[SOLID], training.model.solid, 0)
    bank = FeatureBank(
        examples, len(examples), statistics, training.model.solid, training.data, device
    )
    store = TextStore(texts)
    lengths = torch.tensor([len(example.features) for example in examples])
    batches: list[tuple[FeatureBank, TwoDomainBatch]] = []
    for rows in lengths.argsort(stable=True).split(32):
        own = lengths[rows]
        batch = TwoDomainBatch(
            rows=rows,
            mask=torch.arange(int(own.max())) < own[:, None],
            text=store.gather(
                [examples[row].captions[0] for row in rows.tolist()], [False] * len(rows)
            ),
            azimuth=torch.zeros(len(rows)),
            is_told=torch.ones(len(rows), dtype=torch.bool),
            is_footage=torch.zeros(len(rows), dtype=torch.bool),
        )
        batches.append((bank, to_device(batch, device)))
    return batches


class _Saver:
    """Writes checkpoints to sample from."""

    def __init__(
        self,
        training: CrossDiffTraining,
        statistics: Mapping[str, Statistics],
        model: nn.Module,
        known: tuple[TextStore, list[str]],
        folders: Sequence[Path],
        run: Path,
    ) -> None:
        self._training = training
        self._statistics = statistics
        self._model = model
        texts, self._captions = known
        self._sentences = texts.sentences[[texts.row[caption] for caption in self._captions]]
        self._datasets = [folder.name for folder in folders]
        self._run = run

    def save(self, kind: str, stage: str, step: int, figures: Mapping[str, float]) -> None:
        """Write RUN/kind.safetensors in half precision."""
        training = self._training
        has_flat, lifts = training.weights.uses_flat, training.weights.flat_solid > 0
        info = CheckpointInfo(
            method="crossdiff",
            method_config=asdict(training.model),
            accepts=("prompt", "video") if lifts else ("prompt",),
            fps=FPS,
            feature_blocks=(*training.model.solid.sizes, *VIEW.sizes),
            text_encoder={"name": text_encoder.NAME, "sha256": text_encoder.SHA256},
            training={
                "supervision": "3d and 2d" if has_flat else "3d",
                "settings": {**asdict(training), "model": None, "licence": None},
                "stage": stage,
                "step": step,
                "seed": training.loop.seed,
                "datasets": self._datasets,
                "validation": figures.get("3d-3d"),
            },
            sampling={
                "num_steps": training.num_steps,
                "guidance_scale": training.guidance_scale,
                "max_seconds": 60.0,
            },
            licence=training.licence,
            extra={"captions": self._captions},
        )
        tensors: dict[str, Tensor] = {f"model.{n}": p for n, p in self._model.named_parameters()}
        tensors["captions.sentences"] = self._sentences
        for domain, name in ((SOLID, "statistics"), (FLAT, "statistics.view")):
            tensors[f"{name}.mean"] = self._statistics[domain].mean
            tensors[f"{name}.std"] = self._statistics[domain].deviation
        save_checkpoint(self._run / f"{kind}.safetensors", info, tensors, half=True)
