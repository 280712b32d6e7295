"""What the artist has set for a character, and which bones were found on it.

Finding bones takes time, so what was found is kept, by what it depends on: names and places of
the bones, the saved mapping, the picks. Undo, another file, a renamed or removed armature then
need no care. Drawing asks known_target() only, which finds nothing itself but has it found soon.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import bpy
import numpy as np

from ..rig.bone_match import BODY_JOINTS, CHAIN_ENDS, BoneMatch, FoundBy, RigError
from ..rig.recognise import recognise, recognise_in_steps, with_picks
from ..rig.retarget_options import RetargetOptions, RootMode, Start
from ..rig.rig_mapping import RigMapping, mapping_from_data
from ..rig.steps import Steps, finished
from ..rig.target_rig import TargetRig
from . import saved_mappings
from .humanoid_table import humanoid_table
from .mesh_carriers import carries_mesh, meshes_of
from .rest_pose import read_rig

NO_BONE = "(no bone)"  # picked for a joint that shall have none

_MAX_KNOWN = 32
_SOON_S = 0.05
_BUDGET_S = 0.01  # of one call of the timer; the artist goes on working meanwhile


@dataclass(frozen=True, kw_only=True)
class FoundTarget:
    """The bones of a character, and why they can't be used if so."""

    match: BoneMatch  # it may lack joints or be unsure
    problem: str = ""  # in the artist's words; "" where the match can be used
    root_carries_mesh: bool = False  # vertices hang on the root bone, which must go along then


@dataclass(frozen=True, kw_only=True)
class _Search:
    """The bones of an armature that are being looked for."""

    key: object
    steps: Steps[FoundTarget]


_known: dict[object, FoundTarget] = {}  # the oldest first
_asked: dict[tuple[str, str], None] = {}  # armatures by name and library, in order
_searches: dict[tuple[str, str], _Search] = {}  # those of _asked that have begun
_prepared: set[int] = set()  # armatures by Blender's own number of them


def find_match(armature: bpy.types.Object) -> BoneMatch:
    """The bones of an armature object that follow a motion, by its own settings.

    Raises:
        RigError: its bones are not known for sure, or its settings don't fit it.
    """
    found = find_target(armature)
    if found.problem:
        raise RigError(found.problem)
    return found.match


def find_target(armature: bpy.types.Object) -> FoundTarget:
    """The bones of an armature object, found now unless they are known."""
    key = _key(armature)
    if key not in _known:
        _keep(key, finished(_find(armature)))
    return _known[key]


def _keep(key: object, found: FoundTarget) -> None:
    while len(_known) >= _MAX_KNOWN:
        del _known[next(iter(_known))]
    _known[key] = found


def known_target(armature: bpy.types.Object) -> FoundTarget | None:
    """What is known of an armature object; None while it is still to be found, soon."""
    found = _known.get(_key(armature))
    if found is None:
        _asked.setdefault(_name_of(armature))
        if not bpy.app.timers.is_registered(_find_asked):
            bpy.app.timers.register(_find_asked, first_interval=_SOON_S)
    return found


def prepare(armature: bpy.types.Object) -> None:
    """Have an armature object that was never seen looked at soon, before a button needs it."""
    if armature.session_uid not in _prepared:
        _prepared.add(armature.session_uid)
        known_target(armature)


def forget_targets() -> None:
    """Find everything anew when it is next asked for."""
    _known.clear()
    _prepared.clear()
    _searches.clear()


def stop() -> None:
    """End what is under way, when the add-on is switched off."""
    forget_targets()
    _asked.clear()
    if bpy.app.timers.is_registered(_find_asked):
        bpy.app.timers.unregister(_find_asked)


def settings_of(armature: bpy.types.Object) -> Any:
    """The settings that count for an armature object; None where the add-on is off.

    A library override has the library's, until it gets its own.
    """
    own = getattr(armature, "motion_target_own", ())
    if armature.override_library is not None and len(own) > 0:
        return own[0]
    return getattr(armature, "motion_target", None)


def has_own_settings(armature: bpy.types.Object) -> bool:
    """Whether an armature object's settings can be changed in this file."""
    if not armature.is_editable:
        return False
    return armature.override_library is None or len(armature.motion_target_own) > 0


def own_settings(armature: bpy.types.Object) -> Any:
    """The settings of an editable armature object, to be changed; an override gets its own."""
    if has_own_settings(armature):
        return settings_of(armature)
    own = armature.motion_target_own.add()
    _copy(armature.motion_target, own)
    return own


def _copy(source: Any, copied: Any) -> None:
    for name in source.bl_rna.properties.keys():  # noqa: SIM118 - it iterates over properties
        if name == "picks":
            _copy(source.picks, copied.picks)
        elif not source.bl_rna.properties[name].is_readonly:
            setattr(copied, name, getattr(source, name))


def picks_of(armature: bpy.types.Object) -> dict[str, str]:
    """Joint or end of a chain -> bone, "" for none, for those that the artist has picked."""
    settings = settings_of(armature)
    if settings is None:
        return {}
    picks = {name: getattr(settings.picks, name) for name in (*BODY_JOINTS, *CHAIN_ENDS)}
    return {joint: "" if bone == NO_BONE else bone for joint, bone in picks.items() if bone}


def options_of(armature: bpy.types.Object) -> RetargetOptions:
    """The artist's choices for an armature object; the defaults where the add-on is off.

    Raises:
        RigError: the floor's object is missing.
    """
    settings = settings_of(armature)
    if settings is None:
        return RetargetOptions(root=_automatic_root(armature))
    is_automatic = settings.root == "AUTO"
    return RetargetOptions(
        plant_feet=settings.plant_feet,
        plant_toes=settings.plant_toes,
        keep_above_floor=settings.keep_above_floor,
        share_twist=settings.share_twist,
        floor_z=_floor(settings),
        root=_automatic_root(armature) if is_automatic else RootMode[settings.root],
        root_bone="" if is_automatic else settings.root_bone,
        smooth_root_s=settings.smooth_root,
        start=Start[settings.start],
        keep_heading=settings.keep_heading,
        key_ik=settings.controls == "IK",
    )


def _automatic_root(armature: bpy.types.Object) -> RootMode:
    return RootMode.BONE if find_target(armature).root_carries_mesh else RootMode.HIPS


def recognise_rig(rig: TargetRig, tables: Sequence[RigMapping] = ()) -> BoneMatch:
    """The bones of a rig that has no settings of its own; with tables that it brings itself.

    Raises:
        RigError: they are not known for sure.
    """
    match = recognise(rig, saved_mappings.known_mappings(), tables)
    match.require_sure()
    return match


def tables_of(armature: bpy.types.Object) -> tuple[RigMapping, ...]:
    """Tables of bones that an armature object brings itself, as VRM's do."""
    table = humanoid_table(armature)
    return (table,) if table else ()


def _find(armature: bpy.types.Object) -> Steps[FoundTarget]:
    """By the chosen mapping, else by recognising; then with the bones that were picked.

    All that is Blender's is read in the first step: between steps anything may go.
    """
    rig, picks, settings = read_rig(armature), picks_of(armature), settings_of(armature)
    chosen = (settings.mapping, settings.mapping_json) if settings is not None else ("", "")
    tables, meshes = tables_of(armature), meshes_of(armature)
    yield
    match = BoneMatch(map_name="", found_by=FoundBy.USER, bones={})
    try:
        match = yield from _unpicked(rig, tables, *chosen)
        if picks:
            match = with_picks(rig, match, picks)
        match.require_sure()
    except RigError as error:
        return FoundTarget(match=match, problem=str(error))
    hips = rig.index[match.location_bone or match.bones["pelvis"]]
    root = rig.index.get(match.root_bone, hips)
    carries = root != hips and rig.is_below(hips, root)
    if carries:
        carries = yield from carries_mesh(rig, match.root_bone, meshes)
    return FoundTarget(match=match, root_carries_mesh=carries)


def _unpicked(
    rig: TargetRig, tables: Sequence[RigMapping], name: str, mapping_json: str
) -> Steps[BoneMatch]:
    """The bones by the mapping of a name, given as JSON; "" is automatic."""
    if not mapping_json:
        return (yield from recognise_in_steps(rig, saved_mappings.known_mappings(), tables))
    try:
        mapping = mapping_from_data(json.loads(mapping_json))
    except ValueError as error:  # JSON's own error, or what is said of its content
        raise RigError(f"The mapping '{name}' can't be read: {error}") from error
    match = yield from recognise_in_steps(rig, (mapping,))
    if match.found_by is not FoundBy.USER:
        raise RigError(
            f"The mapping '{name}' has not all bones of a body for this rig: "
            "choose Automatic, or another mapping"
        )
    return match


def _find_asked() -> float | None:
    """A timer: find what was drawn without, a little at a time, then have it drawn again.

    Twice: panels whose height changed find their places only when they are drawn after that.
    """
    goes_on = _SOON_S if _asked else None
    end = time.perf_counter() + _BUDGET_S
    while _asked and time.perf_counter() < end:
        _search_on(next(iter(_asked)), end)
    if _asked:
        return 0.0
    for window in bpy.context.window_manager.windows:
        for area in window.screen.areas:
            if area.type in ("VIEW_3D", "SEQUENCE_EDITOR"):
                area.tag_redraw()
    return goes_on


def _search_on(asked: tuple[str, str], end: float) -> None:
    """Go on with the search of one armature until it has ended, or the time is over."""
    name, library = asked
    armature = bpy.data.objects.get((name, library or None))
    if armature is None or armature.type != "ARMATURE":
        _end_search(asked)
        return
    key = _key(armature)
    search = _searches.get(asked)
    if search is None or search.key != key:  # undo and edits make what was begun worthless
        search = _searches[asked] = _Search(key=key, steps=_find(armature))
    try:
        while time.perf_counter() < end:
            next(search.steps)
    except StopIteration as found:
        _keep(key, found.value)
        _end_search(asked)


def _end_search(asked: tuple[str, str]) -> None:
    _asked.pop(asked, None)
    _searches.pop(asked, None)


def _name_of(armature: bpy.types.Object) -> tuple[str, str]:
    return armature.name, armature.library.filepath if armature.library else ""


def _key(armature: bpy.types.Object) -> object:
    """All that the bones found depend on."""
    bones = armature.data.bones
    heads = np.empty(len(bones) * 3, dtype=np.float32)
    tails = np.empty(len(bones) * 3, dtype=np.float32)
    bones.foreach_get("head_local", heads)
    bones.foreach_get("tail_local", tails)
    deforming = np.empty(len(bones), dtype=bool)
    bones.foreach_get("use_deform", deforming)
    settings = settings_of(armature)
    mapping = settings.mapping_json if settings is not None else ""
    picks = tuple(sorted(picks_of(armature).items()))
    shape = heads.tobytes(), tails.tobytes(), deforming.tobytes()
    return tuple(bones.keys()), shape, mapping, picks


def _floor(settings: bpy.types.PropertyGroup) -> float | None:
    if settings.floor == "CHARACTER":
        return None
    if settings.floor == "HEIGHT":
        return settings.floor_height
    floor = settings.floor_object
    if floor is None:
        raise RigError("Choose the object that is the floor, or another floor, in the panel Target")
    if floor.type != "MESH":
        return floor.matrix_world.translation.z
    corners = np.array(floor.bound_box) @ np.array(floor.matrix_world.to_3x3()).T
    return float(corners[:, 2].max()) + floor.matrix_world.translation.z
