"""What the preferences show of the engine and the models: read when something has changed.

Drawing reads this and nothing else; the disk is asked once, by look_at_disk().
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from pathlib import Path

from .engine_environment import EngineEnvironment, EngineFacts, EnvironmentState
from .model_files import ModelFile, list_models


class EngineSource(enum.Enum):
    """Which engine is used, the first that is given."""

    CONNECTION = "connection"  # one that runs already
    PYTHON = "python"  # in an interpreter that the artist has chosen
    CHECKOUT = "checkout"  # the source that this add-on is part of
    ENVIRONMENT = "environment"  # the one that the add-on makes


@dataclass(frozen=True, kw_only=True)
class EngineView:
    """Where the engine comes from, and in what state that is."""

    source: EngineSource
    path: Path  # connection file, interpreter, source folder or environment
    is_there: bool
    state: EnvironmentState  # of the add-on's own environment, whichever engine is used
    facts: EngineFacts  # of that environment
    models: tuple[ModelFile, ...] = ()  # the user's own


def look_at_disk(
    source: EngineSource,
    path: Path | None,
    environment: EngineEnvironment,
    version: str,
    models_folder: Path,
) -> EngineView:
    """Read what is there: some small files."""
    state = environment.state(version)
    place = path or environment.folder
    usable = (EnvironmentState.READY, EnvironmentState.OTHER_VERSION)
    return EngineView(
        source=source,
        path=place,
        is_there=state in usable if path is None else place.exists(),
        state=state,
        facts=environment.facts(),
        models=tuple(list_models(models_folder)),
    )
