"""Where models are found, and the one that was used last, kept on the device."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import platformdirs
import torch

from engine.checkpoint import CheckpointError, CheckpointInfo, read_info
from engine.methods import load_method
from engine.methods.base import Method, RequestError, UnknownModelError

__all__ = ["ModelStore", "Models", "UnknownModelError", "model_folders", "user_data_folder"]

log = logging.getLogger(__name__)

DEFAULT_MODEL = "mdm-free"
SHIPPED_MODELS = Path(__file__).resolve().parent.parent / "models"

Loader = Callable[[Path, torch.device], Method]


class Models(Protocol):
    """What the server needs of a model store."""

    def entries(self) -> list[CheckpointInfo]:
        """The models that there are."""
        ...

    def default_name(self) -> str:
        """The model of a request that names none; "" if there is no model at all."""
        ...

    def load(self, name: str, *, on_cpu: bool = False) -> Method:
        """A model, ready to run."""
        ...

    @property
    def is_on_cpu(self) -> bool:
        """Models run on the processor anyway."""
        ...


@dataclass(frozen=True)
class _Loaded:
    path: Path
    modified_ns: int
    device: torch.device
    method: Method


class ModelStore:
    """The models in some folders; of one name the earlier folder's counts."""

    def __init__(
        self, folders: Sequence[Path], device: torch.device, *, loader: Loader = load_method
    ) -> None:
        self.folders = tuple(folders)
        self._device = device
        self._loader = loader
        self._loaded: _Loaded | None = None
        self._told: set[str] = set()  # what is wrong with models that were left out

    def entries(self) -> list[CheckpointInfo]:
        """The models found, by name. Only headers are read."""
        found: list[CheckpointInfo] = []
        for path in self._paths().values():
            try:
                found.append(read_info(path))
            except CheckpointError as error:
                if str(error) not in self._told:
                    log.warning("Left out a model: %s", error)
                    self._told.add(str(error))
        return sorted(found, key=lambda info: info.name)

    def default_name(self) -> str:
        """mdm-free if it is there, else the first model that accepts a prompt."""
        names = [info.name for info in self.entries() if "prompt" in info.accepts]
        return DEFAULT_MODEL if DEFAULT_MODEL in names else next(iter(names), "")

    def path(self, name: str) -> Path:
        """The file of a model; "" means the default one.

        Raises:
            UnknownModelError: there is none of that name.
        """
        paths = self._paths()
        wanted = (name or self.default_name()).removesuffix(".safetensors")
        if wanted in paths:
            return paths[wanted]
        raise UnknownModelError(_unknown_model(name, sorted(paths), self.folders))

    @property
    def is_on_cpu(self) -> bool:
        """The device is the processor."""
        return self._device.type == "cpu"

    def load(self, name: str, *, on_cpu: bool = False) -> Method:
        """A model on the device, or on the processor where the device's memory is not enough.

        The one used last stays there until another is asked for.

        Raises:
            UnknownModelError: there is none of that name.
            CheckpointError: its file can't be used.
        """
        path = self.path(name)
        modified_ns = path.stat().st_mtime_ns
        device = torch.device("cpu") if on_cpu else self._device
        last = self._loaded
        wanted = (path, modified_ns, device)
        if last is not None and (last.path, last.modified_ns, last.device) == wanted:
            return last.method
        self._loaded = None  # two models at once might not fit on the device
        del last
        log.info("Loading %s on %s", path, device)
        method = self._loader(path, device)
        self._loaded = _Loaded(path, modified_ns, device, method)
        return method

    def _paths(self) -> dict[str, Path]:
        paths: dict[str, Path] = {}
        for folder in self.folders:
            for path in sorted(folder.glob("*.safetensors")):
                paths.setdefault(path.stem, path)
        return paths


def model_folders(given: Sequence[Path] = ()) -> tuple[Path, ...]:
    """The folders to look in: those given, the user's own, the one that ships.

    Raises:
        RequestError: a given folder doesn't exist.
    """
    for folder in given:
        if not folder.is_dir():
            raise RequestError(f"The model folder {folder} doesn't exist: give one that does")
    return (*given, user_data_folder() / "models", SHIPPED_MODELS)


def user_data_folder() -> Path:
    """The folder of the user's own models, shared by all Blender versions."""
    return platformdirs.user_data_path("marey", appauthor=False)


def _unknown_model(name: str, names: Sequence[str], folders: Sequence[Path]) -> str:
    if not names:
        looked = ", ".join(str(folder) for folder in folders)
        wanted = f" {name[:80]!r}" if name else ""
        return f"There is no model{wanted} in {looked}: put a .safetensors file there"
    return f"There is no model {name[:80]!r}, needs one of: {', '.join(names)}"
