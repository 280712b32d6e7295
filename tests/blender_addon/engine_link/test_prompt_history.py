from __future__ import annotations

from pathlib import Path

from blender_addon.engine_link.prompt_history import MAX_PROMPTS, PromptHistory, find_prompts


def test_the_latest_comes_first_and_is_kept(tmp_path: Path) -> None:
    file = tmp_path / "new" / "prompts.json"
    history = PromptHistory(file)
    for prompt in ("walk", " jump  high ", "walk", "", "  "):
        history.add(prompt)
    assert history.prompts == ("walk", "jump high")
    assert PromptHistory(file).prompts == ("walk", "jump high")
    history.clear()
    assert PromptHistory(file).prompts == ()


def test_it_does_not_grow_for_ever(tmp_path: Path) -> None:
    history = PromptHistory(tmp_path / "prompts.json")
    for number in range(MAX_PROMPTS + 5):
        history.add(f"prompt {number}")
    assert len(history.prompts) == MAX_PROMPTS
    assert history.prompts[0] == f"prompt {MAX_PROMPTS + 4}"


def test_a_broken_file_and_a_folder_that_can_not_be_written_are_no_errors(tmp_path: Path) -> None:
    file = tmp_path / "prompts.json"
    for text in ("{", "7", '[1, null, "walk"]'):
        file.write_text(text, encoding="utf-8")
        assert PromptHistory(file).prompts in ((), ("walk",))
    (tmp_path / "file").write_text("", encoding="utf-8")
    history = PromptHistory(tmp_path / "file" / "prompts.json")
    history.add("walk")
    assert history.prompts == ("walk",)


def test_what_is_offered_has_every_word() -> None:
    found = find_prompts("A person WALKS", ["he walks", "a person walks"], ["a person walks far"])
    assert found == ["a person walks", "a person walks far"]
    assert find_prompts("", ["walk"], ["walk", "jump"]) == ["walk", "jump"]
