"""VideoMDM on the field's own data; the table of all presets is trainer.presets.

Published (its release and spec 3.3 after it): AdamW at 1e-4 without warm-up, decay or weight
decay, 64 clips of at most 196 frames, 600,000 steps (Fit3D: 20,000 more from the HumanML3D model),
gradients cut at norm 1, averages of 0.9999, eight layers of width 512 with feed-forward 1,024 and
four heads, prompts dropped in a tenth, t* 12 in 4 buckets, confidence squared, 50 steps with
guidance 2.5 when sampling; NBA has one caption for all and is sampled without guidance.

Ours, where nothing is published or where the release is known to be wrong: the weights of the terms
(the published ones belong to a mean that divides too often; 0.32 and 16 are what they come to), the
squared depth weight in metres, errors beyond half a metre counted linearly, positions held against
the rays as features too, on bodies that the teacher has placed, MiniLM as text encoder, frames that
share tokens, the features without rotations, 20 frames a second for NBA too,
AdamW's second beta of 0.98, and Fit3D's captions and splits.
"""

from __future__ import annotations

from engine.methods.mdm import MdmConfig
from engine.networks.denoiser import DenoiserConfig
from trainer.loop import LoopSettings
from trainer.methods.video_mdm import VideoMdmTraining

HUMANML3D_LICENCE = (
    "Non-commercial: trained on HumanML3D, whose motions are under AMASS's licence (non-commercial "
    "scientific research)"
)
FIT3D_LICENCE = "Non-commercial: trained on Fit3D (non-commercial research) from a HumanML3D model"
NBA_LICENCE = "Unclear: trained on MAS's NBA set, 2D tracks of broadcast videos; not for release"


def _published(licence: str, num_steps: int, guidance_scale: float) -> VideoMdmTraining:
    return VideoMdmTraining(
        licence=licence,
        model=MdmConfig(
            denoiser=DenoiserConfig(
                num_features=137, width=512, num_layers=8, num_heads=4, feedforward=1024
            )
        ),
        loop=LoopSettings(
            num_steps=num_steps,
            warmup_steps=0,
            decay_fraction=0.0,
            ema_decay=0.9999,
            validate_every=5_000,
            save_every=5_000,
            log_every=1_000,
            seed=10,
        ),
        learning_rate=1e-4,
        weight_decay=0.0,
        batch_size=64,
        noisiest_share=0.0,
        rewordings=0,
        text_noise=0.0,
        num_steps=50,
        guidance_scale=guidance_scale,
    )


def humanml3d() -> VideoMdmTraining:
    """HumanML3D's clips seen by one camera each, lifted by MVLift."""
    return _published(HUMANML3D_LICENCE, 600_000, 2.5)


def fit3d() -> VideoMdmTraining:
    """Fine-tuning on Fit3D: give the HumanML3D model with --init."""
    return _published(FIT3D_LICENCE, 20_000, 2.5)


def nba() -> VideoMdmTraining:
    """Basketball players; all clips have the same caption."""
    return _published(NBA_LICENCE, 600_000, 1.0)
