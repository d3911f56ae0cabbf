"""Forms of packs for devices where bits are not promised, held on this processor against the exact ones."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from recipebench.lightning_modules import CNN, MLP, OPTIMIZERS, exactness
from recipebench.lightning_modules.packed import PackedModule, graphs, vector_optimizers
from recipebench.lightning_modules.packed.linear import sharers
from recipebench.lightning_modules.packed.noise import CounterNoise, mixed
from recipebench.lightning_modules.packed.penalties import alike
from recipebench.lightning_modules.shares import Share

PENALTIES = ("none", {"l1": {"strength": 0.01}}, {"l2": {"strength": 0.02}}, "weight_decay")
RECIPES: dict[str, list[dict[str, Any]]] = {
    **{name: [{"optimizer": name}] * 3 for name in OPTIMIZERS},
    **{
        f"rates of {name}": [{"optimizer": {name: {"lr": lr}}} for lr in (0.001, 0.002, 0.004)]
        for name in OPTIMIZERS
    },
    "all optimizers": [{"optimizer": name} for name in OPTIMIZERS],
    "penalties": [{"optimizer": o, "regularizer": p} for o in ("sgd", "adam") for p in PENALTIES],
    "strengths": [{"regularizer": {"l1": {"strength": s}}} for s in (0.01, 0.02, 0.03)],
    "sigmoid": [{"activation": "sigmoid"}] * 3,
    "maxout": [{"activation": "maxout"}] * 3,
    "batch_norm": [{"regularizer": "batch_norm"}] * 3,
    "annealed": [{"optimizer": name, "schedule": "cosine"} for name in ("sgd", "adam", "rmsprop")],
}
BATCHES = (10, 10, 7, 1)
IMAGES = {"in_shape": (1, 8, 8), "channels": [2, 3], "kernel": 3, "padding": 1, "hidden": [5]}


@pytest.fixture
def elsewhere(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Have this processor count as a device on which no bits are promised, once it is called."""

    def move() -> None:
        monkeypatch.setattr(exactness, "promises_bits", lambda device: False)

    return move


def perceptrons(recipes: Sequence[dict[str, Any]], **options: Any) -> PackedModule:
    members = [
        MLP(in_features=6, hidden=(7, 4), out_features=3, init_seed=k, **recipe).double()
        for k, recipe in enumerate(recipes)
    ]
    return ready(PackedModule(members, range(len(members)), **options))


def networks(**options: Any) -> PackedModule:
    members = [CNN(**IMAGES, out_features=3, init_seed=k).double() for k in range(3)]
    return ready(PackedModule(members, range(3), **options))


def ready(pack: PackedModule) -> PackedModule:
    pack.trainer = SimpleNamespace(max_epochs=4)  # type: ignore[assignment]
    pack.configure_optimizers()
    return pack


def batches(members: int, shape: tuple[int, ...] = (6,), *, shared: bool = False) -> list[tuple[Any, Tensor]]:
    generator = torch.Generator().manual_seed(0)
    found: list[tuple[Any, Tensor]] = []
    for size in BATCHES:
        orders = torch.randn(2, size, *shape, generator=generator, dtype=torch.float64)
        places = [k % 2 for k in range(members)]
        inputs: Any = [orders.unbind()[p] for p in places] if shared else orders[torch.tensor(places)]
        found.append((inputs, torch.randint(3, (members, size), generator=generator)))
    return found


def train(pack: PackedModule, given: Sequence[tuple[Any, Tensor]], epochs: int = 3) -> list[Tensor]:
    told = []
    for _ in range(epochs):
        outputs = pack.training_step([(x, y, y.shape[1]) for x, y in given], 0)
        told += [outputs["losses"], outputs["penalties"]]
        pack.on_train_epoch_end()
    return [*told, pack.stack.values]


@pytest.mark.parametrize("name", RECIPES)
@pytest.mark.parametrize("shared", [False, True])
def test_perceptrons_train_as_on_a_processor(name: str, shared: bool, elsewhere: Callable[[], None]) -> None:
    recipes = RECIPES[name]
    given = batches(len(recipes), shared=shared)
    given = given[:3] if name == "batch_norm" else given
    exact = train(perceptrons(recipes), given)

    elsewhere()
    pack = perceptrons(recipes)
    found = train(pack, given)

    assert not pack.stack.exact
    torch.testing.assert_close(found, exact, rtol=1e-9, atol=1e-11)


def test_convolutions_in_groups_are_those_of_each(elsewhere: Callable[[], None]) -> None:
    given = batches(3, (1, 8, 8))
    exact = train(networks(), given)

    elsewhere()

    torch.testing.assert_close(train(networks(), given), exact, rtol=1e-9, atol=1e-11)


def test_one_kernel_and_one_tensor_serve_an_optimizer(elsewhere: Callable[[], None]) -> None:
    elsewhere()
    pack = perceptrons([{"optimizer": name} for name in ("adam", "adam", "rmsprop", "rmsprop", "rmsprop")])
    adam, rmsprop = (part.optimizer for part in pack._slices)

    assert adam.param_groups[0]["fused"]
    assert [len(p) for p in adam.param_groups[0]["params"]] == [2]
    assert isinstance(rmsprop, vector_optimizers.VectorRMSprop)
    assert [len(p) for p in rmsprop.param_groups[0]["params"]] == [3]


def test_sharers_cover_every_member_once() -> None:
    tensors = [torch.zeros(1) for _ in range(3)]
    order = [0, 1, 2, 0, 1, 2, 2, 0, 1, 1]

    groups = sharers([tensors[i] for i in order])

    covered = sorted(place for group, _ in groups for place in range(*group.indices(len(order))))
    assert covered == list(range(len(order)))
    assert all(given is tensors[order[place]] for group, given in groups for place in range(10)[group])


@pytest.mark.parametrize("places", [[3], [0, 1, 2], [1, 2, 6, 7, 11, 12], [0, 2, 3, 9], [0, 1, 5, 6, 8, 9]])
def test_places_alike_are_the_places(places: list[int]) -> None:
    rows = torch.arange(40.0).view(20, 2)[:, :1]

    groups = alike(places)

    assert [place for group in groups for place in group] == places
    viewed = [group.of(rows).flatten(0, 1) for group in groups]
    assert torch.equal(torch.cat(viewed), rows[places])


# Noise


def test_hash_is_splitmix() -> None:
    def reference(z: int) -> int:
        z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
        z = (z ^ (z >> 27)) * 0x94D049BB133111EB % 2**64
        return z ^ (z >> 31)

    numbers = [0, 1, 2**40 + 12345, 2**63 - 1, -1, -(2**63)]

    found = mixed(torch.tensor(numbers)).tolist()

    assert [n % 2**64 for n in found] == [reference(n % 2**64) for n in numbers]


def test_noise_of_a_member_is_the_same_in_every_pack() -> None:
    device, like = torch.device("cpu"), torch.empty(3, 50, 20)
    three, one = CounterNoise([5, 6, 7], device), CounterNoise([6], device)

    draws = [(three.bernoulli(like, 0.5), one.bernoulli(like[:1], 0.5)) for _ in range(3)]

    assert all(torch.equal(many[1], single[0]) for many, single in draws)
    assert not torch.equal(draws[0][1], draws[1][1])
    assert not torch.equal(draws[0][0][0], draws[0][0][1])


@pytest.mark.parametrize("probability", [0.0, 0.3, 0.5, 1.0])
def test_noise_has_its_share_of_ones_and_no_pattern(probability: float) -> None:
    noise = CounterNoise(range(40), torch.device("cpu"))
    draws = torch.stack([noise.bernoulli(torch.empty(40, 500), probability) for _ in range(20)]).double()
    deviation = (probability * (1 - probability)) ** 0.5

    for along in ((0, 1, 2), (0, 1), (0, 2), (1, 2)):
        means = draws.mean(along)
        n = draws.numel() / means.numel()
        assert ((means - probability).abs() <= 5 * deviation / n**0.5).all()
    centered = draws - probability
    for shift, dim in ((1, 0), (1, 1), (1, 2), (2, 2), (32, 2)):
        product = (centered * centered.roll(shift, dim)).mean()
        assert abs(float(product)) <= 5 * deviation**2 / draws.numel() ** 0.5


def test_dropout_draws_anew_in_every_step_and_scales(elsewhere: Callable[[], None]) -> None:
    elsewhere()
    pack = perceptrons([{"regularizer": {"dropout": {"p": 0.25}}}] * 2)
    layer = next(each for each in pack.layers if type(each).__name__ == "PackedDropout")

    first, second = (layer.forward(torch.ones(2, 400, 7)) for _ in range(2))

    assert isinstance(first, Tensor)
    assert isinstance(second, Tensor)
    assert first.unique().tolist() == pytest.approx([0, 4 / 3])
    assert not torch.equal(first, second)
    assert abs(float(first.mean()) - 1) < 0.05


# Other numbers between parameters and losses


class Alone:
    """Plain PyTorch under autocast: what `bf16-mixed` means for a module by itself."""

    def __init__(self, member: MLP) -> None:
        self.member, self.optimizer = member, member.configure_optimizers()

    def step(self, x: Tensor, y: Tensor) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            outputs = self.member.network(x)
        losses = F.cross_entropy(outputs.float(), y, reduction="none")
        self.optimizer.zero_grad()
        losses.mean().backward()
        self.optimizer.step()
        return losses.detach()


def test_packs_compute_with_bfloat16_as_autocast_does(elsewhere: Callable[[], None]) -> None:
    def members() -> list[MLP]:
        return [MLP(in_features=20, hidden=(16, 8), out_features=3, init_seed=k) for k in range(2)]

    generator = torch.Generator().manual_seed(0)
    x = torch.randn(6, 2, 32, 20, generator=generator)
    y = torch.randint(3, (6, 2, 32), generator=generator)
    singles = [Alone(member) for member in members()]
    steps = list(zip(x, y, strict=True))
    alone = torch.stack(
        [torch.stack([s.step(*xy) for s, *xy in zip(singles, *both, strict=True)]) for both in steps]
    )

    elsewhere()
    pack = ready(PackedModule(members(), range(2), kind=torch.bfloat16))
    together = torch.stack([pack.step(*both)[0] for both in steps])
    plain = ready(PackedModule(members(), range(2)))
    single_precision = torch.stack([plain.step(*both)[0] for both in steps])

    assert pack.stack.values.dtype == torch.float32
    rounding = float((alone - single_precision).abs().max())
    assert rounding > 1e-4
    assert float((alone - together).abs().max()) < rounding


def test_layers_that_do_not_mix_numbers_are_refused(elsewhere: Callable[[], None]) -> None:
    elsewhere()
    member = MLP(in_features=6, hidden=(7,), out_features=3, regularizer="batch_norm")

    with pytest.raises(ValueError, match=r"BatchNorm1d\) has no packed form for mixed numbers"):
        PackedModule([member], [0], kind=torch.bfloat16)


# Recorded steps


class Tape(TorchDispatchMode):
    """A graph without a device: the operations of a step, in order, with the very tensors that they had."""

    def __init__(self) -> None:
        super().__init__()
        self.operations: list[tuple[Any, Any, Any, Any]] = []

    def __torch_dispatch__(self, function: Any, types: Any, arguments: Any = (), options: Any = None) -> Any:
        result = function(*arguments, **(options or {}))
        self.operations.append((function, arguments, options or {}, result))
        return result

    @torch.no_grad()
    def replay(self) -> None:
        """Do it all again in the memory of the first time; what Python had computed stays as it was."""
        for function, arguments, options, result in self.operations:
            again = function(*arguments, **options)
            kept, new = (torch.utils._pytree.tree_leaves(each) for each in (result, again))
            for old, fresh in zip(kept, new, strict=True):
                if isinstance(old, Tensor) and old.data_ptr() != fresh.data_ptr():
                    old.copy_(fresh)


def tape_capture(pack: list[PackedModule]) -> graphs.Capture:
    """Record as `cuda_capture` does: nothing has happened to the pack when it returns."""

    def capture(work: Callable[[], graphs.Outputs]) -> tuple[Callable[[], object], graphs.Outputs]:
        states = [t for part in pack[0]._slices for t in tensors_of(part.optimizer)]
        states += [pack[0].stack.values, *buffers_of(pack[0])]
        before = [t.clone() for t in states]
        with Tape() as tape:
            outputs = work()
        for state, value in zip(states, before, strict=True):
            state.copy_(value)
        return tape.replay, outputs

    return capture


def buffers_of(pack: PackedModule) -> list[Tensor]:
    noise = pack.stack.noise
    running = [b for member in pack.members for b in member.buffers()]
    return running if noise is None else [*running, noise._draws]


def tensors_of(optimizer: Any) -> list[Tensor]:
    found = [t for state in optimizer.state.values() for t in state.values() if isinstance(t, Tensor)]
    if isinstance(optimizer, vector_optimizers.VectorOptimizer):
        found += [t for _, _, state in optimizer._chunks for t in state.values()]
        found += [*optimizer._whole.values(), *([optimizer._time] if hasattr(optimizer, "_time") else [])]
    return found


RECORDED = {
    **{name: RECIPES[name] for name in RECIPES if name != "batch_norm"},
    "dropout": [{"regularizer": "dropout"}] * 3,
}


@pytest.mark.parametrize("name", RECORDED)
def test_recorded_steps_are_the_steps(name: str, elsewhere: Callable[[], None]) -> None:
    recipes = RECORDED[name]
    given = batches(len(recipes), shared=True)
    elsewhere()
    eager = train(perceptrons(recipes), given, epochs=5)

    pack: list[PackedModule] = []
    pack.append(perceptrons(recipes, capture=tape_capture(pack)))
    found = train(pack[0], given, epochs=5)

    torch.testing.assert_close(found, eager, rtol=0, atol=0)
    taken = pack[0]._take
    assert isinstance(taken, graphs.RecordedSteps)
    if name != "annealed":  # its rates change with every epoch, and each forgets what was recorded
        assert len(taken._recorded) == len(set(BATCHES))


def test_recorded_batch_norm(elsewhere: Callable[[], None]) -> None:
    recipes, given = RECIPES["batch_norm"], batches(3)[:3]
    elsewhere()
    eager = train(perceptrons(recipes), given, epochs=5)

    pack: list[PackedModule] = []
    pack.append(perceptrons(recipes, capture=tape_capture(pack)))

    torch.testing.assert_close(train(pack[0], given, epochs=5), eager, rtol=0, atol=0)


def test_a_number_of_python_would_be_found(elsewhere: Callable[[], None]) -> None:
    """The tape shows what a graph would do to a step whose rate Python computes."""
    elsewhere()
    pack: list[PackedModule] = []
    pack.append(perceptrons([{}] * 2, capture=tape_capture(pack)))
    step, rates = pack[0].step, iter(range(1, 100))

    def drifting(*arguments: Any) -> graphs.Outputs:
        outputs = step(*arguments)
        pack[0].stack.values.mul_(1 + 0.01 * next(rates))
        return outputs

    recorded = graphs.RecordedSteps(drifting, pack[0].learning_rates, tape_capture(pack))
    given = batches(2)[0]
    eager = perceptrons([{}] * 2)
    for i in range(1, 7):
        recorded(*given)
        eager.step(*given)
        eager.stack.values.mul_(1 + 0.01 * i)

    assert not torch.allclose(pack[0].stack.values, eager.stack.values)


@pytest.mark.parametrize(
    ("share", "reason"), [(Share(), None), (Share(0, 2), "several processes add up gradients in every step")]
)
def test_who_is_not_recorded_is_told_why(
    share: Share, reason: str | None, elsewhere: Callable[[], None]
) -> None:
    on_processor = perceptrons([{}]).recording_obstacle()
    elsewhere()

    assert on_processor == "steps are recorded on graphics processors, not on cpu"
    assert perceptrons([{}], share=share).recording_obstacle() == reason


def test_grouped_convolutions_leave_layers_as_they_are(elsewhere: Callable[[], None]) -> None:
    """Members stay plain modules: what a pack has trained, they compute by themselves."""
    elsewhere()
    pack, (x, y) = networks(), batches(3, (1, 8, 8))[0]
    losses, _ = pack.step(x, y)
    member = networks().members[1]

    outputs = member.network(x[1])

    assert isinstance(member.network[0], nn.Conv2d)
    torch.testing.assert_close(losses[1], F.cross_entropy(outputs, y[1], reduction="none"))
