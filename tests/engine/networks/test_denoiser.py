"""The denoiser: padding, prompts, batches."""

from __future__ import annotations

import pytest
import torch

from engine.networks.denoiser import Denoiser, DenoiserConfig
from engine.networks.text_encoder import TextFeatures


@pytest.fixture
def denoiser() -> Denoiser:
    torch.manual_seed(0)
    config = DenoiserConfig(
        num_features=7, width=32, num_layers=2, num_heads=2, feedforward=48, text_width=12
    )
    model = Denoiser(config).eval().requires_grad_(False)
    for parameter in model.parameters():  # gates start at zero; a trained network's don't
        parameter.add_(0.05 * torch.randn_like(parameter))
    return model


def text(batch: int, tokens: int = 5) -> TextFeatures:
    mask = torch.ones(batch, tokens, dtype=torch.bool)
    return TextFeatures(
        tokens=torch.randn(batch, tokens, 12), mask=mask, sentence=torch.randn(batch, 12)
    )


def test_frames_behind_the_end_change_nothing(denoiser: Denoiser) -> None:
    x, prompt = torch.randn(1, 21, 7), text(1)
    timestep = torch.tensor([10])
    alone = denoiser(x, timestep, prompt, torch.ones(1, 21, dtype=torch.bool))
    padded = torch.cat([x, torch.full((1, 30, 7), 9.0)], dim=1)
    mask = torch.arange(51)[None] < 21
    torch.testing.assert_close(denoiser(padded, timestep, prompt, mask)[:, :21], alone)


def test_a_batch_is_its_items(denoiser: Denoiser) -> None:
    x, prompt = torch.randn(3, 16, 7), text(3)
    mask = torch.ones(3, 16, dtype=torch.bool)
    timestep = torch.tensor([0, 20, 49])
    together = denoiser(x, timestep, prompt, mask)
    for i in range(3):
        one = slice(i, i + 1)
        alone = denoiser(x[one], timestep[one], prompt[one], mask[one])
        torch.testing.assert_close(together[one], alone)


def test_words_behind_the_mask_are_not_read(denoiser: Denoiser) -> None:
    x, prompt = torch.randn(1, 8, 7), text(1, 5)
    mask = torch.ones(1, 8, dtype=torch.bool)
    shown = torch.tensor([[True, True, True, False, False]])
    first = TextFeatures(tokens=prompt.tokens, mask=shown, sentence=prompt.sentence)
    tokens = prompt.tokens.clone()
    tokens[:, 3:] = 7.0
    second = TextFeatures(tokens=tokens, mask=shown, sentence=prompt.sentence)
    timestep = torch.tensor([5])
    torch.testing.assert_close(
        denoiser(x, timestep, first, mask), denoiser(x, timestep, second, mask)
    )


def test_no_prompt_is_the_same_whatever_the_sentence(denoiser: Denoiser) -> None:
    x, timestep = torch.randn(1, 8, 7), torch.tensor([5])
    mask = torch.ones(1, 8, dtype=torch.bool)
    none = torch.zeros(1, 5, dtype=torch.bool)
    results = [
        denoiser(x, timestep, TextFeatures(tokens=p.tokens, mask=none, sentence=p.sentence), mask)
        for p in (text(1), text(1))
    ]
    torch.testing.assert_close(results[0], results[1])
    assert not torch.allclose(denoiser(x, timestep, text(1), mask), results[0])


def test_a_fresh_network_predicts_the_mean() -> None:
    config = DenoiserConfig(num_features=7, width=32, num_layers=1, num_heads=2, text_width=12)
    x0 = Denoiser(config)(torch.randn(1, 9, 7), torch.tensor([3]), text(1), torch.ones(1, 9) > 0)
    assert x0.shape == (1, 9, 7)
    assert not x0.any()


def test_a_width_that_heads_do_not_divide_is_refused() -> None:
    with pytest.raises(ValueError, match="multiple of 8"):
        DenoiserConfig(num_features=7, width=30)
