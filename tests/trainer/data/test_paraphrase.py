"""Captions said otherwise: same sense, other words."""

from __future__ import annotations

import random

import pytest

from trainer.data.paraphrase import paraphrases, plain_captions


@pytest.mark.parametrize(
    "caption", ["a person turns left twice.", "someone raises the right arm and walks backward"]
)
def test_rewordings_keep_sides_and_directions(caption: str) -> None:
    found = paraphrases(caption, 8, random.Random(0))
    assert len(found) >= 4
    assert caption not in found
    for side in ("left", "right"):
        assert all((side in text) == (side in caption) for text in found)


@pytest.mark.parametrize(
    ("captions", "plain"),
    [
        (("a person kicks with the right leg.", "someone kicks"), "a person kicks"),
        (("a person walks and kicks a ball", "the figure walks up, kicks"), "a person kicks"),
        (("a person runs", "he runs on", "heels kicking up, someone runs"), "a person runs"),
        (("a person walks in a hurry", "someone jumps"), None),
        (("a person turns left and turns right", "he turns right, then turns left"), None),
        (("a person turns left", "someone turns to the left"), "a person turns left"),
        (("someone waves the left hand", "a person waves both hands"), "a person waves"),
    ],
)
def test_plain_captions_name_what_most_captions_name(
    captions: tuple[str, ...], plain: str | None
) -> None:
    assert plain_captions(captions)[:1] == ([plain] if plain else [])


def test_plain_captions_have_the_bare_verb_too() -> None:
    assert "jump" in plain_captions(("a person jumps up", "someone leaps into the air"))
