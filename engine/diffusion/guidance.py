"""Guidance: wrappers around a denoiser that bend its x0."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor


def classifier_free(
    denoise_pair: Callable[[Tensor, float], tuple[Tensor, Tensor]], guidance_scale: float
) -> Callable[[Tensor, float], Tensor]:
    """A denoiser that goes past the conditional prediction, away from the unconditional one.

    denoise_pair(x_t, timestep) gives both, x0 with the prompt and x0 without. At a scale of 1 the
    prompt's prediction is left as it is.

    Source: Ho and Salimans, Classifier-Free Diffusion Guidance, equation 6, for x0.
    """

    def denoise(x_t: Tensor, timestep: float) -> Tensor:
        with_prompt, without = denoise_pair(x_t, timestep)
        return without + guidance_scale * (with_prompt - without)

    return denoise
