"""Text to motion, and views to motion, by one diffusion over both (CrossDiff).

Three ways of sampling: in 3D; in 2D down to a share of the schedule, then lifted, noised again and
gone on with in 3D (mixture sampling); and lifting alone, of keypoints or of a sampled view.

Source: CrossDiff, ECCV 2024, section 3; the published network is engine.networks.root_and_pose,
ours engine.networks.two_domain. Shape letters: B motions, T frames, F features.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from engine.checkpoint import CheckpointError, CheckpointInfo
from engine.diffusion.guidance import classifier_free
from engine.diffusion.mixture import sample_mixture
from engine.diffusion.sampling import Denoise, sample_ddim
from engine.diffusion.schedule import cosine_schedule
from engine.diffusion.windows import WINDOW_FRAMES, WindowBatch, plan_windows
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
from engine.motion.lifting import Lift, Observation, motion_of_lift, observe, refine
from engine.motion.motion import Motion
from engine.motion.representation import HUMANML3D, ROOT_LOCAL, Representation
from engine.motion.representation_2d import FOUR_AZIMUTHS, VIEW
from engine.motion.seen_points import view_points
from engine.motion.unplaced_lift import placed_lift
from engine.networks.root_and_pose import RootAndPose, RootAndPoseConfig
from engine.networks.text_encoder import TextFeatures, encode_text, no_words
from engine.networks.two_domain import FLAT, SOLID, TwoDomainConfig, TwoDomainDenoiser

REPRESENTATIONS = {r.name: r for r in (ROOT_LOCAL, HUMANML3D)}
NETWORKS = ("unified", "published")


@dataclass(frozen=True, kw_only=True)
class CrossDiffConfig:
    """What a checkpoint of this method must say to be sampled from."""

    network: str = "unified"
    unified: TwoDomainConfig = field(default_factory=TwoDomainConfig)
    published: RootAndPoseConfig = field(default_factory=RootAndPoseConfig)
    representation: str = ROOT_LOCAL.name
    num_timesteps: int = 50

    def __post_init__(self) -> None:
        if self.network not in NETWORKS:
            raise ValueError(f"network is {self.network!r}, needs one of {', '.join(NETWORKS)}")
        if self.representation not in REPRESENTATIONS:
            known = ", ".join(REPRESENTATIONS)
            raise ValueError(f"representation is {self.representation!r}, needs one of {known}")

    @property
    def solid(self) -> Representation:
        """Features of motion in space."""
        return REPRESENTATIONS[self.representation]

    @property
    def network_config(self) -> TwoDomainConfig | RootAndPoseConfig:
        """Sizes of the network that is taken."""
        return self.published if self.network == "published" else self.unified

    def build(self) -> nn.Module:
        """The network with new weights."""
        if self.network == "published":
            return RootAndPose(self.published)
        return TwoDomainDenoiser(self.unified)

    @classmethod
    def from_header(cls, values: Mapping[str, Any]) -> CrossDiffConfig:
        """The configuration that a checkpoint's header spells out.

        Raises:
            CheckpointError: a field is missing, unknown or out of range.
        """
        try:
            return cls(
                network=str(values["network"]),
                unified=TwoDomainConfig(**values["unified"]),
                published=RootAndPoseConfig(**values["published"]),
                representation=str(values["representation"]),
                num_timesteps=int(values["num_timesteps"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise CheckpointError(f"The model's configuration can't be read: {error}") from error


class CrossDiff:
    """A loaded model: prompts to motion, keypoints to motion."""

    accepts = frozenset({"prompt", "video"})

    def __init__(
        self, info: CheckpointInfo, tensors: Mapping[str, Tensor], device: torch.device
    ) -> None:
        """Build the network from a checkpoint.

        Raises:
            CheckpointError: its configuration, features or tensors don't fit this version.
        """
        self.config = CrossDiffConfig.from_header(info.method_config)
        sizes = (*self.config.solid.sizes, *VIEW.sizes)
        if info.feature_blocks != sizes:
            raise CheckpointError(
                f"{info.name} has the features {info.feature_blocks}, this version has {sizes}"
            )
        self.info = info
        self._device = device
        self._schedule = cosine_schedule(self.config.num_timesteps)
        self._known = tensors.get("captions.sentences")
        self._alpha: float | None = None
        self.network = self.config.build()
        weights = {n[6:]: t for n, t in tensors.items() if n.startswith("model.")}
        try:
            self.network.load_state_dict(weights)
            names = {SOLID: "statistics", FLAT: "statistics.view"}
            self._mean = {d: tensors[f"{n}.mean"].to(device) for d, n in names.items()}
            self._std = {d: tensors[f"{n}.std"].to(device) for d, n in names.items()}
        except (RuntimeError, KeyError) as error:
            raise CheckpointError(
                f"{info.name} doesn't fit its own configuration: {error}"
            ) from error
        self.network.eval().requires_grad_(False).to(device)

    def mixed(self, alpha: float) -> CrossDiff:
        """The same model that samples as a mixture: in 2D down to the share alpha of the schedule.

        At 0 the whole of a view is sampled and then lifted; at 1 nothing but noise is lifted.
        Guidance holds on either side and where it crosses; the release has none here.

        Raises:
            RequestError: alpha is not 0 to 1, or the model has not learned from views.
        """
        if "video" not in self.info.accepts:
            raise RequestError(
                f"{self.info.name} has learned from motion in space alone, and has no views to mix"
            )
        if not 0 <= alpha <= 1:
            raise RequestError(f"The mixture is {alpha}, needs 0 to 1")
        other = copy(self)
        other._alpha = alpha
        return other

    def run(self, condition: Condition, options: SampleOptions, report: Report) -> Motion:
        """Sample from a prompt, or lift a clip; see engine.methods.base.Method.

        A lifted motion has the clip's length at the model's rate, or options.num_frames if that is
        less; nothing is drawn then.
        """
        if not isinstance(condition, VideoClip):
            return self.run_batch([condition], [options], report)[0]
        report(0, 2)
        with torch.inference_mode():
            observation = observe(condition.track(), fps=self.info.fps, device=self._device)
            lift = self.lift(observation)
            report(1, 2)
            motion = motion_of_lift(refine(lift, observation), observation)
        report(2, 2)
        signed = {**motion.provenance, **self._signature()}
        return replace(motion.crop(0, options.num_frames), provenance=signed)

    def run_batch(
        self,
        conditions: Sequence[Prompt | PromptSequence],
        options: Sequence[SampleOptions],
        report: Report,
    ) -> list[Motion]:
        """Sample one motion per prompt, all with the first one's number of steps and guidance.

        Raises:
            RequestError: a loop is too short, lengths don't sum up, or a mixture is asked for
                something that doesn't fit in one window.
            Cancelled: report said so.
        """
        steps, scale = self._steps_and_guidance(options[0])
        scripts = [Script.of(*pair) for pair in zip(conditions, options, strict=True)]
        with torch.inference_mode():
            prompts = [prompt for script in scripts for prompt in script.prompts]
            text = encode_text(prompts)
            seeds = [wanted.seed for wanted in options]
            features = self.sample(
                text, scripts, seeds, num_steps=steps, guidance_scale=scale, report=report
            )
            motions = [
                motion_of_features(clip, wanted, self.config.solid, self.info)
                for clip, wanted in zip(features, options, strict=True)
            ]
        extra = {} if self._alpha is None else {"mixture": self._alpha}
        return [
            replace(
                motion,
                provenance={
                    **provenance_of(condition, wanted, (steps, scale), self.info),
                    **extra,
                },
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

    def sample(
        self,
        text: TextFeatures,
        scripts: Sequence[Script],
        seeds: Sequence[int],
        *,
        num_steps: int,
        guidance_scale: float,
        report: Report,
    ) -> list[Tensor]:
        """Features (T, F) of motions in space, not normalised; text is of all scripts' prompts."""
        if self._alpha is not None:
            _check_mixture(scripts)
        lengths = [sum(script.part_frames) for script in scripts]
        plans = [plan_windows(script.part_frames, loop=script.loop) for script in scripts]
        windows = WindowBatch(lengths, plans)
        firsts = [script.first_text for script in numbered(scripts)]
        rows = torch.tensor([firsts[row] + window.prompt for row, window in windows.pairs])
        said = _on_device(text[rows], self._device)
        draws = [torch.Generator().manual_seed(seed) for seed in seeds]
        noise = self._noise(lengths, draws, SOLID)
        if self._alpha is None:
            denoise = self._denoise(windows, said, guidance_scale)
            x0 = sample_ddim(denoise, noise, self._schedule, num_steps, report)
        else:
            flat_noise = self._noise(lengths, draws, FLAT)
            view = _views(draws).to(self._device)
            paths = {
                pair: self._denoise(windows, said, guidance_scale, pair, view)
                for pair in ((FLAT, FLAT), (FLAT, SOLID), (SOLID, SOLID))
            }
            x0 = sample_mixture(
                lambda x, t: paths[FLAT, FLAT](x, t),
                paths[SOLID, SOLID],
                # a clean view is lifted as it is, without the words
                lambda x, t: self._lifted(x, windows, view) if t == 0 else paths[FLAT, SOLID](x, t),
                (flat_noise, noise),
                self._schedule,
                (num_steps, self._alpha),
                report,
            )
        restored = self._restored(x0, SOLID)
        return [restored[row, :length].cpu() for row, length in enumerate(lengths)]

    def sample_view(
        self,
        text: TextFeatures,
        script: Script,
        seed: int,
        *,
        num_steps: int,
        guidance_scale: float = 1.0,
    ) -> tuple[Tensor, Tensor]:
        """Features (T, 134) of a sampled view, and its view code (3,)."""
        windows = WindowBatch([sum(script.part_frames)], [plan_windows(script.part_frames)])
        draw = torch.Generator().manual_seed(seed)
        lengths = [sum(script.part_frames)]
        self._noise(lengths, [draw], SOLID)  # the draws are those of a mixture
        noise = self._noise(lengths, [draw], FLAT)
        view = _views([draw]).to(self._device)
        said = _on_device(text, self._device)
        denoise = self._denoise(windows, said, guidance_scale, (FLAT, FLAT), view)
        x0 = sample_ddim(denoise, noise, self._schedule, num_steps, lambda step, of: None)
        return self._restored(x0, FLAT)[0], view[0]

    def lift_view(self, features: Tensor, view: Tensor | None = None) -> Tensor:
        """Features (T, F) in space of the features (T, 134) of a view, neither normalised.

        view is the camera's code (3,): sine and cosine of its azimuth, and 1; None: not known.
        """
        length = len(features)
        windows = WindowBatch([length], [plan_windows([length])])
        code = torch.zeros(1, 3, device=self._device) if view is None else view[None]
        return self._restored(
            self._lifted(self._normalised(features, FLAT)[None], windows, code), SOLID
        )[0]

    def lift(self, observation: Observation) -> Lift:
        """Poses and the rest, in the camera's frame."""
        keypoints = observation.keypoints
        centred = keypoints[..., :2] - observation.camera.principal_point[:, None]
        points = view_points(torch.cat((centred, keypoints[..., 2:]), dim=-1)[None])[0]
        features = self.lift_view(VIEW.encode(torch.cat((points, points[-1:]))))
        decoded = self.config.solid.decode(features)
        return placed_lift(decoded.joints, decoded.contacts, observation)

    def _denoise(
        self,
        windows: WindowBatch,
        text: TextFeatures,
        guidance_scale: float,
        path: tuple[str, str] = (SOLID, SOLID),
        view: Tensor | None = None,
    ) -> Denoise:
        """One of the four ways as a denoiser; a guidance of 1 asks with the words alone."""
        mask = windows.mask().to(self._device)
        code = view if view is not None else torch.zeros(len(mask), 3, device=self._device)

        def predict(x_t: Tensor, timestep: float, said: TextFeatures, many: int) -> Tensor:
            cut = windows.cut(x_t).repeat(many, 1, 1)
            times = torch.full((len(cut),), timestep, device=self._device)
            noisy = {path[0]: cut}
            views, masks = code.repeat(many, 1), mask.repeat(many, 1)
            return self.network(noisy, times, said, masks, views, (path[1],))[path]

        def with_prompt(x_t: Tensor, timestep: float) -> Tensor:
            return windows.join(predict(x_t, timestep, text, 1))

        if guidance_scale == 1.0:
            return with_prompt
        empty = torch.zeros_like(text.mask)
        both = TextFeatures(
            tokens=text.tokens.repeat(2, 1, 1),
            mask=torch.cat([text.mask, empty]),
            sentence=text.sentence.repeat(2, 1),
        )

        def pair(x_t: Tensor, timestep: float) -> tuple[Tensor, Tensor]:
            first, second = predict(x_t, timestep, both, 2).chunk(2)
            return windows.join(first), windows.join(second)

        return classifier_free(pair, guidance_scale)

    def _lifted(self, x: Tensor, windows: WindowBatch, view: Tensor) -> Tensor:
        """Clean views (B, T, 134) to space, normalised, without words."""
        cut = windows.cut(x)
        path = VIEW.part("view_root_path")
        # a window's path starts at its own first frame
        restored = self._restored(cut, FLAT)
        start = torch.zeros_like(restored[:, :1])
        start[..., path] = restored[:, :1, path]
        cut = self._normalised(restored - start, FLAT)
        count = len(cut)
        nothing = no_words(count, x.device)
        mask = windows.mask().to(x.device)
        times, views = x.new_zeros(count), view.expand(count, -1)
        found = self.network({FLAT: cut}, times, nothing, mask, views, (SOLID,))
        return windows.join(found[FLAT, SOLID])

    def _noise(
        self, lengths: Sequence[int], draws: Sequence[torch.Generator], domain: str
    ) -> Tensor:
        """(B, T, F): each motion's from its own generator."""
        width = len(self._mean[domain])
        noise = torch.zeros(len(lengths), max(lengths), width)
        for row, (length, draw) in enumerate(zip(lengths, draws, strict=True)):
            noise[row, :length] = torch.randn(length, width, generator=draw)
        return noise.to(self._device)

    def _normalised(self, features: Tensor, domain: str) -> Tensor:
        return (features - self._mean[domain]) / self._std[domain]

    def _restored(self, features: Tensor, domain: str) -> Tensor:
        return features * self._std[domain] + self._mean[domain]

    def _steps_and_guidance(self, options: SampleOptions) -> tuple[int, float]:
        steps = options.num_steps or int(self.info.sampling["num_steps"])
        scale = options.guidance_scale
        return steps, float(self.info.sampling["guidance_scale"]) if scale is None else scale

    def _signature(self) -> dict[str, object]:
        return {
            "model": self.info.name,
            "model_hash": self.info.model_hash,
            "licence": self.info.licence,
        }


def _check_mixture(scripts: Sequence[Script]) -> None:
    """A view's path is told from its first frame on, so it can't be joined from windows."""
    for script in scripts:
        frames, prompts = sum(script.part_frames), len(script.prompts)
        if script.loop or prompts > 1 or frames > WINDOW_FRAMES:
            raise RequestError(
                f"Mixture sampling makes one motion of one prompt, at most {WINDOW_FRAMES} frames "
                f"long and no loop; asked for: prompts {prompts}, frames {frames}"
            )


def _views(draws: Sequence[torch.Generator]) -> Tensor:
    """View codes (B, 3) of one of the four cameras each."""
    picks = torch.cat([torch.randint(4, (1,), generator=draw) for draw in draws])
    azimuth = torch.tensor(FOUR_AZIMUTHS)[picks]
    return torch.stack((azimuth.sin(), azimuth.cos(), torch.ones_like(azimuth)), dim=-1)


def _on_device(text: TextFeatures, device: torch.device) -> TextFeatures:
    return TextFeatures(
        tokens=text.tokens.to(device), mask=text.mask.to(device), sentence=text.sentence.to(device)
    )
