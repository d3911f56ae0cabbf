"""The levels that are compared and the models that are trained: formulas, sources and defaults, torch-free.

Default rates. Each optimizer runs at one documented default learning rate, written beside its source
below, until a suite gives others. A rate that suits one optimizer may be ten times too small for
another (momentum's steps add up to lr / (1 - momentum), Adagrad's shrink from the first step on), and
the best rate moves with the activation, the initializer and the batch size. So numbers at default rates
compare recipes as people first run them: no ranking of optimizers follows from them until the rates are
tuned, with equal trials for each (Ng, Improving Deep Neural Networks, 3.1: the rate is tuned first).
"""

from __future__ import annotations

from recipebench.levels import Catalog, Level, Parameter

NG = "Ng, Improving Deep Neural Networks"
SAITO = "Saito, Deep Learning from Scratch"
LEE = "Lee, Machine Learning"
D2L = "Zhang, Lipton, Li and Smola, Dive into Deep Learning"

NEARLY_ONE = 0.99999
"""The largest decay rate of a running average: at 1 it would never move."""


def _rate(default: float) -> Parameter:
    return Parameter(
        name="lr",
        type=float,
        default=default,
        summary="step size, per optimizer step",
        minimum=0,
        exclusive=True,
    )


def _decay(name: str, default: float, summary: str) -> Parameter:
    return Parameter(name=name, type=float, default=default, summary=summary, minimum=0, maximum=NEARLY_ONE)


def _epsilon(default: float, summary: str = "added to the root, outside of it") -> Parameter:
    return Parameter(name="eps", type=float, default=default, summary=summary, minimum=0, exclusive=True)


def _strength(default: float, summary: str) -> Parameter:
    return Parameter(name="strength", type=float, default=default, summary=summary, minimum=0)


ACTIVATIONS = Catalog(
    "activation",
    [
        Level(
            name="sigmoid",
            summary="Squashes to (0, 1); its slope is at most 1/4, so gradients shrink with depth.",
            formula="1 / (1 + exp(-x))",
            source=f"{SAITO}, neural networks; {LEE}, recipe of deep learning",
        ),
        Level(
            name="tanh",
            summary="Squashes to (-1, 1), centered at 0.",
            formula="(exp(x) - exp(-x)) / (exp(x) + exp(-x))",
            source=f"{NG}, 1.11; {SAITO}, initial values of weights",
        ),
        Level(
            name="relu",
            summary="Passes positive inputs, blocks negative ones.",
            formula="max(0, x)",
            source=f"Glorot, Bordes and Bengio 2011; {LEE}, recipe of deep learning",
        ),
        Level(
            name="leaky_relu",
            summary="ReLU that lets a fixed small share of negative inputs through.",
            formula="max(x, a x), a = negative_slope",
            source=f"Maas, Hannun and Ng 2013; {LEE}, recipe of deep learning (a = 0.01, as torch)",
            parameters=(
                Parameter(
                    name="negative_slope",
                    type=float,
                    default=0.01,
                    summary="slope below 0",
                    minimum=0,
                    maximum=1,
                ),
            ),
        ),
        Level(
            name="prelu",
            summary="ReLU whose slope below 0 is learned, one for each layer.",
            formula="max(0, x) + a min(0, x), a learned from init",
            source=f"He, Zhang, Ren and Sun 2015 (init 0.25, as torch); {LEE}, recipe of deep learning",
            parameters=(
                Parameter(
                    name="init",
                    type=float,
                    default=0.25,
                    summary="slope below 0 before training",
                    minimum=0,
                    maximum=1,
                ),
            ),
        ),
        Level(
            name="maxout",
            summary="The largest of several linear pieces: a learned, piecewise linear activation.",
            formula="max over k of (w_k x + b_k), k = 1 ... pieces",
            source=f"Goodfellow et al. 2013; {LEE}, recipe of deep learning",
            parameters=(
                Parameter(
                    name="pieces",
                    type=int,
                    default=2,
                    summary="linear pieces for each unit; the width counts units after the maximum",
                    minimum=2,
                    maximum=64,
                    structural=True,
                ),
            ),
            structural=True,
        ),
    ],
)
"""What follows each hidden linear layer."""

INITIALIZERS = Catalog(
    "initializer",
    [
        Level(
            name="xavier",
            summary="Normal, scaled by both fans, made for tanh; torch's xavier_normal_; biases 0.",
            formula="variance 2 / (n_in + n_out)",
            source=f"Glorot and Bengio 2010; {NG}, 1.11",
        ),
        Level(
            name="xavier_fan_in",
            summary="Normal, scaled by the inputs alone: what many lectures call Xavier; biases 0.",
            formula="variance 1 / n_in",
            source=f"{SAITO}, initial values of weights; {NG}, 1.11; LeCun et al. 1998",
        ),
        Level(
            name="he",
            summary="Normal, twice the variance of fan-in scaling, made for ReLU; biases 0.",
            formula="variance 2 / n_in",
            source=f"He, Zhang, Ren and Sun 2015; {SAITO}, initial values of weights; {NG}, 1.11",
        ),
        Level(
            name="small_gaussian",
            summary="Normal with one small standard deviation, whatever the fans; biases 0.",
            formula="standard deviation std",
            source=f"{D2L}, linear neural networks (std 0.01)",
            parameters=(
                Parameter(
                    name="std",
                    type=float,
                    default=0.01,
                    summary="standard deviation of every weight",
                    minimum=0,
                ),
            ),
        ),
        Level(
            name="torch_default",
            summary="What nn.Linear draws when nobody asks: uniform, weights and biases.",
            formula="uniform in ±1 / sqrt(n_in), standard deviation 0.577 / sqrt(n_in)",
            source="torch.nn.Linear",
        ),
    ],
)
"""How the weights of linear layers start. n_in and n_out count units (one piece of Maxout)."""

REGULARIZERS = Catalog(
    "regularizer",
    [
        Level(name="none", summary="Nothing: the measure of the others.", source="baseline"),
        Level(
            name="l1",
            summary="Adds the weights' absolute values, not the biases', to the mean loss.",
            formula="strength ||W||_1",
            source=f"Tibshirani 1996; {LEE}, recipe of deep learning; {NG}, 1.4",
            parameters=(_strength(1e-5, "factor of the sum of absolute weights"),),
        ),
        Level(
            name="l2",
            summary="Adds half the weights' squares, not the biases', to the mean loss.",
            formula="(strength / 2) ||W||_2^2, the same strength for every batch size",
            source=f"Hoerl and Kennard 1970; {NG}, 1.4; {LEE}, recipe of deep learning",
            parameters=(_strength(1e-4, "factor of half the sum of squared weights"),),
        ),
        Level(
            name="weight_decay",
            summary="torch's option of the optimizer: weights and biases shrink, for Adam not as with l2.",
            formula="g + strength w in place of g",
            source="torch.optim; Loshchilov and Hutter 2019",
            parameters=(_strength(1e-4, "the optimizer's weight_decay"),),
        ),
        Level(
            name="dropout",
            summary="Zeroes hidden outputs at random in training and scales up the others; off in tests.",
            formula="h m / (1 - p), m = 0 with probability p, else 1",
            source=f"Srivastava et al. 2014; {NG}, 1.6; {LEE}, recipe of deep learning",
            parameters=(
                Parameter(
                    name="p",
                    type=float,
                    default=0.5,
                    summary="probability of dropping an output",
                    minimum=0,
                    maximum=0.99,
                ),
            ),
            structural=True,
        ),
        Level(
            name="early_stopping",
            summary="Stops when the validation loss has not improved and goes back to the best weights.",
            formula="stop once patience epochs in a row brought no lower validation loss",
            source=f"Prechelt 1998; {NG}, 1.8; {LEE}, recipe of deep learning (patience 3 is Lightning's)",
            parameters=(
                Parameter(
                    name="patience",
                    type=int,
                    default=3,
                    summary="epochs without improvement that are borne",
                    minimum=1,
                    maximum=100_000,
                ),
            ),
        ),
        Level(
            name="batch_norm",
            summary="Standardizes each hidden unit over the batch, before the activation.",
            formula="gamma (z - mean) / sqrt(variance + eps) + beta",
            source=f"Ioffe and Szegedy 2015; {NG}, 3.4 to 3.7 (eps and momentum as torch)",
            parameters=(
                _epsilon(1e-5, "added to the variance, under the root"),
                Parameter(
                    name="momentum",
                    type=float,
                    default=0.1,
                    summary="share of the newest batch in the running statistics",
                    minimum=0,
                    maximum=1,
                    exclusive=True,
                ),
            ),
            structural=True,
        ),
    ],
)
"""What keeps a network from learning its training data by heart."""

_MOMENTUM = _decay("momentum", 0.9, "share of the old velocity that is kept")
_BETAS = (
    _decay("beta1", 0.9, "decay rate of the running mean of gradients"),
    _decay("beta2", 0.999, "decay rate of the running mean of squared gradients"),
)

OPTIMIZERS = Catalog(
    "optimizer",
    [
        Level(
            name="sgd",
            summary="Minibatch gradient descent.",
            formula="w <- w - lr g",
            source=f"Robbins and Monro 1951; {D2L}, linear neural networks (lr 0.1)",
            parameters=(_rate(0.1),),
        ),
        Level(
            name="momentum",
            summary="Gradient descent with a velocity; torch's form, dampening 0.",
            formula="v <- momentum v + g; w <- w - lr v (Ng's form multiplies g by 1 - momentum)",
            source=f"Polyak 1964; {SAITO}, optimizers; {NG}, 2.6 (momentum 0.9); "
            "lr 0.05 is ours: half of sgd's, as steps add up to 10 lr",
            parameters=(_rate(0.05), _MOMENTUM),
        ),
        Level(
            name="nesterov",
            summary="Momentum whose gradient looks one step ahead; torch's form.",
            formula="v <- momentum v + g; w <- w - lr (g + momentum v)",
            source="Nesterov 1983; Sutskever et al. 2013; rate and momentum as for momentum",
            parameters=(_rate(0.05), _MOMENTUM),
        ),
        Level(
            name="adagrad",
            summary="A rate for each weight that shrinks with the sum of its squared gradients.",
            formula="s <- s + g^2; w <- w - lr g / (sqrt(s) + eps)",
            source=f"Duchi, Hazan and Singer 2011; {LEE}, regression; {SAITO}, optimizers; "
            "lr 0.01 is torch's",
            parameters=(_rate(0.01), _epsilon(1e-10)),
        ),
        Level(
            name="rmsprop",
            summary="A rate for each weight that follows the running mean of its squared gradients.",
            formula="s <- alpha s + (1 - alpha) g^2; w <- w - lr g / (sqrt(s) + eps)",
            source=f"Tieleman and Hinton 2012 (lr 0.001); {NG}, 2.7; alpha and eps are torch's",
            parameters=(
                _rate(1e-3),
                _decay("alpha", 0.99, "decay rate of the running mean of squared gradients"),
                _epsilon(1e-8),
            ),
        ),
        Level(
            name="adam",
            summary="RMSprop on a running mean of gradients, both means corrected for their start at 0.",
            formula="v <- beta1 v + (1 - beta1) g; s <- beta2 s + (1 - beta2) g^2; "
            "w <- w - lr v / (1 - beta1^t) / (sqrt(s / (1 - beta2^t)) + eps)",
            source=f"Kingma and Ba 2015 (all defaults); {NG}, 2.8",
            parameters=(_rate(1e-3), *_BETAS, _epsilon(1e-8)),
        ),
        Level(
            name="adamw",
            summary="Adam that shrinks the weights beside the gradient step instead of through it.",
            formula="w <- (1 - lr weight_decay) w, then Adam's step",
            source="Loshchilov and Hutter 2019; defaults of torch.optim.AdamW",
            parameters=(
                _rate(1e-3),
                *_BETAS,
                _epsilon(1e-8),
                Parameter(
                    name="weight_decay",
                    type=float,
                    default=0.01,
                    summary="decay of weights and biases, per step and unit of lr",
                    minimum=0,
                ),
            ),
        ),
    ],
)
"""How the weights move; each at the default rate that its source gives (see the top of this file)."""

MODELS = Catalog(
    "model",
    [
        Level(
            name="linear_regression",
            summary="One linear layer and the squared error.",
            formula="y = w x + b",
            source=f"{D2L}, linear neural networks; {LEE}, regression",
            tasks=("regression",),
        ),
        Level(
            name="softmax_regression",
            summary="One linear layer, softmax and the cross-entropy.",
            formula="p = softmax(W x + b)",
            source=f"{D2L}, linear neural networks; {LEE}, classification",
            tasks=("classification",),
        ),
        Level(
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
    ],
)
"""What is trained."""

FACTORS: dict[str, Catalog] = {
    "activation": ACTIVATIONS,
    "initializer": INITIALIZERS,
    "regularizer": REGULARIZERS,
    "optimizer": OPTIMIZERS,
}
"""The factors of a recipe, in the order of the records' columns."""

DEFAULTS: dict[str, str] = {
    "model": "mlp",
    "activation": "relu",
    "initializer": "he",
    "regularizer": "none",
    "optimizer": "sgd",
}
"""The level of each factor that a suite leaves out: the plainest recipe, one rule for every model."""

WITHOUT_HIDDEN_LAYERS: set[str] = {"linear_regression", "softmax_regression"}
"""Models that have no place for an activation, dropout or batch norm."""
