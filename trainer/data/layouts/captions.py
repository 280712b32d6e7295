"""HumanML3D's caption files, which other layouts share.

texts/ID.txt has lines `caption#tokens#start#end`: the caption, its words with their part of
speech (`walk/VERB`), and the seconds that it is about; 0 and 0, or nan, mean the whole clip.

Source: github.com/EricGuo5513/HumanML3D, texts.zip and its README; the text readers of MDM and
VideoMDM (data_loaders/humanml/data/dataset.py).
"""

from __future__ import annotations

import math
from collections import defaultdict
from pathlib import Path

from trainer.data.clip import FPS, READ_ERRORS, ClipError

Spans = dict[tuple[int, int | None], list[str]]


def read_captions(path: Path) -> Spans:
    """Captions by the frames at 20 fps, [first, stop), that they are about; None: to the end.

    Raises:
        ClipError: there is no such file, it has no caption, or a line is damaged.
    """
    if not path.is_file():
        raise ClipError("it has no captions")
    spans: Spans = defaultdict(list)
    try:
        lines = path.read_text().splitlines()
    except READ_ERRORS as error:
        raise ClipError(f"{path.parent.name}/{path.name} can't be read ({error})") from error
    for line in filter(None, map(str.strip, lines)):
        caption, *rest = line.split("#")
        if caption.strip():
            spans[_span(rest, path, line)].append(caption.strip())
    if not spans:
        raise ClipError(f"{path.parent.name}/{path.name} has no caption")
    return dict(spans)


def _span(rest: list[str], path: Path, line: str) -> tuple[int, int | None]:
    if len(rest) != 3:
        return 0, None
    try:
        start, end = (0.0 if math.isnan(float(tag)) else float(tag) for tag in rest[1:])
    except ValueError:
        raise ClipError(f"{path.parent.name}/{path.name} has a line {line[:60]!r}") from None
    if not (math.isfinite(start) and math.isfinite(end)) or end <= start:
        return 0, None
    return max(0, round(start * FPS)), round(end * FPS)
