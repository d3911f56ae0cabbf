"""Optimizers that step many members at once, each at a rate, and with other hyper-parameters, of its own.

Where a stock optimizer takes a Python number these take a column with a number for every row. Torch rounds
such a number to the type of the weights before it computes; a column holds what it would round to. All
that is computed from numbers alone is computed in Python, as the stock code has it, and what is left are
the stock expressions, rounded at the same places: the bits are the same.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, optim
from torch.nn import Parameter
from torch.optim import Optimizer

from recipebench.lightning_modules import exactness
from recipebench.lightning_modules.optimizers import AveragedMomentum, VelocityMomentum

Columns = dict[str, Tensor]
"""Numbers for some rows, (rows, 1) each, by name or formula."""


class VectorOptimizer(Optimizer):
    """A stock optimizer over rows, with hyper-parameters for each group of rows.

    The parameter groups are those of stock optimizers. Their `lr` is read at every step, so that stock
    schedulers can set it; their other hyper-parameters are read once.

    Args:
        groups: parameter groups whose parameters are rows, (rows, size).
        chunks: the same rows in the same order, cut into what one element-wise step handles at a time;
            (rows, size) with gradients in `.grad`.

    Attributes:
        varied: the options that may differ from group to group.
        flags: the options that are the same in all groups. All others must be off.
        exact: whether numbers are computed in Python, as stock code does; else those that change with every
            step stay on the device, which no step then waits for.
    """

    varied: ClassVar[tuple[str, ...]] = ("lr", "weight_decay")
    flags: ClassVar[tuple[str, ...]] = ()

    def __init__(self, groups: Sequence[dict[str, Any]], chunks: Sequence[Parameter]) -> None:
        super().__init__(groups, {})
        self._kind, self._device = chunks[0].dtype, chunks[0].device
        self.exact = exactness.promises_bits(self._device)
        rows = [sum(map(len, group["params"])) for group in groups]
        self._shared = len(groups) < sum(rows)
        self._groups = torch.arange(len(groups)).repeat_interleave(torch.tensor(rows)).to(self._device)
        self._whole: Columns = {}
        self._chunks: list[tuple[Parameter, Columns, dict[str, Tensor]]] = [(w, {}, {}) for w in chunks]
        self._rates: list[float] = []
        self.read_options()

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Move every row that there is.

        Args:
            closure: computes the loss and its gradients anew, where given.

        Returns:
            What `closure` returns, or None.

        Raises:
            RuntimeError: a number is too large for the type of the weights, as from stock optimizers.
        """
        with torch.enable_grad():
            loss = closure() if closure else None
        rates = self.options("lr")
        if rates != self._rates:
            self.read_rates(rates)
            self._rates = rates
        self.prepare(rates)
        for w, columns, state in self._chunks:
            assert w.grad is not None
            self.move(w, w.grad, columns, state)
        return loss

    def read_options(self) -> None:
        """Set the columns that stay."""
        self.set_switch("weight_decay")

    def read_rates(self, rates: Sequence[float]) -> None:
        """Set the columns that depend on the learning rates of the groups."""
        self.set_column("-lr", [-rate for rate in rates])

    def prepare(self, rates: Sequence[float]) -> None:
        """Set the columns that change with every step."""

    @abstractmethod
    def move(self, w: Tensor, g: Tensor, columns: Columns, state: dict[str, Tensor]) -> None:
        """Change a chunk `w` of rows in place, `g` being its gradient and `state` what is kept for it."""

    def options(self, name: str) -> list[float]:
        """Return an option of every group."""
        return [group[name] for group in self.param_groups]

    def set_column(self, name: str, values: Sequence[float]) -> None:
        """Give every chunk its part of a column.

        Args:
            name: what `move` calls it.
            values: a number for each group.
        """
        kind, largest = self._kind, torch.finfo(self._kind).max
        if max(map(abs, values)) > largest and any(largest < abs(value) < math.inf for value in values):
            fits = str(kind).removeprefix("torch.")
            raise RuntimeError(f"{name}: expected numbers that fit in {fits}, got {list(values)}.")
        self._share_out(name, torch.tensor(values, dtype=kind))

    def set_switch(self, name: str) -> None:
        """Set the column of an option that does nothing, not even 0 * inf, in groups that have it at 0."""
        values = self.options(name)
        if any(values):
            self.set_column(name, values)
        if any(values) and not all(values):
            self._share_out(f"{name} is on", torch.tensor(values, dtype=torch.float64) != 0)

    def _share_out(self, name: str, numbers: Tensor) -> None:
        column = numbers.to(self._device).unsqueeze(1)
        if self._shared:
            column = column.index_select(0, self._groups)
        if name in self._whole:
            self._whole[name].copy_(column)
            return
        column = self._whole[name] = column
        parts = column.split([len(w) for w, _, _ in self._chunks])
        for (_, columns, _), part in zip(self._chunks, parts, strict=True):
            columns[name] = part


def where_on(name: str, columns: Columns, changed: Tensor, plain: Tensor) -> Tensor:
    """Return `changed` in the rows whose option is not 0, and `plain` in the others."""
    on = columns.get(f"{name} is on")
    return changed if on is None else torch.where(on, changed, plain)


def decayed(w: Tensor, g: Tensor, columns: Columns) -> Tensor:
    """Return g + weight_decay * w."""
    if "weight_decay" not in columns:
        return g
    return where_on("weight_decay", columns, torch.addcmul(g, w, columns["weight_decay"]), g)


def kept(name: str, state: dict[str, Tensor], like: Tensor) -> Tensor:
    """Return a tensor of the state, zeros at first."""
    if name not in state:
        state[name] = torch.zeros_like(like)
    return state[name]


class VectorSGD(VectorOptimizer):
    """`torch.optim.SGD` for rows: plain, with momentum, and Nesterov's."""

    varied = ("lr", "momentum", "weight_decay")
    flags = ("nesterov",)

    def read_options(self) -> None:
        super().read_options()
        self.set_switch("momentum")

    def move(self, w: Tensor, g: Tensor, columns: Columns, state: dict[str, Tensor]) -> None:
        g = decayed(w, g, columns)
        if "momentum" in columns:
            g = where_on("momentum", columns, self._along(g, columns["momentum"], state), g)
        w.addcmul_(g, columns["-lr"])

    def _along(self, g: Tensor, momentum: Tensor, state: dict[str, Tensor]) -> Tensor:
        """Return the direction of the step; the first velocity is the gradient itself."""
        if "velocity" in state:
            state["velocity"].mul_(momentum).add_(g)
        else:
            state["velocity"] = g.clone()
        v = state["velocity"]
        return torch.addcmul(g, v, momentum) if self.param_groups[0]["nesterov"] else v


class VectorAveragedMomentum(VectorOptimizer):
    """`AveragedMomentum` for rows."""

    varied = ("lr", "momentum", "weight_decay")

    def read_options(self) -> None:
        super().read_options()
        momentum = self.options("momentum")
        self.set_column("momentum", momentum)
        self.set_column("1 - momentum", [1 - m for m in momentum])

    def move(self, w: Tensor, g: Tensor, columns: Columns, state: dict[str, Tensor]) -> None:
        v = kept("velocity", state, w)
        v.mul_(columns["momentum"]).addcmul_(decayed(w, g, columns), columns["1 - momentum"])
        w.addcmul_(v, columns["-lr"])


class VectorVelocityMomentum(VectorOptimizer):
    """`VelocityMomentum` for rows."""

    varied = ("lr", "momentum", "weight_decay")

    def read_options(self) -> None:
        super().read_options()
        self.set_column("momentum", self.options("momentum"))

    def move(self, w: Tensor, g: Tensor, columns: Columns, state: dict[str, Tensor]) -> None:
        v = kept("velocity", state, w)
        v.mul_(columns["momentum"]).addcmul_(decayed(w, g, columns), columns["-lr"])
        w.add_(v)


class VectorAdagrad(VectorOptimizer):
    """`torch.optim.Adagrad` for rows."""

    varied = ("lr", "eps", "weight_decay")

    def read_options(self) -> None:
        super().read_options()
        self.set_column("eps", self.options("eps"))

    def move(self, w: Tensor, g: Tensor, columns: Columns, state: dict[str, Tensor]) -> None:
        g = decayed(w, g, columns)
        squares = kept("squares", state, w).addcmul_(g, g)
        w.addcdiv_(g * columns["-lr"], squares.sqrt().add_(columns["eps"]))


class VectorRMSprop(VectorOptimizer):
    """`torch.optim.RMSprop` for rows."""

    varied = ("lr", "alpha", "eps", "weight_decay")

    def read_options(self) -> None:
        super().read_options()
        alpha = self.options("alpha")
        self.set_column("alpha", alpha)
        self.set_column("1 - alpha", [1 - a for a in alpha])
        self.set_column("eps", self.options("eps"))

    def move(self, w: Tensor, g: Tensor, columns: Columns, state: dict[str, Tensor]) -> None:
        g = decayed(w, g, columns)
        scaled = g * columns["1 - alpha"]
        squares = kept("squares", state, w).mul_(columns["alpha"]).addcmul_(scaled, g)
        root = torch.sqrt(squares, out=scaled).add_(columns["eps"])
        w.addcdiv_(g * columns["-lr"], root)


class VectorAdam(VectorOptimizer):
    """`torch.optim.Adam` and `torch.optim.AdamW` for rows."""

    varied = ("lr", "betas", "eps", "weight_decay")
    flags = ("decoupled_weight_decay",)

    def read_options(self) -> None:
        super().read_options()
        self._steps = 0.0
        self._betas: list[tuple[float, float]] = [group["betas"] for group in self.param_groups]
        if not self.exact:
            self._time = torch.zeros((), dtype=torch.float64, device=self._device)
            self._powers = torch.tensor(self._betas, dtype=torch.float64).to(self._device)
        self.set_column("1 - beta1", [1 - beta1 for beta1, _ in self._betas])
        self.set_column("beta2", [beta2 for _, beta2 in self._betas])
        self.set_column("1 - beta2", [1 - beta2 for _, beta2 in self._betas])
        self.set_column("eps", self.options("eps"))

    def read_rates(self, rates: Sequence[float]) -> None:
        decays = self.options("weight_decay")
        self.set_column("1 - lr decay", [1 - lr * decay for lr, decay in zip(rates, decays, strict=True)])
        if not self.exact:
            self._device_rates = torch.tensor(rates, dtype=torch.float64).to(self._device)

    def prepare(self, rates: Sequence[float]) -> None:
        if not self.exact:
            self._prepare_on_device()
            return
        self._steps += 1
        corrections = {
            b: (1 - b[0] ** self._steps, (1 - b[1] ** self._steps) ** 0.5) for b in set(self._betas)
        }
        pairs = [corrections[betas] for betas in self._betas]
        self.set_column("-step", [-(lr / first) for lr, (first, _) in zip(rates, pairs, strict=True)])
        self.set_column("root", [root for _, root in pairs])

    def _prepare_on_device(self) -> None:
        """Compute the same columns from a count of steps that lies there."""
        self._time.add_(1)
        first, second = (1 - self._powers**self._time).unbind(1)
        self._share_out("-step", -(self._device_rates / first).to(self._kind))
        self._share_out("root", second.sqrt().to(self._kind))

    def move(self, w: Tensor, g: Tensor, columns: Columns, state: dict[str, Tensor]) -> None:
        if not self.param_groups[0]["decoupled_weight_decay"]:
            g = decayed(w, g, columns)
        elif "weight_decay" in columns:
            w.mul_(columns["1 - lr decay"])
        mean = kept("mean", state, w).lerp_(g, columns["1 - beta1"])
        scaled = g * columns["1 - beta2"]
        squares = kept("squares", state, w).mul_(columns["beta2"]).addcmul_(scaled, g)
        root = torch.sqrt(squares, out=scaled).div_(columns["root"]).add_(columns["eps"])
        w.addcdiv_(mean * columns["-step"], root)


VECTOR_FORMS: dict[type[Optimizer], type[VectorOptimizer]] = {
    optim.SGD: VectorSGD,
    AveragedMomentum: VectorAveragedMomentum,
    VelocityMomentum: VectorVelocityMomentum,
    optim.Adagrad: VectorAdagrad,
    optim.RMSprop: VectorRMSprop,
    optim.Adam: VectorAdam,
    optim.AdamW: VectorAdam,
}
"""What steps many groups of rows as an optimizer of this very type steps one."""


def vector_form(optimizer: Optimizer) -> tuple[type[VectorOptimizer], list[Any]] | None:
    """Return the vector form of a stock optimizer of one group; None where there is none for it.

    Optimizers with equal answers can be stepped as one.

    Returns:
        The class, and the options that the optimizers must share.

    Example:
        >>> weights = [Parameter(torch.zeros(1, 3))]
        >>> form, shared = vector_form(optim.SGD(weights, nesterov=True, momentum=0.9))
        >>> form.__name__, shared
        ('VectorSGD', [True])
        >>> vector_form(optim.SGD(weights, maximize=True)) is None
        True
    """
    form = VECTOR_FORMS.get(type(optimizer))
    if form is None or len(optimizer.param_groups) > 1 or _altered(optimizer):
        return None
    (group,) = optimizer.param_groups
    if any(on for name, on in group.items() if name not in ("params", *form.varied, *form.flags)):
        return None
    return form, [group[name] for name in form.flags]


def _altered(optimizer: Optimizer) -> bool:
    """Whether an optimizer has a hook or a step of its own."""
    hooks = (optimizer._optimizer_step_pre_hooks, optimizer._optimizer_step_post_hooks)
    return any(hooks) or "step" in vars(optimizer)
