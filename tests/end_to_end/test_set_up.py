"""A real engine environment, made as the preferences make it, from local files only; then a motion.

Slow: torch and all that belongs to it are installed into a folder of this test's own.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

import build_addon
from blender_addon import protocol
from blender_addon.engine_link import engine_packages as packages
from blender_addon.engine_link.client import EngineClient
from blender_addon.engine_link.engine_environment import (
    EngineEnvironment,
    EnvironmentState,
    Release,
)
from blender_addon.engine_link.engine_set_up import EngineSetUp, SetUpPhase
from blender_addon.engine_link.process import EngineCommand, EngineProcess
from blender_addon.engine_link.set_up_plan import Wishes

pytestmark = [pytest.mark.end_to_end, pytest.mark.slow]

TIMEOUT_S = 600.0
REPORT = ["--dry-run", "--quiet", "--ignore-installed", "--no-deps", "--report", "-"]


@pytest.fixture(scope="module")
def packages_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every package of the engine as a wheel, with the engine's own."""
    if sys.platform.startswith("linux") and "+cpu" not in torch_file():
        pytest.skip("needs the CPU build of torch at hand; the package index has gigabytes of CUDA")
    out = tmp_path_factory.mktemp("dist")
    try:
        return build_addon.collect_packages(out, build_addon.build_engine(out), "cpu")
    except build_addon.BuildError as error:
        pytest.skip(f"needs the engine's packages: {error}")


def torch_file() -> str:
    """Which file of torch pip would take, without fetching it; "" if none."""
    command = [sys.executable, "-m", "pip", "install", *REPORT, packages.TORCH]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=TIMEOUT_S)
    if done.returncode != 0:
        return ""
    (torch,) = json.loads(done.stdout)["install"]
    return str(torch["download_info"]["url"]).replace("%2B", "+")


def test_one_button_leads_to_a_motion_without_a_network(
    packages_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(Path(build_addon.ROOT))  # the source there must not be what is run
    (wheel,) = packages_folder.glob("marey-*.whl")
    known = build_addon.release(wheel)
    release = Release(
        version=str(known["version"]), wheel=str(known["wheel"]), sha256=str(known["sha256"])
    )
    environment = EngineEnvironment(tmp_path / "data")
    set_up = EngineSetUp()
    set_up.look(
        Wishes(
            root=environment.root,
            release=release,
            blender_python=Path(sys.executable),
            base_python=Path(sys.executable),
            is_online_allowed=False,
            packages_folder=packages_folder,
        )
    )
    work(set_up)
    assert set_up.phase is SetUpPhase.PLANNED, set_up.error
    assert set_up.plan is not None
    assert set_up.plan.is_local
    assert set_up.plan.is_known_wheel
    set_up.install()
    work(set_up)
    assert set_up.phase is SetUpPhase.DONE, set_up.error
    assert environment.state(release.version) is EnvironmentState.READY
    assert "cpu" in {device.kind for device in environment.facts().devices}
    disk_mb = sum(file.lstat().st_size for file in environment.folder.rglob("*")) / 1e6
    assert disk_mb < packages.sizes(set_up.plan.build).disk  # no more than the artist was told

    command = EngineCommand(
        python=environment.python,
        folder=tmp_path / "log",
        device="cpu",
        model_folders=(tiny_model(tmp_path / "models"),),
    )
    process = EngineProcess.start(command)
    try:
        result = one_motion(process)
        code = "import engine; print(engine.__file__)"
        where = subprocess.check_output([environment.python, "-P", "-c", code], text=True)
    finally:
        process.kill()
        process.wait(10)
    assert result.root_translation.shape == (40, 3)
    assert Path(where.strip()).is_relative_to(environment.folder)
    assert str(build_addon.ROOT) not in "\n".join(process.log_tail(200))


def tiny_model(folder: Path) -> Path:
    """A folder with a random model that fits this source, whatever the shipped one does."""
    script = build_addon.ROOT / "scripts" / "make_tiny_checkpoint.py"
    command = [sys.executable, str(script), "--out", str(folder / "tiny.safetensors")]
    subprocess.run(command, check=True, timeout=TIMEOUT_S, capture_output=True)
    return folder


def work(set_up: EngineSetUp) -> None:
    deadline = time.monotonic() + TIMEOUT_S
    while set_up.poll():
        assert time.monotonic() < deadline, set_up.text
        time.sleep(0.1)


def one_motion(process: EngineProcess) -> protocol.JobResult:
    deadline = time.monotonic() + TIMEOUT_S
    while (connection := process.connection()) is None:
        process.check_running()
        assert time.monotonic() < deadline
        time.sleep(0.1)
    client = EngineClient(connection.endpoint, connection.token)
    request = protocol.PromptRequest(
        job_id="first",
        model="tiny",
        prompt="a person walks forward",
        num_frames=40,
        fps=20.0,
        num_steps=5,
    )
    try:
        client.send(request)
        while time.monotonic() < deadline:
            process.check_running()
            for message in client.receive(0.05):
                assert not isinstance(message, protocol.JobFailed), message
                if isinstance(message, protocol.JobResult):
                    return message
            time.sleep(0.02)
    finally:
        client.close()
    raise AssertionError("timed out")
