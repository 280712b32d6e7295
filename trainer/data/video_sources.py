"""The videos of a corpus: which there are, what is said of each, and which split each is in.

Captions come from a table (CSV with a header; the first column that is asked for is `video`):

    video      the file's name, with or without its ending, its path from the folder named, or its
               whole path
    caption    what the person does; several rows of one video give several captions
    start end  seconds, where a row is about a part of the video (empty: from the start, to the end)
    split      train, val or test (empty: by the name, as below)

A video that isn't in the table has its captions in a text file beside it (`NAME.txt`, one a line;
what follows a # isn't read), or else in its own name: jumping_jacks_03.mp4 is "a person does
jumping jacks" and "jumping jacks"; names that cameras give (IMG_0012, VID_20260101_120000) say
nothing. Splits go by video, by a hash of its name: of 20 videos and more a tenth each is val and
test, of fewer a sixth each; where the table names any for test, those are all of test, and so val.
"""

from __future__ import annotations

import csv
import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path

from trainer.data.corpus import CorpusError


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


ENDINGS = _words(
    """
    .3gp .avi .flv .m2ts .m4v .mkv .mov .mp4 .mpeg .mpg .mts .mxf .ogv .ts .webm .wmv
    """
)
SPLITS = ("train", "val", "test")
COLUMNS = ("video", "caption", "start", "end", "split")
_LARGE = 20  # videos from which a tenth is held out
# words that cameras and programs name files with
_MEANINGLESS = _words(
    """
    img vid video mov movie dsc dscf dscn gopr gh gx pxl mvi clip cut take trim untitled
    output export final copy new edit wa whatsapp screen recording rec cam camera cctv test
    """
)
_PERSON = re.compile(
    r"\b(person|people|someone|somebody|man|woman|boy|girl|child|kid|figure|he|she|they)\b"
)
_DOES = _words(
    """
    walks runs jogs jumps hops skips sits stands turns waves kicks punches throws catches
    dances crouches squats kneels crawls climbs falls lies rolls bends bows lifts carries
    pushes pulls picks puts opens closes steps sneaks marches limps stretches claps points
    looks reaches swings hits plays swims rides rows drinks eats stumbles spins moves leans
    gets goes comes raises lowers
    """
)


@dataclass(frozen=True, kw_only=True)
class Part:
    """A stretch of a video with what is said of it."""

    start: float  # seconds
    end: float | None  # None: to the end of the video
    captions: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class VideoSource:
    """One video."""

    path: Path
    name: str  # path from the folder it was found in, with forward slashes
    video_id: str  # without blanks or slashes; no other video has it
    parts: tuple[Part, ...] = ()
    split: str = "train"


def find_videos(words: Sequence[Path]) -> list[VideoSource]:
    """The files named, and all videos in the folders named, by name; each once.

    Raises:
        CorpusError: there is no such file or folder, or no video in any.
    """
    found: dict[Path, str] = {}
    for word in words:
        if word.is_dir():
            inside = (path for path in word.rglob("*") if path.suffix.lower() in ENDINGS)
            for path in sorted(path for path in inside if path.is_file()):
                found.setdefault(path.resolve(), path.relative_to(word).as_posix())
        elif word.exists():
            found.setdefault(word.resolve(), word.name)
        else:
            raise CorpusError(f"There is no file or folder {word}")
    if not found:
        kinds = " ".join(sorted(ENDINGS))
        raise CorpusError(f"No video in {', '.join(map(str, words))} (looked for {kinds})")
    ids = defaultdict[str, list[Path]](list)
    for path, name in found.items():
        ids[_plain_id(name)].append(path)
    sources: list[VideoSource] = []
    for path, name in sorted(found.items(), key=lambda item: (item[1], str(item[0]))):
        video_id = _plain_id(name)
        if len(ids[video_id]) > 1:
            # two files of one name in folders named apart: which comes first must not matter
            video_id += f"-{sha256(str(path).encode()).hexdigest()[:6]}"
        sources.append(VideoSource(path=path, name=name, video_id=video_id))
    return sources


def captioned(
    sources: Sequence[VideoSource], table: Path | None, otherwise: str | None
) -> tuple[list[VideoSource], list[str]]:
    """The sources with their parts and splits, and warnings. One without a caption has no part.

    Raises:
        CorpusError: the table can't be read, or a row is wrong.
    """
    rows = _read_table(table) if table is not None else {}
    by_name = _names_of(sources)
    told: dict[str, list[_Row]] = defaultdict(list)
    warnings: list[str] = []
    for name, members in rows.items():
        source = by_name.get(name) or by_name.get(Path(name).name)
        if source is None:
            warnings.append(f"{table} has captions of {name}, which isn't among the videos")
            continue
        told[source.video_id] += members
    result: list[VideoSource] = []
    for source in sources:
        members = told.get(source.video_id)
        parts = _parts(members) if members else _own_parts(source, otherwise)
        split = next((row.split for row in members or () if row.split), "")
        result.append(replace(source, parts=parts, split=split))
    return _split(result), warnings


def captions_of_name(stem: str) -> tuple[str, ...]:
    """What a file's name says that a person does; () where it says nothing."""
    words = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", stem)
    words = re.sub(r"[^A-Za-z']+", " ", words).lower().split()
    words = [word for word in words if word not in _MEANINGLESS and (len(word) > 1 or word == "a")]
    text = " ".join(words)
    if len(text) < 3:
        return ()
    if _PERSON.search(text):
        return (text,)
    if words[0].endswith("ing") and len(words[0]) > 4:
        return (f"a person is {text}", text)
    if words[0] in _DOES:
        return (f"a person {text}", text)
    return (f"a person does {text}", text)


@dataclass(frozen=True, kw_only=True)
class _Row:
    caption: str
    start: float
    end: float | None
    split: str


def _read_table(path: Path) -> dict[str, list[_Row]]:
    rows: dict[str, list[_Row]] = defaultdict(list)
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            named = [name.strip().lower() for name in reader.fieldnames or ()]
            reader.fieldnames = named
            if missing := [name for name in COLUMNS[:2] if name not in named]:
                raise CorpusError(
                    f"{path} has the columns {', '.join(named) or 'none'}: it needs "
                    f"{' and '.join(missing)} (and may have {', '.join(COLUMNS[2:])})"
                )
            for number, values in enumerate(reader, start=2):
                name = _text(values, "video")
                if name:
                    rows[name.replace("\\", "/")].append(_row(values, f"{path}, line {number}"))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise CorpusError(f"{path} can't be read as a table: {error}") from error
    if not rows:
        raise CorpusError(f"{path} has no row with a video")
    return rows


def _row(values: dict[str, str | None], where: str) -> _Row:
    caption = " ".join(_text(values, "caption").split())
    if not caption:
        raise CorpusError(f"{where}: there is no caption")
    split = _text(values, "split").lower()
    if split and split not in SPLITS:
        raise CorpusError(f"{where}: the split is {split!r}, needs one of {', '.join(SPLITS)}")
    start = _seconds(values, "start", where)
    end = _seconds(values, "end", where)
    if end is not None and end <= (start or 0.0):
        raise CorpusError(f"{where}: it ends at {end:g} s, before it starts")
    return _Row(caption=caption, start=start or 0.0, end=end, split=split)


def _text(values: dict[str, str | None], name: str) -> str:
    return (values.get(name) or "").strip()


def _seconds(values: dict[str, str | None], name: str, where: str) -> float | None:
    text = _text(values, name)
    if not text:
        return None
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds < 1e6:
        raise CorpusError(f"{where}: {name} is {text!r}, needs seconds from 0 on")
    return seconds


def _parts(rows: Iterable[_Row]) -> tuple[Part, ...]:
    """A part per stretch, in order, with all that is said of it."""
    spans: dict[tuple[float, float | None], list[str]] = defaultdict(list)
    for row in rows:
        if row.caption not in spans[row.start, row.end]:
            spans[row.start, row.end].append(row.caption)
    order = sorted(spans, key=lambda span: (span[0], span[1] if span[1] is not None else 1e9))
    return tuple(Part(start=s, end=e, captions=tuple(spans[s, e])) for s, e in order)


def _own_parts(source: VideoSource, otherwise: str | None) -> tuple[Part, ...]:
    captions = _captions_beside(source.path) or captions_of_name(source.path.stem)
    if not captions and otherwise:
        captions = (otherwise,)
    return (Part(start=0.0, end=None, captions=captions),) if captions else ()


def _captions_beside(path: Path) -> tuple[str, ...]:
    try:
        lines = path.with_suffix(".txt").read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError):
        return ()
    texts = (" ".join(line.split("#")[0].split()) for line in lines)
    return tuple(dict.fromkeys(text for text in texts if text))


def _names_of(sources: Sequence[VideoSource]) -> dict[str, VideoSource]:
    """By path, path from the folder, file name, both without their ending; no name of several."""
    found: dict[str, set[str]] = defaultdict(set)
    by_id = {source.video_id: source for source in sources}
    for source in sources:
        name = Path(source.name)
        texts = (source.name, name.name, name.with_suffix("").as_posix(), name.stem)
        for text in (source.path.as_posix(), *texts):
            found[text].add(source.video_id)
    return {text: by_id[ids.pop()] for text, ids in found.items() if len(ids) == 1}


def _split(sources: Sequence[VideoSource]) -> list[VideoSource]:
    """Splits of those that the table doesn't tell; of one that it tells any, it tells all."""
    free = [source for source in sources if not source.split and source.parts]
    told = {source.split for source in sources}
    order = sorted(free, key=lambda source: sha256(source.name.encode()).hexdigest())
    each = round(0.1 * len(free)) if len(free) >= _LARGE else len(free) // 6
    chosen: dict[str, str] = {}
    for split in ("test", "val"):
        if split not in told:
            chosen |= dict.fromkeys((source.video_id for source in order[:each]), split)
            order = order[each:]
    return [
        source if source.split else replace(source, split=chosen.get(source.video_id, "train"))
        for source in sources
    ]


def _plain_id(name: str) -> str:
    """Begins with a small letter: ids of mirrored clips begin with M."""
    return "v-" + re.sub(r"[^A-Za-z0-9._]+", "-", name.rsplit(".", 1)[0]).strip("-.")
