"""`trainer teach`: captioned videos to a model that can do what they show, in one command.

The videos are read (prepare video), lifted (prepare teacher) and learned (train video-mdm-teach);
the model that comes out of it goes into a folder of models, by default the user's own, where the
engine finds it. Started again after it was stopped, it goes on. What it takes for a folder of
views and of lifted motions stays in --out, for `trainer evaluate`.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
from hashlib import sha256
from pathlib import Path

import platformdirs

from trainer.commands import prepare_teacher, prepare_video, train
from trainer.commands.teach_status import TeachStatus
from trainer.data.teacher_corpus import CLIPS

EPILOG = (
    "example: python -m trainer teach videos/ --captions captions.csv --name moonwalk "
    "--out runs/moonwalk"
)
PRESET = "video-mdm-teach"
LEAST_CLIPS = 3
_MEMO = "teach.json"  # what the lifted motions in the folder were made from


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.epilog = EPILOG
    parser.add_argument("videos", type=Path, nargs="+", metavar="VIDEO", help="files and folders")
    parser.add_argument("--captions", type=Path, metavar="TABLE", help="as of prepare video")
    parser.add_argument("--caption", metavar="TEXT", help="of videos for which there is no other")
    parser.add_argument("--people", choices=("largest", "all"), default="largest")
    parser.add_argument("--name", required=True, help="of the model")
    parser.add_argument("--out", type=Path, required=True, help="folder to work in")
    parser.add_argument(
        "--models", type=Path, metavar="DIR", help="where the model goes (default: the user's own)"
    )
    parser.add_argument("--init", type=Path, metavar="FILE", help="the model to teach")
    parser.add_argument("--steps", type=int, metavar="N", help="of training (default: 500)")
    parser.add_argument("--jobs", type=int, default=1, metavar="N", help="processes that read")
    parser.add_argument(
        "--set", dest="overrides", action="append", default=[], metavar="KEY=VALUE", help="as train"
    )
    parser.add_argument(
        "--parent-pid", type=int, metavar="PID", help="end when this process is gone, and be nice"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace a model of that name")
    parser.add_argument("--json", action="store_true", help="one JSON object on the last line")


def run(args: argparse.Namespace) -> int:
    """Teach; 0 when the model is there, 1 when the work failed, 2 when the words are wrong."""
    target = (args.models or _user_models()) / f"{args.name}.safetensors"
    if (wrong := _wrong_words(args, target)) is not None:
        print(wrong, file=sys.stderr)
        return 2
    args.out.mkdir(parents=True, exist_ok=True)
    if args.parent_pid is not None and hasattr(os, "nice"):
        os.nice(5)  # who waits for it works on
    with TeachStatus(args.out, parent_pid=args.parent_pid) as status:
        code = _prepare(args, status) or _train(args, status)
        if code == 0:
            target.parent.mkdir(parents=True, exist_ok=True)
            partial = target.with_name(target.name + ".partial")
            shutil.copyfile(args.out / "run" / "best.safetensors", partial)
            partial.replace(target)
            status.done(target)
    if code == 0:
        print(f"The model {args.name} is in {target.parent}", file=sys.stderr)
        if args.json:
            print(json.dumps({"model": str(target), "folder": str(args.out)}))
    return code


def _wrong_words(args: argparse.Namespace, target: Path) -> str | None:
    if not args.name or Path(args.name).name != args.name or args.name.startswith("."):
        return f"--name is {args.name!r}, needs a name that a file can have"
    if target.exists() and not args.overwrite:
        return f"{target} is there already: choose another --name, or --overwrite"
    if args.steps is not None and args.steps < 1:
        return f"--steps is {args.steps}, needs 1 or more"
    return None


def _prepare(args: argparse.Namespace, status: TeachStatus) -> int:
    views, lifted = args.out / "views", args.out / "lifted"
    status.begin("reading")
    words = [*map(str, args.videos), "--out", str(views), "--people", args.people, "--overwrite"]
    words += ["--jobs", str(args.jobs)]
    words += ["--captions", str(args.captions)] if args.captions else []
    words += ["--caption", args.caption] if args.caption else []
    code = prepare_video.run(_parsed(prepare_video, words))
    if code:
        return code
    count = len((views / "train.txt").read_text().split())
    if count < LEAST_CLIPS:
        print(f"{count} clips are too few to learn from, needs {LEAST_CLIPS}", file=sys.stderr)
        return 1
    made_from = sha256((views / "index.jsonl").read_bytes()).hexdigest()
    if _memo(args.out) != made_from:  # videos or captions are others: begin anew
        for stale in (lifted, args.out / "run"):
            shutil.rmtree(stale, ignore_errors=True)
        (args.out / _MEMO).write_text(json.dumps({"views": made_from}) + "\n")
    if (lifted / CLIPS).is_file():
        return 0
    status.begin("lifting")
    return prepare_teacher.run(_parsed(prepare_teacher, [str(views), "--out", str(lifted)]))


def _train(args: argparse.Namespace, status: TeachStatus) -> int:
    folder = args.out / "run"
    status.begin("training")
    overrides = list(args.overrides)
    if args.steps is not None:
        overrides.append(f"loop.num_steps={args.steps}")
    words = [PRESET, "--data", str(args.out / "lifted"), "--out", str(folder)]
    words += [word for override in overrides for word in ("--set", override)]
    words += ["--init", str(args.init)] if args.init else []
    words += ["--resume"] if (folder / "training-state.json").is_file() else []
    return train.run(_parsed(train, words))


def _parsed(command: object, words: list[str]) -> argparse.Namespace:
    """The words of another command, as it would read them itself."""
    parser = argparse.ArgumentParser()
    add = getattr(command, "add_arguments")  # noqa: B009 - each command module has one
    add(parser)
    return parser.parse_args(words)


def _memo(folder: Path) -> str:
    try:
        return str(json.loads((folder / _MEMO).read_text())["views"])
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def _user_models() -> Path:
    return platformdirs.user_data_path("marey", appauthor=False) / "models"
