"""Augmentation: exact where pixels only move, else SciPy's interpolation; all chance from one generator."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from scipy import ndimage  # type: ignore[import-untyped]
from torch import Tensor

from recipebench.datamodules import augmentation
from recipebench.datamodules.augmentation import AUGMENTERS, Canvas, augment
from recipebench.datamodules.catalog import AUGMENTATIONS
from recipebench.errors import RequestError
from recipebench.levels import Choice

LEVELS = [name for name in AUGMENTATIONS if name != "none"]
FILLS = [0.0, -0.4242, torch.tensor([[[-0.1]], [[0.2]]])]


def stream(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def images() -> Tensor:
    """Seven images of two channels, not square, in [0, 1]."""
    return torch.rand(7, 2, 9, 12, generator=stream(5))


def all_shifts(limit: int) -> tuple[Tensor, Tensor]:
    pairs = torch.tensor(list(itertools.product(range(-limit, limit + 1), repeat=2)))
    return pairs[:, 0], pairs[:, 1]


def interpolated(
    image: Tensor, degrees: float, factor: float, down: float, right: float, cval: float
) -> np.ndarray:
    """One image (height, width) by SciPy, in float64; rows before columns."""
    angle = math.radians(degrees)
    inverse = np.array([[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]]) / factor
    center = (np.array(image.shape) - 1) / 2
    offset = center - inverse @ (center + np.array([down, right]))
    found = ndimage.affine_transform(
        image.double().numpy(), inverse, offset, order=1, mode="grid-constant", cval=cval
    )
    return np.asarray(found)


def test_the_catalog_and_the_functions_have_the_same_names() -> None:
    assert list(AUGMENTERS) == LEVELS
    assert list(AUGMENTATIONS) == ["none", *LEVELS]


def test_without_augmentation_the_batch_itself_comes_back(images: Tensor) -> None:
    before = stream().get_state()
    generator = stream()

    assert augment(Choice("none", {}), images, generator) is images
    assert torch.equal(generator.get_state(), before)


@pytest.mark.parametrize("fill", FILLS)
def test_a_translation_moves_whole_pixels_exactly(fill: float | Tensor) -> None:
    down, right = all_shifts(3)
    image = torch.rand(2, 5, 4, generator=stream(1))

    found = augmentation.translate(image.expand(len(down), 2, 5, 4), down, right, fill=fill)

    for moved, d, r in zip(found, down.tolist(), right.tolist(), strict=True):
        expected = torch.roll(image, (d, r), dims=(-2, -1))
        rows, columns = torch.arange(5)[:, None] - d, torch.arange(4)[None, :] - r
        outside = (rows < 0) | (rows >= 5) | (columns < 0) | (columns >= 4)
        assert torch.equal(moved, torch.where(outside, torch.as_tensor(fill), expected))


@pytest.mark.parametrize(("padding", "name"), [("reflect", "reflect"), ("replicate", "edge")])
def test_a_crop_is_a_window_of_the_padded_image(padding: str, name: str) -> None:
    top, left = (shift + 2 for shift in all_shifts(2))
    image = torch.rand(2, 5, 4, generator=stream(2))

    found = augmentation.crop(image.expand(len(top), 2, 5, 4), top, left, pixels=2, padding=padding)

    padded = np.pad(image.numpy(), [(0, 0), (2, 2), (2, 2)], mode=name)  # type: ignore[call-overload]
    for window, t, c in zip(found, top.tolist(), left.tolist(), strict=True):
        assert np.array_equal(window.numpy(), padded[:, t : t + 5, c : c + 4])


@pytest.mark.parametrize("fill", FILLS)
def test_a_crop_of_a_constant_border_is_a_translation(images: Tensor, fill: float | Tensor) -> None:
    top, left = torch.tensor([0, 1, 2, 3, 4, 5, 6]), torch.tensor([6, 2, 3, 0, 3, 1, 5])

    found = augmentation.crop(images, top, left, pixels=3, padding="constant", fill=fill)

    assert torch.equal(found, augmentation.translate(images, 3 - top, 3 - left, fill=fill))


def test_only_the_chosen_images_are_mirrored(images: Tensor) -> None:
    chosen = torch.tensor([True, False, False, True, True, False, True])

    found = augmentation.flip(images, chosen)

    for mirrored, image, swapped in zip(found, images, chosen.tolist(), strict=True):
        assert np.array_equal(mirrored.numpy(), image.numpy()[..., ::-1] if swapped else image.numpy())


@pytest.mark.parametrize("quarters", [-1, 0, 1, 2, 3])
def test_quarter_turns_are_those_of_torch(quarters: int) -> None:
    image = torch.rand(1, 3, 28, 28, generator=stream(3))

    found = augmentation.rotate(image, torch.tensor([90.0 * quarters]))

    torch.testing.assert_close(found, torch.rot90(image, quarters, (-2, -1)), atol=1e-5, rtol=0)


@pytest.mark.parametrize("fill", [0.0, -0.4242])
@pytest.mark.parametrize("degrees", [-33.0, 10.0, 45.0, 170.0])
def test_a_turn_is_that_of_scipy(images: Tensor, degrees: float, fill: float) -> None:
    found = augmentation.rotate(images[:1], torch.tensor([degrees]), fill=fill)

    expected = ndimage.rotate(
        images[0].double().numpy(),
        degrees,
        axes=(-1, -2)[::-1],
        reshape=False,
        order=1,
        mode="grid-constant",
        cval=fill,
    )
    assert np.abs(found[0].numpy() - expected).max() < 2e-5


@pytest.mark.parametrize("fill", [0.0, -0.4242])
@pytest.mark.parametrize(
    ("degrees", "factor", "down", "right"),
    [(0.0, 1.3, 0.0, 0.0), (0.0, 0.7, 0.0, 0.0), (0.0, 1.0, 1.25, -2.0), (25.0, 0.8, -1.5, 2.25)],
)
def test_turn_zoom_and_shift_are_those_of_scipy(
    images: Tensor, degrees: float, factor: float, down: float, right: float, fill: float
) -> None:
    every = torch.ones(len(images))

    found = augmentation.affine(
        images,
        degrees=degrees * every,
        factors=factor * every,
        down=down * every,
        right=right * every,
        fill=fill,
    )

    for got, image in zip(found.flatten(0, 1), images.flatten(0, 1), strict=True):
        expected = interpolated(image, degrees, factor, down, right, fill)
        assert np.abs(got.numpy() - expected).max() < 2e-5


def test_twice_the_lengths_by_hand() -> None:
    row = torch.tensor([[[[0.0, 1.0, 2.0, 4.0]]]])

    found = augmentation.scale(row, torch.tensor([2.0]))

    # The offsets -1.5, -0.5, 0.5, 1.5 from the center are read at half of themselves. The only row lies
    # in the center, so no row is lost.
    torch.testing.assert_close(found, torch.tensor([[[[0.75, 1.25, 1.75, 2.5]]]]))


def test_brightness_by_hand_and_inside_its_range() -> None:
    unit = torch.tensor([[[[0.0, 0.4, 0.9]]]]).expand(3, 1, 1, 3)
    factors = torch.tensor([0.0, 0.5, 1.5])
    by_hand = torch.tensor([[0.0, 0.0, 0.0], [0.0, 0.2, 0.45], [0.0, 0.6, 1.0]]).view(3, 1, 1, 3)

    torch.testing.assert_close(augmentation.brightness(unit, factors), by_hand)
    standardized = augmentation.brightness((unit - 0.1) / 0.3, factors, fill=-1 / 3, full=3.0)
    torch.testing.assert_close(standardized, (by_hand - 0.1) / 0.3)
    assert float(standardized.max()) == 3.0


@pytest.mark.parametrize("name", LEVELS)
def test_augmenting_and_standardizing_change_places(name: str, images: Tensor) -> None:
    choice = AUGMENTATIONS.choose(name)
    mean, std = torch.tensor([0.13, 0.3]).view(2, 1, 1), torch.tensor([0.31, 0.5]).view(2, 1, 1)

    first = augment(choice, images, stream(3))
    second = augment(choice, (images - mean) / std, stream(3), fill=-mean / std, full=(1 - mean) / std)

    assert not torch.equal(first, images)
    torch.testing.assert_close(second, (first - mean) / std, atol=2e-6, rtol=0)
    assert float(first.min()) >= 0
    assert float(first.max()) <= 1


@pytest.mark.parametrize("name", LEVELS)
def test_the_same_state_gives_the_same_bits_however_the_stream_is_cut(name: str) -> None:
    choice = AUGMENTATIONS.choose(name)
    images = torch.rand(45, 1, 28, 28, generator=stream(6))
    before, world = images.clone(), torch.get_rng_state()

    whole = augment(choice, images, stream(8))
    generator = stream(8)
    pieces = [augment(choice, piece, generator) for piece in images.split([7, 29, 1, 8])]

    assert torch.equal(torch.cat(pieces), whole)
    assert torch.equal(augment(choice, images, stream(8)), whole)
    assert not torch.equal(augment(choice, images, stream(9)), whole)
    assert torch.equal(images, before)
    assert torch.equal(torch.get_rng_state(), world)
    assert whole.shape == images.shape
    assert whole.dtype == torch.float32


def test_all_shifts_are_equally_likely() -> None:
    image = torch.zeros(1, 1, 5, 5)
    image[0, 0, 2, 2] = 1

    found = augment(AUGMENTATIONS.choose("translate"), image.expand(20_000, 1, 5, 5), stream(4))

    counts = found.sum(dim=(0, 1)).flatten()
    assert found.sum() == 20_000
    chi_square = float(((counts - 800) ** 2 / 800).sum())
    assert chi_square < 52.6  # the 0.9995 quantile at 24 degrees of freedom


def test_half_of_the_images_are_mirrored() -> None:
    image = torch.tensor([[[[0.0, 1.0]]]]).expand(10_000, 1, 1, 2)

    found = augment(AUGMENTATIONS.choose("flip"), image, stream(4))

    assert abs(float(found[..., 0].mean()) - 0.5) < 3.5 * 0.005


@pytest.mark.parametrize(("u", "end"), [(0.0, -1.0), (1.0, 1.0)])
def test_the_ends_of_the_draws_are_the_amounts(images: Tensor, u: float, end: float) -> None:
    ends = torch.full((len(images),), end)
    canvas = Canvas(0.0, 1.0)

    def draw(count: int) -> tuple[Tensor, ...]:
        return (torch.full((len(images),), u, dtype=torch.float64),) * count

    expected: dict[str, Tensor] = {
        "rotate": augmentation.rotate(images, 30 * ends),
        "scale": augmentation.scale(images, 1 + 0.25 * ends),
        "brightness": augmentation.brightness(images, 1 + 0.25 * ends),
        "affine": augmentation.affine(
            images, degrees=30 * ends, factors=1 + 0.25 * ends, down=2 * ends, right=2 * ends
        ),
    }
    amounts: dict[str, dict[str, float]] = {
        "rotate": {"degrees": 30.0},
        "scale": {"amount": 0.25},
        "brightness": {"amount": 0.25},
        "affine": {"degrees": 30.0, "pixels": 2, "scale": 0.25},
    }
    for name, result in expected.items():
        assert torch.equal(AUGMENTERS[name](images, draw, canvas, **amounts[name]), result)


@pytest.mark.parametrize(
    ("spec", "tolerance"),
    [
        ({"translate": {"pixels": 0}}, 0.0),
        ({"crop": {"pixels": 0}}, 0.0),
        ({"flip": {"p": 0.0}}, 0.0),
        ({"brightness": {"amount": 0.0}}, 0.0),
        ({"rotate": {"degrees": 0.0}}, 5e-6),
        ({"scale": {"amount": 0.0}}, 5e-6),
        ({"affine": {"degrees": 0.0, "pixels": 0, "scale": 0.0}}, 5e-6),
    ],
)
def test_an_amount_of_nothing_changes_nothing(
    spec: dict[str, object], tolerance: float, images: Tensor
) -> None:
    found = augment(AUGMENTATIONS.choose(spec), images, stream())

    torch.testing.assert_close(found, images, atol=tolerance, rtol=0)


def test_an_empty_batch_stays_empty(images: Tensor) -> None:
    for name in LEVELS:
        assert augment(AUGMENTATIONS.choose(name), images[:0], stream()).shape == (0, 2, 9, 12)


def test_what_cannot_be_augmented_is_refused(images: Tensor) -> None:
    with pytest.raises(RequestError, match=r"rotate: expected images \(batch.*got \(7, 2\)"):
        augment(Choice("rotate", {}), images[..., 0, 0], stream())
    with pytest.raises(RequestError, match=r"Unknown augmentation 'rotat'.*Did you mean 'rotate'"):
        augment(Choice("rotat", {}), images, stream())
    with pytest.raises(RequestError, match="less than the sides of an image of 9 x 12 pixels, got 9"):
        augment(Choice("crop", {"pixels": 9}), images, stream())
    with pytest.raises(RequestError, match=r"fill: expected a number or \(channels, 1, 1\), got \(9, 12\)"):
        augment(Choice("flip", {}), images, stream(), fill=torch.zeros(9, 12))
