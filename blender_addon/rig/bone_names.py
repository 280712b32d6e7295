"""What the name of a bone says, whatever the writing: side, words, and names that mean the same.

"upper_arm.L", "UpperArm_L", "leftUpperArm" and "Rig:l_upperarm" have one key: (left, upperarm).
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache

# A prefix or suffix that this share of all bones has says nothing about any of them.
_COMMON_SHARE = 0.7
_SEPARATORS = " _.:|-"

_WORD = re.compile(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z]+|[A-Z]+|\d+|[^\W\d_A-Za-z]+")
_SIDE_WORDS = {
    "left": "left",
    "right": "right",
    "l": "left",
    "r": "right",
    "lt": "left",
    "rt": "right",
    "lft": "left",
    "rgt": "right",
    "左": "left",
    "右": "right",
}
_GLUED_SIDES = ("left", "right", "左", "右")


@dataclass(frozen=True)
class NameKey:
    """What a name means: its side ("left", "right" or "") and the rest of its words."""

    side: str
    text: str  # the words without separators
    words: tuple[str, ...] = field(compare=False)


@lru_cache(maxsize=1 << 14)
def name_key(name: str) -> NameKey:
    """Read a name; numbers lose leading zeros, full-width letters become plain ones."""
    words: list[str] = []
    for word in _WORD.findall(unicodedata.normalize("NFKC", name)):
        lower = word.lower()
        if lower.isdigit():
            words.append(str(int(lower)))
            continue
        words.extend(_split_glued_side(lower))
    sides = {_SIDE_WORDS[word] for word in words if word in _SIDE_WORDS}
    if len(sides) != 1:
        return NameKey("", "".join(words), tuple(words))
    rest = tuple(word for word in words if word not in _SIDE_WORDS)
    return NameKey(sides.pop(), "".join(rest), rest)


def _split_glued_side(word: str) -> tuple[str, ...]:
    for side in _GLUED_SIDES:
        if word != side and word.startswith(side):
            return side, word[len(side) :]
        if word != side and word.endswith(side):
            return word[: -len(side)], side
    return (word,)


def common_prefixes(names: Sequence[str]) -> list[str]:
    """The starts, up to a separator, that most names share, shortest first."""
    starts = Counter(
        name[: place + 1]
        for name in names
        for place, letter in enumerate(name[:-1])
        if letter in _SEPARATORS
    )
    wanted = _COMMON_SHARE * len(names)
    return sorted((start for start, count in starts.items() if count >= wanted), key=len)


def common_suffix(names: Sequence[str]) -> str:
    """The longest end, from a separator on, that most names share."""
    ends = Counter(
        name[place:]
        for name in names
        for place, letter in enumerate(name)
        if letter in _SEPARATORS and place
    )
    wanted = _COMMON_SHARE * len(names)
    return max((end for end, count in ends.items() if count >= wanted), key=len, default="")


@dataclass(frozen=True)
class NameIndex:
    """The bone names of one rig, to be asked for by what they mean."""

    names: tuple[str, ...]

    @cached_property
    def plain(self) -> dict[str, str]:
        """Name without what most bones have in common -> name.

        A common start may be the rig's ("hero_") or the family's ("CC_Base_"), so each length of
        it that can be left out is left out once.
        """
        suffix = common_suffix(self.names)
        plain: dict[str, str] = {}
        for prefix in ("", *common_prefixes(self.names)):
            for name in self.names:
                short = re.split(r"[:|]", name.removeprefix(prefix).removesuffix(suffix))[-1]
                plain.setdefault(short or name, name)
        return plain

    @cached_property
    def keys(self) -> dict[NameKey, str]:
        """Meaning -> name; of bones with one meaning the first counts."""
        keys: dict[NameKey, str] = {}
        for short, name in self.plain.items():
            keys.setdefault(name_key(short), name)
        # A copy's .001 means nothing where there is but one of that name.
        bases = [re.sub(r"\.\d{3}$", "", short) for short in self.plain]
        counts = Counter(bases)
        for base, name in zip(bases, self.plain.values(), strict=True):
            if counts[base] == 1:
                keys.setdefault(name_key(base), name)
        return keys

    def without(self, prefix: str) -> dict[str, str]:
        """Name less a family's own prefix (a regular expression) -> name."""
        if not prefix:
            return {name: name for name in self.names}
        start = re.compile(f"^(?:{prefix})")
        return {start.sub("", name): name for name in reversed(self.names)}

    def keys_without(self, prefix: str) -> dict[NameKey, str]:
        """Meaning of a name less a family's own prefix -> name; of equals the first counts."""
        if prefix not in self._keys_without:
            keys: dict[NameKey, str] = {}
            for short, name in self.without(prefix).items():
                keys.setdefault(name_key(short), name)
            self._keys_without[prefix] = keys
        return self._keys_without[prefix]

    @cached_property
    def _keys_without(self) -> dict[str, dict[NameKey, str]]:
        return {}

    def meaning(self, candidates: Iterable[str]) -> str | None:
        """The bone that means what one of the candidates says, best first; None without."""
        for candidate in candidates:
            found = self.plain.get(candidate) or self.keys.get(name_key(candidate))
            if found:
                return found
        return None
