"""Levels of one's own: as the page adds them, in the matrix, in ids and workers, and what is refused."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from torch import nn

import recipebench as rb
from recipebench import plugins
from recipebench.benchmarks import conformance, executor, packs, training
from recipebench.benchmarks.cells import Cell, expand
from recipebench.benchmarks.suite import json_schema, load_suite
from recipebench.datamodules.catalog import DATA, FACTS
from recipebench.datamodules.registry import DATA_MODULES
from recipebench.errors import RequestError
from recipebench.lightning_modules import catalog
from recipebench.lightning_modules.activations import ACTIVATIONS
from recipebench.lightning_modules.optimizers import ELEMENTWISE, OPTIMIZERS
from recipebench.plugins import KINDS

PAGE = Path(__file__).resolve().parent.parent / "docs" / "plugins.md"
FILES = dict(re.findall(r"<!-- file (\w+\.py) -->\n```python\n(.*?)```", PAGE.read_text("utf-8"), re.S))

Write = Callable[..., Path]

SUITE: dict[str, Any] = {
    "name": "own",
    "data": ["rings"],
    "model": "tanh_net",
    "matrix": {"optimizer": ["lion", "sgd"]},
    "seeds": 2,
    "protocol": {"epochs": 1, "batch_size": 64},
}

ROTATE = """
import torch
from recipebench.plugins import optimizer

@optimizer{declared}
class Shrink(torch.optim.Optimizer):
    "Steps against the gradient over its norm, which is of the whole tensor."

    def __init__(self, parameters, lr: float = 0.01):
        super().__init__(parameters, {{"lr": lr}})

    @torch.no_grad()
    def step(self, closure=None):
        with torch.enable_grad():
            loss = closure() if closure else None
        for group in self.param_groups:
            for w in group["params"]:
                w.sub_(w.grad / (w.grad.norm() + 1e-8), alpha=group["lr"])
        return loss
"""

RELU = """
import torch
from torch import nn
from recipebench.plugins import activation

{before}
@activation
class Bent(nn.Module):
    "What a test needs."

    def forward(self, x):
        return {result}
"""

WRONG_GRADIENT = """
class Function(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x * x

    @staticmethod
    def backward(ctx, g):
        return 4 * ctx.saved_tensors[0] * g
"""


@pytest.fixture(autouse=True)
def _clean() -> Iterator[None]:
    before = {axis: (dict(kind.factories), dict(kind.catalog)) for axis, kind in KINDS.items()}
    yield
    plugins.unload()
    assert before == {axis: (dict(kind.factories), dict(kind.catalog)) for axis, kind in KINDS.items()}


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write a plug-in and return its path."""

    def to_file(text: str, name: str = "mine.py") -> Path:
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        return path

    return to_file


def problems(path: Path) -> dict[str, str]:
    """Check a plug-in of one level; return what was found by name of the check."""
    ((axis, name),) = plugins.load(path).levels
    return conformance.check(axis, name).problems


# The page


@pytest.mark.parametrize("name", FILES)
def test_every_file_of_the_page_passes_all_checks(name: str, write: Write) -> None:
    text = FILES[name]

    assert len(text.splitlines()) < 20
    assert problems(write(text, name)) == {}


def test_the_page_has_an_activation_an_optimizer_a_model_and_a_data_set(write: Write) -> None:
    added = [axis for name in FILES for axis, _ in plugins.load(write(FILES[name], name)).levels]

    assert {"activation", "optimizer", "model", "data", "loss"} == set(added)


def test_descriptions_are_read_off_the_code(write: Write) -> None:
    for name in ("swish.py", "lion.py", "rings.py"):
        plugins.load(write(FILES[name], name))
    swish, lion, rings = catalog.ACTIVATIONS["swish"], catalog.OPTIMIZERS["lion"], DATA["rings"]

    assert (swish.summary, swish.formula) == ("A smooth ReLU that dips below 0.", "x / (1 + exp(-beta x))")
    (beta,) = swish.parameters
    assert (beta.name, beta.type, beta.default, beta.summary) == (
        "beta",
        float,
        1.0,
        "slope of the gate at 0",
    )
    assert lion.source == "Chen et al., Symbolic Discovery of Optimization Algorithms, 2023"
    assert [p.name for p in lion.parameters] == ["lr", "momentum"]
    with pytest.raises(RequestError, match=r"optimizer lion: lr: expected a number above 0, got -1\.0"):
        catalog.OPTIMIZERS.choose({"lion": {"lr": -1.0}})
    facts = FACTS["rings"]
    assert (facts.shape, facts.classes, facts.train, facts.test, facts.license) == ((2,), 2, 400, 0, "CC0")
    assert [p.default for p in rings.parameters] == [400, 0.1]
    assert "swish" in json.dumps(json_schema())


def test_a_run_of_own_levels_in_workers(write: Write, tmp_path: Path) -> None:
    paths = [write(FILES[name], name) for name in ("lion.py", "tanh_net.py", "rings.py")]

    records = rb.run(SUITE, store=tmp_path / "runs", plugin=paths, workers=1, quiet=True)

    assert list(records["status"]) == ["ok"] * 4
    used = records.set_index(["optimizer", "seed"])["plugins"]
    assert "optimizer lion: lion.py, SHA-256 " in used["lion", 0]
    assert "optimizer" not in used["sgd", 0]
    assert "model tanh_net: tanh_net.py, SHA-256 " in used["sgd", 0]
    again = rb.run(SUITE, store=tmp_path / "runs", plugin=paths, workers=1, quiet=True)
    assert again.equals(records)


# Identity


def cell_ids(path: Path) -> dict[str, str]:
    plugins.load(path)
    suite = SUITE | {"data": ["digits"], "model": "mlp", "seeds": 1}
    return {str(cell.optimizer and cell.optimizer.name): cell.id for cell in expand(load_suite(suite))}


def test_a_changed_plug_in_renames_the_cells_that_use_it_and_no_others(write: Write) -> None:
    first = cell_ids(write(FILES["lion.py"]))
    same = cell_ids(write(FILES["lion.py"], "renamed_copy.py")) if plugins.unload() is None else {}
    plugins.unload()
    changed = cell_ids(write(FILES["lion.py"] + "# a remark\n"))
    plugins.unload()
    suite = SUITE | {"data": ["digits"], "model": "mlp", "seeds": 1, "matrix": {"optimizer": ["sgd"]}}

    assert first == same
    assert first["lion"] != changed["lion"]
    assert first["sgd"] == changed["sgd"]
    assert [cell.id for cell in expand(load_suite(suite))] == [first["sgd"]]
    assert all("plugins" not in cell.to_json() for cell in expand(load_suite(suite)))


def test_a_cell_goes_to_json_and_back_only_with_its_plug_in(write: Write) -> None:
    path = write(FILES["lion.py"])
    plugins.load(path)
    suite = SUITE | {"data": ["digits"], "model": "mlp", "matrix": {"optimizer": ["lion"]}}
    cell = next(expand(load_suite(suite)))
    described = cell.to_json()

    assert described["plugins"] == [plugins.loaded()[0].sha256]
    assert Cell.from_json(described).id == cell.id
    write(FILES["lion.py"] + "# changed\n")
    plugins.load(path)
    with pytest.raises(
        RequestError, match=r"expected the plug-in that it was made with, SHA-256 \w{64}, got"
    ):
        Cell.from_json(described)
    plugins.unload()
    with pytest.raises(RequestError, match="got none; give the file of that time as --plugin FILE"):
        Cell.from_json(described)


def test_workers_are_told_and_refuse_a_file_that_changed(write: Write) -> None:
    path = write(FILES["lion.py"])
    sha256 = plugins.load(path).sha256
    suite = SUITE | {"data": ["digits"], "model": "mlp", "matrix": {"optimizer": ["lion"]}}
    request = executor.training_request(packs.Pack((next(expand(load_suite(suite))),)), None)

    assert request["plugins"] == [{"path": str(path), "sha256": sha256}]
    write(FILES["lion.py"] + "# changed\n")
    with pytest.raises(RequestError, match="it has changed while it was in use"):
        plugins.load(path, sha256)


def test_what_was_added_outside_of_a_file_is_not_run() -> None:
    plugins.activation(name="loose")(nn.Softsign)
    try:
        with pytest.raises(RequestError, match="activation 'loose' was added outside of a plug-in"):
            next(expand(load_suite(SUITE | {"data": ["digits"], "model": "mlp"} | _matrix("loose"))))
    finally:
        ACTIVATIONS.pop("loose")
        catalog.ACTIVATIONS.restore({n: v for n, v in catalog.ACTIVATIONS.items() if n != "loose"})


def _matrix(activation: str) -> dict[str, Any]:
    return {"matrix": {"activation": [activation]}}


# Refusals


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x = 1\n", r"mine\.py: expected it to add a level, by a decorator of recipebench\.plugins or by an"),
        ("x = 1\ny = unknown_name\n", r"mine\.py, line 2: NameError: name 'unknown_name' is not defined"),
        ("x = (\n", r"mine\.py, line 1: SyntaxError: '\(' was never closed"),
        ("import sys\nsys.exit(3)\n", r"mine\.py, line 2: SystemExit: 3"),
        (RELU.format(before="", result="x").replace("class Bent", "class Tanh"), r"activation 'tanh' exists"),
        (
            "from recipebench.lightning_modules.activations import ACTIVATIONS\n"
            "from torch import nn\nACTIVATIONS['relu'] = nn.SiLU\n",
            r"mine\.py: activation 'relu' exists already; choose another name",
        ),
        (
            "from recipebench.plugins import activation\n@activation(elementwise=True)\ndef f(): ...\n",
            r"@activation: Unknown option 'elementwise'",
        ),
        (
            "from recipebench.plugins import optimizer\n@optimizer\ndef slow(parameters, lr): ...\n",
            r"optimizer slow: lr: expected a default that is a number, .* got none",
        ),
        (
            "from recipebench.plugins import data_set\n@data_set()\ndef pair(): return [1], [2], [3]\n",
            r"data pair: expected \(inputs, targets\) or .*, got tuple of 3",
        ),
    ],
)
def test_a_plug_in_that_cannot_be_used_is_refused_and_leaves_nothing(
    text: str, message: str, write: Write
) -> None:
    before = dict(ACTIVATIONS), dict(OPTIMIZERS), set(ELEMENTWISE), dict(DATA_MODULES)

    with pytest.raises(RequestError, match=message):
        plugins.load(write(text))

    assert before == (dict(ACTIVATIONS), dict(OPTIMIZERS), set(ELEMENTWISE), dict(DATA_MODULES))
    assert plugins.loaded() == ()


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match=r"none\.py: expected a Python file, but No such file"):
        plugins.load(tmp_path / "none.py")


def test_a_failed_reload_keeps_the_old_levels(write: Write) -> None:
    plugins.load(write(FILES["lion.py"]))
    with pytest.raises(RequestError, match="expected it to add a level"):
        plugins.load(write("x = 1\n"))

    assert "lion" in OPTIMIZERS
    assert "lion" in catalog.OPTIMIZERS
    assert "lion" in ELEMENTWISE


# What check finds


def test_a_wrong_gradient_is_found(write: Write) -> None:
    found = problems(write(RELU.format(before=WRONG_GRADIENT, result="Function.apply(x)")))

    assert list(found) == ["gradient"]
    pattern = r"wrong gradient: expected (\S+) at x\[\d, \d\] = (\S+), as two-sided .* got (\S+)\."
    match = re.fullmatch(pattern, found["gradient"])
    assert match
    seen, x, said = map(float, match.groups())
    assert seen == pytest.approx(said / 2, rel=1e-4)
    assert seen == pytest.approx(2 * x, rel=1e-3)
    assert f"activation bent: gradient: {found['gradient']}" in PAGE.read_text("utf-8")


def test_a_shape_error_is_found(write: Write) -> None:
    found = problems(write(RELU.format(before="", result="x[:, ::2]")))

    assert found["shape"] == "shape error: expected outputs of inputs (5, 6) of shape (5, 6), got (5, 3)."


@pytest.mark.parametrize(
    ("result", "check", "message"),
    [
        ("x.softmax(1)", "element-wise", "expected an element-wise function, got output"),
        ("x - x.mean(0)", "samples apart", "got outputs of one sample that change with the inputs of anot"),
        ("x + 0 * torch.rand(1)", "global random numbers", "got one from torch's"),
        ("x + torch.rand_like(x)", "same bits twice", "got results that differ by up to"),
        ("x.double()", "shape", "expected outputs of inputs (5, 6) as torch.float32, got torch.float64"),
        ("x.exp().exp()", "finite", "expected finite outputs"),
        ("x.detach()", "gradient", "expected a result that autograd can follow back"),
        ("x.unknown()", "shape", "AttributeError: 'Tensor' object has no attribute 'unknown'"),
    ],
)
def test_other_faults_of_an_activation_are_told_apart(
    result: str, check: str, message: str, write: Write
) -> None:
    assert message in problems(write(RELU.format(before="", result=result)))[check]


def test_a_non_elementwise_update_declared_elementwise_is_found(write: Write) -> None:
    found = problems(write(ROTATE.format(declared="(elementwise=True)")))

    assert re.fullmatch(
        r"non-element-wise update: it is declared element-wise, so expected the same bits on a slice of "
        r"three members as on each parameter alone, got a difference of \S+ in step 1; leave "
        r"elementwise=True out\.",
        found["element-wise"],
    )


def test_an_optimizer_that_is_not_elementwise_steps_parameters_of_its_own(write: Write) -> None:
    plugins.load(write(ROTATE.format(declared="")))
    report = conformance.check("optimizer", "shrink")

    assert report.problems == {}
    assert "each member has parameters of its own" in report.note


@pytest.mark.parametrize("schedule", ["constant", "staircase", "plateau"])
def test_a_pack_of_several_optimizers_has_the_bits_of_each_alone(write: Write, schedule: str) -> None:
    plugins.load(write(ROTATE.format(declared="")))
    suite = SUITE | {
        "data": [{"two_gaussians": {"n": 80}}],
        "model": {"mlp": {"hidden": [7]}},
        "matrix": {"optimizer": ["shrink", "sgd", "adam", {"shrink": {"lr": 0.5}}], "schedule": [schedule]},
        "protocol": {"epochs": 3, "batch_size": 16},
    }
    cells = list(expand(load_suite(suite)))
    mixed = [cells[i] for i in (2, 0, 4, 1, 3, 6, 5, 7)]

    assert {packs.signature(cell) for cell in cells} == {packs.signature(cells[0])}
    for result in training.train(mixed, None):
        (alone,) = training.train([result.cell], None)
        for a, b in zip(alone.track.history, result.track.history, strict=True):
            assert {**a, "seconds": 0} == {**b, "seconds": 0}


def test_a_penalty_without_a_written_gradient_packs_with_the_bits_of_each_alone(write: Write) -> None:
    text = (
        "from recipebench.plugins import regularizer\n"
        "@regularizer\n"
        "def elastic(weights, strength: float = 0.01):\n"
        '    "Both penalties at once."\n'
        "    return strength * sum(w.abs().sum() + (w**2).sum() + w.pow(4).mean() for w in weights)\n"
    )

    assert problems(write(text)) == {}


def test_an_optimizer_without_decay_is_not_crossed_with_weight_decay(write: Write) -> None:
    plugins.load(write(ROTATE.format(declared="")))
    crossed = {"optimizer": ["shrink", "sgd"], "regularizer": ["none", "weight_decay"]}
    cells = list(expand(load_suite(SUITE | {"data": ["digits"], "model": "mlp", "matrix": crossed})))

    pairs = {(c.optimizer.name, c.regularizer.name) for c in cells if c.optimizer and c.regularizer}
    assert pairs == {("shrink", "none"), ("sgd", "none"), ("sgd", "weight_decay")}


def test_a_loss_that_couples_samples_is_found(write: Write) -> None:
    text = (
        "from recipebench.plugins import loss\n"
        "@loss(tasks=('regression',))\n"
        "def centered(outputs, targets):\n"
        '    "Squared errors around their mean."\n'
        "    return (outputs - targets - (outputs - targets).mean()).square().mean(1)\n"
    )

    assert "got a loss of one sample that changes" in problems(write(text))["samples apart"]


def test_wrong_facts_of_a_data_set_are_found(write: Write) -> None:
    short = FILES["rings.py"].replace("label = torch.arange(n) % 2", "label = torch.arange(400) % 2")
    short = short.replace("torch.rand(n,", "torch.rand(400,").replace("torch.randn(n,", "torch.randn(400,")

    assert problems(write(short))["facts"] == "wrong facts: expected 200 train samples with n = 200, got 400."


def test_a_data_set_that_changes_from_load_to_load_is_found(write: Write) -> None:
    found = problems(write(FILES["rings.py"].replace(", generator=generator", "")))

    assert "got one from torch's" in found["global random numbers"]
    assert "expected the same samples whenever it is loaded" in found["same bits twice"]


def test_a_model_with_a_wrong_gradient_or_unseeded_weights_is_found(write: Write) -> None:
    loose = FILES["tanh_net.py"].replace(
        "task=task, **recipe)", "task=task, **recipe)\n        self.network[1].weight.data.normal_()"
    )
    found = problems(write(loose))
    assert "Initial weights are to come from init_seed" in found["same bits twice"]

    wrong = "import torch\n" + FILES["tanh_net.py"].replace("nn.Tanh()", "Bad()")
    bad = WRONG_GRADIENT + "\nclass Bad(nn.Module):\n    def forward(self, x): return Function.apply(x)\n"
    plugins.unload()
    found = problems(write(wrong.replace("@model", bad + "\n@model")))
    assert re.search(r"wrong gradient: expected a slope of \S+ along a random direction", found["gradient"])


# The command


def test_the_command_checks_lists_and_refuses(
    write: Write, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def command(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["recipebench", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        out, err = capsys.readouterr()
        assert isinstance(ended.value.code, int)
        return ended.value.code, out, err

    from recipebench.benchmarks import cli

    good, bad = (
        write(FILES["lion.py"], "lion.py"),
        write(RELU.format(before="", result="x[:, ::2]"), "bad.py"),
    )
    broken = write("x = 1\n", "broken.py")
    suite = tmp_path / "my.yaml"
    suite.write_text(
        yaml.safe_dump(SUITE | {"data": ["digits"], "model": {"mlp": {"hidden": [4]}}, "seeds": 1})
    )

    code, out, _ = command("check", "--plugin", good)
    assert (code, "optimizer lion: 11 of 11 checks passed" in out) == (0, True)
    code, out, _ = command("check", "--plugin", bad)
    assert (code, "activation bent: shape: shape error: expected outputs" in out) == (1, True)
    for verb in (["check"], ["list", "optimizer"], ["run", suite], ["report", suite]):
        code, _, err = command(*verb, "--plugin", broken)
        assert (code, err.count("\n")) == (2, 1)
        assert "expected it to add a level" in err
    code, out, _ = command("list", "optimizer", "--plugin", good)
    assert code == 0
    assert "lion.py" in out
    code, out, _ = command("run", suite, "--plugin", good, "--dry-run", "--store", tmp_path / "runs")
    assert (code, "2 cells planned" in out) == (0, True)


def test_the_python_api_checks_and_lists(write: Write) -> None:
    path = write(FILES["swish.py"])
    found = rb.check(path)

    assert list(found.columns) == ["axis", "level", "check", "problem"]
    assert set(found["problem"]) == {""}
    assert "swish" in set(rb.list("activation", plugin=path)["name"])


# The levels that ship

BUILT_IN = [
    *((axis, name) for axis in ("activation", "loss", "initializer") for name in KINDS[axis].catalog),
    *(("optimizer", name) for name in OPTIMIZERS),
    *(("regularizer", name) for name in ("l1", "l2")),
    *(("model", name) for name in ("mlp", "deep_linear_net", "maxout_net")),
    *(("data", name) for name in ("digits", "moons", "synthetic_regression")),
]
EXCEPTIONS = {("activation", "hardmax"): {"element-wise"}, ("model", "deep_linear_net"): {"training"}}
"""Hardmax lets units compete and has ids already; the deep linear net explodes as it is meant to."""


@pytest.mark.parametrize(("axis", "name"), BUILT_IN)
def test_built_in_levels_pass_the_same_checks(axis: str, name: str) -> None:
    assert set(conformance.check(axis, name).problems) == EXCEPTIONS.get((axis, name), set())


def test_a_pack_form_can_be_lent_to_an_own_activation(write: Write) -> None:
    lent = "\nfrom recipebench.lightning_modules.packed.layers import PerMember, pack_layer\n"
    plugins.load(write(FILES["swish.py"] + lent + "pack_layer.register(Swish)(PerMember)\n"))
    report = conformance.check("activation", "swish")

    assert report.problems == {}
    assert report.note == "Its cells train in packs."
    assert torch.get_num_threads() == 1
