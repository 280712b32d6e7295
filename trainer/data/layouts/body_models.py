"""The user's SMPL-H and SMPL-X body models: where a body's joints are at rest.

The models are licensed to each user (mano.is.tue.mpg.de, smpl-x.is.tue.mpg.de) and never part of
Marey; `smplx` (non-commercial licence, extra `smpl`) reads a body off them. Only files that are
plain arrays (.npz) are opened: the .pkl variants are pickles, which can run code.

Looked for in the folder of body models, the first that is there:

    SMPL-H   smplh/GENDER/model.npz  (as mano.is.tue.mpg.de packs "extended SMPL+H")
             smplh/SMPLH_GENDER.npz  (as smplx names them)
    SMPL-X   smplx/SMPLX_GENDER.npz, then SMPLX_NEUTRAL.npz
    GENDER   male, female, neutral

Each holds v_template (V, 3), shapedirs (V, 3, B) and J_regressor (J, V); of the J joints the
first 22 are those of our skeleton, in its order.

Source: github.com/vchoutas/smplx, README (model folder) and smplx/body_models.py.
"""

from __future__ import annotations

import importlib
import os
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from engine.motion import rotations as rot
from engine.motion.kinematics import local_to_global
from engine.motion.skeleton import SMPL_22
from trainer.data.clip import READ_ERRORS, ClipError, CorpusError

VARIABLE = "MAREY_BODY_MODELS"
NUM_JOINTS = 22
_NAMES = {
    "smplh": ("smplh/{lower}/model.npz", "smplh/SMPLH_{upper}.npz"),
    "smplx": ("smplx/SMPLX_{upper}.npz", "smplx/SMPLX_NEUTRAL.npz"),
}


class BodyModels:
    """Bodies of the models in a folder; each file is read once."""

    def __init__(self, folder: Path) -> None:
        """Raises CorpusError where the folder or the package `smplx` is missing."""
        if not folder.is_dir():
            raise CorpusError(f"{folder}, the folder of body models, is not there")
        try:
            self._lbs: Any = importlib.import_module("smplx.lbs")
        except ImportError as error:
            raise CorpusError(
                "Reading SMPL parameters needs the package smplx (its licence is non-commercial): "
                "pip install 'marey[smpl]'"
            ) from error
        self._folder = folder
        self._known: dict[tuple[str, str], dict[str, Tensor]] = {}

    def rest_joints(self, kind: str, gender: str, betas: NDArray[np.float32]) -> Tensor:
        """Joints (22, 3) in metres of a body of shape `betas` (B,), in its rest pose.

        Args:
            kind: "smplh" or "smplx".

        Raises:
            ClipError: there is no such model.
        """
        model = self._model(kind, gender)
        shapes = model["shapedirs"][..., : len(betas)]
        betas_of_model = torch.from_numpy(betas[: shapes.shape[-1]])[None]
        body = model["v_template"] + self._lbs.blend_shapes(betas_of_model, shapes)
        return self._lbs.vertices2joints(model["J_regressor"][:NUM_JOINTS], body)[0]

    def _model(self, kind: str, gender: str) -> dict[str, Tensor]:
        if (kind, gender) not in self._known:
            names = [n.format(lower=gender, upper=gender.upper()) for n in _NAMES[kind]]
            paths = [self._folder / name for name in names]
            path = next((path for path in paths if path.is_file()), None)
            if path is None:
                raise ClipError(f"{self._folder} has neither {names[0]} nor {names[1]}")
            self._known[kind, gender] = _read_model(path)
        return self._known[kind, gender]


def find_body_models(folder: Path | None) -> BodyModels | None:
    """The models of the folder, or of the one that MAREY_BODY_MODELS names, or none.

    Raises:
        CorpusError: the folder that was named isn't there, or smplx isn't installed.
    """
    named = folder or (Path(os.environ[VARIABLE]) if os.environ.get(VARIABLE) else None)
    return None if named is None else BodyModels(named)


def pose_body(rest_joints: Tensor, rotations: Tensor, translation: Tensor) -> NDArray[np.float32]:
    """Joints (T, 22, 3) of a posed body.

    Args:
        rest_joints: (22, 3) metres.
        rotations: (T, 22, 4) unit quaternions relative to the parent.
        translation: (T, 3) metres, added to the body as it stands at its own origin.
    """
    turned = local_to_global(rotations, SMPL_22)
    joints = [rest_joints[0] + translation]
    for joint, parent in enumerate(SMPL_22.parents[1:], start=1):
        offset = (rest_joints[joint] - rest_joints[parent]).expand(len(rotations), 3)
        joints.append(joints[parent] + rot.rotate(turned[:, parent], offset))
    return torch.stack(joints, dim=1).float().numpy()


def _read_model(path: Path) -> dict[str, Tensor]:
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {
                name: torch.from_numpy(np.asarray(file[name], dtype=np.float32))
                for name in ("v_template", "shapedirs", "J_regressor")
            }
    except READ_ERRORS as error:
        raise ClipError(f"the body model {path} can't be read ({error})") from error
    vertices = len(arrays["v_template"])
    regressor = arrays["J_regressor"].shape
    if len(regressor) != 2 or regressor[0] < NUM_JOINTS or regressor[1] != vertices:
        raise ClipError(f"the body model {path} has a J_regressor of shape {tuple(regressor)}")
    return arrays
