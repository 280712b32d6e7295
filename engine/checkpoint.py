"""Checkpoints: one safetensors file that says what it is.

The header's metadata has one entry, `motion_checkpoint`, with JSON: method and its
configuration, skeleton and feature blocks spelled out, text encoder, training, licence, metrics.
Tensors are `model.*`, `statistics.mean`, `statistics.std` and what a method adds. Nothing is
ever unpickled.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from engine.motion.skeleton import SMPL_22, Skeleton

FORMAT = 1
METADATA_KEY = "motion_checkpoint"


class CheckpointError(Exception):
    """A file that isn't a checkpoint of ours, or one that this version can't use."""


@dataclass(frozen=True, kw_only=True)
class CheckpointInfo:
    """What a checkpoint says of itself. Everything but name and size stands in its header."""

    method: str
    method_config: Mapping[str, Any]
    accepts: tuple[str, ...]
    fps: float
    feature_blocks: tuple[tuple[str, int], ...]
    text_encoder: Mapping[str, str] = field(default_factory=dict[str, str])
    training: Mapping[str, Any] = field(default_factory=dict[str, Any])
    sampling: Mapping[str, Any] = field(default_factory=dict[str, Any])
    licence: str = ""
    metrics: Mapping[str, Any] = field(default_factory=dict[str, Any])
    extra: Mapping[str, Any] = field(default_factory=dict[str, Any])
    skeleton: Skeleton = SMPL_22
    model_hash: str = ""
    name: str = ""
    size_bytes: int = 0

    def header(self) -> dict[str, Any]:
        """The JSON object that is written into the file."""
        values = asdict(self)
        for key in ("name", "size_bytes", "skeleton"):
            del values[key]
        return {"format": FORMAT, **values, "skeleton": asdict(self.skeleton)}


def read_info(path: Path) -> CheckpointInfo:
    """Read a checkpoint's header without loading its tensors.

    Raises:
        CheckpointError: there is no such file, or it isn't a checkpoint that we can read.
    """
    if not path.is_file():
        raise CheckpointError(f"There is no model file {path}")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = cast("dict[str, str] | None", file.metadata())
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path} is not a safetensors file, or only half of one") from error
    if not metadata or METADATA_KEY not in metadata:
        raise CheckpointError(f"{path} is a safetensors file but not one of Marey's models")
    try:
        info = _info_from_header(json.loads(metadata[METADATA_KEY]))
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"The header of {path} is incomplete: {error}") from error
    return replace(info, name=path.stem, size_bytes=path.stat().st_size)


def load_checkpoint(path: Path) -> tuple[CheckpointInfo, dict[str, Tensor]]:
    """Read a checkpoint: its header, and its tensors in float32 on the CPU.

    Raises:
        CheckpointError: as read_info, or the skeleton differs from the code's.
    """
    info = read_info(path)
    if info.skeleton != SMPL_22:
        raise CheckpointError(
            f"{path} was trained on the skeleton {info.skeleton.name}, which differs from "
            f"this version's {SMPL_22.name}: train it again or use the version that made it"
        )
    with safe_open(path, framework="pt") as file:
        names = cast("list[str]", list(file.keys()))
        tensors = {name: cast(Tensor, file.get_tensor(name)) for name in names}
    return info, {n: t.float() if t.is_floating_point() else t for n, t in tensors.items()}


def save_checkpoint(
    path: Path, info: CheckpointInfo, tensors: Mapping[str, Tensor], *, half: bool = False
) -> CheckpointInfo:
    """Write a checkpoint under a temporary name, then rename it.

    With half, floating tensors are stored in half precision (statistics stay in single). Returns
    the info with its hash, name and size.
    """
    stored = {
        name: _stored(tensor, half=half and not name.startswith("statistics."))
        for name, tensor in tensors.items()
    }
    info = replace(info, model_hash=hash_model(info.method_config, stored), name=path.stem)
    path.parent.mkdir(parents=True, exist_ok=True)
    _write(path, stored, info)
    return replace(info, size_bytes=path.stat().st_size)


def update_metrics(path: Path, metrics: Mapping[str, Any]) -> None:
    """Write evaluation results into a checkpoint's header; its hash stays as it is."""
    info = read_info(path)
    with safe_open(path, framework="pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    _write(path, tensors, replace(info, metrics={**info.metrics, **metrics}))


def _write(path: Path, tensors: dict[str, Tensor], info: CheckpointInfo) -> None:
    partial = path.with_name(path.name + ".partial")
    # save_file would make a file that only its owner may read
    partial.write_bytes(save(tensors, metadata={METADATA_KEY: json.dumps(info.header())}))
    partial.replace(path)


def hash_model(method_config: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 over the configuration and the tensors: the same model has the same hash."""
    digest = hashlib.sha256(json.dumps(dict(method_config), sort_keys=True).encode())
    for name in sorted(tensors):
        tensor = tensors[name].contiguous().reshape(-1)
        digest.update(f"{name}:{tuple(tensors[name].shape)}:{tensor.dtype}".encode())
        digest.update(tensor.view(torch.uint8).numpy().tobytes() if tensor.numel() else b"")
    return digest.hexdigest()


def _stored(tensor: Tensor, *, half: bool) -> Tensor:
    tensor = tensor.detach().cpu().contiguous()
    return tensor.half() if half and tensor.is_floating_point() else tensor


def _info_from_header(header: dict[str, Any]) -> CheckpointInfo:
    """Rebuild the info; unknown fields of a later version are ignored."""
    if header["format"] != FORMAT:
        raise ValueError(f"its format is {header['format']}, this version reads {FORMAT}")
    skeleton = header["skeleton"]
    names = CheckpointInfo.__dataclass_fields__.keys() & header.keys() - {"skeleton"}
    values = {name: header[name] for name in names}
    values["accepts"] = tuple(values["accepts"])
    values["feature_blocks"] = tuple((str(n), int(size)) for n, size in values["feature_blocks"])
    values["skeleton"] = Skeleton(
        name=skeleton["name"],
        joint_names=tuple(skeleton["joint_names"]),
        parents=tuple(skeleton["parents"]),
        rest_offsets=tuple((float(x), float(y), float(z)) for x, y, z in skeleton["rest_offsets"]),
    )
    return CheckpointInfo(**values)
