"""The data sets by name, their facts and the sizes of their splits, without importing torch."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from recipebench.errors import RequestError, unknown
from recipebench.levels import Catalog, Choice, Level, Parameter, Value

HELD_OUT = 0.2
"""Share of all samples that becomes the test set where a data set has no official one."""


@dataclass(frozen=True)
class File:
    """One file of a data set, as distributed (gzip) and as unpacked.

    Args:
        path: below the data folder, with forward slashes: `MNIST/raw/train-images-idx3-ubyte.gz`.
        size: bytes of the compressed file.
        sha256: of the compressed file.
        plain_size: bytes after decompression.
        plain_sha256: of the decompressed content.
    """

    path: str
    size: int
    sha256: str
    plain_size: int
    plain_sha256: str


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What is true of a data set; a test recomputes all that can be computed.

    Args:
        task: `classification` or `regression`.
        classes: number of classes; None for regression.
        shape: of one sample: (channels, height, width), or (features,).
        train: samples of the official training set; of the whole where there is no official test set.
        test: samples of the official test set; 0 where there is none and `HELD_OUT` of all is held out.
        scale: raw value that becomes 1 (255 or 16 for images, 1 for real-valued features).
        mean: of all values of the `train` samples after division by `scale`.
        std: their population standard deviation.
        files: training images, training labels, test images, test labels; empty where none are needed.
        mirrors: addresses, ending in a slash, below which the files are found, in order of preference.
        content: what identifies data without files: the SHA-256 of the arrays, or generator and version.
        license: under which the data may be used.
        source: where they come from.
        citation: what to cite.
    """

    task: Literal["classification", "regression"]
    classes: int | None
    shape: tuple[int, ...]
    train: int
    test: int
    scale: float
    mean: float
    std: float
    files: tuple[File, ...] = ()
    mirrors: tuple[str, ...] = ()
    content: str = ""
    license: str
    source: str
    citation: str

    @property
    def in_features(self) -> int:
        """Numbers in one sample."""
        return math.prod(self.shape)

    @property
    def out_features(self) -> int:
        """Outputs that a model needs: one a class, or 1 for regression."""
        return self.classes or 1

    @property
    def tasks(self) -> tuple[str, ...]:
        """The task as a tuple, as levels and models declare theirs."""
        return (self.task,)


@dataclass(frozen=True)
class Sizes:
    """How many samples each split has."""

    train: int
    validation: int
    test: int


DATA = Catalog(
    "data",
    [
        Level(
            name="synthetic_regression",
            summary="Two standard normal features and a noisy linear (or smooth non-linear) target.",
            formula="linear: y = 2 x1 - 3.4 x2 + 4.2 + e; nonlinear: y = 4 x1 / (1 + x1^2) + x1 x2 + e",
            source="Zhang et al., Dive into Deep Learning, 3.3 Synthetic Regression Data (linear teacher)",
            tasks=("regression",),
            parameters=(
                Parameter(
                    name="teacher",
                    type=str,
                    default="linear",
                    choices=("linear", "nonlinear"),
                    summary="Function that the targets follow.",
                ),
                Parameter(
                    name="n",
                    type=int,
                    default=1000,
                    minimum=10,
                    maximum=1_000_000,
                    summary="Samples in all, test set included.",
                ),
                Parameter(
                    name="noise",
                    type=float,
                    default=0.01,
                    minimum=0.0,
                    maximum=1000.0,
                    summary="Standard deviation of the noise, in units of the target before standardization.",
                ),
            ),
        ),
        Level(
            name="digits",
            summary="1,797 handwritten digits of 8 x 8 pixels, shipped inside scikit-learn.",
            source="Alpaydin and Kaynak, UCI Machine Learning Repository, 1998; scikit-learn load_digits",
            tasks=("classification",),
        ),
        Level(
            name="mnist",
            summary="70,000 handwritten digits of 28 x 28 pixels in 10 classes.",
            source="LeCun, Bottou, Bengio and Haffner, 1998",
            tasks=("classification",),
        ),
        Level(
            name="fashion_mnist",
            summary="70,000 photographs of clothing of 28 x 28 pixels in 10 classes.",
            source="Xiao, Rasul and Vollgraf, 2017",
            tasks=("classification",),
        ),
    ],
)

FACTS: dict[str, Facts] = {
    "synthetic_regression": Facts(
        task="regression",
        classes=None,
        shape=(2,),
        train=1000,
        test=0,
        scale=1.0,
        mean=0.0,
        std=1.0,
        content="synthetic_regression generator 1",
        license="Apache-2.0 (generated by this package)",
        source="https://d2l.ai/chapter_linear-regression/synthetic-regression-data.html",
        citation="Zhang, Lipton, Li and Smola, Dive into Deep Learning, Cambridge University Press, 2023",
    ),
    "digits": Facts(
        task="classification",
        classes=10,
        shape=(1, 8, 8),
        train=1797,
        test=0,
        scale=16.0,
        mean=0.30526028624095713,
        std=0.3760492217920148,
        content="87ff0c9e40dc7e2c0e34e7257799c2e3f3aec1a016363bb11cad869ec428a826",
        license="CC BY 4.0",
        source="https://archive.ics.uci.edu/dataset/80 (its test part, as scikit-learn ships it)",
        citation="Alpaydin and Kaynak, Optical Recognition of Handwritten Digits, UCI, 1998, "
        "doi:10.24432/C50P49",
    ),
    "mnist": Facts(
        task="classification",
        classes=10,
        shape=(1, 28, 28),
        train=60_000,
        test=10_000,
        scale=255.0,
        mean=0.13066047627384286,
        std=0.3081078038564627,
        files=(
            File(
                path="MNIST/raw/train-images-idx3-ubyte.gz",
                size=9_912_422,
                sha256="440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
                plain_size=47_040_016,
                plain_sha256="ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
            ),
            File(
                path="MNIST/raw/train-labels-idx1-ubyte.gz",
                size=28_881,
                sha256="3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
                plain_size=60_008,
                plain_sha256="65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
            ),
            File(
                path="MNIST/raw/t10k-images-idx3-ubyte.gz",
                size=1_648_877,
                sha256="8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
                plain_size=7_840_016,
                plain_sha256="0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
            ),
            File(
                path="MNIST/raw/t10k-labels-idx1-ubyte.gz",
                size=4_542,
                sha256="f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
                plain_size=10_008,
                plain_sha256="ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
            ),
        ),
        mirrors=(
            "https://ossci-datasets.s3.amazonaws.com/mnist/",
            "https://storage.googleapis.com/cvdf-datasets/mnist/",
            "http://yann.lecun.com/exdb/mnist/",
        ),
        license="CC BY-SA 3.0",
        source="http://yann.lecun.com/exdb/mnist/",
        citation="LeCun, Bottou, Bengio and Haffner, Gradient-based learning applied to document "
        "recognition, Proceedings of the IEEE 86(11), 1998, doi:10.1109/5.726791",
    ),
    "fashion_mnist": Facts(
        task="classification",
        classes=10,
        shape=(1, 28, 28),
        train=60_000,
        test=10_000,
        scale=255.0,
        mean=0.2860405969887955,
        std=0.3530242445149226,
        files=(
            File(
                path="FashionMNIST/raw/train-images-idx3-ubyte.gz",
                size=26_421_880,
                sha256="3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
                plain_size=47_040_016,
                plain_sha256="c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
            ),
            File(
                path="FashionMNIST/raw/train-labels-idx1-ubyte.gz",
                size=29_515,
                sha256="a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
                plain_size=60_008,
                plain_sha256="bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
            ),
            File(
                path="FashionMNIST/raw/t10k-images-idx3-ubyte.gz",
                size=4_422_102,
                sha256="346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
                plain_size=7_840_016,
                plain_sha256="5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
            ),
            File(
                path="FashionMNIST/raw/t10k-labels-idx1-ubyte.gz",
                size=5_148,
                sha256="67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
                plain_size=10_008,
                plain_sha256="0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
            ),
        ),
        mirrors=(
            "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
            "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
        ),
        license="MIT",
        source="https://github.com/zalandoresearch/fashion-mnist",
        citation="Xiao, Rasul and Vollgraf, Fashion-MNIST: a Novel Image Dataset for Benchmarking Machine "
        "Learning Algorithms, arXiv:1708.07747, 2017",
    ),
}
"""The facts of every data set in `DATA`, under the same names."""


def facts_of(name: str) -> Facts:
    """Return the facts of a data set.

    Raises:
        RequestError: no data set has that name.

    Example:
        >>> facts_of("mnist").in_features
        784
    """
    if name not in FACTS:
        raise RequestError(unknown("data", name, FACTS))
    return FACTS[name]


def data_key(name: str, parameters: Mapping[str, Value]) -> str:
    """Return the name and canonical parameters under which a data set's random streams are addressed.

    Example:
        >>> data_key("digits", {})
        'digits'
        >>> data_key("synthetic_regression", {"teacher": "linear", "n": 1000})
        'synthetic_regression{"n":1000,"teacher":"linear"}'
    """
    return name + _canonical(dict(parameters)) if parameters else name


def data_sha256(choice: Choice) -> str:
    """Return one SHA-256 (64 hex digits) that identifies what the data set contains.

    Over the hashes of the decompressed files where there are files, so that compressed and unpacked
    copies agree; over the arrays for `digits`; over generator, version and parameters for synthetic data.

    Args:
        choice: data set and parameters; those left out take their defaults.

    Raises:
        RequestError: the data set or a parameter is not known.

    Example:
        >>> data_sha256(Choice("digits", {}))[:8]
        '87ff0c9e'
    """
    choice = DATA.choose(choice)
    facts = facts_of(choice.name)
    if facts.files:
        return _hash(_canonical([file.plain_sha256 for file in facts.files]))
    if choice.parameters:
        return _hash(_canonical([facts.content, dict(choice.parameters)]))
    return facts.content


def split_sizes(choice: Choice, validation: int | float = 0.1) -> Sizes:
    """Return how many samples will be trained on, validated on and tested on.

    Args:
        choice: data set and parameters; those left out take their defaults.
        validation: a count, or a fraction of the training data (0.1 = a tenth, rounded).

    Raises:
        RequestError: `validation` is no count or fraction, or does not fit the data.

    Example:
        >>> split_sizes(Choice("mnist", {}), 0.1)
        Sizes(train=54000, validation=6000, test=10000)
        >>> split_sizes(Choice("digits", {}), 100)
        Sizes(train=1338, validation=100, test=359)
    """
    choice = DATA.choose(choice)
    facts = facts_of(choice.name)
    total = choice.parameters.get("n", facts.train)
    assert isinstance(total, int)
    test = facts.test or held_out_count(total)
    available = total if facts.test else total - test
    count = validation_count(validation, available, choice.name)
    return Sizes(train=available - count, validation=count, test=test)


def held_out_count(total: int) -> int:
    """Return how many of `total` samples become the test set where there is no official one.

    Example:
        >>> held_out_count(1797)
        359
    """
    return round(HELD_OUT * total)


def validation_count(validation: int | float, available: int, owner: str) -> int:
    """Return how many of the training samples are set aside for validation.

    Args:
        validation: a count, or a fraction strictly between 0 and 1.
        available: training samples before validation is taken from them.
        owner: the data set, for the error message.

    Raises:
        RequestError: no count or fraction, or no sample is left to validate or to train on.

    Example:
        >>> validation_count(0.1, 60_000, "mnist")
        6000
    """
    check_validation(validation, owner)
    count = validation if isinstance(validation, int) else round(validation * available)
    if not 1 <= count < available:
        raise RequestError(
            f"{owner}: validation: expected 1 to {available - 1} of the {available} training samples, "
            f"got {validation!r}, which is {count}."
        )
    return count


def check_validation(validation: object, owner: str) -> None:
    """Refuse what is neither a positive count nor a fraction strictly between 0 and 1.

    Raises:
        RequestError: naming what was expected and what came.
    """
    count = type(validation) is int and validation >= 1
    fraction = isinstance(validation, float) and 0.0 < validation < 1.0
    if not count and not fraction:
        raise RequestError(
            f"{owner}: validation: expected a count of at least 1 or a fraction strictly between 0 and 1, "
            f"got {validation!r:.80}."
        )


def _canonical(value: object) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True)


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
