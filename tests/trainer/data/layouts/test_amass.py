"""AMASS's layout, with a body model of 52 points that are its joints."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

from engine.motion.skeleton import SMPL_22
from trainer.__main__ import main
from trainer.data.clip import CorpusError
from trainer.data.corpus import load_corpus
from trainer.data.layouts import recognise
from trainer.data.layouts.amass import read_recording, split_of
from trainer.data.layouts.body_models import VARIABLE, BodyModels

REST = np.array(SMPL_22.rest_joints(), np.float32)


@pytest.fixture(autouse=True)
def _smplx(monkeypatch: pytest.MonkeyPatch) -> None:
    """The two functions of smplx.lbs that are used, where the package isn't installed."""
    if importlib.util.find_spec("smplx") is not None:
        return
    stand_in, lbs = ModuleType("smplx"), ModuleType("smplx.lbs")
    lbs.blend_shapes = lambda betas, shapes: torch.einsum("bl,mkl->bmk", betas, shapes)
    lbs.vertices2joints = lambda regressor, points: torch.einsum("bik,ji->bjk", points, regressor)
    monkeypatch.setitem(sys.modules, "smplx", stand_in)
    monkeypatch.setitem(sys.modules, "smplx.lbs", lbs)


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """SMPL-H's and SMPL-X's files: vertices are joints, the first shape makes all larger."""
    folder = tmp_path / "body_models"
    points = np.zeros((52, 3), np.float32)
    points[:22] = REST
    arrays = {
        "v_template": points,
        "shapedirs": np.stack([0.1 * points, 0 * points], axis=-1),
        "J_regressor": np.eye(52, dtype=np.float32),
    }
    for name in ("smplh/female/model.npz", "smplx/SMPLX_NEUTRAL.npz"):
        (folder / name).parent.mkdir(parents=True)
        np.savez(folder / name, **arrays)
    return folder


def write_recording(path: Path, frames: int = 480, rate: float = 120.0) -> None:
    """Who stands in a world with z up and goes along x; the left arm is raised at the end."""
    path.parent.mkdir(parents=True, exist_ok=True)
    is_new = path.name.endswith("_stageii.npz")
    poses = np.zeros((frames, 165 if is_new else 156))
    poses[:, 0] = np.pi / 2  # about x: from y up to z up
    poses[:, 48 + 2] = np.linspace(0, 1.2, frames)  # left shoulder, about z
    trans = np.zeros((frames, 3))
    trans[:, 0] = np.linspace(0, 2, frames)
    trans[:, 2] = 0.95
    np.savez(
        path,
        poses=poses,
        trans=trans,
        betas=np.array([1.0, 0.0]),
        gender=np.array(b"female" if not is_new else "neutral"),
        **{"mocap_frame_rate" if is_new else "mocap_framerate": np.array(rate)},
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "amass"
    for subject in range(40):
        name = "walkTurn_left02_poses.npz" if subject % 2 else "walkTurn_left02_stageii.npz"
        write_recording(root / f"KIT/{subject}/{name}", frames=96, rate=30.0)
    np.savez(root / "KIT/3/shape.npz", betas=np.zeros(16))
    return root


def test_joints_are_those_of_the_posed_body(models: Path, tmp_path: Path) -> None:
    path = tmp_path / "KIT/3/kick_poses.npz"
    write_recording(path)
    joints = read_recording(path, BodyModels(models))
    assert joints.shape == (80, 22, 3)
    # the first shape is a tenth larger; z up has become y up, x is the way
    expected = 1.1 * REST + [0, 0.95, 0]
    np.testing.assert_allclose(joints[0], expected, atol=1e-4)
    assert joints[-1, 0, 0] == pytest.approx(2 * 474 / 479, abs=1e-3)
    assert joints[-1, 20, 1] > joints[0, 20, 1] + 0.4  # left wrist
    assert joints[-1, 21, 1] == pytest.approx(joints[0, 21, 1], abs=1e-4)


def test_recordings_are_clips_by_subject_with_their_names_as_captions(
    folder: Path, models: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    assert recognise(folder).name == "AMASS"
    with pytest.raises(CorpusError, match="needs body models: name the folder of yours"):
        load_corpus([folder], "train")
    monkeypatch.setenv(VARIABLE, str(models))
    (folder / "KIT/1/walkTurn_left02_poses.npz").write_bytes(b"PK")
    found = {split: load_corpus([folder], split) for split in ("train", "val", "test")}
    assert sum(map(len, found.values())) == 39
    assert "Left out clip KIT/1/walkTurn_left02_poses.npz" in caplog.text
    for split, clips in found.items():
        assert all(split_of(Path(clip.performer) / "x.npz") == split for clip in clips)
        assert {clip.captions for clip in clips} == {("walk turn left",)}
        assert {len(clip.joints) for clip in clips} == {64}
    assert not any(clip.is_mirrored for clip in found["train"])


def test_a_corpus_is_prepared_that_needs_no_body_models(
    folder: Path, models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "corpus"
    words = ["prepare", "motion", str(folder), "--out", str(out)]
    monkeypatch.setenv(VARIABLE, "")
    assert main(words) == 2
    assert main([*words, "--body-models", str(models)]) == 0
    monkeypatch.setenv(VARIABLE, str(models))
    before = {clip.clip_id: clip for clip in load_corpus([folder], "test")}
    monkeypatch.setenv(VARIABLE, "")
    after = load_corpus([out], "test")
    assert {clip.clip_id for clip in after} == set(before)
    for clip in after:
        twin = before[clip.clip_id]
        assert (clip.captions, clip.performer) == (twin.captions, twin.performer)
        np.testing.assert_allclose(clip.joints, twin.joints, atol=2e-3)
    assert main(words) == 2  # it is there already


def test_captions_of_a_table_and_of_humanml3d(
    folder: Path, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, str(models))
    names = [
        p
        for p in sorted(folder.glob("KIT/*/*_poses.npz"))
        if split_of(p.relative_to(folder)) == "train"
    ]
    first = names[0].relative_to(folder).with_suffix("")
    (folder / "captions.csv").write_text(
        f"path,caption,start,end\n{first},a person goes,0.5,2\n{first},someone raises a hand,,\n"
    )
    clips = load_corpus([folder], "train")
    assert [(clip.captions[0], len(clip.joints)) for clip in clips] == [
        ("someone raises a hand", 64),
        ("a person goes", 30),
    ]
    (folder / "texts").mkdir()
    (folder / "texts/000000.txt").write_text("a person walks#x#0.0#0.0\n")
    (folder / "index.csv").write_text(
        "source_path,start_frame,end_frame,new_name\n"
        f"./pose_data/{first}.npy,10,50,000000.npy\n./pose_data/humanact12/P1.npy,0,9,000001.npy\n"
    )
    clips = load_corpus([folder], "train")
    assert [(c.clip_id, c.captions, len(c.joints)) for c in clips] == [
        ("000000", ("a person walks",), 40)
    ]
    (folder / "index.csv").write_text("source,name\n1,2\n")
    with pytest.raises(CorpusError, match="no column source_path"):
        load_corpus([folder], "train")
