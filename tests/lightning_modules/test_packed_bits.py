"""Packed training against plain torch.nn and stock torch.optim, written out here, compared as integers."""

import itertools

import pytest
import torch
import torch.nn.functional as F
from torch import nn, optim

from recipebench.lightning_modules import MLP
from recipebench.lightning_modules.packed import PackedModule, obstacle

WIDTHS = [50, 10, 7, 1]
BATCHES = {"last batch of 1": (41, 10), "last batch of 7": (47, 10), "last batch of 29": (93, 32)}
EPOCHS = 3
FEATURES = 6

ACTIVATIONS = {
    "sigmoid": nn.Sigmoid,
    "tanh": nn.Tanh,
    "relu": nn.ReLU,
    "leaky_relu": lambda: nn.LeakyReLU(0.01),
    "prelu": lambda: nn.PReLU(init=0.25),
    "maxout": None,
}
OPTIMIZERS = {
    "sgd": lambda p, **o: optim.SGD(p, lr=0.1, **o),
    "momentum": lambda p, **o: optim.SGD(p, lr=0.05, momentum=0.9, **o),
    "nesterov": lambda p, **o: optim.SGD(p, lr=0.05, momentum=0.9, nesterov=True, **o),
    "adagrad": lambda p, **o: optim.Adagrad(p, lr=0.01, **o),
    "rmsprop": lambda p, **o: optim.RMSprop(p, lr=0.001, alpha=0.99, eps=1e-8, **o),
    "adam": lambda p, **o: optim.Adam(p, lr=0.001, **o),
    "adamw": lambda p, **o: optim.AdamW(p, **{"lr": 0.001, "weight_decay": 0.01, **o}),
}
RATES = {
    "sgd": 0.1,
    "momentum": 0.05,
    "nesterov": 0.05,
    "adagrad": 0.01,
    "rmsprop": 0.001,
    "adam": 0.001,
    "adamw": 0.001,
}
INITIALIZERS = ["xavier", "xavier_fan_in", "he", "small_gaussian", "torch_default"]
PENALTIES = ["none", "l1", "l2", "weight_decay", "early_stopping"]
STRENGTH = 0.01


class Reference:
    """One cell in plain PyTorch: a loop over batches, autograd, a stock optimizer."""

    def __init__(self, width, task, activation, regularizer, optimizer, start):
        self.task, self.regularizer = task, regularizer
        self.pieces = 2 if activation == "maxout" else 1
        outputs = 10 if task == "classification" else 1
        self.first = nn.Linear(FEATURES, width * self.pieces)
        self.norm = nn.BatchNorm1d(width * self.pieces) if regularizer == "batch_norm" else nn.Identity()
        self.function = ACTIVATIONS[activation]() if self.pieces == 1 else self.largest
        self.dropout = nn.Dropout(0.5) if regularizer == "dropout" else nn.Identity()
        self.last = nn.Linear(width, outputs)
        parts = [self.first, self.norm, self.function, self.dropout, self.last]
        self.modules = [m for m in parts if isinstance(m, nn.Module)]
        self.parameters = [p for m in self.modules for p in m.parameters()]
        for parameter, value in zip(self.parameters, start, strict=True):
            parameter.data.copy_(value)
        decay = {"weight_decay": STRENGTH} if regularizer == "weight_decay" else {}
        self.optimizer = OPTIMIZERS[optimizer](self.parameters, **decay)

    def largest(self, x):
        return x.view(len(x), -1, 2).max(dim=2).values

    def outputs(self, x):
        return self.last(self.dropout(self.function(self.norm(self.first(x)))))

    def step(self, x, y):
        outputs = self.outputs(x)
        if self.task == "classification":
            loss, each = F.cross_entropy(outputs, y), F.cross_entropy(outputs, y, reduction="none")
        else:
            loss, each = F.mse_loss(outputs, y), (outputs - y).square()[:, 0]
        weights = (self.first.weight, self.last.weight)
        penalty = torch.zeros(())
        if self.regularizer == "l1":
            penalty = STRENGTH * sum(w.abs().sum() for w in weights)
        if self.regularizer == "l2":
            penalty = STRENGTH / 2 * sum((w**2).sum() for w in weights)
        self.optimizer.zero_grad()
        (loss + penalty).backward()
        self.optimizer.step()
        return each.detach(), penalty.detach()


def same(a, b):
    return torch.equal(a.contiguous().view(torch.int32), b.contiguous().view(torch.int32))


def problem(task, samples):
    g = torch.Generator().manual_seed(samples)
    x = torch.randn(samples, FEATURES, generator=g)
    if task == "classification":
        return x, torch.randint(10, (samples,), generator=g)
    return x, x[:, :1] * 2 - x[:, 1:2] + 0.1 * torch.randn(samples, 1, generator=g)


def order(member, epoch, samples):
    return torch.randperm(samples, generator=torch.Generator().manual_seed(1000 * member + epoch))


def recipes(layers):
    """Every optimizer, initializer and penalty at least once, three times over with other neighbors."""
    if layers in ("dropout", "batch_norm"):
        return [(o, "he", layers) for o in OPTIMIZERS]
    each = [(o, "he", "none") for o in OPTIMIZERS]
    each += [("sgd", i, "none") for i in INITIALIZERS if i != "he"]
    each += [(o, "xavier", p) for p in PENALTIES[1:] for o in ("sgd", "adam", "adamw")]
    return sorted(each)


def build(width, task, activation, recipe, seed):
    optimizer, initializer, regularizer = recipe
    strength = {"strength": STRENGTH} if regularizer in ("l1", "l2", "weight_decay") else {}
    return MLP(
        in_features=FEATURES,
        hidden=[width],
        out_features=10 if task == "classification" else 1,
        task=task,
        activation=activation,
        initializer=initializer,
        regularizer={regularizer: strength},
        optimizer={optimizer: {"lr": RATES[optimizer]}},
        init_seed=seed,
    )


def train_packed(modules, task, samples, batch_size):
    x, y = problem(task, samples)
    members = range(len(modules))
    pack = PackedModule(modules, [500 + k for k in members])
    pack.configure_optimizers()
    losses, penalties = [], []
    for epoch in range(EPOCHS):
        orders = torch.stack([order(k, epoch, samples) for k in members])
        for batch in orders.split(batch_size, dim=1):
            each, penalty = pack.step(x[batch], y[batch])
            losses.append(each)
            penalties.append(penalty)
    return torch.cat(losses, 1), torch.stack(penalties)


def train_plain(reference, member, task, samples, batch_size):
    x, y = problem(task, samples)
    losses, penalties = [], []
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(500 + member)
        for epoch in range(EPOCHS):
            for batch in order(member, epoch, samples).split(batch_size):
                each, penalty = reference.step(x[batch], y[batch])
                losses.append(each)
                penalties.append(penalty)
    return torch.cat(losses), torch.stack(penalties)


@pytest.mark.parametrize(("samples", "batch_size"), BATCHES.values(), ids=BATCHES.keys())
@pytest.mark.parametrize("task", ["classification", "regression"])
@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("layers", [*ACTIVATIONS, "dropout", "batch_norm"])
def test_a_pack_has_the_bits_of_plain_pytorch(layers, width, task, samples, batch_size):
    activation = layers if layers in ACTIVATIONS else "relu"
    plans = recipes(layers)
    modules = [build(width, task, activation, recipe, seed) for seed, recipe in enumerate(plans)]
    starts = [[p.detach().clone() for p in module.parameters()] for module in modules]
    if layers == "batch_norm" and samples % batch_size == 1:
        with pytest.raises(ValueError, match="Expected more than 1 value per channel"):
            train_packed(modules, task, samples, batch_size)
        return

    losses, penalties = train_packed(modules, task, samples, batch_size)

    for k, (recipe, module) in enumerate(zip(plans, modules, strict=True)):
        reference = Reference(width, task, activation, recipe[2], recipe[0], starts[k])
        expected, expected_penalties = train_plain(reference, k, task, samples, batch_size)
        assert same(losses[k], expected), recipe
        assert same(penalties[:, k], expected_penalties), recipe
        for got, want in zip(module.parameters(), reference.parameters, strict=True):
            assert same(got.detach(), want.detach()), recipe
        if recipe[2] == "batch_norm":
            norm = module.network.norm_1
            assert same(norm.running_mean, reference.norm.running_mean)
            assert same(norm.running_var, reference.norm.running_var)
            assert norm.num_batches_tracked == reference.norm.num_batches_tracked


@pytest.mark.parametrize("size", [2, 7, 32])
@pytest.mark.parametrize("activation", ["relu", "sigmoid"])
def test_neighbors_order_and_size_change_nothing(activation, size):
    recipe, plans = ("adam", "he", "l2"), itertools.cycle(recipes("relu"))
    alone = build(7, "classification", activation, recipe, 99)
    train_packed([alone], "classification", 47, 10)

    others = [build(7, "classification", activation, next(plans), seed) for seed in range(size - 1)]
    subject = build(7, "classification", activation, recipe, 99)
    train_packed([subject, *others], "classification", 47, 10)

    for got, want in zip(subject.parameters(), alone.parameters(), strict=True):
        assert same(got.detach(), want.detach())


def test_a_diverging_neighbor_changes_nothing():
    calm = build(10, "regression", "relu", ("sgd", "he", "none"), 1)
    train_packed([calm, build(10, "regression", "relu", ("adam", "he", "none"), 2)], "regression", 47, 10)
    wild = MLP(
        in_features=FEATURES,
        hidden=[10],
        out_features=1,
        task="regression",
        optimizer={"sgd": {"lr": 1e30}},
        init_seed=2,
    )
    beside = build(10, "regression", "relu", ("sgd", "he", "none"), 1)
    losses, _ = train_packed([beside, wild], "regression", 47, 10)

    assert not torch.isfinite(losses[1]).all()
    for got, want in zip(beside.parameters(), calm.parameters(), strict=True):
        assert same(got.detach(), want.detach())


def changed(change):
    module = MLP()
    change(module)
    return module


class Overriding(MLP):
    def on_after_backward(self):
        """Do nothing, but a pack would not even do that."""


@pytest.mark.parametrize(
    ("module", "reason"),
    [
        (Overriding(), "on_after_backward of its own"),
        (changed(lambda m: setattr(m, "training_step", print)), "a method of its own"),
        (changed(lambda m: m.network.register_forward_hook(print)), "has a hook"),
        (changed(lambda m: m.network.linear_1.weight.register_hook(print)), "frozen or have a hook"),
        (changed(lambda m: m.network.linear_1.weight.requires_grad_(requires_grad=False)), "frozen"),
        (changed(lambda m: setattr(m, "extra", nn.Parameter(torch.zeros(1)))), "belong to no layer"),
        (changed(lambda m: m.double()), "torch.float64"),
        (changed(lambda m: setattr(m.network, "output", nn.Linear(64, 10, bias=False))), "has no bias"),
        (changed(lambda m: setattr(m.network, "activation_2", m.network.activation_1)), "occurs twice"),
        (changed(lambda m: setattr(m.network, "flatten", nn.Flatten(2))), "keeps dimensions apart"),
    ],
)
def test_what_a_pack_might_train_otherwise_is_not_packed(module, reason):
    assert reason in obstacle(module)
    with pytest.raises(ValueError, match="Cannot be packed"):
        PackedModule([module, MLP()], [0, 1])


def test_networks_that_differ_are_not_packed_together():
    with pytest.raises(ValueError, match="networks of the members differ"):
        PackedModule(
            [MLP(regularizer={"dropout": {"p": 0.5}}), MLP(regularizer={"dropout": {"p": 0.2}})], [0, 1]
        )
