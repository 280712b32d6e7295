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
from engine.diffusion.guidance import blend_windows, classifier_free, window_starts
from engine.diffusion.sampling import sample_ddim
from engine.diffusion.schedule import cosine_schedule
from engine.methods.base import Prompt, Report, RequestError, SampleOptions, VideoClip
from engine.motion.foot_lock import lock_feet, place_on_floor
from engine.motion.motion import Motion
from engine.motion.pose_solve import solve_local_rotations
from engine.motion.representation import ROOT_LOCAL
from engine.networks.denoiser import Denoiser, DenoiserConfig
from engine.networks.text_encoder import TextFeatures, encode_text

WINDOW_FRAMES = 196  # as long as the longest clip that was learned: 9.8 s at 20 fps
OVERLAP_FRAMES = 50
MIN_FRAMES = 20  # a shorter motion is cut out of one of this length
FAR_COSINE = 0.45  # below this similarity to every learned caption a prompt is called far


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

    def run(self, condition: Prompt | VideoClip, options: SampleOptions, report: Report) -> Motion:
        """Sample one motion; see engine.methods.base.Method."""
        if not isinstance(condition, Prompt):
            raise RequestError(f"The model {self.info.name} makes motion from text, not from video")
        return self.run_batch([condition], [options], report)[0]

    def run_batch(
        self, prompts: Sequence[Prompt], options: Sequence[SampleOptions], report: Report
    ) -> list[Motion]:
        """Sample one motion per prompt, all with the first one's number of steps and guidance.

        Each has noise of its own from its own seed: alone or in company it is the same motion, to
        rounding.
        """
        steps = options[0].num_steps or int(self.info.sampling["num_steps"])
        scale = options[0].guidance_scale
        if scale is None:
            scale = float(self.info.sampling["guidance_scale"])
        with torch.inference_mode():
            text = encode_text([prompt.text for prompt in prompts])
            features = self._sample(text, options, steps, scale, report)
            motions = [
                self._motion(clip[: wanted.num_frames])
                for clip, wanted in zip(features, options, strict=True)
            ]
        return [
            self._signed(motion, prompt, wanted, steps, scale, text.sentence[i])
            for i, (motion, prompt, wanted) in enumerate(
                zip(motions, prompts, options, strict=True)
            )
        ]

    def _sample(
        self,
        text: TextFeatures,
        options: Sequence[SampleOptions],
        num_steps: int,
        guidance_scale: float,
        report: Report,
    ) -> list[Tensor]:
        """Features (T, F) per prompt, not normalised."""
        device, width = self._mean.device, ROOT_LOCAL.num_features
        lengths = [max(MIN_FRAMES, wanted.num_frames) for wanted in options]
        noise = torch.zeros(len(lengths), max(lengths), width)
        for row, (length, wanted) in enumerate(zip(lengths, options, strict=True)):
            generator = torch.Generator().manual_seed(wanted.seed)
            noise[row, :length] = torch.randn(length, width, generator=generator)
        windows = _Windows(lengths)
        row_text = TextFeatures(
            tokens=text.tokens.to(device),
            mask=text.mask.to(device),
            sentence=text.sentence.to(device),
        )[torch.tensor(windows.rows)]
        frame_mask = windows.mask().to(device)

        def denoise_pair(x_t: Tensor, timestep: int) -> tuple[Tensor, Tensor]:
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

        denoise = classifier_free(denoise_pair, guidance_scale)
        x0 = sample_ddim(denoise, noise.to(device), self._schedule, num_steps, report)
        restored = x0 * self._std + self._mean
        return [restored[row, :length] for row, length in enumerate(lengths)]

    def _motion(self, features: Tensor) -> Motion:
        """Features (T, F) as a motion: rotations solved, feet locked, on the floor."""
        decoded = ROOT_LOCAL.decode(features.cpu())
        rotations = solve_local_rotations(decoded.joints, self.info.skeleton)
        motion = Motion(
            fps=self.info.fps,
            skeleton=self.info.skeleton,
            root_translation=decoded.joints[:, 0],
            local_rotations=rotations,
            contacts=torch.zeros_like(decoded.contacts),
        )
        # nothing in a prompt says how high the floor is: a motion that never comes down to it, or
        # stays below, is moved to it as a whole
        return lock_feet(place_on_floor(motion), contact_probabilities=decoded.contacts.clamp(0, 1))

    def _signed(
        self,
        motion: Motion,
        prompt: Prompt,
        options: SampleOptions,
        num_steps: int,
        guidance_scale: float,
        sentence: Tensor,
    ) -> Motion:
        """The motion with what is needed to make it again, and a warning if the prompt is far."""
        provenance = {
            "prompt": prompt.text,
            "seed": options.seed,
            "num_frames": options.num_frames,
            "num_steps": num_steps,
            "guidance_scale": guidance_scale,
            "model": self.info.name,
            "model_hash": self.info.model_hash,
            "licence": self.info.licence,
        }
        return replace(motion, provenance=provenance, warnings=self._warnings(sentence))

    def _warnings(self, sentence: Tensor) -> tuple[str, ...]:
        captions = self.info.extra.get("captions")
        if self._known is None or not captions:
            return ()
        likeness = self._known @ sentence
        best = torch.topk(likeness, min(3, len(captions)))
        if float(best.values[0]) >= FAR_COSINE:
            return ()
        nearest = '", "'.join(captions[int(i)] for i in best.indices)
        return (
            "The prompt is far from everything that this model has learned, so the motion may not "
            f'follow it. The nearest it knows: "{nearest}"',
        )


class _Windows:
    """Cuts long motions into overlapping windows that share a batch, and joins them again.

    Features are told in the facing frame of each frame, so overlapping windows can be averaged.
    """

    def __init__(self, lengths: Sequence[int]) -> None:
        self._lengths = lengths
        self._window = min(WINDOW_FRAMES, max(lengths))
        self._starts = [window_starts(n, WINDOW_FRAMES, OVERLAP_FRAMES) for n in lengths]
        self.rows = [row for row, starts in enumerate(self._starts) for _ in starts]

    def mask(self) -> Tensor:
        """(W, T) bool: real frames of every window."""
        sizes = torch.tensor([min(self._lengths[row], self._window) for row in self.rows])
        return torch.arange(self._window) < sizes[:, None]

    def cut(self, x: Tensor) -> Tensor:
        """(B, T, F) to (W, T, F)."""
        pairs = [(row, start) for row, starts in enumerate(self._starts) for start in starts]
        return torch.stack([x[row, start : start + self._window] for row, start in pairs])

    def join(self, parts: Tensor) -> Tensor:
        """(W, T, F) to (B, T, F)."""
        joined = parts.new_zeros(len(self._lengths), max(self._lengths), parts.shape[-1])
        first = 0
        for row, (length, starts) in enumerate(zip(self._lengths, self._starts, strict=True)):
            own = parts[first : first + len(starts), : min(length, self._window)]
            joined[row, :length] = blend_windows(own, starts, length)
            first += len(starts)
        return joined
