"""Packed training against plain torch.nn and stock torch.optim, written out here, compared as integers."""

import functools
import itertools
import math

import pytest
import torch
import torch.nn.functional as F
from pytorch_lightning import Trainer
from torch import nn, optim

from recipebench.lightning_modules import MLP
from recipebench.lightning_modules.activations import ACTIVATIONS as ALL_ACTIVATIONS
from recipebench.lightning_modules.initializers import INITIALIZERS as ALL_INITIALIZERS
from recipebench.lightning_modules.losses import LOSSES as ALL_LOSSES
from recipebench.lightning_modules.optimizers import ELEMENTWISE
from recipebench.lightning_modules.packed import PackedModule, obstacle
from recipebench.lightning_modules.regularizers import CALLBACKS, LAYERS, OPTIMIZER_OPTIONS
from recipebench.lightning_modules.regularizers import PENALTIES as ALL_PENALTIES
from recipebench.lightning_modules.schedules import SCHEDULES as ALL_SCHEDULES

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
    "step": lambda: Function(lambda x: torch.where(x > 0, 1.0, 0.0) + 0 * x),
    "hardmax": lambda: Function(lambda x: F.one_hot(x.argmax(1), x.shape[1]) + 0 * x),
}
OPTIMIZERS = {
    "sgd": lambda p, **o: optim.SGD(p, lr=0.1, **o),
    "momentum": lambda p, **o: optim.SGD(p, lr=0.05, momentum=0.9, **o),
    "momentum_averaged": lambda p, **o: Averaged(p, **{"lr": 0.1, **o}),
    "momentum_velocity": lambda p, **o: Velocity(p, **{"lr": 0.05, **o}),
    "nesterov": lambda p, **o: optim.SGD(p, lr=0.05, momentum=0.9, nesterov=True, **o),
    "adagrad": lambda p, **o: optim.Adagrad(p, lr=0.01, **o),
    "rmsprop": lambda p, **o: optim.RMSprop(p, lr=0.001, alpha=0.99, eps=1e-8, **o),
    "adam": lambda p, **o: optim.Adam(p, lr=0.001, **o),
    "adamw": lambda p, **o: optim.AdamW(p, **{"lr": 0.001, "weight_decay": 0.01, **o}),
}
RATES = {
    "sgd": 0.1,
    "momentum": 0.05,
    "momentum_averaged": 0.1,
    "momentum_velocity": 0.05,
    "nesterov": 0.05,
    "adagrad": 0.01,
    "rmsprop": 0.001,
    "adam": 0.001,
    "adamw": 0.001,
}
INITIALIZERS = [
    *("xavier", "xavier_fan_in", "he", "small_gaussian", "torch_default"),
    *("constant", "variance_preserving"),
]
PENALTIES = ["none", "l1", "l2", "weight_decay", "early_stopping", "convergence_stopping"]
STRENGTH = 0.01
LAYERED = {
    "dropout": {"dropout": {}},
    "dropout at test": {"dropout": {"scaling": "at_test"}},
    "dropout per layer": {"dropout_per_layer": {"p": [0.2, 0.5]}},
    "dropout of no input": {"dropout_per_layer": {"p": [0.0, 0.5]}},
    "batch_norm": {"batch_norm": {}},
    "batch_norm after": {"batch_norm": {"position": "after"}},
}
LOSSES = {
    "mse": lambda o, y: F.mse_loss(o, y, reduction="none")[:, 0],
    "half_mse": lambda o, y: F.mse_loss(o, y, reduction="none")[:, 0] / 2,
    "l1": lambda o, y: F.l1_loss(o, y, reduction="none")[:, 0],
    "huber": lambda o, y: F.huber_loss(o, y, reduction="none")[:, 0],
    "cross_entropy": lambda o, y: F.cross_entropy(o, y, reduction="none"),
    "label_smoothing": lambda o, y: F.cross_entropy(o, y, reduction="none", label_smoothing=0.1),
    "bce": None,  # torch's own depends on where in a batch a number stands; see test_losses
    "one_hot_mse": lambda o, y: (o - F.one_hot(y, o.shape[1])).square().mean(1),
    "probability_mse": lambda o, y: (o.softmax(1) - F.one_hot(y, o.shape[1])).square().mean(1),
    "multi_margin": lambda o, y: F.multi_margin_loss(o, y, reduction="none"),
    "perceptron": lambda o, y: o.max(1).values - o.gather(1, y.view(-1, 1))[:, 0],
}
SCHEDULES = {
    "constant": lambda epoch: 1.0,
    "inverse_time": lambda epoch: 1 / (1 + epoch),
    "exponential": lambda epoch: 0.95**epoch,
    "root": lambda epoch: 1 / math.sqrt(epoch),
    "staircase": lambda epoch: 0.5 ** ((epoch - 1) // 5),
    "manual": lambda epoch: 0.1 ** ((epoch > 5) + (epoch > 8)),
    "cosine": lambda epoch: (1 + math.cos(math.pi * (epoch - 1) / 9)) / 2,
    "warmup": lambda epoch: min(1.0, epoch / 5),
    "plateau": None,  # torch's ReduceLROnPlateau itself
}
VALIDATION = [3.0, 2.0, 2.0, 2.5, 2.0, 1.0, 1.0, 1.0, 1.0]


def test_every_level_is_held_against_plain_pytorch():
    assert set(ACTIVATIONS) == set(ALL_ACTIVATIONS)
    assert set(INITIALIZERS) == set(ALL_INITIALIZERS)
    assert set(OPTIMIZERS) == set(RATES) == ELEMENTWISE
    assert set(LOSSES) == set(ALL_LOSSES)
    assert set(SCHEDULES) == set(ALL_SCHEDULES)
    assert set(PENALTIES) == {"none", *ALL_PENALTIES, *OPTIMIZER_OPTIONS, *CALLBACKS}
    assert {name for spec in LAYERED.values() for name in spec} == set(LAYERS)


class Function(nn.Module):
    """A function as a layer."""

    def __init__(self, function):
        super().__init__()
        self.forward = function


class Momentum(optim.Optimizer):
    """Momentum written out, one parameter after the other."""

    def __init__(self, parameters, lr, weight_decay=0.0):
        super().__init__(parameters, {"lr": lr})
        self.parameters, self.decay = parameters, weight_decay
        self.velocities = [torch.zeros_like(p) for p in parameters]

    @torch.no_grad()
    def step(self):
        for p, v in zip(self.parameters, self.velocities, strict=True):
            g = p.grad.add(p, alpha=self.decay) if self.decay else p.grad
            self.move(p, v, g, self.param_groups[0]["lr"])


class Averaged(Momentum):
    def move(self, p, v, g, lr):
        v.mul_(0.9).add_(g, alpha=1 - 0.9)
        p.add_(v, alpha=-lr)


class Velocity(Momentum):
    def move(self, p, v, g, lr):
        v.mul_(0.9).add_(g, alpha=-lr)
        p.add_(v)


class Reference:
    """One cell in plain PyTorch: a loop over batches, autograd, a stock optimizer."""

    def __init__(self, width, task, activation, regularizer, optimizer, start, loss=None):
        self.task, self.regularizer = task, regularizer
        self.loss = LOSSES[loss or ("cross_entropy" if task == "classification" else "mse")]
        self.pieces = 2 if activation == "maxout" else 1
        outputs = 10 if task == "classification" else 1
        self.first = nn.Linear(FEATURES, width * self.pieces)
        before, after = regularizer == "batch_norm", regularizer == "batch_norm after"
        self.norm = nn.BatchNorm1d(width * (self.pieces if before else 1)) if before or after else None
        self.function = ACTIVATIONS[activation]() if self.pieces == 1 else Function(self.largest)
        self.last = nn.Linear(width, outputs)
        self.modules = [
            *([nn.Dropout(0.2)] if regularizer == "dropout per layer" else []),
            self.first,
            *([self.norm] if before else []),
            self.function,
            *([self.norm] if after else []),
            *([self.dropout(regularizer)] if "dropout" in regularizer else []),
            self.last,
        ]
        self.parameters = [p for m in self.modules for p in m.parameters()]
        for parameter, value in zip(self.parameters, start, strict=True):
            parameter.data.copy_(value)
        decay = {"weight_decay": STRENGTH} if regularizer == "weight_decay" else {}
        self.optimizer = OPTIMIZERS[optimizer](self.parameters, **decay)

    def largest(self, x):
        return x.view(len(x), -1, 2).max(dim=2).values

    def dropout(self, regularizer):
        if regularizer == "dropout at test":
            return Function(lambda x: x * torch.empty_like(x).bernoulli_(0.5))
        return nn.Dropout(0.5)

    def step(self, x, y):
        outputs = x
        for module in self.modules:
            outputs = module(outputs)
        each = self.loss(outputs, y)
        loss = each.mean()
        if self.loss is LOSSES["cross_entropy"]:
            loss = F.cross_entropy(outputs, y)
        if self.loss is LOSSES["mse"]:
            loss = F.mse_loss(outputs, y)
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
    """Every optimizer at least once; with relu every initializer and penalty too, beside other neighbors."""
    each = [(o, "he", layers if layers in LAYERED else "none") for o in OPTIMIZERS]
    if layers != "relu":
        return each
    each += [("sgd", i, "none") for i in INITIALIZERS if i != "he"]
    each += [(o, "xavier", p) for p in PENALTIES[1:] for o in ("sgd", "adam", "adamw")]
    return sorted(each)


def build(width, task, activation, recipe, seed, **more):
    optimizer, initializer, regularizer = recipe
    strength = {"strength": STRENGTH} if regularizer in ("l1", "l2", "weight_decay") else {}
    return MLP(
        in_features=FEATURES,
        hidden=[width],
        out_features=10 if task == "classification" else 1,
        task=task,
        activation=activation,
        initializer=initializer,
        regularizer=LAYERED.get(regularizer, {regularizer: strength}),
        optimizer={optimizer: {"lr": RATES[optimizer]}},
        init_seed=seed,
        **more,
    )


@functools.cache
def trainer_of(epochs):
    return Trainer(max_epochs=epochs, accelerator="cpu", logger=False, enable_checkpointing=False)


def train_packed(modules, task, samples, batch_size, epochs=EPOCHS):
    x, y = problem(task, samples)
    members = range(len(modules))
    pack = PackedModule(modules, [500 + k for k in members])
    pack.trainer = trainer_of(epochs)
    pack.configure_optimizers()
    losses, penalties = [], []
    for epoch in range(epochs):
        orders = torch.stack([order(k, epoch, samples) for k in members])
        for batch in orders.split(batch_size, dim=1):
            each, penalty = pack.step(x[batch], y[batch])
            losses.append(each)
            penalties.append(penalty)
        pack.validation_losses = dict.fromkeys(members, VALIDATION[epoch])
        pack.on_train_epoch_end()
    return torch.cat(losses, 1), torch.stack(penalties)


def train_plain(reference, member, task, samples, batch_size, epochs=EPOCHS, schedule=None):
    x, y = problem(task, samples)
    losses, penalties = [], []
    rate = reference.optimizer.param_groups[0]["lr"]
    plateau = schedule == "plateau" and optim.lr_scheduler.ReduceLROnPlateau(reference.optimizer, patience=2)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(500 + member)
        for epoch in range(epochs):
            if SCHEDULES.get(schedule):
                reference.optimizer.param_groups[0]["lr"] = rate * SCHEDULES[schedule](epoch + 1)
            if plateau and epoch:
                plateau.step(VALIDATION[epoch - 1])
            for batch in order(member, epoch, samples).split(batch_size):
                each, penalty = reference.step(x[batch], y[batch])
                losses.append(each)
                penalties.append(penalty)
    return torch.cat(losses), torch.stack(penalties)


@pytest.mark.parametrize(("samples", "batch_size"), BATCHES.values(), ids=BATCHES.keys())
@pytest.mark.parametrize("task", ["classification", "regression"])
@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("layers", [*ACTIVATIONS, *LAYERED])
def test_a_pack_has_the_bits_of_plain_pytorch(layers, width, task, samples, batch_size):
    activation = layers if layers in ACTIVATIONS else "relu"
    plans = recipes(layers)
    modules = [build(width, task, activation, recipe, seed) for seed, recipe in enumerate(plans)]
    starts = [[p.detach().clone() for p in module.parameters()] for module in modules]
    if "batch_norm" in layers and samples % batch_size == 1:
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
        if "batch_norm" in recipe[2]:
            norm = module.network.norm_1
            assert same(norm.running_mean, reference.norm.running_mean)
            assert same(norm.running_var, reference.norm.running_var)
            assert norm.num_batches_tracked == reference.norm.num_batches_tracked


@pytest.mark.parametrize(("samples", "batch_size"), BATCHES.values(), ids=BATCHES.keys())
@pytest.mark.parametrize("width", [10, 1])
@pytest.mark.parametrize("loss", LOSSES)
def test_every_loss_has_the_bits_of_plain_pytorch(loss, width, samples, batch_size):
    task = "regression" if loss in ("mse", "half_mse", "l1", "huber") else "classification"
    plans = [(optimizer, "he", "none") for optimizer in ("sgd", "adam", "momentum")]
    modules = [build(width, task, "relu", plan, seed, loss=loss) for seed, plan in enumerate(plans)]
    starts = [[p.detach().clone() for p in module.parameters()] for module in modules]

    losses, _ = train_packed(modules, task, samples, batch_size)

    for k, (recipe, module) in enumerate(zip(plans, modules, strict=True)):
        reference = Reference(width, task, "relu", "none", recipe[0], starts[k], loss)
        reference.loss = reference.loss or ALL_LOSSES[loss]
        expected, _ = train_plain(reference, k, task, samples, batch_size)
        assert same(losses[k], expected), recipe
        for got, want in zip(module.parameters(), reference.parameters, strict=True):
            assert same(got.detach(), want.detach()), recipe


@pytest.mark.parametrize("optimizer", ["sgd", "momentum", "momentum_velocity", "adam", "adamw"])
def test_every_schedule_has_the_bits_of_plain_pytorch(optimizer):
    epochs = len(VALIDATION)
    plans = [*SCHEDULES, "plateau", "cosine", "cosine"]
    modules = [
        build(10, "classification", "relu", (optimizer, "he", "none"), seed, schedule=schedule)
        for seed, schedule in enumerate(plans)
    ]
    starts = [[p.detach().clone() for p in module.parameters()] for module in modules]

    losses, _ = train_packed(modules, "classification", 47, 10, epochs)

    for k, (schedule, module) in enumerate(zip(plans, modules, strict=True)):
        reference = Reference(10, "classification", "relu", "none", optimizer, starts[k])
        expected, _ = train_plain(reference, k, "classification", 47, 10, epochs, schedule)
        assert same(losses[k], expected), schedule
        for got, want in zip(module.parameters(), reference.parameters, strict=True):
            assert same(got.detach(), want.detach()), schedule


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
        (changed(lambda m: m.bfloat16()), "torch.bfloat16"),
        (changed(lambda m: m.network.output.double()), "torch.float32 on cpu and torch.float64 on cpu"),
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
