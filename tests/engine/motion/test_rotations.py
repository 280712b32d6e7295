"""Rotations by round trip, composition, gradient, batch against items, and refused shapes."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from engine.motion import rotations as rot

# float32 has about seven digits; a few products and a square root leave six.
TOLERANCE = 2e-6


def random_quaternions(*leading: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return rot.normalise(torch.randn(*leading, 4, generator=generator))


def same_turn(first: Tensor, second: Tensor) -> bool:
    return bool(((first * second).sum(-1).abs() > 1 - TOLERANCE).all())


SPECIAL = torch.tensor(
    [[1.0, 0, 0, 0], [0, 1.0, 0, 0], [0, 0, 1.0, 0], [0, 0, 0, 1.0], [0.5, 0.5, 0.5, 0.5]]
)


@pytest.mark.parametrize("quaternions", [random_quaternions(200), SPECIAL, -SPECIAL])
def test_round_trips(quaternions: Tensor) -> None:
    assert same_turn(rot.matrix_to_quaternion(rot.quaternion_to_matrix(quaternions)), quaternions)
    assert same_turn(
        rot.axis_angle_to_quaternion(rot.quaternion_to_axis_angle(quaternions)), quaternions
    )
    assert same_turn(rot.sixd_to_quaternion(rot.quaternion_to_sixd(quaternions)), quaternions)


def test_small_angles_keep_their_digits() -> None:
    vectors = torch.tensor([[1e-7, 0, 0], [0, 1e-4, 0], [0, 0, 2e-3], [1e-3, -1e-3, 1e-3]])
    back = rot.quaternion_to_axis_angle(rot.axis_angle_to_quaternion(vectors))
    torch.testing.assert_close(back, vectors, rtol=1e-5, atol=1e-9)


def test_product_is_the_second_turn_then_the_first() -> None:
    first, second = random_quaternions(50, seed=1), random_quaternions(50, seed=2)
    vectors = torch.randn(50, 3, generator=torch.Generator().manual_seed(3))
    one_by_one = rot.rotate(first, rot.rotate(second, vectors))
    torch.testing.assert_close(
        rot.rotate(rot.multiply(first, second), vectors), one_by_one, rtol=0, atol=1e-5
    )
    matrix = rot.quaternion_to_matrix(first) @ rot.quaternion_to_matrix(second)
    torch.testing.assert_close((matrix @ vectors[..., None])[..., 0], one_by_one, rtol=0, atol=1e-5)


def test_quarter_turns_by_hand() -> None:
    quarter = rot.axis_angle_to_quaternion(torch.tensor([0.0, 0.0, math.pi / 2]))
    turned = rot.rotate(quarter, torch.tensor([1.0, 0.0, 0.0]))
    torch.testing.assert_close(turned, torch.tensor([0.0, 1.0, 0.0]), rtol=0, atol=TOLERANCE)
    matrix = torch.tensor([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    torch.testing.assert_close(rot.quaternion_to_matrix(quarter), matrix, rtol=0, atol=TOLERANCE)
    columns = torch.tensor([0.0, 1.0, 0.0, -1.0, 0.0, 0.0])
    torch.testing.assert_close(rot.matrix_to_sixd(matrix), columns)


def test_sixd_squares_the_second_column_only() -> None:
    matrix = rot.sixd_to_matrix(torch.tensor([2.0, 0.0, 0.0, 5.0, 3.0, 0.0]))
    torch.testing.assert_close(matrix, torch.eye(3))


def test_heading_is_zero_at_plus_z_and_grows_in_a_left_turn() -> None:
    left = rot.heading_to_quaternion(torch.tensor(math.pi / 2))
    facing = rot.rotate(left, torch.tensor([0.0, 0.0, 1.0]))
    # Facing +z the left side is +x.
    torch.testing.assert_close(facing, torch.tensor([1.0, 0.0, 0.0]), rtol=0, atol=TOLERANCE)
    headings = torch.linspace(-3.1, 3.1, 31)
    back = rot.quaternion_to_heading(rot.heading_to_quaternion(headings))
    torch.testing.assert_close(back, headings, rtol=0, atol=1e-5)


def test_shortest_arc_reaches_its_end_and_is_square_to_it() -> None:
    generator = torch.Generator().manual_seed(4)
    start = rot.normalise(torch.randn(100, 3, generator=generator))
    end = rot.normalise(torch.randn(100, 3, generator=generator))
    end = torch.cat((end[:98], -start[98:99], start[99:]))
    arc = rot.shortest_arc(start, end)
    torch.testing.assert_close(rot.rotate(arc, start), end, rtol=0, atol=1e-5)
    assert float((arc[:, 1:] * start).sum(-1).abs().max()) < 1e-5
    assert float(arc[99, 0]) == pytest.approx(1.0)


def test_slerp_has_its_ends_and_its_middle() -> None:
    start, end = random_quaternions(50, seed=5), random_quaternions(50, seed=6)
    assert same_turn(rot.slerp(start, end, torch.zeros(50)), start)
    assert same_turn(rot.slerp(start, end, torch.ones(50)), end)
    middle = rot.slerp(start, -end, torch.full((50,), 0.5))
    torch.testing.assert_close(
        (middle * start).sum(-1).abs(), (middle * end).sum(-1).abs(), rtol=0, atol=1e-5
    )


def test_make_continuous_only_changes_signs() -> None:
    angle = torch.linspace(0, 4 * math.pi, 80)
    smooth = rot.heading_to_quaternion(angle)
    canonical = torch.where(smooth[:, :1] < 0, -smooth, smooth)
    assert float((canonical[1:] - canonical[:-1]).abs().max()) > 1
    torch.testing.assert_close(rot.make_continuous(canonical), smooth, rtol=0, atol=TOLERANCE)
    batch = torch.stack((canonical, -canonical))
    both = rot.make_continuous(batch, dim=1)
    torch.testing.assert_close(both, torch.stack((smooth, -smooth)), rtol=0, atol=TOLERANCE)


UNARY: list[tuple[Callable[[Tensor], Tensor], tuple[int, ...]]] = [
    (rot.quaternion_to_matrix, (4,)),
    (rot.quaternion_to_axis_angle, (4,)),
    (rot.quaternion_to_sixd, (4,)),
    (rot.quaternion_to_heading, (4,)),
    (rot.inverse, (4,)),
    (rot.matrix_to_quaternion, (3, 3)),
    (rot.matrix_to_sixd, (3, 3)),
    (rot.axis_angle_to_quaternion, (3,)),
    (rot.sixd_to_matrix, (6,)),
    (rot.sixd_to_quaternion, (6,)),
]


@pytest.mark.parametrize(("function", "shape"), UNARY)
def test_batch_is_its_items(function: Callable[[Tensor], Tensor], shape: tuple[int, ...]) -> None:
    batch = torch.randn(2, 3, *shape, generator=torch.Generator().manual_seed(7))
    whole = function(batch)
    for i in range(2):
        for j in range(3):
            torch.testing.assert_close(whole[i, j], function(batch[i, j]), rtol=0, atol=1e-6)


@pytest.mark.parametrize(("function", "shape"), UNARY)
def test_wrong_shape_is_refused(
    function: Callable[[Tensor], Tensor], shape: tuple[int, ...]
) -> None:
    with pytest.raises(ValueError, match="needs"):
        function(torch.zeros(2, 5))


GRADIENT_POINTS: list[tuple[Callable[[Tensor], Tensor], Tensor]] = [
    (rot.axis_angle_to_quaternion, torch.zeros(1, 3)),
    (rot.quaternion_to_axis_angle, SPECIAL),
    (rot.quaternion_to_heading, SPECIAL),
    (rot.matrix_to_quaternion, rot.quaternion_to_matrix(SPECIAL)),
    (rot.sixd_to_quaternion, torch.zeros(1, 6)),
    (rot.sixd_to_matrix, torch.ones(1, 6)),
    (lambda q: rot.slerp(q, q, torch.full((5,), 0.3)), SPECIAL),
    (lambda v: rot.shortest_arc(v, -v), torch.eye(3)),
    (lambda v: rot.shortest_arc(v, v), torch.zeros(2, 3)),
]


@pytest.mark.parametrize(("function", "point"), GRADIENT_POINTS)
def test_gradient_is_finite_at_the_hard_places(
    function: Callable[[Tensor], Tensor], point: Tensor
) -> None:
    leaf = point.clone().requires_grad_()
    result = function(leaf)
    assert bool(torch.isfinite(result).all())
    (gradient,) = torch.autograd.grad(result.sum(), leaf)
    assert bool(torch.isfinite(gradient).all())
    torch.testing.assert_close(leaf.detach(), point, rtol=0, atol=0)
