"""CrossDiff's table: rows that can be trained, and figures of actions that are what they say."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import action_measures as actions
import experiment_crossdiff as experiment
from engine.methods.crossdiff import CrossDiffConfig
from trainer.config import apply_overrides
from trainer.data.actions import actions_of
from trainer.experiments import ExperimentError
from trainer.methods.crossdiff import CrossDiffTraining
from trainer.presets import PRESETS


def training_of(name: str) -> CrossDiffTraining:
    preset = PRESETS[experiment.PRESET].training
    training = apply_overrides(preset, experiment.settings_of(name))
    assert isinstance(training, CrossDiffTraining)
    return training


def test_all_rows_have_the_budget_of_the_preset() -> None:
    preset = PRESETS[experiment.PRESET].training
    assert training_of("full") == preset
    for name in experiment.all_names():
        if name in experiment.LATER:
            continue
        loop = training_of(name).loop
        assert (loop.num_steps, training_of(name).batch_size) == (1_200, 32)
        assert loop.seed == int(name.endswith("-1"))


def test_rows_differ_in_what_they_are_named_after() -> None:
    assert not training_of("space").weights.uses_flat
    assert training_of("full").weights.uses_flat
    assert (training_of("half").data.solid_share, training_of("half").data.flat_share) == (0.5, 0.0)
    assert training_of("half-and-views").data.flat_share == 1.0
    assert not training_of("apart").model.unified.has_shared
    assert training_of("one-view").data.num_views == 1
    for plural, action in (("kicks", "kick"), ("crouches", "crouch"), ("hangs", "hang")):
        for end, flat_share in (("never", 0.0), ("as-views", 1.0), ("wild", 1.0)):
            data = training_of(f"{plural}-{end}").data
            assert (data.held_out, data.flat_share) == (action, flat_share)
    few, many = training_of("crouches-wild"), training_of("crouches-often")
    assert (few.data, 3 * few.loop.num_steps) == (many.data, many.loop.num_steps)


def test_the_control_is_as_large_as_what_it_controls() -> None:
    def size(config: CrossDiffConfig) -> int:
        return sum(parameter.numel() for parameter in config.build().parameters())

    assert size(training_of("space").model) == size(training_of("full").model)


def test_what_goes_on_does_so_from_a_trained_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    longer, wild = training_of("full-longer"), training_of("kicks-wild")
    assert not longer.weights.later().uses_flat
    assert (longer.loop.num_steps, round(longer.solid_stage * 600)) == (600, 599)
    assert (wild.data.flat_share, round(wild.wild_stage * 400)) == (1.0, 396)

    started: list[Sequence[str]] = []

    def note(name: str, preset: str, data: object, runs: Path, options: Sequence[str]) -> None:
        started.append(options)

    monkeypatch.setattr(experiment, "train_row", note)
    args = argparse.Namespace(data=[], runs=tmp_path)
    with pytest.raises(ExperimentError, match="goes on from full, which isn't trained yet"):
        experiment.train("full-longer", args)
    assert not started
    checkpoint = tmp_path / "full" / "best.safetensors"
    checkpoint.parent.mkdir()
    checkpoint.touch()
    experiment.train("full-longer", args)
    assert started[0][-2:] == ["--init", str(checkpoint)]


def test_a_row_that_goes_on_cannot_be_listed(capsys: pytest.CaptureFixture[str]) -> None:
    experiment.list_rows(["one-view"])
    assert "data.num_views=1" in capsys.readouterr().out
    with pytest.raises(ExperimentError, match="kicks-wild goes on from kicks-never"):
        experiment.list_rows(["kicks-wild"])


@pytest.mark.parametrize("names", [[], ["space"], ["kicks-wild", "hangs-wild"]])
def test_a_sheet_is_of_an_action_that_all_rows_share(tmp_path: Path, names: list[str]) -> None:
    args = argparse.Namespace(names=names, runs=tmp_path, device="cpu", out=tmp_path / "a.png")
    with pytest.raises(ExperimentError, match="measured on one action"):
        experiment.sheet(args)
    args.names = ["full", "kicks-wild"]
    with pytest.raises(ExperimentError, match=r"There is no run .*full"):
        experiment.sheet(args)


@pytest.mark.parametrize("name", ["nothing", "one-view-1", "half-longer"])
def test_an_unknown_row_is_refused(name: str) -> None:
    with pytest.raises(ExperimentError, match="There is no row"):
        experiment.settings_of(name)


def test_every_prompt_names_its_action() -> None:
    for held in actions.HELD_OUT.values():
        assert len(held.prompts) == len(set(held.prompts)) == 8
        assert all(held.action in actions_of(prompt) for prompt in held.prompts)


def test_rows_are_measured_on_what_they_are_without() -> None:
    assert list(actions.measured_on("hangs-wild")) == ["hangs"]
    assert list(actions.measured_on("full")) == ["kicks", "crouches", "hangs"]
    assert not actions.measured_on("full-longer")
    assert not actions.measured_on("space")


def standing(place: float) -> np.ndarray:
    """Joints (5, 22, 3): the pelvis at .9 m, hands beside it, the head at 1.6 m, feet at 0."""
    joints = np.full((5, 22, 3), place)
    joints[..., 1] = 0.0
    joints[:, (0, 20, 21), 1] = 0.9
    joints[:, 15, 1] = 1.6
    return joints


def kicking(place: float) -> np.ndarray:
    joints = standing(place)
    joints[3, 11, 1] = 1.2
    return joints


def crouching(place: float) -> np.ndarray:
    joints = standing(place)
    joints[3, 0, 1] = 0.4
    return joints


def hanging(place: float) -> np.ndarray:
    joints = standing(place)
    joints[..., 1] += 0.5  # off the floor
    joints[3, 20, 1] = 2.3
    return joints


@pytest.mark.parametrize(
    ("plural", "do", "length", "without"),
    [
        ("kicks", kicking, 1.2, 0.0),
        ("crouches", crouching, 0.4, 0.9),
        ("hangs", hanging, 0.2, -0.7),
    ],
)
def test_actions_are_measured_against_their_own_captions(
    plural: str, do: Callable[[float], np.ndarray], length: float, without: float
) -> None:
    """Motions that stand where their captions do are ahead of all others, and the other way."""

    class Places:
        def embed_motions(self, motions: list[np.ndarray]) -> np.ndarray:
            return np.array([[joints[0, 0, 0]] for joints in motions], dtype=np.float64)

        def embed_captions(self, captions: list[str]) -> np.ndarray:
            return np.array([[1.0] for _ in captions])

    held = actions.HELD_OUT[plural]

    class Real:
        captions = (held.prompts[0], "a person walks", "a person waves")
        caption_embeddings = np.array([[1.1], [3.0], [5.0]])

    def figures_of(joints: np.ndarray) -> dict[str, float]:
        judges: tuple[Any, Any] = (Places(), Real())
        return actions.action_figures(held, [joints], held.prompts[:1], *judges)

    figures = figures_of(do(1.0))
    assert figures["ahead"] == figures["share"] == 1.0
    assert figures["mm_distance"] == 0.0
    assert figures["length"] == pytest.approx(length)
    figures = figures_of(standing(4.9))
    assert figures["ahead"] == figures["share"] == 0.0
    assert figures["length"] == pytest.approx(without)


def test_what_is_shown_of_an_action_is_where_it_is() -> None:
    held = actions.HELD_OUT["crouches"]
    joints = np.concatenate([standing(float(number)) for number in range(12)])
    joints[40, 0, 1] = 0.4
    shown = actions.shown_part(held, joints)
    assert len(shown) == actions.SHOWN_FRAMES
    assert shown[15, 0, 1] == 0.4
    assert len(actions.shown_part(held, joints[:9])) == 9
