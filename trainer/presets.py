"""The table of presets: one row per run that can be named."""

from __future__ import annotations

from dataclasses import dataclass

from engine.methods.mdm import MdmConfig
from engine.networks.denoiser import DenoiserConfig
from trainer.loop import LoopSettings
from trainer.methods.mdm import MdmTraining

FREE_LICENCE = (
    "Commercial use allowed. Trained on: CMU Graphics Lab Motion Capture Database (mocap.cs.cmu.edu"
    "; created with funding from NSF EIA-0196217), DeepMimic clips (MIT), Mesh2Motion (CC0)"
)
NC_LICENCE = (
    "Non-commercial (CC BY-NC 4.0): trained also on the Bandai Namco Research Motion Dataset. "
    + FREE_LICENCE.removeprefix("Commercial use allowed. ")
)


@dataclass(frozen=True, kw_only=True)
class Preset:
    """A named run: what it learns from and what it is for."""

    training: MdmTraining
    data: str
    purpose: str


PRESETS: dict[str, Preset] = {
    "mdm-free": Preset(
        training=MdmTraining(
            licence=FREE_LICENCE, loop=LoopSettings(num_steps=6_500, decay_fraction=0.15)
        ),
        data="free",
        purpose="the default model: text to motion, commercial use allowed",
    ),
    "mdm-free-nc": Preset(
        training=MdmTraining(licence=NC_LICENCE, loop=LoopSettings(num_steps=20_000)),
        data="free nc",
        purpose="text to motion on both corpora, non-commercial",
    ),
    "mdm-smoke": Preset(
        training=MdmTraining(
            licence="none: a test",
            model=MdmConfig(
                denoiser=DenoiserConfig(
                    num_features=137,
                    width=32,
                    num_layers=2,
                    num_heads=2,
                    feedforward=64,
                    dropout=0.0,
                )
            ),
            loop=LoopSettings(
                num_steps=20, warmup_steps=2, validate_every=10, save_every=10, log_every=1
            ),
            learning_rate=3e-3,
            batch_size=8,
            rewordings=1,
        ),
        data="any",
        purpose="twenty steps of a tiny network: does training run at all",
    ),
}
