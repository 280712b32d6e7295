"""Do prompts mean something? Samples prompts worded unlike the captions and measures the motions.

    python3 scripts/check_prompts.py                                 the default model
    python3 scripts/check_prompts.py --model FILE --sheet sheet.png  with a sheet to look at
    python3 scripts/check_prompts.py --validate --data CORPUS        the checks on recorded clips

Passes if 80 % of all samples do what was asked, no prompt fails more than 3 of 5, running is
faster than walking and no turn goes the wrong way more than once in ten.

Exit code 0 passed, 1 not, 2 the words or a file given are wrong.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import chosen_model
import environment

if TYPE_CHECKING:
    from engine.methods.base import Method
    from prompt_checks import Check, Measurement

REQUIRED_SHARE = 0.8
REQUIRED_PER_PROMPT = 0.4  # 2 of 5
REQUIRED_SPEED_RATIO = 1.3  # of running over walking
ALLOWED_WRONG_TURNS = 0.1
WRONG_TURN_DEGREES = 20.0


@dataclass(frozen=True, kw_only=True)
class PromptResult:
    """One prompt over its seeds."""

    name: str
    prompt: str
    passed: tuple[bool, ...]
    measured: tuple[Measurement, ...]


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """Every demand with what was found."""

    share: float
    weakest_prompt: float
    speed_ratio: float
    wrong_turns: float

    @property
    def passed(self) -> bool:
        """Whether every demand is met."""
        return (
            self.share >= REQUIRED_SHARE
            and self.weakest_prompt >= REQUIRED_PER_PROMPT
            and self.speed_ratio >= REQUIRED_SPEED_RATIO
            and self.wrong_turns <= ALLOWED_WRONG_TURNS
        )


def main() -> int:
    """Set up if need be, sample or validate, tell."""
    environment.require_python()
    args = _parser().parse_args()
    chosen_model.enter_environment()
    if args.validate:
        return _validate(args)
    return _check_model(args)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description="Sample prompts worded unlike the captions and measure if the motions do them.",
        epilog="Example: python3 scripts/check_prompts.py --sheet prompts.png",
    )
    parser.add_argument("--model", default="", help="a checkpoint file, or a model's name")
    parser.add_argument("--seeds", type=int, default=5, help="motions per prompt")
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--steps", type=int, help="denoising steps (default: the model's)")
    parser.add_argument("--guidance", type=float, help="guidance scale (default: the model's)")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="actions to check")
    parser.add_argument("--sheet", type=Path, metavar="PNG", help="draw motions of every prompt")
    parser.add_argument("--sheet-seeds", type=int, default=1, metavar="N", help="of each prompt")
    parser.add_argument("--json", action="store_true", help="one JSON object on the last line")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--validate", action="store_true", help="measure recorded clips instead")
    parser.add_argument("--data", type=Path, nargs="+", default=[], help="corpora to validate on")
    return parser


def _check_model(args: argparse.Namespace) -> int:
    from prompt_checks import CHECKS

    unknown = set(args.only or ()) - {check.name for check in CHECKS}
    if unknown or args.seeds < 1:
        known = ", ".join(check.name for check in CHECKS)
        print(
            f"--only {sorted(unknown)}, --seeds {args.seeds}: needs {known}; 1 or more",
            file=sys.stderr,
        )
        return 2
    try:
        method = chosen_model.load_chosen(args.model, args.device)
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    checks = [check for check in CHECKS if not args.only or check.name in args.only]
    results, strips = _sample_all(method, checks, args)
    verdict = judge(results)
    if args.sheet:
        from trainer.evaluation.drawing import draw_sheet

        draw_sheet(args.sheet, strips, num_columns=2)
    _show(results, verdict, sys.stderr if args.json else sys.stdout)
    if args.json:
        print(json.dumps(_as_json(results, verdict, method)))
    return 0 if verdict.passed else 1


def _sample_all(
    method: Method, checks: list[Check], args: argparse.Namespace
) -> tuple[list[PromptResult], list[Any]]:
    from engine.methods.base import Prompt, SampleOptions
    from prompt_checks import measure
    from trainer.evaluation.drawing import Strip

    results: list[PromptResult] = []
    strips: list[Any] = []
    for check in checks:
        for prompt in check.prompts:
            measured: list[Measurement] = []
            for seed in range(args.first_seed, args.first_seed + args.seeds):
                options = SampleOptions(
                    num_frames=round(check.seconds * method.info.fps),
                    seed=seed,
                    num_steps=args.steps,
                    guidance_scale=args.guidance,
                )
                motion = method.run(Prompt(prompt), options, lambda step, num_steps: None)
                joints = motion.joints().numpy()
                measured.append(measure(joints))
                word = "passes" if check.holds(measured[-1]) else "FAILS"
                figures = show_figures(check, measured[-1])
                if seed < args.first_seed + args.sheet_seeds:
                    title = f"{word}: {prompt} ({seed}) {figures}"
                    strips.append(Strip(title=title, joints=joints))
            passed = tuple(check.holds(one) for one in measured)
            results.append(
                PromptResult(
                    name=check.name, prompt=prompt, passed=passed, measured=tuple(measured)
                )
            )
            print(f"{sum(passed)} of {len(passed)}  {prompt}", file=sys.stderr, flush=True)
    return results, strips


def judge(results: list[PromptResult]) -> Verdict:
    """Hold the results against every demand; a demand whose prompts were not run is met."""
    import numpy as np

    passed = [one for result in results for one in result.passed]
    speeds = {
        name: [
            m.fastest_speed for result in results if result.name == name for m in result.measured
        ]
        for name in ("run", "walk forward")
    }
    ratio = float("inf")
    if speeds["run"] and speeds["walk forward"]:
        ratio = float(np.median(speeds["run"]) / max(1e-6, np.median(speeds["walk forward"])))
    signs = {"turn left": 1, "turn right": -1}
    turns = [
        signs[result.name] * m.turn_degrees
        for result in results
        if result.name in signs
        for m in result.measured
    ]
    wrong = sum(turn < -WRONG_TURN_DEGREES for turn in turns)
    return Verdict(
        share=sum(passed) / len(passed),
        weakest_prompt=min(sum(result.passed) / len(result.passed) for result in results),
        speed_ratio=ratio,
        wrong_turns=wrong / max(1, len(turns)),
    )


def show_figures(check: Check, measured: Measurement) -> str:
    """The figures that a check looks at, in a line."""
    return ", ".join(f"{name} {getattr(measured, name):.2f}" for name in check.figures)


def _show(results: list[PromptResult], verdict: Verdict, stream: Any) -> None:
    import numpy as np

    from prompt_checks import CHECKS

    by_name = {check.name: check for check in CHECKS}
    width = max(len(result.prompt) for result in results)
    for result in results:
        medians = ", ".join(
            f"{name} {np.median([getattr(m, name) for m in result.measured]):.2f}"
            for name in by_name[result.name].figures
        )
        count = f"{sum(result.passed)}/{len(result.passed)}"
        line = f"{result.name:16s}  {result.prompt:{width}s}  {count}  median {medians}"
        print(line, file=stream)
    print(
        f"\nAll: {verdict.share:.0%} (needs {REQUIRED_SHARE:.0%}); weakest prompt "
        f"{verdict.weakest_prompt:.0%} (needs {REQUIRED_PER_PROMPT:.0%}); running over walking "
        f"{verdict.speed_ratio:.2f} (needs {REQUIRED_SPEED_RATIO}); turns the wrong way "
        f"{verdict.wrong_turns:.0%} (at most {ALLOWED_WRONG_TURNS:.0%})\n"
        f"{'PASSED' if verdict.passed else 'NOT PASSED'}",
        file=stream,
    )


def _as_json(results: list[PromptResult], verdict: Verdict, method: Method) -> dict[str, Any]:
    finite = {k: (v if v != float("inf") else None) for k, v in asdict(verdict).items()}
    return {
        "model": method.info.name,
        "model_hash": method.info.model_hash,
        "passed": verdict.passed,
        **finite,
        "prompts": [asdict(result) for result in results],
    }


def _validate(args: argparse.Namespace) -> int:
    """Tell how many recorded clips of each action, and of others, pass its check."""
    from prompt_checks import CHECKS, has_action, lacks_action, measure
    from trainer.data.corpus import CorpusError, load_corpus

    try:
        splits = [load_corpus(args.data, split) for split in ("train", "test")]
    except CorpusError as error:
        print(error, file=sys.stderr)
        return 2
    clips = [clip for split in splits for clip in split if not clip.is_mirrored]
    measured = [measure(clip.joints) for clip in clips]
    rows: list[dict[str, Any]] = []
    for check in CHECKS:
        own = [
            m for clip, m in zip(clips, measured, strict=True) if has_action(check, clip.captions)
        ]
        other = [
            m for clip, m in zip(clips, measured, strict=True) if lacks_action(check, clip.captions)
        ]
        row: dict[str, Any] = {"name": check.name, "clips": len(own), "others": len(other)}
        for word, group in (("passed", own), ("others_passed", other)):
            row[word] = sum(check.holds(m) for m in group) / max(1, len(group))
        rows.append(row)
        print(
            f"{check.name:16s}  own action {row['passed']:5.0%} of {len(own):4d} clips   "
            f"other actions {row['others_passed']:5.0%} of {len(other):4d}",
            file=sys.stderr if args.json else sys.stdout,
        )
    if args.json:
        print(json.dumps({"checks": rows}))
    return 0 if all(r["passed"] >= 0.7 and r["others_passed"] <= 0.3 for r in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
