"""A pack's step as a CUDA graph: recorded once for each shape of a batch, then started by a single call.

A step of a pack is a hundred small kernels, each of which has to be started. Recorded, they start together.
What is recorded is what the device did, not why: numbers that Python computed stay what they were, so a step
may be recorded only if all that changes from step to step lies on the device, batches in tensors of their
own, counts and states too. `recording_obstacle` says where that is not so.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from recipebench.lightning_modules import exactness
from recipebench.lightning_modules.losses import END_TO_END
from recipebench.lightning_modules.optimizers import SHIPPED
from recipebench.lightning_modules.packed.base import Inputs
from recipebench.lightning_modules.packed.penalties import TOGETHER
from recipebench.lightning_modules.regularizers import PENALTIES

if TYPE_CHECKING:
    from recipebench.lightning_modules.shares import Share

EAGER_STEPS = 2
"""Steps of a kind that are taken as they are written before one is recorded: the first makes the states."""

Outputs = tuple[Tensor, Tensor]
"""Losses (K, batch) and penalties (K,) of a step."""

Step = Callable[[Inputs, Tensor, int | None], Outputs]
"""Trains on a batch: inputs, targets, samples of the whole batch."""

Capture = Callable[[Callable[[], Outputs]], tuple[Callable[[], object], Outputs]]
"""Records work without doing it; returns what does it, and the tensors that then hold what it returned."""


def cuda_capture(work: Callable[[], Outputs]) -> tuple[Callable[[], object], Outputs]:
    """Record what work does on the current graphics processor as a graph of its own memory.

    References:
        `torch.cuda.CUDAGraph`.
    """
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        outputs = work()
    return graph.replay, outputs


def recording_obstacle(members: Sequence[Any], share: Share, device: torch.device) -> str | None:
    """Say why the steps of a pack cannot be recorded, or return None.

    Args:
        members: the modules, with `.optimizer`, `.regularizer` and `.loss`.
        share: of this process in every batch.
        device: of the pack.
    """
    if exactness.promises_bits(device):
        return f"steps are recorded on graphics processors, not on {device.type}"
    if share.ranks > 1:
        return "several processes add up gradients in every step"
    for member in members:
        penalty = member.regularizer.name
        if member.optimizer.name not in SHIPPED or (penalty in PENALTIES and penalty not in TOGETHER):
            return "a plug-in's optimizer or penalty may compute in Python"
        if member.loss.name not in END_TO_END:
            return "a plug-in's loss may compute in Python"
    return None


@dataclass(frozen=True)
class _Recorded:
    """A step on tensors of its own: what it reads, what starts it, what it writes."""

    inputs: list[Tensor]
    targets: Tensor
    start: Callable[[], object]
    outputs: Outputs

    def __call__(self, inputs: Sequence[Tensor], targets: Tensor) -> Outputs:
        for own, given in zip(self.inputs, inputs, strict=True):
            own.copy_(given)
        self.targets.copy_(targets)
        self.start()
        losses, penalties = self.outputs
        return losses.clone(), penalties.clone()


class RecordedSteps:
    """Takes steps as they are written at first, then as they were recorded.

    A change of the learning rates, which happens between epochs, forgets what was recorded: stock optimizers
    write their rate into it.

    Args:
        step: trains on a batch.
        rates: returns the learning rates of the next step.
        capture: records work.
    """

    def __init__(
        self,
        step: Step,
        rates: Callable[[], list[float | None]],
        capture: Capture = cuda_capture,
    ) -> None:
        self._step, self._rates, self._capture = step, rates, capture
        self._known: list[float | None] = []
        self._seen: Counter[Any] = Counter()
        self._recorded: dict[Any, _Recorded] = {}

    def __call__(self, inputs: Inputs, targets: Tensor, samples: int | None = None) -> Outputs:
        """Take a step; see `PackedModule.step`."""
        self._forget_old_rates()
        different = [inputs] if isinstance(inputs, Tensor) else list({id(x): x for x in inputs}.values())
        key = (targets.shape, samples, len(different))
        self._seen[key] += 1
        if self._seen[key] <= EAGER_STEPS:
            return self._step(inputs, targets, samples)
        if key not in self._recorded:
            self._recorded[key] = self._record(inputs, different, targets, samples)
        return self._recorded[key](different, targets)

    def _record(
        self, inputs: Inputs, different: Sequence[Tensor], targets: Tensor, samples: int | None
    ) -> _Recorded:
        own, own_targets = [x.clone() for x in different], targets.clone()
        places = {id(x): place for place, x in enumerate(different)}
        given = own[0] if isinstance(inputs, Tensor) else [own[places[id(x)]] for x in inputs]
        start, outputs = self._capture(lambda: self._step(given, own_targets, samples))
        return _Recorded(own, own_targets, start, outputs)

    def _forget_old_rates(self) -> None:
        rates = self._rates()
        if rates != self._known:
            self._known = rates
            self._seen.clear()
            self._recorded.clear()
