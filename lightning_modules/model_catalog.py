"""The models: formulas, sources, the factors they respond to and what they need; torch-free."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from recipebench.levels import Catalog, Choice, Level, Parameter
from recipebench.lightning_modules.catalog import D2L, LEE, NEARLY_ONE, NG, SAITO

CONVOLUTIONAL = ("cnn", "deep_cnn", "transfer_cnn")
"""Models of filters and linear layers, whose sizes `geometry` counts."""

TRAINED = ("initializer", "regularizer", "optimizer", "loss", "schedule", "augmentation")
"""The factors that every model trained by gradient descent responds to."""


@dataclass(frozen=True, kw_only=True)
class ModelLevel(Level):
    """A model, as people read about it and as suites may cross it.

    Args:
        factors: the factors that it responds to; the others' columns are empty. Closed forms have none.
        hidden_layers: whether it has hidden layers, where an activation, dropout or batch norm has a place.
        needs: what it asks of the data, keys of `NEEDS`.
        one_pass: whether one pass over the data fits it, and later epochs change nothing.
        only: the levels of a factor that a model from scratch has written out; it refuses the others.
    """

    factors: tuple[str, ...] = ("activation", *TRAINED)
    hidden_layers: bool = True
    needs: tuple[str, ...] = ()
    one_pass: bool = False
    only: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


class DataFacts(Protocol):
    """What a model may ask about a data set."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one sample: (channels, height, width), or (features,)."""

    @property
    def classes(self) -> int | None:
        """Number of classes; None for other tasks."""


NEEDS: dict[str, tuple[str, Callable[[DataFacts], bool]]] = {
    "images": ("images of (channels, height, width)", lambda facts: len(facts.shape) == 3),
    "two_classes": ("two classes", lambda facts: facts.classes == 2),
    "one_feature": ("one feature", lambda facts: facts.shape == (1,)),
}
"""What a model can need of its data: in words, and as a test of the facts."""


def layer_widths(model: Choice) -> tuple[int, ...]:
    """Return the units of a model's hidden layers, as its hyper-parameters give them; of a CNN the last ones.

    Example:
        >>> layer_widths(Choice("mlp", {"hidden": (128, 64)})), layer_widths(Choice("softmax_regression", {}))
        ((128, 64), ())
    """
    given = model.parameters
    hidden, units = given.get("hidden", ()), given.get("units")
    hidden = (hidden,) if isinstance(hidden, int) else hidden
    assert isinstance(hidden, tuple)
    if isinstance(units, int):
        return (units,)
    depth, width = given.get("depth", 0), given.get("width")
    if isinstance(depth, int) and isinstance(width, int):
        return (width,) * depth
    return tuple(int(width) for width in hidden)


def unmet_need(level: Level, facts: DataFacts) -> str | None:
    """Say what a model needs and the data lack, or return None.

    Example:
        >>> from types import SimpleNamespace
        >>> two = ModelLevel(name="two", summary="", source="", needs=("two_classes",))
        >>> unmet_need(two, SimpleNamespace(shape=(784,), classes=10))
        'two classes'
    """
    for need in getattr(level, "needs", ()):
        words, holds = NEEDS[need]
        if not holds(facts):
            return words
    return None


def responds_to(level: Level, factor: str) -> bool:
    """Whether a model responds to a factor; a plain `Level` of a plug-in responds to all."""
    return not isinstance(level, ModelLevel) or factor in level.factors


def one_device_only(level: Level) -> str | None:
    """Say why a model cannot be spread over several devices, or return None; None for a `Level` of a plug-in.

    Example:
        >>> one_device_only(MODELS["mlp"]) is None, one_device_only(MODELS["mlp_scratch"])
        (True, 'its step is written out for one')
    """
    if not isinstance(level, ModelLevel) or {"optimizer", "regularizer"} <= set(level.factors):
        return None
    if not {"classification", "regression"} & set(level.tasks):
        return "what it learns from is no batch of samples that could be shared out"
    if "optimizer" in level.factors:
        return "its step is written out for one"
    return "it is not trained by the gradients of batches"


def has_hidden_layers(level: Level) -> bool:
    """Whether dropout or batch norm has a place in a model; a plain `Level` of a plug-in says yes."""
    return not isinstance(level, ModelLevel) or level.hidden_layers


def _map_number(name: str, default: int, summary: str, minimum: int = 1) -> Parameter:
    return Parameter(
        name=name,
        type=int,
        default=default,
        summary=summary,
        minimum=minimum,
        maximum=64,
        structural=True,
    )


_FILTERS = Parameter(
    name="channels",
    type=tuple,
    default=(16, 32),
    summary="filters of each convolution",
    structural=True,
)
_WINDOWS = (
    _map_number("kernel", 5, "height and width of the filters"),
    _map_number("padding", 2, "zeros at each side of a convolution's input", minimum=0),
    _map_number("stride", 1, "pixels that a filter moves at a time"),
)
_POOLS = (
    Parameter(
        name="pool",
        type=str,
        default="max",
        summary="what follows the convolutions: the largest or the mean of each window, or nothing",
        choices=("max", "average", "none"),
        structural=True,
    ),
    _map_number("pool_size", 2, "height and width of a pool's windows, which do not overlap"),
)
_HIDDEN_AFTER_MAPS = Parameter(
    name="hidden",
    type=tuple,
    default=(128,),
    summary="units of each hidden linear layer after the convolutions",
    structural=True,
)


def _count(name: str, default: int, summary: str) -> Parameter:
    return Parameter(name=name, type=int, default=default, summary=summary, minimum=1, maximum=10_000_000)


def _share(name: str, default: float, summary: str) -> Parameter:
    return Parameter(name=name, type=float, default=default, summary=summary, minimum=0, maximum=1)


MODELS = Catalog(
    "model",
    [
        ModelLevel(
            name="linear_regression",
            summary="One linear layer and the squared error.",
            formula="y = w x + b",
            source=f"{D2L}, linear neural networks; {LEE}, regression",
            tasks=("regression",),
            factors=TRAINED,
            hidden_layers=False,
        ),
        ModelLevel(
            name="softmax_regression",
            summary="One linear layer, softmax and the cross-entropy.",
            formula="p = softmax(W x + b)",
            source=f"{D2L}, linear neural networks; {LEE}, classification",
            tasks=("classification",),
            factors=TRAINED,
            hidden_layers=False,
        ),
        ModelLevel(
            name="mlp",
            summary="Linear layers with an activation between them.",
            formula="z = W a + b, a = g(z), hidden layer by hidden layer",
            source=f"{NG}, 1; {SAITO}, neural networks",
            parameters=(
                Parameter(
                    name="hidden",
                    type=tuple,
                    default=(128, 64),
                    summary="units of each hidden layer",
                    structural=True,
                ),
            ),
        ),
        ModelLevel(
            name="cnn",
            summary="Convolutions, each with an activation and a pool, then linear layers.",
            formula="y = sum over channels and window of w x, plus b; size (H + 2 P - F) / S + 1",
            source=f"LeCun et al. 1998; {SAITO}, convolutional neural networks",
            parameters=(
                _FILTERS,
                *_WINDOWS,
                *_POOLS,
                _HIDDEN_AFTER_MAPS,
                Parameter(
                    name="implementation",
                    type=str,
                    default="torch",
                    summary="torch's convolution, or im2col and a matrix product",
                    choices=("torch", "im2col"),
                    structural=True,
                ),
            ),
            tasks=("classification",),
            needs=("images",),
        ),
        ModelLevel(
            name="deep_cnn",
            summary="Blocks of small stacked convolutions that keep the size, a pool after each block.",
            formula="two 3x3 filters see 5x5 pixels with 18 weights in place of 25",
            source=f"Simonyan and Zisserman 2015; {SAITO}, deep learning",
            parameters=(
                Parameter(
                    name="blocks",
                    type=tuple,
                    default=(16, 32),
                    summary="filters of the convolutions of each block",
                    structural=True,
                ),
                _map_number("convs_per_block", 2, "convolutions in a block"),
                _map_number("kernel", 3, "height and width of the filters, odd"),
                *_POOLS,
                _HIDDEN_AFTER_MAPS,
            ),
            tasks=("classification",),
            needs=("images",),
        ),
        ModelLevel(
            name="transfer_cnn",
            summary="A CNN whose convolutions were trained on other images first.",
            formula="initial weights = trained weights, all but those of the linear layers",
            source=f"Yosinski et al. 2014; {SAITO}, deep learning",
            parameters=(
                Parameter(
                    name="source",
                    type=str,
                    default="mnist",
                    summary="the data set that the convolutions are trained on first",
                    choices=("digits", "fashion_mnist", "mnist"),
                    structural=True,
                ),
                Parameter(
                    name="pretrain_epochs",
                    type=int,
                    default=3,
                    summary="epochs on the source",
                    minimum=1,
                    maximum=100_000,
                    structural=True,
                ),
                Parameter(
                    name="freeze",
                    type=str,
                    default="none",
                    summary="whether the convolutions stay as they are (features) or are trained on (none)",
                    choices=("none", "features"),
                    structural=True,
                ),
                _FILTERS,
                *_WINDOWS,
                *_POOLS,
                _HIDDEN_AFTER_MAPS,
            ),
            tasks=("classification",),
            needs=("images",),
        ),
        ModelLevel(
            name="linear_regression_closed_form",
            summary="Linear regression solved for at once: the least squares themselves.",
            formula="w, b = argmin sum (y - w x - b)^2 + ridge |w|^2; w = (X^T X)^-1 X^T y on centered X",
            source=f"{D2L}, linear neural networks (analytic solution)",
            parameters=(
                Parameter(
                    name="ridge",
                    type=float,
                    default=0.0,
                    summary="factor of |w|^2 beside the sum of squared errors",
                    minimum=0,
                ),
            ),
            tasks=("regression",),
            factors=(),
            one_pass=True,
            hidden_layers=False,
        ),
        ModelLevel(
            name="polynomial_regression",
            summary="A polynomial of one feature by least squares; each degree holds all lower ones.",
            formula="y = b + w_1 x + w_2 x^2 + ... + w_k x^k, k = degree",
            source=f"{LEE}, regression (more complex models); Bishop 2006, 1.1",
            parameters=(
                Parameter(
                    name="degree",
                    type=int,
                    default=3,
                    summary="highest power of the feature",
                    minimum=0,
                    maximum=50,
                ),
            ),
            tasks=("regression",),
            factors=(),
            one_pass=True,
            hidden_layers=False,
            needs=("one_feature",),
        ),
        ModelLevel(
            name="least_squares_classifier",
            summary="Two classes by least squares on the targets +1 and -1, decided by the sign.",
            formula="s = w x + b by least squares on t = +1, -1; class 1 if s > 0",
            source=f"{LEE}, classification (as regression)",
            tasks=("classification",),
            factors=(),
            one_pass=True,
            hidden_layers=False,
            needs=("two_classes",),
        ),
        ModelLevel(
            name="one_hot_least_squares",
            summary="Least squares on one-hot targets; the largest output decides. Solved for at once.",
            formula="o = W x + b by least squares on the one-hot class; arg max o",
            source=f"{D2L}, linear neural networks (one-hot encoding)",
            tasks=("classification",),
            factors=(),
            one_pass=True,
            hidden_layers=False,
        ),
        ModelLevel(
            name="two_box_bayes",
            summary="Which box a ball came from: Bayes' rule on counted colors.",
            formula="P(B1 | x) = P(x | B1) P(B1) / (P(x | B1) P(B1) + P(x | B2) P(B2))",
            source=f"{LEE}, classification (two boxes)",
            tasks=("classification",),
            factors=(),
            one_pass=True,
            hidden_layers=False,
            needs=("two_classes",),
        ),
        ModelLevel(
            name="gaussian_classifier",
            summary="A Gaussian for each class by maximum likelihood, decided by Bayes' rule.",
            formula="P(c | x) ~ N(x; mean_c, C_c + ridge I) P(c); shared: C = sum N_c C_c / N",
            source=f"{LEE}, classification (probabilistic generative model)",
            parameters=(
                Parameter(
                    name="covariance",
                    type=str,
                    default="shared",
                    summary="one covariance for each class (quadratic boundaries) or one for all (linear)",
                    choices=("separate", "shared"),
                ),
                Parameter(
                    name="ridge",
                    type=float,
                    default=0.01,
                    summary="added to the variances; 0 is refused where a covariance is singular",
                    minimum=0,
                ),
            ),
            tasks=("classification",),
            factors=(),
            one_pass=True,
            hidden_layers=False,
        ),
        ModelLevel(
            name="naive_bayes_gaussian",
            summary="Bayes' rule with features that are independent and Gaussian in each class.",
            formula="P(c | x) ~ P(c) prod_j N(x_j; mean_cj, v_cj)",
            source=f"{LEE}, classification; scikit-learn GaussianNB (its default)",
            parameters=(
                Parameter(
                    name="var_smoothing",
                    type=float,
                    default=1e-9,
                    summary="share of the largest variance of a feature that is added to all variances",
                    minimum=0,
                ),
            ),
            tasks=("classification",),
            factors=(),
            one_pass=True,
            hidden_layers=False,
        ),
        ModelLevel(
            name="naive_bayes_bernoulli",
            summary="Bayes' rule with features that are independent and on or off in each class.",
            formula="P(c | x) ~ P(c) prod_j p_cj^z_j (1 - p_cj)^(1 - z_j), z_j = [x_j > threshold]",
            source=f"{LEE}, classification; scikit-learn BernoulliNB (its alpha)",
            parameters=(
                Parameter(
                    name="alpha",
                    type=float,
                    default=1.0,
                    summary="samples added to each count of on and of off",
                    minimum=0,
                    exclusive=True,
                ),
                Parameter(
                    name="threshold",
                    type=float,
                    default=0.5,
                    summary="a feature is on above it; in the units of the inputs, images in [0, 1] if unit",
                    minimum=0,
                ),
            ),
            tasks=("classification",),
            factors=(),
            one_pass=True,
            hidden_layers=False,
        ),
        ModelLevel(
            name="k_nearest_neighbors",
            summary="The training samples nearest to a query vote, or their targets are averaged.",
            formula="share of class c, or mean of y, among the k nearest by |x - x_n|",
            source="Cover and Hart 1967; scikit-learn KNeighborsClassifier (k = 5)",
            parameters=(
                Parameter(
                    name="k",
                    type=int,
                    default=5,
                    summary="neighbors that vote; at most the number of training samples",
                    minimum=1,
                ),
            ),
            factors=(),
            one_pass=True,
            hidden_layers=False,
        ),
        ModelLevel(
            name="moving_average",
            summary="Tomorrow as the exponentially weighted average of the last days; nothing is learned.",
            formula="v_t = beta v_(t-1) + (1 - beta) x_t, v_0 = 0; y = v_T / (1 - beta^T)",
            source=f"{NG}, 2.3 to 2.5 (beta 0.9)",
            parameters=(
                Parameter(
                    name="beta",
                    type=float,
                    default=0.9,
                    summary="share of the old average that is kept; averages about 1 / (1 - beta) values",
                    minimum=0,
                    maximum=NEARLY_ONE,
                ),
                Parameter(
                    name="bias_correction",
                    type=bool,
                    default=True,
                    summary="whether to divide by 1 - beta^T, for the average starts at 0",
                ),
            ),
            tasks=("regression",),
            factors=(),
            one_pass=True,
            hidden_layers=False,
        ),
        ModelLevel(
            name="dqn",
            summary="The optimal action-values of an environment, learned from replayed steps of the agent.",
            formula="Q(s, a) -> r + gamma max_a' Q^-(s', a'), Huber loss; argmax Q, or random with epsilon",
            source="Mnih et al. 2015; van Hasselt, Guez and Silver 2016 (double); sizes and rates are ours",
            parameters=(
                Parameter(
                    name="hidden",
                    type=tuple,
                    default=(128, 128),
                    summary="units of each hidden linear layer",
                    structural=True,
                ),
                Parameter(
                    name="channels",
                    type=tuple,
                    default=(16, 32),
                    summary="filters of each 3x3 convolution before them, where observations are images",
                    structural=True,
                ),
                Parameter(
                    name="gamma",
                    type=float,
                    default=0.97,
                    summary="discount of the rewards to come; looks about 1 / (1 - gamma) actions ahead",
                    minimum=0,
                    maximum=1,
                ),
                _count("buffer", 200_000, "transitions that are remembered"),
                _count("learning_starts", 1000, "transitions of random actions before the first step"),
                _count("actions_per_step", 4, "actions between two gradient steps"),
                _count("target_every", 100, "gradient steps between two copies to the target network"),
                Parameter(
                    name="double",
                    type=bool,
                    default=True,
                    summary="whether the trained network chooses a' and the target network judges it",
                ),
                _share("epsilon_start", 1.0, "share of random actions at first"),
                _share("epsilon_end", 0.05, "share of random actions in the end"),
                _count("epsilon_steps", 40_000, "actions over which that share falls, in a line"),
            ),
            tasks=("control",),
            factors=("activation", "initializer", "optimizer", "schedule"),
        ),
        ModelLevel(
            name="perceptron",
            summary="One threshold neuron, which learns from its wrong answers, sample by sample.",
            formula="y = 1 if w x + b > 0, else 0; w <- w + lr (t - y) x, b <- b + lr (t - y)",
            source=f"Rosenblatt 1958; {SAITO}, perceptron",
            parameters=(
                Parameter(
                    name="lr",
                    type=float,
                    default=1.0,
                    summary="step size, per wrong answer; from a start at 0 it changes no answer",
                    minimum=0,
                    exclusive=True,
                ),
            ),
            tasks=("classification",),
            factors=(),
            hidden_layers=False,
            needs=("two_classes",),
        ),
        ModelLevel(
            name="linear_regression_scratch",
            only={"optimizer": ("sgd",)},
            summary="Linear regression with forward pass, gradient and step written out by hand.",
            formula="y = w x + b; w <- w - lr (2 / n) (y - t) X, n samples in the batch",
            source=f"{D2L}, linear neural networks (from scratch)",
            tasks=("regression",),
            factors=("initializer", "optimizer"),
            hidden_layers=False,
        ),
        ModelLevel(
            name="softmax_regression_scratch",
            only={"optimizer": ("sgd",)},
            summary="Softmax regression with softmax, cross-entropy, gradient and step written out by hand.",
            formula="p = softmax(W x + b); W <- W - lr (1 / n) (p - t) X, t one-hot",
            source=f"{D2L}, linear neural networks (from scratch)",
            parameters=(
                Parameter(
                    name="stable",
                    type=bool,
                    default=True,
                    summary="whether the largest output is subtracted before exp, which overflows without",
                ),
            ),
            tasks=("classification",),
            factors=("initializer", "optimizer"),
            hidden_layers=False,
        ),
        ModelLevel(
            name="mlp_scratch",
            only={"optimizer": ("sgd",), "activation": ("sigmoid", "tanh", "relu")},
            summary="The network of mlp with backpropagation written out, layer by layer.",
            formula="dz = da g'(z); dW = dz^T a, db = sum of dz, da = dz W, from the last layer to the first",
            source=f"{SAITO}, backpropagation",
            parameters=(
                Parameter(
                    name="hidden",
                    type=tuple,
                    default=(128, 64),
                    summary="units of each hidden layer",
                    structural=True,
                ),
            ),
            factors=("activation", "initializer", "optimizer"),
            hidden_layers=False,
        ),
        ModelLevel(
            name="logistic_regression",
            summary="One linear layer with one score for two classes.",
            formula="P(1 | x) = sigmoid(w x + b); outputs (-s / 2, s / 2)",
            source=f"{LEE}, logistic regression; {NG}, 1.4",
            tasks=("classification",),
            factors=TRAINED,
            hidden_layers=False,
            needs=("two_classes",),
        ),
        ModelLevel(
            name="logistic_regression_newton",
            summary="Logistic regression by full-batch Newton steps, one an epoch: second order.",
            formula="w <- w - H^-1 g, g = (1/n) sum (f - y) x + strength w, H = (1/n) sum f (1 - f) x x^T + "
            "strength I",
            source="Hastie, Tibshirani and Friedman, The Elements of Statistical Learning, 4.4.1",
            parameters=(
                Parameter(
                    name="strength",
                    type=float,
                    default=1e-4,
                    summary="factor of half the sum of squared weights beside the mean loss",
                    minimum=0,
                ),
                Parameter(
                    name="max_parameters",
                    type=int,
                    default=2000,
                    summary="weights and bias that are allowed: the Hessian has the square of it",
                    minimum=2,
                    maximum=20_000,
                ),
            ),
            tasks=("classification",),
            factors=(),
            hidden_layers=False,
            needs=("two_classes",),
        ),
        ModelLevel(
            name="margin_classifier",
            summary="One linear layer whose true class must lead all others by a margin.",
            formula="(1/K) sum over k != y of max(0, margin - o_y + o_k), o = W x + b",
            source="Weston and Watkins 1999; torch.nn.MultiMarginLoss (margin 1)",
            parameters=(
                Parameter(
                    name="margin",
                    type=float,
                    default=1.0,
                    summary="by how much the score of the true class is to exceed each other",
                    minimum=0,
                    exclusive=True,
                ),
            ),
            tasks=("classification",),
            factors=tuple(factor for factor in TRAINED if factor != "loss"),
            hidden_layers=False,
        ),
        ModelLevel(
            name="sum_of_sigmoids",
            summary="A curve made of soft steps: one hidden layer of sigmoids.",
            formula="y = b + sum_i c_i sigmoid(b_i + sum_j w_ij x_j), i = 1 ... units",
            source=f"{LEE}, introduction; Cybenko 1989",
            parameters=(
                Parameter(
                    name="units",
                    type=int,
                    default=16,
                    summary="sigmoids in the sum",
                    minimum=1,
                    structural=True,
                ),
            ),
            factors=TRAINED,
        ),
        ModelLevel(
            name="deep_linear_net",
            summary="Equal square layers c I without activations: signals and gradients go as powers of c.",
            formula="y = W_L W_(L-1) ... W_1 x, W_l = scale I for l < L = depth",
            source=f"{NG}, 1.10 (scale 1.5 and 0.5)",
            parameters=(
                Parameter(
                    name="depth",
                    type=int,
                    default=10,
                    summary="layers in all, the last one included",
                    minimum=1,
                    maximum=1000,
                    structural=True,
                ),
                Parameter(
                    name="scale",
                    type=float,
                    default=1.5,
                    summary="diagonal of the square layers before training",
                    minimum=0,
                    exclusive=True,
                ),
            ),
            factors=TRAINED,
            hidden_layers=False,
        ),
        ModelLevel(
            name="deep_stack",
            summary="Many equal hidden layers, in which gradients vanish or explode.",
            formula="z = W a + b, a = g(z), depth times",
            source=f"{SAITO}, initial values of weights (5 layers of 100 units); {LEE}, vanishing gradients",
            parameters=(
                Parameter(
                    name="depth",
                    type=int,
                    default=5,
                    summary="hidden layers",
                    minimum=1,
                    maximum=1000,
                    structural=True,
                ),
                Parameter(
                    name="width",
                    type=int,
                    default=100,
                    summary="units of each hidden layer",
                    minimum=1,
                    structural=True,
                ),
            ),
        ),
        ModelLevel(
            name="maxout_net",
            summary="Hidden units that are the largest of several linear pieces.",
            formula="h_i = max over k of (w_ik x + b_ik), k = 1 ... pieces",
            source=f"Goodfellow et al. 2013; {LEE}, recipe of deep learning",
            parameters=(
                Parameter(
                    name="hidden",
                    type=tuple,
                    default=(128, 64),
                    summary="units of each hidden layer, after the maximum",
                    structural=True,
                ),
                Parameter(
                    name="pieces",
                    type=int,
                    default=2,
                    summary="linear pieces of each unit",
                    minimum=2,
                    maximum=64,
                    structural=True,
                ),
                Parameter(
                    name="match",
                    type=str,
                    default="units",
                    choices=("units", "parameters", "flops"),
                    summary="what the hidden layers share with those of a one-piece activation",
                    structural=True,
                ),
            ),
            factors=TRAINED,
        ),
        ModelLevel(
            name="point",
            summary="A point that an optimizer moves over a surface.",
            formula="w <- w - step(gradient of f at w)",
            source=f"{NG}, 2.6, 2.10, 3.11; {SAITO}, optimizers",
            tasks=("minimization",),
            factors=("optimizer", "schedule"),
            hidden_layers=False,
        ),
        ModelLevel(
            name="rcnn",
            summary="Regions of an image, each cropped, classified and moved: objects and their boxes.",
            formula="L = s mean[-log p_u + smooth L1(t_u - v)] + (1 - s) mean[-log p_background]",
            source="Girshick et al., CVPR 2014 (R-CNN); Girshick, ICCV 2015 (the joint loss)",
            parameters=(
                Parameter(
                    name="crop",
                    type=int,
                    default=20,
                    summary="height and width in pixels to which regions are resized, a multiple of 4",
                    minimum=8,
                    maximum=64,
                    structural=True,
                ),
                Parameter(
                    name="suppression",
                    type=float,
                    default=0.3,
                    summary="intersection over union above which the worse of a class's boxes is dropped",
                    minimum=0,
                    maximum=1,
                ),
            ),
            tasks=("detection",),
            factors=("initializer", "optimizer", "schedule"),
            hidden_layers=False,
            needs=("images",),
        ),
    ],
)
"""What is trained."""
