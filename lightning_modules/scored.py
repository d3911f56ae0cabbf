"""What every model has that is scored on samples: task, losses, evaluation steps and their logging."""

from __future__ import annotations

from abc import abstractmethod

from torch import Tensor

from recipebench.errors import RequestError, unknown
from recipebench.lightning_modules.losses import LOSSES
from recipebench.lightning_modules.recorded import RecordedModule
from recipebench.lightning_modules.scores import Scores

TASK_LOSSES = {"classification": "cross_entropy", "regression": "mse"}
"""The tasks, and the loss that is measured in each unless a module says otherwise."""


class ScoredModule(RecordedModule):
    """A model of (input, target) pairs that validation and test batches are scored with.

    Args:
        task: `classification` (outputs (batch, classes), targets int64 (batch,)) or `regression`
            (outputs and targets float32 (batch, 1)).

    Raises:
        RequestError: the task is not known.
    """

    def __init__(self, task: str) -> None:
        super().__init__()
        if task not in TASK_LOSSES:
            raise RequestError(unknown("task", task, TASK_LOSSES))
        self.task = task
        self.scores = Scores(task)

    @abstractmethod
    def forward(self, x: Tensor) -> Tensor:
        """Return the outputs of a batch of inputs: (batch, ...) float32 to (batch, out_features)."""

    def losses(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the data loss of every sample: cross-entropy -log softmax(o)_y in nats, or (o - y)².

        Args:
            outputs: (batch, out_features) logits, or (batch, 1) predictions.
            targets: (batch,) int64, or (batch, 1) float32.

        Returns:
            (batch,) float32; its mean is what torch's `CrossEntropyLoss` or `MSELoss` returns.
        """
        losses: Tensor = LOSSES[TASK_LOSSES[self.task]](outputs, targets)
        return losses

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        """Add a batch to the validation scores."""
        self._score(batch)

    def test_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        """Add a batch to the test scores."""
        self._score(batch)

    def on_validation_epoch_start(self) -> None:
        """Forget what an interrupted evaluation left."""
        self.scores.reset()

    def on_test_epoch_start(self) -> None:
        """Forget what an interrupted evaluation left."""
        self.scores.reset()

    def on_validation_epoch_end(self) -> None:
        """Log `validation_loss` and `validation_accuracy` (or `validation_mse`, `validation_r2`)."""
        self._log("validation")

    def on_test_epoch_end(self) -> None:
        """Log `test_loss` and `test_accuracy` (or `test_mse`, `test_r2`)."""
        self._log("test")

    def _score(self, batch: tuple[Tensor, Tensor]) -> None:
        inputs, targets = batch
        outputs = self(inputs)
        self.scores.update(outputs, targets, self.losses(outputs, targets))

    def _log(self, split: str) -> None:
        self.log_dict({f"{split}_{name}": value for name, value in self.scores.compute().items()})
