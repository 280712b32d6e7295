"""Requests: what is cleaned, what is refused."""

from __future__ import annotations

from typing import Any

import pytest

from engine.methods.base import Prompt, RequestError, SampleOptions, check_seconds


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("a person walks", "a person walks"),
        ("  a person\twalks\n\nslowly ", "a person walks slowly"),
        ("someone \U0001f44b waves \U0001f3c3\u200d\u2642\ufe0f", "someone waves"),
        ("eine Person l\u00e4uft", "eine Person l\u00e4uft"),
        ("caf\u0065\u0301", "caf\u00e9"),
        ("a \x00person\x07 jumps", "a person jumps"),
    ],
)
def test_a_prompt_is_read_without_emoji_and_controls(text: str, read: str) -> None:
    assert Prompt(text).text == read


@pytest.mark.parametrize("text", ["", "   ", "123 !?", "\U0001f602\U0001f602"])
def test_a_prompt_without_a_letter_is_refused(text: str) -> None:
    with pytest.raises(RequestError, match="has no letters"):
        Prompt(text)


def test_a_prompt_of_ten_thousand_characters_is_refused() -> None:
    with pytest.raises(RequestError, match="10000 characters, at most 1000"):
        Prompt("a" * 10_000)
    assert Prompt("a" * 1_000).text


@pytest.mark.parametrize("seconds", [0, -1, 500, float("nan"), float("inf")])
def test_lengths_that_nothing_makes_are_refused(seconds: float) -> None:
    with pytest.raises(RequestError, match="more than 0 and at most 60"):
        check_seconds(seconds)
    check_seconds(60)


@pytest.mark.parametrize(
    "wrong",
    [
        {"num_frames": 0},
        {"seed": -1},
        {"seed": 2**63},
        {"num_steps": 0},
        {"num_steps": 1001},
        {"guidance_scale": -0.1},
        {"guidance_scale": 21},
        {"guidance_scale": float("nan")},
    ],
)
def test_numbers_out_of_range_are_refused(wrong: dict[str, Any]) -> None:
    values: dict[str, Any] = {"num_frames": 20, "seed": 0, **wrong}
    with pytest.raises(RequestError, match="needs"):
        SampleOptions(**values)
