"""The catalog of data: names, facts recomputed from the real data, sizes and hashes."""

from __future__ import annotations

import gzip
import hashlib
import math
import subprocess
import sys
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_digits  # type: ignore[import-untyped]

from recipebench.datamodules import DATA_MODULES, create
from recipebench.datamodules.catalog import (
    DATA,
    FACTS,
    File,
    Sizes,
    data_key,
    data_sha256,
    facts_of,
    split_sizes,
)
from recipebench.errors import RequestError
from recipebench.levels import Choice

MNIST_SHA256 = "62729ea254c88b557c57e16ce28b4a14eab06f970d63b53da51dc8cad75d10a7"
SYNTHETIC_SHA256 = "a02fb8d0f75d556f6b0ccefd90ddf16ce4d31bd09b4ec8a75b29abb69c92fabb"
NAMES = list(DATA)


def moments(values: np.ndarray, scale: int) -> tuple[float, float]:
    """Mean and standard deviation of integers over `scale`, rounded once."""
    counts = [int(count) for count in np.bincount(values.ravel())]
    n = sum(counts)
    mean = Fraction(sum(v * c for v, c in enumerate(counts)), n)
    variance = Fraction(sum(v * v * c for v, c in enumerate(counts)), n) - mean**2
    return float(mean / scale), math.sqrt(variance) / scale


def test_the_tables_have_the_same_names() -> None:
    assert list(DATA) == list(FACTS) == list(DATA_MODULES)
    assert NAMES[:4] == ["synthetic_regression", "digits", "mnist", "fashion_mnist"]
    assert [cls.name for cls in DATA_MODULES.values()] == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_levels_and_facts_agree(name: str) -> None:
    facts = FACTS[name]

    assert DATA[name].tasks == facts.tasks == (facts.task,)
    assert facts.out_features == (facts.classes or facts.actions or 1)
    assert all(len(text) > 2 for text in (facts.license, facts.source, facts.citation))
    assert all(mirror.startswith("http") and mirror.endswith("/") for mirror in facts.mirrors)
    assert bool(facts.files) == bool(facts.mirrors) != bool(facts.content)


@pytest.mark.parametrize("name", NAMES)
def test_modules_have_the_defaults_of_the_catalog(name: str) -> None:
    module = create(DATA.choose(name))

    assert type(module) is DATA_MODULES[name]
    assert module.choice == DATA.choose(name)
    assert module.key == data_key(name, module.choice.parameters)


@pytest.mark.parametrize("name", ["mnist", "fashion_mnist"])
def test_facts_of_the_files(name: str, real_files: Callable[[str], dict[File, Path]]) -> None:
    found = real_files(name)
    facts = FACTS[name]

    contents = []
    for file, path in found.items():
        data = path.read_bytes()
        plain = data
        if path.suffix == ".gz":
            assert (len(data), hashlib.sha256(data).hexdigest()) == (file.size, file.sha256)
            plain = gzip.decompress(data)
        assert (len(plain), hashlib.sha256(plain).hexdigest()) == (file.plain_size, file.plain_sha256)
        contents.append(plain)

    images, labels, test_images, test_labels = contents
    pixels = np.frombuffer(images, np.uint8, offset=16)
    assert pixels.size == facts.train * facts.in_features
    assert len(test_images) - 16 == facts.test * facts.in_features
    assert (len(labels) - 8, len(test_labels) - 8) == (facts.train, facts.test)
    assert moments(pixels, 255) == (facts.mean, facts.std)
    assert set(labels[8:]) == set(test_labels[8:]) == set(range(10))
    assert facts.classes == 10


def test_facts_of_digits() -> None:
    bunch = load_digits()
    images = bunch.images.astype(np.uint8)
    facts = FACTS["digits"]
    content = hashlib.sha256(images.tobytes() + bunch.target.astype(np.uint8).tobytes()).hexdigest()

    assert (images == bunch.images).all()
    assert images.shape == (facts.train, *facts.shape[1:])
    assert images.max() == facts.scale
    assert moments(images, 16) == (facts.mean, facts.std)
    assert facts.content == data_sha256(Choice("digits", {})) == content
    assert facts.classes == len(bunch.target_names)


def test_data_sha256_is_frozen_and_tells_contents_apart() -> None:
    default = data_sha256(Choice("synthetic_regression", {}))

    assert data_sha256(Choice("mnist", {})) == MNIST_SHA256
    assert default == SYNTHETIC_SHA256
    assert data_sha256(DATA.choose("synthetic_regression")) == default
    assert data_sha256(Choice("synthetic_regression", {"noise": 0, "n": 1000})) != default
    every = {data_sha256(DATA.choose(name)) for name in NAMES}
    assert len(every) == len(NAMES)


@pytest.mark.parametrize(
    ("spec", "validation", "sizes"),
    [
        ("mnist", 0.1, Sizes(54_000, 6_000, 10_000)),
        ("fashion_mnist", 5_000, Sizes(55_000, 5_000, 10_000)),
        ("mnist", 59_999, Sizes(1, 59_999, 10_000)),
        ("digits", 0.1, Sizes(1_294, 144, 359)),
        ("synthetic_regression", 0.1, Sizes(720, 80, 200)),
        ({"synthetic_regression": {"n": 10}}, 0.25, Sizes(6, 2, 2)),
        ({"temperatures": {"years": 1, "window": 15}}, 0.25, Sizes(210, 70, 70)),
        ("iris", 0.1, Sizes(108, 12, 30)),
    ],
)
def test_split_sizes(spec: object, validation: float, sizes: Sizes) -> None:
    assert split_sizes(DATA.choose(spec), validation) == sizes


@pytest.mark.parametrize(("train_samples", "train"), [(None, 54_000), (1, 1), (54_000, 54_000)])
def test_split_sizes_of_a_part_of_the_training_data(train_samples: int | None, train: int) -> None:
    assert split_sizes(Choice("mnist", {}), 0.1, train_samples) == Sizes(train, 6_000, 10_000)


@pytest.mark.parametrize("train_samples", [0, -1, 54_001, 0.5, True, "all"])
def test_train_samples_that_do_not_fit_are_refused(train_samples: int) -> None:
    with pytest.raises(RequestError, match="mnist: train_samples: expected a count from 1 to 54000, the"):
        split_sizes(Choice("mnist", {}), 0.1, train_samples)


@pytest.mark.parametrize("validation", [60_000, 70_000, 1e-9, 0.999999])
def test_validation_that_does_not_fit_is_refused(validation: float) -> None:
    with pytest.raises(RequestError, match=r"mnist: validation: expected 1 to 59999 of the 60000 training"):
        split_sizes(Choice("mnist", {}), validation)


@pytest.mark.parametrize("validation", [0, -1, 0.0, 1.0, 1.5, -0.1, True, math.nan, "0.1", None])
def test_validation_that_is_no_count_or_fraction_is_refused(validation: float) -> None:
    with pytest.raises(RequestError, match=r"expected a count of at least 1 or a fraction strictly between"):
        split_sizes(Choice("digits", {}), validation)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("minst", r"Unknown data 'minst'\. .* Did you mean 'mnist'\?"),
        ({"mnist": {"n": 5}}, "data mnist: expected no hyper-parameters, got 'n'"),
        ({"synthetic_regression": {"teacher": "linaer"}}, "Did you mean 'linear'"),
        ({"synthetic_regression": {"n": 9}}, "n: expected a whole number between 10 and 1e"),
        ({"synthetic_regression": {"noise": -0.1}}, "noise: expected a number between 0 and 1000"),
    ],
)
def test_bad_requests_are_named(spec: object, message: str) -> None:
    with pytest.raises(RequestError, match=message):
        DATA.choose(spec)


def test_facts_follow_the_parameters() -> None:
    assert facts_of(DATA.choose("temperatures")) == facts_of("temperatures")
    chosen = facts_of(DATA.choose({"temperatures": {"years": 2, "window": 7}}))
    assert (chosen.train, chosen.shape, chosen.in_features) == (723, (7,), 7)
    assert facts_of(Choice("curve", {"n": 33})).train == 33
    assert facts_of(Choice("digits", {})) == FACTS["digits"]


def test_facts_of_an_unknown_data_set() -> None:
    with pytest.raises(RequestError, match=r"Did you mean 'digits'\?"):
        facts_of("digit")


def test_catalog_fetch_and_package_do_not_import_torch() -> None:
    code = (
        "import sys; import recipebench.datamodules as d; from recipebench.datamodules import catalog, fetch;"
        "heavy = {'torch', 'pytorch_lightning', 'sklearn', 'pooch', 'requests'} & set(sys.modules);"
        "assert not heavy, heavy; assert 'MNIST' in dir(d)"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)

    assert (done.returncode, done.stderr) == (0, "")


def test_an_unknown_public_name_is_an_attribute_error() -> None:
    import recipebench.datamodules as package

    with pytest.raises(AttributeError, match="has no attribute 'CIFAR'"):
        _ = package.CIFAR
