"""An empty file per test, the add-on switched on, and rigs made in Blender."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import bpy
import numpy as np
import pytest

import blender_addon
from blender_addon.protocol import JobResult
from tests.blender_addon.rig import figures

IMPORTERS = ("test_real_rigs.py", "test_recognise.py", "test_motion_export.py")
REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def empty_file() -> None:
    bpy.ops.wm.read_factory_settings(use_empty=True)
    bpy.context.scene.render.fps = 20
    bpy.context.scene.render.fps_base = 1.0


@pytest.fixture
def addon(tmp_path: Path) -> Iterator[None]:
    from blender_addon.ui import prompts

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(prompts, "HISTORY_FILE", str(tmp_path / "prompts.json"))  # not the user's
        blender_addon.register()
        yield
        blender_addon.unregister()


@pytest.fixture
def mannequin() -> bpy.types.Object:
    from blender_addon.scene.mannequin import add_mannequin

    armature = add_mannequin(bpy.context)
    bpy.context.view_layer.update()
    return armature


@pytest.fixture(scope="session")
def real_walk(
    real_data: Path, engine_python: Path, tmp_path_factory: pytest.TempPathFactory
) -> JobResult:
    """A recorded walk, solved by the engine's own code in the engine's own Python."""
    clip = real_data / "motion" / "free" / "new_joints" / "F00006.npy"
    target = tmp_path_factory.mktemp("motion") / "walk.npz"
    script = Path(__file__).with_name("solve_clip.py")
    subprocess.run(
        [str(engine_python), str(script), str(clip), str(target)],
        check=True,
        cwd=REPOSITORY,
        timeout=120,
    )
    arrays = np.load(target)
    # Two steps: Rigify's 706 bones take 0.1 s a frame.
    root, rotations, contacts = (
        arrays[n][:45] for n in ("root_translation", "local_rotations", "contacts")
    )
    return figures.make_result(root, rotations, contacts)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files of rigs first: bpy 4.2's glTF importer crashes in a process that has drawn panels."""
    items.sort(key=lambda item: item.path.name not in IMPORTERS)
