"""Panels draw in every state of the engine and of jobs, with icons and settings that exist.

Background Blender draws nothing, so a layout that writes down what it is told stands in.
"""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import bpy
import pytest

from blender_addon import protocol
from blender_addon.batch.engine_requests import EngineRequests
from blender_addon.engine_link import session
from blender_addon.engine_link.engine_environment import EngineFacts, EnvironmentState
from blender_addon.engine_link.engine_set_up import SetUpPhase
from blender_addon.engine_link.engine_view import EngineSource, EngineView
from blender_addon.engine_link.jobs import Job, JobState, JobTable
from blender_addon.engine_link.session import EngineState
from blender_addon.ui import panels, panels_jobs

pytestmark = [pytest.mark.blender, pytest.mark.usefixtures("addon")]

_LABEL = bpy.types.UILayout.bl_rna.functions["label"].parameters["icon"]
ICONS = set(_LABEL.enum_items.keys())


class FakeLayout:
    """Takes what a layout takes; refuses icons, settings and operators that there are not."""

    use_property_split = False

    def __init__(self, told: list[str]) -> None:
        self.told = told

    def _part(self, **_: Any) -> FakeLayout:
        return FakeLayout(self.told)

    row = column = box = split = grid_flow = _part

    def label(self, *, text: str = "", icon: str = "NONE", translate: bool = True) -> None:
        assert icon in ICONS
        self.told.append(text)

    def separator(self) -> None:
        pass

    def template_icon(self, *, icon_value: int, scale: float) -> None:
        assert icon_value >= 0  # without a window no icon has a number
        self.told.append("picture")

    def context_pointer_set(self, name: str, data: Any) -> None:
        assert isinstance(data, bpy.types.Object)

    def prop(
        self,
        data: Any,
        name: str,
        *,
        text: str = "",
        placeholder: str = "",
        icon: str = "NONE",
        expand: bool = False,
    ) -> None:
        assert hasattr(data, name)
        assert icon in ICONS
        self.told += [shown for shown in (text, placeholder) if shown]

    def prop_search(
        self, data: Any, name: str, among: Any, items: str, *, text: str, icon: str = "NONE"
    ) -> None:
        assert icon in ICONS
        assert hasattr(data, name)
        assert hasattr(among, items)
        self.told.append(text)

    def menu(self, name: str, *, text: str, icon: str = "NONE") -> None:
        assert hasattr(bpy.types, name)
        assert icon in ICONS
        self.told.append(text)

    def operator(
        self,
        name: str,
        *,
        text: str | None = None,
        icon: str = "NONE",
        translate: bool = True,
        depress: bool = False,
        emboss: bool = True,
    ) -> Any:
        assert icon in ICONS
        module, function = name.split(".")
        operator = getattr(getattr(bpy.ops, module), function).get_rna_type()
        self.told.append(operator.name if text is None else text)
        return SimpleNamespace()

    def progress(self, *, factor: float, type: str, text: str) -> None:
        assert 0 <= factor <= 1
        self.told.append(text)


def draw(panel: type) -> list[str]:
    told: list[str] = []
    context = SimpleNamespace(
        scene=bpy.context.scene,
        object=bpy.context.object,
        preferences=SimpleNamespace(system=SimpleNamespace(ui_scale=1.0)),
        region=SimpleNamespace(width=280),
    )
    panel.draw(SimpleNamespace(layout=FakeLayout(told)), context)
    return told


@pytest.mark.parametrize("state", EngineState)
def test_the_engine_in_every_state(state: EngineState, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "state", state)
    told = draw(panels.MOTION_PT_engine)
    has_start = {"Start", "Start Again"} & set(told)
    assert bool(has_start) == (state in (EngineState.STOPPED, EngineState.LOST))


def test_a_lost_engine_says_why_in_lines_that_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "state", EngineState.LOST)
    why = "The engine was killed by signal 9 (log: /home/somebody/very/long/path/engine-1.log)"
    monkeypatch.setattr(session, "message", why)
    told = draw(panels.MOTION_PT_engine)
    assert "Start Again" in told
    assert "killed by signal 9" in " ".join(told)
    assert "Open Log" in told
    assert "somebody" not in " ".join(told)  # a button has the path


def test_a_warning_is_said_below_the_button(
    monkeypatch: pytest.MonkeyPatch, mannequin: bpy.types.Object
) -> None:
    warning = "The graphics card has too little memory for this: it was made on the processor"
    job = Job(armature_name="Rig", start_frame=1, prompt="a person walks", warnings=[warning])
    job.state = JobState.DONE
    monkeypatch.setattr(session, "jobs", JobTable())
    session.jobs.add(job)
    assert warning in " ".join(draw(panels.MOTION_PT_request))
    session.jobs.add(Job(armature_name="Rig", start_frame=1, prompt="a person sits"))
    assert warning not in " ".join(draw(panels.MOTION_PT_request))  # the next is on its way


def test_a_job_that_failed_names_no_log(monkeypatch: pytest.MonkeyPatch) -> None:
    job = Job(armature_name="Rig", start_frame=1, prompt="a person walks")
    job.fail("The engine ended with code 1: no such file (log: /a (b)/engine-1.log)", code="x")
    monkeypatch.setattr(session, "jobs", JobTable())
    session.jobs.add(job)
    told = " ".join(draw(panels_jobs.MOTION_PT_jobs))
    assert "ended with code 1: no such file" in told
    assert "log:" not in told


@pytest.mark.parametrize(
    ("state", "words"),
    [
        (EnvironmentState.MISSING, "No engine is set up yet"),
        (EnvironmentState.HALF, "was interrupted"),
        (EnvironmentState.BROKEN, "is gone"),
    ],
)
def test_without_an_engine_the_way_to_one_is_offered(
    state: EnvironmentState, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    view = EngineView(
        source=EngineSource.ENVIRONMENT,
        path=Path("/nowhere"),
        is_there=False,
        state=state,
        facts=EngineFacts(),
    )
    monkeypatch.setattr(session, "engine_view", view)
    told = draw(panels.MOTION_PT_engine)
    assert words in " ".join(told)
    assert "Set Up Engine…" in told
    assert "Start" not in told
    monkeypatch.setattr(session.set_up, "phase", SetUpPhase.RUNNING)
    assert "Cancel Set-Up" in draw(panels.MOTION_PT_engine)


def test_the_request_with_and_without_an_armature() -> None:
    assert "Add Mannequin" in draw(panels.MOTION_PT_request)
    bpy.ops.motion.add_mannequin()
    told = draw(panels.MOTION_PT_request)
    assert "Generate" in told
    assert "Marey Mannequin, frames 1 to" in " ".join(told)
    draw(panels.MOTION_PT_quality)


@pytest.mark.parametrize("state", JobState)
def test_jobs_in_every_state(state: JobState, monkeypatch: pytest.MonkeyPatch) -> None:
    job = Job(armature_name="Rig", start_frame=1, prompt="a person walks", state=state)
    job.message, job.warnings = "Something went wrong", ["Far from what was learned"]
    job.position = 2
    monkeypatch.setattr(session, "jobs", [job] * 10)
    told = draw(panels_jobs.MOTION_PT_jobs)
    assert "a person walks" in told
    assert "Far from what was learned" in told
    assert ("Something went wrong" in told) == (state is JobState.FAILED)
    assert "and 2 older" in told


def test_progress_and_failure_stand_below_the_button(
    mannequin: bpy.types.Object, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = JobTable()
    job = Job(armature_name="Rig", start_frame=1, prompt="a person walks", job_id="a")
    table.add(job)
    monkeypatch.setattr(session, "jobs", table)
    job.advance(10, 100, 0.0)
    job.advance(20, 100, 1.0)
    assert "20%, 8 s left" in draw(panels.MOTION_PT_request)
    job.fail("No memory", code="out_of_memory")
    told = draw(panels.MOTION_PT_request)
    assert "No memory" in told
    assert "Copy Details" in told
    table.remove_ended()
    assert "Copy Details" not in draw(panels.MOTION_PT_request)


def test_models_are_listed_with_the_default_first(monkeypatch: pytest.MonkeyPatch) -> None:
    entries = [
        protocol.ModelEntry(
            name=name,
            method="m",
            accepts=kinds,
            fps=20.0,
            licence="CC0-1.0",
            size_bytes=1,
            model_hash="",
            default=name == "mdm-free",
            default_for_video=name == "lifter",
        )
        for name, kinds in (
            ("both", ["prompt", "video"]),
            ("lifter", ["video"]),
            ("mdm-free", ["prompt"]),
        )
    ]
    monkeypatch.setattr(session, "models", lambda: entries)
    assert draw(panels.MOTION_MT_models) == ["Default", "both: CC0-1.0", "mdm-free: CC0-1.0"]
    engine = EngineRequests(lambda: None)
    meant = [engine.model("", kind) for kind in ("prompt", "video")]
    assert [entry and entry.name for entry in meant] == ["mdm-free", "lifter"]
