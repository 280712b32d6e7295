"""BVH files: the poses by the format's own definition, and what is said of files that are none."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from blender_addon.rig.armature_motion import AnimatedRig, SourceError, read_source
from blender_addon.rig.bvh_source import parse_bvh, read_bvh
from blender_addon.rig.recognise import recognise

ARM = """HIERARCHY
ROOT Hips
{
    OFFSET 1 2 3
    CHANNELS 6 Xposition Yposition Zposition Zrotation Xrotation Yrotation
    JOINT Upper Arm
    {
        OFFSET 0 10 0
        CHANNELS 3 Yrotation Zrotation Xrotation
        End Site
        {
            OFFSET 0 5 0
        }
    }
}
MOTION
Frames: 2
Frame Time: 0.0333333
"""
FRAMES = "0 90 0 0 0 0 0 0 0\n5 91 2 90 0 0 90 0 30\n"


def turn(axis: str, degrees: float) -> np.ndarray:
    a = np.radians(degrees)
    c, s = np.cos(a), np.sin(a)
    return {
        "X": np.array([[1, 0, 0], [0, c, -s], [0, s, c]]),
        "Y": np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]]),
        "Z": np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]]),
    }[axis]


def test_poses_are_those_of_the_channels() -> None:
    found = parse_bvh(ARM + FRAMES)
    assert found.rig.bone_names == ("Hips", "Upper Arm")
    assert (found.fps, found.num_frames) == (30.0, 2)
    hips, arm = found.poses[1]
    root = turn("Z", 90) @ turn("X", 0) @ turn("Y", 0)
    assert np.allclose(hips[:3, :3], root)
    assert np.allclose(hips[:3, 3], (5, 91, 2))
    assert np.allclose(arm[:3, :3], root @ turn("Y", 90) @ turn("Z", 0) @ turn("X", 30))
    assert np.allclose(arm[:3, 3], np.array([5, 91, 2]) + root @ (0, 10, 0))


def test_the_rest_pose_is_that_of_the_offsets() -> None:
    rig = parse_bvh(ARM + FRAMES).rig
    assert np.allclose(rig.heads, [(1, 2, 3), (1, 12, 3)])
    assert np.allclose(rig.tails, [(1, 12, 3), (1, 17, 3)])
    assert np.allclose(rig.object_matrix[:3, :3] @ (0, 1, 0), (0, 0, 1))  # y up to Blender's z


@pytest.mark.parametrize(
    ("written", "moved"), [((0, 10, 0.2), (0, 10, 0.2)), ((0, 0, 1), (0, 10, 1))]
)
def test_position_channels_of_other_joints(
    written: tuple[float, ...], moved: tuple[float, ...]
) -> None:
    """They replace the offset, or add to it, as the program that wrote them had it."""
    text = ARM.replace("3 Yrotation Zrotation Xrotation", "3 Xposition Yposition Zposition")
    values = " ".join(map(str, written))
    found = parse_bvh(text + f"0 0 0 0 0 0 {values}\n0 0 0 0 0 0 {values}\n")
    assert np.allclose(found.poses[:, 1, :3, 3], moved)


def test_a_file_that_ends_early_gives_its_whole_frames() -> None:
    text = ARM.replace("Frames: 2", "Frames: 100")
    assert parse_bvh(text + FRAMES + "1 2 3").num_frames == 2


def test_twins_get_names_of_their_own() -> None:
    text = ARM.replace("JOINT Upper Arm", "JOINT Hips")
    assert parse_bvh(text + FRAMES).rig.bone_names == ("Hips", "Hips.001")


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("", "no BVH"),
        ("HIERARCHY\nROOT a\n{\n", "no BVH"),
        (ARM.replace("}\n}\nMOTION", "}\nMOTION") + FRAMES, "not whole"),
        (ARM.replace("OFFSET 0 10 0", "OFFSET 0 ten 0") + FRAMES, "OFFSET"),
        (ARM.replace("OFFSET 0 10 0", "OFFSET 0 nan 0") + FRAMES, "OFFSET"),
        (ARM.replace("Yrotation", "Wrotation") + FRAMES, "Wrotation"),
        (ARM.replace("Frame Time: 0.0333333", "Frame Time: 0") + FRAMES, "Frame Time"),
        (ARM + "1 2 three 4 5 6 7 8 9\n", "numbers"),
        (ARM, "no whole frame"),
        ("HIERARCHY\n}\nMOTION\nFrames: 1\nFrame Time: 1\n0", "}"),
    ],
)
def test_what_is_no_whole_file_is_refused(text: str, word: str) -> None:
    with pytest.raises(SourceError, match=word):
        parse_bvh(text)


def test_errors_name_the_file(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"gone\.bvh"):
        read_bvh(tmp_path / "gone.bvh")
    (tmp_path / "text.bvh").write_text("hello", encoding="utf-8")
    with pytest.raises(SourceError, match=r"text\.bvh"):
        read_bvh(tmp_path / "text.bvh")


@pytest.mark.parametrize(
    "name",
    ["bandai_dataset-1_walk_active_001", "cmu_max_131_01", "cmu_iclone_007_12"],
)
def test_recorded_files_walk_on_their_floor(real_data: Path, name: str) -> None:
    """Feet stand for a while and are lowest there, heads are over hips; whatever the rest pose."""
    animated: AnimatedRig = read_bvh(real_data / "mocap_raw" / f"{name}.bvh")
    read = read_source(animated, recognise)
    motion = read.motion
    assert motion.contacts.mean() > 0.1
    feet = np.stack([motion.place(j)[:, 1] for j in ("left_foot", "right_foot")], axis=-1)
    assert -0.03 < feet.min() < 0.06
    legs = motion.place("left_hip")[:, 1] - motion.place("left_ankle")[:, 1]
    assert 0.6 < np.median(legs) < 0.9
    assert np.median(motion.place("head")[:, 1] - motion.place("pelvis")[:, 1]) > 0.3
    # It walks the way it faces.
    way = motion.place("pelvis")[-1] - motion.place("pelvis")[0]
    left = motion.place("left_hip").mean(axis=0) - motion.place("right_hip").mean(axis=0)
    ahead = np.array([-left[2], 0.0, left[0]])
    assert way @ ahead > 0.9 * np.linalg.norm(way * (1, 0, 1)) * np.linalg.norm(ahead)
