"""Fit3D's layout: what is measured, what the cameras see, how recordings are cut."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import numpy as np
import pytest
import torch

from trainer.data.clip import CorpusError
from trainer.data.corpus import load_corpus
from trainer.data.layouts import fit3d, load_views, recognise

SUBJECTS = ("s03", "s04", "s05")
FROM_Y_UP = np.array([[1, 0, 0], [0, 0, -1], [0, 1, 0]], float)  # to z up
LEGS = ((1, 4, 7, 10), (2, 5, 8, 11))  # left, right of our skeleton
ARMS = ((16, 18, 20), (17, 19, 21))


def to_25(joints: np.ndarray, *, left_leg_first: bool, left_arm_first: bool) -> np.ndarray:
    """Our joints (T, 22, 3) as Fit3D's, z up, 50 fps."""
    found = np.zeros((len(joints), 25, 3))
    found[:, 0], found[:, 7], found[:, 8] = joints[:, 0], joints[:, 6], joints[:, 12]
    found[:, 9] = joints[:, 15]
    found[:, 10] = joints[:, 15] + [0, 0.12, 0]
    for start, leg in ((1, LEGS[not left_leg_first]), (4, LEGS[left_leg_first])):
        found[:, start : start + 3] = joints[:, leg[:3]]
        toes = 17 if start == 1 else 19
        found[:, toes] = joints[:, leg[2]] - [0, 0.05, 0]
        found[:, toes + 1] = joints[:, leg[3]]
    for start, arm in ((11, ARMS[not left_arm_first]), (14, ARMS[left_arm_first])):
        found[:, start : start + 3] = joints[:, arm]
    times = np.arange(int(len(joints) * 2.5) - 2) / 2.5
    before = times.astype(int)
    part = (times - before)[:, None, None]
    smooth = found[before] * (1 - part) + found[np.minimum(before + 1, len(found) - 1)] * part
    return smooth @ FROM_Y_UP.T


@pytest.fixture(params=[(True, True), (False, True), (True, False), (False, False)])
def orders(request: pytest.FixtureRequest) -> tuple[bool, bool]:
    return request.param


def write(folder: Path, walk: np.ndarray, orders: tuple[bool, bool]) -> Path:
    for number, subject in enumerate(SUBJECTS):
        root = folder / "train" / subject
        (root / "joints3d_25").mkdir(parents=True)
        (root / "camera_parameters/50591643").mkdir(parents=True)
        joints = to_25(
            walk + np.array([number, 0, 0]), left_leg_first=orders[0], left_arm_first=orders[1]
        )
        written = {"joints3d_25": joints.tolist()}
        (root / "joints3d_25/dumbbell_biceps_curls.json").write_text(json.dumps(written))
        (root / "rep_ann.json").write_text(json.dumps({"dumbbell_biceps_curls": [50, 150, 290]}))
        parameters = {
            # 6 m along -y, level: x to the right, y down, z ahead
            "extrinsics": {
                "R": [[1, 0, 0], [0, 0, -1], [0, 1, 0]],
                "T": [[number, -6.0, 1.0]],
            },
            "intrinsics_wo_distortion": {"f": [1100.0, 1100.0], "c": [455.0, 440.0]},
        }
        path = root / "camera_parameters/50591643/dumbbell_biceps_curls.json"
        path.write_text(json.dumps(parameters))
    return folder


def test_sides_and_up_are_measured(
    tmp_path: Path,
    walk: np.ndarray,
    orders: tuple[bool, bool],
    caplog: pytest.LogCaptureFixture,
) -> None:
    folder = write(tmp_path, walk, orders)
    with caplog.at_level(logging.INFO):
        view = next(load_views(folder, "train"))
    assert f"the {'left' if orders[0] else 'right'} leg comes first" in caplog.text
    assert f"the {'left' if orders[1] else 'right'} arm" in caplog.text
    assert "up is +z" in caplog.text
    assert view.joints is not None
    # the first clip is the 50 frames at 50 fps before the first repetition: 20 at 20 fps
    expected = torch.from_numpy(walk[:20])
    told = [j for leg in LEGS for j in leg] + [j for arm in ARMS for j in arm] + [0, 6, 12]
    torch.testing.assert_close(view.joints[:, told], expected[:, told], atol=5e-3, rtol=0)
    assert view.captions == ("a person is starting dumbbell biceps curls.",)


def test_cameras_see_what_the_toolkit_projects(tmp_path: Path, walk: np.ndarray) -> None:
    folder = write(tmp_path, walk, (False, True))
    assert recognise(folder).name == "Fit3D"
    views = list(fit3d.read_views(folder, "test", None))
    assert [view.captions[0].split()[3] for view in views] == ["starting", "performing"]
    assert {view.row["performer"] for view in views} == {"s05"}
    view = views[1]
    assert view.view_id == "s05_dumbbell_biceps_curls__50_290-50591643"
    joints = to_25(walk + np.array([2, 0, 0]), left_leg_first=False, left_arm_first=True)[50]
    in_camera = (joints - [2, -6.0, 1.0]) @ np.array([[1, 0, 0], [0, 0, -1], [0, 1, 0]], float).T
    pixels = in_camera[:, :2] / in_camera[:, 2:] * 1100 + [455, 440]
    seen = (pixels - 450) / 450
    for ours, theirs in ((5, 2), (4, 5), (18, 12), (21, 16)):
        np.testing.assert_allclose(view.keypoints[0, ours, :2], seen[theirs], atol=2e-3)
    assert view.keypoints[0, 5, 2] == 1
    assert view.row["camera"] == "given"


def test_clips_are_whole_repetitions_of_one_subject_per_split(
    tmp_path: Path, walk: np.ndarray, caplog: pytest.LogCaptureFixture
) -> None:
    folder = write(tmp_path, walk, (False, True))
    path = folder / "train/s03/joints3d_25/dumbbell_biceps_curls.json"
    (path.parent / "squat.json").write_text(path.read_text()[:1000])
    clips = load_corpus([folder], "train")
    assert [(clip.performer, len(clip.joints)) for clip in clips] == [("s03", 20), ("s03", 96)]
    assert "Left out clip s03/squat: joints3d_25/squat.json can't be read" in caplog.text
    assert "left out 1 of the 2 clips" in caplog.text
    assert load_corpus([folder], "val")[0].performer == "s04"
    with pytest.raises(CorpusError, match="too few for split 'trial'"):
        load_corpus([folder], "trial")


def test_straight_knees_tell_no_side(tmp_path: Path, walk: np.ndarray) -> None:
    stiff = walk.copy()
    for hip, knee, ankle in ((1, 4, 7), (2, 5, 8)):
        stiff[:, knee] = (stiff[:, hip] + stiff[:, ankle]) / 2
    folder = write(tmp_path, stiff, (False, True))
    with pytest.raises(CorpusError, match="it can't be measured which leg"):
        load_corpus([folder], "train")
