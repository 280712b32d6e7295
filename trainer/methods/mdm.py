"""MDM on true 3D motion: the baseline that learning from 2D is measured against."""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from engine.checkpoint import CheckpointInfo, save_checkpoint
from engine.diffusion.schedule import NoiseSchedule, cosine_schedule
from engine.methods.mdm import MdmConfig
from engine.motion.representation import ROOT_LOCAL
from engine.networks import text_encoder
from engine.networks.denoiser import Denoiser
from engine.networks.text_encoder import TextFeatures
from trainer.data.corpus import FPS, Clip, CorpusError, load_corpus
from trainer.data.examples import (
    Batch,
    Example,
    ExampleSampler,
    TextStore,
    augmented,
    balanced_weights,
    encode_clip,
    pad_features,
    reworded,
)
from trainer.data.paraphrase import paraphrases, plain_captions
from trainer.data.shards import ShardSampler, all_batches, is_shards, read_index
from trainer.data.statistics import Statistics, measure_statistics
from trainer.device import to_device, training_device
from trainer.loop import LoopSettings
from trainer.losses.motion_terms import feature_loss, feature_weights, path_loss, step_loss
from trainer.low_noise import draw_timesteps
from trainer.precision import PRECISIONS, autocast
from trainer.stages import BatchSource, LossTerms, Player, Stage

VALIDATION_TIMESTEPS = (4, 14, 24, 34, 44)


@dataclass(frozen=True, kw_only=True)
class MdmTraining:
    """One MDM run. Counts are optimiser steps, rates are per step."""

    method: str = "mdm"
    licence: str
    model: MdmConfig = field(default_factory=MdmConfig)
    loop: LoopSettings = field(default_factory=lambda: LoopSettings(num_steps=6_000))
    learning_rate: float = 1e-3
    weight_decay: float = 0.02
    batch_size: int = 32
    prompt_dropout: float = 0.1
    step_weight: float = 0.1  # of the steps that positions give, against the features
    path_weight: float = 1.0  # of turns and ways over seconds
    noisiest_share: float = 0.4  # of the batch drawn from the noisiest timesteps alone
    rewordings: int = 4  # of each caption
    text_noise: float = 0.3  # added to its vectors, against their own length: other words are near
    precision: str = "auto"  # of the forward pass; see trainer.precision
    num_steps: int = 20  # default when sampling
    guidance_scale: float = 4.0

    def __post_init__(self) -> None:
        if not 0 <= self.prompt_dropout < 1:
            raise ValueError(f"prompt_dropout is {self.prompt_dropout}, needs 0 to 1")
        if self.precision not in PRECISIONS:
            raise ValueError(
                f"precision is {self.precision!r}, needs one of {', '.join(PRECISIONS)}"
            )

    @property
    def size(self) -> str:
        """The network in a few characters."""
        return f"{self.model.denoiser.width} x {self.model.denoiser.num_layers}"


def stages(training: MdmTraining, folders: Sequence[Path], run: Path) -> list[Stage]:
    """The one stage of MDM: read the corpora, build the network, denoise.

    Raises:
        CorpusError: a folder isn't a corpus.
    """
    torch.manual_seed(training.loop.seed)
    data = _read_shards(training, folders) if is_shards(folders[0]) else _read(training, folders)
    statistics, validation = data.statistics, data.validation
    model = Denoiser(training.model.denoiser).to(training_device())
    objective = MdmObjective(model, statistics, training)
    player = Player(
        name="denoiser",
        module=model,
        optimizer=make_optimizer(model, training),
        loss=objective.loss,
    )
    store = MdmSaver(training, statistics, model, data.known, folders, run)
    return [
        Stage(
            name="train",
            players=(player,),
            batches=data.batches,
            validate=lambda: {"validation": objective.validate(validation)},
            save=store.save,
        )
    ]


@dataclass(frozen=True, kw_only=True)
class _Data:
    """What a run learns from."""

    statistics: Statistics
    batches: BatchSource
    validation: list[Batch]
    known: tuple[TextStore, list[str]]


def _read(training: MdmTraining, folders: Sequence[Path]) -> _Data:
    generator = random.Random(training.loop.seed)
    clips = load_corpus(folders, "train")
    held_out = load_corpus(folders, "val")
    statistics = measure_statistics([encode_clip(clip, ROOT_LOCAL) for clip in clips], ROOT_LOCAL)
    more = augmented(clips, generator)
    features = [statistics.normalise(encode_clip(clip, ROOT_LOCAL)) for clip in more]
    examples, texts = make_examples(more, features, training, generator)
    sampler = ExampleSampler(
        examples,
        texts,
        batch_size=training.batch_size,
        prompt_dropout=training.prompt_dropout,
    )
    return _Data(
        statistics=statistics,
        batches=sampler,
        validation=_validation_batches(held_out, statistics),
        known=(texts, own_captions(clips)),
    )


def _read_shards(training: MdmTraining, folders: Sequence[Path]) -> _Data:
    """Shards stay on disk; their own rewordings and weights are used."""
    if len(folders) != 1:
        raise CorpusError(f"{folders[0]} holds shards, which are read one folder at a time")
    index = read_index(folders[0])
    sampler = ShardSampler(
        index, batch_size=training.batch_size, prompt_dropout=training.prompt_dropout
    )
    return _Data(
        statistics=index.statistics,
        batches=sampler,
        validation=all_batches(index, "val"),
        known=(TextStore(index.captions), index.captions),
    )


def make_examples(
    clips: Sequence[Clip],
    features: Sequence[Tensor],
    training: MdmTraining,
    generator: random.Random,
) -> tuple[list[Example], TextStore]:
    """An example per clip with its normalised features, and the texts that they point to."""
    rewordings = reworded(clips, training.rewordings, generator)
    plain = {clip.captions: plain_captions(clip.captions) for clip in clips}
    rewordings |= _reworded_plain(plain.values(), training.rewordings)
    texts = TextStore([text for group in rewordings.values() for text in group])
    examples: list[Example] = []
    weights = balanced_weights(clips)
    for clip, encoded, weight in zip(clips, features, weights, strict=True):
        captions = (*clip.captions, *plain[clip.captions])
        rows = tuple(texts.row[text] for caption in captions for text in rewordings[caption])
        examples.append(Example(features=encoded, captions=rows, weight=weight))
    return examples, texts


def _reworded_plain(groups: Iterable[list[str]], count: int) -> dict[str, list[str]]:
    """Rewordings of the plain captions, with a generator of their own."""
    generator = random.Random(0)
    captions = sorted({caption for group in groups for caption in group})
    return {text: [text, *paraphrases(text, 2 * count, generator)] for text in captions}


def own_captions(clips: Sequence[Clip]) -> list[str]:
    """Captions of the recorded clips: what a prompt is held against."""
    own = (caption for clip in clips if not clip.is_mirrored for caption in clip.captions)
    return list(dict.fromkeys(own))


def _validation_batches(clips: Sequence[Clip], statistics: Statistics) -> list[Batch]:
    """All held-out clips with their first caption, in batches of like length."""
    ordered = sorted(clips, key=lambda clip: len(clip.joints))
    batches: list[Batch] = []
    for start in range(0, len(ordered), 32):
        group = ordered[start : start + 32]
        padded, mask = pad_features(
            [statistics.normalise(encode_clip(c, ROOT_LOCAL)) for c in group]
        )
        text = text_encoder.encode_text([clip.captions[0] for clip in group])
        batch = Batch(features=padded, mask=mask, text=text)
        batches.append(to_device(batch, training_device()))
    return batches


def blurred(text: TextFeatures, amount: float, generator: torch.Generator) -> TextFeatures:
    """Vectors with noise: what was learned for a caption holds for all that is near it.

    Left and right stay apart: the noise has hundreds of directions, they differ in one.
    """
    tokens = torch.randn(text.tokens.shape, generator=generator).to(text.tokens)
    sentence = torch.randn(text.sentence.shape, generator=generator).to(text.sentence)
    size = text.tokens.square().mean(-1, keepdim=True).sqrt()
    length = text.sentence.square().mean(-1, keepdim=True).sqrt()
    return replace(
        text,
        tokens=text.tokens + amount * size * tokens,
        sentence=text.sentence + amount * length * sentence,
    )


class MdmObjective:
    """x0 prediction from noised features: training loss and held-out figure."""

    def __init__(self, model: Denoiser, statistics: Statistics, training: MdmTraining) -> None:
        device = training_device()
        self._model = model
        self._statistics = statistics.to(device)
        self._schedule: NoiseSchedule = cosine_schedule(training.model.num_timesteps)
        self._weights = feature_weights(ROOT_LOCAL).to(device)
        self._training = training
        part = ROOT_LOCAL.part("joint_velocities")
        self._step_scale = float(statistics.deviation[part].mean())

    def loss(self, batch: Batch, generator: torch.Generator) -> LossTerms:
        """All terms of one batch."""
        timestep = draw_timesteps(
            len(batch.features),
            0.0,
            self._schedule.last,
            self._training.noisiest_share,
            generator,
        )
        batch = replace(batch, text=blurred(batch.text, self._training.text_noise, generator))
        x0 = self._predict(batch, timestep, generator)
        features = feature_loss(x0, batch.features, batch.mask, self._weights).mean()
        restored = (self._statistics.restore(x0), self._statistics.restore(batch.features))
        steps = step_loss(*restored, batch.mask, ROOT_LOCAL, self._step_scale).mean()
        path = path_loss(*restored, batch.mask, ROOT_LOCAL).mean()
        return {
            "features": features,
            "steps": self._training.step_weight * steps,
            "path": self._training.path_weight * path,
        }

    def validate(self, batches: Sequence[Batch]) -> float:
        """Mean feature error over fixed noise and timesteps of the held-out clips."""
        generator = torch.Generator().manual_seed(0)
        total, count = 0.0, 0
        for batch in batches:
            for value in VALIDATION_TIMESTEPS:
                timestep = torch.full((len(batch.features),), float(value))
                x0 = self._predict(batch, timestep, generator)
                error = feature_loss(x0, batch.features, batch.mask, self._weights)
                total, count = total + float(error.sum()), count + len(error)
        return total / count

    def _predict(self, batch: Batch, timestep: Tensor, generator: torch.Generator) -> Tensor:
        device = batch.features.device
        noise = torch.randn(batch.features.shape, generator=generator).to(device)
        x_t = self._schedule.add_noise(batch.features, noise, timestep)
        with autocast(self._training.precision, device):
            x0 = self._model(x_t, timestep.to(device), batch.text, batch.mask)
        return x0.float()


def make_optimizer(model: Denoiser, training: MdmTraining) -> torch.optim.Optimizer:
    """AdamW; vectors don't decay."""
    decayed = [p for p in model.parameters() if p.ndim >= 2]
    others = [p for p in model.parameters() if p.ndim < 2]
    groups: list[dict[str, Any]] = [
        {"params": decayed, "weight_decay": training.weight_decay},
        {"params": others, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=training.learning_rate, betas=(0.9, 0.98), fused=True)


class MdmSaver:
    """Writes checkpoints to sample from."""

    def __init__(
        self,
        training: MdmTraining,
        statistics: Statistics,
        model: Denoiser,
        known: tuple[TextStore, list[str]],
        folders: Sequence[Path],
        run: Path,
        *,
        supervision: str = "3d",
        earlier: tuple[Sequence[str], Tensor] | None = None,
    ) -> None:
        """The run's settings and data; `earlier`: captions, with their sentence vectors, that the
        weights it starts from have learned."""
        self._training, self._supervision = training, supervision
        self._statistics = statistics
        self._model = model
        texts, self._captions = known
        self._sentences = texts.sentences[[texts.row[caption] for caption in self._captions]]
        if earlier is not None:
            self._captions = [*earlier[0], *self._captions]
            self._sentences = torch.cat((earlier[1].to(self._sentences), self._sentences))
        self._datasets = [folder.name for folder in folders]
        self._run = run

    def save(self, name: str, step: int, figures: Mapping[str, float]) -> None:
        """Write RUN/name.safetensors in half precision."""
        training = self._training
        info = CheckpointInfo(
            method=self._training.method,
            method_config=asdict(training.model),
            accepts=("prompt",),
            fps=FPS,
            feature_blocks=ROOT_LOCAL.sizes,
            text_encoder={"name": text_encoder.NAME, "sha256": text_encoder.SHA256},
            training={
                "supervision": self._supervision,
                "settings": {**asdict(training), "model": None, "licence": None},
                "step": step,
                "seed": training.loop.seed,
                "datasets": self._datasets,
                "validation": figures.get("validation"),
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
        tensors["statistics.mean"] = self._statistics.mean
        tensors["statistics.std"] = self._statistics.deviation
        save_checkpoint(self._run / f"{name}.safetensors", info, tensors, half=True)
