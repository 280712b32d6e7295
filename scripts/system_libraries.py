"""What Blender's wheels load of the system, and how it gets there on Debian and Ubuntu.

Standard library only: this runs before anything is installed.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import sys

# Found in an otherwise empty Debian: without libEGL, Workbench kills the process.
BLENDER_LIBRARIES = {
    "libXrender.so.1": "libxrender1",
    "libXi.so.6": "libxi6",
    "libXxf86vm.so.1": "libxxf86vm1",
    "libXfixes.so.3": "libxfixes3",
    "libxkbcommon.so.0": "libxkbcommon0",
    "libSM.so.6": "libsm6",
    "libICE.so.6": "libice6",
    "libGL.so.1": "libgl1",
    "libEGL.so.1": "libegl1",
    "libgomp.so.1": "libgomp1",
}


class MissingLibrariesError(Exception):
    """Something is missing that only the machine's owner can install; str() is one clear line."""


def missing_packages() -> list[str]:
    """Debian packages of the libraries that cannot be loaded. Empty on other systems."""
    if not sys.platform.startswith("linux"):
        return []
    return [package for library, package in BLENDER_LIBRARIES.items() if not _loads(library)]


def install(packages: list[str]) -> None:
    """Install packages with apt.

    Raises:
        MissingLibrariesError: this is not root, there is no apt, or apt failed.
    """
    names = " ".join(packages)
    if shutil.which("apt-get") is None:
        raise MissingLibrariesError(
            f"System libraries are missing (Debian's names: {names}): "
            "install them with your system's package manager, then run this again"
        )
    if os.geteuid() != 0:
        raise MissingLibrariesError(
            f"System libraries are missing: run 'sudo apt-get install {names}' and then this again"
        )
    print(f"  installing with apt: {names}", file=sys.stderr, flush=True)
    if not _apt(["install", *packages]) and not (_apt(["update"]) and _apt(["install", *packages])):
        raise MissingLibrariesError(
            f"apt could not install {names}: run 'apt-get install {names}', see what it says, "
            "then run this again"
        )


def _loads(library: str) -> bool:
    try:
        ctypes.CDLL(library)
    except OSError:
        return False
    return True


def _apt(arguments: list[str]) -> bool:
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    command = ["apt-get", "-q", "-y", "--no-install-recommends", *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, check=False, timeout=900)
    return done.returncode == 0
