"""Where the engine is: add-on preferences, and what holds where there are none.

Of several the first counts: the connection file of an engine that runs, the interpreter that the
artist has chosen, the source checkout that this add-on is part of, the environment that the
add-on has made. An add-on that was switched on from the command line, or that runs as a plain
module in the bpy wheel, has no preferences: then all fields are empty.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import bpy

from ..engine_link import session
from ..engine_link.client import EngineLinkError
from ..engine_link.data_folders import user_data_folder, user_models_folder
from ..engine_link.engine_environment import EngineEnvironment, EnvironmentState, release
from ..engine_link.engine_packages import TorchBuild
from ..engine_link.engine_view import EngineSource, EngineView, look_at_disk
from ..engine_link.make_environment import python_of
from ..engine_link.process import EngineCommand, read_connection
from ..engine_link.set_up_plan import Wishes
from .preferences_layout import draw_preferences

ADDON_PACKAGE = __package__.rpartition(".")[0]

_SOURCE_ROOT = Path(__file__).resolve().parents[2]
_NO_ENGINE = {
    EnvironmentState.MISSING: "No engine is set up yet: press Set Up Engine",
    EnvironmentState.HALF: "The engine's set-up was interrupted: press Set Up Engine",
    EnvironmentState.BROKEN: "The Python of the engine is gone: press Set Up Engine",
}


def _forget_view(_preferences: object, _context: object) -> None:
    session.engine_view = None


class MOTION_AP_preferences(bpy.types.AddonPreferences):
    """Settings of this computer; they are not part of a file."""

    bl_idname = ADDON_PACKAGE

    environment_folder: bpy.props.StringProperty(
        name="Folder",
        description=(
            "Where the engine is set up, in a subfolder. "
            "Empty: Marey's folder among your user data, shared by all Blender versions"
        ),
        subtype="DIR_PATH",
        update=_forget_view,
    )
    engine_wheel: bpy.props.StringProperty(
        name="Engine Wheel",
        description=(
            "File, folder or https address of the engine's wheel. Empty: looked for beside the "
            "extension, in the package folder and in your downloads"
        ),
        subtype="FILE_PATH",
    )
    packages_folder: bpy.props.StringProperty(
        name="Package Folder",
        description=(
            "Folder that has every package of the engine as a wheel: with it, setting up needs "
            "no network"
        ),
        subtype="DIR_PATH",
    )
    base_python: bpy.props.StringProperty(
        name="Base Python",
        description="Python program that the engine is set up with. Empty: one is looked for",
        subtype="FILE_PATH",
    )
    torch_build: bpy.props.EnumProperty(
        name="Build of Torch",
        description="Which build of torch the engine is set up with",
        items=(
            ("auto", "Automatic", "CUDA where an NVIDIA graphics card is found"),
            ("cpu", "Processor", "Small, for computers without an NVIDIA graphics card"),
            ("cuda", "CUDA", "For NVIDIA graphics cards"),
            ("index", "As It Comes", "What your Python package index has, whatever its size"),
        ),
    )
    show_set_up: bpy.props.BoolProperty(
        name="Set-Up Options", description="Where and with what the engine is set up"
    )
    show_other_engine: bpy.props.BoolProperty(
        name="Another Engine", description="Use an engine that this add-on has not set up"
    )
    engine_python: bpy.props.StringProperty(
        name="Engine Python",
        description="Python program of an environment that has the Marey engine installed",
        subtype="FILE_PATH",
        update=_forget_view,
    )
    engine_folder: bpy.props.StringProperty(
        name="Engine Folder",
        description="Folder that has the engine's source. Empty: it is installed in that Python",
        subtype="DIR_PATH",
        update=_forget_view,
    )
    connection_file: bpy.props.StringProperty(
        name="Connection File",
        description=(
            "Connect to an engine that runs already, by the file that it was started with "
            "(serve --connection-file). Empty: an engine of its own is started"
        ),
        subtype="FILE_PATH",
        update=_forget_view,
    )
    models_folder: bpy.props.StringProperty(
        name="Models Folder",
        description="Folder with more models. Your own and those of the engine are always found",
        subtype="DIR_PATH",
    )
    device: bpy.props.EnumProperty(
        name="Device",
        description="Where the engine computes. It takes effect when the engine starts",
        items=(
            ("auto", "Automatic", "The graphics card if there is one that fits, else the CPU"),
            ("cuda", "CUDA", "NVIDIA graphics card"),
            ("mps", "Metal", "Apple graphics"),
            ("cpu", "CPU", "The processor"),
        ),
    )

    def draw(self, context: bpy.types.Context) -> None:
        if session.engine_view is None:
            look_soon()
        draw_preferences(self, context)


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
    root = _source_root(preferences)
    if python is None and root is not None:
        python = _environment_python(root)
    if python is None:
        python = _own_python(environment(context))
        root = None
    if not python.is_file():
        raise EngineLinkError(f"{python} is not there: set the engine's Python in the preferences")
    folders = (_path(preferences, "models_folder"), _existing(user_models_folder()))
    return EngineCommand(
        python=python,
        folder=user_folder(),
        engine_root=root,
        device=preferences.device if preferences is not None else "auto",
        model_folders=tuple(folder for folder in folders if folder is not None),
    )


def environment(context: bpy.types.Context | None = None) -> EngineEnvironment:
    """The environment that the add-on makes, or has made."""
    folder = _path(get_preferences(context), "environment_folder")
    return EngineEnvironment(folder or user_data_folder())


def wishes(context: bpy.types.Context | None = None) -> Wishes:
    """What the preferences say about setting up."""
    preferences = get_preferences(context)
    build = getattr(preferences, "torch_build", "auto")
    wheel = getattr(preferences, "engine_wheel", "")
    is_address = wheel.startswith(("https://", "http://"))
    return Wishes(
        root=environment(context).root,
        release=release(),
        blender_python=Path(sys.executable),
        is_online_allowed=bpy.app.online_access,
        wheel=wheel if is_address or not wheel else bpy.path.abspath(wheel),
        repository=_repository_address(context or bpy.context),
        packages_folder=_path(preferences, "packages_folder"),
        base_python=_path(preferences, "base_python"),
        build=None if build == "auto" else TorchBuild(build),
    )


def look_soon() -> None:
    """Have the disk looked at, by a timer: called while drawing."""
    if not bpy.app.timers.is_registered(refresh_view):
        bpy.app.timers.register(refresh_view, first_interval=0.0)


def refresh_view() -> None:
    """Look at the disk again for what the preferences show. Also a timer that runs once."""
    session.engine_view = _look()
    for window in bpy.context.window_manager.windows:
        for area in window.screen.areas:
            if area.type in {"PREFERENCES", "VIEW_3D", "SEQUENCE_EDITOR"}:
                area.tag_redraw()


def user_folder() -> Path:
    """Where the engine's log and connection file are; nobody else on this computer reads it."""
    try:
        return Path(bpy.utils.extension_path_user(ADDON_PACKAGE, create=True))
    except ValueError:  # a plain module, not an extension
        pass
    path = bpy.utils.user_resource("DATAFILES", path="marey", create=True)
    return Path(path) if path else Path(tempfile.gettempdir()) / "marey"


def _look() -> EngineView:
    preferences = get_preferences()
    connection = _path(preferences, "connection_file")
    python = _path(preferences, "engine_python")
    root = _source_root(preferences)
    if connection is not None:
        source, path = EngineSource.CONNECTION, connection
    elif python is not None:
        source, path = EngineSource.PYTHON, python
    elif root is not None and _environment_python(root) is not None:
        source, path = EngineSource.CHECKOUT, root
    else:
        source, path = EngineSource.ENVIRONMENT, None
    return look_at_disk(source, path, environment(), release().version, user_models_folder())


def _own_python(own: EngineEnvironment) -> Path:
    problem = _NO_ENGINE.get(own.state(release().version))
    if problem is not None:
        raise EngineLinkError(f"{problem} in the preferences of the add-on")
    return own.python


def _source_root(preferences: MOTION_AP_preferences | None) -> Path | None:
    root = _path(preferences, "engine_folder")
    if root is None and (_SOURCE_ROOT / "engine" / "__main__.py").is_file():
        return _SOURCE_ROOT
    return root


def _repository_address(context: bpy.types.Context) -> str:
    """The address of the extension repository that this add-on came from; "" if from a file."""
    words = ADDON_PACKAGE.split(".")
    if len(words) != 3 or words[0] != "bl_ext":
        return ""
    for repository in context.preferences.extensions.repos:
        if repository.module == words[1] and repository.use_remote_url:
            return repository.remote_url
    return ""


def _path(preferences: MOTION_AP_preferences | None, name: str) -> Path | None:
    value = getattr(preferences, name, "")
    return Path(bpy.path.abspath(value)) if value else None


def _existing(folder: Path) -> Path | None:
    return folder if folder.is_dir() else None


def _environment_python(root: Path) -> Path | None:
    python = python_of(root / ".venv")
    return python if python.is_file() else None
