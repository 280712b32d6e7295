"""The preferences: what they show in every state, and what their buttons do."""

from __future__ import annotations

import itertools
import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import bpy
import pytest

import blender_addon
from blender_addon.engine_link import session, set_up_plan
from blender_addon.engine_link.client import EngineLinkError
from blender_addon.engine_link.devices import EngineCheck
from blender_addon.engine_link.engine_environment import (
    Device,
    EngineEnvironment,
    EngineFacts,
    EnvironmentState,
)
from blender_addon.engine_link.engine_set_up import SetUpPhase
from blender_addon.engine_link.engine_view import EngineSource, EngineView
from blender_addon.engine_link.make_environment import STAMP, python_of
from blender_addon.engine_link.model_files import METADATA_KEY
from blender_addon.engine_link.session import EngineState
from blender_addon.ui import help_operators, preferences, preferences_layout, set_up_operators
from tests import tiny_wheels

pytestmark = pytest.mark.blender

_LABEL = bpy.types.UILayout.bl_rna.functions["label"].parameters["icon"]
ICONS = set(_LABEL.enum_items.keys())
FACTS = EngineFacts(
    engine_version="0.1.0",
    torch="2.13.0",
    devices=(Device(kind="cuda", name="RTX 4070", memory_bytes=12 << 30),),
)


class FakeLayout:
    """Writes down what it is told; refuses icons, settings and operators that there are not."""

    def __init__(self, told: list[str]) -> None:
        self.told = told

    def _part(self, **_: Any) -> FakeLayout:
        return FakeLayout(self.told)

    row = column = box = split = _part

    def label(self, *, text: str = "", icon: str = "NONE", translate: bool = True) -> None:
        assert icon in ICONS
        self.told.append(text)

    def prop(self, data: Any, name: str, *, icon: str = "NONE", **_: Any) -> None:
        assert icon in ICONS
        assert hasattr(data, name)
        self.told.append(name)

    def operator(self, name: str, *, text: str | None = None, icon: str = "NONE") -> Any:
        assert icon in ICONS
        module, function = name.split(".")
        operator = getattr(getattr(bpy.ops, module), function).get_rna_type()
        self.told.append(operator.name if text is None else text)
        return SimpleNamespace()

    def progress(self, *, factor: float, type: str, text: str) -> None:
        assert 0 <= factor <= 1
        self.told.append(text)


@pytest.fixture(autouse=True)
def own_folders(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nothing of this test goes to, or comes from, the real user's folders."""
    data, home = tmp_path / "data", tmp_path / "home"
    monkeypatch.setattr(preferences, "user_data_folder", lambda: data)
    monkeypatch.setattr(preferences, "user_models_folder", lambda: data / "models")
    monkeypatch.setattr(help_operators, "user_models_folder", lambda: data / "models")
    monkeypatch.setattr(Path, "home", lambda: home)


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """As in an installed extension: no source of the engine lies beside it."""
    monkeypatch.setattr(preferences, "_SOURCE_ROOT", tmp_path / "extensions")


def fields(**values: Any) -> SimpleNamespace:
    """What the preferences hold, where the bpy module has no add-on entry."""
    annotations = preferences.MOTION_AP_preferences.__annotations__
    empty = {name: values.get(name, "") for name in annotations}
    empty |= {"device": "auto", "torch_build": "auto", "show_set_up": True}
    return SimpleNamespace(**{**empty, "show_other_engine": True, **values})


def draw(**values: Any) -> list[str]:
    told: list[str] = []
    context = SimpleNamespace(
        preferences=SimpleNamespace(system=SimpleNamespace(ui_scale=2.0)),
        region=SimpleNamespace(width=900),
    )
    page = fields(**values)
    page.layout = FakeLayout(told)
    preferences_layout.draw_preferences(page, context)
    return told


def view(state: EnvironmentState, source: EngineSource = EngineSource.ENVIRONMENT) -> EngineView:
    is_there = state in (EnvironmentState.READY, EnvironmentState.OTHER_VERSION)
    path = Path("/somewhere/very/long") / ("x" * 100)
    return EngineView(source=source, path=path, is_there=is_there, state=state, facts=FACTS)


@pytest.mark.usefixtures("addon")
@pytest.mark.parametrize("source", EngineSource)
def test_every_state_is_drawn(source: EngineSource, monkeypatch: pytest.MonkeyPatch) -> None:
    for state, engine in itertools.product(EnvironmentState, EngineState):
        monkeypatch.setattr(session, "engine_view", view(state, source))
        monkeypatch.setattr(session, "state", engine)
        told = draw()
        runs = engine not in (EngineState.STOPPED, EngineState.LOST)
        is_there = state in (EnvironmentState.READY, EnvironmentState.OTHER_VERSION)
        assert ("Start" in told) == (is_there and not runs)
        assert any(text.endswith("Engine…") or text == "Set Up Again…" for text in told)


@pytest.mark.usefixtures("addon")
@pytest.mark.parametrize("phase", SetUpPhase)
def test_every_phase_of_the_set_up_is_drawn(
    phase: SetUpPhase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "engine_view", view(EnvironmentState.HALF))
    monkeypatch.setattr(session.set_up, "phase", phase)
    monkeypatch.setattr(session.set_up, "text", "Installing the engine")
    monkeypatch.setattr(session.set_up, "error", "There is no space left, " * 20)
    told = draw()
    is_busy = phase in (SetUpPhase.LOOKING, SetUpPhase.RUNNING)
    assert ("Cancel" in told) == is_busy
    assert ("Repair Engine…" in told) != is_busy
    assert ("The engine is being set up" in told) == (phase is SetUpPhase.RUNNING)
    assert any("no space left" in text for text in told) == (phase is SetUpPhase.FAILED)


@pytest.mark.usefixtures("addon")
def test_drawing_asks_neither_the_disk_nor_a_program(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "engine_view", view(EnvironmentState.READY))
    touched: list[str] = []

    def watch(event: str, arguments: tuple[Any, ...]) -> None:
        if is_watched and event in ("open", "subprocess.Popen", "os.listdir", "os.scandir"):
            touched.append(f"{event} {arguments[0]}")

    is_watched = False
    sys.addaudithook(watch)
    is_watched = True
    draw()
    is_watched = False
    assert touched == []


@pytest.mark.usefixtures("addon")
def test_found_devices_are_shown_with_the_choice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "engine_view", view(EnvironmentState.READY))
    told = draw()
    assert "Found: cuda, RTX 4070, 12 GB" in told
    assert told.index("device") < told.index("Found: cuda, RTX 4070, 12 GB")


@pytest.mark.usefixtures("addon", "installed")
def test_without_an_engine_each_state_says_what_to_press() -> None:
    with pytest.raises(EngineLinkError, match=r"press Set Up Engine in the preferences"):
        preferences.engine_command()
    environment = preferences.environment()
    environment.folder.mkdir(parents=True)
    (environment.folder / STAMP).write_text('{"version": "0.0.0"}')
    with pytest.raises(EngineLinkError, match="Python of the engine is gone"):
        preferences.engine_command()


@pytest.mark.usefixtures("addon", "installed")
def test_what_is_set_up_is_used_with_the_user_s_models() -> None:
    environment = preferences.environment()
    ready(environment)
    (environment.root / "models").mkdir()
    command = preferences.engine_command()
    assert command.python == environment.python
    assert command.engine_root is None
    assert command.model_folders == (environment.root / "models",)
    preferences.refresh_view()
    assert session.engine_view is not None
    assert session.engine_view.source is EngineSource.ENVIRONMENT
    assert session.engine_view.is_there


@pytest.mark.usefixtures("addon")
def test_a_chosen_interpreter_or_connection_counts_more(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    chosen = python_of(tmp_path / "mine")
    given = fields(engine_python=str(chosen))
    monkeypatch.setattr(preferences, "get_preferences", lambda context=None: given)
    preferences.refresh_view()
    assert session.engine_view is not None
    assert (session.engine_view.source, session.engine_view.path) == (EngineSource.PYTHON, chosen)
    assert not session.engine_view.is_there
    with pytest.raises(EngineLinkError, match="is not there"):
        preferences.engine_command()
    given.connection_file = str(tmp_path / "engine.json")
    preferences.refresh_view()
    assert session.engine_view.source is EngineSource.CONNECTION
    with pytest.raises(EngineLinkError, match="No engine runs with the connection file"):
        preferences.open_engine()


@pytest.mark.usefixtures("addon", "installed")
def test_the_button_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(set_up_plan.packages, "no_torch_reason", lambda: "")
    assert not bpy.ops.motion.install_engine.poll()
    with pytest.raises(RuntimeError, match=r"marey-.*\.whl, which lies beside"):
        bpy.ops.motion.set_up_engine()
    assert session.set_up.phase is SetUpPhase.FAILED
    assert not preferences.environment().root.exists()
    monkeypatch.setattr(session, "engine_view", view(EnvironmentState.MISSING))
    assert "engine_wheel" in draw(show_set_up=False)  # the field that mends it is at hand


@pytest.mark.slow
@pytest.mark.usefixtures("addon", "installed")
def test_the_buttons_lead_to_an_engine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    packages = set_up_plan.packages
    monkeypatch.setattr(packages, "no_torch_reason", lambda: "")
    monkeypatch.setattr(packages, "sizes", lambda build: packages.Sizes(download=1, disk=1))
    monkeypatch.setattr(packages, "TEXT_ENCODER_SHA256", tiny_wheels.text_encoder_sha256())
    version = preferences.release().version
    folder = tiny_wheels.make(tmp_path / "packages", version=version)
    given = fields(packages_folder=str(folder))
    monkeypatch.setattr(preferences, "get_preferences", lambda context=None: given)

    assert bpy.ops.motion.set_up_engine() == {"FINISHED"}
    assert session.set_up.phase is SetUpPhase.PLANNED
    assert not preferences.environment().folder.exists()
    assert bpy.ops.motion.install_engine() == {"FINISHED"}

    assert preferences.environment().state(version) is EnvironmentState.READY
    assert preferences.engine_command().python == preferences.environment().python
    assert session.engine_view is not None
    assert [str(one) for one in session.engine_view.facts.devices] == ["Tiny, 8 GB"]
    assert "Found: cpu, Tiny, 8 GB" in draw()


@pytest.mark.usefixtures("addon")
def test_a_python_without_an_engine_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    root = preferences.user_data_folder()
    (root / "engine").mkdir(parents=True)
    (root / "engine" / "__init__.py").touch()
    (root / "engine" / "__main__.py").write_text("raise SystemExit('no engine here')")
    given = fields(engine_python=sys.executable, engine_folder=str(root))
    monkeypatch.setattr(preferences, "get_preferences", lambda context=None: given)
    assert bpy.ops.motion.check_engine() == {"FINISHED"}
    assert session.engine_check is not None
    assert session.engine_check.error.endswith("no engine here")
    monkeypatch.setattr(session, "engine_view", view(EnvironmentState.MISSING))
    assert any("no engine here" in text for text in draw())


@pytest.mark.usefixtures("addon")
def test_a_model_is_added_with_its_licence(tmp_path: Path) -> None:
    source = model(tmp_path / "mine.safetensors")
    assert bpy.ops.motion.add_model(filepath=str(source)) == {"FINISHED"}
    assert (preferences.user_models_folder() / "mine.safetensors").is_file()
    told = draw()
    assert "mine" in told
    assert "CC-BY-4.0" in told
    other = tmp_path / "other.safetensors"
    other.write_bytes(b"something else")
    with pytest.raises(RuntimeError, match="not a safetensors file"):
        bpy.ops.motion.add_model(filepath=str(other))


@pytest.mark.usefixtures("addon")
def test_the_report_has_what_helps_and_no_prompt() -> None:
    bpy.context.scene.motion.prompt = "a secret prompt"
    preferences.refresh_view()
    log = preferences.user_folder() / "engine-1.log"
    log.write_text("Job: a secret prompt\nOn the disk\n", encoding="utf-8")
    try:
        report = help_operators.collect_report(bpy.context)
        text = help_operators.write_report(report, with_paths=False, with_prompts=False)
        open_text = help_operators.write_report(report, with_paths=True, with_prompts=True)
    finally:
        log.unlink()
    assert bpy.app.version_string in text
    assert "pyzmq" in text
    assert "On the disk" in text
    assert "secret" not in text
    assert str(Path.home()) not in text
    assert "a secret prompt" in open_text
    assert bpy.ops.motion.copy_report() == {"FINISHED"}


@pytest.mark.usefixtures("addon", "installed")
def test_where_there_is_no_log_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(help_operators, "engine_log", lambda: None)
    assert bpy.ops.motion.open_log() == {"CANCELLED"}
    assert bpy.ops.motion.open_log(which="SET_UP") == {"CANCELLED"}


def test_on_and_off_twenty_times_in_the_middle_of_a_set_up(tmp_path: Path) -> None:
    processes: list[Any] = []
    timers = (set_up_operators._poll, set_up_operators._start_engine, preferences.refresh_view)
    for _ in range(20):
        blender_addon.register()
        session.set_up.look(preferences.wishes())
        session.set_up.poll()
        session.engine_check = EngineCheck(Path(sys.executable), tmp_path)
        processes.append(session.engine_check._process)
        for timer in timers:
            bpy.app.timers.register(timer, persistent=True)
        blender_addon.unregister()
    deadline = time.monotonic() + 5
    while any(process.poll() is None for process in processes):
        assert time.monotonic() < deadline
    for timer in timers:
        assert not bpy.app.timers.is_registered(timer)
    assert not [name for name in dir(bpy.types) if name.startswith("MOTION_")]
    assert session.engine_view is None
    assert not session.set_up.is_busy


@pytest.fixture(autouse=True)
def nothing_left_to_do() -> Iterator[None]:
    yield
    session.set_up.close()
    session.set_up.plan = session.set_up.log_path = None


def ready(environment: EngineEnvironment) -> None:
    environment.python.parent.mkdir(parents=True)
    environment.python.write_text("")
    stamp = {"version": preferences.release().version}
    (environment.folder / STAMP).write_text(json.dumps(stamp))


def model(path: Path) -> Path:
    about = {"format": 1, "method": "mdm", "accepts": ["prompt"], "fps": 20, "licence": "CC-BY-4.0"}
    text = json.dumps({"__metadata__": {METADATA_KEY: json.dumps(about)}}).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text)
    return path
