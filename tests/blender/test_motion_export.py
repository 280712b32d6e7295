"""Exported motion, read back by Blender's own importers, is the motion that was keyed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import bpy
import numpy as np
import pytest

from blender_addon.rig.retarget_options import RetargetOptions, RootMode
from blender_addon.scene.action_writer import write_action
from blender_addon.scene.motion_export import ExportError, action_frames, export_motion
from tests.blender.blender_rigs import build
from tests.blender_addon.rig.figures import RigShape, walk_motion

pytestmark = [
    pytest.mark.blender,
    # Blender's own BVH importer leaves its file open.
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

NUM_FRAMES = 30
START = 11
CLOSE_M = 0.002


def heads(
    armature: bpy.types.Object, names: list[str], frames: range, *, scale: float = 1.0
) -> np.ndarray:
    """World places (T, N, 3) of the heads of bones, in metres."""
    found = []
    for frame in frames:
        bpy.context.scene.frame_set(frame)
        world, pose = armature.matrix_world, armature.pose.bones
        found.append([scale * np.array(world @ pose[name].head) for name in names])
    return np.array(found)


def imported(path: Path) -> bpy.types.Object:
    before = set(bpy.data.objects)
    name = str(path)
    if path.suffix == ".bvh":
        bpy.ops.import_anim.bvh(filepath=name, frame_start=1)
    elif path.suffix == ".glb":
        bpy.ops.import_scene.gltf(filepath=name)
    else:
        bpy.ops.import_scene.fbx(filepath=name, anim_offset=0.0, automatic_bone_orientation=False)
    new = set(bpy.data.objects) - before
    # The importer of glTF makes an icosphere itself, to draw bones with.
    assert not [one.name for one in new if one.type == "MESH" and one.name != "Icosphere"]
    (armature,) = (one for one in new if one.type == "ARMATURE")
    return armature


def first_frame(armature: bpy.types.Object) -> int:
    return round(armature.animation_data.action.frame_range[0])


def assert_same_motion(
    armature: bpy.types.Object,
    path: Path,
    names: list[str],
    *,
    start: int = START,
    num_frames: int = NUM_FRAMES,
) -> bpy.types.Object:
    """In every fifth frame; gives what was imported."""
    expected = heads(armature, names, range(start, start + num_frames, 5))
    assert np.ptp(expected[:, :, 1]) > 0.1  # it went somewhere
    copy = imported(path)
    scale, first = (0.01 if path.suffix == ".bvh" else 1.0), first_frame(copy)
    here = [name.replace(" ", "_") if path.suffix == ".bvh" else name for name in names]
    found = heads(copy, here, range(first, first + num_frames, 5), scale=scale)
    np.testing.assert_allclose(found, expected, atol=CLOSE_M)
    return copy


def keyed(armature: bpy.types.Object, root: RootMode = RootMode.HIPS) -> bpy.types.Action:
    options = RetargetOptions(root=root)
    return write_action(armature, walk_motion(NUM_FRAMES), start_frame=START, options=options)


@pytest.mark.parametrize("ending", [".bvh", ".fbx", ".glb"])
@pytest.mark.parametrize("root", [RootMode.HIPS, RootMode.OBJECT])
def test_the_mannequins_motion_comes_back(
    mannequin: bpy.types.Object, tmp_path: Path, ending: str, root: RootMode
) -> None:
    mannequin.location, mannequin.rotation_euler = (1.0, 2.0, 0.0), (0.0, 0.0, 0.7)
    bpy.context.view_layer.update()
    action = keyed(mannequin, root)
    path = tmp_path / "out" / f"walk{ending}"
    export_motion(mannequin, action, path)
    names = ["pelvis", "head", "left_wrist", "right_ankle", "right_foot"]
    assert_same_motion(mannequin, path, names)
    assert [one.name for one in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize("ending", [".bvh", ".fbx", ".glb"])
def test_a_character_laid_down_by_its_importer(tmp_path: Path, ending: str) -> None:
    armature = build(RigShape(roll_seed=1))
    armature.scale = (0.5, 0.5, 0.5)
    bpy.context.view_layer.update()
    path = tmp_path / f"walk{ending}"
    export_motion(armature, keyed(armature), path)
    names = [f"mixamorig:{name}" for name in ("Hips", "Head", "LeftHand", "RightFoot")]
    assert_same_motion(armature, path, names)


@pytest.mark.parametrize("ending", [".bvh", ".fbx", ".glb"])
def test_controls_are_left_out_and_several_roots_kept(
    mannequin: bpy.types.Object, tmp_path: Path, ending: str
) -> None:
    bpy.ops.object.mode_set(mode="EDIT")
    for name, deforms in (("control", False), ("my prop", True)):
        bone = mannequin.data.edit_bones.new(name)
        bone.head, bone.tail, bone.use_deform = (0.5, 0.0, 1.0), (0.5, 0.0, 1.2), deforms
    bpy.ops.object.mode_set(mode="OBJECT")
    mannequin.location.x = 1.0
    bpy.context.view_layer.update()
    path = tmp_path / f"walk{ending}"
    export_motion(mannequin, keyed(mannequin), path)
    copy = assert_same_motion(mannequin, path, ["pelvis", "left_wrist", "my prop"])
    assert "control" not in copy.data.bones


def test_other_actions_and_tracks_play_no_part(mannequin: bpy.types.Object, tmp_path: Path) -> None:
    first = keyed(mannequin)
    export_motion(mannequin, first, tmp_path / "alone.bvh")
    animation = mannequin.animation_data
    other = write_action(mannequin, walk_motion(70), start_frame=40)
    track = animation.nla_tracks.new()
    track.strips.new("other", 1, other)
    export_motion(mannequin, first, tmp_path / "among.bvh")
    assert (tmp_path / "among.bvh").read_bytes() == (tmp_path / "alone.bvh").read_bytes()
    assert animation.action == other
    assert animation.use_nla


def state() -> dict[str, object]:
    scene, layer = bpy.context.scene, bpy.context.view_layer
    return {
        "range": (scene.frame_start, scene.frame_end, scene.frame_current, scene.frame_subframe),
        "preview": scene.use_preview_range,
        "selected": [one.name for one in layer.objects if one.select_get()],
        "active": layer.objects.active.name,
        "mode": bpy.context.mode,
        "actions": sorted((one.name, one.use_fake_user) for one in bpy.data.actions),
        "objects": sorted(one.name for one in bpy.data.objects),
    }


@pytest.mark.parametrize("ending", [".bvh", ".fbx", ".glb"])
def test_the_file_is_left_as_it_was(
    mannequin: bpy.types.Object, tmp_path: Path, ending: str
) -> None:
    action = keyed(mannequin)
    bpy.ops.object.empty_add()
    scene = bpy.context.scene
    scene.frame_start, scene.frame_end, scene.use_preview_range = 100, 120, True
    scene.frame_set(7, subframe=0.5)
    mannequin.hide_set(True)
    before = state()
    export_motion(mannequin, action, tmp_path / f"walk{ending}")
    assert state() == before
    assert mannequin.hide_get()
    bpy.context.view_layer.objects.active = mannequin
    mannequin.hide_set(False)
    bpy.ops.object.mode_set(mode="POSE")
    before = state()
    export_motion(mannequin, action, tmp_path / f"walk{ending}")
    assert state() == before


@pytest.mark.parametrize("ending", [".bvh", ".glb"])
def test_the_same_motion_is_the_same_file(
    mannequin: bpy.types.Object, tmp_path: Path, ending: str
) -> None:
    action = keyed(mannequin)
    paths = [tmp_path / f"{name}{ending}" for name in "ab"]
    for path in paths:
        export_motion(mannequin, action, path)
    assert paths[0].read_bytes() == paths[1].read_bytes()


def test_bvh_needs_none_of_blenders_exporters(mannequin: bpy.types.Object, tmp_path: Path) -> None:
    bpy.ops.preferences.addon_disable(module="io_anim_bvh")
    try:
        export_motion(mannequin, keyed(mannequin), tmp_path / "walk.bvh")
    finally:
        bpy.ops.preferences.addon_enable(module="io_anim_bvh")
    assert_same_motion(mannequin, tmp_path / "walk.bvh", ["head", "left_wrist"])


def _folder_in_the_way(armature: bpy.types.Object, folder: Path) -> Path:
    (folder / "file").write_text("")
    return folder / "file" / "walk.bvh"


def _hidden(armature: bpy.types.Object, folder: Path) -> Path:
    bpy.context.scene.collection.objects.unlink(armature)
    return folder / "walk.fbx"


CANNOT: dict[str, tuple[Callable[[bpy.types.Object, Path], Path], str]] = {
    "ending": (lambda _, folder: folder / "walk.mp4", "needs .bvh, .fbx, .glb"),
    "folder": (_folder_in_the_way, "can't be written"),
    "not in the layer": (_hidden, "not in the scene's view layer"),
}


@pytest.mark.parametrize("case", CANNOT)
def test_what_cannot_be_exported_says_why(
    mannequin: bpy.types.Object, tmp_path: Path, case: str
) -> None:
    prepare, words = CANNOT[case]
    action = keyed(mannequin)
    path = prepare(mannequin, tmp_path)
    with pytest.raises(ExportError, match=words):
        export_motion(mannequin, action, path)
    assert not path.exists()


def test_an_exporter_that_is_off_is_named(mannequin: bpy.types.Object, tmp_path: Path) -> None:
    action = keyed(mannequin)
    bpy.ops.preferences.addon_disable(module="io_scene_fbx")
    try:
        with pytest.raises(ExportError, match="switch on the add-on FBX format"):
            export_motion(mannequin, action, tmp_path / "walk.fbx")
    finally:
        bpy.ops.preferences.addon_enable(module="io_scene_fbx")


def test_frames_before_zero(mannequin: bpy.types.Object, tmp_path: Path) -> None:
    action = write_action(mannequin, walk_motion(NUM_FRAMES), start_frame=-10)
    assert action_frames(action) == range(-10, NUM_FRAMES - 10)
    export_motion(mannequin, action, tmp_path / "walk.bvh")
    assert_same_motion(mannequin, tmp_path / "walk.bvh", ["head"], start=-10)
    with pytest.raises(ExportError, match=r"^The motion begins at frame -10: only BVH"):
        export_motion(mannequin, action, tmp_path / "walk.fbx")
    assert list(tmp_path.iterdir()) == [tmp_path / "walk.bvh"]
