"""What do 2D views give a text-to-motion model? The table of CrossDiff's claims in our setting.

    python scripts/experiment_crossdiff.py list
    python scripts/experiment_crossdiff.py train NAME ... --data CORPUS --runs RUNS
    python scripts/experiment_crossdiff.py evaluate [NAME ...] --data CORPUS --runs RUNS
    python scripts/experiment_crossdiff.py sheet NAME ... --data CORPUS --runs RUNS --out PNG
    python scripts/experiment_crossdiff.py show
    python scripts/experiment_crossdiff.py halves --data CORPUS --out FOLDER

Every row is a run of the same network, data and number of steps, those of the preset (which is the
row `full`); `list` prints what each changes, as `scripts/train_away.py train` reads it. Evaluation
is apart from training and goes over the runs that are there; finished rows stand in
trainer/results/crossdiff.json and are not made again. Rows named after an action have none of it in
3D: it is never seen, or seen as views from the start; `crouches-wild` goes on from `crouches-never`
with crouches as wild footage, `crouches-often` for three times as many steps. Rows that end in
-longer go on from a row for half as many steps again, in space alone; -1 is a second seed. `halves`
trains the evaluators of FID-U and FID-L that evaluation takes from trainer/evaluation.

Source: CrossDiff, ECCV 2024, tables 1 and 3, figure 6.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from action_measures import (  # noqa: E402
    HELD_OUT,
    action_figures,
    made_motions,
    measured_on,
    real_motions,
    shown_part,
)
from engine.methods import load_method  # noqa: E402 - the path must be set before
from engine.methods.crossdiff import CrossDiff  # noqa: E402
from engine.networks import text_encoder  # noqa: E402
from trainer.data.corpus import load_corpus  # noqa: E402
from trainer.evaluation.drawing import Strip, draw_sheet  # noqa: E402
from trainer.evaluation.evaluate import (  # noqa: E402
    RealClips,
    measure_floor,
    measure_real,
    measure_samples,
    prepare_real,
    sample_split,
)
from trainer.evaluation.evaluator_network import (  # noqa: E402
    PARTS,
    Evaluator,
    load_evaluator,
    load_halves,
)
from trainer.experiments import (  # noqa: E402
    RESULTS,
    ExperimentError,
    Row,
    add_row,
    read_rows,
    train_row,
)

TABLE = RESULTS / "crossdiff.json"
PRESET = "crossdiff-free"
NUM_STEPS = 1_200  # the preset's: half an hour of one core, a third of that without views
ALPHAS = (0.0, 0.3, 0.6, 1.0)
MIXED = "full"  # the row that mixtures are sampled from
SPACE_ALONE = ("weights.flat_solid=0", "weights.solid_flat=0", "weights.flat_flat=0")
HALF = "data.solid_share=0.5"
WITHOUT = {plural: f"data.held_out={held.action}" for plural, held in HELD_OUT.items()}
AS_VIEWS = "data.flat_share=1"  # of what has no 3D
ROWS: dict[str, tuple[str, ...]] = {
    "space": SPACE_ALONE,
    "full": (),
    "half": (HALF, *SPACE_ALONE),
    "half-and-views": (HALF, AS_VIEWS),
    "apart": ("model.unified.has_shared=false",),
    "one-view": ("data.num_views=1",),
    "four-views": ("data.num_views=4",),  # as published; "full" has any azimuth
    **{f"{plural}-never": (without,) for plural, without in WITHOUT.items()},
    **{f"{plural}-as-views": (without, AS_VIEWS) for plural, without in WITHOUT.items()},
}
AGAIN = ("space", "full", "half", "half-and-views", "apart")  # with a second seed
SPACE_STAGE = ("loop.num_steps=600", "solid_stage=0.999", "weights.kept=0")
WILD_STAGE = ("loop.num_steps=400", "solid_stage=0", "wild_stage=0.99", "data.unknown_share=0.3")
LATER: dict[str, tuple[str, tuple[str, ...]]] = {  # the row that each goes on from, and how
    "space-longer": ("space", (*SPACE_STAGE, *SPACE_ALONE)),
    "space-longer-1": ("space-1", (*SPACE_STAGE, *SPACE_ALONE)),
    "full-longer": ("full", SPACE_STAGE),
    "full-longer-1": ("full-1", SPACE_STAGE),
    **{
        f"{plural}-wild": (f"{plural}-never", (*WILD_STAGE, without, AS_VIEWS))
        for plural, without in WITHOUT.items()
    },
    "crouches-often": (  # three times as many clips are told by views as of hangs or kicks
        "crouches-never",
        (*WILD_STAGE, "loop.num_steps=1200", WITHOUT["crouches"], AS_VIEWS),
    ),
}
SHOWN = (
    ("fid", "FID"),
    ("fid_upper", "FID-U"),
    ("fid_lower", "FID-L"),
    ("r_precision_1", "R top 1"),
    ("r_precision_3", "R top 3"),
    ("mm_distance", "MM-dist"),
    ("diversity", "Diversity"),
)
ACTION_FIGURES = ("ahead", "mm_distance", "length", "share")


def settings_of(name: str) -> list[str]:
    """The --set values of a row; a name that ends in -1 has the second seed."""
    if name not in all_names():
        raise ExperimentError(f"There is no row {name!r}: {', '.join(all_names())}")
    base = name.removesuffix("-1")
    seed = f"loop.seed={int(name != base)}"
    if name in LATER:
        return [seed, "loop.warmup_steps=50", *LATER[name][1]]
    return [seed, f"loop.num_steps={NUM_STEPS}", *ROWS[base]]


def all_names() -> list[str]:
    """Every row that is trained; none comes before what it goes on from."""
    return [*ROWS, *(f"{name}-1" for name in AGAIN), *LATER]


def main() -> int:
    """Read the words and do what they say."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("verb", choices=("list", "train", "evaluate", "sheet", "show", "halves"))
    parser.add_argument("names", nargs="*", help="rows; none: all")
    parser.add_argument("--data", type=Path, nargs="+", default=[])
    parser.add_argument("--runs", type=Path, default=ROOT / "runs" / "crossdiff")
    parser.add_argument("--table", type=Path, default=TABLE)
    parser.add_argument("--seeds", type=int, default=2, help="times each caption is sampled")
    parser.add_argument("--jobs", type=int, default=1, help="rows evaluated side by side")
    parser.add_argument("--minutes", type=float, default=8.0, help="of an evaluator's training")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--text-encoder", type=Path, help="folder, where it isn't installed")
    parser.add_argument("--out", type=Path, default=ROOT / "runs" / "crossdiff.png")
    args = parser.parse_args()
    try:
        if args.verb == "list":
            list_rows(args.names or [name for name in all_names() if name not in LATER])
        elif args.verb == "train":
            for name in args.names or all_names():
                train(name, args)
        elif args.verb == "evaluate":
            evaluate(args)
        elif args.verb == "sheet":
            sheet(args)
        elif args.verb == "halves":
            halves(args)
        if args.verb in ("evaluate", "show"):
            show(read_rows(args.table))
    except ExperimentError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def list_rows(names: Sequence[str]) -> None:
    """Print rows as `scripts/train_away.py train` reads them."""
    for name in names:
        if name in LATER:
            raise ExperimentError(f"{name} goes on from {LATER[name][0]} and can't be listed")
        words = " ".join(f"--set {setting}" for setting in settings_of(name))
        print(f'"{name} = {PRESET} {words}"')


def train(name: str, args: argparse.Namespace) -> None:
    """Train a row, or go on with it."""
    options = [word for setting in settings_of(name) for word in ("--set", setting)]
    if name in LATER:
        base = LATER[name][0]
        start = args.runs / base / "best.safetensors"
        if not start.is_file():
            raise ExperimentError(f"{name} goes on from {base}, which isn't trained yet: {start}")
        options += ["--init", str(start)]
    train_row(name, PRESET, args.data, args.runs, options)


@dataclass(frozen=True)
class Task:
    """One row of the table to be evaluated."""

    name: str
    checkpoint: Path
    alpha: float | None
    data: tuple[Path, ...]
    seeds: int
    device: str
    text_encoder: Path | None


def evaluate(args: argparse.Namespace) -> None:
    """Make the rows whose runs are there and that aren't in the table."""
    found = {row["name"] for row in read_rows(args.table)}
    tasks: list[Task] = []
    for name in args.names or all_names():
        mixtures = ALPHAS if name == MIXED else ()
        for alpha in (None, *mixtures):
            title = name if alpha is None else f"{name}-alpha-{alpha:g}"
            checkpoint = args.runs / name / "best.safetensors"
            if title not in found and checkpoint.is_file():
                shared = (tuple(args.data), args.seeds, args.device, args.text_encoder)
                tasks.append(Task(title, checkpoint, alpha, *shared))
    if "real" not in found and tasks:
        add_row(args.table, measure_reference(tasks[0]))
    with ProcessPoolExecutor(args.jobs, mp_context=get_context("spawn")) as pool:
        for row in pool.map(measure, tasks):
            add_row(args.table, row)
            print(row["name"], flush=True)


def measure_reference(task: Task) -> Row:
    """The row of the real clips, with one half of them against the other."""
    evaluator, real = _judges(task)
    clips = [clip for split in ("train", "test") for clip in load_corpus(task.data, split)]
    return {
        "name": "real",
        "figures": _plain(measure_real(real) | measure_floor(real)),
        "actions": {
            plural: action_figures(held, *real_motions(clips, held), evaluator, real)
            for plural, held in measured_on("real").items()
        },
    }


def measure(task: Task) -> Row:
    """One row: figures over the test split, and of some rows how far an action is that action."""
    torch.set_num_threads(1)
    evaluator, real = _judges(task)
    method = _method(task.checkpoint, task.device)
    method = method if task.alpha is None else method.mixed(task.alpha)
    samples = [sample_split(method, real, seed, lambda: None) for seed in range(task.seeds)]
    training = method.info.training
    row: Row = {
        "name": task.name,
        "figures": _plain(measure_samples(real, samples, evaluator)),
        "million_parameters": sum(p.numel() for p in method.network.parameters()) / 1e6,
        "steps": training["step"],
        "stage": training["stage"],
        "seed": training["seed"],
        "datasets": training["datasets"],
        "validation": training["validation"],
        "num_samples": sum(map(len, samples)),
        "model_hash": method.info.model_hash,
    }
    actions = {
        plural: action_figures(held, *made_motions(method, held), evaluator, real)
        for plural, held in measured_on(task.name).items()
    }
    return row | ({"actions": actions} if actions else {})


def halves(args: argparse.Namespace) -> None:
    """Train the evaluators of the upper and the lower body, side by side."""
    words = ["--data", *map(str, args.data), "--minutes", str(args.minutes), "--overwrite"]
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        started = [
            pool.submit(
                run_trainer,
                ["evaluator", "--part", part, "--out", str(args.out / f"evaluator-{part}"), *words],
                args.text_encoder,
            )
            for part in PARTS[1:]
        ]
        for part, future in zip(PARTS[1:], started, strict=True):
            if future.result() == 2:
                raise ExperimentError(f"The evaluator of the {part} body wasn't trained")


def run_trainer(words: list[str], encoder: Path | None) -> int:
    """A verb of the trainer in this process."""
    from trainer.__main__ import main as trainer_main

    _use_encoder(encoder)
    torch.set_num_threads(max(1, (os.cpu_count() or 2) // 2))  # two of them run
    return trainer_main(words)


def sheet(args: argparse.Namespace) -> None:
    """Draw what the named rows make of an action that they share, one under the other."""
    shared = [set(measured_on(name)) for name in args.names]
    plurals = [plural for plural in HELD_OUT if shared and all(plural in own for own in shared)]
    if not plurals:
        raise ExperimentError("Name rows that are measured on one action, such as crouches-never")
    methods = {
        name: _method(args.runs / name / "best.safetensors", args.device) for name in args.names
    }
    strips: list[Strip] = []
    for held in map(HELD_OUT.__getitem__, plurals):
        made = {name: made_motions(method, held, 1)[0] for name, method in methods.items()}
        for number, prompt in list(enumerate(held.prompts))[::2]:
            strips += [
                Strip(title=f"{name}: {prompt}", joints=shown_part(held, motions[number]))
                for name, motions in made.items()
            ]
    draw_sheet(args.out, strips)
    print(args.out)


def show(rows: list[Row]) -> None:
    """Print the table."""
    table = Table(title=f"CrossDiff, {NUM_STEPS:,} steps a row, test split")
    table.add_column("row", no_wrap=True)
    for _, title in SHOWN:
        table.add_column(title, justify="right")
    for row in rows:
        figures = row["figures"]
        cells = [f"{figures[key]['value']:.3f}" if key in figures else "" for key, _ in SHOWN]
        table.add_row(row["name"], *cells)
    console = Console(width=140)
    console.print(table)
    console.print(_actions_table(rows))


def _actions_table(rows: list[Row]) -> Table:
    table = Table(title="Actions held out, 64 motions a row")
    for title in ("action", "row", "ahead", "MM-dist", "metres", "share"):
        table.add_column(title, no_wrap=True)
    for plural in HELD_OUT:
        for row in rows:
            if figures := row.get("actions", {}).get(plural):
                cells = [f"{figures[key]:.2f}" for key in ACTION_FIGURES]
                table.add_row(plural, row["name"], *cells)
    return table


def _use_encoder(folder: Path | None) -> None:
    if folder is not None:
        text_encoder.find_weights = lambda: folder


def _judges(task: Task) -> tuple[Evaluator, RealClips]:
    _use_encoder(task.text_encoder)
    evaluator, _ = load_evaluator()
    return evaluator, prepare_real(load_corpus(task.data, "test"), evaluator, load_halves())


def _method(checkpoint: Path, device: str) -> CrossDiff:
    if not checkpoint.is_file():
        raise ExperimentError(f"There is no run {checkpoint}")
    method = load_method(checkpoint, torch.device(device))
    assert isinstance(method, CrossDiff)
    return method


def _plain(figures: dict[str, Any]) -> dict[str, dict[str, float]]:
    return {name: asdict(estimate) for name, estimate in figures.items()}


if __name__ == "__main__":
    raise SystemExit(main())
