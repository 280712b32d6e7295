"""`engine capture` with a shipped model, in this process."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from engine import __main__
from tests.engine.video.made_videos import write_swaying

COUNT = 20


def test_crossdiff_lifts_a_video(tmp_path: Path) -> None:
    movie, keypoints = write_swaying(tmp_path, count=COUNT, fps=20)
    out = tmp_path / "sway.npz"
    words = ["capture", str(movie), "--keypoints", str(keypoints), "--model", "crossdiff-free"]
    assert __main__.main([*words, "--device", "cpu", "--out", str(out)]) == 0
    with np.load(out) as file:
        provenance = json.loads(str(file["provenance"]))
        joints, parents = file["joints"], file["parents"]
        floats = [file[name] for name in file if file[name].dtype.kind == "f"]
    assert provenance["model"] == "crossdiff-free"
    assert "prior" not in provenance
    assert provenance["quality"]["reprojection_error"] < 0.05
    assert joints.shape == (COUNT, 22, 3)
    assert all(np.isfinite(values).all() for values in floats)
    bones = np.linalg.norm(joints[:, 1:] - joints[:, parents[1:]], axis=-1)
    assert bones.std(axis=0).max() < 1e-4
    assert bones.min() > 0.03
