"""VideoMDM's folders of keypoints, cameras and lifted motions."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest
import torch

from engine.motion.representation import HUMANML3D, estimate_heading
from trainer.data.clip import ClipError, CorpusError
from trainer.data.corpus import load_corpus
from trainer.data.layouts import lifted, load_views, recognise
from trainer.data.teacher_corpus import load_teacher_clips


def camera_of(azimuth: float, elevation: float, place: np.ndarray) -> np.ndarray:
    """World to camera as VideoMDM draws them: y stays up, 2.5 m before the nearest point."""
    cos, sin = np.cos(azimuth), np.sin(azimuth)
    around = np.array([[cos, 0, sin], [0, 1, 0], [-sin, 0, cos]])
    cos, sin = np.cos(elevation), np.sin(elevation)
    tilt = np.array([[1, 0, 0], [0, cos, -sin], [0, sin, cos]])
    rotation = (around @ tilt).T
    translation = rotation @ -place + [0, 0, 4.0]
    return np.concatenate([rotation, translation[:, None]], axis=1)


@pytest.fixture
def folder(tmp_path: Path, walk: np.ndarray) -> Path:
    for name in ("2d_motions", "2d_scores", "cameras/pnp", "lifted_motions", "texts"):
        (tmp_path / name).mkdir(parents=True)
    motion = torch.from_numpy(walk)
    features = HUMANML3D.encode(motion, estimate_heading(motion))
    joints = HUMANML3D.decode(features).joints.numpy()
    for number, name in enumerate(("000001", "000002", "M008911")):
        matrix = camera_of(1.0 + number, -0.1, joints.mean((0, 1)))
        seen = joints @ matrix[:, :3].T + matrix[:, 3]
        points = seen[..., :2] / seen[..., 2:]
        points = np.concatenate([points, points[-1:]])  # keypoints have a frame more
        np.save(tmp_path / f"2d_motions/{name}.npy", points)
        np.save(tmp_path / f"2d_scores/{name}.npy", np.full(points.shape[:2], 0.8))
        np.save(tmp_path / f"cameras/{name}.npy", matrix.reshape(12))
        np.save(tmp_path / f"cameras/pnp/{name}.npy", matrix.reshape(12))
        np.save(tmp_path / f"lifted_motions/{name}.npy", features.numpy())
        text = "a person walks#x#0.0#0.0\na person turns#x#2.0#4.0\n"
        (tmp_path / f"texts/{name}.txt").write_text(text)
    (tmp_path / "train.txt").write_text("000001\n000002\nM008911\n")
    return tmp_path


def test_keypoints_camera_and_lifted_motion_belong_together(folder: Path) -> None:
    assert recognise(folder).name.startswith("lifted motions")
    views = list(load_views(folder, "train"))
    assert [view.view_id for view in views] == [
        "000001",
        "000001-part1",
        "000002",
        "000002-part1",
    ]
    for view, frames in zip(views, (119, 40) * 2, strict=True):
        assert view.teacher is not None
        assert len(view.teacher) == len(view.keypoints) == len(view.camera.translation) == frames
        seen, depths = view.camera.project(view.teacher)
        torch.testing.assert_close(seen, view.keypoints[..., :2], atol=1e-4, rtol=0)
        assert (depths > 1).all()
        # image points have y down, whatever the folder's cameras have
        assert (view.keypoints[:, 15, 1] < view.keypoints[:, 7, 1]).all()
        assert (view.keypoints[..., 2] == 0.8).all()
    assert views[1].captions == ("a person turns",)


def test_video_mdm_reads_them_as_teacher_clips(folder: Path) -> None:
    clips = load_teacher_clips([folder], "train")
    assert len(clips) == 4
    for clip in clips:
        start = clip.teacher[0, 0] * torch.tensor([1.0, 0.0, 1.0])
        assert start.abs().max() < 1e-5  # parts start at the origin too
        for camera in (clip.given, clip.estimated):
            assert camera is not None
            seen, _ = camera.project(clip.teacher)
            torch.testing.assert_close(seen, clip.plane_points, atol=1e-4, rtol=0)


def test_lifted_motions_are_clips_where_3d_is_asked_for(folder: Path) -> None:
    clips = load_corpus([folder], "train")
    assert [len(clip.joints) for clip in clips] == [119, 40] * 2


def test_what_does_not_fit_is_left_out(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    np.save(folder / "lifted_motions/000002.npy", np.zeros((119, 191), np.float32))
    np.save(folder / "cameras/000001.npy", np.zeros(12))
    with caplog.at_level(logging.WARNING):
        assert not list(load_views(folder, "train"))
    assert "Left out clip 000001: its camera has no rotation" in caplog.text
    assert "Left out clip 000002: its features have 191 numbers" in caplog.text
    assert "left out 2 of the 2 clips" in caplog.text
    with pytest.raises(CorpusError, match="No clip in split 'train'"):
        load_teacher_clips([folder], "train")
    with pytest.raises(CorpusError, match=r"has no val\.txt"):
        list(load_views(folder, "val"))
    with pytest.raises(ClipError, match="no rotation"):
        lifted.read_camera(np.arange(12, dtype=np.float32))


def test_cameras_of_other_motions_are_noticed(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("000001", "000002"):
        np.save(folder / f"2d_motions/{name}.npy", np.zeros((120, 22, 2)))
    with caplog.at_level(logging.WARNING):
        list(load_views(folder, "train"))
    assert "lifted joints are seen" in caplog.text
