"""How each method trains: preset in, stages out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from trainer.methods import hmmr, mdm
from trainer.stages import Stage

TRAINERS: dict[str, Callable[[Any, Sequence[Path], Path], list[Stage]]] = {
    "hmmr": hmmr.stages,
    "mdm": mdm.stages,
}
