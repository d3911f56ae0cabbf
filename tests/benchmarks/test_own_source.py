"""Functions and classes of a notebook, written down as plug-ins with what they use."""

from __future__ import annotations

import itertools
import linecache
import sys
import textwrap
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from recipebench import plugins
from recipebench.benchmarks import own_source
from recipebench.errors import RequestError
from recipebench.lightning_modules.optimizers import OPTIMIZERS

LION = """
import torch
from typing import Optional
from torch import Tensor as T
from recipebench.lightning_modules.optimizers import WithVelocity

SHARE = 0.1
NAMES = ("a", [1, 2.5])
UNUSED = object()

def direction(x: T, scale: Optional[float] = None) -> T:
    return torch.sign(x) * (scale or 1.0)

class Lion(WithVelocity):
    def move(self, w, g, v, lr, momentum):
        assert NAMES
        w.sub_(direction(v.lerp(g, SHARE)), alpha=lr)
        v.lerp_(g, 1 - momentum)

def my_lion(parameters, lr: float = 1e-3, momentum: float = 0.99):
    '''Steps of one size.'''
    UNUSED = 1
    return Lion(parameters, lr, momentum, 0.0 * UNUSED)
"""

OTHER = """
from recipebench.plugins import loss

@loss
def own_loss(outputs, targets):
    return (outputs - targets).abs().mean(1)
"""

Notebook = Callable[[str], dict[str, Any]]


@pytest.fixture
def notebook(monkeypatch: pytest.MonkeyPatch) -> Iterator[Notebook]:
    """Run text as the cells of one notebook: in one namespace, with source, without a file."""
    main, number = types.ModuleType("__main__"), itertools.count(1)
    monkeypatch.setitem(sys.modules, "__main__", main)

    def run(text: str) -> dict[str, Any]:
        text, name = textwrap.dedent(text), f"<ipython-input-{next(number)}-own>"
        linecache.cache[name] = (len(text), None, text.splitlines(True), name)
        exec(compile(text, name, "exec"), main.__dict__)
        return main.__dict__

    yield run
    plugins.unload()
    for name in [name for name in linecache.cache if name.endswith("-own>")]:
        del linecache.cache[name]


def test_all_that_is_used_is_written_down_and_nothing_else(notebook: Notebook, tmp_path: Path) -> None:
    text = own_source.as_plugin(notebook(LION)["my_lion"], "optimizer")
    path = tmp_path / "plugin.py"
    path.write_text(text)

    assert plugins.load(path).levels == (("optimizer", "my_lion"),)
    for line in (
        "import torch as torch",
        "from torch import Tensor as T",
        "SHARE = 0.1",
        "NAMES = ('a', [1, 2.5])",
    ):
        assert line in text.splitlines()
    assert "UNUSED = object" not in text
    assert text.index("def direction") < text.index("class Lion") < text.index("def my_lion")
    assert text == own_source.as_plugin(notebook(LION)["my_lion"], "optimizer")  # the same hash


def test_it_steps_as_it_did_in_the_notebook(notebook: Notebook, tmp_path: Path) -> None:
    mine = notebook(LION)["my_lion"]
    name = own_source.load(mine, "optimizer", tmp_path / "plugins")

    ends = []
    for factory in (mine, OPTIMIZERS[name]):
        weight = torch.nn.Parameter(torch.linspace(-1, 1, 5))
        optimizer = factory([weight], lr=0.1)
        for _ in range(3):
            optimizer.zero_grad()
            (weight**2).sum().backward()
            optimizer.step(lambda: None)
        ends.append(weight.detach().clone())
    assert torch.equal(*ends)
    assert not torch.equal(ends[0], torch.linspace(-1, 1, 5))


def test_a_changed_level_takes_the_place_of_the_old_one_and_both_files_stay(
    notebook: Notebook, tmp_path: Path
) -> None:
    other = tmp_path / "other.py"
    other.write_text(
        "from recipebench.plugins import loss\n@loss\ndef own_loss(o, t):\n    return (o - t).mean(1)\n"
    )
    plugins.load(other)
    mine = notebook(LION)["my_lion"]
    own_source.load(mine, "optimizer", tmp_path / "plugins")
    own_source.load(mine, "optimizer", tmp_path / "plugins")
    first = [plugin.sha256 for plugin in plugins.loaded()]
    own_source.load(notebook(LION.replace("0.1", "0.2"))["my_lion"], "optimizer", tmp_path / "plugins")

    assert len(list((tmp_path / "plugins").iterdir())) == 2
    assert len(first) == len(plugins.loaded()) == 2
    assert plugins.origin("loss", "own_loss") is not None
    assert first != [plugin.sha256 for plugin in plugins.loaded()]


def test_a_decorated_function_keeps_what_its_decorator_says(notebook: Notebook, tmp_path: Path) -> None:
    text = LION.replace(
        "def my_lion",
        "from recipebench.plugins import optimizer\n\n@optimizer(name='quick_lion')\ndef my_lion",
    )
    mine = notebook(text)["my_lion"]
    with pytest.raises(RequestError, match="was added outside of a plug-in"):
        plugins.origin("optimizer", "quick_lion")

    name = own_source.load(mine, "optimizer", tmp_path / "plugins")

    assert name == "quick_lion"
    assert plugins.origin("optimizer", name) is not None


def test_what_is_a_level_already_is_left_alone(tmp_path: Path) -> None:
    assert own_source.load(OPTIMIZERS["sgd"], "optimizer", tmp_path / "plugins") == "sgd"
    assert not (tmp_path / "plugins").exists()


def test_a_class_of_a_package_is_imported_with_its_version_beside() -> None:
    text = own_source.as_plugin(torch.optim.SparseAdam, "optimizer")

    assert f"# torch {torch.__version__.partition('+')[0]}" in text
    assert (
        "from torch.optim.sparse_adam import SparseAdam" in text if "sparse" in text else "SparseAdam" in text
    )
    assert "_add(name='sparse_adam')(SparseAdam)" in text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("level = lambda parameters: None", "Expected the name of a level, or a function or class"),
        ("import functools; level = functools.partial(print)", "Expected the name of a level"),
        ("level = 3", "Expected the name of a level"),
        (
            "def outer(k):\n    def level(p, lr: float = k): return k\n    return level\nlevel = outer(3)",
            "uses 'k' of",
        ),
        (
            "import torch\nTABLE = torch.ones(3)\ndef level(p): return TABLE",
            "uses 'TABLE', an object of Tensor",
        ),
        ("def helper(): pass\nother = helper\ndef level(p): return other()", "uses 'other', another name of"),
        ("class level:\n    pass", "no source was found of 'level'"),
    ],
)
def test_what_cannot_be_written_down_is_refused_with_the_way_out(
    text: str, message: str, notebook: Notebook
) -> None:
    with pytest.raises(RequestError, match=message) as refused:
        own_source.as_plugin(notebook(text)["level"], "optimizer")

    assert "by %%writefile my_levels.py" in str(refused.value)


def test_without_source_it_is_refused() -> None:
    names: dict[str, Any] = {"__name__": "__main__"}
    exec("def level(parameters, lr: float = 0.1): return None", names)

    with pytest.raises(RequestError, match="no source was found of 'level'"):
        own_source.as_plugin(names["level"], "optimizer")


def test_a_level_of_the_package_is_not_withdrawn() -> None:
    plugins.withdraw("optimizer", "adam")

    assert "adam" in OPTIMIZERS
