"""What is installed is what the project is tested with."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import environment
import environment_contents as contents
from blender_addon.engine_link import engine_packages as packages
from blender_addon.engine_link.engine_packages import TorchBuild


def test_versions_are_those_of_the_set_up_scripts() -> None:
    text = contents.CONSTRAINTS.read_text(encoding="utf-8")
    pinned = set(re.findall(r"(?m)^[\w.-]+==[\w.]+", text))
    assert set(packages.CONSTRAINTS) <= pinned
    assert packages.TORCH in pinned
    pinned_files = [(one.requirement, one.file, one.sha256) for one in contents.PINNED_FILES]
    assert pinned_files == [
        (packages.TEXT_ENCODER, packages.TEXT_ENCODER_FILE, packages.TEXT_ENCODER_SHA256),
        *((packages.DETECTOR, file, sha256) for file, sha256 in packages.DETECTOR_FILES.items()),
    ]
    assert environment.CPU_INDEX == packages.CPU_INDEX
    assert environment.CUDA_INDEX == packages.CUDA_INDEX


def test_the_least_python_is_the_project_s() -> None:
    least = ".".join(map(str, packages.LEAST_PYTHON))
    assert contents.project()["project"]["requires-python"] == f">={least}"


@pytest.mark.parametrize(
    ("system", "has_gpu", "build", "index"),
    [
        ("linux", False, TorchBuild.CPU, packages.CPU_INDEX),
        ("linux", True, TorchBuild.CUDA, None),
        ("win32", False, TorchBuild.CPU, None),
        ("win32", True, TorchBuild.CUDA, packages.CUDA_INDEX),
        ("darwin", False, TorchBuild.MPS, None),
    ],
)
def test_the_build_that_fits(
    system: str, has_gpu: bool, build: TorchBuild, index: str | None
) -> None:
    assert packages.choose_build(has_nvidia_gpu=has_gpu, system=system) is build
    assert packages.torch_index(build, system=system) == index


def test_sizes_are_in_words_and_the_unknown_build_counts_as_the_largest() -> None:
    assert str(packages.sizes(TorchBuild.CPU)) == "590 MB to download, 1.8 GB on disk"
    largest = packages.sizes(TorchBuild.INDEX, system="linux")
    assert largest == packages.sizes(TorchBuild.CUDA)


def test_a_mac_with_an_intel_processor_is_told_what_to_do() -> None:
    assert "connection file" in packages.no_torch_reason(system="darwin", machine="x86_64")
    assert packages.no_torch_reason(system="darwin", machine="arm64") == ""
    assert packages.no_torch_reason(system="linux", machine="x86_64") == ""


def test_the_file_s_constraints_are_all_of_the_engine() -> None:
    names = {one.split("==")[0] for one in packages.CONSTRAINTS}
    text = Path(contents.CONSTRAINTS).read_text(encoding="utf-8")
    of_tools = {"ruff", "pyright", "pytest", "fake-bpy-module-5.0"}
    assert names == set(re.findall(r"(?m)^([\w.-]+)==", text)) - of_tools
