"""Does a lifter get better by clips of which only 2D keypoints are told? The table of HMMR's claim.

    python scripts/experiment_flat_share.py --data ../shared/data/motion/free --runs runs/flat

A tenth of the training clips have 3D; of the others a share of 0, 25, 50 or 100 % is learned from
by keypoints alone. Every run has the same number of steps and sees the same number of windows with
3D in each; those without come on top, or they would take the others' place and more of them would
be less 3D. The critic that keeps poses human is listened to from early on: it is what 2D needs.
`twice` has windows with 3D in the place of those without: what a batch as large gives.
Finished rows are in trainer/results/hmmr_flat_share.json and are not run again.

Source: Kanazawa et al., Learning 3D Human Dynamics from Video, section 4.2, table 3.
"""

from __future__ import annotations

import argparse
import sys
from collections import defaultdict
from pathlib import Path

from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from trainer.experiments import (  # noqa: E402 - the path must be set before
    RESULTS,
    ExperimentError,
    Row,
    add_row,
    evaluate_row,
    read_rows,
    train_row,
)

TABLE = RESULTS / "hmmr_flat_share.json"
SHARES = (0.0, 1.0, 0.25, 0.5)
SEEDS = (0, 1)
TRUTH_SHARE = 0.1
NUM_STEPS = 1_000
WINDOWS = 16  # with 3D, and again as many without where there are clips without
CRITIC_START = 200  # step
FIGURES = ("mpjpe", "pa_mpjpe", "acceleration")


def main() -> int:
    """Run what is missing, then print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, nargs="+", help="corpus folders; none: only print")
    parser.add_argument("--runs", type=Path, default=ROOT / "runs" / "flat-share")
    parser.add_argument("--seeds", type=int, nargs="+", default=SEEDS)
    args = parser.parse_args()
    try:
        for seed in args.seeds if args.data else ():
            for share in SHARES:
                run_one(f"pool-{share:g}-{seed}", share, seed, args)
            run_one(f"twice-{seed}", 0.0, seed, args)
    except ExperimentError as error:
        print(error, file=sys.stderr)
        return 1
    show(read_rows(TABLE))
    return 0


def run_one(name: str, share: float, seed: int, args: argparse.Namespace) -> None:
    """Train and evaluate one row, if it isn't in the table."""
    data: list[Path] = args.data
    if name in {row["name"] for row in read_rows(TABLE)}:
        return
    print(f"{name} …", flush=True)
    is_alone = share == 0 and not name.startswith("twice")
    settings = {
        "truth_share": TRUTH_SHARE,
        "flat_share": share,
        "adversarial_start": CRITIC_START,
        "data.batch_size": WINDOWS if is_alone else 2 * WINDOWS,
        "loop.num_steps": NUM_STEPS,
        "loop.seed": seed,
    }
    options = [word for key, value in settings.items() for word in ("--set", f"{key}={value}")]
    checkpoint, seconds = train_row(name, "hmmr-free", data, args.runs, options)
    report = evaluate_row(checkpoint, data)
    column = next(figures for key, figures in report["figures"].items() if key.endswith(", noisy"))
    add_row(
        TABLE,
        {
            "name": name,
            "flat_share": share,
            "seed": seed,
            "num_steps": NUM_STEPS,
            "seconds": round(seconds),
            "data": [folder.name for folder in data],
            **{key: column[key]["value"] for key in FIGURES},
        },
    )


def show(rows: list[Row]) -> None:
    """Print a line per share: each figure's mean and the seeds' own."""
    table = Table(title=f"HMMR, {TRUTH_SHARE:.0%} of the clips in 3D, {NUM_STEPS:,} steps, noisy")
    for head in ("of the others in 2D", "MPJPE mm", "PA-MPJPE mm", "acceleration m/s²"):
        table.add_column(head, justify="right")
    grouped: dict[str, list[Row]] = defaultdict(list)
    for row in sorted(rows, key=lambda row: row["flat_share"]):
        is_twice = row["name"].startswith("twice")
        grouped["twice the 3D" if is_twice else f"{row['flat_share']:.0%}"].append(row)
    for label, group in grouped.items():
        cells: list[str] = []
        for key in FIGURES:
            values = [row[key] for row in sorted(group, key=lambda row: row["seed"])]
            own = ", ".join(f"{value:.1f}" for value in values)
            cells.append(f"{sum(values) / len(values):.1f} ({own})")
        table.add_row(label, *cells)
    Console(width=120).print(table)


if __name__ == "__main__":
    raise SystemExit(main())
