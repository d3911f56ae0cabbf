"""Packed convolutional networks against plain torch layers, written out here, compared as integers."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from pytorch_lightning import Trainer
from torch import Tensor, nn, optim

from recipebench.lightning_modules.cnn import CNN
from recipebench.lightning_modules.convolution import ChannelMaxout, Im2colConv2d
from recipebench.lightning_modules.deep_cnn import DeepCNN
from recipebench.lightning_modules.packed import PackedModule
from recipebench.lightning_modules.packed.layers import layer_obstacle, pack_layer
from recipebench.lightning_modules.packed.stack import ParameterStack

BATCHES = {"last batch of 1": (21, 10), "last batch of 7": (27, 10), "last batch of 29": (61, 32)}
EPOCHS = 2
SIDE = 8
STRENGTH = 0.01
RATES = {"sgd": 0.1, "nesterov": 0.05, "adam": 0.001, "rmsprop": 0.001}

FUNCTIONS: dict[str, Any] = {
    "relu": nn.ReLU,
    "leaky_relu": lambda: nn.LeakyReLU(0.01),
    "prelu": lambda: nn.PReLU(init=0.25),
    "sigmoid": nn.Sigmoid,
    "tanh": nn.Tanh,
}
OPTIMIZERS: dict[str, Any] = {
    "sgd": lambda p: optim.SGD(p, lr=0.1),
    "nesterov": lambda p: optim.SGD(p, lr=0.05, momentum=0.9, nesterov=True),
    "adam": lambda p: optim.Adam(p, lr=0.001),
    "rmsprop": lambda p: optim.RMSprop(p, lr=0.001, alpha=0.99, eps=1e-8),
}


def same(a: Tensor, b: Tensor) -> bool:
    return torch.equal(a.contiguous().view(torch.int32), b.contiguous().view(torch.int32))


class Largest(nn.Module):
    """The larger of two neighboring channels or features."""

    def forward(self, x: Tensor) -> Tensor:
        return x.view(len(x), -1, 2, *x.shape[2:]).max(dim=2).values


def plain_network(kind: str, activation: str, regularizer: str, pool: str) -> nn.Sequential:
    """Write out two convolutions and a hidden layer of 7 units in torch's own layers."""
    last = 5 if kind == "cnn" else 3
    pieces = 2 if activation == "maxout" else 1
    norm = regularizer == "batch_norm"
    layers: list[nn.Module] = []
    for inputs, outputs in [(1, 3), (3, last)]:
        layers.append(nn.Conv2d(inputs, outputs * pieces, 3, padding=1))
        layers += [nn.BatchNorm2d(outputs * pieces)] if norm else []
        layers.append(Largest() if pieces == 2 else FUNCTIONS[activation]())
        if kind == "cnn":
            layers += [{"max": nn.MaxPool2d, "average": nn.AvgPool2d}[pool](2)] if pool != "none" else []
    if kind == "deep_cnn":
        layers.append(nn.MaxPool2d(2))
    flat = last * {"cnn": 64 if pool == "none" else 4, "deep_cnn": 16}[kind]
    layers += [nn.Flatten(), nn.Linear(flat, 7 * pieces)]
    layers += [nn.BatchNorm1d(7 * pieces)] if norm else []
    layers.append(Largest() if pieces == 2 else FUNCTIONS[activation]())
    layers += [nn.Dropout(0.5)] if regularizer == "dropout" else []
    return nn.Sequential(*layers, nn.Linear(7, 10))


def build(kind: str, activation: str, recipe: tuple[str, str], pool: str, seed: int) -> Any:
    optimizer, regularizer = recipe
    strength = {"strength": STRENGTH} if regularizer in ("l1", "l2") else {}
    options: dict[str, Any] = {
        "in_shape": (1, SIDE, SIDE),
        "hidden": [7],
        "activation": activation,
        "regularizer": {regularizer: strength},
        "optimizer": {optimizer: {"lr": RATES[optimizer]}},
        "init_seed": seed,
    }
    if kind == "deep_cnn":
        return DeepCNN(blocks=[3], **options)
    implementation = "im2col" if kind == "im2col" else "torch"
    return CNN(channels=[3, 5], kernel=3, padding=1, pool=pool, implementation=implementation, **options)


def problem(samples: int) -> tuple[Tensor, Tensor]:
    g = torch.Generator().manual_seed(samples)
    x = torch.randn(samples, 1, SIDE, SIDE, generator=g)
    return x, torch.randint(10, (samples,), generator=g)


def order(member: int, epoch: int, samples: int) -> Tensor:
    return torch.randperm(samples, generator=torch.Generator().manual_seed(1000 * member + epoch))


def train_packed(modules: list[Any], samples: int, batch_size: int) -> tuple[Tensor, Tensor]:
    x, y = problem(samples)
    members = range(len(modules))
    pack = PackedModule(modules, [500 + k for k in members])
    pack.trainer = Trainer(
        max_epochs=EPOCHS,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
    )
    pack.configure_optimizers()
    losses, penalties = [], []
    for epoch in range(EPOCHS):
        orders = torch.stack([order(k, epoch, samples) for k in members])
        for batch in orders.split(batch_size, dim=1):
            each, penalty = pack.step(x[batch], y[batch])
            losses.append(each)
            penalties.append(penalty)
    return torch.cat(losses, 1), torch.stack(penalties)


def train_plain(
    network: nn.Sequential, recipe: tuple[str, str], member: int, samples: int, batch_size: int
) -> tuple[Tensor, Tensor]:
    x, y = problem(samples)
    optimizer = OPTIMIZERS[recipe[0]](network.parameters())
    weights = [m.weight for m in network if isinstance(m, nn.Conv2d | nn.Linear)]
    losses, penalties = [], []
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(500 + member)
        for epoch in range(EPOCHS):
            for batch in order(member, epoch, samples).split(batch_size):
                outputs = network(x[batch])
                penalty = torch.zeros(())
                if recipe[1] == "l1":
                    penalty = STRENGTH * sum((w.abs().sum() for w in weights), start=torch.zeros(()))
                if recipe[1] == "l2":
                    penalty = STRENGTH / 2 * sum((w.square().sum() for w in weights), start=torch.zeros(()))
                optimizer.zero_grad()
                (F.cross_entropy(outputs, y[batch]) + penalty).backward()
                losses.append(F.cross_entropy(outputs.detach(), y[batch], reduction="none"))
                penalties.append(penalty.detach())
                optimizer.step()
    return torch.cat(losses), torch.stack(penalties)


CASES = [
    *(("cnn", activation, "none", "max") for activation in [*FUNCTIONS, "maxout"]),
    *(("cnn", "relu", "none", pool) for pool in ("average", "none")),
    *(("cnn", "sigmoid", layers, "max") for layers in ("dropout", "batch_norm")),
    *(("deep_cnn", activation, "none", "max") for activation in ("relu", "maxout")),
    *(("deep_cnn", "tanh", layers, "max") for layers in ("dropout", "batch_norm")),
]


@pytest.mark.parametrize(("samples", "batch_size"), BATCHES.values(), ids=BATCHES.keys())
@pytest.mark.parametrize(("kind", "activation", "layers", "pool"), CASES)
def test_a_pack_of_cnns_has_the_bits_of_plain_pytorch(
    kind: str, activation: str, layers: str, pool: str, samples: int, batch_size: int
) -> None:
    plans = [(o, layers) for o in OPTIMIZERS]
    if layers == "none":
        plans = sorted([*plans, ("sgd", "l1"), ("adam", "l2"), ("nesterov", "l2")])
    modules = [build(kind, activation, recipe, pool, seed) for seed, recipe in enumerate(plans)]
    starts = [[p.detach().clone() for p in module.parameters()] for module in modules]
    if layers == "batch_norm" and samples % batch_size == 1:
        with pytest.raises(ValueError, match="Expected more than 1 value per channel"):
            train_packed(modules, samples, batch_size)
        return

    losses, penalties = train_packed(modules, samples, batch_size)

    for k, (recipe, module) in enumerate(zip(plans, modules, strict=True)):
        reference = plain_network(kind, activation, layers, pool)
        for parameter, value in zip(reference.parameters(), starts[k], strict=True):
            parameter.data.copy_(value)
        expected, expected_penalties = train_plain(reference, recipe, k, samples, batch_size)
        assert same(losses[k], expected), recipe
        assert same(penalties[:, k], expected_penalties), recipe
        for got, want in zip(module.parameters(), reference.parameters(), strict=True):
            assert same(got.detach(), want.detach()), recipe
        for got, want in zip(module.network.buffers(), reference.buffers(), strict=True):
            assert torch.equal(got, want), recipe


@pytest.mark.parametrize("kind", ["cnn", "im2col"])
@pytest.mark.parametrize("regularizer", ["batch_norm", "l2"])
def test_neighbors_change_nothing(kind: str, regularizer: str) -> None:
    recipe = ("adam", regularizer)
    alone = build(kind, "relu", recipe, "max", 99)
    train_packed([alone], 27, 10)
    wild = build(kind, "relu", recipe, "max", 1)
    wild.optimizer.parameters["lr"] = 1e30
    beside = build(kind, "relu", recipe, "max", 99)
    losses, _ = train_packed([beside, wild, build(kind, "relu", recipe, "max", 2)], 27, 10)

    assert not torch.isfinite(losses[1]).all()
    for got, want in zip(beside.parameters(), alone.parameters(), strict=True):
        assert same(got.detach(), want.detach())


def test_an_im2col_member_has_the_bits_of_its_module_alone() -> None:
    recipe = ("adam", "l2")
    packed, plain = (build("im2col", "relu", recipe, "max", 5) for _ in range(2))
    start = copy.deepcopy(plain.state_dict())
    packed.load_state_dict(start)
    losses, _ = train_packed([packed, build("im2col", "relu", recipe, "max", 6)], 27, 10)

    expected, _ = train_plain(plain.network, recipe, 0, 27, 10)

    assert same(losses[0], expected)
    for got, want in zip(packed.parameters(), plain.parameters(), strict=True):
        assert same(got.detach(), want.detach())


LAYERS: dict[str, tuple[Any, tuple[int, ...]]] = {
    "default convolution": (lambda: nn.Conv2d(16, 32, 5, padding=2), (16, 14, 14)),
    "strided convolution": (lambda: nn.Conv2d(3, 8, 3, stride=2, padding=1), (3, 9, 13)),
    "one pixel": (lambda: nn.Conv2d(4, 6, 1), (4, 1, 1)),
    "groups and dilation": (lambda: nn.Conv2d(4, 6, 3, groups=2, dilation=2), (4, 7, 7)),
    "overlapping maxima": (lambda: nn.MaxPool2d(3, stride=1, padding=1), (4, 7, 9)),
    "maxima with a rest": (lambda: nn.MaxPool2d((2, 3), ceil_mode=True), (4, 7, 7)),
    "overlapping means": (lambda: nn.AvgPool2d(3, stride=2, padding=1, count_include_pad=False), (4, 7, 9)),
    "norm of maps": (lambda: nn.BatchNorm2d(4), (4, 5, 7)),
    "channel maxout": (lambda: ChannelMaxout(3), (6, 5, 7)),
    "im2col": (lambda: Im2colConv2d(3, 8, 3, stride=2, padding=1), (3, 9, 13)),
    "sigmoid of maps": (nn.Sigmoid, (3, 5, 7)),
    "flatten": (nn.Flatten, (3, 5, 7)),
}


@pytest.mark.parametrize("rows", [2, 7, 64])
@pytest.mark.parametrize(("make", "shape"), LAYERS.values(), ids=LAYERS.keys())
@torch.no_grad()
def test_single_layers_have_the_bits_of_autograd(make: Any, shape: tuple[int, ...], rows: int) -> None:
    members = [make() for _ in range(3)]
    plain = [copy.deepcopy(member) for member in members]
    stack = ParameterStack([nn.Sequential(member) for member in members], [0, 1, 2])
    layer = pack_layer(members[0], members, "0", stack)
    x = torch.randn(3, rows, *shape, generator=torch.Generator().manual_seed(rows))

    y = layer.forward(x)
    assert isinstance(y, Tensor)
    given = torch.randn(y.shape, generator=torch.Generator().manual_seed(1))
    by_input = layer.backward(given.clone())

    for k, member in enumerate(plain):
        leaf = x[k].clone().requires_grad_()
        with torch.enable_grad():
            expected = member(leaf)
            gradients = torch.autograd.grad(expected, (leaf, *member.parameters()), given[k])
        assert same(y[k], expected)
        assert same(by_input[k], gradients[0])
        for (name, _), gradient in zip(member.named_parameters(), gradients[1:], strict=True):
            assert same(stack.grad(f"0.{name}")[k], gradient)


@pytest.mark.parametrize("kind", [nn.Conv2d, Im2colConv2d])
@torch.no_grad()
def test_a_first_convolution_takes_shared_inputs_and_returns_no_gradient_for_them(kind: Any) -> None:
    members = [kind(1, 4, 3) for _ in range(2)]
    plain = copy.deepcopy(members[1])
    stack = ParameterStack([nn.Sequential(member) for member in members], [0, 1])
    layer = pack_layer(members[0], members, "0", stack)
    layer.needs_input_grad = False
    x = torch.randn(5, 1, 8, 8, generator=torch.Generator().manual_seed(0))

    y = layer.forward([x, x])
    by_input = layer.backward(torch.ones(2, 5, 4, 6, 6))

    with torch.enable_grad():
        expected = plain(x)
        (gradient, _) = torch.autograd.grad(expected, tuple(plain.parameters()), torch.ones_like(expected))
    assert same(y[1], expected)
    assert layer.weight_grad is not None
    assert same(layer.weight_grad[1], gradient)
    assert by_input.numel() == 0


@pytest.mark.parametrize(
    ("layer", "reason"),
    [
        (nn.Conv2d(1, 1, 3, bias=False), "has no bias"),
        (nn.Conv2d(1, 1, 3, padding="same"), "pads otherwise"),
        (nn.Conv2d(1, 1, 3, padding=1, padding_mode="reflect"), "pads otherwise"),
        (nn.MaxPool2d(2, return_indices=True), "returns indices too"),
        (nn.ConvTranspose2d(1, 1, 3), "has no packed form"),
    ],
)
def test_layers_that_mean_something_else_are_not_packed(layer: nn.Module, reason: str) -> None:
    assert reason in str(layer_obstacle(layer))
