"""What a set-up would make, and from what: decided before anything is fetched or written."""

from __future__ import annotations

import urllib.parse
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from . import engine_packages as packages
from .engine_environment import EngineEnvironment, Release
from .engine_packages import TorchBuild
from .python_search import FoundPython, MachineFacts


class SetUpProblem(Exception):
    """Why no engine can be made as things are; str() says what to do.

    `setting` names the preference that would mend it, where one would.
    """

    def __init__(self, message: str, *, setting: str = "") -> None:
        super().__init__(message)
        self.setting = setting


@dataclass(frozen=True, kw_only=True)
class Wishes:
    """What the artist has chosen. None and "" leave the choice to Marey."""

    root: Path
    release: Release
    blender_python: Path
    is_online_allowed: bool
    wheel: str = ""  # path of the wheel or of its folder, or an address
    repository: str = ""  # the address that the extension came from
    packages_folder: Path | None = None  # with every package as a wheel: no network is asked
    base_python: Path | None = None
    build: TorchBuild | None = None


@dataclass(frozen=True, kw_only=True)
class SetUpPlan:
    """What would be made. The artist sees it before anything is fetched or written."""

    environment: EngineEnvironment
    python: FoundPython
    build: TorchBuild
    release: Release
    wheel: str  # path or address
    is_known_wheel: bool  # it is checked to be the one that was built with this add-on
    packages_folder: Path | None
    nvidia_gpu: str

    @property
    def is_local(self) -> bool:
        """Everything comes from files of this computer."""
        return self.packages_folder is not None

    @property
    def sizes(self) -> packages.Sizes:
        """Of the whole environment."""
        return packages.sizes(self.build)

    def lines(self) -> list[str]:
        """The plan in words."""
        size = self.sizes
        disk = str(size) if not self.is_local else str(size).split(", ")[-1]
        source = str(self.packages_folder) if self.packages_folder else "the Python package index"
        index = packages.torch_index(self.build)
        if index is not None and not self.is_local:
            source += f" and {urllib.parse.urlsplit(index).hostname}"
        check = "" if self.is_known_wheel else " (not checked: chosen by you)"
        return [
            f"Folder: {self.environment.folder}",
            f"Size: about {disk}",
            f"Made from: {self.python}, {self.python.program}",
            f"Graphics: {self.nvidia_gpu or _no_gpu(self.build)}",
            f"Packages from: {source}",
            f"Engine: {self.wheel}{check}",
        ]


def make_plan(wishes: Wishes, facts: MachineFacts) -> SetUpPlan:
    """What to make with what there is.

    Raises:
        SetUpProblem: something is missing; the message says what to do about it.
    """
    impossible = packages.no_torch_reason()
    if impossible:
        raise SetUpProblem(impossible)
    python = facts.best_python
    if python is None:
        raise SetUpProblem(_no_python(wishes, facts), setting="base_python")
    wheel = find_wheel(wishes)
    is_local = wishes.packages_folder is not None and not _is_address(wheel)
    if not is_local and not wishes.is_online_allowed:
        raise SetUpProblem(
            "Blender may not go online: switch on Preferences › System › Network › Allow Online "
            "Access, or give a folder with all packages and the engine's wheel",
            setting="packages_folder",
        )
    # Of the same name it has to be the same file; another name is the artist's own choice.
    is_known = bool(wishes.release.sha256) and wheel.endswith(wishes.release.wheel)
    if wheel.startswith("http://") and not is_known:
        raise SetUpProblem(f"{wheel} is not safe to install from: give an https address")
    build = wishes.build or packages.choose_build(has_nvidia_gpu=bool(facts.nvidia_gpu))
    return SetUpPlan(
        environment=EngineEnvironment(wishes.root),
        python=python,
        build=build,
        release=wishes.release,
        wheel=wheel,
        is_known_wheel=is_known,
        packages_folder=wishes.packages_folder if is_local else None,
        nvidia_gpu=facts.nvidia_gpu,
    )


def find_wheel(wishes: Wishes) -> str:
    """Where the engine's wheel is: the path or address chosen, else beside the extension.

    Raises:
        SetUpProblem: it is nowhere.
    """
    name = wishes.release.wheel
    if wishes.wheel:
        if _is_address(wishes.wheel):
            return wishes.wheel
        chosen = Path(wishes.wheel)
        file = chosen / name if chosen.is_dir() else chosen
        if not file.is_file():
            raise SetUpProblem(
                f"The engine's wheel {file} is not there: choose it again", setting="engine_wheel"
            )
        return str(file)
    beside = _beside_repository(wishes.repository, name)
    folders = [Path(beside).parent] if beside and not _is_address(beside) else []
    folders += [wishes.packages_folder] if wishes.packages_folder is not None else []
    folders += [wishes.root, Path.home() / "Downloads"]
    for folder in folders:
        if (folder / name).is_file():
            return str(folder / name)
    if beside and _is_address(beside):
        return beside
    raise SetUpProblem(
        f"Choose the engine's wheel: {name}, which lies beside the extension's zip",
        setting="engine_wheel",
    )


def _beside_repository(address: str, name: str) -> str:
    """The wheel's place beside a repository's index; "" where there is no repository."""
    if not address:
        return ""
    parts = urllib.parse.urlsplit(address)
    path = parts.path if parts.path.endswith("/") else parts.path.rpartition("/")[0] + "/"
    if parts.scheme == "file":
        return str(Path(urllib.request.url2pathname(path)) / name)
    if parts.scheme not in ("http", "https"):
        return ""
    return urllib.parse.urlunsplit((parts.scheme, parts.netloc, path + name, "", ""))


def _is_address(text: str) -> bool:
    return text.startswith(("https://", "http://"))


def _no_python(wishes: Wishes, facts: MachineFacts) -> str:
    seen = "; ".join(f"{python} {python.why_not}" for python in facts.pythons)
    if wishes.base_python is not None:
        return f"{wishes.base_python} can't be used: {seen or 'it is no Python'}"
    found = f" Found: {seen}." if seen else ""
    return (
        f"No Python that fits was found.{found} Install Python 3.11 or 3.13 (python.org, or your "
        "system's packages) and press the button again"
    )


def _no_gpu(build: TorchBuild) -> str:
    if build is TorchBuild.MPS:
        return "Apple's, with the build of torch for macOS"
    return "no NVIDIA card found, the build of torch for the processor"
