"""How the preferences look. Drawing reads what is known; it never works, waits or asks the disk."""

from __future__ import annotations

import textwrap
from collections.abc import Callable

import bpy
from bpy.app.translations import pgettext_iface as iface_

from ..engine_link import session
from ..engine_link.engine_environment import EnvironmentState
from ..engine_link.engine_set_up import SetUpPhase
from ..engine_link.engine_view import EngineSource, EngineView
from ..engine_link.session import EngineState

_PIXELS_PER_LETTER = 7.0
_LICENCE_SHARE = 0.62  # of the width: name and size are beside it

_ENVIRONMENT_TEXTS = {
    EnvironmentState.MISSING: ("No engine is set up yet", "INFO"),
    EnvironmentState.HALF: ("The engine's set-up was interrupted", "ERROR"),
    EnvironmentState.BROKEN: ("The Python that the engine was set up with is gone", "ERROR"),
    EnvironmentState.OTHER_VERSION: ("The engine is of another version", "ERROR"),
    EnvironmentState.READY: ("The engine is set up", "CHECKMARK"),
}
_BUTTON_TEXTS = {
    EnvironmentState.MISSING: "Set Up Engine…",
    EnvironmentState.OTHER_VERSION: "Update Engine…",
    EnvironmentState.READY: "Set Up Again…",
}
_SOURCE_TEXTS = {
    EngineSource.CONNECTION: "Uses the engine that runs with this connection file",
    EngineSource.PYTHON: "Uses the engine in this Python",
    EngineSource.CHECKOUT: "Uses the engine's source beside this add-on",
}


def draw_preferences(preferences: bpy.types.AddonPreferences, context: bpy.types.Context) -> None:
    """The whole page."""
    layout = preferences.layout
    view = session.engine_view
    box = layout.box()
    _draw_source(box, context, view)
    _draw_set_up(box, preferences, context, view)
    _draw_part(box, preferences, "show_set_up", _draw_set_up_options)
    _draw_part(box, preferences, "show_other_engine", _draw_other_engine)
    _draw_device(layout.box(), preferences, view)
    _draw_models(layout.box(), preferences, context, view)
    row = layout.row()
    row.operator("motion.open_log", icon="TEXT")
    row.operator("motion.copy_report", icon="COPYDOWN")


def _draw_source(
    layout: bpy.types.UILayout, context: bpy.types.Context, view: EngineView | None
) -> None:
    """Which engine is used, and its button."""
    if view is None:
        layout.label(text="Looking for the engine", icon="SORTTIME")
        return
    row = layout.row()
    if view.source is EngineSource.ENVIRONMENT and session.set_up.phase is SetUpPhase.RUNNING:
        text, icon = "The engine is being set up", "SORTTIME"
    elif view.source is EngineSource.ENVIRONMENT:
        text, icon = _ENVIRONMENT_TEXTS[view.state]
    else:
        text, icon = _SOURCE_TEXTS[view.source], "CHECKMARK" if view.is_there else "ERROR"
    row.label(text=text, icon=icon)
    if view.is_there:
        if session.state in (EngineState.STOPPED, EngineState.LOST):
            row.operator("motion.engine_start", text="Start")
        else:
            is_own = session.process is not None
            row.operator("motion.engine_stop", text="Stop" if is_own else "Disconnect")
    if view.is_there or view.source is not EngineSource.ENVIRONMENT:
        told = "{}" if view.is_there else iface_("{} is not there")
        _draw_text(layout, context, told.format(view.path))
    if session.state is not EngineState.STOPPED:
        told = iface_("Engine {}. {}").format(iface_(session.state.value), session.message)
        _draw_text(layout, context, told.strip())


def _draw_set_up(
    layout: bpy.types.UILayout,
    preferences: bpy.types.AddonPreferences,
    context: bpy.types.Context,
    view: EngineView | None,
) -> None:
    """The button that leads to an engine, or how far it is."""
    set_up = session.set_up
    if set_up.is_busy:
        row = layout.split(factor=0.8)
        share = set_up.share if set_up.phase is SetUpPhase.RUNNING else 0.0
        text = set_up.text
        if set_up.phase is SetUpPhase.RUNNING:
            text += f" ({set_up.seconds / 60:.0f} min)" if set_up.seconds >= 60 else ""
        row.progress(factor=share, type="BAR", text=text)
        row.operator("motion.cancel_set_up", text="Cancel", icon="X")
        return
    if set_up.phase is SetUpPhase.FAILED:
        _draw_text(layout, context, set_up.error, icon="ERROR")
        if set_up.error_setting and not preferences.show_set_up:
            column = layout.column()
            column.use_property_split = True
            column.prop(preferences, set_up.error_setting)
    elif set_up.phase is SetUpPhase.CANCELLED:
        layout.label(text="The set-up was cancelled", icon="CANCEL")
    row = layout.row()
    state = view.state if view is not None else EnvironmentState.MISSING
    is_main = view is None or view.source is EngineSource.ENVIRONMENT
    row.scale_y = 1.0 if state is EnvironmentState.READY or not is_main else 1.5
    row.operator("motion.set_up_engine", text=_BUTTON_TEXTS.get(state, "Repair Engine…"))
    if set_up.phase is SetUpPhase.PLANNED and set_up.plan is not None:
        row.operator("motion.install_engine", text="Install…", icon="IMPORT")
    if set_up.log_path is not None:
        row.operator("motion.open_log", text="", icon="TEXT").which = "SET_UP"


def _draw_part(
    layout: bpy.types.UILayout,
    preferences: bpy.types.AddonPreferences,
    name: str,
    draw: Callable[[bpy.types.UILayout, bpy.types.AddonPreferences], None],
) -> None:
    """A part that folds."""
    is_open = getattr(preferences, name)
    row = layout.row()
    row.alignment = "LEFT"
    icon = "DISCLOSURE_TRI_DOWN" if is_open else "DISCLOSURE_TRI_RIGHT"
    row.prop(preferences, name, icon=icon, emboss=False)
    if is_open:
        column = layout.column()
        column.use_property_split = True
        draw(column, preferences)


def _draw_set_up_options(
    layout: bpy.types.UILayout, preferences: bpy.types.AddonPreferences
) -> None:
    for name in (
        "environment_folder",
        "engine_wheel",
        "packages_folder",
        "base_python",
        "torch_build",
    ):
        layout.prop(preferences, name)


def _draw_other_engine(layout: bpy.types.UILayout, preferences: bpy.types.AddonPreferences) -> None:
    layout.prop(preferences, "engine_python")
    layout.prop(preferences, "engine_folder")
    layout.operator("motion.check_engine", icon="VIEWZOOM")
    check = session.engine_check
    if check is not None and not check.is_done:
        layout.label(text="Asking that Python", icon="SORTTIME")
    elif check is not None and check.facts is not None:
        facts = check.facts
        told = iface_("Engine {}, torch {}").format(facts.engine_version, facts.torch)
        layout.label(text=told, icon="CHECKMARK", translate=False)
    elif check is not None:
        layout.label(text=check.error, icon="ERROR")
    layout.prop(preferences, "connection_file")


def _draw_device(
    layout: bpy.types.UILayout,
    preferences: bpy.types.AddonPreferences,
    view: EngineView | None,
) -> None:
    column = layout.column()
    column.use_property_split = True
    column.prop(preferences, "device")
    facts = view.facts if view is not None else None
    check = session.engine_check
    if view is not None and view.source is not EngineSource.ENVIRONMENT:
        facts = check.facts if check is not None else None
    for device in facts.devices if facts is not None else ():
        told = iface_("Found: {}, {}").format(device.kind, device)
        column.label(text=told, translate=False)
    welcome = session.client.welcome if session.client is not None else None
    if welcome is not None:
        told = iface_("The engine computes on {}").format(welcome.device)
        column.label(text=told, icon="MEMORY", translate=False)


def _draw_models(
    layout: bpy.types.UILayout,
    preferences: bpy.types.AddonPreferences,
    context: bpy.types.Context,
    view: EngineView | None,
) -> None:
    running = session.models()
    own = view.models if view is not None else ()
    layout.label(text="Models")
    for model in running or own:
        row = layout.split(factor=0.25)
        row.label(text=model.name, icon="FILE_3D", translate=False)
        rest = row.split(factor=0.12)
        rest.label(text=f"{model.size_bytes / 1e6:.0f} MB", translate=False)
        _draw_text(rest, context, model.licence or "no licence given", share=_LICENCE_SHARE)
    if not running:
        layout.label(text="Those that come with the engine are listed once it runs")
    layout.operator("motion.add_model", icon="ADD")
    column = layout.column()
    column.use_property_split = True
    column.prop(preferences, "models_folder")


def _draw_text(
    layout: bpy.types.UILayout,
    context: bpy.types.Context,
    text: str,
    icon: str = "NONE",
    share: float = 1.0,
) -> None:
    """A text over as many lines as its share of the width needs."""
    scale = context.preferences.system.ui_scale
    width = context.region.width / scale if context.region is not None else 600.0
    column = layout.column(align=True)
    column.scale_y = 0.8
    lines = textwrap.wrap(iface_(text), max(20, int(share * (width - 80) / _PIXELS_PER_LETTER)))
    for number, line in enumerate(lines):
        shown = icon if number == 0 else "NONE"
        column.label(text=line, icon=shown, translate=False)
