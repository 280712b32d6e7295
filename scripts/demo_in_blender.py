"""The demo's half that runs inside Blender: rig, engine through the add-on, files.

Started by demo.py, in the bpy wheel or in a Blender program; the request is a JSON file. Ends
with os._exit: bpy 4.2 and 4.5 crash or hang at an ordinary exit after some add-ons.
"""

# pyright: basic, reportMissingModuleSource=false, reportAttributeAccessIssue=false
# pyright: reportOptionalMemberAccess=false, reportArgumentType=false, reportCallIssue=false

from __future__ import annotations

import importlib
import json
import logging
import os
import sys
import time
from pathlib import Path
from types import ModuleType
from typing import Any

import bpy

SCRIPTS = Path(__file__).resolve().parent
DONE, FAILED, WRONG_WORDS = 0, 1, 2
EXTENSION = "bl_ext.user_default.marey"


class WrongFileError(Exception):
    """The rig given cannot be used; str() says why."""


def main() -> int:
    """Do what the request says; return the exit code."""
    logging.basicConfig(level=logging.WARNING)
    request = json.loads(Path(sys.argv[sys.argv.index("--") + 1]).read_text(encoding="utf-8"))
    sys.path[:0] = [str(SCRIPTS)]
    addon = _addon(request["root"])
    try:
        _make(request, addon)
    except WrongFileError as error:
        print(error)
        return WRONG_WORDS
    finally:
        importlib.import_module(f"{addon}.registration").session.reset(wait_s=2.0)
    return DONE


def _addon(root: str) -> str:
    """The add-on's package: the installed extension, else the source beside this script."""
    if EXTENSION in bpy.context.preferences.addons:
        return EXTENSION
    sys.path.insert(0, root)
    import blender_addon

    blender_addon.register()
    return "blender_addon"


def _make(request: dict[str, Any], addon: str) -> None:
    scripting = importlib.import_module(f"{addon}.scripting")
    out = Path(request["out"])
    armature = _rig(request, addon)
    scene = bpy.context.scene
    scene.render.fps, scene.render.fps_base = request["fps"], 1.0
    scene.frame_current = scene.frame_start = 1
    with _Said("engine started"):
        scripting.start_engine(_engine(request, addon))
    with _Said("motion generated and keyed"):
        _generate(request, scripting, armature)
    scene.frame_end = round(armature.animation_data.action.frame_range[1])
    _save(out / "motion.blend")
    import render_motion

    with _Said("sheet.png drawn"):
        render_motion.render_sheet(armature, out / "sheet.png", title=request["prompt"])
    with _Said("motion.mp4 filmed"):
        render_motion.render_movie(armature, out / "motion.mp4")


def _generate(
    request: dict[str, Any], scripting: ModuleType, armature: bpy.types.Object
) -> bpy.types.Action:
    return scripting.generate(
        armature,
        request["prompt"],
        seconds=request["seconds"],
        seed=request["seed"],
        model=request["model"],
        start_frame=1,
    )


def _engine(request: dict[str, Any], addon: str) -> object:
    process = importlib.import_module(f"{addon}.engine_link.process")
    return process.EngineCommand(
        python=Path(request["engine_python"]),
        folder=Path(request["scratch"]),
        engine_root=Path(request["root"]),
        device=request["device"],
        model_folders=(Path(request["models"]),) if request["models"] else (),
    )


def _rig(request: dict[str, Any], addon: str) -> bpy.types.Object:
    """The mannequin in an empty file, or the armature of the file given."""
    if request["rig"] is None:
        _empty_file()
        mannequin = importlib.import_module(f"{addon}.scene.mannequin")
        return mannequin.add_mannequin(bpy.context)
    rig_error = importlib.import_module(f"{addon}.rig.bone_match").RigError
    match_bones = importlib.import_module(f"{addon}.scene.rest_pose").match_bones
    _open(Path(request["rig"]))
    armatures = [one for one in bpy.context.scene.objects if one.type == "ARMATURE"]
    if not armatures:
        raise WrongFileError(f"{request['rig']} has no armature")
    reasons: list[str] = []
    for armature in sorted(armatures, key=lambda one: -len(one.data.bones)):
        try:
            match_bones(armature)
        except rig_error as error:
            reasons.append(str(error))
        else:
            return _without_tracks(armature)
    raise WrongFileError(f"{request['rig']}: {reasons[0]}")


def _open(path: Path) -> None:
    name, ending = str(path), path.suffix.lower()
    try:
        if ending == ".blend":
            bpy.ops.wm.open_mainfile(filepath=name)
            return
        _empty_file()
        if ending in (".glb", ".gltf"):
            bpy.ops.import_scene.gltf(filepath=name)
        elif ending == ".bvh":
            bpy.ops.import_anim.bvh(filepath=name)
        elif hasattr(bpy.types, "WM_OT_fbx_import"):  # 4.5 and later
            bpy.ops.wm.fbx_import(filepath=name)
        else:
            bpy.ops.import_scene.fbx(filepath=name)
    except RuntimeError as error:
        raise WrongFileError(f"{path} cannot be read: {str(error).strip()}") from error


def _empty_file() -> None:
    for block in (bpy.data.objects, bpy.data.meshes, bpy.data.cameras, bpy.data.lights):
        bpy.data.batch_remove(list(block))


def _without_tracks(armature: bpy.types.Object) -> bpy.types.Object:
    """Importers leave other animations in tracks, which would move what the motion does not."""
    if armature.animation_data is not None:
        armature.animation_data.use_nla = False
    return armature


def _save(path: Path) -> None:
    partial = path.with_name(f"{path.stem}.partial.blend")
    bpy.ops.wm.save_as_mainfile(filepath=str(partial), copy=True, check_existing=False)
    partial.replace(path)


class _Said:
    """Prints what was done and how long it took."""

    def __init__(self, what: str) -> None:
        self._what = what

    def __enter__(self) -> None:
        self._began = time.monotonic()

    def __exit__(self, error: object, *_: object) -> None:
        if error is None:
            print(f"marey: {self._what} ({time.monotonic() - self._began:.1f} s)", flush=True)


def _run() -> int:
    try:
        return main()
    except RuntimeError as error:  # of the add-on's scripting: no engine, a refused request
        print(error)
        return FAILED
    except Exception:  # noqa: BLE001 - the process must end by os._exit, whatever happens
        import traceback

        traceback.print_exc()
        return FAILED


code = _run()
sys.stdout.flush()
sys.stderr.flush()
os._exit(code)
