"""Text to motion by diffusion of features (MDM), with our network.

Source: Tevet et al., Human Motion Diffusion Model, ICLR 2023: x0 prediction, 50 cosine steps,
classifier-free guidance. The network is ours; see engine.networks.denoiser.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from engine.checkpoint import CheckpointError, CheckpointInfo
from engine.diffusion.guidance import classifier_free
from engine.diffusion.sampling import Denoise, sample_ddim
from engine.diffusion.schedule import cosine_schedule
from engine.diffusion.windows import WindowBatch, plan_windows
from engine.methods.base import (
    Condition,
    Prompt,
    PromptSequence,
    Report,
    RequestError,
    SampleOptions,
    VideoClip,
)
from engine.methods.prompted import (
    Script,
    far_warnings,
    motion_of_features,
    numbered,
    provenance_of,
)
from engine.motion.motion import Motion
from engine.motion.representation import ROOT_LOCAL
from engine.networks.denoiser import Denoiser, DenoiserConfig
from engine.networks.text_encoder import TextFeatures, encode_text


@dataclass(frozen=True, kw_only=True)
class MdmConfig:
    """What a checkpoint of this method must say to be sampled from."""

    denoiser: DenoiserConfig = field(default_factory=lambda: DenoiserConfig(num_features=137))
    num_timesteps: int = 50

    @classmethod
    def from_header(cls, values: Mapping[str, Any]) -> MdmConfig:
        """The configuration that a checkpoint's header spells out.

        Raises:
            CheckpointError: a field is missing, unknown or out of range.
        """
        try:
            denoiser = DenoiserConfig(**values["denoiser"])
            return cls(denoiser=denoiser, num_timesteps=int(values["num_timesteps"]))
        except (KeyError, TypeError, ValueError) as error:
            raise CheckpointError(f"The model's configuration can't be read: {error}") from error


class Mdm:
    """A loaded text-to-motion model."""

    accepts = frozenset({"prompt"})

    def __init__(
        self, info: CheckpointInfo, tensors: Mapping[str, Tensor], device: torch.device
    ) -> None:
        """Build the network from a checkpoint.

        Raises:
            CheckpointError: its configuration, features or tensors don't fit this version.
        """
        config = MdmConfig.from_header(info.method_config)
        if info.feature_blocks != ROOT_LOCAL.sizes:
            raise CheckpointError(
                f"{info.name} has the features {info.feature_blocks}, this version's "
                f"{ROOT_LOCAL.name} has {ROOT_LOCAL.sizes}"
            )
        self.info = info
        self._schedule = cosine_schedule(config.num_timesteps)
        self._mean = tensors["statistics.mean"].to(device)
        self._std = tensors["statistics.std"].to(device)
        self._known = tensors.get("captions.sentences")
        self._model = Denoiser(config.denoiser)
        weights = {n[6:]: t for n, t in tensors.items() if n.startswith("model.")}
        try:
            self._model.load_state_dict(weights)
        except RuntimeError as error:
            raise CheckpointError(
                f"{info.name} doesn't fit its own configuration: {error}"
            ) from error
        self._model.eval().requires_grad_(False).to(device)

    def run(self, condition: Condition, options: SampleOptions, report: Report) -> Motion:
        """Sample one motion; see engine.methods.base.Method."""
        if isinstance(condition, VideoClip):
            raise RequestError(f"The model {self.info.name} makes motion from text, not from video")
        return self.run_batch([condition], [options], report)[0]

    def run_batch(
        self,
        conditions: Sequence[Prompt | PromptSequence],
        options: Sequence[SampleOptions],
        report: Report,
    ) -> list[Motion]:
        """Sample one motion per prompt, all with the first one's number of steps and guidance.

        Each has noise of its own from its own seed: alone or in company it is the same motion, to
        rounding.

        Raises:
            RequestError: a loop is too short, or a sequence's lengths don't sum to the motion's.
            Cancelled: report said so.
        """
        steps = options[0].num_steps or int(self.info.sampling["num_steps"])
        scale = options[0].guidance_scale
        if scale is None:
            scale = float(self.info.sampling["guidance_scale"])
        scripts = [Script.of(*pair) for pair in zip(conditions, options, strict=True)]
        with torch.inference_mode():
            text = encode_text([prompt for script in scripts for prompt in script.prompts])
            features = self._sample(text, scripts, options, (steps, scale), report)
            motions = [
                motion_of_features(clip, wanted, ROOT_LOCAL, self.info)
                for clip, wanted in zip(features, options, strict=True)
            ]
        return [
            replace(
                motion,
                provenance=provenance_of(condition, wanted, (steps, scale), self.info),
                warnings=far_warnings(
                    text.sentence[script.first_text :][: len(script.prompts)],
                    self._known,
                    self.info,
                ),
            )
            for motion, condition, wanted, script in zip(
                motions, conditions, options, numbered(scripts), strict=True
            )
        ]

    def _sample(
        self,
        text: TextFeatures,
        scripts: Sequence[Script],
        options: Sequence[SampleOptions],
        steps_and_guidance: tuple[int, float],
        report: Report,
    ) -> list[Tensor]:
        """Features (T, F) per motion, not normalised; a loop's without its last frame."""
        device, width = self._mean.device, ROOT_LOCAL.num_features
        num_steps, guidance_scale = steps_and_guidance
        lengths = [sum(script.part_frames) for script in scripts]
        noise = torch.zeros(len(lengths), max(lengths), width)
        for row, (length, wanted) in enumerate(zip(lengths, options, strict=True)):
            generator = torch.Generator().manual_seed(wanted.seed)
            noise[row, :length] = torch.randn(length, width, generator=generator)
        denoise = self._denoiser(text, scripts, guidance_scale)
        x0 = sample_ddim(denoise, noise.to(device), self._schedule, num_steps, report)
        restored = x0 * self._std + self._mean
        return [restored[row, :length].cpu() for row, length in enumerate(lengths)]

    def _denoiser(
        self, text: TextFeatures, scripts: Sequence[Script], guidance_scale: float
    ) -> Denoise:
        """x_t (B, T, F) of motions as long as their scripts to x0, by windows and with guidance."""
        device = self._mean.device
        lengths = [sum(script.part_frames) for script in scripts]
        plans = [plan_windows(script.part_frames, loop=script.loop) for script in scripts]
        windows = WindowBatch(lengths, plans)
        first_texts = [script.first_text for script in numbered(scripts)]
        row_text = TextFeatures(
            tokens=text.tokens.to(device),
            mask=text.mask.to(device),
            sentence=text.sentence.to(device),
        )[torch.tensor([first_texts[row] + window.prompt for row, window in windows.pairs])]
        frame_mask = windows.mask().to(device)

        def denoise_pair(x_t: Tensor, timestep: float) -> tuple[Tensor, Tensor]:
            """x0 with the prompt and without, in one pass of twice the batch."""
            cut = windows.cut(x_t)
            empty = torch.zeros_like(row_text.mask)
            both = TextFeatures(
                tokens=row_text.tokens.repeat(2, 1, 1),
                mask=torch.cat([row_text.mask, empty]),
                sentence=row_text.sentence.repeat(2, 1),
            )
            times = torch.full((2 * len(cut),), timestep, device=device)
            x0 = self._model(cut.repeat(2, 1, 1), times, both, frame_mask.repeat(2, 1))
            with_prompt, without = x0.chunk(2)
            return windows.join(with_prompt), windows.join(without)

        return classifier_free(denoise_pair, guidance_scale)
