"""Sheets of stick figures are written as pictures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.image import imread

from engine.motion.skeleton import SMPL_22
from trainer.evaluation.drawing import Strip, draw_sheet


def test_a_sheet_has_ink_for_every_motion(tmp_path: Path) -> None:
    joints = np.repeat(np.array(SMPL_22.rest_joints(), dtype=np.float32)[None], 5, axis=0)
    strips = [Strip(title=str(k), joints=joints + np.float32([0, 1, 0])) for k in range(2)]
    draw_sheet(tmp_path / "deep" / "sheet.png", strips, num_poses=3)
    image = imread(tmp_path / "deep" / "sheet.png")
    halves = np.array_split(image[..., :3].min(axis=-1), 2, axis=0)
    assert all((half < 0.7).sum() > 200 for half in halves)


def test_columns_hold_any_number_of_motions(tmp_path: Path) -> None:
    joints = np.repeat(np.array(SMPL_22.rest_joints(), dtype=np.float32)[None], 5, axis=0)
    strips = [Strip(title=str(k), joints=joints + np.float32([0, 1, 0])) for k in range(3)]
    draw_sheet(tmp_path / "sheet.png", strips, num_poses=3, num_columns=2)
    image = imread(tmp_path / "sheet.png")[..., :3].min(axis=-1)
    quarters = [half for row in np.array_split(image, 2) for half in np.array_split(row, 2, axis=1)]
    assert [(quarter < 0.7).sum() > 200 for quarter in quarters] == [True, True, True, False]
