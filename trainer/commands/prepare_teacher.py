"""`trainer prepare teacher`: lift keypoint clips, by lifters that never saw their performers."""

from __future__ import annotations

import argparse
import json
import logging
import shutil
import sys
import time
from pathlib import Path

import torch

from engine.checkpoint import CheckpointError
from engine.methods import load_method
from trainer.commands.written_report import write_whole
from trainer.data.clip import READ_ERRORS
from trainer.data.corpus import CorpusError, load_corpus
from trainer.data.teacher_corpus import CLIPS, PARTS, TeacherClip, pack, read_part, write_part
from trainer.data.teacher_motions import Lifters, TeacherError, brought_onto_rays, lift_view
from trainer.data.views_corpus import View, read_views

log = logging.getLogger(__name__)

EPILOG = (
    "example: python -m trainer prepare teacher views/free --learned ../shared/data/motion/free "
    "--out teacher/free"
)
TEACHERS = Path(__file__).resolve().parents[1] / "teachers"
LIFTER = Path(__file__).resolve().parents[2] / "engine" / "models" / "hmmr-free.safetensors"
SPLITS = ("train", "val", "test")
_BEGUN = "begun.json"  # what the parts are being made from
_LINE_EVERY_S = 5.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.epilog = EPILOG
    parser.add_argument(
        "views", type=Path, help="a corpus of keypoint clips (prepare views, video)"
    )
    parser.add_argument(
        "--model",
        type=Path,
        nargs="+",
        help="lifters (default: of videos hmmr-free, else the two that ship as teachers, each of "
        "one half of the free performers)",
    )
    parser.add_argument(
        "--learned",
        type=Path,
        metavar="CORPUS",
        help="the corpus that the lifters have learned from: none lifts a performer that it knows",
    )
    parser.add_argument(
        "--cameras",
        choices=("given", "estimated"),
        default="given",
        help="estimated: teachers find their own upright, as if no camera were told",
    )
    parser.add_argument(
        "--on-rays",
        action="store_true",
        help="bring teachers onto the rays of their keypoints, bones keeping their lengths",
    )
    parser.add_argument("--out", type=Path, required=True, help="folder to write")
    parser.add_argument("--split", choices=SPLITS, help="only this one (default: all there are)")
    parser.add_argument("--limit", type=int, metavar="N", help="clips of each split (a quick look)")
    parser.add_argument("--overwrite", action="store_true", help="write into a folder that is used")
    parser.add_argument("--json", action="store_true", help="one JSON object on the last line")


def run(args: argparse.Namespace) -> int:
    """Lift the clips; 0 when done, 2 when the words are wrong. Started again, it goes on."""
    try:
        splits = _splits(args)
        lifters = _lifters(args)
        if (args.out / CLIPS).exists() and not args.overwrite:
            raise ValueError(f"{args.out} holds a corpus already: choose another, or --overwrite")
        _begin_or_go_on(args, lifters)
    except (CheckpointError, CorpusError, ValueError) as error:
        print(error, file=sys.stderr)
        return 2
    done, left_out = _lift_all(args, splits, lifters)
    try:
        written = pack(args.out, done)
    except CorpusError as error:
        print(error, file=sys.stderr)
        return 2
    shutil.rmtree(args.out / PARTS)
    size = sum(path.stat().st_size for path in args.out.iterdir()) / 1e6
    print(
        f"Wrote {written} clips to {args.out} ({size:.1f} MB); left out {left_out}", file=sys.stderr
    )
    if args.json:
        print(json.dumps({"folder": str(args.out), "clips": written, "left_out": left_out}))
    return 0


def _begin_or_go_on(args: argparse.Namespace, lifters: Lifters) -> None:
    """See to it that parts of a run that was stopped are parts of this one.

    Raises:
        ValueError: they were lifted otherwise.
    """
    told = {
        "views": str(args.views.resolve()),
        "cameras": args.cameras,
        "on_rays": args.on_rays,
        "lifters": [model.info.model_hash for model in lifters.models],
    }
    parts = args.out / PARTS
    path = parts / _BEGUN
    if path.is_file():
        if json.loads(path.read_text()) == told:
            return
        if not args.overwrite:
            raise ValueError(
                f"{args.out} was begun with other views, cameras, lifters or --on-rays: go on with "
                "those, choose another folder, or --overwrite"
            )
        shutil.rmtree(parts)
    write_whole(path, json.dumps(told))


def _splits(args: argparse.Namespace) -> dict[str, list[str]]:
    """Ids of the clips of each split that are to be lifted."""
    wanted = [args.split] if args.split else SPLITS
    found = {
        split: (args.views / f"{split}.txt").read_text().split()[: args.limit]
        for split in wanted
        if (args.views / f"{split}.txt").is_file()
    }
    if not any(found.values()):
        raise CorpusError(f"{args.views} is no corpus of views, or one with no clip in it")
    return found


def _lifters(args: argparse.Namespace) -> Lifters:
    files = args.model or _default_lifters(args.views)
    models = [load_method(path, torch.device("cpu")) for path in files]
    for model in models:
        if "video" not in model.accepts:
            raise ValueError(f"The model {model.info.name} lifts no video")
    learned = load_corpus([args.learned], "train", mirrored=False) if args.learned else []
    halved = [m for m in models if m.info.training.get("settings", {}).get("performers") != "all"]
    if halved and not learned:
        raise ValueError(
            f"{halved[0].info.name} has learned from one half of the performers: name its corpus "
            "with --learned, so that it lifts the others only"
        )
    return Lifters.of(models, learned)


def _default_lifters(views: Path) -> list[Path]:
    """People of videos were learned from by nobody: the best lifter does for them.

    Raises:
        CorpusError: the index can't be read.
    """
    try:
        rows = [json.loads(line) for line in (views / "index.jsonl").read_text().splitlines()]
        is_video = all(row.get("source") == "video" for row in rows)
    except READ_ERRORS as error:
        raise CorpusError(f"{views / 'index.jsonl'} can't be read: {error}") from error
    return [LIFTER] if is_video else sorted(TEACHERS.glob("*.safetensors"))


def _lift_all(
    args: argparse.Namespace, splits: dict[str, list[str]], lifters: Lifters
) -> tuple[dict[str, list[str]], int]:
    """Ids of the clips that have their part, by split, and how many have none."""
    total = sum(len(names) for names in splits.values())
    done: dict[str, list[str]] = {split: [] for split in splits}
    last = time.monotonic()
    for split, names in splits.items():
        wanted = set(names)
        for view in read_views(args.views, split):
            if view.view_id not in wanted:
                break
            path = args.out / PARTS / f"{view.view_id}.npz"
            try:
                if not _is_whole(path):
                    write_part(path, _lifted(view, lifters, args))
                done[split].append(view.view_id)
            except (TeacherError, ValueError) as error:
                log.warning("Left out clip %s: %s", view.view_id, error)
            if time.monotonic() - last > _LINE_EVERY_S:
                last = time.monotonic()
                lifted = sum(map(len, done.values()))
                print(f"{lifted} of {total} clips", file=sys.stderr, flush=True)
    return done, total - sum(map(len, done.values()))


def _lifted(view: View, lifters: Lifters, args: argparse.Namespace) -> TeacherClip:
    clip = lift_view(view, lifters, is_camera_known=args.cameras == "given")
    if not args.on_rays:
        return clip
    return brought_onto_rays(clip, "estimated" if clip.given is None else args.cameras)


def _is_whole(path: Path) -> bool:
    if not path.is_file():
        return False
    try:
        read_part(path)
    except CorpusError:
        return False
    return True
