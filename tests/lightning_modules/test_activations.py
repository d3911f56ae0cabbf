"""Activations against hand-worked values, torch's functions and autograd."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from recipebench.lightning_modules.activations import (
    ACTIVATIONS,
    Hardmax,
    Maxout,
    Step,
    hardmax,
    maxout,
    threshold_step,
)
from recipebench.lightning_modules.catalog import ACTIVATIONS as CATALOG

FORMULAS: dict[str, Callable[[float], float]] = {
    "step": lambda x: 1.0 if x > 0 else 0.0,
    "sigmoid": lambda x: 1 / (1 + math.exp(-x)),
    "tanh": lambda x: (math.exp(x) - math.exp(-x)) / (math.exp(x) + math.exp(-x)),
    "relu": lambda x: max(0.0, x),
    "leaky_relu": lambda x: max(x, 0.01 * x),
    "prelu": lambda x: max(0.0, x) + 0.25 * min(0.0, x),
}
FUNCTIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "step": lambda x: torch.heaviside(x.detach(), torch.tensor(0.0)) + 0 * x,
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "relu": F.relu,
    "leaky_relu": F.leaky_relu,
    "prelu": lambda x: F.prelu(x, torch.tensor([0.25])),
}
POINTS = [-30.0, -2.0, -1.0, -0.5, 0.0, 0.25, 1.0, 3.0, 30.0]


def test_every_activation_is_held_against_a_formula() -> None:
    assert {*FORMULAS, "maxout", "hardmax"} == set(ACTIVATIONS) == set(CATALOG)


@pytest.mark.parametrize("name", FORMULAS)
def test_values_follow_the_formula(name: str) -> None:
    module = ACTIVATIONS[name]().double()

    values = module(torch.tensor([POINTS], dtype=torch.float64))[0].tolist()

    assert values == pytest.approx([FORMULAS[name](x) for x in POINTS], rel=1e-12, abs=1e-12)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_float32_values_and_gradients_are_those_of_torch(name: str) -> None:
    x = torch.randn(7, 13, generator=torch.Generator().manual_seed(0))
    ours, theirs = x.clone().requires_grad_(), x.clone().requires_grad_()

    y, expected = ACTIVATIONS[name]()(ours), FUNCTIONS[name](theirs)
    y.square().sum().backward()
    expected.square().sum().backward()

    assert torch.equal(y, expected)
    assert ours.grad is not None
    assert theirs.grad is not None
    assert torch.equal(ours.grad, theirs.grad)


@pytest.mark.parametrize("name", FORMULAS)
def test_gradients_are_slopes_of_the_formula(name: str) -> None:
    points = [x for x in POINTS if 0 < abs(x) < 10]
    x = torch.tensor([points], dtype=torch.float64, requires_grad=True)

    ACTIVATIONS[name]().double()(x).sum().backward()

    step = 1e-6
    f = FORMULAS[name]
    assert x.grad is not None
    assert x.grad[0].tolist() == pytest.approx([(f(p + step) - f(p - step)) / (2 * step) for p in points])


@pytest.mark.parametrize(
    ("name", "slope"),
    [("step", 0.0), ("sigmoid", 0.25), ("tanh", 1.0), ("relu", 0.0), ("leaky_relu", 0.01), ("prelu", 0.25)],
)
def test_slope_at_zero(name: str, slope: float) -> None:
    x = torch.zeros(1, 1, requires_grad=True)

    ACTIVATIONS[name]()(x).sum().backward()

    assert x.grad is not None
    assert float(x.grad) == pytest.approx(slope)


def test_leaky_relu_takes_its_slope() -> None:
    assert ACTIVATIONS["leaky_relu"](negative_slope=0.5)(torch.tensor([-4.0])).tolist() == [-2.0]


def test_prelu_learns_one_slope_from_init() -> None:
    module = ACTIVATIONS["prelu"](init=0.5)

    module(torch.tensor([[-1.0, -3.0, 2.0]])).sum().backward()

    (slope,) = module.parameters()
    assert slope.tolist() == [0.5]
    assert slope.grad is not None
    assert slope.grad.tolist() == [-4.0]  # the sum of the negative inputs


def test_sigmoid_and_tanh_stay_finite_far_out() -> None:
    x = torch.tensor([-1e30, 1e30])

    assert ACTIVATIONS["sigmoid"]()(x).tolist() == [0.0, 1.0]
    assert ACTIVATIONS["tanh"]()(x).tolist() == [-1.0, 1.0]


@pytest.mark.parametrize("pieces", [2, 3, 5])
def test_maxout_takes_the_largest_of_neighbors(pieces: int) -> None:
    x = torch.randn(4, 6 * pieces, generator=torch.Generator().manual_seed(1))

    expected = [[max(row[i : i + pieces]) for i in range(0, len(row), pieces)] for row in x.tolist()]

    assert maxout(x, pieces).tolist() == expected
    assert Maxout(pieces)(x).tolist() == expected


def test_maxout_with_a_linear_layer_is_the_largest_affine_piece() -> None:
    linear = torch.nn.Linear(3, 4)
    x = torch.randn(2, 3)
    w = linear.weight.detach().view(2, 2, 3)  # unit, piece, input
    b = linear.bias.detach().view(2, 2)

    expected = [[max(float(w[i, k] @ row + b[i, k]) for k in range(2)) for i in range(2)] for row in x]

    assert torch.allclose(Maxout(2)(linear(x)), torch.tensor(expected), atol=1e-6)


def test_maxout_of_a_unit_and_its_negative_is_the_absolute_value() -> None:
    z = torch.tensor([[-3.0], [0.5]])

    assert maxout(torch.cat([z, -z], dim=1), 2).tolist() == z.abs().tolist()


def test_maxout_sends_the_gradient_to_the_largest_and_on_ties_to_the_first() -> None:
    x = torch.tensor([[1.0, 3.0, 2.0, 5.0, 5.0, 1.0, 4.0, 4.0, 4.0]], requires_grad=True)

    (maxout(x, 3) * torch.tensor([[10.0, 20.0, 30.0]])).sum().backward()

    assert x.grad is not None
    assert x.grad.tolist() == [[0, 10, 0, 20, 0, 0, 30, 0, 0]]


def test_maxout_refuses_features_that_are_no_multiple_of_its_pieces() -> None:
    with pytest.raises(RuntimeError, match=r"\[-1, 3\] don't multiply up to the size of dim 1 \(4\)"):
        maxout(torch.zeros(1, 4), 3)


def test_maxout_shows_its_pieces() -> None:
    assert repr(Maxout(3)) == "Maxout(pieces=3)"


def test_what_maxout_is_matched_by_changes_nothing_in_the_layer() -> None:
    x = torch.randn(2, 6)

    assert repr(Maxout(3, match="parameters")) == repr(Maxout(3))
    assert torch.equal(Maxout(3, match="parameters")(x), Maxout(3)(x))


def test_the_step_knows_the_smallest_positive_number() -> None:
    tiny = 2.0**-149  # of float32
    x = torch.tensor([-tiny, -0.0, 0.0, tiny, math.inf, -math.inf])

    assert threshold_step(x).tolist() == [0, 0, 0, 1, 1, 0]
    assert math.isnan(float(threshold_step(torch.tensor(math.nan))))


@pytest.mark.parametrize("shape", [(6, 1), (6, 7), (6, 3, 4, 5)], ids=str)
def test_hardmax_is_one_hot_of_the_largest(shape: tuple[int, ...]) -> None:
    x = torch.randn(shape, generator=torch.Generator().manual_seed(0))

    expected = F.one_hot(x.argmax(1), shape[1]).movedim(-1, 1).float()

    assert torch.equal(hardmax(x), expected)
    assert torch.equal(Hardmax()(x), expected)
    assert torch.equal(expected.sum(1), torch.ones_like(expected[:, 0]))


def test_hardmax_is_the_limit_of_softmax() -> None:
    x = torch.randn(5, 4, generator=torch.Generator().manual_seed(0))

    assert torch.allclose(hardmax(x), (1e4 * x).softmax(1))
    assert not torch.allclose(hardmax(x), x.softmax(1), atol=0.1)


def test_hardmax_on_ties_takes_the_first_and_does_not_hide_a_nan() -> None:
    assert hardmax(torch.tensor([[1.0, 3.0, 3.0], [0.0, 0.0, 0.0]])).tolist() == [[0, 1, 0], [1, 0, 0]]
    assert bool(hardmax(torch.tensor([[0.0, math.nan]])).isnan().any())
    assert hardmax(torch.tensor([[-math.inf, math.inf]])).tolist() == [[0, 1]]


@pytest.mark.parametrize("module", [Step(), Hardmax()], ids=str)
def test_flat_activations_let_only_later_layers_learn(module: nn.Module) -> None:
    network = nn.Sequential(nn.Linear(3, 4), module, nn.Linear(4, 2))

    network(torch.randn(8, 3)).square().sum().backward()

    first, second = ([p.grad for p in network[i].parameters()] for i in (0, 2))
    assert all(g is not None and not g.any() for g in first)  # zeros, not None: weight decay still acts
    assert all(g is not None and g.any() for g in second)


def test_a_neuron_with_a_step_is_a_gate() -> None:
    """AND: 1 if .5 x1 + .5 x2 > .7, with the weights of Saito, perceptrons."""
    gate = nn.Sequential(nn.Linear(2, 1), Step())
    gate[0].weight.data.fill_(0.5)
    gate[0].bias.data.fill_(-0.7)

    table = torch.tensor([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])

    assert gate(table).flatten().tolist() == [0, 0, 0, 1]
