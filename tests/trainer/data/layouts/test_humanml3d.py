"""HumanML3D's layout: features, listed mirrors, captions of parts, statistics."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from engine.motion.representation import HUMANML3D, estimate_heading
from trainer.data.clip import CorpusError
from trainer.data.corpus import load_corpus
from trainer.data.layouts import humanml3d, recognise
from trainer.data.uniform_skeleton import mirror_joints


def features_of(joints: np.ndarray) -> np.ndarray:
    motion = torch.from_numpy(joints)
    return HUMANML3D.encode(motion, estimate_heading(motion)).numpy()


@pytest.fixture
def folder(tmp_path: Path, walk: np.ndarray) -> Path:
    for name in ("new_joints", "new_joint_vecs", "texts"):
        (tmp_path / name).mkdir()
    for name, joints in (("000001", walk), ("M000001", mirror_joints(walk))):
        np.save(tmp_path / f"new_joints/{name}.npy", joints)
        np.save(tmp_path / f"new_joint_vecs/{name}.npy", features_of(joints))
    texts = (
        "a person walks#a/DET person/NOUN walk/VERB#0.0#0.0\n"
        "someone strolls#someone/PRON stroll/VERB#nan#nan\n"
        "a person turns#a/DET person/NOUN turn/VERB#1.0#3.0\n"
    )
    (tmp_path / "texts/000001.txt").write_text(texts)
    (tmp_path / "texts/M000001.txt").write_text(texts)
    (tmp_path / "train.txt").write_text("000001\nM000001\n")
    return tmp_path


def test_listed_mirrors_are_clips_and_not_made_again(folder: Path, walk: np.ndarray) -> None:
    clips = load_corpus([folder], "train")
    assert [clip.clip_id for clip in clips] == ["000001", "000001", "M000001", "M000001"]
    assert [len(clip.joints) for clip in clips] == [120, 40, 120, 40]
    assert clips[0].captions == ("a person walks", "someone strolls")
    assert clips[1].captions == ("a person turns",)
    np.testing.assert_allclose(clips[1].joints, clips[0].joints[20:60])
    # uniform skeletons of a motion and of its mirror are mirrors of each other
    np.testing.assert_allclose(clips[2].joints, mirror_joints(clips[0].joints), atol=2e-3)
    assert len(load_corpus([folder], "train", mirrored=False)) == 2


def test_features_stand_in_for_joints_that_are_missing(folder: Path) -> None:
    expected = load_corpus([folder], "train")[0].joints
    (folder / "new_joints/000001.npy").unlink()
    found = load_corpus([folder], "train")[0].joints
    assert len(found) == len(expected) - 1
    ways = [np.linalg.norm(np.diff(j[:, 0], axis=0), axis=-1).sum() for j in (found, expected[:-1])]
    assert ways[0] == pytest.approx(ways[1], rel=1e-3)
    # features are in the frame of their first heading: poses agree in their own
    knees = [np.linalg.norm(j[:119, 4] - j[:119, 8], axis=-1) for j in (found, expected)]
    np.testing.assert_allclose(*knees, atol=1e-4)
    assert recognise(folder).name == "HumanML3D"


def test_the_evaluators_statistics_follow_from_the_training_ones(folder: Path) -> None:
    generator = np.random.default_rng(0)
    mean, deviation = generator.normal(size=263), generator.uniform(0.1, 1, size=263)
    np.save(folder / "Mean.npy", mean)
    np.save(folder / "Std.npy", deviation)
    found = humanml3d.read_statistics(folder)
    ratio = found.deviation / found.evaluator_deviation
    np.testing.assert_allclose(ratio[[0, 1, 2, 3, 259, 262]], 25, rtol=1e-5)
    np.testing.assert_allclose(ratio[4:259], 1)
    features = generator.normal(size=(2, 10, 263)).astype(np.float32)
    scaled = found.for_evaluator((features - found.mean) / found.deviation)
    expected = (features - found.evaluator_mean) / found.evaluator_deviation
    np.testing.assert_allclose(scaled, expected, atol=1e-3)
    np.save(folder / "Std.npy", np.zeros(251))
    with pytest.raises(CorpusError, match=r"Std.npy has shape \(251,\)"):
        humanml3d.read_statistics(folder)


def test_the_published_statistics_are_as_described(real_data: Path) -> None:
    found = humanml3d.read_statistics(real_data / "reference")
    ratio = found.deviation / found.evaluator_deviation
    np.testing.assert_allclose(ratio[[0, 1, 2, 3, 259, 260, 261, 262]], 25, rtol=0.02)
    np.testing.assert_allclose(ratio[4:259], 1, rtol=0.01)
