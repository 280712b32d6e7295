"""What would be set up, and why not: decided without touching anything."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from blender_addon.engine_link import set_up_plan
from blender_addon.engine_link.engine_environment import Release
from blender_addon.engine_link.engine_packages import TorchBuild
from blender_addon.engine_link.python_search import FoundPython, MachineFacts
from blender_addon.engine_link.set_up_plan import SetUpProblem, Wishes, find_wheel, make_plan

NAME = "marey-9.9.9-py3-none-any.whl"
PYTHON = FoundPython(program=Path("/usr/bin/python3.11"), version=(3, 11, 7))
FACTS = MachineFacts(pythons=(PYTHON,))


@pytest.fixture(autouse=True)
def nothing_at_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    home = tmp_path / "home"
    monkeypatch.setattr(Path, "home", lambda: home)
    monkeypatch.setattr(set_up_plan.packages, "no_torch_reason", lambda: "")


@pytest.fixture
def wishes(tmp_path: Path) -> Wishes:
    return Wishes(
        root=tmp_path / "root",
        release=Release(version="9.9.9", wheel=NAME, sha256="a" * 64),
        blender_python=Path("/blender/python"),
        is_online_allowed=True,
    )


def wheel(folder: Path, name: str = NAME) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(b"wheel")
    return folder / name


def test_the_wheel_is_looked_for_beside_the_extension(wishes: Wishes, tmp_path: Path) -> None:
    assert find_wheel(replace(wishes, repository="https://studio.test/blender/index.json")) == (
        f"https://studio.test/blender/{NAME}"
    )
    local = wheel(tmp_path / "my repo")
    address = (tmp_path / "my repo" / "index.json").as_uri()
    assert find_wheel(replace(wishes, repository=address)) == str(local)


@pytest.mark.parametrize("place", ["root", "home/Downloads", "packages"])
def test_or_in_folders_that_are_near(wishes: Wishes, tmp_path: Path, place: str) -> None:
    file = wheel(tmp_path / place)
    given = replace(wishes, packages_folder=tmp_path / "packages")
    assert find_wheel(given) == str(file)


def test_a_chosen_wheel_counts_as_file_folder_or_address(wishes: Wishes, tmp_path: Path) -> None:
    file = wheel(tmp_path / "chosen")
    assert find_wheel(replace(wishes, wheel=str(file))) == str(file)
    assert find_wheel(replace(wishes, wheel=str(file.parent))) == str(file)
    address = "https://studio.test/x.whl"
    assert find_wheel(replace(wishes, wheel=address)) == address
    with pytest.raises(SetUpProblem, match="is not there"):
        find_wheel(replace(wishes, wheel=str(tmp_path / "gone.whl")))


def test_a_wheel_that_is_nowhere_is_asked_for_by_name(wishes: Wishes) -> None:
    with pytest.raises(SetUpProblem, match=NAME):
        make_plan(wishes, FACTS)


def test_nothing_goes_online_unless_blender_may(wishes: Wishes, tmp_path: Path) -> None:
    wheel(tmp_path / "root")
    offline = replace(wishes, is_online_allowed=False)
    with pytest.raises(SetUpProblem, match="Allow Online Access"):
        make_plan(offline, FACTS)

    local = replace(offline, packages_folder=tmp_path / "packages")
    assert make_plan(local, FACTS).is_local

    with pytest.raises(SetUpProblem, match="Allow Online Access"):
        make_plan(replace(local, wheel="https://studio.test/x.whl"), FACTS)


def test_an_address_without_a_lock_needs_a_known_hash(wishes: Wishes) -> None:
    with pytest.raises(SetUpProblem, match="https"):
        make_plan(replace(wishes, wheel="http://studio.test/other.whl"), FACTS)
    assert make_plan(replace(wishes, wheel=f"http://studio.test/{NAME}"), FACTS).is_known_wheel


def test_the_plan_says_folder_size_and_source_before_anything_is_done(
    wishes: Wishes, tmp_path: Path
) -> None:
    wheel(tmp_path / "root")
    plan = make_plan(wishes, replace(FACTS, nvidia_gpu="NVIDIA RTX 4070"))
    told = "\n".join(plan.lines())
    assert plan.build is TorchBuild.CUDA
    assert str(tmp_path / "root" / "engine") in told
    assert "3.5 GB to download, 7.0 GB on disk" in told
    assert "NVIDIA RTX 4070" in told
    assert "Python 3.11.7" in told
    assert not (tmp_path / "root" / "engine").exists()


def test_from_local_files_nothing_is_said_to_be_downloaded(wishes: Wishes, tmp_path: Path) -> None:
    file = wheel(tmp_path / "packages", "other.whl")
    given = replace(wishes, wheel=str(file), packages_folder=file.parent)
    told = "\n".join(make_plan(given, FACTS).lines())
    assert "download" not in told
    assert "chosen by you" in told


def test_a_wish_for_a_build_counts_more_than_the_card(wishes: Wishes, tmp_path: Path) -> None:
    wheel(tmp_path / "root")
    facts = replace(FACTS, nvidia_gpu="NVIDIA RTX 4070")
    assert make_plan(replace(wishes, build=TorchBuild.CPU), facts).build is TorchBuild.CPU


def test_where_no_python_fits_it_says_which_were_found(wishes: Wishes) -> None:
    old = replace(PYTHON, version=(3, 9, 2), why_not="needs 3.11 to 3.14")
    with pytest.raises(SetUpProblem, match=r"Python 3.9.2 needs 3.11 to 3.14.*Install Python"):
        make_plan(wishes, MachineFacts(pythons=(old,)))
    with pytest.raises(SetUpProblem, match="Install Python"):
        make_plan(wishes, MachineFacts())
    with pytest.raises(SetUpProblem, match="it is no Python"):
        make_plan(replace(wishes, base_python=Path("/x/y")), MachineFacts())
