"""Guidance: wrappers around a denoiser that bend its x0."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from engine.motion.ray_path import follow_rays
from engine.motion.ray_projection import Sight, encode_frames, onto_rays
from engine.motion.representation import Representation

Denoise = Callable[[Tensor, float], Tensor]


def classifier_free(
    denoise_pair: Callable[[Tensor, float], tuple[Tensor, Tensor]], guidance_scale: float
) -> Denoise:
    """A denoiser that goes past the conditional prediction, away from the unconditional one.

    denoise_pair(x_t, timestep) gives both, x0 with the prompt and x0 without. At a scale of 1 the
    prompt's prediction is left as it is.

    Source: Ho and Salimans, Classifier-Free Diffusion Guidance, equation 6, for x0.
    """

    def denoise(x_t: Tensor, timestep: float) -> Tensor:
        with_prompt, without = denoise_pair(x_t, timestep)
        return without + guidance_scale * (with_prompt - without)

    return denoise


def ray_guided(
    denoise: Denoise,
    sight: Sight,
    representation: Representation,
    statistics: tuple[Tensor, Tensor],
    *,
    share: float = 1.0,
) -> Denoise:
    """A denoiser whose x0 (B, T, F) is moved onto the rays along which the person was seen.

    The motion is placed and turned as its rays ask, its joints go towards their rays by their
    confidence times the share, and what results is written as features with the contacts that the
    prediction had.

    Args:
        denoise: of normalised features.
        sight: (B, T), in the frame in which the motion starts at the origin and faces +z.
        representation: of the features.
        statistics: mean and deviation (F,) of the features.
        share: 1 puts a surely seen joint on its ray.

    Source: VideoMDM (arXiv 2606.13364), lifting with the prior, with confidence for certainty.
    """
    mean, deviation = statistics
    contacts = representation.part("foot_contacts")

    def guided(x_t: Tensor, timestep: float) -> Tensor:
        x0 = denoise(x_t, timestep)
        decoded = representation.decode(x0 * deviation + mean)
        placed, turns = follow_rays(decoded.joints, sight)
        moved = encode_frames(
            representation, onto_rays(placed, sight, share=share), decoded.heading + turns
        )
        found = (moved - mean) / deviation
        found[..., contacts] = x0[..., contacts]
        return found

    return guided
