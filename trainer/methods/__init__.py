"""How each method trains: preset in, stages out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from trainer.methods import crossdiff, hmmr, mdm, teach, video_mdm, vtm
from trainer.stages import Stage

TRAINERS: dict[str, Callable[[Any, Sequence[Path], Path], list[Stage]]] = {
    "crossdiff": crossdiff.stages,
    "hmmr": hmmr.stages,
    "mdm": mdm.stages,
    "teach": teach.stages,
    "video_mdm": video_mdm.stages,
    "vtm": vtm.stages,
}
