"""Windows: every frame covered, neighbours overlap, what agrees is joined unchanged."""

from __future__ import annotations

import itertools

import pytest
import torch

from engine.diffusion.windows import (
    TRANSITION_FRAMES,
    WINDOW_FRAMES,
    WindowBatch,
    plan_windows,
    window_starts,
)

PARTS = [(1,), (60,), (196,), (197,), (1200,), (60, 40), (20, 5, 300), (1, 1, 30)]


@pytest.mark.parametrize("num_frames", [1, 50, 196, 197, 300, 1200])
def test_windows_cover_every_frame_and_overlap(num_frames: int) -> None:
    starts = window_starts(num_frames, 196, 50)
    assert starts[0] == 0
    assert max(starts[-1] + 196, num_frames) == max(num_frames, 196)
    assert all(b - a <= 146 for a, b in itertools.pairwise(starts))


@pytest.mark.parametrize("part_frames", PARTS)
@pytest.mark.parametrize("loop", [False, True])
def test_what_agrees_is_joined_unchanged(part_frames: tuple[int, ...], loop: bool) -> None:
    plan = plan_windows(part_frames, loop=loop)
    assert all(window.length <= WINDOW_FRAMES for window in plan)
    total = sum(part_frames)
    whole = torch.randn(2, max(total, 70), 4)
    batch = WindowBatch([total, 70], [plan, plan_windows([70])])
    joined = batch.join(batch.cut(whole))
    torch.testing.assert_close(joined[0, :total], whole[0, :total])
    torch.testing.assert_close(joined[1, :70], whole[1, :70])


def test_each_prompt_has_its_own_part_and_shares_the_transition() -> None:
    plan = plan_windows([60, 40])
    assert [window.prompt for window in plan] == [0, 1]
    first, second = plan
    assert (first.start, second.start + second.length) == (0, 100)
    assert first.start + first.length - second.start == TRANSITION_FRAMES
    # of the prompts' own windows the joined motion changes over within the transition
    batch = WindowBatch([100], [plan])
    parts = torch.stack([torch.full((70, 1), 0.0), torch.full((70, 1), 1.0)])
    joined = batch.join(parts)[0, :, 0]
    assert joined[:50].max() == 0
    assert joined[70:].min() == 1
    assert (joined[1:] - joined[:-1]).abs().max() < 0.2


@pytest.mark.parametrize("total", [40, 100, 196, 400])
def test_a_loop_has_no_frame_that_is_only_at_a_windows_end(total: int) -> None:
    plan = plan_windows([total], loop=True)
    depth = torch.zeros(total)
    for window in plan:
        ramp = torch.arange(1, window.length + 1)
        inside = torch.minimum(ramp, ramp.flip(0)).float()
        frames = (window.start + torch.arange(window.length)) % total
        depth[frames] = torch.maximum(depth[frames], inside)
    assert depth.min() >= min(total, WINDOW_FRAMES) // 8


def test_masked_frames_are_those_behind_a_windows_end() -> None:
    batch = WindowBatch([30, 60], [plan_windows([30]), plan_windows([60])])
    assert batch.mask().sum(1).tolist() == [30, 60]
    assert bool((batch.cut(torch.ones(2, 60, 1))[0, 30:] == 0).all())
