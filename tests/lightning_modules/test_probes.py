"""Probes against autograd and values worked out by hand; they leave the module as it was."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from recipebench.benchmarks.combinations import PROBES
from recipebench.errors import RequestError
from recipebench.lightning_modules import CNN, MLP, DeepStack, LogisticRegression, gradient_flow, probe
from recipebench.lightning_modules.probes import KINDS, gradient_norms, hidden_units, weight_norms


def batch(features: int = 4, samples: int = 6) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(samples, features, generator=generator), torch.arange(samples) % 3


def network(**options: Any) -> MLP:
    return MLP(**{"in_features": 4, "hidden": [5, 6], "out_features": 3, "init_seed": 1, **options})


def test_all_probes_by_layer() -> None:
    found = probe(network(activation="sigmoid"), *batch())

    weights = ["linear_1", "linear_2", "output"]
    kinds = ["activation_mean", "activation_std", "dead", "saturated"]
    assert list(found) == [
        *(f"grad_norm.{layer}" for layer in weights),
        *(f"weight_norm.{layer}" for layer in weights),
        *(f"{kind}.activation_{i}" for i in (1, 2) for kind in kinds),
    ]
    assert all(type(value) is float for value in found.values())


def test_without_hidden_layers_there_are_norms_alone() -> None:
    x, _ = batch()

    found = probe(LogisticRegression(in_features=4), x, torch.arange(6) % 2)

    assert list(found) == ["grad_norm.output", "weight_norm.output"]


def test_norms_are_those_of_an_ordinary_backward_pass_penalty_included() -> None:
    module = network(regularizer={"l2": {"strength": 0.3}}, activation="tanh")
    twin = network(regularizer={"l2": {"strength": 0.3}}, activation="tanh")
    twin.training_step(batch(), 0)["loss"].backward()
    layers = {n: m for n, m in twin.network.named_modules() if isinstance(m, nn.Linear)}

    norms = gradient_norms(module, *batch())

    assert norms == {n: pytest.approx(float(m.weight.grad.norm())) for n, m in layers.items()}  # type: ignore[union-attr]
    assert weight_norms(module) == {
        n: pytest.approx(float(m.weight.detach().norm())) for n, m in layers.items()
    }


def test_hidden_units_by_hand() -> None:
    """One layer of three units: one always off, one off for one of two samples, one on."""
    module = MLP(in_features=1, hidden=[3], out_features=3)
    layer: Any = module.network.linear_1
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[-1.0], [1.0], [1.0]]))
        layer.bias.copy_(torch.tensor([0.0, -1.5, 1.0]))

    found = hidden_units(module, torch.tensor([[1.0], [2.0]]))  # outputs (0, 0, 2), (0, .5, 3)

    mean = 5.5 / 6
    std = ((0.25 + 4 + 9) / 6 - mean**2) ** 0.5
    assert found == {
        "activation_mean.activation_1": pytest.approx(mean),
        "activation_std.activation_1": pytest.approx(std),
        "dead.activation_1": pytest.approx(1 / 3),
    }


@pytest.mark.parametrize(("activation", "edge"), [("sigmoid", 4.357), ("tanh", 2.178)])
def test_saturated_is_where_the_slope_is_below_a_twentieth_of_the_steepest(
    activation: str, edge: float
) -> None:
    module = MLP(in_features=1, hidden=[1], out_features=3, activation=activation)
    layer: Any = module.network.linear_1
    with torch.no_grad():
        layer.weight.fill_(1)
    z = torch.tensor([[-edge - 0.01], [-edge + 0.01], [0.0], [edge + 0.01]], requires_grad=True)
    slopes = torch.autograd.grad(getattr(torch, activation)(z).sum(), z)[0][:, 0]
    steep = 0.25 if activation == "sigmoid" else 1.0

    found = hidden_units(module, z.detach())

    assert (slopes / steep < 0.05).tolist() == [True, False, False, True]
    assert found["saturated.activation_1"] == 0.5
    assert found["dead.activation_1"] == 0


def test_after_a_convolution_units_are_channels() -> None:
    module = CNN(in_shape=(1, 8, 8), init_seed=0)
    names = [n for n, m in module.network.named_modules() if isinstance(m, nn.Conv2d)]
    first: Any = module.network.get_submodule(names[0])
    with torch.no_grad():
        first.bias[: len(first.bias) // 2] = -1e6

    found = probe(module, torch.rand(5, 1, 8, 8), torch.arange(5))

    dead = [value for name, value in found.items() if name.startswith("dead.")]
    assert dead[0] == 0.5
    assert all(f"grad_norm.{name}" in found for name in names)


def test_frozen_layers_have_no_gradient() -> None:
    module = network()
    module.network.get_submodule("linear_1").requires_grad_(False)

    assert list(gradient_norms(module, *batch())) == ["linear_2", "output"]
    assert gradient_norms(network().requires_grad_(False), *batch()) == {}


@pytest.mark.parametrize("regularizer", ["none", "dropout", "batch_norm", "l2"])
def test_probes_leave_everything_as_it_was(regularizer: str) -> None:
    module = network(regularizer=regularizer)
    module.training_step(batch(), 0)["loss"].backward()
    module.network.get_submodule("linear_2").eval()
    state = {name: t.clone() for name, t in module.state_dict().items()}
    grads = {n: p.grad.clone() for n, p in module.named_parameters() if p.grad is not None}
    modes = {name: part.training for name, part in module.named_modules()}
    random = torch.get_rng_state()

    with torch.no_grad():
        first = probe(module, *batch())

    assert probe(module, *batch()) == first
    assert torch.equal(torch.get_rng_state(), random)
    assert {name: part.training for name, part in module.named_modules()} == modes
    assert all(torch.equal(t, state[name]) for name, t in module.state_dict().items())
    assert all(torch.equal(p.grad, grads[n]) for n, p in module.named_parameters() if p.grad is not None)
    assert not any(part._forward_hooks for part in module.modules())


def test_hooks_and_mode_are_restored_after_an_error() -> None:
    module = network()

    with pytest.raises(RuntimeError):
        probe(module, torch.ones(2, 3), torch.arange(2))

    with pytest.raises(RuntimeError):
        hidden_units(module, torch.ones(2, 3))
    assert module.training
    assert not any(part._forward_hooks for part in module.modules())


# Diagnosis ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("activation", "initializer", "flow"),
    [
        ("sigmoid", "xavier", "vanishing"),
        ("tanh", "xavier", "steady"),
        ("relu", "he", "steady"),
        ("tanh", {"small_gaussian": {"std": 1.0}}, "exploding"),
        ("relu", {"small_gaussian": {"std": 1.0}}, "steady"),  # all layers' gradients are huge alike
    ],
    ids=str,
)
def test_deep_stacks_are_diagnosed(activation: str, initializer: Any, flow: str) -> None:
    x, _ = batch(features=50, samples=64)
    net = DeepStack(
        depth=12, width=50, in_features=50, activation=activation, initializer=initializer, init_seed=0
    )
    norms = gradient_norms(net, x, torch.arange(64) % 10)

    assert gradient_flow(norms) == flow
    assert (min(norms.values()) > 1e8) is (activation == "relu" and initializer != "he")


@pytest.mark.parametrize(
    ("norms", "ratio", "flow"),
    [
        ([1.0, 5.0, 100.0], 100.0, "steady"),
        ([1.0, 5.0, 101.0], 100.0, "vanishing"),
        ([100.0, 5.0, 1.0], 100.0, "steady"),
        ([101.0, 5.0, 1.0], 100.0, "exploding"),
        ([3.0, 1.0], 2.0, "exploding"),
        ([0.0, 1.0], 100.0, "vanishing"),
        ([0.0, 0.0], 100.0, "steady"),
    ],
)
def test_the_first_and_the_last_layer_decide(norms: list[float], ratio: float, flow: str) -> None:
    by_layer = {f"layer_{i}": norm for i, norm in enumerate(norms)}
    row = {
        "epoch": 1.0,
        **{f"grad_norm.{name}": norm for name, norm in by_layer.items()},
        "weight_norm.x": 9.0,
    }

    assert gradient_flow(by_layer, ratio=ratio) == gradient_flow(row, ratio=ratio) == flow


def test_one_layer_has_no_flow() -> None:
    with pytest.raises(RequestError, match="expected the norms of two layers or more, got 1"):
        gradient_flow({"grad_norm.output": 1.0, "weight_norm.output": 2.0})


def test_a_suite_can_ask_for_every_kind_of_probe() -> None:
    assert PROBES == KINDS


def test_only_what_is_asked_for_is_measured() -> None:
    everything = probe(network(activation="sigmoid"), *batch())

    parts = [probe(network(activation="sigmoid"), *batch(), [kind]) for kind in KINDS]

    assert {name for part in parts for name in part} == set(everything)
    assert sum(map(len, parts)) == len(everything)
    assert all(parts)
