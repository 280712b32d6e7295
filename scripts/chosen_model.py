"""The model that a script was asked for, and the environment that it runs in."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import environment
import environment_contents as contents

if TYPE_CHECKING:
    from engine.methods.base import Method


def enter_environment() -> None:
    """Go on inside `.venv`, made first if need be. Imports of torch come after this."""
    folder = contents.ROOT / ".venv"
    if Path(sys.prefix).resolve() != folder.resolve():
        environment.set_up([contents.development_part()])
        environment.continue_inside(folder)
    sys.path.insert(0, str(contents.ROOT))


def load_chosen(words: str, device: str) -> Method:
    """Load a checkpoint by its file or a model by its name; "" is the default model.

    Raises:
        ValueError: there is no such model, or it can't be used.
    """
    import torch

    from engine.checkpoint import CheckpointError
    from engine.methods import load_method
    from engine.server.model_store import ModelStore, model_folders

    chosen = torch.device(device)
    try:
        if Path(words).is_file():
            return load_method(Path(words), chosen)
        return ModelStore(model_folders(), chosen).load(words)
    except CheckpointError as error:
        raise ValueError(str(error)) from error
