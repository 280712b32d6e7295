"""Takes: candidates of which the artist has not yet decided which one to keep.

Each candidate is an action with a mark, kept in the file by a fake user; the one that is looked at
is the character's action. All that is known of a take stands in those marks, so that undo, saving,
new names and other files need no care. Rejecting a take leaves the file as if it had never been.
"""

from __future__ import annotations

import functools
import json
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import bpy

from . import match_camera
from .action_writer import IS_LAYERED, PROVENANCE_KEY, assign_action, curves_of

MARK = "marey_take"  # JSON, on each candidate
BEFORE = "marey_before"  # the action that the character had before: a pointer, names change


@dataclass(frozen=True)
class Take:
    """The candidates of a character, in the order in which they came."""

    take_id: str
    armature_name: str  # when the first candidate came
    candidates: tuple[bpy.types.Action, ...]
    shown: int  # index of the candidate that the character has; -1: it has none of them


@dataclass(frozen=True, kw_only=True)
class Before:
    """What a character had before its first candidate."""

    take_id: str
    action: bpy.types.Action | None
    slot: str  # identifier of the action's slot; "" where actions have none
    had_fake_user: bool
    had_animation: bool

    @classmethod
    def of(cls, armature: bpy.types.Object) -> Before:
        """What it has now."""
        animation = armature.animation_data
        action = animation.action if animation is not None else None
        slot = ""
        if IS_LAYERED and action is not None and animation.action_slot is not None:
            slot = animation.action_slot.identifier
        return cls(
            take_id=uuid.uuid4().hex,
            action=action,
            slot=slot,
            had_fake_user=action is not None and action.use_fake_user,
            had_animation=animation is not None,
        )


def take_of(armature: bpy.types.Object) -> Take | None:
    """The take of a character that is still to be decided."""
    shown = armature.animation_data.action if armature.animation_data is not None else None
    take_id = _mark(shown).get("take", "") if shown is not None else ""
    marked = [action for action in bpy.data.actions if MARK in action]
    if not take_id:
        own = (action for action in marked if _mark(action).get("armature") == armature.name)
        take_id = next((_mark(action)["take"] for action in own), "")
    candidates = _in_order([action for action in marked if _mark(action).get("take") == take_id])
    if not take_id or not candidates:
        return None
    index = candidates.index(shown) if shown in candidates else -1
    return Take(take_id, str(_mark(candidates[0])["armature"]), tuple(candidates), index)


def lost_candidates() -> list[bpy.types.Action]:
    """Candidates of characters that are gone, and shown on none."""
    marked = [action for action in bpy.data.actions if MARK in action]
    if not marked:
        return []
    lost = [one for one in marked if not _is_there(str(_mark(one).get("armature")))]
    shown = {
        _mark(placed.animation_data.action).get("take")
        for placed in bpy.data.objects
        if placed.animation_data is not None and placed.animation_data.action in marked
    }
    return [action for action in lost if _mark(action).get("take") not in shown]


def mark_candidate(
    armature: bpy.types.Object, action: bpy.types.Action, take: Take | None, before: Before
) -> None:
    """Enter a motion that has just been keyed on a character; `before` is used for the first.

    Call it before Blender evaluates the action: what it keys still has its former value then.
    """
    marks = [_mark(one) for one in take.candidates] if take is not None else []
    known = {path for mark in marks for path in mark.get("channels", {})}
    if marks:
        first = {key: marks[0][key] for key in ("take", "armature", "slot", "fake", "animation")}
        former = take.candidates[0].get(BEFORE) if take is not None else None
    else:
        former = before.action
        first = {
            "take": before.take_id,
            "armature": armature.name,
            "slot": before.slot,
            "fake": before.had_fake_user,
            "animation": before.had_animation,
        }
    number = 1 + max((mark.get("number", 0) for mark in marks), default=0)
    channels = _channels(armature, action, known)
    action[MARK] = json.dumps({**first, "number": number, "channels": channels})
    if former is not None:
        action[BEFORE] = former
    action.use_fake_user = True


def former_action(take: Take) -> tuple[bpy.types.Action | None, str, bool]:
    """What the character did before: action, identifier of its slot, whether it had a fake user."""
    first = _mark(take.candidates[0])
    return take.candidates[0].get(BEFORE), str(first.get("slot", "")), bool(first.get("fake"))


def place_before(armature: bpy.types.Object, take: Take) -> None:
    """Put the object back where it stood before its candidates moved it.

    None of them is the character's action afterwards.
    """
    channels = _former_channels(take)
    if not any(not path.startswith("pose") for path in channels):
        return
    if take.shown >= 0:
        armature.animation_data.action = None
    for path, values in channels.items():
        if not path.startswith("pose"):
            _set(armature, path, values)
    armature.users_scene[0].view_layers[0].update()


def show(armature: bpy.types.Object, take: Take, index: int) -> bpy.types.Action:
    """Let the character do a candidate; -1 is the last one."""
    action = take.candidates[index % len(take.candidates)]
    assign_action(armature, action)
    return action


def accept(armature: bpy.types.Object, take: Take) -> bpy.types.Action:
    """Keep the candidate that is shown, the first if none is; the others leave the file."""
    kept = show(armature, take, max(take.shown, 0))
    base = _base_name(kept)
    _remove([action for action in take.candidates if action != kept], armature)
    _unmark(kept)
    kept.use_fake_user = False
    if base not in bpy.data.actions:
        kept.name = base
    return kept


def reject(armature: bpy.types.Object, take: Take) -> None:
    """Remove all candidates; the character has what it had before, pose and place included.

    An action that somebody has given it meanwhile stays.
    """
    had_animation = bool(_mark(take.candidates[0]).get("animation"))
    former, slot, had_fake_user = former_action(take)
    if take.shown >= 0:
        channels = _former_channels(take)
        armature.animation_data.action = None
        for path, values in channels.items():
            _set(armature, path, values)
        if former is not None:
            assign_action(armature, former, slot)
    if former is not None:
        former.use_fake_user = had_fake_user
    _remove(take.candidates, armature)
    animation = armature.animation_data
    if animation is not None and not had_animation and _is_empty(animation):
        armature.animation_data_clear()


def remove_lost() -> int:
    """Remove the candidates of characters that are gone; how many there were."""
    lost = lost_candidates()
    for action in lost:
        former = action.get(BEFORE)
        if former is not None and former.users > 1:
            former.use_fake_user = bool(_mark(action).get("fake"))
    _remove(lost, None)
    return len(lost)


def provenance_of(action: bpy.types.Action | None) -> dict[str, Any]:
    """What Marey has written on an action, not to be changed; {} where it wrote nothing."""
    text = action.get(PROVENANCE_KEY, "") if action is not None else ""
    return _parsed(text) if isinstance(text, str) else {}


def _mark(action: bpy.types.Action) -> dict[str, Any]:
    text = action.get(MARK, "")
    return _parsed(text) if isinstance(text, str) else {}


@functools.lru_cache(maxsize=256)
def _parsed(text: str) -> dict[str, Any]:
    """Kept, because every drawing asks."""
    try:
        parsed = json.loads(text)
    except ValueError:
        return {}
    return parsed if isinstance(parsed, dict) else {}


def _is_there(name: str) -> bool:
    """Whether an object is in a scene; deleted ones may stay in the file, pointed at."""
    found = bpy.data.objects.get(name)
    return found is not None and bool(found.users_scene)


def _in_order(actions: list[bpy.types.Action]) -> list[bpy.types.Action]:
    return sorted(actions, key=lambda action: _mark(action).get("number", 0))


def _channels(
    armature: bpy.types.Object, action: bpy.types.Action, known: set[str]
) -> dict[str, list[float] | float]:
    """Values that the character's channels have now, of those which the action keys."""
    curves = curves_of(action)
    paths = dict.fromkeys(curve.data_path for curve in curves.fcurves) if curves else {}
    values: dict[str, list[float] | float] = {}
    for path in paths:
        if path in known:
            continue
        try:
            value = armature.path_resolve(path)
        except ValueError:
            continue
        values[path] = value if isinstance(value, int | float) else list(value)
    return values


def _former_channels(take: Take) -> dict[str, Any]:
    channels: dict[str, Any] = {}
    for action in take.candidates:
        channels = {**_mark(action).get("channels", {}), **channels}
    return channels


def _set(armature: bpy.types.Object, path: str, values: Any) -> None:
    """Set a channel; a bone or property that is no more is left out."""
    if path.endswith('"]'):  # a custom property of a bone
        owner, _, name = path.rpartition('["')
        key: Any = bpy.utils.unescape_identifier(name[:-2])
    else:
        owner, _, key = path.rpartition(".")
    try:
        holder = armature.path_resolve(owner) if owner else armature
    except ValueError:
        return
    if path.endswith('"]'):
        if key in holder:
            holder[key] = type(holder[key])(values)
    elif not holder.is_property_readonly(key):
        setattr(holder, key, values)


def _remove(actions: Sequence[bpy.types.Action], armature: bpy.types.Object | None) -> None:
    """Remove candidates; one that something else uses as well, such as a copy, is only unmarked."""
    for action in actions:
        is_shown = (
            armature is not None
            and armature.animation_data is not None
            and armature.animation_data.action == action
        )
        if action.users > int(action.use_fake_user) + int(is_shown):
            _unmark(action)
        else:
            match_camera.remove_camera(action)
            bpy.data.actions.remove(action)


def _unmark(action: bpy.types.Action) -> None:
    for key in (MARK, BEFORE):
        if key in action:
            del action[key]


def _is_empty(animation: bpy.types.AnimData) -> bool:
    return animation.action is None and not animation.nla_tracks and not animation.drivers


def _base_name(action: bpy.types.Action) -> str:
    """The name without the number that Blender puts behind names that are taken."""
    stem, dot, number = action.name.rpartition(".")
    return stem if dot and len(number) == 3 and number.isdigit() else action.name
