"""Settings of the character: they change the motion, stay with it, and are never found in draw."""

from __future__ import annotations

import json
import time
from pathlib import Path

import bpy
import pytest

from blender_addon.rig.bone_match import FoundBy, RigError
from blender_addon.rig.retarget_options import RetargetOptions, RootMode, Start
from blender_addon.scene import saved_mappings, target
from blender_addon.scene.action_writer import write_action
from blender_addon.ui import target_properties
from tests.blender.blender_rigs import add_root, build, generate_rigify
from tests.blender_addon.rig.figures import RigShape, walk_motion

pytestmark = [pytest.mark.blender, pytest.mark.usefixtures("addon", "mappings")]

# Names without any sense, for bones that have a standing human's shape.
NONSENSE = ("Qux", "Vorp", "Zim", "Plok", "Trag", "Wub", "Snee")


@pytest.fixture
def mappings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder for saved mappings, instead of the one of whoever runs the tests."""
    folder = tmp_path / "mappings"
    folder.mkdir()
    monkeypatch.setattr(saved_mappings, "_user_folder", lambda *, create: folder)
    saved_mappings.refresh()
    target.forget_targets()
    return folder


def activate(armature: bpy.types.Object) -> bpy.types.Object:
    bpy.context.view_layer.objects.active = armature
    return armature


def renamed(roll_seed: int) -> bpy.types.Object:
    """A rig whose bones have names that say nothing."""
    armature = build(RigShape(roll_seed=roll_seed))
    for number, bone in enumerate(armature.data.bones):
        bone.name = f"{NONSENSE[number % len(NONSENSE)]}{number * 7 % 31}"
    return armature


def test_a_known_rig_is_found_at_once() -> None:
    found = target.find_target(build(RigShape()))
    assert not found.problem
    assert found.match.map_name == "Mixamo"
    assert target.picks_of(build(RigShape())) == {}


def test_a_pick_takes_the_place_of_what_was_found() -> None:
    armature = build(RigShape())
    armature.motion_target.picks.left_wrist = "mixamorig:LeftForeArm"
    with pytest.raises(RigError, match="LeftForeArm"):
        target.find_match(armature)  # it is the elbow's already
    armature.motion_target.picks.left_wrist = ""
    armature.motion_target.picks.head = "mixamorig:Neck"
    match = target.find_match(armature)
    assert match.bones["head"] == "mixamorig:Neck"
    assert match.found_by is FoundBy.USER
    action = write_action(armature, walk_motion(10), start_frame=1, match=match)
    assert "mixamorig:Head" not in {group.name for group in groups(armature, action)}


def groups(armature: bpy.types.Object, action: bpy.types.Action) -> list[bpy.types.ActionGroup]:
    if bpy.app.version < (4, 4, 0):
        return list(action.groups)
    slot = armature.animation_data.action_slot
    return list(action.layers[0].strips[0].channelbag(slot).groups)


def test_the_active_bone_is_picked() -> None:
    armature = activate(build(RigShape()))
    assert not bpy.ops.motion.pick_active_bone.poll()
    bpy.ops.object.mode_set(mode="POSE")
    armature.data.bones.active = armature.data.bones["mixamorig:Neck"]
    assert bpy.ops.motion.pick_active_bone(joint="head") == {"FINISHED"}
    assert armature.motion_target.picks.head == "mixamorig:Neck"
    with pytest.raises(RuntimeError, match="no joint"):
        bpy.ops.motion.pick_active_bone(joint="tail")


def test_pickers_offer_the_armatures_bones() -> None:
    picks = build(RigShape()).motion_target.picks
    found = list(target_properties._bone_names(picks, bpy.context, "toe"))
    assert sorted(found) == ["mixamorig:LeftToeBase", "mixamorig:RightToeBase"]


def test_a_joint_can_be_left_without_a_bone() -> None:
    armature = build(RigShape())
    picks = armature.motion_target.picks
    picks.left_collar = target.NO_BONE
    match = target.find_match(armature)
    assert "left_collar" not in match.bones
    assert "right_collar" in match.bones
    offered = target_properties._bone_names_or_none(picks, bpy.context, "")
    assert next(iter(offered)) == target.NO_BONE
    picks.left_knee = target.NO_BONE
    with pytest.raises(RigError, match="left knee"):
        target.find_match(armature)


def test_a_pick_that_is_gone_is_named() -> None:
    armature = build(RigShape())
    armature.motion_target.picks.head = "Hat"
    with pytest.raises(RigError, match="Hat"):
        target.find_match(armature)
    activate(armature)
    assert bpy.ops.motion.reset_picks() == {"FINISHED"}
    assert target.find_match(armature).bones["head"] == "mixamorig:Head"
    assert not bpy.ops.motion.reset_picks.poll()


def test_bones_can_all_be_picked_by_hand() -> None:
    """Even where nothing at all was found."""
    known = target.find_match(build(RigShape(prefix="")))
    armature = build(RigShape(prefix=""))
    new_names = {bone.name: f"b{number}" for number, bone in enumerate(armature.data.bones)}
    for old, new in new_names.items():
        armature.data.bones[old].name = new
    for joint, bone in known.bones.items():
        setattr(armature.motion_target.picks, joint, new_names[bone])
    match = target.find_match(armature)
    assert dict(match.bones) == {joint: new_names[bone] for joint, bone in known.bones.items()}
    write_action(armature, walk_motion(10), start_frame=1, match=match)


def test_a_mapping_is_saved_listed_and_used_by_another_character(mappings: Path) -> None:
    armature = activate(build(RigShape()))
    armature.motion_target.picks.head = "mixamorig:Neck"
    path = mappings / "my rig.json"
    assert bpy.ops.motion.save_mapping(filepath=str(path)) == {"FINISHED"}
    assert saved_mappings.known_names() == ("my rig",)
    other = activate(build(RigShape(roll_seed=4)))
    assert bpy.ops.motion.choose_mapping(mapping="my rig") == {"FINISHED"}
    assert other.motion_target.mapping == "my rig"
    path.unlink()  # the file that has the character needs no other
    target.forget_targets()
    assert target.find_match(other).bones["head"] == "mixamorig:Neck"
    assert bpy.ops.motion.choose_mapping(mapping="") == {"FINISHED"}
    saved_mappings.refresh()
    assert target.find_match(other).bones["head"] == "mixamorig:Head"


def test_a_saved_mapping_teaches_names_that_say_nothing(mappings: Path) -> None:
    armature = renamed(1)
    known = target.find_match(build(RigShape()))
    index = {bone.name: n for n, bone in enumerate(build(RigShape()).data.bones)}
    names = [bone.name for bone in armature.data.bones]
    for joint, bone in known.bones.items():
        setattr(armature.motion_target.picks, joint, names[index[bone]])
    activate(armature)
    bpy.ops.motion.save_mapping(filepath=str(mappings / "nonsense.json"))
    other = renamed(3)
    match = target.find_match(other)
    assert (match.found_by, match.map_name) == (FoundBy.USER, "nonsense")
    assert match.bones["left_knee"] == names[index["mixamorig:LeftLeg"]]


def test_a_mapping_that_does_not_fit_is_said_and_can_be_left(mappings: Path) -> None:
    table = {"marey_rig_mapping": 1, "name": "Crane", "bones": {"pelvis": "Boom"}}
    (mappings / "crane.json").write_text(json.dumps(table), encoding="utf-8")
    armature = activate(build(RigShape()))
    bpy.ops.motion.load_mapping(filepath=str(mappings / "crane.json"))
    with pytest.raises(RigError, match="'Crane' has not all bones"):
        target.find_match(armature)
    bpy.ops.motion.choose_mapping(mapping="")
    assert target.find_match(armature).map_name == "Mixamo"


def test_a_file_that_is_no_mapping_is_refused(tmp_path: Path) -> None:
    armature = activate(build(RigShape()))
    (tmp_path / "no.json").write_text("[1, 2]", encoding="utf-8")
    with pytest.raises(RuntimeError, match=r"no\.json"):
        bpy.ops.motion.load_mapping(filepath=str(tmp_path / "no.json"))
    assert armature.motion_target.mapping_json == ""


def test_settings_become_options(mannequin: bpy.types.Object) -> None:
    assert target.options_of(mannequin) == RetargetOptions()
    settings = mannequin.motion_target
    settings.root, settings.smooth_root, settings.start = "OBJECT", 0.5, "ORIGIN"
    settings.plant_feet = settings.keep_heading = settings.share_twist = False
    settings.controls = "IK"
    settings.floor, settings.floor_height = "HEIGHT", 1.5
    assert target.options_of(mannequin) == RetargetOptions(
        root=RootMode.OBJECT,
        smooth_root_s=0.5,
        start=Start.ORIGIN,
        plant_feet=False,
        keep_heading=False,
        share_twist=False,
        key_ik=True,
        floor_z=1.5,
    )


def test_the_floor_is_the_top_of_an_object(mannequin: bpy.types.Object) -> None:
    bpy.ops.mesh.primitive_cube_add(size=2, location=(0, 0, 0.5))
    settings = mannequin.motion_target
    settings.floor = "OBJECT"
    with pytest.raises(RigError, match="Choose the object"):
        target.options_of(mannequin)
    settings.floor_object = bpy.context.object
    bpy.context.view_layer.update()
    assert target.options_of(mannequin).floor_z == pytest.approx(1.5)
    bpy.data.objects.remove(settings.floor_object)
    with pytest.raises(RigError, match="Choose the object"):
        target.options_of(mannequin)


def test_settings_are_saved_with_the_file(tmp_path: Path, mannequin: bpy.types.Object) -> None:
    mannequin.motion_target.picks.head = "neck"
    mannequin.motion_target.root = "IN_PLACE"
    name = mannequin.name
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "a.blend"))
    bpy.ops.wm.open_mainfile(filepath=str(tmp_path / "a.blend"))
    settings = bpy.data.objects[name].motion_target
    assert (settings.picks.head, settings.root) == ("neck", "IN_PLACE")


def test_a_library_override_has_settings_of_its_own(
    tmp_path: Path, mannequin: bpy.types.Object
) -> None:
    name = mannequin.name
    mannequin.motion_target.smooth_root = 0.5
    library = str(tmp_path / "library.blend")
    bpy.ops.wm.save_as_mainfile(filepath=library)
    bpy.ops.wm.read_factory_settings(use_empty=True)
    with bpy.data.libraries.load(library, link=True) as (_, wanted):
        wanted.objects = [name]
    linked = wanted.objects[0]
    bpy.context.scene.collection.objects.link(linked)
    activate(linked)
    assert not bpy.ops.motion.choose_mapping.poll()
    own = linked.override_create(remap_local_usages=True)
    activate(own)
    assert bpy.ops.motion.choose_mapping.poll()
    assert target.settings_of(own).smooth_root == 0.5  # the library's
    assert bpy.ops.motion.own_settings() == {"FINISHED"}
    assert not bpy.ops.motion.own_settings.poll()
    settings = target.settings_of(own)
    settings.root, settings.picks.head, settings.plant_feet = "IN_PLACE", "neck", False
    write_action(own, walk_motion(10), start_frame=1, match=target.find_match(own))
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "shot.blend"))
    bpy.ops.wm.open_mainfile(filepath=str(tmp_path / "shot.blend"))
    (own,) = [o for o in bpy.data.objects if o.override_library and o.type == "ARMATURE"]
    settings = target.settings_of(own)
    assert (settings.root, settings.picks.head, settings.plant_feet) == ("IN_PLACE", "neck", False)
    assert settings.smooth_root == 0.5  # copied from the library's
    assert own.animation_data.action is not None


def test_drawing_waits_for_what_is_found_later(monkeypatch: pytest.MonkeyPatch) -> None:
    armature = build(RigShape())
    asked: list[str] = []
    find = target._find
    monkeypatch.setattr(target, "_find", lambda a: asked.append(a.name) or find(a))
    assert target.known_target(armature) is None
    assert target.known_target(armature) is None
    assert asked == []
    assert bpy.app.timers.is_registered(target._find_asked)
    bpy.app.timers.unregister(target._find_asked)
    while target._find_asked() == 0.0:  # the timer, which background Blender never fires
        pass
    assert target.known_target(armature).match.map_name == "Mixamo"
    assert asked == [armature.name]


def test_what_is_known_follows_the_bones() -> None:
    armature = build(RigShape())
    target.find_target(armature)
    armature.name = "Renamed"
    assert target.known_target(armature) is not None  # the name is nothing to the bones
    armature.data.bones["mixamorig:LeftLeg"].name = "Snail"
    assert target.known_target(armature) is None
    target.find_target(armature)
    armature.motion_target.picks.left_knee = "Snail"
    assert target.known_target(armature) is None


def test_what_was_asked_may_be_gone() -> None:
    armature = build(RigShape())
    target.known_target(armature)
    bpy.data.objects.remove(armature)
    target._find_asked()


def test_a_large_rig_is_found_a_little_at_a_time() -> None:
    armature = generate_rigify()
    target.known_target(armature)
    bpy.app.timers.unregister(target._find_asked)
    slowest = 0.0
    for _ in range(200):
        start = time.thread_time()
        goes_on = target._find_asked()
        slowest = max(slowest, time.thread_time() - start)
        if goes_on != 0.0:
            break
    assert target.known_target(armature).match.map_name == "Rigify controls"
    assert slowest < 0.03  # 0.01 and the longest step, reading 706 bones


def test_what_is_searched_may_go_between_two_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(target, "_BUDGET_S", 0.0)
    armature = build(RigShape())
    target.known_target(armature)
    assert target._find_asked() == 0.0
    armature.data.bones["mixamorig:LeftLeg"].name = "Snail"
    assert target._find_asked() == 0.0
    bpy.data.objects.remove(armature)
    monkeypatch.setattr(target, "_BUDGET_S", 10.0)
    target._find_asked()
    assert not target._asked
    assert not target._searches


def test_the_ends_of_the_spine_can_be_picked() -> None:
    armature = activate(build(RigShape()))
    armature.motion_target.picks.spine_first = "mixamorig:Spine1"
    armature.motion_target.picks.neck_last = target.NO_BONE
    found = target.find_match(armature)
    assert found.spine == ("mixamorig:Spine1", "mixamorig:Spine2")
    assert found.neck == ()
    write_action(armature, walk_motion(5), start_frame=1, match=found)
    assert bpy.ops.motion.reset_picks() == {"FINISHED"}
    assert len(target.find_match(armature).spine) == 3
    armature.motion_target.picks.spine_last = "mixamorig:LeftLeg"
    with pytest.raises(RigError, match="doesn't hang on"):
        target.find_match(armature)


@pytest.mark.parametrize("weight", [0.0, 0.3])
def test_the_root_bone_goes_along_where_the_mesh_hangs_on_it(weight: float) -> None:
    """Else the mesh is torn between the hips and where the character stood."""
    armature = build(RigShape())
    add_root(armature)
    mesh = bpy.data.meshes.new("Body")
    mesh.from_pydata([(0.0, 0.0, 1.0), (0.1, 0.0, 1.0), (0.0, 0.0, 0.05)], [], [(0, 1, 2)])
    body = bpy.data.objects.new("Body", mesh)
    bpy.context.scene.collection.objects.link(body)
    body.modifiers.new("Armature", "ARMATURE").object = armature
    body.vertex_groups.new(name="mixamorig:Hips").add([0, 1, 2], 1.0 - weight, "REPLACE")
    body.vertex_groups.new(name="root").add([2], weight, "REPLACE")
    options = target.options_of(armature)
    assert options.root is (RootMode.BONE if weight else RootMode.HIPS)
    write_action(armature, walk_motion(40), start_frame=1, options=options)
    assert longest_edge(body, 40) < 1.3 * longest_edge(body, 1)
    armature.motion_target.root = "HIPS"
    assert target.options_of(armature).root is RootMode.HIPS


def longest_edge(body: bpy.types.Object, frame: int) -> float:
    """Between the first and the last vertex of a mesh as it is deformed."""
    bpy.context.scene.frame_set(frame)
    shown = body.evaluated_get(bpy.context.evaluated_depsgraph_get()).data.vertices
    return (shown[0].co - shown[len(shown) - 1].co).length


def test_looking_up_takes_no_time_even_on_rigify() -> None:
    armature = generate_rigify()
    target.find_target(armature)
    start = time.thread_time()
    for _ in range(10):
        assert target.known_target(armature) is not None
    assert (time.thread_time() - start) / 10 < 0.005


def test_recognise_again_says_what_it_found(mappings: Path) -> None:
    activate(build(RigShape()))
    assert bpy.ops.motion.recognise() == {"FINISHED"}
    (mappings / "torn.json").write_text("{", encoding="utf-8")
    assert "torn.json" in saved_mappings.refresh()[0]
    assert bpy.ops.motion.recognise() == {"FINISHED"}
    crane = bpy.data.objects.new("Crane", bpy.data.armatures.new("Crane"))
    bpy.context.scene.collection.objects.link(crane)
    activate(crane)
    assert bpy.ops.motion.recognise() == {"FINISHED"}
    assert not bpy.ops.motion.save_mapping.poll()
