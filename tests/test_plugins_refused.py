"""Wrong plug-in files: one message each; exit code 2 where they cannot be loaded, 1 where `check` fails."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

import recipebench as rb
from recipebench import plugins
from recipebench.benchmarks import cli
from recipebench.errors import RequestError

HEAD = """
from typing import Unpack
import torch
from torch import nn
from recipebench.lightning_modules import SupervisedModule
from recipebench.lightning_modules.activations import ACTIVATIONS
from recipebench.lightning_modules.supervised import Recipe
from recipebench.plugins import *
"""

CLASS = (
    HEAD + "@activation{options}\nclass Mine(nn.Module):\n    {init}\n    def forward(self, x): {forward}\n"
)

STEP = """
@optimizer
class Mine(torch.optim.Optimizer):
    def __init__(self, parameters, lr: float = 0.1):
        super().__init__(parameters, {{"{rate}": lr}})

    @torch.no_grad()
    def step(self, closure=None):
        loss = {closure}
        for group in self.param_groups:
            for w in group["params"]:
                {step}
        return {returned}
"""

MODEL = """
@model(tasks=("classification",))
class Mine(SupervisedModule):
    def __init__(self, *, in_features: int, out_features: int, task: str, **recipe: Unpack[Recipe]):
        network = nn.Sequential(nn.Flatten(), nn.Linear(in_features, {width}))
        super().__init__(network, {task}**recipe)
        {more}
"""


def of_class(*, options: str = "", init: str = "", forward: str = "return x") -> str:
    """Return the file of an activation."""
    return CLASS.format(options=options, init=init or "pass", forward=forward)


def of_step(
    step: str = 'w.sub_(w.grad, alpha=group["lr"])',
    *,
    rate: str = "lr",
    closure: str = "torch.enable_grad()(closure)() if closure else None",
    returned: str = "loss",
) -> str:
    """Return the file of an optimizer."""
    return HEAD + STEP.format(step=step, rate=rate, closure=closure, returned=returned)


def of_model(width: str = "out_features", task: str = "task=task, ", more: str = "pass") -> str:
    """Return the file of a model."""
    return HEAD + MODEL.format(width=width, task=task, more=more)


def of_data(returned: str, options: str = "()") -> str:
    """Return the file of a data set."""
    return f"{HEAD}@data_set{options}\ndef mine(n: int = 50): return {returned}\n"


def of_function(kind: str, signature: str, returned: str) -> str:
    """Return the file of a loss, a penalty or an initializer."""
    return f"{HEAD}@{kind}\ndef mine({signature}): return {returned}\n"


@pytest.fixture
def command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Callable[..., tuple[int, str]]]:
    """Run `recipebench check --plugin` on a file of this content; return exit code and what was said."""

    def check(content: str | bytes | None) -> tuple[int, str]:
        path = tmp_path / "mine.py"
        if content is None:
            path.mkdir()
        else:
            path.write_bytes(content if isinstance(content, bytes) else content.encode())
        monkeypatch.setattr("sys.argv", ["recipebench", "check", "--plugin", str(path)])
        monkeypatch.setenv("COLUMNS", "1000")
        with pytest.raises(SystemExit) as ended:
            cli.main()
        out, err = capsys.readouterr()
        code = ended.value.code
        assert isinstance(code, int)
        return code, err if code == 2 else out

    yield check
    plugins.unload()


NOT_A_FACTORY = (
    "expected a class or function of hyper-parameters that returns an nn.Module, which is handed x"
)

UNLOADABLE = {
    "directory": (None, "expected a Python file, but Is a directory"),
    "binary": (bytes(range(256)), "SyntaxError: source code string cannot contain null bytes"),
    "not UTF-8": ("x = 'é'\n".encode("latin-1"), "line 1: SyntaxError: (unicode error) 'utf-8' codec"),
    "syntax": ("def f(:\n", "line 1: SyntaxError: invalid syntax"),
    "tabs": ("if 1:\n\tx = 1\n        y = 2\n", "line 3: TabError: inconsistent use of tabs and spaces"),
    "nothing": ("", "expected it to add a level, by a decorator"),
    "package": ("import no_such_package\n", "line 1: ModuleNotFoundError: No module named 'no_such_package'"),
    "two lines": ("raise ValueError('one\\ntwo')\n", "line 1: ValueError: one two"),
    "exit": ("quit(0)\n", "line 1: SystemExit: 0"),
    "no exception": ("class X(BaseException): pass\nraise X\n", "line 2: X: no message"),
    "endless": ("def f(): f()\nf()\n", "RecursionError: maximum recursion depth exceeded"),
    "built-in": (
        HEAD + "@activation\nclass Relu(nn.Module): pass\n",
        "line 9: activation 'relu' exists already; choose another name",
    ),
    "twice": (
        of_class() + "activation(nn.ReLU, name='mine')\n",
        "line 13: activation 'mine' exists already; choose another name",
    ),
    "object": (
        HEAD + "activation(nn.SiLU())\n",
        f"{NOT_A_FACTORY} later, got an object of SiLU (SiLU itself",
    ),
    "object in a dict": (HEAD + "ACTIVATIONS['mine'] = nn.SiLU()\n", "got an object of SiLU (SiLU itself"),
    "None in a dict": (HEAD + "ACTIVATIONS['mine'] = None\n", f"{NOT_A_FACTORY} later, got None."),
    "number as a name": (HEAD + "ACTIVATIONS[3] = nn.SiLU\n", "ACTIVATIONS: expected a name, got 3."),
    "name": (HEAD + "ACTIVATIONS['My Act'] = nn.SiLU\n", "expected a name of a-z, 0-9 and _, got 'My Act'"),
    "name in place": (of_class(options="('mine')"), "got 'mine'; a name is given as name='mine'."),
    "name of a number": (of_class(options="(name=3)"), "expected a name of a-z, 0-9 and _, got 3."),
    "lambda": (HEAD + "activation(lambda: nn.ReLU())\n", "a name of a-z, 0-9 and _, got '<lambda>'"),
    "option": (of_class(options="(formule='x')"), "Unknown option 'formule'. Known: formula, "),
    "parameters": (
        of_class(options="(parameters=['beta'])"),
        "activation mine: parameters: expected recipebench.levels.Parameter, got 'beta'.",
    ),
    "text": (of_class(options="(summary=1)"), "activation mine: summary: expected text, got 1."),
    "flag": (of_class(options="(structural='no')"), "structural: expected True or False, got 'no'."),
    "tasks as text": (of_class(options="(tasks='regression')"), "tasks: expected a list, got 'regression'."),
    "task": (of_class(options="(tasks=['regresion'])"), "Unknown task 'regresion'. Known: "),
    "need": (HEAD + "@model(needs=['pictures'])\nclass M: pass\n", "model m: Unknown need 'pictures'. Known"),
    "the x of an activation": (
        of_function("activation", "x", "x.relu()"),
        f"activation mine: x: expected a default that is a number, a name, true or false or a list of "
        f"numbers, got none; {NOT_A_FACTORY} later.",
    ),
    "default None": (of_class(init="def __init__(self, beta=None): ..."), "beta: expected a default that is"),
    "default NaN": (
        of_class(init="def __init__(self, b=float('nan')): ..."),
        "b: expected a number, got nan",
    ),
    "default of another type": (
        of_class(init="def __init__(self, beta: float = 'one'): ..."),
        "activation mine: beta: expected a default of the type that is written, float, got 'one'.",
    ),
    "recipe": (
        of_model().replace(": Unpack[Recipe]", ""),
        "model Mine: expected arguments by name, the factors of a recipe as **recipe: Unpack[Recipe], got ",
    ),
    "stars": (
        HEAD + "@model\nclass Mine(SupervisedModule):\n    def __init__(self, *a, **b): ...\n",
        "got Mine(*a",
    ),
    "rate 0": (of_step().replace("= 0.1", "= 0.0"), "optimizer mine: lr: expected a number above 0, got 0.0"),
    "task of data": (
        of_data("0", "(task='klass')"),
        "@data_set: Unknown task 'klass'. Known: classification",
    ),
    "one array": (
        of_data("torch.zeros(n, 2)"),
        "data mine: expected (inputs, targets) or (inputs, targets, ",
    ),
    "lengths": (
        of_data("torch.zeros(n, 2), torch.zeros(n + 1)"),
        "data mine: expected inputs (n, features) or (n, channels, height, width) and targets (n,), got "
        "(50, 2) and (51,).",
    ),
    "wrong targets": (
        of_data("torch.zeros(n, 2), torch.arange(n) / 2"),
        "data mine: expected classes as whole numbers from 0 on, got torch.float32 from 0 on.",
    ),
    "targets as text": (
        of_data("torch.zeros(n, 2), ['a'] * n"),
        "expected numbers, as arrays or tensors, got",
    ),
    "complex inputs": (
        of_data("torch.zeros(n, 2) * 1j, torch.arange(n) % 2"),
        "data mine: expected real numbers, got torch.complex64.",
    ),
    "dtype": (
        of_class() + "torch.set_default_dtype(torch.float64)\n",
        "expected torch's default dtype to be left at torch.float32, since all cells depend on it, got",
    ),
    "no autograd": (
        of_class() + "torch.set_grad_enabled(False)\n",
        "expected torch's autograd to be left at T",
    ),
}


@pytest.mark.parametrize("name", UNLOADABLE)
def test_a_file_that_cannot_be_loaded_ends_with_2_and_one_message(
    name: str, command: Callable[..., tuple[int, str]]
) -> None:
    content, message = UNLOADABLE[name]

    code, said = command(content)

    assert (code, said.count("\n")) == (2, 1), said
    assert said.startswith("Error: plug-in ")
    assert "mine.py" in said
    assert message in said
    assert plugins.loaded() == ()
    assert torch.get_default_dtype() == torch.float32
    assert torch.is_grad_enabled()


UNFIT = {
    "no module": (
        of_function("activation", "beta: float = 1.0", "beta"),
        "build: expected an nn.Module, got",
    ),
    "no super": (
        of_class(init="def __init__(self, b: float = 1.0): self.b = b"),
        "build: expected super().__init__() in its __init__, got none.",
    ),
    "shape": (
        of_class(forward="return x.sum(1)"),
        "shape: shape error: expected outputs of inputs (5, 6) of ",
    ),
    "None": (of_class(forward="x.relu()"), "shape: expected outputs of inputs (5, 6) as a tensor, got None"),
    "type": (of_class(forward="return x.half()"), "(5, 6) as torch.float32, got torch.float16."),
    "in place": (of_class(forward="return x.mul_(2)"), "in place: expected the inputs to be left alone, got"),
    "memory": (
        of_class(forward="self.n = getattr(self, 'n', 0) + 1; return x * self.n"),
        "same bits twice: expected the same outputs whenever the same inputs come, got others in the second",
    ),
    "numpy": (
        of_class(forward="return torch.from_numpy(x.detach().numpy() * 2)"),
        "gradient: wrong gradient: expected a result that autograd can follow back, got one without",
    ),
    "no optimizer": (
        of_function("optimizer", "parameters", "None"),
        "build: expected a torch.optim.Optimizer",
    ),
    "no argument": (
        of_function("optimizer", "", "None"),
        "build: expected no exception, got TypeError: mine()",
    ),
    "no rate": (of_step("pass", rate="rate"), "build: expected lr in its param_groups, where schedules"),
    "new tensors": (
        of_step("w.data = w - 0.1 * w.grad"),
        "shape: expected parameters to be changed in place, got new tensors; use add_, mul_ or copy_.",
    ),
    "new parameters": (
        of_step("group['params'][0] = w - 0.1 * w.grad"),
        "shape: expected the very parameters to be in its param_groups, and changed in place, got others.",
    ),
    "other type": (
        of_step("w.data = w.double()"),
        "shape: expected parameters as torch.float32, got torch.fl",
    ),
    "no closure": (
        of_step(closure="None"),
        "closure: expected step(closure) to call the closure, which comput",
    ),
    "no gradients": (
        of_step(closure="closure() if closure else None"),
        "closure: expected step(closure) to call the closure once, under torch.enable_grad(), got one",
    ),
    "no loss": (
        of_step(returned="None"),
        "closure: expected step(closure) to return the closure's loss, 3.0",
    ),
    "not finite": (
        of_step("w.sub_(w.grad / w.grad.abs())"),
        "finite: expected finite parameters after a gra",
    ),
    "uphill": (
        of_step("w.add_(w.grad)"),
        "downhill: wrong update: expected the sum of w² to fall within 100",
    ),
    "outputs": (
        of_model(width="7"),
        "shape: classification: shape error: expected outputs of inputs (5, 2) of shape (5, 2), got (5, 7).",
    ),
    "no task": (of_model(task=""), "missing 1 required keyword-only argument: 'task'"),
    "plain module": (
        of_function("model", "in_features, out_features", "nn.Linear(in_features, out_features)"),
        "build: classification: expected a RecordedModule (a SupervisedModule, for example), got Linear.",
    ),
    "weights": (
        of_model(more="nn.init.constant_(network[1].weight, float('nan'))"),
        "shape: classification: expected finite outputs of the untrained model, got 10 of 10 that are not.",
    ),
    "mean loss": (
        of_function("loss", "outputs, targets", "(outputs - targets).square().mean()"),
        "shape: shape error: expected losses of outputs (5, 1) of shape (5,), got ().",
    ),
    "missing class": (
        of_data("torch.linspace(0, 1, 2 * n).reshape(n, 2), 2 * (torch.arange(n) % 2)"),
        "facts: wrong facts: expected every class from 0 to 2 among the samples, got [0, 2].",
    ),
    "too few": (
        of_data("torch.eye(2), [0, 1]"),
        "facts: expected no exception, got RequestError: mine: validation: expected 1 to 1 of the 2 training",
    ),
    "vector of penalties": (
        of_function("regularizer", "weights", "weights[0]"),
        "shape: shape error: expected the penalty of shape (), got (4, 3).",
    ),
    "reward": (
        of_function("regularizer", "weights", "-sum((w**2).sum() for w in weights)"),
        "finite: expected a penalty of at least 0, got -",
    ),
    "one weight": (
        of_function("initializer", "u, fans", "u.mean()"),
        "shape: shape error: expected weights of draws (8, 5) of shape (8, 5), got ().",
    ),
}


@pytest.mark.parametrize("name", UNFIT)
def test_a_level_that_is_unfit_ends_with_1_and_one_message(
    name: str, command: Callable[..., tuple[int, str]]
) -> None:
    content, message = UNFIT[name]

    code, said = command(content)

    first, _, problem, *more = said.splitlines()
    assert (code, more) == (1, []), said
    assert first.startswith("mine.py, SHA-256 ")
    assert message in problem


def test_a_name_of_another_plug_in_is_refused_with_its_file(tmp_path: Path) -> None:
    paths = [tmp_path / name for name in ("first.py", "second.py")]
    for path in paths:
        path.write_text(of_class(forward=f"return x  # {path.stem}"), encoding="utf-8")
    try:
        with pytest.raises(
            RequestError, match=r"second\.py, line 9: .* exists already, of plug-in .*first\.py"
        ):
            rb.list("activation", plugin=paths)
        assert [plugin.name for plugin in plugins.loaded()] == ["first.py"]
    finally:
        plugins.unload()


@pytest.mark.parametrize("content", [of_class(init="def __init__(self, *a, **b): super().__init__()")])
def test_what_only_looks_odd_passes(content: str, command: Callable[..., tuple[int, str]]) -> None:
    code, said = command(content)

    assert (code, "Its cells train alone: layer activation_1 (Mine) has no packed form." in said) == (0, True)


def test_a_data_set_needs_no_parentheses(command: Callable[..., tuple[int, str]]) -> None:
    samples = "torch.linspace(-1, 1, 2 * n).requires_grad_().reshape(n, 2), torch.arange(n) % 2"

    code, said = command(of_data(samples, options=""))

    assert (code, "data mine: 9 of 9 checks passed. Its cells train in packs." in said) == (0, True)
