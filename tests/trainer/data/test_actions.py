"""Captions and the actions that they name."""

from __future__ import annotations

from pathlib import Path

import pytest

from trainer.data.actions import actions_of, main_actions, same_action

CAPTIONS = {
    "a person walks forward": {"walk"},
    "someone strolls ahead at an easy pace": {"walk"},
    "a person jogs in a circle to the left": {"run", "circle", "turn_left"},
    "a person walks backward": {"walk", "backward"},
    "someone backs away": {"backward"},
    "a person walks and turns to the right vigorously": {"walk", "turn_right"},
    "an elderly person rounds the corner to the left": {"walk", "turn_left"},
    "a person turns left on the spot": {"turn_left"},
    "a person turns around": {"turn"},
    "a person kicks with the left leg": {"kick"},
    "a person raises the right hand and waves it": {"wave_right"},
    "the figure lifts both arms and waves from side to side": {"wave_both"},
    "a person puts up the left and right hands": {"raise_both"},
    "with the right arm at the side, a person raises the left hand": {"raise_left"},
    "the person lifts the left arm upward, the right arm hanging down": {"raise_left"},
    "a person throws a straight right punch": {"punch"},
    "someone throws a ball overhead": {"throw"},
    "a person keeps facing forward and walks to the left": {"walk", "sideways_left"},
    "someone sits down on a chair": {"sit"},
    "a person sneaks along": {"sneak"},
    "someone spins clockwise": {"turn_right"},
    "someone spins counterclockwise": {"turn_left"},
    "a purple idea": set[str](),
}


@pytest.mark.parametrize(("caption", "actions"), CAPTIONS.items())
def test_a_caption_names_its_actions(caption: str, actions: set[str]) -> None:
    assert actions_of(caption) == actions


def test_case_and_style_make_no_difference() -> None:
    assert same_action("A tired lady walks ahead.", "someone is walking")


def test_left_and_right_are_different_actions() -> None:
    assert not same_action("a person turns left", "a person turns right")


def test_captions_without_an_action_are_not_the_same_action() -> None:
    assert not same_action("a purple idea", "a purple idea")


@pytest.mark.parametrize("corpus", ["free", "nc"])
def test_nearly_every_real_caption_names_an_action(real_data: Path, corpus: str) -> None:
    files = (real_data / "motion" / corpus / "texts").glob("*.txt")
    lines = {line.split("#")[0] for file in files for line in file.read_text().splitlines()}
    captions = {line for line in lines if line.strip()}
    without = {caption for caption in captions if not actions_of(caption)}
    assert len(without) < 0.01 * len(captions)


def test_main_actions_are_named_by_most_captions() -> None:
    captions = ("a person runs", "someone jogs ahead", "he runs, the heels kicking up")
    assert main_actions(captions) == {"run"}
    assert main_actions(("someone waves the left hand", "he waves the right hand")) == {"wave"}
    assert main_actions(("someone walks", "he sits on a chair")) == frozenset()
