"""Does training read a corpus that is larger than memory? A made one, under a limit.

    .venv/bin/python scripts/check_shards.py --gigabytes 4 --limit 2

Writes shards of chance numbers (one at a time), then draws batches off them in a process that may
have `--limit` gigabytes of address space in all, until every shard has been read. Says how many
clips came, how fast, and the most memory that the process had.

Exit code 0 if all shards were read within the limit, 1 if not, 2 if the words are wrong.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import chosen_model
import environment

CLIP_FRAMES = 196
BATCH = 32


def main() -> int:
    """Write, read, tell."""
    environment.require_python()
    args = _parser().parse_args()
    chosen_model.enter_environment()
    if args.read is not None:
        return _read(args.read, args.limit)
    if args.gigabytes <= 0 or args.limit <= 0 or args.shard_megabytes <= 0:
        print("--gigabytes, --limit and --shard-megabytes need to be above 0")
        return 2
    with tempfile.TemporaryDirectory(prefix="marey-", dir=args.folder) as folder:
        count, size = _write(Path(folder), args.gigabytes, args.shard_megabytes)
        print(f"{count} clips of {CLIP_FRAMES} frames in shards of {size / 1e9:.2f} GB", flush=True)
        words = [sys.executable, __file__, "--read", folder, "--limit", str(args.limit)]
        found = subprocess.run(words, capture_output=True, text=True, check=False)
    if found.returncode != 0:
        print(f"NOT read under {args.limit} GB: {found.stderr.strip()[-400:]}")
        return 1
    told = json.loads(found.stdout.splitlines()[-1])
    print(
        f"All {told['shards']} shards read under {args.limit} GB: {told['clips']} clips in "
        f"{told['seconds']:.0f} s ({told['clips'] / told['seconds']:.0f} clips/s), at most "
        f"{told['peak'] / 1e9:.2f} GB of memory, {told['grown'] / 1e9:.2f} GB more than before"
    )
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--gigabytes", type=float, default=4.0, help="of features (default: 4)")
    parser.add_argument("--limit", type=float, default=2.0, metavar="GIGABYTES")
    parser.add_argument("--shard-megabytes", type=float, default=64.0)
    parser.add_argument("--folder", type=Path, help="where to write them (default: /tmp)")
    parser.add_argument("--read", type=Path, help=argparse.SUPPRESS)
    return parser


def _write(folder: Path, gigabytes: float, shard_megabytes: float) -> tuple[int, int]:
    """How many clips, and how large the files are."""
    import torch

    from engine.motion.representation import ROOT_LOCAL
    from engine.networks.text_encoder import WIDTH, TextFeatures
    from trainer.data.shards import ShardWriter

    generator = torch.Generator().manual_seed(0)

    def encode(captions: list[str]) -> TextFeatures:
        tokens = torch.randn(len(captions), 12, WIDTH, generator=generator)
        mask = torch.ones(len(captions), 12, dtype=torch.bool)
        return TextFeatures(tokens=tokens, mask=mask, sentence=tokens[:, 0])

    writer = ShardWriter(folder, encode, round(shard_megabytes * 1e6))
    count = max(BATCH, round(gigabytes * 1e9 / (4 * CLIP_FRAMES * ROOT_LOCAL.num_features)))
    for number in range(count):
        features = torch.randn(CLIP_FRAMES, ROOT_LOCAL.num_features, generator=generator)
        writer.add("train", features, (f"caption {number}",))
    writer.close()
    return count, sum(path.stat().st_size for path in folder.iterdir())


def _read(folder: Path, limit: float) -> int:
    """Draw batches until every shard has been open; one JSON line."""
    resource.setrlimit(resource.RLIMIT_AS, (int(limit * 1e9), int(limit * 1e9)))
    import torch

    from trainer.data.shards import NUM_OPEN, ShardSampler, read_index

    torch.set_num_threads(1)
    index = read_index(folder)
    sampler = ShardSampler(index, batch_size=BATCH, prompt_dropout=0.1)
    generator = torch.Generator().manual_seed(0)
    before = _peak_bytes()
    started = time.monotonic()
    shards, clips = len(index.splits["train"]), 0
    seen: set[int] = set()
    while len(seen) < shards:
        clips += len(sampler.draw(generator).features)
        order, (start, stop, _), *_ = sampler.waiting()
        seen |= set(order[start:stop])
    peak = _peak_bytes()
    told = {"shards": shards, "clips": clips, "seconds": time.monotonic() - started}
    print(json.dumps({**told, "peak": peak, "grown": peak - before, "open": NUM_OPEN}))
    return 0


def _peak_bytes() -> int:
    found = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return found if sys.platform == "darwin" else found * 1024


if __name__ == "__main__":
    sys.exit(main())
