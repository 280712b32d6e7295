"""The set-up's decisions, without installing anything."""

from __future__ import annotations

import ast
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

import environment
import environment_contents as contents
import system_libraries
from environment_contents import Part, PinnedFile

SCRIPTS = Path(environment.__file__).parent
BEFORE_SET_UP = ("environment", "environment_contents", "system_libraries", "demo", "test")


@pytest.fixture
def part(tmp_path: Path) -> Part:
    """An environment that looks installed, but for its stamp."""
    folder = tmp_path / ".venv"
    python = environment.python_of(folder)
    python.parent.mkdir(parents=True)
    python.touch()
    return Part(
        name="engine",
        folder=folder,
        requirements=("numpy>=1.26",),
        download_mb=100,
        disk_gb=1.0,
    )


def test_a_stamped_environment_is_ready(part: Part) -> None:
    assert not environment.is_ready(part)

    environment._stamp(part)

    assert environment.is_ready(part)


def test_another_requirement_makes_it_stale(part: Part) -> None:
    environment._stamp(part)

    assert not environment.is_ready(replace(part, requirements=("numpy>=2",)))


def test_changed_constraints_make_it_stale(part: Part, tmp_path: Path) -> None:
    constraints = tmp_path / "constraints.txt"
    constraints.write_text("torch==2.13.0", encoding="utf-8")
    part = replace(part, constraints=constraints)
    environment._stamp(part)
    assert environment.is_ready(part)

    constraints.write_text("torch==2.14.0", encoding="utf-8")

    assert not environment.is_ready(part)


def test_too_little_room_on_the_disk_is_said_before_anything_is_made(
    part: Part, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    environment._stamp(part)
    missing = [replace(part, folder=part.folder.with_name(f".venv-{name}")) for name in "abc"]
    made: list[Part] = []
    monkeypatch.setattr(environment, "_make", made.append)
    _leave_free(monkeypatch, 3.0)

    with pytest.raises(SystemExit) as ended:
        environment.set_up([part, *missing[:2]], optional=missing[2:])

    assert ended.value.code == 1
    assert made == []
    assert "has 3.0 GB free, setting up .venv-a, .venv-b, .venv-c needs 3.1" in (
        capsys.readouterr().err
    )

    _leave_free(monkeypatch, 3.2)
    assert environment.set_up([part, *missing[:2]], optional=missing[2:])
    assert made == missing


def test_what_is_there_already_needs_no_room(part: Part, monkeypatch: pytest.MonkeyPatch) -> None:
    environment._stamp(part)
    _leave_free(monkeypatch, 0.0)

    environment.set_up([part])


def test_only_what_a_folder_lacks_needs_room(part: Part, monkeypatch: pytest.MonkeyPatch) -> None:
    """As after a set-up that ended on a full disk, or of the smaller of two parts."""
    environment._stamp(part)
    (part.folder / environment.UNFINISHED).touch()
    with (part.folder / "half-made").open("wb") as file:
        file.truncate(600_000_000)
    larger = replace(part, name="development", disk_gb=2.0)
    monkeypatch.setattr(environment, "_make", lambda part: None)

    _leave_free(monkeypatch, 1.4)
    with pytest.raises(SystemExit):
        environment.set_up([larger, part])
    _leave_free(monkeypatch, 1.6)
    environment.set_up([larger, part])


def test_a_file_that_goes_while_a_folder_is_weighed_counts_nothing(
    part: Part, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another set-up may be at work there."""
    walked = [(str(part.folder), [], ["gone"])]
    monkeypatch.setattr(environment.os, "walk", lambda folder: walked)

    assert environment._size_gb(part.folder) == 0


def _leave_free(monkeypatch: pytest.MonkeyPatch, gigabytes: float) -> None:
    monkeypatch.setattr(environment, "_has_nvidia_gpu", lambda: False)
    monkeypatch.setattr(
        environment.shutil, "disk_usage", lambda _: SimpleNamespace(free=gigabytes * 1e9)
    )


def test_an_interrupted_set_up_is_not_ready(part: Part) -> None:
    environment._stamp(part)
    (part.folder / environment.UNFINISHED).touch()

    assert not environment.is_ready(part)


def test_an_interrupted_set_up_starts_over(part: Part, monkeypatch: pytest.MonkeyPatch) -> None:
    leftover = part.folder / "half-installed"
    leftover.touch()
    (part.folder / environment.UNFINISHED).touch()
    monkeypatch.setattr(environment.subprocess, "run", lambda *_, **__: _Done(0))

    environment._make_folder(part.folder)

    assert not leftover.exists()
    assert (part.folder / environment.UNFINISHED).exists(), "what is killed now is not seen later"


def test_a_failed_renewal_keeps_the_working_environment(
    part: Part, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment._stamp(part)
    changed = replace(part, requirements=("numpy>=2",))

    def fail(*_: object) -> None:
        raise environment.SetupError("no network")

    monkeypatch.setattr(environment, "_install", fail)
    with pytest.raises(environment.SetupError, match="no network"):
        environment._make(changed)

    assert environment.is_ready(part)


def test_what_can_be_done_without_is_done_without(
    part: Part, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: object) -> None:
        raise environment.SetupError("pip could not install ray: no network")

    monkeypatch.setattr(environment, "_install", fail)

    assert not environment.set_up([], optional=[part])
    assert "could not install ray" in capsys.readouterr().err

    environment._stamp(part)
    (part.folder / environment.UNFINISHED).unlink()
    assert environment.set_up([], optional=[part])


def test_an_environment_finds_what_another_has(
    part: Part, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(environment, "_site_packages", lambda folder: folder)
    other = tmp_path / "other"

    environment._put_on_path(replace(part, sees=other))

    lines = (part.folder / "marey-source.pth").read_text(encoding="utf-8").splitlines()
    assert lines == [str(contents.ROOT), str(other)]


def test_a_file_with_another_hash_is_refused(
    part: Part, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pinned = PinnedFile(requirement="weights==1", file="weights.bin", sha256="0" * 64)
    monkeypatch.setattr(environment, "_pip", lambda *_: None)
    monkeypatch.setattr(environment, "_site_packages", lambda _: tmp_path)
    (tmp_path / "weights.bin").write_bytes(b"other")

    with pytest.raises(environment.SetupError, match=r"weights\.bin.*SHA-256"):
        environment._install_pinned_files(
            replace(part, pinned_files=(pinned,)), part.folder / environment.LOG
        )


def test_another_python_gets_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "version_info", (3, 9, 2))
    monkeypatch.setattr(environment.shutil, "which", lambda _: None)

    with pytest.raises(SystemExit) as ended:
        environment.require_python()

    assert ended.value.code == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert "3.9.2" in lines[0]
    assert "3.11" in lines[0]


def test_missing_libraries_end_with_code_2(
    part: Part, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(system_libraries, "missing_packages", lambda: ["libegl1"])
    monkeypatch.setattr(system_libraries.os, "geteuid", lambda: 1000, raising=False)
    monkeypatch.setattr(system_libraries.shutil, "which", lambda _: "/usr/bin/apt-get")

    with pytest.raises(SystemExit) as ended:
        environment.set_up([replace(part, name="bpy-5.0")])

    assert ended.value.code == 2
    assert "libegl1" in capsys.readouterr().err.splitlines()[-1]


def test_the_last_error_of_a_log_is_shown(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("ERROR: first\nmore\nERROR: No matching distribution\nhint\n", encoding="utf-8")

    assert environment._last_error(log) == "No matching distribution"


@pytest.mark.parametrize("name", BEFORE_SET_UP)
def test_what_runs_before_set_up_uses_the_standard_library_only(name: str) -> None:
    tree = ast.parse((SCRIPTS / f"{name}.py").read_text(encoding="utf-8"))
    own = {path.stem for path in SCRIPTS.glob("*.py")}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            modules = {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            modules = {(node.module or "").split(".")[0]}
        else:
            continue
        assert modules <= set(sys.stdlib_module_names) | own, f"{name}.py:{node.lineno}"


def test_the_engine_never_installs_blender() -> None:
    parts = [contents.engine_part(), contents.development_part()]

    assert not [one for part in parts for one in part.requirements if one.startswith("bpy")]


def test_development_has_all_that_the_engine_needs() -> None:
    assert set(contents.engine_part().requirements) <= set(contents.development_part().requirements)


def test_the_cluster_has_ray_and_sees_the_rest() -> None:
    part = contents.cluster_part()

    assert [one.split(">")[0] for one in part.requirements] == ["ray"]
    assert part.sees == contents.development_part().folder
    assert part.folder != part.sees


def test_torch_is_pinned() -> None:
    assert "torch==2.13.0" in contents.CONSTRAINTS.read_text(encoding="utf-8")


def test_every_blender_has_numpy_below_2() -> None:
    for version in contents.BPY_WHEELS:
        assert "numpy<2" in contents.blender_part(version).requirements


def test_an_unknown_blender_is_refused() -> None:
    with pytest.raises(ValueError, match=r"3\.6"):
        contents.blender_part("3.6")


class _Done:
    def __init__(self, returncode: int) -> None:
        self.returncode = returncode
        self.stdout = self.stderr = ""
