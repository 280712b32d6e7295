"""Motion models. METHODS names the class for the `method` in a checkpoint's header."""

from __future__ import annotations

from pathlib import Path

import torch

from engine.checkpoint import CheckpointError, load_checkpoint
from engine.methods.base import Method
from engine.methods.crossdiff import CrossDiff
from engine.methods.hmmr import Hmmr
from engine.methods.mdm import Mdm
from engine.methods.video_mdm import VideoMdm
from engine.methods.vtm import Vtm

METHODS = {"crossdiff": CrossDiff, "hmmr": Hmmr, "mdm": Mdm, "video_mdm": VideoMdm, "vtm": Vtm}


def load_method(path: Path, device: torch.device) -> Method:
    """Load a checkpoint with the method that its header names.

    Raises:
        CheckpointError: the file can't be read, or its method isn't one that this version has.
    """
    info, tensors = load_checkpoint(path)
    if info.method not in METHODS:
        known = ", ".join(sorted(METHODS))
        raise CheckpointError(f"{path} is of the method {info.method}, this version has {known}")
    return METHODS[info.method](info, tensors, device)
