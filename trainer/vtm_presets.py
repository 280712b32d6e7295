"""VTM's runs; the table of all presets is trainer.presets."""

from __future__ import annotations

from engine.methods.vtm import VtmConfig
from trainer.data.lifting_examples import LiftDataSettings
from trainer.loop import LoopSettings
from trainer.methods.vtm import VtmTraining, VtmWeights


def free(licence: str, *, alignment: float = 1.0) -> VtmTraining:
    """The lifter that ships; without alignment the row that shows what it is for."""
    return VtmTraining(
        licence=licence,
        data=LiftDataSettings(batch_size=32, num_frames=32, mixed_share=0.25),
        weights=VtmWeights(alignment=alignment),
        loop=LoopSettings(num_steps=5_500, decay_fraction=0.4, validate_every=500, save_every=500),
        autoencoder_share=0.3,
    )


def smoke() -> VtmTraining:
    """Twenty steps of a tiny lifter, five of them for motions alone."""
    return VtmTraining(
        licence="none: a test",
        model=VtmConfig(
            width=32,
            motion_width=32,
            num_codes=16,
            dilations=(1,),
            context_layers=1,
            num_heads=2,
            context_reach=2,
        ),
        data=LiftDataSettings(batch_size=8, num_frames=24, mixed_share=0.25),
        loop=LoopSettings(
            num_steps=20, warmup_steps=2, validate_every=10, save_every=10, log_every=1
        ),
        autoencoder_share=0.25,
        learning_rate=3e-3,
    )
