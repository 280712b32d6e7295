"""The table of presets: one row per run that can be named."""

from __future__ import annotations

from dataclasses import dataclass

from engine.methods.hmmr import HmmrConfig
from engine.methods.mdm import MdmConfig
from engine.networks.denoiser import DenoiserConfig
from trainer import crossdiff_presets, field_presets, vtm_presets
from trainer.data.lifting_examples import LiftDataSettings
from trainer.loop import LoopSettings
from trainer.methods.crossdiff import CrossDiffTraining
from trainer.methods.hmmr import HmmrTraining
from trainer.methods.mdm import MdmTraining
from trainer.methods.teach import TeachTraining
from trainer.methods.video_mdm import VideoMdmTraining
from trainer.methods.vtm import VtmTraining

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

    training: CrossDiffTraining | MdmTraining | HmmrTraining | VtmTraining
    data: str
    purpose: str


def _lifter(performers: str, num_steps: int) -> HmmrTraining:
    return HmmrTraining(
        licence=FREE_LICENCE,
        performers=performers,
        model=HmmrConfig(width=256, regressor_width=256),
        data=LiftDataSettings(batch_size=32, num_frames=32),
        loop=LoopSettings(
            num_steps=num_steps, decay_fraction=0.4, validate_every=500, save_every=500
        ),
    )


PRESETS: dict[str, Preset] = {
    "mdm-free": Preset(
        training=MdmTraining(
            licence=FREE_LICENCE, loop=LoopSettings(num_steps=16_000, decay_fraction=0.2)
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
    "video-mdm-free": Preset(
        training=VideoMdmTraining(
            licence=FREE_LICENCE,
            model=MdmConfig(
                denoiser=DenoiserConfig(
                    num_features=137, width=192, feedforward=768, detail_width=96
                )
            ),
            rewordings=1,
            loop=LoopSettings(
                num_steps=3_000, decay_fraction=0.3, validate_every=500, save_every=500
            ),
        ),
        data="free, with teacher motions",
        purpose="text to motion learned from 2D keypoints alone, commercial use allowed",
    ),
    "video-mdm-humanml3d": Preset(
        training=field_presets.humanml3d(),
        data="HumanML3D's keypoints, lifted",
        purpose="the published settings, for who has the data; what is ours: trainer.field_presets",
    ),
    "video-mdm-fit3d": Preset(
        training=field_presets.fit3d(),
        data="Fit3D, with teacher motions",
        purpose="fine-tuning (--init a HumanML3D model) with the published settings, as above",
    ),
    "video-mdm-nba": Preset(
        training=field_presets.nba(),
        data="MAS NBA, with teacher motions",
        purpose="the published settings without captions, as above",
    ),
    "video-mdm-teach": Preset(
        training=TeachTraining(
            loop=LoopSettings(
                num_steps=500,
                warmup_steps=20,
                decay_fraction=0.5,
                ema_decay=0.99,
                validate_every=50,
                save_every=50,
                log_every=10,
            ),
            learning_rate=2e-4,
            batch_size=8,
        ),
        data="your own videos, with teacher motions",
        purpose="fine-tuning of the model that ships (or --init another) on a dozen videos",
    ),
    "video-mdm-smoke": Preset(
        training=VideoMdmTraining(
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
        data="any, with teacher motions",
        purpose="twenty steps of a tiny network that learns from 2D: does training run at all",
    ),
    "hmmr-free": Preset(
        training=_lifter("all", 12_000),
        data="free",
        purpose="the default lifter: keypoints of a video to motion, commercial use allowed",
    ),
    "hmmr-free-a": Preset(
        training=_lifter("a", 6_000),
        data="free",
        purpose="learns from one half of the performers, lifts the other as a teacher",
    ),
    "hmmr-free-b": Preset(
        training=_lifter("b", 6_000),
        data="free",
        purpose="learns from the other half",
    ),
    "hmmr-smoke": Preset(
        training=HmmrTraining(
            licence="none: a test",
            model=HmmrConfig(width=32, regressor_width=32, dilations=(1, 2)),
            data=LiftDataSettings(batch_size=8, num_frames=24),
            loop=LoopSettings(
                num_steps=20, warmup_steps=2, validate_every=10, save_every=10, log_every=1
            ),
            learning_rate=3e-3,
            truth_share=0.6,
            adversarial_start=5,
        ),
        data="any",
        purpose="twenty steps of a tiny lifter: does training run at all",
    ),
    "crossdiff-free": Preset(
        training=crossdiff_presets.free(FREE_LICENCE),
        data="free",
        purpose="text to motion and keypoints to motion by one model, commercial use allowed",
    ),
    "crossdiff-published": Preset(
        training=crossdiff_presets.published("of the data: HumanML3D is for research only"),
        data="HumanML3D",
        purpose="CrossDiff, ECCV 2024: network, weights, rates and steps",
    ),
    "crossdiff-smoke": Preset(
        training=crossdiff_presets.smoke(),
        data="any",
        purpose="twenty steps of a tiny network along all paths: does training run at all",
    ),
    "vtm-free": Preset(
        training=vtm_presets.free(FREE_LICENCE),
        data="free",
        purpose="a lifter of whole clips: keypoints to motion, commercial use allowed",
    ),
    "vtm-free-no-alignment": Preset(
        training=vtm_presets.free(FREE_LICENCE, alignment=0.0),
        data="free",
        purpose="the same, codes of keypoints and of motions not aligned: what that is for",
    ),
    "vtm-smoke": Preset(
        training=vtm_presets.smoke(),
        data="any",
        purpose="twenty steps of a tiny lifter of clips: does training run at all",
    ),
}
