"""Vector forms against stock optimizers, one for each member and each parameter by itself, as integers."""

import copy
import itertools
from types import SimpleNamespace

import pytest
import torch
from torch import nn, optim

from recipebench.levels import Choice
from recipebench.lightning_modules.optimizers import ELEMENTWISE, OPTIMIZERS, AveragedMomentum
from recipebench.lightning_modules.packed import optimizers as packed_optimizers
from recipebench.lightning_modules.packed.optimizers import pack_optimizers
from recipebench.lightning_modules.packed.stack import ParameterStack
from recipebench.lightning_modules.packed.vector_optimizers import (
    VECTOR_FORMS,
    VectorAdam,
    VectorOptimizer,
    VectorSGD,
    vector_form,
)
from recipebench.lightning_modules.schedule_rules import scheduled_rate

K, STEPS = 7, 50
WIDTHS = [6, 50, 10, 7, 1]
RATES = [0.1, 3e-3, 0.37, 1e-45, 2.0, 2.0, 1e4]
DECAYS = {
    "no decay": [0.0] * K,
    "decay": [1e-4, 0.3, 1e-50, 5e-4, 0.02, 0.02, 1.0],
    "decay for some": [0.0, 0.3, 1e-50, 0.0, 0.02, 0.02, 0.0],
}
MOMENTA = {"momentum": [0.9, 0.99, 0.5, 0.0, 0.95, 0.95, 1e-50]}
AVERAGES = {
    "beta1": [0.9, 0.8, 0.0, 0.45, 0.99, 0.99, 0.99999],
    "beta2": [0.999, 0.99, 0.0, 0.9, 0.5, 0.5, 0.99999],
}
EPSILONS = {"eps": [1e-8, 1e-10, 1e-3, 1e-44, 0.1, 0.1, 1e-7]}
VARIED = {
    "sgd": {},
    "momentum": MOMENTA,
    "momentum_averaged": MOMENTA,
    "momentum_velocity": MOMENTA,
    "nesterov": {"momentum": [0.9, 0.99, 0.5, 0.3, 0.95, 0.95, 1e-50]},
    "adagrad": EPSILONS,
    "rmsprop": {"alpha": [0.99, 0.9, 0.0, 0.5, 0.999, 0.999, 0.99999], **EPSILONS},
    "adam": {**AVERAGES, **EPSILONS},
    "adamw": {**AVERAGES, **EPSILONS},
}
SCHEDULES = [
    Choice("constant", {}),
    Choice("inverse_time", {"decay": 1.0, "first_epoch": 1}),
    Choice("cosine", {"minimum": 0.1}),
    Choice("warmup", {"length": 3}),
    Choice("constant", {}),
]


def network():
    return nn.Sequential(*(nn.Linear(a, b) for a, b in itertools.pairwise(WIDTHS)))


def member(name, schedule=SCHEDULES[0], **options):
    return SimpleNamespace(
        optimizer=Choice(name, options), schedule=schedule, optimizer_options=lambda: options
    )


def members_of(name, decay):
    columns = {"lr": RATES, "weight_decay": DECAYS[decay], **VARIED[name]}
    return [member(name, **{option: values[k] for option, values in columns.items()}) for k in range(K)]


def packed(members, epochs=1):
    """Return the networks, copies of them, the stack that holds the networks, and its optimizers."""
    torch.manual_seed(3)
    networks = [network() for _ in members]
    alone = copy.deepcopy(networks)
    stack = ParameterStack(networks, [0] * len(members))
    return networks, alone, stack, pack_optimizers(stack, members, OPTIMIZERS, epochs)


def wild(shape, generator):
    """Draw gradients of all sizes and signs; some are denormal, some zero, a few not finite."""
    exponents = torch.rand(shape, generator=generator) * 50 - 44
    odd = torch.tensor([0.0, -0.0, 1e-45, -1e-40, 3e38, float("inf"), float("-inf"), float("nan")])
    drawn = odd[torch.randint(len(odd), shape, generator=generator)]
    sizes = torch.where(torch.rand(shape, generator=generator) < 0.5, 1.0, 10.0**exponents)
    rare = torch.rand(shape, generator=generator) < 0.003
    return torch.where(rare, drawn, torch.randn(shape, generator=generator) * sizes)


def take_steps(stack, slices, alone, optimizers, steps, generator):
    for _ in range(steps):
        for k, plain in enumerate(alone):
            for name, parameter in plain.named_parameters():
                parameter.grad = wild(parameter.shape, generator)
                stack.grad(name)[k] = parameter.grad
            optimizers[k].step()
        for part in slices:
            part.optimizer.step()


def assert_same_bits(networks, alone):
    for packed_one, plain in zip(networks, alone, strict=True):
        for got, expected in zip(packed_one.parameters(), plain.parameters(), strict=True):
            assert torch.equal(got.data.view(torch.int32), expected.data.view(torch.int32))


def stock(members, alone):
    pairs = zip(members, alone, strict=True)
    return [OPTIMIZERS[m.optimizer.name](plain.parameters(), **m.optimizer_options()) for m, plain in pairs]


def test_every_optimizer_is_tried_and_every_form_is_reached():
    weights = [nn.Parameter(torch.zeros(1, 1))]
    forms = {type(make(weights)) for make in OPTIMIZERS.values()}

    assert set(VARIED) == set(OPTIMIZERS) == set(ELEMENTWISE)
    assert forms == set(VECTOR_FORMS)


@pytest.mark.parametrize("rows", [1, 3, K])
@pytest.mark.parametrize("decay", DECAYS)
@pytest.mark.parametrize("name", VARIED)
def test_a_vector_form_has_the_bits_of_stock_optimizers(name, decay, rows, monkeypatch):
    members = members_of(name, decay)
    size = ParameterStack([network()], [0]).values.shape[1]
    monkeypatch.setattr(packed_optimizers, "CHUNK", rows * size)
    networks, alone, stack, slices = packed(members)
    start = copy.deepcopy(alone)

    take_steps(stack, slices, alone, stock(members, alone), STEPS, torch.Generator().manual_seed(5))

    (part,) = slices
    assert isinstance(part.optimizer, VectorOptimizer)
    assert len(part.optimizer.param_groups) == K - 1
    assert_same_bits(networks, alone)
    moved = torch.cat([(a - b).flatten() for a, b in zip(weights(alone), weights(start), strict=True)])
    assert (moved.isfinite() & (moved != 0)).float().mean() > 0.3


def weights(networks):
    return [p.data for network in networks for p in network.parameters()]


@pytest.mark.parametrize("name", VARIED)
def test_rates_follow_a_schedule_for_each_member(name):
    epochs, rates = 4, [0.1, 0.03, 0.7, 1e-3, 0.2]
    members = [member(name, s, lr=lr) for s, lr in zip(SCHEDULES, rates, strict=True)]
    networks, alone, stack, slices = packed(members, epochs)
    (part,) = slices
    optimizers = stock(members, alone)
    generator = torch.Generator().manual_seed(6)

    for epoch in range(1, epochs + 1):
        expected = [scheduled_rate(m.schedule, m.optimizer_options()["lr"], epoch, epochs) for m in members]
        assert part.rates == expected
        for optimizer, rate in zip(optimizers, expected, strict=True):
            optimizer.param_groups[0]["lr"] = rate
        take_steps(stack, slices, alone, optimizers, 3, generator)
        part.end_epoch({})

    assert_same_bits(networks, alone)


def test_members_with_one_recipe_share_a_stock_optimizer_and_others_a_vector_form():
    plateau = Choice("plateau", {"factor": 0.1, "patience": 2})
    members = [
        *(member("adam", lr=0.1), member("adam", lr=0.1)),
        *(member("sgd", lr=0.1), member("sgd", lr=0.2), member("sgd", lr=0.2), member("sgd", lr=0.1)),
        *(member("sgd", plateau, lr=0.1), member("sgd", plateau, lr=0.1)),
        *(member("momentum", lr=0.3), member("nesterov", lr=0.3)),
    ]

    *_, slices = packed(members)

    kinds = [(type(part.optimizer), part.members) for part in slices]
    assert kinds == [
        (optim.Adam, range(2)),
        (VectorSGD, range(2, 6)),
        *((optim.SGD, range(k, k + 1)) for k in (6, 7, 8, 9)),
    ]
    assert [rate for part in slices for rate in part.rates] == [m.optimizer_options()["lr"] for m in members]
    assert [len(group["params"][0]) for group in slices[1].optimizer.param_groups] == [1, 2, 1]


def test_only_what_is_known_has_a_vector_form():
    class Odd(optim.SGD):
        """A subclass may do anything."""

    parameters = [nn.Parameter(torch.zeros(1, 2))]
    hooked = optim.SGD(parameters)
    hooked.register_step_pre_hook(lambda *_: None)

    assert vector_form(Odd(parameters)) is None
    assert vector_form(hooked) is None
    assert vector_form(optim.SGD(parameters, momentum=0.9, dampening=0.1)) is None
    assert vector_form(optim.Adam(parameters, amsgrad=True)) is None
    assert vector_form(optim.Adagrad(parameters, lr_decay=0.1)) is None
    assert vector_form(optim.RMSprop(parameters, centered=True)) is None
    assert (
        vector_form(optim.Adam([{"params": parameters}, {"params": [nn.Parameter(torch.ones(1))]}])) is None
    )
    assert vector_form(optim.Adam(parameters)) == (VectorAdam, [False])
    assert vector_form(optim.AdamW(parameters)) == (VectorAdam, [True])
    assert vector_form(AveragedMomentum(parameters, 0.1, 0.9, 0.0)) is not None


@pytest.mark.parametrize("name", ["sgd", "adam"])
def test_a_rate_that_stock_optimizers_refuse_is_refused(name):
    members = [member(name, lr=0.1), member(name, lr=1e39)]
    _, alone, stack, (part,) = packed(members)
    stack.grads.fill_(1.0)
    for parameter in alone[1].parameters():
        parameter.grad = torch.ones_like(parameter)

    with pytest.raises(RuntimeError, match="without overflow"):
        stock(members, alone)[1].step()
    with pytest.raises(RuntimeError, match="expected numbers that fit in float32"):
        part.optimizer.step()


def test_a_nesterov_without_momentum_is_refused_as_by_torch():
    with pytest.raises(ValueError, match="Nesterov momentum requires a momentum"):
        packed([member("nesterov", lr=0.1, momentum=0.9), member("nesterov", lr=0.1, momentum=0.0)])


def test_a_closure_is_evaluated_before_the_step():
    row = nn.Parameter(torch.ones(1, 2))
    row.grad = torch.zeros(1, 2)
    vector = VectorSGD(optim.SGD([row], lr=0.5).param_groups, [row])

    def closure():
        assert torch.is_grad_enabled()
        row.grad.fill_(1.0)
        return 7.0

    assert vector.step(closure) == 7.0
    assert row.tolist() == [[0.5, 0.5]]
