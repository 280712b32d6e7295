"""Corpora: what is read, what is left out, one skeleton for all."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from engine.motion.skeleton import FOOT_JOINTS, SMPL_22
from trainer.data.corpus import CorpusError, load_corpus
from trainer.data.uniform_skeleton import SourceConstants, measure_source, to_uniform_skeleton

LENGTHS = np.linalg.norm(np.array(SMPL_22.rest_offsets)[1:], axis=-1)


def bone_lengths(joints: np.ndarray) -> np.ndarray:
    return np.linalg.norm(joints[:, 1:] - joints[:, SMPL_22.parents[1:]], axis=-1)


def test_clips_come_with_captions_source_and_mirrored_twins(corpus: Path) -> None:
    clips = load_corpus([corpus], "train")
    assert [clip.clip_id for clip in clips if clip.is_mirrored] == [
        "MA001",
        "MA003",
        "MA005",
        "MA007",
    ]
    first = next(clip for clip in clips if clip.clip_id == "A001")
    twin = next(clip for clip in clips if clip.clip_id == "MA001")
    assert first.captions == ("a person walks and turns right", "someone walks")
    assert twin.captions == ("a person walks and turns left",)
    assert (first.source, first.licence) == ("made", "CC0")
    np.testing.assert_allclose(twin.joints[:, 20], first.joints[:, 21] * [-1, 1, 1], atol=1e-6)
    assert len(load_corpus([corpus], "train", mirrored=False)) == 8


def test_all_clips_have_the_same_bones(corpus: Path) -> None:
    for clip in load_corpus([corpus], "val"):
        lengths = bone_lengths(clip.joints)
        np.testing.assert_allclose(lengths, np.broadcast_to(LENGTHS, lengths.shape), atol=1e-5)


def test_a_broken_clip_is_named_and_left_out(
    corpus: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (corpus / "new_joints/A000.npy").write_bytes(b"not numpy")
    np.save(corpus / "new_joints/A001.npy", np.zeros((40, 21, 3), np.float32))
    np.save(corpus / "new_joints/A002.npy", np.full((40, 22, 3), np.nan, np.float32))
    with caplog.at_level(logging.WARNING):
        clips = load_corpus([corpus], "train", mirrored=False)
    assert len(clips) == 5
    assert all(name in caplog.text for name in ("A000", "A001", "A002"))
    assert "left out 3 of the 8 clips of split 'train'" in caplog.text


@pytest.mark.parametrize(
    "damage",
    [
        lambda folder: (folder / "new_joints/A003.npy").write_bytes(b""),
        lambda folder: (folder / "new_joints/A003.npy").write_bytes(
            (folder / "new_joints/A003.npy").read_bytes()[:500]
        ),
        lambda folder: np.save(folder / "new_joints/A003.npy", np.zeros((40, 22, 3))),
        lambda folder: np.save(folder / "new_joints/A003.npy", np.full((40, 22, 3), 1e9)),
        lambda folder: np.save(folder / "new_joints/A003.npy", np.array([{}], dtype=object)),
        lambda folder: np.save(folder / "new_joints/A003.npy", np.array("walk")),
        lambda folder: (folder / "new_joints/A003.npy").unlink(),
        lambda folder: (folder / "texts/A003.txt").write_bytes(b"\xff\xfe\x00"),
        lambda folder: (folder / "texts/A003.txt").write_text("a walk#x#first#last\n"),
        lambda folder: (folder / "texts/A003.txt").write_text("a walk#x#9.0#12.0\n"),
        lambda folder: (folder / "texts/A003.txt").write_text("\n"),
    ],
)
def test_no_kind_of_damage_ends_the_reading(
    corpus: Path, caplog: pytest.LogCaptureFixture, damage: Callable[[Path], object]
) -> None:
    damage(corpus)
    with caplog.at_level(logging.WARNING):
        clips = load_corpus([corpus], "train", mirrored=False)
    assert [clip.clip_id for clip in clips] == [f"A00{i}" for i in (0, 1, 2, 4, 5, 6, 7)]
    assert "Left out clip A003: " in caplog.text
    assert "left out 1 of the 8 clips" in caplog.text


def test_part_of_a_clip_has_its_own_caption(corpus: Path) -> None:
    (corpus / "texts/A007.txt").write_text("someone walks#x#0.0#0.0\nsomeone waves#x#0.5#2.0\n")
    parts = [c for c in load_corpus([corpus], "train", mirrored=False) if c.clip_id == "A007"]
    assert [(len(c.joints), c.captions) for c in parts] == [
        (86, ("someone walks",)),
        (30, ("someone waves",)),
    ]


def test_folders_that_are_no_corpus_are_refused(tmp_path: Path, corpus: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "videos").mkdir()
    (tmp_path / "videos/a.mp4").write_bytes(b"")
    for name, found in (
        ("empty", "it is empty"),
        ("videos", r"it has 1 \.mp4\. Known layouts: .*HumanML3D: new_joints/"),
        ("nothing", "there is no such folder"),
        ("videos/a.mp4", "it is a file"),
    ):
        with pytest.raises(CorpusError, match=f"is no corpus: {found}"):
            load_corpus([tmp_path / name], "train")
    with pytest.raises(CorpusError, match=r"has no trial\.txt.*lists found: test, train, val"):
        load_corpus([corpus], "trial")
    (corpus / "train.txt").write_text("")
    with pytest.raises(CorpusError, match="No clip in split 'train'"):
        load_corpus([corpus], "train")


def test_scale_and_proportions_are_taken_out() -> None:
    joints = np.repeat(np.array(SMPL_22.rest_joints(), np.float32)[None], 30, axis=0)
    joints[:, :, 2] += 0.03 * np.arange(30)[:, None]
    large = joints * 1.7
    np.testing.assert_allclose(
        to_uniform_skeleton(large, SourceConstants()),
        to_uniform_skeleton(joints, SourceConstants()),
        atol=1e-5,
    )


def test_a_sources_foot_angle_is_measured_and_taken_out() -> None:
    still = np.repeat(np.array(SMPL_22.rest_joints(), np.float32)[None], 40, axis=0)
    still[:, 10:12, 1] += 0.03  # toes 3 cm higher: a flatter foot
    constants = measure_source([still])
    assert constants.flat_foot_pitch < SourceConstants().flat_foot_pitch - 0.1
    uniform = to_uniform_skeleton(still, constants)
    np.testing.assert_allclose(uniform[:, FOOT_JOINTS[1], 1], 0, atol=2e-3)


@pytest.mark.parametrize("split", ["val", "test"])
def test_real_clips_stand_on_the_floor(real_data: Path, split: str) -> None:
    clips = load_corpus([real_data / "motion/free"], split, mirrored=False)
    lowest = np.concatenate([clip.joints[..., 1].min(axis=1) for clip in clips])
    assert (lowest < -0.03).mean() < 0.01
    for clip in clips:
        assert np.abs(bone_lengths(clip.joints) - LENGTHS).max() < 1e-4
