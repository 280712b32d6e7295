"""The add-on and the engine mean the same folder of the user's own models."""

from __future__ import annotations

from pathlib import Path

import pytest

from blender_addon.engine_link.data_folders import user_data_folder, user_models_folder

HOME = Path("/home/ann")


@pytest.mark.parametrize(
    ("system", "variables", "expected"),
    [
        ("linux", {}, "/home/ann/.local/share/marey"),
        ("linux", {"XDG_DATA_HOME": "/data"}, "/data/marey"),
        ("linux", {"XDG_DATA_HOME": "relative"}, "/home/ann/.local/share/marey"),
        ("darwin", {}, "/home/ann/Library/Application Support/marey"),
        ("win32", {"LOCALAPPDATA": "/appdata"}, "/appdata/marey"),
        ("win32", {}, "/home/ann/AppData/Local/marey"),
    ],
)
def test_the_rules_of_each_system(system: str, variables: dict[str, str], expected: str) -> None:
    assert user_data_folder(variables, system=system, home=HOME) == Path(expected)


@pytest.mark.parametrize("data_home", ["", "/somewhere/else", "relative/one"])
def test_as_the_engine_finds_it(monkeypatch: pytest.MonkeyPatch, data_home: str) -> None:
    pytest.importorskip("platformdirs", reason="the engine's package: not in Blender's Python")
    pytest.importorskip("torch", reason="needs the engine")
    from engine.server import model_store

    monkeypatch.setenv("XDG_DATA_HOME", data_home)
    assert user_models_folder() == model_store.user_data_folder() / "models"
