"""Captions said otherwise, so that a small corpus teaches more words than it holds.

Only words that mean the same for a body: who does it, tense, and close synonyms of common verbs.
Sides, directions, counts and order are never touched.
"""

from __future__ import annotations

import random
import re
from collections.abc import Sequence

from trainer.data.actions import main_actions

_SUBJECT = re.compile(
    r"^(?:the |a |an )?(?:person|someone|man|woman|figure|character|human|he|she)\b", re.IGNORECASE
)
_SUBJECTS = (
    "a person",
    "someone",
    "the person",
    "a man",
    "a woman",
    "the figure",
    "a character",
    "he",
    "she",
    "the man",
    "a human",
    "somebody",
    "a guy",
    "a girl",
)

# Each row: forms of one meaning in the same grammatical form.
_SYNONYMS: tuple[tuple[str, ...], ...] = (
    ("walks", "strolls", "goes on foot", "is walking", "strides", "paces"),
    ("walking", "strolling", "striding"),
    ("runs", "is running", "sprints", "jogs", "dashes"),
    ("running", "sprinting", "jogging"),
    ("jumps", "leaps", "is jumping", "springs", "bounds"),
    ("jump", "leap"),
    ("forward", "forwards", "ahead", "straight ahead"),
    ("backward", "backwards", "in reverse"),
    ("turns", "rotates", "pivots", "is turning"),
    ("spins", "twirls", "whirls around"),
    ("dances", "is dancing", "performs a dance", "moves to the music"),
    (
        "waves hello",
        "waves",
        "waves a hand",
        "is waving",
        "greets with a wave",
        "says hi with a hand",
    ),
    ("sits down", "takes a seat", "is sitting down", "lowers into a seat"),
    ("sits", "is sitting", "is seated"),
    ("stands", "is standing", "stays"),
    ("kicks", "is kicking", "does a kick", "throws a kick"),
    ("punches", "is punching", "throws a punch", "strikes"),
    ("crouches", "squats down", "ducks down", "bends the knees and gets low"),
    ("sneaks", "creeps", "moves stealthily", "prowls"),
    ("picks up", "lifts up"),
    ("quickly", "fast", "rapidly"),
    ("slowly", "at a slow pace", "calmly"),
    ("on the spot", "in place"),
    ("raises", "lifts"),
    ("in a circle", "in circles", "round and round", "in a wide loop", "around in a ring"),
    ("throws", "tosses", "hurls"),
    ("crawls", "crawls on all fours", "moves on hands and knees"),
    ("climbs", "clambers", "climbs up"),
    ("stands up", "gets up", "rises to the feet"),
    ("picks something up", "lifts something from the floor", "bends down and picks up an object"),
)
_BY_FORM = {form: row for row in _SYNONYMS for form in row}
_FORMS = re.compile(
    r"\b(" + "|".join(sorted(map(re.escape, _BY_FORM), key=len, reverse=True)) + r")\b"
)


_PLAIN = {  # sentences, and the bare words that people type into a box called "prompt"
    "walk": ("a person walks", "walk", "walking", "a person is out walking"),
    "run": ("a person runs", "run", "running", "a person is on the run"),
    "jump": ("a person jumps", "jump", "jumping", "a person jumps up high"),
    "kick": ("a person kicks", "kick", "kicking", "a person kicks with a leg"),
    "punch": ("a person punches", "punch", "boxing", "a person boxes with the fists"),
    "wave": ("a person waves", "wave", "waving", "a person waves a hand"),
    "dance": ("a person dances", "dance", "dancing", "a person dances to the music"),
    "sit": ("a person sits down", "sit down", "sitting down", "a person sits on a chair"),
    "crouch": ("a person crouches down", "crouch", "squatting", "a person gets down low"),
    "sneak": ("a person sneaks", "sneak", "sneaking"),
    "crawl": ("a person crawls", "crawl", "crawling"),
    "climb": ("a person climbs", "climb", "climbing"),
    "throw": ("a person throws something", "throw", "throwing"),
    "turn_left": ("a person turns left", "turn left", "turning left", "a person turns to the left"),
    "turn_right": (
        *("a person turns right", "turn right", "turning right"),
        "a person turns to the right",
    ),
    "stand_up": ("a person stands up", "stand up", "standing up"),
    "pick_up": ("a person picks something up", "pick something up"),
    "push": ("a person pushes something", "push", "pushing"),
    "fight": ("a person fights", "fight", "fighting"),
}
_OPPOSITES = ({"turn_left", "turn_right"},)
_WAYS = {"walk", "run", "turn_left", "turn_right"}  # asides in a clip that is about something else


def plain_captions(captions: Sequence[str]) -> list[str]:
    """The few words that people type first, for a clip whose captions mostly name the action.

    Walking and turning are only named where nothing else is, and opposite turns not at all.
    """
    named = main_actions(captions) & _PLAIN.keys()
    for pair in _OPPOSITES:
        if pair <= named:
            named -= pair
    if named - _WAYS:
        named -= _WAYS
    return [text for action in sorted(named) for text in _PLAIN[action]]


def paraphrases(caption: str, count: int, generator: random.Random) -> list[str]:
    """Up to `count` different rewordings of a caption, the caption itself not among them."""
    found: list[str] = []
    for _ in range(3 * count):
        reworded = _reword(caption, generator)
        if reworded != caption and reworded not in found:
            found.append(reworded)
        if len(found) == count:
            break
    return found


def _reword(caption: str, generator: random.Random) -> str:
    text = _SUBJECT.sub(generator.choice(_SUBJECTS), caption.strip().rstrip("."), count=1)

    def other(match: re.Match[str]) -> str:
        keep = generator.random() < 0.4
        return match[0] if keep else generator.choice(_BY_FORM[match[0]])

    return _FORMS.sub(other, text)
