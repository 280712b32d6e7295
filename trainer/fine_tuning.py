"""Starting a run from a checkpoint's weights instead of random ones."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import torch

from engine.checkpoint import CheckpointError, load_checkpoint
from trainer.config import ConfigError
from trainer.stages import Stage

log = logging.getLogger(__name__)


def start_from(stages: Sequence[Stage], path: Path) -> None:
    """Copy the weights that the checkpoint and the players have in common; the rest stay new.

    Raises:
        ConfigError: the file is no checkpoint, or fewer than half of the parameters are in it.
    """
    try:
        info, tensors = load_checkpoint(path)
    except CheckpointError as error:
        raise ConfigError(str(error)) from error
    copied = total = 0
    for stage in stages:
        for player in stage.players:
            for name, parameter in player.module.named_parameters():
                found = tensors.get(f"model.{name}")
                total += parameter.numel()
                if found is not None and found.shape == parameter.shape:
                    with torch.no_grad():
                        parameter.copy_(found)
                    copied += parameter.numel()
    if 2 * copied < total:
        raise ConfigError(
            f"{path} has the weights of {copied:,} of the network's {total:,} parameters, needs "
            "half at least: start from a model of the same method and size"
        )
    log.info("Starting from %s: %.0f %% of the weights", info.name, 100 * copied / total)
