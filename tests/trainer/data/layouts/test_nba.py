"""The MAS NBA set: its conventions are measured on tracks that are made with all of them."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest
import torch

from engine.motion import skeleton as sk
from trainer.__main__ import main
from trainer.data.clip import CorpusError
from trainer.data.corpus import load_corpus
from trainer.data.layouts import load_views, nba, recognise

LEFT_LEG, RIGHT_LEG = (1, 4, 7), (2, 5, 8)
LEFT_ARM, RIGHT_ARM = (16, 18, 20), (17, 19, 21)


def seen_from_above(joints: np.ndarray, azimuth: float) -> np.ndarray:
    """Joints (T, 22, 3) at 60 fps as a far camera sees them that looks down by 15 degrees, y up."""
    cos, sin = np.cos(azimuth), np.sin(azimuth)
    turned = joints @ np.array([[cos, 0, sin], [0, 1, 0], [-sin, 0, cos]]).T
    down = np.deg2rad(15)
    height = turned[..., 1] * np.cos(down) - turned[..., 2] * np.sin(down)
    return np.repeat(np.stack([turned[..., 0], height], axis=-1), 3, axis=0)


def write(folder: Path, walk: np.ndarray, *, leg: bool, arm: bool, y_up: bool = True) -> Path:
    """Twelve files of which the first leg, or arm, is the left one."""
    (folder / "motions").mkdir(parents=True)
    legs = (LEFT_LEG, RIGHT_LEG) if leg else (RIGHT_LEG, LEFT_LEG)
    arms = (LEFT_ARM, RIGHT_ARM) if arm else (RIGHT_ARM, LEFT_ARM)
    order = [0, *legs[0], *legs[1], 12, 15, 15, *arms[0], *arms[1]]
    for number in range(12):
        points = seen_from_above(walk, 0.7 * number)[:, order]
        points[:, 9, 1] += 0.15
        points = points * (100 if y_up else -100) + 500  # pixels of some image
        if not y_up:
            points[..., 0] = 1000 - points[..., 0]
        confidence = np.full((*points.shape[:2], 1), 0.9)
        confidence[0, 3] = 0.1
        track = np.concatenate([points, confidence], axis=-1).astype(np.float32)
        np.save(folder / f"motions/p{number:02d}.npy", track)
    return folder


@pytest.mark.parametrize("leg", [False, True])
@pytest.mark.parametrize("arm", [False, True])
@pytest.mark.parametrize("y_up", [False, True])
def test_sides_are_measured_by_knees_and_shoulders(
    tmp_path: Path, walk: np.ndarray, *, leg: bool, arm: bool, y_up: bool
) -> None:
    found = nba.measure_conventions(write(tmp_path, walk, leg=leg, arm=arm, y_up=y_up))
    assert (found.is_y_up, found.first_leg_is_left) == (y_up, leg)
    assert found.first_arm_is_left == arm


def test_views_are_in_our_order_and_units(
    tmp_path: Path, walk: np.ndarray, caplog: pytest.LogCaptureFixture
) -> None:
    folder = write(tmp_path, walk, leg=False, arm=True)
    assert recognise(folder).name == "MAS NBA"
    with caplog.at_level(logging.INFO):
        views = list(load_views(folder, "train"))
    assert "10 to 12 the left arm" in caplog.text
    assert [view.view_id for view in views] == [f"p{i:02d}" for i in range(2, 12)]
    view = views[0]
    assert (len(view.keypoints), view.fps) == (120, 20.0)
    flat = torch.from_numpy(seen_from_above(walk, 1.4)[::3].astype(np.float32))
    ours = [sk.LEFT_KNEE, sk.RIGHT_KNEE, sk.LEFT_WRIST, sk.RIGHT_ELBOW]
    found = view.keypoints[1:, ours, :2]
    centred = (flat - flat.mean((0, 1)))[1:, ours] * torch.tensor([1.0, -1.0])
    scale = (found[..., 1] - found[..., 1].mean()).std() / centred[..., 1].std()
    off = found - scale * centred
    assert (off - off.mean((0, 1))).abs().max() < 0.05
    assert view.keypoints[..., :2].abs().max() < 1.5
    assert view.keypoints[0, sk.RIGHT_ANKLE].tolist() == [0, 0, 0]  # not sure enough
    assert view.keypoints[5, sk.LEFT_FOOT, 2] == 0  # there are no toes
    assert (view.row["camera"], view.captions) == ("unknown", (nba.CAPTION,))


def test_the_flag_overrules_what_is_measured(tmp_path: Path, walk: np.ndarray) -> None:
    folder = write(tmp_path, walk, leg=False, arm=False)
    named = nba.measure_conventions(folder, sides="named")
    assert (named.first_leg_is_left, named.first_arm_is_left) == (False, True)
    swapped = nba.measure_conventions(folder, sides="swapped")
    assert (swapped.first_leg_is_left, swapped.first_arm_is_left) == (True, False)
    with pytest.raises(ValueError, match="needs one of measured, named, swapped"):
        nba.measure_conventions(folder, sides="left")


def test_tracks_are_copied_into_our_own_layout(tmp_path: Path, walk: np.ndarray) -> None:
    folder, out = write(tmp_path / "nba", walk, leg=False, arm=False), tmp_path / "views"
    words = ["prepare", "views", str(folder), "--out", str(out)]
    assert main([*words, "--sides", "named"]) == 0
    found = list(load_views(out, "train"))
    expected = list(nba.read_views(folder, "train", sides="named"))
    assert [view.view_id for view in found] == [view.view_id for view in expected]
    for view, twin in zip(found, expected, strict=True):
        torch.testing.assert_close(view.keypoints, twin.keypoints)
        assert (view.captions, view.row["camera"]) == (twin.captions, "unknown")
    measured = next(nba.read_views(folder, "train"))
    wrists = [sk.LEFT_WRIST, sk.RIGHT_WRIST]
    torch.testing.assert_close(measured.keypoints[:, wrists], found[0].keypoints[:, wrists[::-1]])
    assert len(list(load_views(out, "test"))) == 1
    assert main(words) == 2  # it is there already


def test_damaged_tracks_are_left_out_and_3d_is_refused(
    tmp_path: Path, walk: np.ndarray, caplog: pytest.LogCaptureFixture
) -> None:
    folder = write(tmp_path, walk, leg=False, arm=True)
    (folder / "motions/p05.npy").write_bytes(b"\x93NUMPY")
    np.save(folder / "motions/p06.npy", np.zeros((4, 16, 3), np.float32))
    assert len(list(load_views(folder, "train"))) == 8
    assert "left out 2 of the 10 clips" in caplog.text
    with pytest.raises(CorpusError, match="holds keypoints and no 3D motion"):
        load_corpus([folder], "train")
