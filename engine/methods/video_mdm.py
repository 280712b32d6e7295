"""Text to motion by a prior that was learned from 2D keypoints (VideoMDM), also as a lifter.

It samples as MDM does. Besides, it can better a motion that a lifter has made of a video: moved
onto the rays along which the person was seen with bones that keep their lengths, noised as far as
what is left of a lifter's faults reaches, and denoised again, every x0 on the way drawn to the
rays.

Source: VideoMDM, arXiv 2606.13364.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from engine.diffusion.guidance import ray_guided
from engine.diffusion.sampling import denoise_along
from engine.methods.base import Prompt, Report, RequestError
from engine.methods.mdm import Mdm
from engine.methods.prompted import MIN_FRAMES, Script
from engine.motion import rotations as rot
from engine.motion.motion import Motion
from engine.motion.pose_solve import solve_local_rotations
from engine.motion.ray_fit import fit_onto_rays
from engine.motion.ray_path import follow_rays
from engine.motion.ray_projection import NEAR, Sight, canonical_turn, encode_frames
from engine.motion.representation import ROOT_LOCAL, estimate_heading
from engine.networks.text_encoder import TextFeatures, encode_text, no_words


@dataclass(frozen=True, kw_only=True)
class RefineOptions:
    """How a motion is bettered."""

    seed: int = 0
    start: float = 10.0  # timestep to which it is noised, of the 50 that are learned
    num_steps: int = 3  # 0: its joints go onto their rays, and the prior isn't asked
    guidance_scale: float = 1.5  # for a prompt; without one there is none
    trust: float = 0.3  # in the prior's poses against those that the rays alone have led to
    share: float = 0.9  # of the way to its ray that a joint goes in every step


class VideoMdm(Mdm):
    """A loaded model that makes motion from text and betters lifted motion."""

    def refine(
        self,
        motion: Motion,
        sight: Sight,
        prompt: Prompt | None,
        options: RefineOptions,
        report: Report,
    ) -> Motion:
        """A lifted motion made more likely, and truer to what the camera saw.

        Its joints go onto their rays, its bones keeping their lengths; then it is noised and
        denoised with every x0 drawn to the rays that it has come to lie on, which shake less than
        the keypoints; what the prior makes of it is mixed in, and it goes onto the keypoints' rays
        once more.

        Args:
            motion: T frames at info.fps.
            sight: (T,), in the motion's world, of the joints themselves.
            prompt: what the person does, if known.
            options: how.
            report: called after every step.

        Raises:
            RequestError: fewer than two frames, or another frame rate.
            Cancelled: report said so.
        """
        num_frames = motion.num_frames
        if num_frames < 2 or motion.fps != self.info.fps:
            raise RequestError(
                f"The motion has {num_frames} frames at {motion.fps:g} a second, needs 2 or more "
                f"at {self.info.fps:g}"
            )

        def part(number: int) -> Report:
            """Of the three that follow each other."""
            return lambda step, steps: report(number * steps + step, 3 * steps)

        fitted = fit_onto_rays(motion, sight, part(0))
        if options.num_steps > 0:
            known = fitted.joints()
            sampled = self._sampled(known, _steady(fitted, sight), prompt, options, part(1))
            # where the body is the rays know better: a prior's steps add up to a drift
            placed = sampled - sampled[:, :1] + known[:, :1]
            joints = torch.lerp(known, placed, options.trust)
            rotations = rot.make_continuous(solve_local_rotations(joints, motion.skeleton))
            fitted = replace(fitted, root_translation=joints[:, 0], local_rotations=rotations)
        return fit_onto_rays(fitted, sight, part(2))

    def _sampled(
        self,
        joints: Tensor,
        sight: Sight,
        prompt: Prompt | None,
        options: RefineOptions,
        report: Report,
    ) -> Tensor:
        """Joints (T, 22, 3) noised and denoised with ray guidance."""
        device, num_frames = self._mean.device, len(joints)
        with torch.inference_mode():
            joints, sight = _held(joints, sight, max(MIN_FRAMES, num_frames))
            heading = estimate_heading(joints)
            rotation, translation = canonical_turn(joints, heading)
            placed = joints @ rotation.mT + translation
            near = _moved_to(sight.in_moved_world(rotation, translation)[None], device)
            features = encode_frames(ROOT_LOCAL, placed, heading - heading[0])[None].to(device)
            x0 = (features - self._mean) / self._std
            generator = torch.Generator().manual_seed(options.seed)
            noise = torch.randn(x0.shape, generator=generator).to(device)
            x_t = self._schedule.add_noise(x0, noise, torch.tensor([options.start]))
            script = Script(prompts=("",), part_frames=(len(joints),), loop=False)
            text, scale = _text(prompt), options.guidance_scale if prompt else 1.0
            guided = ray_guided(
                self._denoiser(text, [script], scale),
                near,
                ROOT_LOCAL,
                (self._mean, self._std),
                share=options.share,
            )
            last = options.num_steps - 1
            times = [options.start * (1 - k / max(1, last)) for k in range(options.num_steps)]
            x0 = denoise_along(guided, x_t, self._schedule, times, report)
            decoded = ROOT_LOCAL.decode(x0 * self._std + self._mean).joints
            found = follow_rays(decoded, near)[0][0].cpu()
            return ((found - translation) @ rotation)[:num_frames].clone()


def _steady(fitted: Motion, sight: Sight) -> Sight:
    """The rays that a fitted motion's joints lie on: keypoints without their slips and shaking."""
    seen = sight.camera.to_camera(fitted.joints())
    return replace(
        sight,
        plane_points=seen[..., :2] / seen[..., 2:].clamp(min=NEAR),
        confidence=torch.ones_like(sight.confidence),
    )


def _held(joints: Tensor, sight: Sight, num_frames: int) -> tuple[Tensor, Sight]:
    """Joints and sight with their last frame held, and not seen, until there are num_frames."""
    index = torch.arange(num_frames).clamp(max=len(joints) - 1)
    is_real = torch.arange(num_frames) < len(joints)
    longer = sight[index]
    return joints[index], replace(longer, confidence=longer.confidence * is_real[:, None])


def _moved_to(sight: Sight, device: torch.device) -> Sight:
    camera = sight.camera
    return Sight(
        camera=replace(
            camera,
            rotation=camera.rotation.to(device),
            translation=camera.translation.to(device),
            focal_length=camera.focal_length.to(device),
            principal_point=camera.principal_point.to(device),
        ),
        plane_points=sight.plane_points.to(device),
        confidence=sight.confidence.to(device),
    )


def _text(prompt: Prompt | None) -> TextFeatures:
    if prompt is not None:
        return encode_text([prompt.text])
    return no_words(1)
