"""Motion files: exact contents, same bytes, round trips, and files that are refused."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from engine.motion import rotations as rot
from engine.motion.files import (
    MotionFileError,
    clip_to_motion,
    read_bvh,
    read_motion,
    read_npz,
    write_bvh,
    write_motion,
    write_npz,
)
from engine.motion.motion import Motion
from engine.motion.skeleton import SMPL_22

BVH = """HIERARCHY
ROOT Hips
{
  OFFSET 0 0 0
  CHANNELS 6 Xposition Yposition Zposition Zrotation Xrotation Yrotation
  JOINT Left Arm
  {
    OFFSET 0 10 0
    CHANNELS 6 Xposition Yposition Zposition Yrotation Xrotation Zrotation
    End Site
    {
      OFFSET 0 5 0
    }
  }
}
MOTION
Frames: 2
Frame Time: 0.0333333
0 100 0 90 0 0 0 10 0 0 0 0
50 100 0 0 90 90 0 20 0 0 0 0
"""


def random_motion(num_frames: int = 12, *, seed: int = 0) -> Motion:
    generator = torch.Generator().manual_seed(seed)
    local = rot.normalise(torch.randn(num_frames, 22, 4, generator=generator))
    return Motion(
        fps=20.0,
        skeleton=SMPL_22,
        root_translation=torch.randn(num_frames, 3, generator=generator),
        local_rotations=local,
        contacts=(torch.rand(num_frames, 4, generator=generator) > 0.5).float(),
        provenance={"seed": seed, "prompt": "a person walks", "model": "none"},
    )


def test_npz_has_what_the_commands_promise(tmp_path: Path) -> None:
    motion = random_motion()
    write_npz(motion, tmp_path / "m.npz")
    with np.load(tmp_path / "m.npz", allow_pickle=False) as archive:
        shapes = {name: archive[name].shape for name in archive.files}
        kinds = {name: archive[name].dtype.kind for name in archive.files}
        provenance = json.loads(str(archive["provenance"]))
        joints = archive["joints"]
        assert archive["joint_names"].tolist() == list(SMPL_22.joint_names)
        assert float(archive["fps"]) == 20.0
    assert shapes == {
        "joints": (12, 22, 3),
        "local_rotations": (12, 22, 4),
        "root_translation": (12, 3),
        "contacts": (12, 4),
        "fps": (),
        "joint_names": (22,),
        "parents": (22,),
        "rest_offsets": (22, 3),
        "provenance": (),
    }
    assert kinds["joints"] == "f"
    assert joints.dtype == np.float32
    assert provenance == motion.provenance
    np.testing.assert_allclose(joints, motion.joints().numpy(), rtol=0, atol=1e-6)


def test_npz_round_trip_and_same_bytes(tmp_path: Path) -> None:
    motion = random_motion()
    write_motion(motion, tmp_path / "first.npz")
    write_motion(motion, tmp_path / "second.npz")
    assert (tmp_path / "first.npz").read_bytes() == (tmp_path / "second.npz").read_bytes()
    back = read_motion(tmp_path / "first.npz")
    assert torch.equal(back.local_rotations, motion.local_rotations)
    assert torch.equal(back.root_translation, motion.root_translation)
    assert torch.equal(back.contacts, motion.contacts)
    assert back.provenance == motion.provenance
    assert back.skeleton.parents == SMPL_22.parents


def test_extra_arrays_are_kept(tmp_path: Path) -> None:
    write_npz(random_motion(), tmp_path / "m.npz", extra={"camera": np.zeros((12, 3, 4))})
    with np.load(tmp_path / "m.npz") as archive:
        assert archive["camera"].shape == (12, 3, 4)


@pytest.mark.parametrize("scale", [0.01, 1.0])
def test_bvh_round_trip(tmp_path: Path, scale: float) -> None:
    motion = random_motion()
    write_bvh(motion, tmp_path / "m.bvh", scale=scale)
    clip = read_bvh(tmp_path / "m.bvh", scale=scale)
    assert clip.fps == 20.0
    assert sorted(clip.skeleton.joint_names) == sorted(SMPL_22.joint_names)
    order = [clip.skeleton.joint_names.index(name) for name in SMPL_22.joint_names]
    torch.testing.assert_close(clip.joints()[:, order], motion.joints(), rtol=0, atol=1e-4)
    same = (clip.local_rotations[:, order] * motion.local_rotations).sum(-1).abs()
    assert float((1 - same).max()) < 1e-6


def test_bvh_angles_do_not_step_by_a_whole_turn(tmp_path: Path) -> None:
    frames = torch.arange(40, dtype=torch.float32)
    local = rot.identity_quaternions(40, 22, like=frames)
    spin = rot.axis_angle_to_quaternion(frames[:, None] * torch.tensor([0.0, 0.0, 0.4]))
    motion = Motion(
        fps=20.0,
        skeleton=SMPL_22,
        root_translation=torch.zeros(40, 3),
        local_rotations=torch.cat((spin[:, None], local[:, 1:]), dim=1),
        contacts=torch.zeros(40, 4),
    )
    write_bvh(motion, tmp_path / "m.bvh")
    rows = (tmp_path / "m.bvh").read_text().splitlines()[-40:]
    angles = np.array([[float(word) for word in row.split()] for row in rows])[:, 3]
    np.testing.assert_allclose(np.diff(angles), math.degrees(0.4), atol=1e-3)


@pytest.mark.parametrize("turn", [90.0, -90.0])
def test_bvh_survives_gimbal_lock(tmp_path: Path, turn: float) -> None:
    axis = torch.tensor([[0.0, math.radians(turn), 0.0]])
    roll = torch.tensor([[0.3, 0.0, 0.0]])
    locked = rot.multiply(rot.axis_angle_to_quaternion(axis), rot.axis_angle_to_quaternion(roll))
    local = locked[:, None].expand(1, 22, 4).clone()
    motion = Motion(
        fps=20.0,
        skeleton=SMPL_22,
        root_translation=torch.zeros(1, 3),
        local_rotations=local,
        contacts=torch.zeros(1, 4),
    )
    write_bvh(motion, tmp_path / "m.bvh")
    clip = read_bvh(tmp_path / "m.bvh")
    order = [clip.skeleton.joint_names.index(name) for name in SMPL_22.joint_names]
    torch.testing.assert_close(clip.joints()[:, order], motion.joints(), rtol=0, atol=1e-4)


def test_bvh_with_its_own_channels_by_hand(tmp_path: Path) -> None:
    (tmp_path / "m.bvh").write_text(BVH)
    clip = read_bvh(tmp_path / "m.bvh")
    assert clip.skeleton.joint_names == ("Hips", "Left Arm")
    assert clip.fps == 30.0
    assert clip.has_moving_offsets
    # Frame 0: +y turned 90 degrees about z is -x. Frame 1: X(90) @ Y(90) takes +y to +z, and
    # the position channel of the arm says 20, not the offset's 10.
    expected = torch.tensor(
        [[[0.0, 1.0, 0.0], [-0.1, 1.0, 0.0]], [[0.5, 1.0, 0.0], [0.5, 1.0, 0.2]]]
    )
    torch.testing.assert_close(clip.joints(), expected, rtol=0, atol=1e-6)
    with pytest.raises(MotionFileError, match="fixed bones"):
        clip_to_motion(clip)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("HIERARCHY", "Hello", "line 1: found 'Hello', needs HIERARCHY"),
        ("OFFSET 0 10 0", "OFFSET 0 ten 0", "line 8: found 'ten', needs a number"),
        ("CHANNELS 6 X", "CHANNELS 5 X", "line 5"),
        ("Yrotation Xrotation Z", "Yrotation Xturn Z", "line 9: found 'Xturn'"),
        ("Frames: 2", "Frames: 3", "found 24 numbers after the frame time, needs 3 frames x 12"),
        ("Frames: 2", "Frames: two", "line 17: found 'two', needs a number"),
        ("Time: 0.0333333", "Time: 0", "0 s"),
        ("50 100", "50 nan", "line 20: found 'nan', needs a number"),
        ("}\nMOTION", "MOTION", "found 'MOTION'"),
        ("MOTION", "ROOT b { OFFSET 0 0 0 }\nMOTION", "a second ROOT"),
    ],
)
def test_broken_bvh_is_refused_with_its_line(
    tmp_path: Path, old: str, new: str, message: str
) -> None:
    assert old in BVH
    file = tmp_path / "broken.bvh"
    file.write_text(BVH.replace(old, new, 1))
    with pytest.raises(MotionFileError) as caught:
        read_bvh(file)
    assert message in str(caught.value)
    assert "broken.bvh" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"HIERARCHY", b"\x00\xff\x80" * 50, BVH[:250].encode()])
def test_cut_and_foreign_files_are_refused(tmp_path: Path, content: bytes) -> None:
    for name in ("m.bvh", "m.npz"):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(MotionFileError):
            read_motion(tmp_path / name)


def test_cut_npz_and_foreign_npz_are_refused(tmp_path: Path) -> None:
    write_npz(random_motion(), tmp_path / "m.npz")
    whole = (tmp_path / "m.npz").read_bytes()
    (tmp_path / "half.npz").write_bytes(whole[: len(whole) // 2])
    np.savez(tmp_path / "other.npz", joints=np.zeros(3))
    for name in ("half.npz", "other.npz", "absent.npz"):
        with pytest.raises(MotionFileError, match=name):
            read_npz(tmp_path / name)


def test_npz_that_does_not_fit_itself_is_refused(tmp_path: Path) -> None:
    write_npz(random_motion(), tmp_path / "m.npz")
    with np.load(tmp_path / "m.npz") as archive:
        arrays = {name: archive[name] for name in archive.files}
    bad = (("contacts", np.zeros((3, 4))), ("fps", np.array(-1.0)), ("fps", np.array(np.nan)))
    for name, value in bad:
        np.savez(tmp_path / "bad.npz", **{**arrays, name: value})
        with pytest.raises(MotionFileError, match=name):
            read_npz(tmp_path / "bad.npz")
    per_frame = ("joints", "root_translation", "local_rotations", "contacts")
    np.savez(tmp_path / "bad.npz", **{**arrays, **{name: arrays[name][:0] for name in per_frame}})
    with pytest.raises(MotionFileError, match="0 frames"):
        read_npz(tmp_path / "bad.npz")


@pytest.mark.parametrize("name", ["m.npz", "m.bvh"])
def test_nothing_is_overwritten_unasked(tmp_path: Path, name: str) -> None:
    file = tmp_path / name
    file.write_text("precious")
    with pytest.raises(MotionFileError, match="exists"):
        write_motion(random_motion(), file)
    assert file.read_text() == "precious"
    write_motion(random_motion(), file, overwrite=True)
    assert read_motion(file).num_frames == 12
    assert [path.name for path in tmp_path.iterdir()] == [name]  # no temporary file is left


def test_other_endings_and_missing_folders_are_refused(tmp_path: Path) -> None:
    with pytest.raises(MotionFileError, match=r"\.npz or \.bvh"):
        write_motion(random_motion(), tmp_path / "m.fbx")
    with pytest.raises(MotionFileError, match="can't be written"):
        write_motion(random_motion(), tmp_path / "no" / "m.npz")
