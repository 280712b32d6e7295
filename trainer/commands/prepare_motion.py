"""`trainer prepare motion`: write motion data of any known layout as a corpus of our own.

AMASS, Fit3D, HumanML3D and lifted folders become HumanML3D's layout on the built-in skeleton at
20 fps, with captions, splits and where each clip is from: body models are then needed no more.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from trainer.data.corpus import FPS, Clip, CorpusError, load_corpus
from trainer.data.layouts.body_models import VARIABLE

EPILOG = "example: python -m trainer prepare motion AMASS --body-models models --out corpora/amass"
SPLITS = ("train", "val", "test")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.epilog = EPILOG
    parser.add_argument("sources", type=Path, nargs="+", help="folders in any layout of 3D motion")
    parser.add_argument("--out", type=Path, required=True, help="folder to write")
    parser.add_argument("--body-models", type=Path, help=f"your SMPL-H, SMPL-X (or {VARIABLE})")
    parser.add_argument("--overwrite", action="store_true", help="write into a folder that is used")
    parser.add_argument("--json", action="store_true", help="one JSON object on the last line")


def run(args: argparse.Namespace) -> int:
    """Write the corpus; 0 when done, 2 when the words are wrong."""
    if (args.out / "new_joints").exists() and not args.overwrite:
        print(f"{args.out} holds a corpus already: choose another, or --overwrite", file=sys.stderr)
        return 2
    if args.body_models is not None:
        os.environ[VARIABLE] = str(args.body_models)
    try:
        clips = {split: _clips(args.sources, split) for split in SPLITS}
        if not clips["train"]:
            load_corpus(args.sources, "train")  # says what is wrong
    except CorpusError as error:
        print(error, file=sys.stderr)
        return 2
    counts = {split: _write(members, args.out, split) for split, members in clips.items()}
    told = ", ".join(f"{count} clips of {split}" for split, count in counts.items())
    print(f"Wrote {told} to {args.out}", file=sys.stderr)
    if args.json:
        print(json.dumps({"folder": str(args.out), **counts}))
    return 0


def _clips(sources: Sequence[Path], split: str) -> list[Clip]:
    """A split's clips; none where a source has no such split, but those of "train" must be."""
    try:
        return load_corpus(sources, split)
    except CorpusError:
        if split == "train":
            raise
        return []


def _write(clips: Sequence[Clip], folder: Path, split: str) -> int:
    for name in ("new_joints", "texts"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    names: list[str] = []
    rows: list[str] = []
    seen: dict[str, int] = {}
    for clip in clips:
        number = seen.get(clip.clip_id, 0)
        seen[clip.clip_id] = number + 1
        name = clip.clip_id if number == 0 else f"{clip.clip_id}-part{number}"
        np.save(folder / "new_joints" / f"{name}.npy", clip.joints)
        lines = [f"{_plain(caption)}#{_tokens(caption)}#0.0#0.0\n" for caption in clip.captions]
        (folder / "texts" / f"{name}.txt").write_text("".join(lines))
        names.append(name)
        row = {"id": name, "split": split, "source": clip.source, "fps": FPS}
        rows.append(json.dumps({**row, "licence": clip.licence, "performer": clip.performer}))
    (folder / f"{split}.txt").write_text("".join(f"{name}\n" for name in names))
    with (folder / "index.jsonl").open("w" if split == SPLITS[0] else "a") as index:
        index.writelines(f"{row}\n" for row in rows)
    return len(names)


def _plain(caption: str) -> str:
    return " ".join(caption.replace("#", " ").split())


def _tokens(caption: str) -> str:
    """Words without their part of speech: this tells none."""
    return " ".join(f"{word}/OTHER" for word in _plain(caption).split())
