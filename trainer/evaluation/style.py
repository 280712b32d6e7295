"""How near generated motions come to a few held-out clips, where a split is too small for FID.

Every caption of every held-out clip is sampled, as long as its clip, and held against that clip: in
the evaluator's space, and in poses and speeds. Poses are joints around the root in the facing
frame, so neither place nor heading counts. Shape letters: T frames.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from engine.methods.base import BatchMethod, Method, Prompt, SampleOptions
from engine.motion.representation import estimate_heading, rotate_by_heading
from trainer.data.corpus import FPS
from trainer.evaluation import metrics
from trainer.evaluation.evaluator_network import Evaluator
from trainer.evaluation.metrics import Estimate

Joints = NDArray[np.float32]
Array = NDArray[np.float64]

ROWS: tuple[tuple[str, str], ...] = (  # key, and how it is called in the table
    ("embedding", "to its clip, evaluator's space"),
    ("aligned_mm", "to its clip, joints at matching times, mm"),
    ("pose_mm", "mean pose and its spread, mm"),
    ("speed", "speeds of the joints, m/s"),
    ("root_speed", "speed over the floor, m/s"),
    ("old_r_precision_3", "old prompts: R-precision top 3"),
    ("old_mm_distance", "old prompts: MM-distance"),
)
_BATCH = 16
_OLD_FRAMES = 100
Report = Callable[[], object]


@dataclass(frozen=True, kw_only=True)
class HeldOut:
    """A clip that no model has seen, with its captions."""

    joints: Joints  # (T, 22, 3) metres
    captions: tuple[str, ...]


def sample_held_out(
    method: Method, clips: Sequence[HeldOut], seeds: int, report: Report
) -> list[tuple[int, Joints]]:
    """Motions for every caption and seed, each with the number of its clip."""
    wanted = [
        (number, caption, seed * 1_000_003 + number)
        for seed in range(seeds)
        for number, clip in enumerate(clips)
        for caption in clip.captions
    ]
    lengths = [len(clips[number].joints) for number, _, _ in wanted]
    prompts = [caption for _, caption, _ in wanted]
    made = _sampled(method, prompts, lengths, [seed for _, _, seed in wanted], report)
    return [(number, joints) for (number, _, _), joints in zip(wanted, made, strict=True)]


def measure_style(
    clips: Sequence[HeldOut], samples: Sequence[tuple[int, Joints]], evaluator: Evaluator
) -> dict[str, Estimate]:
    """Distances of samples to their clips; the intervals come from resampling the samples."""
    true = evaluator.embed_motions([clip.joints for clip in clips])
    found = evaluator.embed_motions([joints for _, joints in samples])
    rows: list[dict[str, float]] = []
    for (number, joints), embedding in zip(samples, found, strict=True):
        distances = motion_distances(joints, clips[number].joints)
        off = float(np.linalg.norm(embedding - true[number]))
        rows.append({"embedding": off, **distances})
    return {name: metrics.bootstrap_mean(np.array([row[name] for row in rows])) for name in rows[0]}


def motion_distances(joints: Joints, other: Joints) -> dict[str, float]:
    """Of two motions (T, 22, 3), which need not be as long: what the rows of ROWS say."""
    first, second = facing_poses(joints), facing_poses(other)
    means = [poses.mean(0) for poses in (first, second)]
    spreads = [poses.std(0) for poses in (first, second)]
    # of normal distributions along every axis: the Wasserstein distance, as a mean over joints
    apart = np.square(means[0] - means[1]).sum(-1) + np.square(spreads[0] - spreads[1]).sum(-1)
    steps = [np.linalg.norm(np.diff(poses, axis=0), axis=-1).mean(0) for poses in (first, second)]
    over_floor = [
        np.linalg.norm(np.diff(motion[:, 0, ::2], axis=0), axis=-1).mean()
        for motion in (joints, other)
    ]
    return {
        "aligned_mm": 1_000 * aligned_distance(first, second),
        "pose_mm": 1_000 * float(np.sqrt(apart.mean())),
        "speed": FPS * float(np.abs(steps[0] - steps[1]).mean()),
        "root_speed": FPS * float(abs(over_floor[0] - over_floor[1])),
    }


def facing_poses(joints: Joints) -> Array:
    """Joints (T, 22, 3) around the root, heights as they are, turned to face +z."""
    moved = torch.from_numpy(np.ascontiguousarray(joints)).double()
    heading = estimate_heading(moved)
    root = moved[:, :1] * moved.new_tensor((1.0, 0.0, 1.0))
    turned: Array = rotate_by_heading(moved - root, -heading[:, None]).numpy()
    return turned


def aligned_distance(first: Array, second: Array) -> float:
    """Mean distance of joints, metres, along the best way through both motions (N, 22, 3).

    Source: dynamic time warping, Sakoe and Chiba, 1978, symmetric steps; the mean is over the
    pairs of frames on the way.
    """
    rows = [np.linalg.norm(second - pose, axis=-1).mean(-1) for pose in first]
    costs = np.stack(rows)
    total = np.full((len(first) + 1, len(second) + 1), np.inf)
    count = np.zeros(total.shape)
    total[0, 0] = 0.0
    for i in range(1, len(first) + 1):
        for j in range(1, len(second) + 1):
            before = min(
                (total[i - 1, j - 1], i - 1, j - 1),
                (total[i - 1, j], i - 1, j),
                (total[i, j - 1], i, j - 1),
            )
            total[i, j] = costs[i - 1, j - 1] + before[0]
            count[i, j] = 1 + count[before[1], before[2]]
    return float(total[-1, -1] / count[-1, -1])


def measure_old(
    method: Method, captions: Sequence[str], evaluator: Evaluator, report: Report
) -> dict[str, Estimate]:
    """What the model makes of captions that its base has learned: POOL_SIZE of them or more."""
    count = len(captions)
    made = _sampled(method, captions, [_OLD_FRAMES] * count, list(range(count)), report)
    motions = evaluator.embed_motions(made)
    texts = evaluator.embed_captions(captions)
    share = float(metrics.r_precision(texts, motions)[2])
    half = 1.96 * float(np.sqrt(max(share * (1 - share), 1e-9) / count))
    return {
        "old_r_precision_3": Estimate(share, half),
        "old_mm_distance": metrics.bootstrap_mean(metrics.mm_distance(texts, motions)),
    }


def old_captions(known: Iterable[Sequence[str]], own: Iterable[str], count: int) -> list[str]:
    """Captions that all models know and that aren't of the new clips, evenly taken; [] if few."""
    lists = list(known)
    own = set(own)
    others = [set(one) for one in lists[1:]]
    shared = [
        caption
        for caption in dict.fromkeys(lists[0])
        if caption not in own and all(caption in one for one in others)
    ]
    if len(shared) < metrics.POOL_SIZE:
        return []
    stride = max(1, len(shared) // count)
    return shared[::stride][:count]


def _sampled(
    method: Method,
    captions: Sequence[str],
    lengths: Sequence[int],
    seeds: Sequence[int],
    report: Report,
) -> list[Joints]:
    """A motion (T, 22, 3) per caption; those of like length share a batch."""
    motions: dict[int, Joints] = {}
    order = sorted(range(len(captions)), key=lambda k: lengths[k])
    for start in range(0, len(order), _BATCH):
        part = order[start : start + _BATCH]
        options = [SampleOptions(num_frames=lengths[k], seed=seeds[k]) for k in part]
        prompts = [Prompt(captions[k]) for k in part]
        if isinstance(method, BatchMethod):
            made = method.run_batch(prompts, options, _quiet)
        else:
            made = [method.run(p, o, _quiet) for p, o in zip(prompts, options, strict=True)]
        for k, motion in zip(part, made, strict=True):
            motions[k] = motion.joints().float().cpu().numpy()
            report()
    return [motions[k] for k in range(len(order))]


def _quiet(step: int, num_steps: int) -> None:
    """Motions are counted, not their steps."""
