"""Measures capture on a folder of videos and prints a table.

    .venv/bin/python scripts/check_capture.py ../shared/data/video [--model NAME] [--seconds S]
        [--sheets DIR]

For each video: the share of frames with a person in which one is found (where
scripts/visible_intervals.json tells when somebody is in the picture), and for the largest person
how far the final motion is from the keypoints, how far feet slide, how much it shakes beside the
detector's keypoints, how much bones change; frames per second of the whole, the detector's share
of the time, and the peak of memory. Exit code 1 if a limit isn't kept.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import environment
import environment_contents as contents

if TYPE_CHECKING:
    from engine.video.stretches import Person  # what it imports is there once the set-up has run

INTERVALS = Path(__file__).with_name("visible_intervals.json")
ENDINGS = (".mp4", ".avi", ".mov", ".mkv", ".webm")


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What must be kept."""

    found: float = 0.97
    reprojection: float = 0.02
    slide_mm: float = 2.0
    jitter: float = 0.5
    bones_mm: float = 0.1


def main() -> int:
    """Measure every video of the folder."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("folder", type=Path, help="folder with videos")
    parser.add_argument("--model", default="", help="lifts, or betters a lift (none: default)")
    parser.add_argument("--seconds", type=float, help="only the first seconds of each")
    parser.add_argument("--sheets", type=Path, help="write an overlay sheet of each video here")
    arguments = parser.parse_args()
    videos = sorted(file for file in arguments.folder.glob("*") if file.suffix.lower() in ENDINGS)
    if not videos:
        print(f"{arguments.folder} has no videos ({', '.join(ENDINGS)})", file=sys.stderr)
        return 2
    print(
        f"{'video':40} {'found':>7} {'off':>7} {'slide':>7} {'shake':>7} {'bones':>7} "
        f"{'fps':>6} {'detect':>7} {'MB':>6}"
    )
    kept = [
        measure(video, arguments.model, arguments.seconds, arguments.sheets) for video in videos
    ]
    return 0 if all(kept) else 1


def measure(video: Path, model: str, seconds: float | None, sheets: Path | None) -> bool:
    """Print one line; whether every limit is kept."""
    import torch

    from engine.capture_job import CaptureJob, run_capture
    from engine.motion.kinematics import bone_lengths
    from engine.overlay import write_overlay
    from engine.server.model_store import ModelStore, model_folders
    from engine.video.frames import Span

    store = ModelStore(model_folders(), torch.device("cpu"))
    job = CaptureJob(path=video, model=model, span=Span(seconds=seconds))
    began = time.perf_counter()
    footage, capture = run_capture(job, store, lambda step, steps: None)
    taken = time.perf_counter() - began
    if sheets is not None:
        sheets.mkdir(parents=True, exist_ok=True)
        write_overlay(sheets / f"{video.stem}.png", footage, capture)
    quality, motion = capture.quality, capture.motion
    lengths = bone_lengths(motion.joints(), motion.skeleton)
    bones = 1000 * float((lengths.amax(0) - lengths.amin(0)).max())
    found = found_share(video.name, footage.times.tolist(), footage.people)
    shake = (quality.jitter or 0.0) / (quality.raw_jitter or 1.0)
    off = quality.reprojection_error or 0.0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print(
        f"{video.name[:40]:40} {'' if found is None else f'{found:.1%}':>7} {off:7.2%} "
        f"{quality.slide_mm_per_frame:4.2f} mm {shake:7.2f} {bones:4.2f} mm "
        f"{len(footage.times) / taken:6.1f} {footage.detector_share:7.0%} {peak:6}",
        flush=True,
    )
    limits = Limits()
    return (
        (found is None or found > limits.found)
        and off < limits.reprojection
        and quality.slide_mm_per_frame <= limits.slide_mm
        and shake < limits.jitter
        and bones < limits.bones_mm
    )


def found_share(name: str, times: list[float], people: Sequence[Person]) -> float | None:
    """Of the frames with somebody in the picture those in which somebody is found."""
    intervals = json.loads(INTERVALS.read_text(encoding="utf-8")).get(name)
    if intervals is None:
        return None
    seen: set[int] = set()
    for person in people:
        seen.update(person.frames.tolist())
    visible = [
        frame
        for frame, at in enumerate(times)
        if any(start - 1e-3 <= at < stop - 1e-3 for start, stop in intervals)
    ]
    return len(seen.intersection(visible)) / len(visible) if visible else None


if __name__ == "__main__":
    environment.require_python()
    environment.set_up([contents.engine_part()])
    environment.continue_inside(contents.engine_part().folder)
    sys.exit(main())
