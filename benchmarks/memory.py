"""How much memory of a graphics processor a pack takes, estimated without torch, to plan packs by."""

from __future__ import annotations

from recipebench.benchmarks.cells import Cell
from recipebench.datamodules.catalog import facts_of, split_sizes
from recipebench.lightning_modules import geometry
from recipebench.lightning_modules.catalog import REGULARIZERS
from recipebench.lightning_modules.model_catalog import CONVOLUTIONAL, layer_widths
from recipebench.lightning_modules.shapes import hidden_widths

BYTES = {"64-true": 8}
"""Bytes of a number, by precision; 4 unless it stands here."""

COPIES_OF_WEIGHTS = 6
"""Weights, gradients, two states of an optimizer, and two temporary results as large."""

COPIES_OF_UNITS = 5
"""What a layer gives, what its activation gives, the gradients of both, and noise or choices."""

COPIES_OF_LOSSES = 4
"""Of an epoch's losses: in pieces, in one piece, and once in float64."""

COPIES_OF_OUTPUTS = 6
"""Of evaluated outputs: each member's, in one piece, log-probabilities, and losses in float64."""

EVALUATED = 16_384
"""Samples that are evaluated at a time on a graphics processor; see `recorder.rows_at_a_time`."""

CONTEXT = 1_500_000_000
"""Bytes that a process takes before it has computed anything, about: code of kernels and work space."""

SHARE = 0.7
"""Part of the free memory that is planned with; what lies between is rounding and what was forgotten."""

MOST = 512
"""Cells in a pack at most, however small: a pack that fails is lost as a whole."""


def cells_that_fit(cell: Cell, weights: int, memory: float) -> int:
    """Return how many cells like this one to train in a pack on a graphics processor; 1 at least.

    Args:
        cell: one of them.
        weights: of its network.
        memory: bytes that are free there for this pack.
    """
    room = SHARE * memory - CONTEXT - resident_bytes(cell)
    return min(MOST, max(1, int(room // cell_bytes(cell, weights))))


def cell_bytes(cell: Cell, weights: int) -> int:
    """Return the bytes that one more cell takes in a pack, rather too many than too few.

    Args:
        cell: what is trained.
        weights: of its network.
    """
    facts, number = facts_of(cell.data), BYTES.get(cell.precision, 4)
    samples = split_sizes(cell.data, cell.validation, cell.train_samples).train
    batch = min(cell.batch_size, samples)
    numbers = COPIES_OF_WEIGHTS * weights + batch * (facts.in_features + COPIES_OF_UNITS * _units(cell))
    numbers += COPIES_OF_LOSSES * samples + COPIES_OF_OUTPUTS * EVALUATED * facts.out_features
    return number * numbers


def resident_bytes(cell: Cell) -> int:
    """Return the bytes of data that lie on the device: inputs as float32 at most, targets and orders."""
    facts, sizes = facts_of(cell.data), split_sizes(cell.data, cell.validation)
    samples = sizes.train + sizes.validation + sizes.test
    return samples * (4 * facts.in_features + 16) + 4 * EVALUATED * (facts.in_features + 4 * _units(cell))


def _units(cell: Cell) -> int:
    """Count the numbers that the layers of a network give for one sample."""
    facts = facts_of(cell.data)
    pieces = cell.activation.parameters.get("pieces", 1) if cell.activation else 1
    assert isinstance(pieces, int)
    wider = pieces + (1 if cell.regularizer and REGULARIZERS[cell.regularizer.name].structural else 0)
    if cell.model.name in CONVOLUTIONAL:
        windows = geometry.windows_of(cell.model.parameters, facts.shape)
        maps = sum(c * h * w for c, h, w in (window.outputs for window in windows))
        return wider * (maps + sum(layer_widths(cell.model))) + facts.out_features
    hidden = layer_widths(cell.model)
    if cell.activation and hidden:
        hidden = hidden_widths(facts.in_features, hidden, facts.out_features, cell.activation)
    return wider * sum(hidden) + facts.out_features
