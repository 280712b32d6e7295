"""Write a tiny text-to-motion model with random weights, for tests and first contact.

python scripts/make_tiny_checkpoint.py --out /tmp/models/tiny.safetensors
"""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path

import torch

from engine.checkpoint import CheckpointInfo, save_checkpoint
from engine.methods.mdm import MdmConfig
from engine.motion.representation import ROOT_LOCAL, estimate_heading
from engine.motion.skeleton import SMPL_22
from engine.networks import text_encoder
from engine.networks.denoiser import Denoiser, DenoiserConfig

CAPTIONS = ["a person stands still", "a person walks forward"]


def make_tiny_checkpoint(path: Path, *, seed: int = 0) -> CheckpointInfo:
    """Write the checkpoint: its motions are a standing figure that trembles."""
    torch.manual_seed(seed)
    config = MdmConfig(
        denoiser=DenoiserConfig(
            num_features=ROOT_LOCAL.num_features,
            width=16,
            num_layers=1,
            num_heads=2,
            feedforward=16,
        )
    )
    model = Denoiser(config.denoiser)
    torch.nn.init.normal_(model.to_frames.weight, std=0.2)
    info = CheckpointInfo(
        method="mdm",
        method_config=asdict(config),
        accepts=("prompt",),
        fps=20.0,
        feature_blocks=ROOT_LOCAL.sizes,
        text_encoder={"name": text_encoder.NAME, "sha256": text_encoder.SHA256},
        training={"preset": "none", "step": 0},
        sampling={"num_steps": 4, "guidance_scale": 2.5, "max_seconds": 60.0},
        licence="none: random weights",
        extra={"captions": CAPTIONS},
    )
    tensors: dict[str, torch.Tensor] = {
        f"model.{name}": value for name, value in model.named_parameters()
    }
    tensors["captions.sentences"] = text_encoder.encode_text(CAPTIONS).sentence
    tensors["statistics.mean"] = _standing_features().mean(0)
    tensors["statistics.std"] = torch.full((ROOT_LOCAL.num_features,), 0.02)
    return save_checkpoint(path, info, tensors, half=True)


def _standing_features() -> torch.Tensor:
    pose = torch.tensor(SMPL_22.rest_joints()) + torch.tensor([0.0, SMPL_22.root_height(), 0.0])
    joints = pose.repeat(4, 1, 1)
    return ROOT_LOCAL.encode(joints, estimate_heading(joints))


def main() -> None:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    info = make_tiny_checkpoint(args.out, seed=args.seed)
    print(f"Wrote {args.out} ({info.size_bytes / 1e3:.0f} kB, {info.model_hash[:12]})")


if __name__ == "__main__":
    main()
