"""Text to motion by a prior that was learned from 2D keypoints (VideoMDM), also as a lifter.

It samples as MDM does. Besides, it can better a motion that a lifter has made of a video: noised as
far as a lifter's faults reach and denoised again, every x0 on the way moved onto the rays along
which the person was seen.

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
from engine.motion.ray_path import follow_rays
from engine.motion.ray_projection import (
    Sight,
    canonical_turn,
    encode_frames,
    onto_rays,
)
from engine.motion.representation import ROOT_LOCAL, estimate_heading
from engine.networks.text_encoder import WIDTH, TextFeatures, encode_text


@dataclass(frozen=True, kw_only=True)
class RefineOptions:
    """How a motion is bettered."""

    seed: int = 0
    start: float = 24.0  # timestep to which it is noised, of the 50 that are learned
    num_steps: int = 8
    guidance_scale: float = 1.5  # for a prompt; without one there is none
    share: float = 0.9  # of the way to its ray that a surely seen joint goes


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

        Args:
            motion: T frames at info.fps.
            sight: (T,), in the motion's world.
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
        joints = self.refine_joints(motion.joints(), sight, prompt, options, report)
        rotations = solve_local_rotations(joints, motion.skeleton)
        return replace(
            motion,
            root_translation=joints[:, 0],
            local_rotations=rot.make_continuous(rotations),
        )

    def refine_joints(
        self,
        joints: Tensor,
        sight: Sight,
        prompt: Prompt | None,
        options: RefineOptions,
        report: Report,
    ) -> Tensor:
        """The same of joint positions (T, 22, 3) alone; arguments are those of `refine`."""
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
            followed, _ = follow_rays(decoded, near)
            found = onto_rays(followed, near, share=options.share)[0].cpu()
            return ((found - translation) @ rotation)[:num_frames]


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
    return TextFeatures(
        tokens=torch.zeros(1, 1, WIDTH),
        mask=torch.zeros(1, 1, dtype=torch.bool),
        sentence=torch.zeros(1, WIDTH),
    )
