"""Sizes, weights and costs against torch's own layers, hand-worked numbers and counted parameters."""

from __future__ import annotations

import itertools
import subprocess
import sys
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from recipebench.errors import RequestError
from recipebench.lightning_modules.cnn import CNN
from recipebench.lightning_modules.deep_cnn import DeepCNN
from recipebench.lightning_modules.geometry import (
    EQUAL_WEIGHTS,
    RECEPTIVE_FIELDS,
    convolution_problem,
    count_multiply_adds,
    count_weights,
    output_size,
    receptive_field,
    window_problem,
    windows_of,
)
from recipebench.lightning_modules.model_catalog import MODELS


def full(model: str, **given: Any) -> Any:
    return MODELS.choose({model: given}).parameters


@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("padding", [0, 1, 2])
@pytest.mark.parametrize("kernel", [1, 2, 3, 5])
def test_sizes_are_those_of_torch(kernel: int, padding: int, stride: int) -> None:
    for height, width in itertools.product([5, 6, 7, 12], repeat=2):
        x = torch.zeros(1, 1, height, width)
        down = output_size(height, kernel, padding=padding, stride=stride)
        across = output_size(width, kernel, padding=padding, stride=stride)
        assert nn.Conv2d(1, 1, kernel, stride, padding)(x).shape == (1, 1, down, across)
        if padding <= kernel // 2:
            assert nn.MaxPool2d(kernel, stride, padding)(x).shape == (1, 1, down, across)


def test_a_window_fits_where_the_formula_has_no_rest() -> None:
    for size, kernel, padding, stride in itertools.product(range(1, 9), range(1, 5), range(3), range(1, 4)):
        span = size + 2 * padding - kernel
        fits = span >= 0 and (span / stride).is_integer()
        assert (window_problem(size, kernel, padding=padding, stride=stride) is None) == fits


def test_what_a_message_says_fits_does_fit() -> None:
    message = window_problem(28, 5, stride=3)
    assert message == (
        "stride 3 does not fit 28 + 2*0 - 5 = 23: 23/3 is not whole; strides 1 and 23 fit, or padding 2 or 5"
    )
    for stride, padding in [(1, 0), (23, 0), (3, 2), (3, 5)]:
        assert window_problem(28, 5, padding=padding, stride=stride) is None
    assert window_problem(3, 8, padding=1) == (
        "kernel 8 does not fit 3 + 2*1 = 5; kernels up to 5 fit, or padding of at least 3"
    )
    assert window_problem(3, 5, padding=1) is None
    assert window_problem(3, 8, padding=3) is None


@pytest.mark.parametrize(
    ("parameters", "shape", "message"),
    [
        (full("cnn"), (64,), r"expected images of \(channels, height, width\), got samples of \(64,\)"),
        (full("cnn", stride=2), (1, 28, 28), r"convolution 1: stride 2 does not fit 28 \+ 2\*2 - 5 = 27"),
        (full("cnn", padding=0), (1, 8, 8), r"convolution 2: kernel 5 does not fit 2 \+ 2\*0 = 2"),
        (full("cnn", channels=[4, 4, 4]), (1, 28, 28), "pool 3: pool_size 2 does not fit 7"),
        (full("cnn", pool_size=3), (1, 28, 28), "1, 2, 4, 7, 14 and 28 fit"),
        (full("cnn"), (1, 28, 30), "pool 2: pool_size 2 does not fit 15: 15/2 is not whole; 1, 3, 5 and 15"),
        (full("deep_cnn", kernel=4), (1, 28, 28), r"kernel: expected an odd number.*got 4; 3 and 5 fit"),
        (full("deep_cnn", blocks=[4, 4, 4]), (1, 28, 28), "pool 3: pool_size 2 does not fit 7"),
        (full("transfer_cnn", kernel=2, padding=0), (1, 8, 8), "pool 1: pool_size 2 does not fit 7"),
    ],
)
def test_what_does_not_fit_is_said_before_training(
    parameters: Any, shape: tuple[int, ...], message: str
) -> None:
    with pytest.raises(RequestError, match=message):
        windows_of(parameters, shape)
    assert convolution_problem(parameters, shape) is not None


@pytest.mark.parametrize("model", ["cnn", "deep_cnn", "transfer_cnn"])
@pytest.mark.parametrize("shape", [(1, 28, 28), (1, 8, 8), (3, 32, 32)])
def test_the_defaults_fit_every_image_data_set(model: str, shape: tuple[int, ...]) -> None:
    assert convolution_problem(full(model), shape) is None


def counted(network: nn.Module, shape: tuple[int, ...]) -> tuple[int, int]:
    """Count weights from the layers, and multiplications from the shapes that a forward pass has."""
    totals = [0, 0]

    def add(layer: Any, _inputs: object, outputs: Tensor) -> None:
        totals[0] += layer.weight.numel()
        totals[1] += layer.weight[0].numel() * outputs.numel()

    for layer in network.modules():
        if isinstance(layer, nn.Linear | nn.Conv2d):
            layer.register_forward_hook(add)
    network.eval()(torch.zeros(1, *shape))
    return totals[0], totals[1]


@pytest.mark.parametrize("activation", ["relu", {"maxout": {"pieces": 3}}])
@pytest.mark.parametrize(
    ("model", "given", "shape"),
    [
        ("cnn", {}, (1, 28, 28)),
        ("cnn", {"channels": [3], "kernel": 3, "padding": 0, "stride": 5, "pool": "none"}, (2, 8, 13)),
        ("cnn", {"hidden": [7, 5], "pool": "average"}, (3, 8, 12)),
        ("deep_cnn", {}, (1, 28, 28)),
        ("deep_cnn", {"blocks": [2, 3, 4], "convs_per_block": 3, "kernel": 5}, (1, 8, 16)),
    ],
)
def test_weights_and_multiplications_are_counted_as_built(
    model: str, given: Any, shape: tuple[int, ...], activation: Any
) -> None:
    kinds: dict[str, Any] = {"cnn": CNN, "deep_cnn": DeepCNN}
    network = kinds[model](in_shape=shape, out_features=6, activation=activation, **given).network
    pieces = 1 if activation == "relu" else 3

    expected = counted(network, shape)

    parameters = full(model, **given)
    assert count_weights(parameters, shape, 6, pieces=pieces) == expected[0]
    assert count_multiply_adds(parameters, shape, 6, pieces=pieces) == expected[1]


@pytest.mark.parametrize(
    ("name", "field"), [("one_5x5", 5), ("two_3x3", 5), ("one_7x7", 7), ("three_3x3", 7)]
)
def test_equal_receptive_fields_are_what_gradients_reach(name: str, field: int) -> None:
    preset = RECEPTIVE_FIELDS[name]
    model = DeepCNN(
        in_shape=(1, 11, 11),
        blocks=[1],
        pool="none",
        activation={"leaky_relu": {"negative_slope": 1.0}},
        **preset,
    )
    network: Any = model.network
    convolutions = network[: list(dict(network.named_children())).index("flatten")]
    for layer in convolutions:
        if isinstance(layer, nn.Conv2d):
            nn.init.ones_(layer.weight)
    x = torch.zeros(1, 1, 11, 11, requires_grad=True)

    convolutions(x)[0, 0, 5, 5].backward()

    assert x.grad is not None
    reached = x.grad[0, 0] != 0
    assert receptive_field([(preset["kernel"], 1)] * preset["convs_per_block"]) == field
    assert int(reached.sum()) == field**2
    low = (11 - field) // 2
    assert reached[low : low + field, low : low + field].all()
    weights = sum(layer.weight.numel() for layer in convolutions if isinstance(layer, nn.Conv2d))
    assert weights == {"one_5x5": 25, "two_3x3": 18, "one_7x7": 49, "three_3x3": 27}[name]


def test_a_receptive_field_grows_by_the_strides_before() -> None:
    windows = [(5, 1), (2, 2), (5, 1), (2, 2)]  # 5, 6, 6 + 4 * 2, 14 + 1 * 2
    assert [receptive_field(windows[:n]) for n in range(5)] == [1, 5, 6, 14, 16]


def test_presets_of_equal_weights_are_within_two_percent() -> None:
    counts = {}
    for name, preset in EQUAL_WEIGHTS.items():
        windows = [w for w in windows_of(full("deep_cnn", **preset), (1, 28, 28)) if w.kind == "convolution"]
        counts[name] = sum(w.inputs[0] * w.outputs[0] * w.kernel**2 for w in windows)
    assert counts == {"two_3x3": 16_272, "one_5x5": 16_500}


def test_geometry_needs_no_torch() -> None:
    code = "import sys, recipebench.lightning_modules.geometry; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
