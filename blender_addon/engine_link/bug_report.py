"""A report for whoever helps: versions, the computer, the engine, the ends of the logs.

Paths and prompts are taken out unless the artist leaves them in; tokens always. What is left can
be posted in public.
"""

from __future__ import annotations

import getpass
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

PATH = "<path>"
PROMPT = "<prompt>"
TOKEN = "<token>"
USER = "<user>"

_TOKEN = re.compile(r"\b[0-9a-f]{64}\b")
# A folder's name may have spaces where another / follows: rather too much goes than too little.
_PATH = re.compile(
    r"(?P<address>https?://\S+)"
    r"|(?<![\w/.<>~-])(?:file://|~|\.{1,2})?/(?:[^\r\n'\":;,()<>|/]+/)*[^\s'\":;,()<>|/]*"
    r"|(?<!\w)(?:[A-Za-z]:|\\)\\[^\r\n'\";,()<>|*?]*"
)
# What of a path is no secret: a place inside an installed package or in the standard library.
_PACKAGE = re.compile(r"(?:site-packages|dist-packages|lib/python3\.\d+|Lib)[/\\](.+)$")


@dataclass(frozen=True, kw_only=True)
class Report:
    """What goes in, before anything is taken out."""

    facts: Sequence[tuple[str, str]]  # (what, value), one line each
    logs: Sequence[tuple[str, Sequence[str]]]  # (name, its last lines)
    prompts: Iterable[str] = field(default_factory=tuple[str, ...])


def write_report(report: Report, *, with_paths: bool, with_prompts: bool) -> str:
    """The report as text."""
    lines = ["Marey report", ""]
    lines += [f"{what}: {value}" for what, value in report.facts]
    for name, log in report.logs:
        lines += ["", f"--- {name}, the last {len(log)} lines ---", *log]
    text = "\n".join(lines) + "\n"
    text = _TOKEN.sub(TOKEN, text)
    if not with_prompts:
        text = without_prompts(text, report.prompts)
    return text if with_paths else without_paths(text)


def without_prompts(text: str, prompts: Iterable[str]) -> str:
    """The text with every known prompt replaced, the longest first."""
    for prompt in sorted({one.strip() for one in prompts}, key=len, reverse=True):
        if prompt:
            text = text.replace(prompt, PROMPT)
    return text


def without_paths(text: str) -> str:
    """The text with every path shortened to the name of its file, and without the user's name.

    Inside an installed package the place stays: a traceback is worth nothing without it.
    """
    text = _PATH.sub(lambda found: found["address"] or _shortened(found[0]), text)
    name = _user_name()
    return re.sub(rf"\b{re.escape(name)}\b", USER, text) if len(name) > 2 else text


def tail(path: Path | None, num_lines: int, *, num_bytes: int = 32768) -> list[str]:
    """The last lines of a log; none where there is none."""
    if path is None:
        return []
    try:
        with path.open("rb") as file:
            file.seek(0, 2)
            file.seek(max(0, file.tell() - num_bytes))
            return file.read().decode(errors="replace").splitlines()[-num_lines:]
    except OSError:
        return []


def _shortened(path: str) -> str:
    if path in ("/", "./", "../", "~/"):
        return path
    inside = _PACKAGE.search(path)
    if inside:
        return f"{PATH}/{inside[1]}"
    name = re.split(r"[/\\]", path.rstrip("/\\"))[-1]
    return f"{PATH}/{name}"


def _user_name() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return ""
