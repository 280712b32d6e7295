"""A tiny CrossDiff model with random weights."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import torch

from engine.checkpoint import CheckpointInfo, save_checkpoint
from engine.methods.crossdiff import CrossDiffConfig
from engine.motion.representation import ROOT_LOCAL
from engine.motion.representation_2d import VIEW
from engine.motion.skeleton import SMPL_22
from engine.networks.two_domain import TwoDomainConfig

TINY = TwoDomainConfig(
    width=16,
    num_heads=2,
    feedforward=32,
    private_layers=1,
    shared_layers=1,
    detail_width=8,
    dropout=0.0,
)


def make_tiny_crossdiff(path: Path) -> Path:
    """Write the checkpoint: its motions tremble around the rest pose."""
    config = CrossDiffConfig(unified=TINY)
    torch.manual_seed(0)
    model = config.build()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.08)
    tensors: dict[str, torch.Tensor] = {f"model.{n}": p for n, p in model.named_parameters()}
    rest = torch.tensor(SMPL_22.rest_joints()).float() + torch.tensor((0, SMPL_22.root_height(), 0))
    mean = ROOT_LOCAL.encode(rest.repeat(2, 1, 1), torch.zeros(2))[0]
    tensors["statistics.mean"], tensors["statistics.std"] = mean, torch.full((137,), 0.02)
    tensors["statistics.view.mean"] = torch.zeros(134)
    tensors["statistics.view.std"] = torch.ones(134)
    info = CheckpointInfo(
        method="crossdiff",
        method_config=asdict(config),
        accepts=("prompt", "video"),
        fps=20.0,
        feature_blocks=(*ROOT_LOCAL.sizes, *VIEW.sizes),
        sampling={"num_steps": 5, "guidance_scale": 2.0},
    )
    save_checkpoint(path, info, tensors)
    return path
