"""Four ways through one trunk: what goes in, what comes out, and what padding may not do."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

from engine.networks.root_and_pose import RootAndPose, RootAndPoseConfig
from engine.networks.text_encoder import TextFeatures
from engine.networks.two_domain import (
    DOMAINS,
    FLAT,
    SOLID,
    Paths,
    TwoDomainConfig,
    TwoDomainDenoiser,
)

SMALL = TwoDomainConfig(
    width=32,
    num_heads=2,
    feedforward=64,
    private_layers=1,
    shared_layers=2,
    detail_width=16,
    dropout=0.0,
)


def network(kind: str) -> nn.Module:
    torch.manual_seed(0)
    if kind == "published":
        config = RootAndPoseConfig(
            solid_features=137,
            width=32,
            num_heads=2,
            feedforward=64,
            root_feedforward=64,
            dropout=0.0,
        )
        model: nn.Module = RootAndPose(config)
    else:
        model = TwoDomainDenoiser(replace(SMALL, has_shared=kind == "shared"))
        for parameter in model.parameters():  # gates start at zero: open them
            if parameter.abs().max() == 0:
                nn.init.normal_(parameter, std=0.1)
    return model.eval()


def inputs(frames: int = 23) -> tuple[dict[str, torch.Tensor], torch.Tensor, TextFeatures]:
    generator = torch.Generator().manual_seed(1)
    noisy = {
        SOLID: torch.randn(2, frames, 137, generator=generator),
        FLAT: torch.randn(2, frames, 134, generator=generator),
    }
    text = TextFeatures(
        tokens=torch.randn(2, 5, 384, generator=generator),
        mask=torch.tensor([[True] * 5, [False] * 5]),
        sentence=torch.randn(2, 384, generator=generator),
    )
    mask = torch.ones(2, frames, dtype=torch.bool)
    mask[1, 14:] = False
    return noisy, mask, text


VIEW = torch.tensor([[0.0, 1.0, 1.0], [0.0, 0.0, 0.0]])
TIMES = torch.tensor([3.0, 40.0])


def run(
    model: nn.Module,
    noisy: dict[str, torch.Tensor],
    mask: torch.Tensor,
    text: TextFeatures,
    view: torch.Tensor = VIEW,
    targets: tuple[str, ...] = DOMAINS,
) -> Paths:
    with torch.no_grad():
        return model(noisy, TIMES, text, mask, view, targets)


@pytest.mark.parametrize("kind", ["shared", "apart", "published"])
def test_frames_behind_a_clips_end_change_nothing(kind: str) -> None:
    model = network(kind)
    noisy, mask, text = inputs()
    first = run(model, noisy, mask, text)
    garbled = {
        d: torch.where(mask[..., None], x, 100 * torch.ones_like(x)) for d, x in noisy.items()
    }
    second = run(model, garbled, mask, text)
    short = run(model, {d: x[:, :14] for d, x in noisy.items()}, mask[:, :14], text)
    longer = run(
        model,
        {d: nn.functional.pad(x, (0, 0, 0, 9), value=7.0) for d, x in noisy.items()},
        nn.functional.pad(mask, (0, 9)),
        text,
    )
    for path, value in first.items():
        torch.testing.assert_close(second[path][mask], value[mask])
        torch.testing.assert_close(short[path][1], value[1, :14], rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(longer[path][:, :23][mask], value[mask], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", ["shared", "apart", "published"])
def test_every_source_gives_every_target_as_it_would_alone(kind: str) -> None:
    model = network(kind)
    noisy, mask, text = inputs()
    both = run(model, noisy, mask, text)
    assert set(both) == {(s, t) for s in DOMAINS for t in DOMAINS}
    for source in DOMAINS:
        for target, width in ((SOLID, 137), (FLAT, 134)):
            alone = run(model, {source: noisy[source]}, mask, text, targets=(target,))
            assert both[source, target].shape == (2, 23, width)
            torch.testing.assert_close(
                alone[source, target], both[source, target], rtol=1e-4, atol=1e-5
            )


def test_the_view_matters_where_a_view_goes_in_or_comes_out() -> None:
    model = network("shared")
    noisy, mask, text = inputs()
    first = run(model, noisy, mask, text)
    other = run(model, noisy, mask, text, view=VIEW.flip(0))
    torch.testing.assert_close(first[SOLID, SOLID], other[SOLID, SOLID])
    for path in set(first) - {(SOLID, SOLID)}:
        assert (first[path] - other[path]).abs().max() > 1e-4


def test_learning_in_space_alone_leaves_what_is_the_views_own() -> None:
    model = network("shared").train()
    noisy, mask, text = inputs()
    model({SOLID: noisy[SOLID]}, TIMES, text, mask, VIEW, (SOLID,))[SOLID, SOLID].sum().backward()
    for name, parameter in model.named_parameters():
        if f".{FLAT}." in f".{name}":
            assert parameter.grad is None, name
    assert isinstance(model, TwoDomainDenoiser)
    assert all(p.grad is not None for p in model.shared.parameters())


def test_the_published_size_is_that_of_the_release() -> None:
    with torch.device("meta"):
        model = RootAndPose(RootAndPoseConfig())
    count = sum(p.numel() for p in model.parameters()) / 1e6
    assert count == pytest.approx(85.5, abs=0.5)
    with torch.device("meta"):
        ours = TwoDomainDenoiser(TwoDomainConfig())
    assert sum(p.numel() for p in ours.parameters()) * 2 < 18e6  # bytes in half precision


def test_sizes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="multiple of 8"):
        TwoDomainConfig(width=100)
    with pytest.raises(ValueError, match="multiple of 4"):
        RootAndPoseConfig(width=102)
