"""A pack: K supervised modules of one shape, trained as one by a single `Trainer.fit`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from pytorch_lightning import LightningModule
from torch import Tensor, nn
from torch.optim import Optimizer

from recipebench.lightning_modules import regularizers
from recipebench.lightning_modules.losses import END_TO_END
from recipebench.lightning_modules.optimizers import OPTIMIZERS
from recipebench.lightning_modules.packed.base import altered, stacked
from recipebench.lightning_modules.packed.graphs import Capture, RecordedSteps, Step, recording_obstacle
from recipebench.lightning_modules.packed.layers import Inputs, layer_obstacle, pack_layer
from recipebench.lightning_modules.packed.optimizers import Slice
from recipebench.lightning_modules.packed.own_levels import (
    add_penalty_gradients,
    member_losses,
    member_optimizers,
)
from recipebench.lightning_modules.packed.penalties import TOGETHER, together
from recipebench.lightning_modules.packed.stack import ParameterStack
from recipebench.lightning_modules.shares import Share
from recipebench.lightning_modules.supervised import SupervisedModule


def obstacle(module: LightningModule) -> str | None:
    """Say why a module cannot be packed, or return None when it can.

    A pack repeats `SupervisedModule.training_step` for a chain of layers that have packed forms, by
    exact type: anything that overrides a step, a layer or an optimizer may mean something else.

    Example:
        >>> from recipebench.lightning_modules import MLP
        >>> obstacle(MLP()) is None
        True
    """
    if not isinstance(module, SupervisedModule):
        return f"{type(module).__name__} is not a SupervisedModule"
    if own := _overrides(type(module)):
        return f"{type(module).__name__} has a {own[0]} of its own"
    if type(module.network) is not nn.Sequential:
        return "its network is not a plain chain of layers"
    if len(set(module.network)) != len(module.network):
        return "a layer of its network occurs twice"
    if altered(module) or altered(module.network):
        return "it has a hook or a method of its own"
    for name, layer in module.network.named_children():
        if reason := layer_obstacle(layer):
            return f"layer {name} ({type(layer).__name__}) {reason}"
    return _parameter_obstacle(module)


def mixing_obstacle(module: Any) -> str | None:
    """Say why a module that can be packed cannot compute with other numbers than its parameters, or None.

    Args:
        module: a `SupervisedModule` without `obstacle`.
    """
    for name, layer in module.network.named_children():
        packed: Any = pack_layer.dispatch(type(layer))
        if not packed.mixes:
            return f"layer {name} ({type(layer).__name__}) has no packed form for mixed numbers"
    return None


def _overrides(kind: type) -> list[str]:
    """Return what the classes below `SupervisedModule` define anew, except how they are built."""
    below = kind.__mro__[: kind.__mro__.index(SupervisedModule)]
    return [
        name
        for c in below
        for name in vars(c)
        if not name.startswith("__") and hasattr(SupervisedModule, name)
    ]


def _parameter_obstacle(module: SupervisedModule) -> str | None:
    """Say what keeps the parameters from being rows: each is to be one layer's own, trained, of one type."""
    parameters = [p for layer in module.network.children() for p in layer.parameters()]
    if len(parameters) != len(list(module.parameters())) or len({id(p) for p in parameters}) != len(
        parameters
    ):
        return "it has parameters that are shared, or belong to no layer"
    if len(places := {(p.dtype, p.device) for p in parameters}) > 1:
        return f"it has parameters of {' and '.join(sorted(f'{kind} on {where}' for kind, where in places))}"
    for p in parameters:
        if p.dtype not in (torch.float32, torch.float64):
            return f"it has parameters of {p.dtype}"
        if not p.requires_grad or p._backward_hooks or getattr(p, "_post_accumulate_grad_hooks", None):
            return "it has parameters that are frozen or have a hook"
    return None


class PackedModule(LightningModule):
    """K supervised modules, trained together and bit for bit as each would be alone.

    The members stay ordinary modules whose parameters are views of one `ParameterStack`; evaluate or
    save them as they are. One training step takes a block of batches, so that the trainer's own
    work is shared by many steps.

    Args:
        members: modules with equal networks; they may differ in initial draws, penalty, optimizer.
            Members with equal optimizers should follow each other.
        noise_seeds: the seed of each member's noise stream.
        share: what of every batch this process gets; the gradients of all are added up before a step.
        kind: the numbers that layers compute with between the parameters and the losses, which keep theirs;
            None for the parameters' own.
        capture: records steps (`graphs.cuda_capture`), where nothing is in the way; None takes each as it is
            written.

    Raises:
        ValueError: a member cannot be packed, or their networks differ, or a layer cannot compute with
            `kind`.
    """

    def __init__(
        self,
        members: Sequence[SupervisedModule],
        noise_seeds: Sequence[int],
        share: Share | None = None,
        *,
        kind: torch.dtype | None = None,
        capture: Capture | None = None,
    ) -> None:
        super().__init__()
        for member in members:
            if reason := obstacle(member):
                raise ValueError(f"Cannot be packed: {reason}.")
        if len({repr(member.network) for member in members}) > 1:
            raise ValueError("Cannot be packed: the networks of the members differ.")
        self.automatic_optimization = False
        self.members = list(members)
        self.share = share or Share()
        networks = [member.eval().network for member in members]
        self.stack = ParameterStack(networks, noise_seeds, kind)
        self.layers = [
            pack_layer(layer, [network.get_submodule(name) for network in networks], name, self.stack)
            for name, layer in networks[0].named_children()
        ]
        self._first_trained = next(i for i, layer in enumerate(self.layers) if layer.has_parameters)
        self.layers[self._first_trained].needs_input_grad = False
        if self.stack.kind != self.stack.values.dtype and (reason := mixing_obstacle(members[0])):
            raise ValueError(f"Cannot be packed: {reason}.")
        self._penalized = [k for k, m in enumerate(members) if m.regularizer.name in regularizers.PENALTIES]
        self._together = [] if self.stack.exact else together(members, self.layers)
        if self._together:
            self._penalized = [k for k in self._penalized if members[k].regularizer.name not in TOGETHER]
        self._slices: list[Slice] = []
        self.validation_losses: dict[int, float] = {}
        self._take: Step = self.step
        if capture and not self.recording_obstacle():
            self._take = RecordedSteps(self.step, self.learning_rates, capture)

    def recording_obstacle(self) -> str | None:
        """Say why steps are not recorded where that is asked for, or return None."""
        return recording_obstacle(self.members, self.share, self.stack.values.device)

    def configure_optimizers(self) -> list[Optimizer]:
        """Return the optimizers over slices of the stack."""
        self._slices = member_optimizers(self.stack, self.members, OPTIMIZERS, self.trainer.max_epochs or 1)
        return [part.optimizer for part in self._slices]

    def on_train_epoch_end(self) -> None:
        """Step the schedules, on what a callback has put into `validation_losses` in this epoch."""
        for part in self._slices:
            part.end_epoch(self.validation_losses)

    def learning_rates(self) -> list[float | None]:
        """Return the learning rate of every member in this epoch."""
        return [rate for part in self._slices for rate in part.rates]

    def finite(self) -> Tensor:
        """Return for each member whether all its parameters are finite: (K,) bool."""
        return torch.isfinite(self.stack.values).all(1)

    def training_step(self, batch: Iterable[tuple[Inputs, Tensor, int]], batch_idx: int) -> dict[str, Tensor]:
        """Train on a block of batches; return losses (K, samples of the block) and penalties (steps, K)."""
        losses, penalties = zip(*(self._take(*each) for each in batch), strict=True)
        return {"losses": torch.cat(losses, dim=1), "penalties": torch.stack(penalties)}

    @torch.no_grad()
    def step(self, inputs: Inputs, targets: Tensor, samples: int | None = None) -> tuple[Tensor, Tensor]:
        """Train every member on one batch of its own.

        Args:
            inputs: (K, batch, ...) float32, or K tensors (batch, ...) of which some are the same.
            targets: (K, batch) int64 or (K, batch, 1) float32.
            samples: of the whole batch, of which this process may have a part; None for those given.

        Returns:
            The losses of every sample, (K, batch), and the penalties, (K,), before the update.
        """
        x = inputs
        for layer in self.layers:
            x = layer.forward(x)
        outputs = stacked(x).to(self.stack.values.dtype)
        losses, grad = self._losses(outputs, targets, samples or targets.shape[1])
        grad = grad.to(self.stack.kind)
        for layer in reversed(self.layers[self._first_trained :]):
            grad = layer.backward(grad)
        self.share.add_up(self.stack.grads)
        penalties = self._penalize()
        for part in self._slices:
            part.optimizer.step()
        return losses, penalties

    def _losses(self, outputs: Tensor, targets: Tensor, samples: int) -> tuple[Tensor, Tensor]:
        """Return the losses, (K, batch), and the gradient of each member's mean loss by its outputs."""
        if self.members[0].loss.name not in END_TO_END:
            return member_losses(self.members, outputs, targets, samples)
        with torch.enable_grad():
            leaf = outputs.flatten(0, 1).detach().requires_grad_()
            losses = self.members[0].losses(leaf, targets.flatten(0, 1))
        (grad,) = torch.autograd.grad(losses, leaf, torch.full_like(losses, 1 / samples))
        return losses.detach().view(outputs.shape[:2]), grad.view_as(outputs)

    def _penalize(self) -> Tensor:
        """Add the penalties' gradients to the stack and return their values, (K,)."""
        values = self.stack.values.new_zeros(len(self.members))
        for kind in self._together:
            kind.add(values)
        for k in self._penalized:
            member = self.members[k]
            if member.regularizer.name not in regularizers.PENALTY_GRADIENTS:
                values[k] = add_penalty_gradients(self.stack, member, k)
                continue
            values[k] = member.penalty()
            gradient = regularizers.PENALTY_GRADIENTS[member.regularizer.name]
            for layer in self.layers:
                if layer.weight_grad is not None and layer.weight is not None:
                    layer.weight_grad[k] += gradient(layer.weight[k], **member.regularizer.parameters)
        return values
