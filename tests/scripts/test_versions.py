"""One version: pyproject.toml's. What else names it says the same."""

from __future__ import annotations

import tomllib

import engine
import environment_contents as contents

VERSION = contents.project()["project"]["version"]


def test_the_engine_says_the_projects_version() -> None:
    assert engine.__version__ == VERSION


def test_the_manifest_says_the_projects_version() -> None:
    manifest = contents.ROOT / "blender_addon" / "blender_manifest.toml"

    assert tomllib.loads(manifest.read_text(encoding="utf-8"))["version"] == VERSION


def test_the_readme_names_the_files_that_are_built() -> None:
    readme = (contents.ROOT / "README.md").read_text(encoding="utf-8")

    assert f"marey-{VERSION}-py3-none-any.whl" in readme
    assert f"marey-{VERSION}-" in readme
