"""Which models lift video, and which of them does so where none is named."""

from __future__ import annotations

from collections.abc import Sequence

from engine.checkpoint import CheckpointInfo

DEFAULT_LIFTER = "hmmr-free"


def lifts(info: CheckpointInfo) -> bool:
    """Whether a model makes motion of video by itself; a prior betters what another has made."""
    return "video" in info.accepts and info.method != "video_mdm"


def default_lifter(entries: Sequence[CheckpointInfo]) -> str:
    """The name of hmmr-free if it is there, else of the first model that lifts; "" if none does."""
    names = [info.name for info in entries if lifts(info)]
    return DEFAULT_LIFTER if DEFAULT_LIFTER in names else next(iter(names), "")
