"""A checkpoint over a split: samples for every caption, measured beside the real clips.

Every clip of the split, mirrored ones too, gives one caption and its length; each seed samples
all of them once. Sets are compared in the evaluator's space, quality is measured on joints.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from engine.methods.base import Method, Prompt, Report, SampleOptions
from engine.motion.motion import Motion
from trainer.data.corpus import FPS, Clip
from trainer.evaluation import metrics, motion_quality
from trainer.evaluation.evaluator_network import Evaluator
from trainer.evaluation.metrics import Estimate
from trainer.evaluation.retrieval import hit_matrix

log = logging.getLogger(__name__)

Array = NDArray[np.float64]
Joints = NDArray[np.float32]

BATCH_SIZE = 16
FLOOR_SPLITS = 20  # random halves of the real clips
_LEAST_FAMILIES = 4  # recordings, so that a half has the two that a distance needs
ROWS: tuple[tuple[str, str], ...] = (  # key, and how it is called in the table
    ("fid", "FID (lower is nearer)"),
    ("fid_upper", "  of the upper body, FID-U"),
    ("fid_lower", "  of the lower body, FID-L"),
    ("kid", "KID x 100 (lower is nearer)"),
    ("r_precision_1", "R-precision top 1"),
    ("r_precision_2", "R-precision top 2"),
    ("r_precision_3", "R-precision top 3"),
    ("strict_r_precision_1", "  own caption only, top 1"),
    ("strict_r_precision_2", "  own caption only, top 2"),
    ("strict_r_precision_3", "  own caption only, top 3"),
    ("mm_distance", "MM-distance (lower is nearer)"),
    ("diversity", "Diversity (near the real one)"),
    ("multimodality", "Multimodality"),
    ("foot_skate_mm", "Foot skate in contact, mm/frame"),
    ("contact_share", "  share of feet in contact"),
    ("low_foot_skate_mm", "  slide of low toes, mm/frame"),
    ("floor_penetration", "Frames over 3 cm under the floor"),
    ("jitter", "Jitter, 100 m/s3"),
    ("bone_deviation_mm", "Bone length deviation, mm"),
)


@dataclass(frozen=True, kw_only=True)
class RealClips:
    """The clips of a split with their embeddings, made once for all checkpoints."""

    clips: tuple[Clip, ...]
    captions: tuple[str, ...]
    motion_embeddings: Array
    caption_embeddings: Array
    hits: NDArray[np.bool_]  # (clips, captions) right by action
    halves: Mapping[str, tuple[Evaluator, Array]]  # "upper", "lower": evaluator, motion embeddings


def prepare_real(
    clips: Sequence[Clip],
    evaluator: Evaluator,
    halves: Mapping[str, Evaluator] | None = None,
) -> RealClips:
    """Choose a caption per clip and embed both. The caption depends on the clip's place only.

    With evaluators of body halves, by the name of the half, their FIDs are measured too.
    """
    captions = [clip.captions[i % len(clip.captions)] for i, clip in enumerate(clips)]
    joints = [clip.joints for clip in clips]
    return RealClips(
        clips=tuple(clips),
        captions=tuple(captions),
        motion_embeddings=evaluator.embed_motions(joints),
        caption_embeddings=evaluator.embed_captions(captions),
        hits=hit_matrix(clips, captions),
        halves={name: (half, half.embed_motions(joints)) for name, half in (halves or {}).items()},
    )


@runtime_checkable
class BatchMethod(Protocol):
    """A method that samples several prompts at once, each as it would alone."""

    def run_batch(
        self, prompts: Sequence[Prompt], options: Sequence[SampleOptions], report: Report
    ) -> list[Motion]:
        """Make one motion per prompt."""
        ...


def sample_split(
    method: Method, real: RealClips, seed: int, report: Callable[[], object]
) -> list[Joints]:
    """Sample one motion (T, 22, 3) per caption, as long as its clip. report() after each.

    Clips of like length share a batch where the method can; the order is the clips' own.
    """
    motions: dict[int, Joints] = {}
    order = sorted(range(len(real.clips)), key=lambda index: len(real.clips[index].joints))
    for start in range(0, len(order), BATCH_SIZE):
        batch = order[start : start + BATCH_SIZE]
        prompts = [Prompt(real.captions[index]) for index in batch]
        # Seeds of two runs don't overlap, and a clip's noise doesn't depend on the others.
        options = [
            SampleOptions(num_frames=len(real.clips[index].joints), seed=seed * 1_000_003 + index)
            for index in batch
        ]
        for index, motion in zip(batch, _run(method, prompts, options), strict=True):
            if motion.fps != FPS:
                raise ValueError(f"The model makes {motion.fps} frames a second, needs {FPS}")
            motions[index] = motion.joints().float().cpu().numpy()
            report()
    return [motions[index] for index in range(len(order))]


def measure_real(real: RealClips) -> dict[str, Estimate]:
    """The figures of the real clips against their own captions, intervals by resampling clips."""
    embeddings = real.motion_embeddings
    figures = _retrieval(real, [embeddings])
    distances = metrics.mm_distance(real.caption_embeddings, embeddings)
    figures["mm_distance"] = metrics.bootstrap_mean(distances)
    figures["diversity"] = _diversity(embeddings)
    for name, values in _quality([clip.joints for clip in real.clips]).items():
        if (known := values[np.isfinite(values)]).size:
            figures[name] = metrics.bootstrap_mean(known)
    return figures


def measure_floor(real: RealClips, *, seed: int = 0) -> dict[str, Estimate]:
    """FID and KID of one half of the real clips against the other: what no model gets under.

    A clip and its mirrored twin are in the same half. Half the clips make FID's bias larger than
    that of a whole split. Fewer than four recordings have no halves: no figures.
    """
    generator = np.random.default_rng(seed)
    families = sorted({clip.clip_id.removeprefix("M") for clip in real.clips})
    if len(families) < _LEAST_FAMILIES:
        return {}
    member = np.array([families.index(clip.clip_id.removeprefix("M")) for clip in real.clips])
    frechet: list[float] = []
    kernel: list[float] = []
    of_halves: dict[str, list[float]] = {name: [] for name in real.halves}
    for _ in range(FLOOR_SPLITS):
        chosen = generator.permutation(len(families))[: len(families) // 2]
        is_first = np.isin(member, chosen)
        first, second = real.motion_embeddings[is_first], real.motion_embeddings[~is_first]
        frechet.append(metrics.frechet_distance(first, second))
        kernel.append(100 * metrics.kernel_distance(first, second))
        for name, (_, embeddings) in real.halves.items():
            distance = metrics.frechet_distance(embeddings[is_first], embeddings[~is_first])
            of_halves[name].append(distance)
    figures = {"fid": metrics.over_repeats(frechet), "kid": metrics.over_repeats(kernel)}
    return figures | {f"fid_{n}": metrics.over_repeats(v) for n, v in of_halves.items()}


def measure_samples(
    real: RealClips, samples: Sequence[Sequence[Joints]], evaluator: Evaluator
) -> dict[str, Estimate]:
    """The figures of sampled motions, one list per seed; intervals are over seeds.

    Multimodality is over the seeds, since each samples the same captions: it needs two.
    """
    embeddings = [evaluator.embed_motions(motions) for motions in samples]
    reference = real.motion_embeddings
    figures = _retrieval(real, embeddings)
    figures["fid"] = metrics.over_repeats(
        [metrics.frechet_distance(reference, e) for e in embeddings]
    )
    for name, (half, true) in real.halves.items():
        figures[f"fid_{name}"] = metrics.over_repeats(
            [metrics.frechet_distance(true, half.embed_motions(motions)) for motions in samples]
        )
    kernel = [100 * metrics.kernel_distance(reference, e) for e in embeddings]
    figures["kid"] = _kernel_estimate(kernel, reference, embeddings[0])
    distances = [metrics.mm_distance(real.caption_embeddings, e).mean() for e in embeddings]
    figures["mm_distance"] = metrics.over_repeats(distances)
    figures["diversity"] = metrics.over_repeats([metrics.diversity(e) for e in embeddings])
    if len(embeddings) > 1:
        spread = metrics.multimodality(np.stack(embeddings, axis=1))
        figures["multimodality"] = metrics.bootstrap_mean(spread)
    per_seed = [_quality(motions) for motions in samples]
    for name in per_seed[0]:
        known = [quality[name][np.isfinite(quality[name])] for quality in per_seed]
        if all(values.size for values in known):
            figures[name] = metrics.over_repeats([float(values.mean()) for values in known])
    return figures


def _retrieval(real: RealClips, embeddings: Sequence[Array]) -> dict[str, Estimate]:
    """R-precision, strict and by action; one embedding array gets its interval from pools."""
    figures: dict[str, Estimate] = {}
    for prefix, extra in (("", real.hits), ("strict_", None)):
        shares = np.array(
            [
                metrics.r_precision(real.caption_embeddings, motions, extra_hits=extra, seed=seed)
                for seed, motions in enumerate(embeddings)
            ]
        )
        for top in range(3):
            value = metrics.over_repeats(shares[:, top].tolist())
            if len(embeddings) == 1:  # a share of so many independent clips
                share = value.value
                value = Estimate(
                    share, 1.96 * float(np.sqrt(share * (1 - share) / len(real.clips)))
                )
            figures[f"{prefix}r_precision_{top + 1}"] = value
    return figures


def _kernel_estimate(values: list[float], reference: Array, embeddings: Array) -> Estimate:
    if len(values) > 1:
        return metrics.over_repeats(values)
    subsets = metrics.kernel_distance_of_subsets(reference, embeddings)
    return Estimate(values[0], 100 * subsets.half_width)


def _diversity(embeddings: Array) -> Estimate:
    return metrics.over_repeats([metrics.diversity(embeddings, seed=seed) for seed in range(20)])


def _quality(motions: Sequence[Joints]) -> dict[str, Array]:
    """Figures (N,) of each motion; NaN where a foot never stands."""
    skate = [motion_quality.foot_skate(joints, FPS) for joints in motions]
    columns = {
        "foot_skate_mm": [slide for slide, _ in skate],
        "contact_share": [share for _, share in skate],
        "low_foot_skate_mm": [motion_quality.foot_skate_near_floor(joints) for joints in motions],
        "floor_penetration": [motion_quality.floor_penetration(joints) for joints in motions],
        "jitter": [motion_quality.jitter(joints, FPS) for joints in motions],
        "bone_deviation_mm": [motion_quality.bone_length_deviation(joints) for joints in motions],
    }
    return {name: np.array(values, dtype=np.float64) for name, values in columns.items()}


def _run(
    method: Method, prompts: Sequence[Prompt], options: Sequence[SampleOptions]
) -> list[Motion]:
    if isinstance(method, BatchMethod):
        return method.run_batch(prompts, options, _no_report)
    return [
        method.run(prompt, wanted, _no_report)
        for prompt, wanted in zip(prompts, options, strict=True)
    ]


def _no_report(step: int, num_steps: int) -> None:
    """A split is reported motion by motion."""
