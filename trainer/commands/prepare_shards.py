"""`trainer prepare shards`: write corpora as shards, which `trainer train` reads piece by piece.

For corpora that are larger than memory, and for runs in many processes. A run on shards learns
from the same clips as one on the corpora themselves: what is made of recorded clips (other lengths,
straight walks, sequences) and rewordings of captions are written too.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
from pathlib import Path

import torch

from engine.motion.representation import ROOT_LOCAL
from engine.networks.text_encoder import TextEncoderError, encode_text
from trainer.data.corpus import CorpusError, load_corpus
from trainer.data.examples import augmented, balanced_weights, encode_clip, reworded
from trainer.data.shards import SHARD_BYTES, ShardWriter, is_shards

EPILOG = "example: python -m trainer prepare shards HumanML3D --out shards/humanml3d"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.epilog = EPILOG
    parser.add_argument("corpora", type=Path, nargs="+", help="folders that hold 3D motion")
    parser.add_argument("--out", type=Path, required=True, help="folder to write")
    parser.add_argument("--plain", action="store_true", help="only the recorded clips and captions")
    parser.add_argument("--rewordings", type=int, default=4, metavar="N", help="of each caption")
    parser.add_argument("--megabytes", type=float, default=SHARD_BYTES / 1e6, help="of a shard")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--overwrite", action="store_true", help="write into a folder that is used")
    parser.add_argument("--json", action="store_true", help="one JSON object on the last line")


def run(args: argparse.Namespace) -> int:
    """Write the shards; 0 when done, 2 when the words are wrong."""
    if is_shards(args.out) and not args.overwrite:
        print(f"{args.out} holds shards already: choose another, or --overwrite", file=sys.stderr)
        return 2
    if args.megabytes < 0.1 or args.rewordings < 0:
        print("--megabytes needs 0.1 or more, --rewordings 0 or more", file=sys.stderr)
        return 2
    torch.manual_seed(args.seed)
    generator = random.Random(args.seed)
    writer = ShardWriter(args.out, encode_text, round(args.megabytes * 1e6))
    try:
        for split in ("train", "val"):
            clips = load_corpus(args.corpora, split)
            rewordings: dict[str, list[str]] = {}
            if split == "train" and not args.plain:
                clips = augmented(clips, generator)
                rewordings = reworded(clips, args.rewordings, generator)
            for clip, weight in zip(clips, balanced_weights(clips), strict=True):
                captions = [t for text in clip.captions for t in rewordings.get(text, [text])]
                writer.add(split, encode_clip(clip, ROOT_LOCAL), tuple(captions), weight)
        index = writer.close()
    except (CorpusError, TextEncoderError) as error:
        print(error, file=sys.stderr)
        return 2
    files = sum(map(len, index.splits.values()))
    told = ", ".join(f"{count} clips of {split}" for split, count in index.num_clips.items())
    print(f"Wrote {told} in {files} shards to {args.out}", file=sys.stderr)
    if args.json:
        print(json.dumps({"folder": str(args.out), "shards": files, **index.num_clips}))
    return 0
