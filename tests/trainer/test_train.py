"""Training from the command line: it learns, stops, resumes to the bit, and refuses."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from engine.checkpoint import read_info
from engine.methods import load_method
from engine.methods.base import Prompt, SampleOptions
from trainer.__main__ import main
from trainer.config import ConfigError, apply_overrides
from trainer.loop import LoopSettings
from trainer.low_noise import draw_timesteps
from trainer.presets import PRESETS


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trainer.data.examples.user_cache_dir", lambda *_, **__: str(tmp_path))


def train(corpus: Path, run: Path, *extra: str) -> int:
    return main(["train", "mdm-smoke", "--data", str(corpus), "--out", str(run), *extra])


def figures(run: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (run / "stats.jsonl").read_text().splitlines()]


def test_twenty_steps_lower_the_held_out_error_and_can_be_sampled(
    corpus: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    assert train(corpus, run, "--set", "loop.num_steps=40") == 0
    validation = [row["validation"] for row in figures(run) if "validation" in row]
    assert validation[-1] < 0.9 * validation[0]
    info = read_info(run / "best.safetensors")
    assert info.training["datasets"] == ["made"]
    assert "a person walks and turns left" not in info.extra["captions"][:1]
    assert json.loads((run / "config.json").read_text())["loop"]["num_steps"] == 40
    assert list((run / "tensorboard").iterdir())
    method = load_method(run / "best.safetensors", torch.device("cpu"))
    options = SampleOptions(num_frames=30, seed=1, num_steps=2)
    motion = method.run(Prompt("a person walks"), options, lambda step, of: None)
    assert motion.joints().isfinite().all()


def test_a_resumed_run_is_the_run_that_never_stopped(corpus: Path, tmp_path: Path) -> None:
    whole, halves = tmp_path / "whole", tmp_path / "halves"
    settings = ("--set", "model.denoiser.dropout=0.1", "--set", "loop.decay_fraction=0.5")
    assert train(corpus, whole, *settings) == 0
    assert train(corpus, halves, *settings, "--minutes", "0") == 0  # stops after one step
    assert train(corpus, halves, *settings, "--resume") == 0
    expected = load_file(whole / "training-state.safetensors")
    found = load_file(halves / "training-state.safetensors")
    assert expected.keys() == found.keys()
    assert all(expected[name].equal(found[name]) for name in expected)
    # the curve too, but for the validation where it was stopped
    curves = [[row for row in figures(run) if "loss" in row] for run in (whole, halves)]
    assert curves[0] == curves[1]


def test_dry_run_prints_the_configuration_and_writes_nothing(
    corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train(corpus, tmp_path / "run", "--dry-run", "--set", "batch_size=5") == 0
    assert json.loads(capsys.readouterr().out)["batch_size"] == 5
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        (("--set", "batch_sise=5"), "there is no 'batch_sise'"),
        (("--set", "loop.num_steps=many"), "needs a int"),
        (("--set", "prompt_dropout=2"), "needs 0 to 1"),
        (("--resume",), "holds no run to resume"),
    ],
)
def test_wrong_words_give_a_line_and_exit_code_2(
    corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], extra, message: str
) -> None:
    assert train(corpus, tmp_path / "run", *extra) == 2
    error = capsys.readouterr().err
    assert message in error
    assert "Traceback" not in error


def test_a_folder_with_a_run_is_not_written_over(
    corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "training-state.json").write_text("{}")
    assert train(corpus, tmp_path) == 2
    assert "--resume" in capsys.readouterr().err
    assert main(["train", "nothing", "--data", str(corpus), "--out", str(tmp_path / "x")]) == 2


def test_overrides_reach_down_and_leave_the_preset_alone() -> None:
    preset = PRESETS["mdm-free"].training
    changed = apply_overrides(preset, ["model.denoiser.width=64", "licence=mine"])
    assert (changed.model.denoiser.width, changed.licence) == (64, "mine")
    assert preset.model.denoiser.width != 64
    with pytest.raises(ConfigError, match="has no '='"):
        apply_overrides(preset, ["loop.num_steps"])


def test_the_learning_rate_rises_stays_and_falls() -> None:
    settings = LoopSettings(num_steps=100, warmup_steps=10, decay_fraction=0.3)
    factors = [settings.rate_factor(step) for step in range(1, 101)]
    assert factors[0] == pytest.approx(0.1)
    assert factors[30] == pytest.approx(1.0)
    assert factors[-1] == pytest.approx(0.05)
    assert all(a >= b for a, b in itertools.pairwise(factors[30:]))


def test_a_share_of_the_timesteps_is_from_the_noisiest_eighth() -> None:
    share = high_noise_share(PRESETS["mdm-free"].training.noisiest_share)
    assert share == pytest.approx(0.4 + 0.6 / 8, abs=0.02)
    assert high_noise_share(0.0) == pytest.approx(1 / 8, abs=0.02)


def high_noise_share(noisiest_share: float) -> float:
    generator = torch.Generator().manual_seed(0)
    drawn = draw_timesteps(20_000, 0.0, 49.0, noisiest_share, generator)
    assert (float(drawn.min()), float(drawn.max())) == pytest.approx((0, 49), abs=0.01)
    return float((drawn >= 49 * 7 / 8).float().mean())


def test_a_run_may_start_from_a_checkpoint(
    corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    learned = tmp_path / "learned"
    assert train(corpus, learned, "--set", "loop.num_steps=40") == 0
    trained = str(learned / "best.safetensors")
    assert train(corpus, tmp_path / "on", "--init", trained, "--minutes", "0") == 0
    assert train(corpus, tmp_path / "new", "--minutes", "0") == 0
    first = [figures(tmp_path / run)[0]["loss"] for run in ("on", "new")]
    assert first[0] < 0.95 * first[1]

    wider = ("--set", "model.denoiser.width=64", "--set", "model.denoiser.detail_width=64")
    assert train(corpus, tmp_path / "wider", *wider, "--init", trained) == 2
    assert "same method and size" in capsys.readouterr().err
    assert train(corpus, tmp_path / "none", "--init", str(tmp_path / "no.safetensors")) == 2
