"""Measures capture against the truth: motions of a corpus' test split, filmed in Blender.

    .venv/bin/python scripts/check_synthetic_capture.py --data ../shared/data/motion/free \
        --rig ../shared/data/rigs/human-male.glb --videos VIDEOS [--prior MODEL] [--json FILE]

Motions of nobody that any model was trained on are put onto a character by the add-on and filmed
by three cameras (scripts/render_synthetic_videos.py; about a second a frame, resumable: videos
that are in VIDEOS are not rendered again). Then the whole of capture runs on them, as
`engine capture` does, with the focal length as it is guessed and as it is known, and
the lifter alone, which is the same without the fit to the keypoints.

Truth is where the bones of the character are, so its joints lie elsewhere in the body than those
of our skeleton: some of every error is that. Places are compared in the world: the capture's first
camera is laid onto the true one. Exit code 1 if a limit isn't kept.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import environment
import environment_contents as contents

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    from engine.methods.base import Report
    from engine.motion.motion import Motion
    from synthetic_measures import Figures

ROOT = Path(__file__).resolve().parent.parent
MOST_FRAMES = 80  # of a motion, at 20 fps
# Of the test split, one of each kind, and what each is called in the files.
CLIPS = {
    "F00130": "walk",
    "F00656": "dribble",
    "F00402": "jump",
    "F00663": "lunge",
    "F00323": "kick",
    "F00659": "throw",
    "F00334": "dance",
    "F00396": "jog",
}


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What must be kept by the means over all videos."""

    pa_mpjpe: float = 65.0  # mm
    path: float = 10.0  # % of its length, with the focal length known


@dataclass(frozen=True, kw_only=True)
class Row:
    """One video, captured in one way."""

    video: str
    view: str
    way: str
    seen: float  # % of the frames
    figures: Figures


def main() -> int:
    """Render what is missing, capture, print the tables; return the exit code."""
    from engine.checkpoint import CheckpointError
    from engine.video.keypoints import DetectorError
    from trainer.data.corpus import CorpusError

    arguments = _arguments()
    try:
        return check(arguments)
    except subprocess.CalledProcessError:  # it has said why
        print("Not every video was rendered: see above", file=sys.stderr)
    except (OSError, ValueError, CheckpointError, CorpusError, DetectorError) as error:
        print(error, file=sys.stderr)
    return 2


def check(arguments: argparse.Namespace) -> int:
    """What main does, errors apart."""
    if not arguments.measure_only:
        render(arguments)
    videos = sorted(path for path in arguments.videos.glob("*.mp4") if _is_whole(path))
    if not videos:
        print(f"{arguments.videos} has no videos with their truth", file=sys.stderr)
        return 2
    rows: list[Row] = []
    for video in videos:
        rows += measure_video(video, arguments.prior)
        if arguments.json is not None:  # what there is, should it be stopped
            write_report(arguments.json, rows)
    table = summary(rows)
    _print_table(table)
    print(json.dumps(table))
    return 0 if is_good(table) else 1


def write_report(path: Path, rows: Sequence[Row]) -> None:
    """All figures as JSON."""
    words = {"rows": [asdict(row) for row in rows], "summary": summary(rows)}
    path.write_text(json.dumps(words, indent=1) + "\n", encoding="utf-8")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--data", type=Path, help="corpus folder in HumanML3D's layout")
    parser.add_argument("--rig", type=Path, help="the character: .glb, .gltf, .fbx or .vrm")
    parser.add_argument("--videos", type=Path, required=True, help="folder of the videos")
    parser.add_argument("--prior", default="", help="a model that betters what is lifted")
    parser.add_argument("--json", type=Path, help="write all figures here")
    names = list(CLIPS.values())
    parser.add_argument("--motions", nargs="+", choices=names, default=names, help="all of them")
    parser.add_argument("--views", nargs="+", default=[], help="front, side, turning; all of them")
    parser.add_argument("--measure-only", action="store_true", help="render nothing")
    arguments = parser.parse_args()
    if not arguments.measure_only and (arguments.data is None or arguments.rig is None):
        parser.error("--data and --rig are needed, or --measure-only")
    return arguments


def _is_whole(video: Path) -> bool:
    return video.with_suffix(".npz").exists() and not video.stem.endswith(".partial")


def render(arguments: argparse.Namespace) -> None:
    """Write the motions and have Blender film them."""
    from engine.motion.files import write_motion
    from trainer.data.corpus import load_corpus

    motions = arguments.videos / "motions"
    motions.mkdir(parents=True, exist_ok=True)
    clips = {clip.clip_id: clip for clip in load_corpus([arguments.data], "test", mirrored=False)}
    for clip_id, name in CLIPS.items():
        if name not in arguments.motions:
            continue
        if clip_id not in clips:
            raise ValueError(f"{arguments.data} has no clip {clip_id} in its test split")
        motion = motion_of_joints(clips[clip_id].joints[:MOST_FRAMES])
        write_motion(motion, motions / f"{name}.npz", overwrite=True)
    python = environment.python_of(ROOT / f".venv-bpy-{contents.DEFAULT_BPY}")
    script = Path(__file__).with_name("render_synthetic_videos.py")
    words = ["--motions", motions, "--rig", arguments.rig, "--out", arguments.videos]
    if arguments.views:
        words += ["--views", *arguments.views]
    subprocess.run([str(python), str(script), *map(str, words)], check=True)


def motion_of_joints(joints: NDArray[np.float32]) -> Motion:
    """A clip's joints (T, 22, 3) as a motion at 20 fps."""
    import torch

    from engine.motion.contacts import detect_contacts
    from engine.motion.motion import Motion
    from engine.motion.pose_solve import solve_local_rotations
    from engine.motion.skeleton import SMPL_22
    from trainer.data.corpus import FPS

    places = torch.from_numpy(joints)
    return Motion(
        fps=FPS,
        skeleton=SMPL_22,
        root_translation=places[:, 0],
        local_rotations=solve_local_rotations(places),
        contacts=detect_contacts(places, FPS),
    )


def _as_lifted(motion: Motion, keypoints: Tensor, report: Report) -> Motion:
    """In the place of a fit to the keypoints: the lifter's motion as it is."""
    return motion


def measure_video(video: Path, prior_name: str) -> list[Row]:
    """Capture one video in every way, and tell of each in a line."""
    import torch

    from engine.capture import CaptureOptions, capture
    from engine.capture_job import better_by, make_detector
    from engine.lifters import DEFAULT_LIFTER
    from engine.methods.video_mdm import VideoMdm
    from engine.server.model_store import ModelStore, model_folders
    from engine.video.footage import watch
    from engine.video.frames import Span, film_to_pixels
    from synthetic_measures import measure, read_truth

    store = ModelStore(model_folders(), torch.device("cpu"))
    truth = read_truth(video.with_suffix(".npz"))
    footage = watch(video, Span(), make_detector("blazepose"), _silent)
    lifter = store.load(DEFAULT_LIFTER)
    prior = store.load(prior_name) if prior_name else None
    if prior is not None and not isinstance(prior, VideoMdm):
        raise ValueError(f"The model {prior_name} is no prior: needs one of the method video_mdm")
    better = None if prior is None else better_by(prior, None, 0)
    size = footage.info.image_size
    pixels = float(truth.camera.focal_length[0]) * max(size) / 2
    film = pixels / film_to_pixels(1.0, size)
    rows: list[Row] = []
    for words, focal in (("focal guessed", None), ("focal known", film)):
        options = CaptureOptions(film_focal_length=focal)
        made = {
            "lifter": capture(footage, lifter, options, _silent, refine=_as_lifted),
            "capture": capture(footage, lifter, options, _silent),
        }
        if better is not None:
            made["capture with prior"] = capture(footage, lifter, options, _silent, better=better)
        for way, found in made.items():
            row = Row(
                video=video.stem,
                view=video.stem.rpartition("-")[2],
                way=f"{way}, {words}",
                seen=100 * found.quality.seen_share,
                figures=measure(found.motion, truth, start=found.start),
            )
            rows.append(row)
            figures = {"seen": row.seen, **asdict(row.figures)}
            print(_line(f"{row.video}: {row.way}", figures), flush=True)
    return rows


def _silent(step: int, steps: int) -> None:
    """Progress is told by lines of figures."""


def summary(rows: Sequence[Row]) -> dict[str, dict[str, float]]:
    """Means by view and way, and over all views; of what a video hasn't, over those that have."""
    table: dict[str, dict[str, float]] = {}
    ways = dict.fromkeys(row.way for row in rows)
    views = dict.fromkeys(row.view for row in rows)
    for way in ways:
        for view in (*views, "all"):
            chosen = [
                {"seen": row.seen, **asdict(row.figures)}
                for row in rows
                if row.way == way and view in (row.view, "all")
            ]
            means: dict[str, float] = {"videos": len(chosen)}
            for key in chosen[0] if chosen else ():
                values = [one[key] for one in chosen if one[key] is not None]
                if values:
                    means[key] = round(sum(values) / len(values), 3)
            if chosen:
                table[f"{view}: {way}"] = means
    return table


def is_good(table: dict[str, dict[str, float]]) -> bool:
    """Whether limits are kept, and capture is better than the lifter alone, over all views."""
    limits, good = Limits(), True
    for words in ("focal guessed", "focal known"):
        found, lifted = table[f"all: capture, {words}"], table[f"all: lifter, {words}"]
        good &= found["pa_mpjpe"] <= limits.pa_mpjpe
        good &= found["pa_mpjpe"] < lifted["pa_mpjpe"]
        # a focal length that is guessed makes ways along the view as wrong as it is; of videos in
        # which nobody goes anywhere there is no path
        good &= found.get("path", 0.0) <= limits.path or words == "focal guessed"
    return good


_COLUMNS = {
    "seen": ("seen %", 7, 1),
    "pa_mpjpe": ("PA mm", 7, 1),
    "pa_limbs": ("14 mm", 7, 1),
    "pa_heads": ("heads", 7, 1),
    "mpjpe": ("MPJPE", 7, 1),
    "acceleration": ("m/s2", 6, 2),
    "path": ("path %", 7, 1),
    "scaled_path": ("scaled %", 9, 1),
    "size": ("size %", 7, 1),
    "up": ("up deg", 7, 1),
    "slide": ("slide mm", 9, 2),
}


def _line(name: str, figures: dict[str, float]) -> str:
    cells = [
        f"{'' if figures.get(key) is None else format(figures[key], f'.{digits}f'):>{width}}"
        for key, (_, width, digits) in _COLUMNS.items()
    ]
    return f"{name:46}{''.join(cells)}"


def _print_table(table: dict[str, dict[str, float]]) -> None:
    print(f"\n{'':46}{''.join(f'{head:>{width}}' for head, width, _ in _COLUMNS.values())}")
    for name, figures in table.items():
        print(_line(name, figures))


if __name__ == "__main__":
    environment.require_python()
    environment.set_up([contents.development_part(), contents.blender_part(contents.DEFAULT_BPY)])
    environment.continue_inside(contents.development_part().folder)
    sys.exit(main())
