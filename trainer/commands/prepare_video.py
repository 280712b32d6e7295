"""`trainer prepare video`: videos of people as a corpus of 2D keypoint clips with captions.

People are followed shot by shot at 20 frames a second; a clip is 2 to 9.8 seconds long. The result
has the layout of `prepare views`, for `prepare teacher` and then `train`. Started again after it
was stopped, it goes on; a video that can't be read is named and left out.

Captions: --captions TABLE.csv with the columns video, caption and, as wanted, start, end (seconds)
and split (train, val, test); else NAME.txt beside the video, a caption a line; else the file's own
name (jumping_jacks_03.mp4: "a person does jumping jacks"); else --caption.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from engine.video.keypoints import DetectorError
from trainer.commands.work_progress import WorkProgress
from trainer.data.corpus import CorpusError
from trainer.data.video_corpus import (
    VideoPart,
    VideoWork,
    keep_part,
    known_part,
    read_work,
    write_index,
)
from trainer.data.video_sources import VideoSource, captioned, find_videos
from trainer.data.video_views import ClipSettings
from trainer.spread import Progress, SpreadError, run_in_processes, run_on_ray

log = logging.getLogger(__name__)

EPILOG = "example: python -m trainer prepare video videos/ --captions captions.csv --out views/mine"
NO_CAPTION = "there is no caption of it: write one in --captions, in its .txt, or with --caption"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.epilog = EPILOG
    parser.add_argument("videos", type=Path, nargs="+", metavar="VIDEO", help="files and folders")
    parser.add_argument("--out", type=Path, required=True, help="folder to write")
    parser.add_argument(
        "--captions", type=Path, metavar="TABLE", help="what is done in them (.csv)"
    )
    parser.add_argument("--caption", metavar="TEXT", help="of videos for which there is no other")
    parser.add_argument(
        "--people",
        choices=("largest", "all"),
        default="largest",
        help="who is taken of each shot (default: largest)",
    )
    parser.add_argument("--detector", choices=("blazepose", "rtmpose"), default="blazepose")
    parser.add_argument("--min-seconds", type=float, default=2.0, help="of a clip (default: 2)")
    parser.add_argument("--max-seconds", type=float, default=9.8, help="of a clip (default: 9.8)")
    parser.add_argument("--jobs", type=int, default=1, metavar="N", help="processes (default: 1)")
    parser.add_argument(
        "--ray", metavar="ADDRESS", help="spread over this Ray cluster (auto: the one that runs)"
    )
    parser.add_argument(
        "--overwrite",
        action="store_true",
        help="write into a folder that is used; what was read of files that haven't changed counts",
    )
    parser.add_argument("--json", action="store_true", help="one JSON object on the last line")


def run(args: argparse.Namespace) -> int:
    """Write the corpus; 0 when done, 1 when no clip is left, 2 when the words are wrong."""
    try:
        sources = _sources(args)
        settings = _settings(args)
        _check_detector(settings)
    except (CorpusError, ValueError, DetectorError) as error:
        print(error, file=sys.stderr)
        return 2
    return prepare(sources, settings, args.out, args)


def prepare(
    sources: Sequence[VideoSource], settings: ClipSettings, out: Path, args: argparse.Namespace
) -> int:
    """Read what isn't read yet, and write the index."""
    works = [VideoWork(source=source, settings=settings) for source in sources if source.parts]
    known = {work.source.video_id: known_part(out, work) for work in works}
    wanted = [work for work in works if known[work.source.video_id] is None]
    reused = len(works) - len(wanted)
    if reused:
        log.info("%d videos were read before: going on", reused)
    try:
        _read(wanted, known, out, args)
    except SpreadError as error:
        print(error, file=sys.stderr)
        return 2
    parts = {video_id: part for video_id, part in known.items() if part is not None}
    done = [(source, parts[source.video_id]) for source in sources if source.video_id in parts]
    left_out = _left_out(sources, parts)
    counts = write_index(out, done)
    return _say(args, len(sources), reused, counts, left_out)


def _read(
    wanted: Sequence[VideoWork],
    known: dict[str, VideoPart | None],
    out: Path,
    args: argparse.Namespace,
) -> None:
    if not wanted:
        return
    if args.ray:
        results = run_on_ray(read_work, wanted, args.ray)
    else:
        results = run_in_processes(read_work, wanted, args.jobs)
    sizes = [max(1, _size(work.source.path)) for work in wanted]
    with closing(results), WorkProgress("Reading videos", "videos", sizes) as progress:
        for told in results:
            if isinstance(told, Progress):
                progress.under_way(told.index, told.done)
                continue
            work = wanted[told.index]
            part = keep_part(out, work, told.error or told.result)
            known[work.source.video_id] = part
            progress.finished(told.index, is_left_out=not part.rows)
            for reason in (*part.left_out, *filter(None, (part.error,))):
                log.warning("Left out of %s: %s", work.source.name, reason)
            for note in part.notes:
                log.warning("%s", note)


def _sources(args: argparse.Namespace) -> list[VideoSource]:
    if args.jobs < 1:
        raise ValueError(f"--jobs is {args.jobs}, needs 1 or more")
    if (args.out / "index.jsonl").exists() and not args.overwrite:
        raise ValueError(f"{args.out} holds a corpus already: choose another, or --overwrite")
    sources, warnings = captioned(find_videos(args.videos), args.captions, args.caption)
    for warning in warnings:
        log.warning("%s", warning)
    for source in sources:
        if not source.parts:
            log.warning("Left out %s: %s", source.name, NO_CAPTION)
    return sources


def _settings(args: argparse.Namespace) -> ClipSettings:
    return ClipSettings(
        people=args.people,
        detector=args.detector,
        least_frames=round(20 * args.min_seconds),
        most_frames=round(20 * args.max_seconds),
    )


def _check_detector(settings: ClipSettings) -> None:
    """Said once and at the start, not of every video."""
    if settings.detector == "blazepose":
        from engine.video.blazepose import weight_files

        weight_files()
    else:
        from engine.capture_job import make_detector

        make_detector(settings.detector)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 1


def _left_out(sources: Sequence[VideoSource], parts: dict[str, VideoPart]) -> list[dict[str, str]]:
    """Every video, and every stretch of one, that isn't in the corpus, with the reason."""
    rows: list[dict[str, str]] = []
    for source in sources:
        part = parts.get(source.video_id)
        reasons = (NO_CAPTION,) if part is None else (*filter(None, (part.error,)), *part.left_out)
        rows += [{"video": source.name, "reason": reason} for reason in reasons]
    return rows


def _say(
    args: argparse.Namespace,
    num_videos: int,
    reused: int,
    counts: dict[str, int],
    left_out: list[dict[str, str]],
) -> int:
    clips = sum(counts.values())
    told = ", ".join(f"{count} of {split}" for split, count in counts.items())
    without = len({row["video"] for row in left_out})
    print(
        f"Wrote {clips} clips of {num_videos} videos to {args.out} ({told}); of {without} videos "
        "something or all was left out",
        file=sys.stderr,
    )
    if args.json:
        told_json: dict[str, Any] = {"folder": str(args.out), "videos": num_videos}
        told_json |= {"read_before": reused, "clips": clips, **counts, "left_out": left_out}
        print(json.dumps(told_json))
    if clips:
        return 0
    print("No clip is left: the reasons are above", file=sys.stderr)
    return 1
