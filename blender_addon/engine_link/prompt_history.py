"""Prompts that were used before, in a file of the user's own: no .blend file carries them."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable
from pathlib import Path
from typing import cast

log = logging.getLogger(__name__)

MAX_PROMPTS = 50
MAX_FOUND = 60  # of what is offered while typing


class PromptHistory:
    """The prompts used last, the latest first."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self.prompts: tuple[str, ...] = _read(file)

    def add(self, prompt: str) -> None:
        """Put a prompt first and write the file; a file that can't be written changes nothing."""
        prompt = " ".join(prompt.split())
        if not prompt or self.prompts[:1] == (prompt,):
            return
        others = (one for one in self.prompts if one != prompt)
        self.prompts = (prompt, *others)[:MAX_PROMPTS]
        self._write()

    def clear(self) -> None:
        """Forget all of them."""
        self.prompts = ()
        self._write()

    def _write(self) -> None:
        partial = self._file.with_name(f"{self._file.name}.partial")
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            partial.write_text(json.dumps(self.prompts, ensure_ascii=False), encoding="utf-8")
            partial.replace(self._file)
        except OSError as error:
            log.warning("The history of prompts was not written: %s", error)


def find_prompts(typed: str, history: Iterable[str], captions: Iterable[str]) -> list[str]:
    """What to offer for some typed words: earlier prompts, then captions that have all of them."""
    words = typed.casefold().split()
    offered = dict.fromkeys((*history, *captions))
    found = (text for text in offered if all(word in text.casefold() for word in words))
    return [text for text, _ in zip(found, range(MAX_FOUND), strict=False)]


def _read(file: Path) -> tuple[str, ...]:
    try:
        parsed: object = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return ()
    if not isinstance(parsed, list):
        return ()
    texts = [text for text in cast("list[object]", parsed) if isinstance(text, str) and text]
    return tuple(texts[:MAX_PROMPTS])
