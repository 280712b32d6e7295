"""Where the engine is: add-on preferences, and what holds where there are none.

An add-on that was switched on from the command line, or that runs as a plain module in the bpy
wheel, has no preferences. Then, as for fields left empty, the folder that holds blender_addon is
taken for a source checkout: its `engine` and its `.venv`.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import bpy

from ..engine_link import session
from ..engine_link.client import EngineLinkError
from ..engine_link.process import EngineCommand, read_connection

ADDON_PACKAGE = __package__.rpartition(".")[0]

_SOURCE_ROOT = Path(__file__).resolve().parents[2]


class MOTION_AP_preferences(bpy.types.AddonPreferences):
    """Settings of this computer; they are not part of a file."""

    bl_idname = ADDON_PACKAGE

    engine_python: bpy.props.StringProperty(
        name="Engine Python",
        description="Python program of the environment that has the Marey engine installed",
        subtype="FILE_PATH",
    )
    engine_folder: bpy.props.StringProperty(
        name="Engine Folder",
        description="Folder that has the engine's source. Empty: it is installed in that Python",
        subtype="DIR_PATH",
    )
    models_folder: bpy.props.StringProperty(
        name="Models Folder",
        description="Folder with more models. Those that come with the engine are always found",
        subtype="DIR_PATH",
    )
    device: bpy.props.EnumProperty(
        name="Device",
        description="Where the engine computes",
        items=(
            ("auto", "Automatic", "The graphics card if there is one that fits, else the CPU"),
            ("cuda", "CUDA", "NVIDIA graphics card"),
            ("mps", "Metal", "Apple graphics"),
            ("cpu", "CPU", "The processor"),
        ),
    )

    connection_file: bpy.props.StringProperty(
        name="Connection File",
        description=(
            "Connect to an engine that runs already, by the file that it was started with "
            "(serve --connection-file). Empty: an engine of its own is started"
        ),
        subtype="FILE_PATH",
    )

    def draw(self, context: bpy.types.Context) -> None:
        layout = self.layout
        layout.use_property_split = True
        own_engine = layout.column()
        own_engine.active = not self.connection_file
        for name in ("engine_python", "engine_folder", "models_folder", "device"):
            own_engine.prop(self, name)
        layout.prop(self, "connection_file")
        layout.label(text=f"Log and connection file: {user_folder()}", icon="FILE_FOLDER")


def get_preferences(context: bpy.types.Context | None = None) -> MOTION_AP_preferences | None:
    """The add-on's preferences, None where it has none."""
    addons = (context or bpy.context).preferences.addons
    addon = addons.get(ADDON_PACKAGE)
    return addon.preferences if addon is not None else None


def open_engine(context: bpy.types.Context | None = None) -> None:
    """Begin to connect to the running engine that the preferences name, else to start one.

    Raises:
        EngineLinkError: there is no such engine, or it can't be started.
    """
    file = _path(get_preferences(context), "connection_file")
    if file is None:
        session.start_engine(engine_command(context))
        return
    connection = read_connection(file)
    if connection is None:
        raise EngineLinkError(
            f"No engine runs with the connection file {file}: start it, or clear that field in "
            "the preferences"
        )
    session.connect(connection)


def engine_command(context: bpy.types.Context | None = None) -> EngineCommand:
    """How to start the engine on this computer.

    Raises:
        EngineLinkError: no Python for it is known.
    """
    preferences = get_preferences(context)
    python = _path(preferences, "engine_python")
    root = _path(preferences, "engine_folder")
    if root is None and (_SOURCE_ROOT / "engine" / "__main__.py").is_file():
        root = _SOURCE_ROOT
    if python is None and root is not None:
        python = _environment_python(root)
    if python is None:
        raise EngineLinkError("Set the engine's Python in the preferences of the add-on")
    if not python.is_file():
        raise EngineLinkError(f"{python} is not there: set the engine's Python in the preferences")
    models = _path(preferences, "models_folder")
    return EngineCommand(
        python=python,
        folder=user_folder(),
        engine_root=root,
        device=preferences.device if preferences is not None else "auto",
        model_folders=(models,) if models is not None else (),
    )


def user_folder() -> Path:
    """Where the engine's log and connection file are; nobody else on this computer reads it."""
    try:
        return Path(bpy.utils.extension_path_user(ADDON_PACKAGE, create=True))
    except ValueError:  # a plain module, not an extension
        pass
    path = bpy.utils.user_resource("DATAFILES", path="marey", create=True)
    return Path(path) if path else Path(tempfile.gettempdir()) / "marey"


def _path(preferences: MOTION_AP_preferences | None, name: str) -> Path | None:
    value = getattr(preferences, name, "")
    return Path(bpy.path.abspath(value)) if value else None


def _environment_python(root: Path) -> Path | None:
    program = Path("Scripts/python.exe") if sys.platform == "win32" else Path("bin/python")
    python = root / ".venv" / program
    return python if python.is_file() else None
