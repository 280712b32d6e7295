"""Prompts to take: those of before, and what the models were trained on."""

from __future__ import annotations

from .. import protocol
from ..engine_link import session
from ..engine_link.prompt_history import PromptHistory, find_prompts
from . import preferences

HISTORY_FILE = "prompts.json"


def history() -> PromptHistory:
    """The prompts used before; the file is read when they are first asked for."""
    if session.prompt_history is None:
        session.prompt_history = PromptHistory(preferences.user_folder() / HISTORY_FILE)
    return session.prompt_history


def captions(model: str) -> list[str]:
    """Some of what a model was trained on; "" is the engine's default model."""
    return next((entry.captions for entry in session.models() if is_meant(entry, model)), [])


def is_meant(entry: protocol.ModelEntry, model: str) -> bool:
    """Whether the scene's setting means this model: "" is the default one."""
    return entry.name == model if model else entry.default


def matching(typed: str, model: str) -> list[str]:
    """What is offered while somebody types a prompt."""
    return find_prompts(typed, history().prompts, captions(model))
