"""A made corpus: walks, turns and waves of a stick figure, in HumanML3D's layout."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from engine.motion.skeleton import SMPL_22

SPLITS = {"train": 8, "val": 3, "test": 3}


def made_clip(index: int, frames: int = 40) -> np.ndarray:
    """A rest pose that goes ahead in a curve and swings arms and legs, (frames, 22, 3)."""
    time = np.arange(frames) / 20
    pose = np.repeat(np.array(SMPL_22.rest_joints(), np.float32)[None], frames, axis=0)
    swing = 0.2 * np.sin(6 * time + index)
    for joints, sign in (((7, 10), 1), ((8, 11), -1), ((20,), -1), ((21,), 1)):
        pose[:, joints, 2] += sign * swing[:, None]
    pose[:, 20:22, 1] += 0.1 * index * time[:, None]
    heading = 0.2 * (index - 3) * time
    cos, sin = np.cos(heading), np.sin(heading)
    turn = np.stack([cos, 0 * cos, sin, 0 * cos, cos * 0 + 1, 0 * cos, -sin, 0 * cos, cos], -1)
    pose = np.einsum("tij,tkj->tki", turn.reshape(-1, 3, 3), pose)
    ahead = np.cumsum(np.stack([sin, 0 * sin, cos], -1), axis=0) * (0.02 + 0.005 * index)
    return (pose + ahead[:, None] + [0, SMPL_22.root_height(), 0]).astype(np.float32)


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """A corpus folder of 14 clips with two captions each, half of them mirrored too."""
    folder = tmp_path / "made"
    (folder / "new_joints").mkdir(parents=True)
    (folder / "texts").mkdir()
    rows: list[str] = []
    number = 0
    for split, count in SPLITS.items():
        names = [f"A{number + i:03d}" for i in range(count)]
        number += count
        for i, name in enumerate(names):
            np.save(folder / "new_joints" / f"{name}.npy", made_clip(i, 30 + 8 * i))
            side = "left" if i > 3 else "right"
            lines = [f"a person walks and turns {side}#x/OTHER#0.0#0.0", "someone walks#x#0.0#0.0"]
            (folder / "texts" / f"{name}.txt").write_text("\n".join(lines) + "\n")
            if i % 2:
                other = lines[0].replace(side, "right" if side == "left" else "left")
                (folder / "texts" / f"M{name}.txt").write_text(other + "\n")
            rows.append(json.dumps({"id": name, "source": "made", "licence": "CC0"}))
        (folder / f"{split}.txt").write_text("\n".join(names) + "\n")
    (folder / "index.jsonl").write_text("\n".join(rows) + "\n")
    return folder
