"""Operators around the engine: add a model file, open the log, copy a report."""

from __future__ import annotations

import platform
from pathlib import Path

import bpy
import zmq
from bpy.app.translations import pgettext_iface as iface_

from ..engine_link import session
from ..engine_link.bug_report import Report, tail, write_report
from ..engine_link.client import EngineLinkError
from ..engine_link.data_folders import user_models_folder
from ..engine_link.engine_environment import release
from ..engine_link.model_files import SUFFIX, ModelFileError, add_model
from . import preferences

LOG_LINES = 80


class MOTION_OT_add_model(bpy.types.Operator):
    """Add a model file"""

    bl_idname = "motion.add_model"
    bl_label = "Add Model File…"
    bl_description = (
        "Copy a Marey model (.safetensors) into your own models folder, where the engine of every "
        "Blender version finds it"
    )

    filepath: bpy.props.StringProperty(subtype="FILE_PATH", options={"SKIP_SAVE"})
    filter_glob: bpy.props.StringProperty(default=f"*{SUFFIX}", options={"HIDDEN"})
    replace: bpy.props.BoolProperty(
        name="Replace", description="Replace another model of the same name", options={"SKIP_SAVE"}
    )

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        context.window_manager.fileselect_add(self)
        return {"RUNNING_MODAL"}

    def execute(self, context: bpy.types.Context) -> set[str]:
        source = Path(bpy.path.abspath(self.filepath))
        try:
            model = add_model(source, user_models_folder(), replace=self.replace)
        except ModelFileError as error:
            self.report({"ERROR"}, str(error))
            return {"CANCELLED"}
        except OSError as error:
            told = iface_("{} could not be copied: {}").format(source.name, error.strerror)
            self.report({"ERROR"}, told)
            return {"CANCELLED"}
        preferences.refresh_view()
        licence = model.licence or iface_("none given")
        told = iface_("Added the model {}. Its licence: {}. {}")
        self.report({"INFO"}, told.format(model.name, licence, iface_(_relist())))
        return {"FINISHED"}


class MOTION_OT_open_log(bpy.types.Operator):
    """Open a log"""

    bl_idname = "motion.open_log"
    bl_label = "Open Log"
    bl_description = "Open what the engine, or its set-up, has written down"

    which: bpy.props.EnumProperty(
        items=(
            ("ENGINE", "Engine", "The log of the engine that ran last"),
            ("SET_UP", "Set-Up", "The log of the engine's set-up"),
        ),
        options={"SKIP_SAVE"},
    )

    def execute(self, context: bpy.types.Context) -> set[str]:
        path = engine_log() if self.which == "ENGINE" else set_up_log()
        if path is None or not path.is_file():
            self.report({"WARNING"}, "There is no log yet")
            return {"CANCELLED"}
        bpy.ops.wm.path_open(filepath=str(path))
        return {"FINISHED"}


class MOTION_OT_copy_report(bpy.types.Operator):
    """Copy a report"""

    bl_idname = "motion.copy_report"
    bl_label = "Copy Report"
    bl_description = (
        "Copy versions, the state of the engine and the end of its log to the clipboard, for a bug "
        "report. Nothing is sent"
    )

    with_paths: bpy.props.BoolProperty(
        name="With Folder Names",
        description="Leave in where files are on this computer, and your user name",
        options={"SKIP_SAVE"},
    )
    with_prompts: bpy.props.BoolProperty(
        name="With Prompts", description="Leave in what you wrote", options={"SKIP_SAVE"}
    )

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        return context.window_manager.invoke_props_dialog(
            self, title="Copy a Report", confirm_text="Copy"
        )

    def execute(self, context: bpy.types.Context) -> set[str]:
        report = collect_report(context)
        text = write_report(report, with_paths=self.with_paths, with_prompts=self.with_prompts)
        context.window_manager.clipboard = text
        self.report({"INFO"}, iface_("Copied a report of {} lines").format(len(text.splitlines())))
        return {"FINISHED"}


def collect_report(context: bpy.types.Context) -> Report:
    """What a bug report needs; nothing is taken out yet."""
    view = session.engine_view
    facts = [
        ("Marey", f"{release().version} ({preferences.ADDON_PACKAGE})"),
        ("Blender", f"{bpy.app.version_string}, Python {platform.python_version()}"),
        ("System", platform.platform()),
        ("ZeroMQ", f"pyzmq {zmq.__version__}, libzmq {zmq.zmq_version()}"),
        ("Online access", "yes" if bpy.app.online_access else "no"),
        ("Engine", f"{session.state.value} {session.message}".strip()),
    ]
    if view is not None:
        facts.append(("Engine from", f"{view.source.value}, {view.path}"))
        facts.append(("Environment", _environment_words()))
    if session.set_up.error:
        facts.append(("Set-up", session.set_up.error))
    welcome = session.client.welcome if session.client is not None else None
    if welcome is not None:
        facts.append(("Engine runs", f"{welcome.engine_version} on {welcome.device}"))
    for model in session.models():
        facts.append(("Model", f"{model.name} {model.model_hash[:12]}, {model.licence}"))
    for job in session.jobs:
        facts.append(("Job", f"{job.state.value}: {job.prompt}. {job.message}".strip()))
    logs = [("engine's log", tail(engine_log(), LOG_LINES))]
    logs.append(("set-up's log", tail(set_up_log(), LOG_LINES // 2)))
    prompts = {job.prompt for job in session.jobs}
    settings = getattr(context.scene, "motion", None)
    prompts.add(getattr(settings, "prompt", ""))
    return Report(facts=facts, logs=[one for one in logs if one[1]], prompts=prompts)


def engine_log() -> Path | None:
    """The log of the engine that runs or ran last."""
    if session.process is not None:
        return session.process.log_path
    logs = preferences.user_folder().glob("engine-*.log")
    return max(logs, key=lambda path: path.stat().st_mtime, default=None)


def set_up_log() -> Path | None:
    """The log of the last set-up."""
    path = session.set_up.log_path or preferences.environment().log_path
    return path if path.is_file() else None


def _environment_words() -> str:
    view = session.engine_view
    assert view is not None
    facts = view.facts
    devices = "; ".join(f"{device.kind}: {device}" for device in facts.devices)
    return f"{view.state.value}, torch {facts.torch or '-'}, {devices or 'no devices known'}"


def _relist() -> str:
    """Have a running engine list its models anew."""
    if session.client is None:
        return "The engine lists it when it starts"
    try:
        session.client.refresh()
    except EngineLinkError as error:
        return str(error)
    return "The engine lists it now"
