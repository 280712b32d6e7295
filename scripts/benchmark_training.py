"""How fast does training go? Clips per second and share of the machine's peak, by size of trunk.

    .venv/bin/python scripts/benchmark_training.py --report training.json
    .venv/bin/python scripts/benchmark_training.py --sizes 512x8 --batch 64 --steps 50

A step is the training loop's own: draw a batch of clips (60 to 196 frames) of shards on disk, noise
and denoise it, gradients, AdamW, averages. The peak is what large products of matrices reach in the
same run, on the same device, threads and number type. Operations are counted by
torch.utils.flop_counter: products of matrices and attention, forwards and backwards, padding
included. The data's share is what drawing batches takes of the time when it waits for the device,
as it does here; the loop draws the next batch while a graphics card computes. Medians over the
steps.

Exit code 0 if drawing takes at most two fifths of the time, so that the loop never waits for it,
1 if not, 2 if the words are wrong.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import chosen_model
import environment

if TYPE_CHECKING:
    import torch

    from engine.methods.mdm import MdmConfig

SIZES = ("256x6", "384x8", "512x8")
DATA_LIMIT = 0.4
NUM_CLIPS = 1_000


@dataclass(frozen=True, kw_only=True)
class Speed:
    """One size of trunk."""

    size: str
    parameters: int
    batch: int
    precision: str
    seconds_per_step: float
    clips_per_second: float
    gigaflop_per_step: float
    share_of_peak: float
    data_share: float


def main() -> int:
    """Measure, tell, write the report."""
    environment.require_python()
    args = _parser().parse_args()
    chosen_model.enter_environment()
    import torch

    from trainer.device import training_device

    wrong = [size for size in args.sizes if _numbers(size) is None]
    if wrong or args.batch < 1 or args.steps < 1 or args.clips < args.batch:
        print("--sizes are WIDTHxLAYERS, --batch and --steps 1 or more, --clips a batch or more")
        return 2
    device = training_device()
    peak, precision = _peak(device, args.precision, args.peak_seconds)
    name = torch.cuda.get_device_name() if device.type == "cuda" else platform.machine()
    threads = f", {torch.get_num_threads()} threads" if device.type == "cpu" else ""
    print(f"{device.type} {name}{threads}, {precision}: peak {peak / 1e12:.3f} TFLOP/s")
    with tempfile.TemporaryDirectory(prefix="marey-") as folder:
        _write_clips(Path(folder), args.clips)
        rows = [_measure(size, Path(folder), args, peak, precision) for size in args.sizes]
    print("trunk     parameters  batch  s a step  clips/s  of peak  data")
    for row in rows:
        print(
            f"{row.size:9} {row.parameters / 1e6:8.1f} M {row.batch:6} {row.seconds_per_step:9.3f} "
            f"{row.clips_per_second:8.1f} {100 * row.share_of_peak:6.1f} % "
            f"{100 * row.data_share:5.1f} %"
        )
    if args.report is not None:
        told = {"device": name, "peak_flops": peak, "rows": [asdict(row) for row in rows]}
        args.report.write_text(json.dumps(told, indent=2) + "\n")
    return 0 if all(row.data_share <= DATA_LIMIT for row in rows) else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sizes", nargs="+", default=list(SIZES), metavar="WIDTHxLAYERS")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--steps", type=int, default=10, help="measured, after two that are not")
    parser.add_argument("--clips", type=int, default=NUM_CLIPS, help="in the made corpus")
    parser.add_argument("--precision", default="auto", choices=("auto", "float32", "bfloat16"))
    parser.add_argument("--peak-seconds", type=float, default=2.0)
    parser.add_argument("--report", type=Path, help="JSON file to write")
    return parser


def _numbers(size: str) -> tuple[int, int] | None:
    """Width and number of layers."""
    width, _, layers = size.partition("x")
    if not (width.isdigit() and layers.isdigit()) or int(width) % 8 or not int(layers):
        return None
    return int(width), int(layers)


def _peak(device: torch.device, precision: str, seconds: float) -> tuple[float, str]:
    """Operations per second of products of large matrices, and in which numbers they are."""
    import torch

    from trainer.precision import autocast

    size = 8192 if device.type == "cuda" else 2048
    left, right = (torch.randn(size, size, device=device) for _ in range(2))
    with torch.no_grad(), autocast(precision, device):
        numbers = (left @ right).dtype
    left, right = left.to(numbers), right.to(numbers)
    rates: list[float] = []
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(rates) < 3:
        taken = _timed(device, lambda: left @ right)
        rates.append(2 * size**3 / taken)
    return max(rates), str(numbers).removeprefix("torch.")


def _timed(device: torch.device, work: Callable[[], object]) -> float:
    """Seconds that work takes, with what it leaves to the device."""
    import torch

    start = time.perf_counter()
    work()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start


def _write_clips(folder: Path, count: int) -> None:
    """A corpus of clips of chance numbers with captions of 8 to 24 tokens, in shards."""
    import torch

    from engine.motion.representation import ROOT_LOCAL
    from engine.networks.text_encoder import WIDTH, TextFeatures
    from trainer.data.shards import ShardWriter

    generator = torch.Generator().manual_seed(0)

    def encode(captions: list[str]) -> TextFeatures:
        lengths = torch.randint(8, 25, (len(captions), 1), generator=generator)
        tokens = torch.randn(len(captions), 24, WIDTH, generator=generator)
        sentence = torch.nn.functional.normalize(tokens[:, 0], dim=-1)
        return TextFeatures(tokens=tokens, mask=torch.arange(24) < lengths, sentence=sentence)

    writer = ShardWriter(folder, encode)
    for number in range(count):
        frames = int(torch.randint(60, 197, (), generator=generator))
        features = torch.randn(frames, ROOT_LOCAL.num_features, generator=generator)
        writer.add("train", features, (f"caption {number}",))
    writer.close()


def _config(size: str) -> MdmConfig:
    from engine.methods.mdm import MdmConfig
    from engine.motion.representation import ROOT_LOCAL
    from engine.networks.denoiser import DenoiserConfig

    numbers = _numbers(size)
    assert numbers is not None
    width, layers = numbers
    return MdmConfig(
        denoiser=DenoiserConfig(
            num_features=ROOT_LOCAL.num_features, width=width, num_layers=layers
        )
    )


def _measure(
    size: str, folder: Path, args: argparse.Namespace, peak: float, precision: str
) -> Speed:
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    from engine.networks.denoiser import Denoiser
    from trainer.data.shards import ShardSampler, read_index
    from trainer.device import to_device, training_device
    from trainer.ema import Ema
    from trainer.methods.mdm import MdmObjective, MdmTraining, make_optimizer

    device = training_device()
    generator = torch.Generator().manual_seed(0)
    index = read_index(folder)
    training = MdmTraining(
        licence="none: a measurement",
        model=_config(size),
        batch_size=args.batch,
        precision=args.precision,
    )
    sampler = ShardSampler(index, batch_size=args.batch, prompt_dropout=training.prompt_dropout)
    model = Denoiser(training.model.denoiser).to(device)
    objective = MdmObjective(model, index.statistics, training)
    optimizer, ema = make_optimizer(model, training), Ema(model, 0.999)
    model.train()

    def learn(batch: Any) -> None:
        optimizer.zero_grad(set_to_none=True)
        terms = objective.loss(to_device(batch, device), generator)
        torch.stack(list(terms.values())).sum().backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        ema.update(model, 1)

    for _ in range(2):  # what is made once: kernels, buffers, moments
        learn(sampler.draw(generator))
    drawn: list[Any] = []
    seconds: list[float] = []
    waiting: list[float] = []
    for _ in range(args.steps):
        taken = _timed(device, lambda: drawn.append(sampler.draw(generator)))
        seconds.append(taken + _timed(device, lambda: learn(drawn[-1])))
        waiting.append(taken)
    counts: list[float] = []
    for batch in drawn[:4]:
        with FlopCounterMode(display=False) as counter:
            learn(batch)
        counts.append(counter.get_total_flops())
    step = statistics.median(seconds)
    flop = statistics.mean(counts)
    return Speed(
        size=size,
        parameters=sum(p.numel() for p in model.parameters()),
        batch=args.batch,
        precision=precision,
        seconds_per_step=step,
        clips_per_second=args.batch / step,
        gigaflop_per_step=flop / 1e9,
        share_of_peak=flop / step / peak,
        data_share=sum(waiting) / sum(seconds),
    )


if __name__ == "__main__":
    sys.exit(main())
