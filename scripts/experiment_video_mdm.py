"""VideoMDM against MDM on the same clips, and without its parts: the table in trainer/results.

    python scripts/experiment_video_mdm.py rows                         the rows there are
    python scripts/experiment_video_mdm.py train ROW ... --data TEACHER --runs RUNS [--steps 2000]
    python scripts/experiment_video_mdm.py words ROW ... [--steps 2000]     for train_away.py
    python scripts/experiment_video_mdm.py evaluate ROW ... --data TEACHER --runs RUNS \\
        --corpus CORPUS
    python scripts/experiment_video_mdm.py table

`TEACHER` comes of `trainer prepare views CORPUS --noise 0 --count 2 --truth --out VIEWS` and
`trainer prepare teacher VIEWS --learned CORPUS --on-rays --out TEACHER`: exact keypoints, as in the
paper, and the truth, which row mdm learns from and lifting is measured by. Rows mdm-on-teacher,
light-features and own-place have teachers as they are lifted, without `--on-rays`, and so has
`evaluate` for any row, since lifting is measured against the lifter; row noisy has views of
`--noise 1`, row estimated teachers of `--cameras estimated`. `CORPUS` is the motion corpus behind
them, whose test split text-to-motion is measured on. All rows have the same network, steps, clips,
captions and evaluator. `train` goes on with a run that was stopped, and skips a row whose run is
done; each row may be a process of its own. `evaluate` appends to trainer/results/video_mdm.json
and skips what is there.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "trainer" / "results" / "video_mdm.json"
PRESET = "video-mdm-free"
LIFTED = 4  # one test clip of so many is lifted, which takes as long as sampling all captions
TRUTH = ("teacher=truth", "supervision=3d")
TAUGHT = ("supervision=3d",)
LIGHT = ("losses.features=1",)
TRUE_TEACHER = (*LIGHT, "teacher=truth")
NO_RAYS = ("losses.features=0", "losses.rays=0")
ROWS: dict[str, tuple[str, tuple[str, ...]]] = {  # what it is, and what it changes
    "mdm": ("MDM on the true motions (3D supervision)", TRUTH),
    "video-mdm": ("VideoMDM", ()),
    "mdm-on-teacher": ("MDM on the teacher's motions, as if they were true", TAUGHT),
    "mdm-seed-1": ("MDM, second seed", (*TRUTH, "loop.seed=1")),
    "video-mdm-seed-1": ("VideoMDM, second seed", ("loop.seed=1",)),
    "mdm-on-teacher-seed-1": ("MDM on the teacher's, second seed", (*TAUGHT, "loop.seed=1")),
    "light-features": ("positions on the rays weighed as MDM weighs them", LIGHT),
    "own-place": (
        "the same, and the body put onto its rays where the prediction has led it",
        (*LIGHT, "placed_as=own"),
    ),
    "true-teacher": ("the truth noised, 2D learned from; else light-features", TRUE_TEACHER),
    "no-depth": ("without the depth weight", ("depth.power=0",)),
    "first-power": ("the depth weight's first power", ("depth.power=1",)),
    "no-velocity": ("without the velocity term", ("losses.velocity=0",)),
    "no-alignment": ("without alignment", ("losses.alignment=0",)),
    "no-t-star": ("the teacher noised at all levels", ("low_noise.scheme=off",)),
    "late-t-star": ("t* at 24 instead of 12", ("low_noise.t_star=24",)),
    "no-rays": ("without features, steps and paths on the rays", NO_RAYS),
    "estimated": ("cameras estimated by the lifter", ("cameras=estimated",)),
    # the same settings on other teachers: prepare views --noise 1
    "noisy": ("keypoints with a detector's noise", ()),
}
COLUMNS = (
    ("fid", "FID"),
    ("kid", "KID x 100"),
    ("r_precision_1", "R top 1"),
    ("r_precision_3", "R top 3"),
    ("mm_distance", "MM-dist"),
    ("diversity", "diversity"),
    ("low_foot_skate_mm", "toe slide, mm"),
    ("jitter", "jitter"),
    ("teacher_mpjpe", "teacher MPJPE"),
    ("rays_mpjpe", "on rays"),
    ("lift_mpjpe", "lift MPJPE"),
    ("teacher_world_mpjpe", "in the world"),
    ("rays_world_mpjpe", "on rays"),
    ("lift_world_mpjpe", "lift"),
)


def main() -> int:
    """Read the words and do what they say."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("rows", help="list the rows")
    commands.add_parser("table", help="print what has been measured")
    for name, text in (
        ("train", "train rows, one after the other"),
        ("words", "print the words that scripts/train_away.py wants for rows"),
        ("evaluate", "measure trained rows"),
    ):
        one = commands.add_parser(name, help=text)
        one.add_argument("rows", nargs="*", metavar="ROW", help="default: all")
        one.add_argument("--data", default="", help="the folder of teacher motions")
        one.add_argument("--steps", type=int, default=2_000)
        one.add_argument("--runs", type=Path, default=ROOT / "runs" / "video-mdm")
        one.add_argument("--results", type=Path, default=RESULTS)
        if name == "train":
            one.add_argument("--minutes", type=float, help="stop (resumable) after this long")
        if name == "evaluate":
            one.add_argument("--corpus", type=Path, required=True)
            one.add_argument("--seeds", type=int, default=1, help="times each caption is sampled")
            one.add_argument("--limit", type=int, help="clips (a quick look, not written down)")
            one.add_argument("--device", default="cpu")
    args = parser.parse_args()
    sys.path.insert(0, str(ROOT))
    if args.command == "rows":
        print("\n".join(f"{name:22} {text}" for name, (text, _) in ROWS.items()))
        return 0
    if args.command == "table":
        show(_read(RESULTS))
        return 0
    unknown = [row for row in args.rows if row not in ROWS]
    if unknown:
        print(f"There is no row {unknown[0]!r}: {', '.join(ROWS)}", file=sys.stderr)
        return 2
    rows = args.rows or list(ROWS)
    if args.command == "words":
        print("\n".join(f'"{row} = {" ".join(words_of(row, args))}"' for row in rows))
        return 0
    return max([(train if args.command == "train" else evaluate)(row, args) for row in rows])


def words_of(row: str, args: argparse.Namespace) -> list[str]:
    """The words of `trainer train` for a row."""
    settings = (f"loop.num_steps={args.steps}", *ROWS[row][1])
    words = [PRESET, *(word for setting in settings for word in ("--set", setting))]
    return [*words, "--data", args.data] if args.data else words


def train(row: str, args: argparse.Namespace) -> int:
    """Train a row, or go on with it."""
    run = args.runs / row
    if _steps_of(run) >= args.steps:
        print(f"{row}: done")
        return 0
    command = [sys.executable, "-m", "trainer", "train", *words_of(row, args), "--out", str(run)]
    if (run / "training-state.json").is_file():
        command.append("--resume")
    if args.minutes:
        command += ["--minutes", str(args.minutes)]
    environment = {"OMP_NUM_THREADS": "1", **os.environ}
    return subprocess.run(command, cwd=ROOT, check=False, env=environment).returncode


def evaluate(row: str, args: argparse.Namespace) -> int:
    """Measure a trained row and append its figures."""
    from engine.checkpoint import read_info

    path = args.runs / row / "best.safetensors"
    if not path.is_file():
        print(f"{row}: not trained", file=sys.stderr)
        return 0
    info = read_info(path)
    if any(found["model_hash"] == info.model_hash for found in _read(args.results)):
        print(f"{row}: measured")
        return 0
    started = time.monotonic()
    figures = measure(path, args)
    found: dict[str, Any] = {
        "row": row,
        "what": ROWS[row][0],
        "steps": _steps_of(args.runs / row),
        "seed": info.training["seed"],
        "model_hash": info.model_hash,
        "best_step": info.training["step"],
        "sampling_seeds": args.seeds,
        "figures": figures,
    }
    print(f"{row}: measured in {time.monotonic() - started:.0f} s")
    if args.limit is None:
        _append(args.results, found)
    show([found])
    return 0


def measure(path: Path, args: argparse.Namespace) -> dict[str, dict[str, float]]:
    """Text to motion against the corpus's test split, and lifts made better."""
    from dataclasses import asdict

    import torch

    from engine.methods import load_method
    from engine.methods.video_mdm import VideoMdm
    from trainer.data.corpus import load_corpus
    from trainer.data.teacher_corpus import load_teacher_clips
    from trainer.evaluation.evaluate import measure_samples, prepare_real, sample_split
    from trainer.evaluation.evaluator_network import SHIPPED, load_evaluator
    from trainer.evaluation.refinement import measure_refinement

    method = load_method(path, torch.device(args.device))
    assert isinstance(method, VideoMdm)
    evaluator, _ = load_evaluator(SHIPPED)
    stride = 1 if args.limit is None else 7
    real = prepare_real(load_corpus([args.corpus], "test")[::stride][: args.limit], evaluator)
    samples = [sample_split(method, real, seed, lambda: None) for seed in range(args.seeds)]
    figures = measure_samples(real, samples, evaluator)
    clips = load_teacher_clips([Path(args.data)], "test")[:: LIFTED * stride][: args.limit]
    figures |= measure_refinement(method, clips)
    return {name: asdict(value) for name, value in figures.items()}


def show(rows: list[dict[str, Any]]) -> None:
    """The figures as a table on the terminal."""
    from rich.console import Console
    from rich.table import Table

    table = Table("row", "steps", *(label for _, label in COLUMNS))
    for row in rows:
        figures = row["figures"]
        cells = [_cell(figures.get(key)) for key, _ in COLUMNS]
        table.add_row(row["row"], str(row["steps"]), *cells)
    Console(width=190).print(table)


def _cell(estimate: dict[str, float] | None) -> str:
    if estimate is None:
        return ""
    return f"{estimate['value']:.3g} ± {estimate['half_width']:.2g}"


def _steps_of(run: Path) -> int:
    path = run / "stats.jsonl"
    rows = path.read_text().splitlines() if path.is_file() else []
    return int(json.loads(rows[-1])["step"]) if rows else 0


def _read(path: Path) -> list[dict[str, Any]]:
    return json.loads(path.read_text()) if path.is_file() else []


def _append(path: Path, row: dict[str, Any]) -> None:
    """Add a row; several processes may do so at once."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = path.with_suffix(".lock")
    while True:
        try:
            os.close(os.open(lock, os.O_CREAT | os.O_EXCL))
            break
        except FileExistsError:
            time.sleep(0.2)
    try:
        partial = path.with_suffix(".partial")
        partial.write_text(json.dumps([*_read(path), row], indent=1) + "\n")
        partial.replace(path)
    finally:
        lock.unlink()


if __name__ == "__main__":
    raise SystemExit(main())
