"""CrossDiff's table: rows that can be trained, and figures of kicks that are what they say."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import experiment_crossdiff as experiment
from engine.methods.crossdiff import CrossDiffConfig
from trainer.config import apply_overrides
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
    for name in ("kicks-never", "kicks-as-views", "kicks-wild"):
        assert training_of(name).data.held_out == "kick"
    assert training_of("kicks-never").data.flat_share == 0.0
    assert training_of("kicks-as-views").data.flat_share == 1.0


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


@pytest.mark.parametrize("name", ["nothing", "apart-1", "half-longer"])
def test_an_unknown_row_is_refused(name: str) -> None:
    with pytest.raises(ExperimentError, match="There is no row"):
        experiment.settings_of(name)


def test_kicks_are_measured_against_their_own_captions() -> None:
    """Motions that stand where their captions do are ahead of all others, and the other way."""

    class Places:
        def embed_motions(self, motions: list[np.ndarray]) -> np.ndarray:
            return np.array([[joints[0, 0, 0]] for joints in motions], dtype=np.float64)

        def embed_captions(self, captions: list[str]) -> np.ndarray:
            return np.array([[1.0] for _ in captions])

    class Real:
        captions = ("a person kicks", "a person walks", "a person waves")
        caption_embeddings = np.array([[1.1], [3.0], [5.0]])

    def joints(place: float, height: float) -> np.ndarray:
        motion = np.full((5, 22, 3), place)
        motion[3, 11, 1] = height
        motion[:, 10, 1] = 0.0
        motion[[0, 1, 2, 4], 11, 1] = 0.0
        return motion

    good, bad = joints(1.0, 1.2), joints(4.9, 0.1)
    judges: tuple[Any, Any] = (Places(), Real())
    figures = experiment.kick_figures([good], ["a person kicks"], *judges)
    assert figures["ahead"] == figures["nearest"] == figures["high_share"] == 1.0
    assert figures["mm_distance"] == 0.0
    assert figures["foot_height"] == pytest.approx(1.2)
    figures = experiment.kick_figures([bad], ["a person kicks"], *judges)
    assert figures["ahead"] == figures["nearest"] == figures["high_share"] == 0.0
