"""How each method trains: preset in, stages out."""

from __future__ import annotations

from trainer.methods import mdm

TRAINERS = {"mdm": mdm.stages}
