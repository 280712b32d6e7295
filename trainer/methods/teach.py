"""Teaching a model that can much a little more: VideoMDM on a few clips, without forgetting.

Half of each batch are the new clips, learned as VideoMDM learns: from 2D keypoints, with a lifter's
motion as the teacher. The other half are motions that the model knows already (trainer.data.replay)
and is held to: there its x0 is to stay what that of the model it started from is. At the start that
loss is zero, so it never drives anything; it only holds. Network and statistics are the base's.

Source: VideoMDM, arXiv 2606.13364, for the new clips; Li and Hoiem, Learning without Forgetting,
ECCV 2016, for the loss on what is known.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from engine.checkpoint import CheckpointError, CheckpointInfo, load_checkpoint
from engine.diffusion.schedule import NoiseSchedule, cosine_schedule
from engine.methods.mdm import MdmConfig
from engine.motion.representation import ROOT_LOCAL
from engine.networks.denoiser import Denoiser
from trainer.config import ConfigError
from trainer.data.corpus import CorpusError
from trainer.data.examples import Batch, Example, ExampleSampler, TextStore
from trainer.data.replay import Replayed, replayed, replayed_corpus
from trainer.data.statistics import Statistics
from trainer.data.teacher_corpus import TeacherClip, load_teacher_clips
from trainer.data.video_examples import VideoBatch, encode_motion
from trainer.device import to_device, training_device
from trainer.losses.motion_terms import feature_loss, feature_weights
from trainer.low_noise import LowNoise, draw_timesteps
from trainer.methods.mdm import (
    VALIDATION_TIMESTEPS,
    MdmSaver,
    blurred,
    make_optimizer,
    own_captions,
)
from trainer.methods.video_mdm import (
    VideoData,
    VideoMdmTraining,
    objective_of,
    taught,
    validation_batches,
)
from trainer.precision import autocast
from trainer.stages import LossTerms, Player, Stage

MODELS = Path(__file__).resolve().parents[2] / "engine" / "models"
SHIPPED = "mdm-free.safetensors"  # of the models that ship it knows most prompts
_METHOD = "video_mdm"  # by which the engine runs what was taught
_METHODS = ("mdm", "video_mdm")  # of one network


@dataclass(frozen=True, kw_only=True)
class TeachTraining(VideoMdmTraining):
    """One teaching; what is VideoMDM's has VideoMDM's settings."""

    method: str = "teach"
    licence: str = ""  # the base's, and that of the new clips
    model: MdmConfig = field(default_factory=MdmConfig)  # is replaced by the base's
    base: str = ""  # the checkpoint that is taught; "": the text-to-motion model that ships
    cameras: str = "estimated"
    # teachers at all levels: a few clips, all from much the same side, don't tell depth, and on the
    # model's own way down below t* nothing held it (after 250 steps feet shook by centimetres)
    low_noise: LowNoise = field(default_factory=lambda: LowNoise(scheme="off"))
    replay: str = ""  # a corpus to practise what is known with; "": the base's own motions
    replay_clips: int = 192
    replay_weight: float = 20.0  # of x0 against x0, which hardly differ

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.replay_weight < 0 or self.replay_clips < 1:
            raise ValueError("replay_weight needs 0 or more, replay_clips 1 or more")

    @property
    def base_file(self) -> Path:
        """The checkpoint that is taught."""
        return Path(self.base) if self.base else shipped_base()


def shipped_base() -> Path:
    """The text-to-motion model that ships."""
    return MODELS / SHIPPED


@dataclass(frozen=True, kw_only=True)
class _Base:
    """The model that is taught, as it was."""

    info: CheckpointInfo
    config: MdmConfig
    model: Denoiser
    statistics: Statistics
    sentences: Tensor


@dataclass(frozen=True, kw_only=True)
class TeachBatch:
    """B new clips and B that are known."""

    new: VideoBatch
    known: Batch


def stages(training: TeachTraining, folders: Sequence[Path], run: Path) -> list[Stage]:
    """The one stage of teaching.

    Raises:
        CorpusError: a folder holds no teacher motions, or replay no motion.
        ConfigError: the base can't be taught.
    """
    torch.manual_seed(training.loop.seed)
    base = _read_base(training)
    training = _fitted(training, base)
    data, new = _new_clips(training, base, folders)
    validation = [to_device(batch, training_device()) for batch in new]
    known = _known_clips(training, base, run)
    model = Denoiser(base.config.denoiser).to(training_device())
    model.load_state_dict(base.model.state_dict())
    objective = TeachObjective(training, model, base)
    held = to_device(known.draw(torch.Generator().manual_seed(0)), training_device())
    store = MdmSaver(
        replace(training, method=_METHOD),
        base.statistics,
        model,
        (data.texts, own_captions(data.clips)),
        folders,
        run,
        supervision=f"{training.supervision} lifted, from {base.info.name}",
        earlier=(base.info.extra.get("captions", []), base.sentences),
    )
    player = Player(
        name="denoiser",
        module=model,
        optimizer=make_optimizer(model, training),
        loss=objective.loss,
    )
    return [
        Stage(
            name="train",
            players=(player,),
            batches=TeachSampler(data.sampler, known),
            validate=lambda: {
                "validation": objective.new.validate(validation),
                "known": objective.drift(held),
            },
            save=store.save,
        )
    ]


class TeachSampler:
    """Draws a batch of the new clips and one of the known."""

    def __init__(self, new: ExampleSampler, known: ExampleSampler) -> None:
        self._new, self._known = new, known

    def draw(self, generator: torch.Generator) -> TeachBatch:
        """The next batch; the same generator state gives the same batch."""
        new: Any = self._new.draw(generator)
        return TeachBatch(new=new, known=self._known.draw(generator))

    def waiting(self) -> list[list[int]]:
        """Those of both, and first how many are of the new clips."""
        new = self._new.waiting()
        return [[len(new)], *new, *self._known.waiting()]

    def restore(self, waiting: list[list[int]]) -> None:
        """Take up what `waiting` gave."""
        [count], *batches = waiting
        self._new.restore(batches[:count])
        self._known.restore(batches[count:])


class TeachObjective:
    """VideoMDM's loss on new clips, and the distance from the base on known ones."""

    def __init__(self, training: TeachTraining, model: Denoiser, base: _Base) -> None:
        device = training_device()
        self.new: Any = objective_of(training, model, base.statistics)
        self._training, self._model = training, model
        self._base = base.model.to(device)
        self._weights = feature_weights(ROOT_LOCAL).to(device)
        self._schedule: NoiseSchedule = cosine_schedule(training.model.num_timesteps)

    def loss(self, batch: TeachBatch, generator: torch.Generator) -> LossTerms:
        """All terms of one batch."""
        terms: LossTerms = self.new.loss(batch.new, generator)
        if not self._training.replay_weight:
            return terms
        known = batch.known
        timestep = draw_timesteps(
            len(known.features),
            0.0,
            self._schedule.last,
            self._training.noisiest_share,
            generator,
        )
        noise = torch.randn(known.features.shape, generator=generator).to(known.features.device)
        text = blurred(known.text, self._training.text_noise, generator)
        drift = self._drift(replace(known, text=text), timestep, noise)
        return {**terms, "known": self._training.replay_weight * drift.mean()}

    def drift(self, batch: Batch) -> float:
        """How far x0 is from the base's, over fixed noise and timesteps."""
        generator = torch.Generator().manual_seed(0)
        total = 0.0
        for value in VALIDATION_TIMESTEPS:
            timestep = torch.full((len(batch.features),), float(value))
            noise = torch.randn(batch.features.shape, generator=generator)
            total += float(self._drift(batch, timestep, noise.to(batch.features.device)).mean())
        return total / len(VALIDATION_TIMESTEPS)

    def _drift(self, batch: Batch, timestep: Tensor, noise: Tensor) -> Tensor:
        x_t = self._schedule.add_noise(batch.features, noise, timestep)
        words = (x_t, timestep.to(x_t.device), batch.text, batch.mask)
        with torch.no_grad(), autocast(self._training.precision, x_t.device):
            before = self._base(*words)
        with autocast(self._training.precision, x_t.device):
            now = self._model(*words)
        return feature_loss(now.float(), before.float(), batch.mask, self._weights)


def _read_base(training: TeachTraining) -> _Base:
    path = training.base_file
    try:
        info, tensors = load_checkpoint(path)
        config = MdmConfig.from_header(info.method_config) if info.method in _METHODS else None
    except CheckpointError as error:
        raise ConfigError(str(error)) from error
    if config is None or info.feature_blocks != ROOT_LOCAL.sizes:
        raise ConfigError(
            f"{path} is of the method {info.method} with {len(info.feature_blocks)} features "
            f"blocks: teaching needs a text-to-motion model ({' or '.join(_METHODS)}) of this "
            "version"
        )
    model = Denoiser(config.denoiser)
    weights = {n.removeprefix("model."): t for n, t in tensors.items() if n.startswith("model.")}
    try:
        model.load_state_dict(weights)
    except RuntimeError as error:
        raise ConfigError(f"{path} doesn't fit its own configuration: {error}") from error
    model.eval().requires_grad_(False)
    statistics = Statistics(tensors["statistics.mean"], tensors["statistics.std"])
    sentences = tensors.get("captions.sentences", torch.zeros(0, config.denoiser.text_width))
    return _Base(
        info=info, config=config, model=model, statistics=statistics, sentences=sentences.float()
    )


def _fitted(training: TeachTraining, base: _Base) -> TeachTraining:
    """The settings with what the base decides."""
    own = training.licence or "What was taught: by the licence of your videos"
    sampling = base.info.sampling
    return replace(
        training,
        model=base.config,
        base=str(training.base_file),
        licence=f"{base.info.licence}. {own}",
        num_steps=int(sampling.get("num_steps", training.num_steps)),
        guidance_scale=float(sampling.get("guidance_scale", training.guidance_scale)),
    )


def _new_clips(
    training: TeachTraining, base: _Base, folders: Sequence[Path]
) -> tuple[VideoData, list[VideoBatch]]:
    """What is learned from, and what it is validated on: the training clips if there is no other.

    Raises:
        CorpusError: no clip is left.
    """
    clips = load_teacher_clips(folders, "train")
    features = [encode_motion(taught(clip, training)) for clip in clips]
    data = VideoData(clips, features, base.statistics, training, random.Random(training.loop.seed))
    try:
        held_out: list[TeacherClip] = load_teacher_clips(folders, "val")
    except CorpusError:
        held_out = clips  # of three videos none can be spared
    return data, validation_batches(held_out, base.statistics, training)


def _known_clips(training: TeachTraining, base: _Base, run: Path) -> ExampleSampler:
    count, seed = training.replay_clips, training.loop.seed
    found: Replayed
    if training.replay:
        found = replayed_corpus(Path(training.replay), count, seed)
    else:
        found = replayed(training.base_file, base.info, count, run, seed)
    texts = TextStore([caption for caption, _ in found])
    examples = [
        Example(
            features=base.statistics.normalise(features), captions=(texts.row[caption],), weight=1.0
        )
        for caption, features in found
    ]
    return ExampleSampler(
        examples, texts, batch_size=training.batch_size, prompt_dropout=training.prompt_dropout
    )
