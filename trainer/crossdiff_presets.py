"""CrossDiff's runs; the table of all presets is trainer.presets."""

from __future__ import annotations

from engine.methods.crossdiff import CrossDiffConfig
from engine.motion.representation import HUMANML3D
from engine.networks.root_and_pose import RootAndPoseConfig
from engine.networks.two_domain import TwoDomainConfig
from trainer.data.two_domain_examples import TwoDomainDataSettings
from trainer.loop import LoopSettings
from trainer.losses.two_domain import CrossWeights
from trainer.methods.crossdiff import CrossDiffTraining


def free(licence: str) -> CrossDiffTraining:
    """The model that ships: half of a batch seen, at any azimuth, a third of that as footage.

    A step takes two thirds of the time it takes with all of the batch seen. The run is too short
    to learn clips by heart, so nothing is dropped out, and averages reach back 200 steps only. The
    four paths hold each other up at first: in space the model is behind one that learns nothing
    else, and the second stage makes up for a part of that, at a rate that is still high.
    """
    return CrossDiffTraining(
        licence=licence,
        model=CrossDiffConfig(unified=TwoDomainConfig(dropout=0.0)),
        data=TwoDomainDataSettings(seen_share=0.5, num_views=0, footage_share=0.35),
        weights=CrossWeights(tie=0.1, kept=0.3),
        loop=LoopSettings(
            num_steps=1_200,
            warmup_steps=100,
            decay_fraction=0.3,
            ema_decay=0.995,
            validate_every=300,
            save_every=300,
        ),
        solid_stage=0.25,
        later_rate=0.6,
        lift_share=0.25,
        guidance_scale=2.5,
    )


def published(licence: str) -> CrossDiffTraining:
    """The published network, weights and rates.

    What differs: 50 DDIM steps when sampling instead of 1,000 ancestral ones, AdamW's second beta
    (.98, as everywhere here), bfloat16 where the hardware has it, and what root_and_pose names.

    4,000 epochs of 23,384 clips along all paths and 2,000 in space, at 1e-4 and then 1e-5; no
    decay of rate or weights, no augmentation, even weights of all features.
    """
    return CrossDiffTraining(
        licence=licence,
        model=CrossDiffConfig(
            network="published", representation=HUMANML3D.name, num_timesteps=1_000
        ),
        data=TwoDomainDataSettings(unknown_share=0.0),
        weights=CrossWeights(kept=0.0, steps=0.0, path=0.0, is_even=True),
        loop=LoopSettings(
            num_steps=4_384_500,
            warmup_steps=0,
            decay_fraction=0.0,
            clip_norm=1e9,
            ema_decay=0.0,
            validate_every=5_000,
            save_every=5_000,
        ),
        solid_stage=1 / 3,
        learning_rate=1e-4,
        later_rate=0.1,
        weight_decay=0.0,
        noisiest_share=0.0,
        lift_share=0.0,
        is_augmented=False,
        rewordings=0,
        text_noise=0.0,
        num_steps=50,
        guidance_scale=1.0,
    )


def smoke() -> CrossDiffTraining:
    """Twenty steps of a tiny network."""
    return CrossDiffTraining(
        licence="none: a test",
        model=CrossDiffConfig(
            unified=TwoDomainConfig(
                width=32,
                num_heads=2,
                feedforward=64,
                private_layers=1,
                shared_layers=2,
                detail_width=16,
                dropout=0.0,
            ),
            published=RootAndPoseConfig(width=32, num_heads=2, feedforward=64),
        ),
        data=TwoDomainDataSettings(footage_share=0.25),
        weights=CrossWeights(tie=0.1),
        loop=LoopSettings(
            num_steps=20, warmup_steps=2, validate_every=10, save_every=10, log_every=1
        ),
        learning_rate=3e-3,
        batch_size=8,
        is_augmented=False,
        rewordings=1,
    )
