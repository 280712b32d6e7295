"""VideoMDM: MDM's network learns 3D motion from 2D keypoints, with a lifter's motion as a teacher.

The teacher's motion is what gets noised; what is learned from are the keypoints. With the true
motion as the teacher and 3D as the supervision it is MDM, number for number.

Source: VideoMDM, arXiv 2606.13364. What the settings mean is in trainer.losses.ray_losses,
trainer.losses.ray_alignment and trainer.low_noise.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from engine.diffusion.schedule import NoiseSchedule, cosine_schedule
from engine.motion.ray_projection import encode_frames, onto_rays
from engine.motion.representation import ROOT_LOCAL, DecodedMotion
from engine.motion.skeleton import FOOT_JOINTS
from engine.networks.denoiser import Denoiser
from trainer.data.corpus import CorpusError
from trainer.data.examples import Batch, Example, TextStore, pad_features
from trainer.data.statistics import Statistics, measure_statistics
from trainer.data.teacher_corpus import TeacherClip, load_teacher_clips
from trainer.data.video_examples import VideoBatch, VideoSampler, as_clip, encode_motion
from trainer.device import to_device, training_device
from trainer.losses.motion_terms import feature_loss, feature_weights, path_loss, step_loss
from trainer.losses.ray_alignment import DERIVED, Target, alignment_loss, ray_target
from trainer.losses.ray_losses import (
    DepthWeight,
    confidence_weights,
    contact_loss,
    floor_loss,
    reprojection_loss,
    reprojection_velocity_loss,
    see_joints,
)
from trainer.low_noise import LowNoise, roll_out
from trainer.methods.mdm import (
    VALIDATION_TIMESTEPS,
    MdmObjective,
    MdmSaver,
    MdmTraining,
    blurred,
    make_examples,
    make_optimizer,
    own_captions,
)
from trainer.precision import autocast
from trainer.stages import LossTerms, Player, Stage

_CHOICES = {
    "teacher": ("lifted", "truth"),
    "supervision": ("2d", "3d"),
    "cameras": ("given", "estimated"),
    "confidence": ("square", "linear", "threshold"),
    "placed_as": ("teacher", "own"),
}


@dataclass(frozen=True, kw_only=True)
class VideoMdmWeights:
    """Weights of the terms. One of zero is left out."""

    reprojection: float = 0.32  # per metre^2
    velocity: float = 16.0  # per (metre per frame)^2
    alignment: float = 0.4  # of steps and contacts, normalised
    # of the positions' own features against those on the rays: a ray tells two of three
    # coordinates, and with MDM's own weight poses are learned half as fast as MDM learns them
    features: float = 2.0
    rays: float = 1.0  # of steps and paths against those on the rays; see MdmTraining
    floor: float = 0.0
    contact: float = 0.0

    def __post_init__(self) -> None:
        for name, weight in vars(self).items():
            if weight < 0:
                raise ValueError(f"{name} is {weight}, needs 0 or more")


@dataclass(frozen=True, kw_only=True)
class VideoMdmTraining(MdmTraining):
    """One VideoMDM run; what is MDM's has MDM's settings."""

    method: str = "video_mdm"
    teacher: str = "lifted"  # what is noised; "truth" where the corpus tells it
    supervision: str = "2d"  # "3d" learns the teacher's own features, as MDM does
    cameras: str = "given"
    confidence: str = "square"
    placed_as: str = "teacher"  # where the body goes onto the rays; see ray_target
    depth: DepthWeight = field(default_factory=DepthWeight)
    low_noise: LowNoise = field(default_factory=LowNoise)
    losses: VideoMdmWeights = field(default_factory=VideoMdmWeights)
    crop_frames: int = 0  # 0: clips whole

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, choices in _CHOICES.items():
            if getattr(self, name) not in choices:
                raise ValueError(
                    f"{name} is {getattr(self, name)!r}, needs one of {', '.join(choices)}"
                )
        if self.crop_frames < 0:
            raise ValueError(f"crop_frames is {self.crop_frames}, needs 0 or more")


def stages(training: VideoMdmTraining, folders: Sequence[Path], run: Path) -> list[Stage]:
    """The one stage of VideoMDM.

    Raises:
        CorpusError: a folder holds no teacher motions, or not what the settings ask for.
    """
    torch.manual_seed(training.loop.seed)
    generator = random.Random(training.loop.seed)
    clips = load_teacher_clips(folders, "train")
    features = [encode_motion(taught(clip, training)) for clip in clips]
    statistics = measure_statistics(features, ROOT_LOCAL)
    data = VideoData(clips, features, statistics, training, generator)
    held_out = load_teacher_clips(folders, "val")
    validation = validation_batches(held_out, statistics, training)
    model = Denoiser(training.model.denoiser).to(training_device())
    objective = objective_of(training, model, statistics)
    player = Player(
        name="denoiser",
        module=model,
        optimizer=make_optimizer(model, training),
        loss=objective.loss,
    )
    known = (data.texts, own_captions(data.clips))
    kind = training.supervision if training.teacher == "truth" else f"{training.supervision} lifted"
    store = MdmSaver(training, statistics, model, known, folders, run, supervision=kind)
    return [
        Stage(
            name="train",
            players=(player,),
            batches=data.sampler,
            validate=lambda: {"validation": objective.validate(validation)},
            save=store.save,
        )
    ]


def objective_of(
    training: VideoMdmTraining, model: Denoiser, statistics: Statistics
) -> MdmObjective | VideoMdmObjective:
    """What a run lowers: MDM's own where the supervision is 3D."""
    if training.supervision == "3d":
        return MdmObjective(model, statistics, training)
    return VideoMdmObjective(model, statistics, training)


def taught(clip: TeacherClip, training: VideoMdmTraining) -> Tensor:
    """The joints (T, 22, 3) that are noised."""
    if training.teacher == "lifted":
        return clip.teacher
    if clip.truth is None:
        raise CorpusError(f"The true motion of clip {clip.clip_id} isn't told in its corpus")
    return clip.truth


class VideoData:
    """The training clips as examples, with their sights and texts."""

    def __init__(
        self,
        clips: Sequence[TeacherClip],
        features: Sequence[Tensor],
        statistics: Statistics,
        training: VideoMdmTraining,
        generator: random.Random,
    ) -> None:
        self.clips = [as_clip(clip, taught(clip, training)) for clip in clips]
        normalised = [statistics.normalise(encoded) for encoded in features]
        examples, self.texts = make_examples(self.clips, normalised, training, generator)
        self.sampler = VideoSampler(
            examples,
            [clip.sight(training.cameras) for clip in clips],
            self.texts,
            batch_size=training.batch_size,
            prompt_dropout=training.prompt_dropout,
            statistics=(statistics.mean, statistics.deviation),
            crop_frames=training.crop_frames,
        )


def validation_batches(
    clips: Sequence[TeacherClip], statistics: Statistics, training: VideoMdmTraining
) -> list[VideoBatch]:
    """All held-out clips with their first caption, in batches of like length."""
    ordered = sorted(clips, key=lambda clip: len(clip.teacher))
    texts = TextStore([clip.captions[0] for clip in ordered])
    features = [statistics.normalise(encode_motion(taught(clip, training))) for clip in ordered]
    examples = [Example(features=encoded, captions=(), weight=1.0) for encoded in features]
    sampler = VideoSampler(
        examples,
        [clip.sight(training.cameras) for clip in ordered],
        texts,
        batch_size=1,
        prompt_dropout=0.0,
        statistics=(statistics.mean, statistics.deviation),
    )
    batches: list[VideoBatch] = []
    for start in range(0, len(ordered), 32):
        rows = list(range(start, min(start + 32, len(ordered))))
        padded, mask = pad_features([features[row] for row in rows])
        captions = [texts.row[ordered[row].captions[0]] for row in rows]
        text = texts.gather(captions, [False] * len(rows))
        batch = sampler.seen(rows, Batch(features=padded, mask=mask, text=text))
        batches.append(to_device(batch, training_device()))
    return batches


class VideoMdmObjective:
    """x0 prediction from a noised teacher, held against keypoints."""

    def __init__(self, model: Denoiser, statistics: Statistics, training: VideoMdmTraining) -> None:
        device = training_device()
        self._model, self._training = model, training
        self._statistics = statistics.to(device)
        self._schedule: NoiseSchedule = cosine_schedule(training.model.num_timesteps)
        weights = feature_weights(ROOT_LOCAL)
        self._derived = tuple(ROOT_LOCAL.part(block) for block in DERIVED)
        for part in self._derived:
            weights[part] = 0.0
        self._weights = weights.to(device)
        part = ROOT_LOCAL.part("joint_velocities")
        self._step_scale = float(statistics.deviation[part].mean())

    def loss(self, batch: VideoBatch, generator: torch.Generator) -> LossTerms:
        """All terms of one batch; below t* the mean over the stops of a way down."""
        training = self._training
        times = training.low_noise.times(
            len(batch.features),
            self._schedule.last,
            training.noisiest_share,
            batch.number,
            generator,
        )
        batch = replace(batch, text=blurred(batch.text, training.text_noise, generator))
        noise = torch.randn(batch.features.shape, generator=generator).to(batch.features.device)
        return roll_out(
            lambda x, timestep: self._predict(x, timestep, batch),
            lambda x0, timestep: self.terms(x0, batch),
            self._schedule.add_noise(batch.features, noise, times[0]),
            times,
            training.low_noise,
            self._schedule,
            guide=(lambda x0: self._guided(x0, batch)) if training.low_noise.is_guided else None,
        )

    def terms(self, x0: Tensor, batch: VideoBatch) -> LossTerms:
        """The weighted terms of a prediction (B, T, F), normalised. All are 0 at the truth."""
        training, wanted = self._training, self._training.losses
        restored = self._statistics.restore(x0.float())
        decoded = ROOT_LOCAL.decode(restored)
        weights = confidence_weights(batch.sight.confidence, batch.mask, training.confidence)
        seen = see_joints(decoded.joints, batch.sight.camera)
        points = batch.sight.plane_points
        terms: LossTerms = {}
        if wanted.reprojection:
            value = reprojection_loss(seen, points, weights, training.depth)
            terms["reprojection"] = wanted.reprojection * value.mean()
        if wanted.velocity:
            value = reprojection_velocity_loss(seen, points, weights, training.depth)
            terms["velocity"] = wanted.velocity * value.mean()
        told = (decoded, batch.sight, weights, batch.mask, ROOT_LOCAL)
        teacher = self._teacher_of(batch)
        if wanted.alignment:
            target = ray_target(*told, teacher=teacher)
            normalised = self._statistics.normalise(target.features)
            value = alignment_loss(x0, normalised, target.weights, self._derived)
            terms["alignment"] = wanted.alignment * value.mean()
        if wanted.features or wanted.rays:
            target = ray_target(*told, heading="estimated", teacher=teacher)
            terms |= self._ray_terms(x0, restored, target, batch.mask)
        if wanted.floor:
            terms["floor"] = wanted.floor * floor_loss(decoded.joints, batch.mask).mean()
        if wanted.contact:
            feet = decoded.joints[:, :, list(FOOT_JOINTS)]
            value = contact_loss(feet, decoded.contacts, batch.mask)
            terms["contact"] = wanted.contact * value.mean()
        return terms

    def validate(self, batches: Sequence[VideoBatch]) -> float:
        """Sum of the terms over fixed noise and timesteps of the held-out clips: no 3D in it."""
        generator = torch.Generator().manual_seed(0)
        total, count = 0.0, 0
        for batch in batches:
            for value in VALIDATION_TIMESTEPS:
                timestep = torch.full((len(batch.features),), float(value))
                noise = torch.randn(batch.features.shape, generator=generator)
                x_t = self._schedule.add_noise(
                    batch.features, noise.to(batch.features.device), timestep
                )
                terms = self.terms(self._predict(x_t, timestep, batch), batch)
                loss = torch.stack(list(terms.values())).sum()
                total, count = total + float(loss) * len(timestep), count + len(timestep)
        return total / count

    def _teacher_of(self, batch: VideoBatch) -> DecodedMotion | None:
        """What tells the place and facing of the body that goes onto the rays."""
        if self._training.placed_as == "own":
            return None
        return ROOT_LOCAL.decode(self._statistics.restore(batch.features))

    def _ray_terms(
        self, x0: Tensor, restored: Tensor, target: Target, mask: Tensor
    ) -> dict[str, Tensor]:
        """MDM's three terms, with the motion on the rays in the place of the true one."""
        training, wanted = self._training, self._training.losses
        normalised = self._statistics.normalise(target.features)
        weights = self._weights * target.weights
        features = feature_loss(x0, normalised, mask, weights).mean()
        pairs = torch.cat((mask[:, 1:], torch.zeros_like(mask[:, :1])), dim=1)
        steps = step_loss(restored, target.features, mask, ROOT_LOCAL, self._step_scale).mean()
        path = path_loss(restored, target.features, pairs, ROOT_LOCAL).mean()
        return {
            "features": wanted.features * features,
            "steps": wanted.rays * training.step_weight * steps,
            "path": wanted.rays * training.path_weight * path,
        }

    def _guided(self, x0: Tensor, batch: VideoBatch) -> Tensor:
        """x0 with its joints on their rays."""
        decoded = ROOT_LOCAL.decode(self._statistics.restore(x0.float()))
        moved = onto_rays(decoded.joints, batch.sight)
        return self._statistics.normalise(encode_frames(ROOT_LOCAL, moved, decoded.heading))

    def _predict(self, x_t: Tensor, timestep: Tensor, batch: VideoBatch) -> Tensor:
        device = x_t.device
        with autocast(self._training.precision, device):
            x0: Any = self._model(x_t, timestep.to(device), batch.text, batch.mask)
        return x0.float()
