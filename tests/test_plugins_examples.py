"""The tutorial in suites, packed or alone as it says, and the two optimizers of packages."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import lion_pytorch
import prodigyopt
import pytest
import torch

from recipebench import plugins
from recipebench.benchmarks import conformance, packs, training
from recipebench.benchmarks.cells import Cell, expand
from recipebench.benchmarks.own_packing import packing_of
from recipebench.benchmarks.suite import load_suite
from recipebench.lightning_modules.optimizers import OPTIMIZERS

DOCS = Path(__file__).resolve().parent.parent / "docs"
PAGE = (DOCS / "plugins.md").read_text("utf-8")
TUTORIAL = dict(re.findall(r"<!-- file (\w+\.py) -->\n```python\n(.*?)```", PAGE, re.DOTALL))
PACKAGES = ("lion_pytorch", "prodigy")

Load = Callable[..., None]


@pytest.fixture
def load(tmp_path: Path) -> Iterator[Load]:
    """Load files of the tutorial."""

    def written(*names: str) -> None:
        for name in names:
            path = tmp_path / f"{name}.py"
            path.write_text(TUTORIAL[path.name], encoding="utf-8")
            plugins.load(path)

    yield written
    plugins.unload()


@pytest.fixture
def packages() -> Iterator[None]:
    """Load the two examples as they lie in the folder."""
    for name in PACKAGES:
        plugins.load(DOCS / "plugins" / f"{name}.py")
    yield
    plugins.unload()


def cells_of(data: Any, model: Any, **matrix: list[Any]) -> list[Cell]:
    suite = {"name": "tutorial", "data": [data], "model": model, "matrix": matrix, "seeds": 2}
    return list(expand(load_suite(suite | {"protocol": {"epochs": 2, "batch_size": 32}})))


def histories(cells: Sequence[Cell]) -> list[list[dict[str, Any]]]:
    return [[{**row, "seconds": 0} for row in r.track.history] for r in training.train(cells, None)]


def assert_packed_as_alone(cells: Sequence[Cell]) -> None:
    assert {packs.signature(cell) for cell in cells} == {packs.signature(cells[0])}
    assert training.why_alone(cells[0]) is None
    assert histories(cells) == [history for cell in cells for history in histories([cell])]


# The tutorial


def test_optimizer_model_and_data_set_of_the_tutorial_share_a_pack(load: Load) -> None:
    load("lion", "tanh_net", "rings")
    cells = cells_of("rings", "tanh_net", optimizer=["lion", "sgd"])

    assert_packed_as_alone(cells)
    packing = packing_of(cells)
    assert packing is not None
    assert (packing.elementwise, packing.alone) == ({"lion"}, {})


def test_the_activation_of_the_tutorial_trains_alone(load: Load) -> None:
    load("swish", "rings")
    cells = cells_of("rings", {"mlp": {"hidden": [6]}}, activation=["swish"])

    packing = packing_of(cells)
    assert packing is not None
    assert set(packing.alone) == {cell.id for cell in cells}
    assert set(packing.alone.values()) == {"layer activation_1 (Swish) has no packed form"}
    for history in histories(cells):
        assert history[-1]["train_loss"] < history[0]["train_loss"]


def test_the_loss_of_the_tutorial_packs(load: Load) -> None:
    load("plain_entry")

    assert_packed_as_alone(
        cells_of({"synthetic_regression": {"n": 60}}, {"mlp": {"hidden": [6]}}, loss=["log_cosh"])
    )


def test_lion_of_the_tutorial_is_lion_of_the_package(load: Load) -> None:
    load("lion")
    ours, theirs = (torch.nn.Parameter(torch.linspace(-1, 1, 7)) for _ in range(2))
    steps = OPTIMIZERS["lion"]([ours], lr=0.01), lion_pytorch.Lion([theirs], lr=0.01)

    for step in range(20):
        for w, optimizer in zip((ours, theirs), steps, strict=True):
            w.grad = torch.sin(3 * w.data + step)
            optimizer.step()

    torch.testing.assert_close(ours, theirs)


# The packages


@pytest.mark.usefixtures("packages")
def test_the_examples_pass_all_checks_as_the_page_says() -> None:
    for name in PACKAGES:
        assert str(conformance.check("optimizer", name)) in PAGE.splitlines()


@pytest.mark.usefixtures("packages")
@pytest.mark.parametrize(
    ("name", "theirs", "options"),
    [
        ("lion_pytorch", lion_pytorch.Lion, {"lr": 0.02, "betas": (0.8, 0.95)}),
        ("prodigy", prodigyopt.Prodigy, {"lr": 0.5, "betas": (0.8, 0.95), "d_coef": 2.0}),
    ],
)
def test_the_examples_hand_all_hyper_parameters_on(name: str, theirs: type, options: dict[str, Any]) -> None:
    weights = [torch.nn.Parameter(torch.linspace(-1, 1, 7)) for _ in range(2)]
    betas = dict(zip(("beta1", "beta2"), options["betas"], strict=True))
    given = {key: value for key, value in options.items() if key != "betas"}
    steps = OPTIMIZERS[name](weights[:1], **given, **betas), theirs(weights[1:], **options)

    for _ in range(20):
        for w, optimizer in zip(weights, steps, strict=True):
            w.grad = 2 * w.data
            optimizer.step()

    assert torch.equal(weights[0], weights[1])


@pytest.mark.usefixtures("packages")
def test_the_suite_of_the_examples_packs_all_with_the_bits_of_each_alone() -> None:
    cells = list(expand(load_suite(DOCS / "plugins" / "optimizers.yaml")))

    assert {cell.optimizer.name for cell in cells if cell.optimizer} == {"adam", "sgd", *PACKAGES}
    assert_packed_as_alone([cell for cell in cells if cell.seed < 2])
    packing = packing_of(cells)
    assert packing is not None
    assert (packing.elementwise, packing.alone) == ({"lion_pytorch"}, {})


def test_prodigy_declared_elementwise_is_refused_as_the_page_says(tmp_path: Path) -> None:
    text = (DOCS / "plugins" / "prodigy.py").read_text("utf-8")
    path = tmp_path / "prodigy.py"
    path.write_text(text.replace("@optimizer\n", "@optimizer(elementwise=True)\n"), encoding="utf-8")
    plugins.load(path)
    try:
        problem = conformance.check("optimizer", "prodigy").problems["element-wise"]
    finally:
        plugins.unload()

    assert f"optimizer prodigy: element-wise: {problem.partition(', got a')[0]}\n" in PAGE
