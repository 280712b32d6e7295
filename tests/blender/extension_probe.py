"""Run in a Blender of its own: installs an extension's zip and says what came of it, as JSON.

python extension_probe.py ZIP REPORT.json
"""

# pyright: basic

from __future__ import annotations

import importlib
import json
import os
import sys
from pathlib import Path

import bpy

MODULE = "bl_ext.user_default.marey"


def main() -> None:
    archive, report = sys.argv[1:]
    bpy.ops.extensions.package_install_files(
        filepath=archive, repo="user_default", enable_on_install=True, overwrite=True
    )
    preferences = importlib.import_module(f"{MODULE}.ui.preferences")
    session = importlib.import_module(f"{MODULE}.engine_link.session")
    environment = importlib.import_module(f"{MODULE}.engine_link.engine_environment")
    import zmq

    found = {
        "has_preferences": preferences.get_preferences() is not None,
        "zmq": str(Path(zmq.__file__)),
        "release": vars(environment.release()),
        "error": "",
        "user_folder": str(preferences.user_folder()),
    }
    try:
        preferences.engine_command()
    except Exception as error:  # noqa: BLE001 - whatever it is, it is reported
        found["error"] = str(error)
    preferences.refresh_view()
    found["state"] = session.engine_view.state.value
    bpy.ops.preferences.addon_disable(module=MODULE)
    found["left"] = [name for name in dir(bpy.types) if name.startswith("MOTION_")]
    found["heavy"] = sorted({"torch", "engine", "trainer", "scipy"} & set(sys.modules))
    Path(report).write_text(json.dumps(found), encoding="utf-8")
    sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
