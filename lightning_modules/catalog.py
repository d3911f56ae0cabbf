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
    return Parameter(
        name=name, type=float, default=default, summary=summary, minimum=0, maximum=NEARLY_ONE, decay=True
    )


def _epsilon(default: float, summary: str = "added to the root, outside of it") -> Parameter:
    return Parameter(name="eps", type=float, default=default, summary=summary, minimum=0, exclusive=True)


def _strength(default: float, summary: str) -> Parameter:
    return Parameter(name="strength", type=float, default=default, summary=summary, minimum=0)


ACTIVATIONS = Catalog(
    "activation",
    [
        Level(
            name="step",
            summary="The threshold neuron: 1 or 0, with gradient 0, so that only later layers learn.",
            formula="1 if x > 0 else 0",
            source=f"Rosenblatt 1958; {SAITO}, perceptrons",
        ),
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
                Parameter(
                    name="match",
                    type=str,
                    default="units",
                    summary="what the hidden layers share with those of a one-piece activation",
                    choices=("units", "parameters", "flops"),
                    structural=True,
                    later=True,
                ),
            ),
            structural=True,
        ),
        Level(
            name="hardmax",
            summary="1 for the largest unit of the layer, 0 for the others: softmax made hard; gradient 0.",
            formula="1 if x_i is the (first) largest x_k else 0",
            source=f"{NG}, 3.9",
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
            name="constant",
            summary="All weights the same, so that all units of a layer stay the same; biases 0.",
            formula="value",
            source=f"{D2L}, linear neural networks, questions; {SAITO}, initial values of weights",
            parameters=(
                Parameter(
                    name="value",
                    type=float,
                    default=0.01,
                    summary="every weight",
                    minimum=0,
                ),
            ),
        ),
        Level(
            name="variance_preserving",
            summary="Normal, scaled so that pre-activations keep their size with any activation; biases 0.",
            formula="variance 1 / (n_in E[phi(z)^2]), z ~ N(0, 1), phi the activation before the layer",
            source="He, Zhang, Ren and Sun 2015 (ReLU: 2 / n_in); Poole et al. 2016 (any activation)",
        ),
        Level(
            name="torch_default",
            summary="What nn.Linear draws when nobody asks: uniform, weights and biases.",
            formula="uniform in ±1 / sqrt(n_in), standard deviation 0.577 / sqrt(n_in)",
            source="torch.nn.Linear",
        ),
    ],
)
"""How weights start. n_in and n_out count units (one piece of Maxout), in convolutions times kernel size."""

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
                Parameter(
                    name="scaling",
                    type=str,
                    default="inverted",
                    summary="where outputs are scaled: by 1 / (1 - p) in training, or by 1 - p in tests",
                    choices=("inverted", "at_test"),
                    later=True,
                ),
            ),
            structural=True,
        ),
        Level(
            name="dropout_per_layer",
            summary="Dropout with a probability for the input and for each hidden layer of the mlp.",
            formula="h m / (1 - p_l), m = 0 with probability p_l, else 1",
            source=f"{NG}, 1.6 (keep_prob 1 for the input, 0.5 for the largest layer, 0.7 for the next)",
            parameters=(
                Parameter(
                    name="p",
                    type=tuple,
                    element=float,
                    default=(0.0, 0.5, 0.3),
                    summary="probabilities of dropping, of the input and of each hidden layer in turn",
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
            name="convergence_stopping",
            summary="Stops when the training loss has all but ceased to change; keeps the last weights.",
            formula="stop once |L_t - L_(t-1)| < tolerance |L_(t-1)| for patience epochs in a row",
            source=f"{D2L}, linear neural networks, questions (about 1 %)",
            parameters=(
                Parameter(
                    name="tolerance",
                    type=float,
                    default=0.01,
                    summary="relative change of an epoch's training loss that counts as none",
                    minimum=0,
                    maximum=1,
                    exclusive=True,
                ),
                Parameter(
                    name="patience",
                    type=int,
                    default=1,
                    summary="epochs in a row with so small a change",
                    minimum=1,
                    maximum=100_000,
                ),
            ),
        ),
        Level(
            name="batch_norm",
            summary="Standardizes each hidden unit over the batch, before or after the activation.",
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
                Parameter(
                    name="position",
                    type=str,
                    default="before",
                    summary="before or after the activation",
                    choices=("before", "after"),
                    later=True,
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
            name="momentum_averaged",
            summary="Gradient descent along a running mean of gradients: Ng's momentum.",
            formula="v <- momentum v + (1 - momentum) g; w <- w - lr v, v = 0 at first",
            source=f"{NG}, 2.6 (momentum 0.9); lr 0.1 is sgd's, as a step tends to lr g",
            parameters=(_rate(0.1), _MOMENTUM),
        ),
        Level(
            name="momentum_velocity",
            summary="Momentum whose velocity holds the rate: unlike torch's once the rate changes.",
            formula="v <- momentum v - lr g; w <- w + v, v = 0 at first",
            source=f"{SAITO}, optimizers; {LEE}, recipe of deep learning; rate and momentum as for momentum",
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

LOSSES = Catalog(
    "loss",
    [
        Level(
            name="mse",
            summary="Squared error, without the half.",
            formula="(o - y)^2",
            source=f"torch.nn.MSELoss; {LEE}, regression",
            tasks=("regression",),
        ),
        Level(
            name="half_mse",
            summary="Half the squared error, whose gradient is the error: mse at half the rate.",
            formula="(o - y)^2 / 2",
            source=f"{D2L}, linear neural networks; {SAITO}, learning",
            tasks=("regression",),
        ),
        Level(
            name="l1",
            summary="Absolute error: every error pulls alike, so outliers matter less.",
            formula="|o - y|",
            source=f"torch.nn.L1Loss; {D2L}, linear neural networks",
            tasks=("regression",),
        ),
        Level(
            name="huber",
            summary="Squared for small errors, absolute for large ones.",
            formula="e^2 / 2 for |e| < delta, else delta (|e| - delta / 2), e = o - y",
            source=f"Huber 1964; torch.nn.HuberLoss; {D2L}, linear neural networks (delta 1)",
            parameters=(
                Parameter(
                    name="delta",
                    type=float,
                    default=1.0,
                    summary="error from which on the loss is a straight line",
                    minimum=0,
                    exclusive=True,
                ),
            ),
            tasks=("regression",),
        ),
        Level(
            name="cross_entropy",
            summary="Negative log-likelihood of the class under the softmax of the outputs, in nats.",
            formula="-log softmax(o)_y",
            source=f"torch.nn.CrossEntropyLoss; {D2L}, linear neural networks",
            tasks=("classification",),
        ),
        Level(
            name="label_smoothing",
            summary="Cross-entropy whose targets leave a little to every class.",
            formula="-sum_k t_k log softmax(o)_k; t_y = 1 - epsilon, others epsilon / (K - 1) (corrected), "
            "epsilon / K (notes); torch adds epsilon / K to t_y",
            source=f"Szegedy et al. 2016; torch.nn.CrossEntropyLoss; {D2L}, softmax regression, questions",
            parameters=(
                Parameter(
                    name="epsilon",
                    type=float,
                    default=0.1,
                    summary="what is taken from the true class",
                    minimum=0,
                    maximum=1,
                ),
                Parameter(
                    name="form",
                    type=str,
                    default="torch",
                    summary="who gets it: all classes, only the others, or the others as in the notes",
                    choices=("torch", "corrected", "notes"),
                ),
            ),
            tasks=("classification",),
        ),
        Level(
            name="bce",
            summary="Binary cross-entropy of each class against the rest, averaged over the classes.",
            formula="-(1 / K) sum_k [t_k log f_k + (1 - t_k) log(1 - f_k)], f = sigmoid(o), t one-hot",
            source=f"torch.nn.BCEWithLogitsLoss; {LEE}, logistic regression",
            tasks=("classification",),
        ),
        Level(
            name="one_hot_mse",
            summary="Squared error of the outputs to one-hot targets: least squares as a classifier.",
            formula="(1 / K) sum_k (o_k - t_k)^2, t one-hot",
            source=f"{D2L}, softmax regression; {LEE}, classification",
            tasks=("classification",),
        ),
        Level(
            name="probability_mse",
            summary="Squared error of the probabilities; its gradient vanishes far from the target too.",
            formula="(1 / K) sum_k (p_k - t_k)^2, p = softmax(o), t one-hot",
            source=f"Brier 1950; {LEE}, logistic regression (why not the squared error)",
            tasks=("classification",),
        ),
        Level(
            name="multi_margin",
            summary="Asks that the true class lead each other by a margin: hinge loss for several classes.",
            formula="(1 / K) sum_(k != y) max(0, margin - o_y + o_k)",
            source=f"Weston and Watkins 1999; torch.nn.MultiMarginLoss; {D2L}, softmax regression",
            parameters=(
                Parameter(
                    name="margin",
                    type=float,
                    default=1.0,
                    summary="by how much the true class is to lead",
                    minimum=0,
                    exclusive=True,
                ),
            ),
            tasks=("classification",),
        ),
        Level(
            name="perceptron",
            summary="By how much a wrong answer leads; right answers teach nothing.",
            formula="max_k o_k - o_y",
            source="Rosenblatt 1958; Collins 2002 (several classes)",
            tasks=("classification",),
        ),
    ],
)
"""What is minimized, beside penalties: the mean over the batch of the loss of one sample."""

_FIRST_EPOCH = Parameter(
    name="first_epoch",
    type=int,
    default=1,
    summary="number of the first epoch in the formula: 1 as in the notes, 0 as in torch",
    minimum=0,
    maximum=1,
)


def _factor(default: float) -> Parameter:
    return Parameter(
        name="factor",
        type=float,
        default=default,
        summary="of the rate at each step down",
        minimum=0,
        maximum=1,
        exclusive=True,
    )


SCHEDULES = Catalog(
    "schedule",
    [
        Level(
            name="constant",
            summary="The learning rate stays as it is.",
            formula="lr",
            source=f"baseline; {D2L}, linear neural networks, questions",
        ),
        Level(
            name="inverse_time",
            summary="The rate falls like one over the number of epochs.",
            formula="lr / (1 + decay epoch)",
            source=f"{NG}, 2.9 (decay 1: 0.2 becomes 0.1, 0.067, 0.05, 0.04)",
            parameters=(
                Parameter(
                    name="decay", type=float, default=1.0, summary="how fast the rate falls", minimum=0
                ),
                _FIRST_EPOCH,
            ),
        ),
        Level(
            name="exponential",
            summary="The rate loses the same share in every epoch.",
            formula="lr gamma^epoch",
            source=f"{NG}, 2.9 (gamma 0.95); torch's ExponentialLR where first_epoch is 0",
            parameters=(
                Parameter(
                    name="gamma",
                    type=float,
                    default=0.95,
                    summary="factor of each epoch",
                    minimum=0,
                    maximum=1,
                    exclusive=True,
                ),
                _FIRST_EPOCH,
            ),
        ),
        Level(
            name="root",
            summary="The rate falls like one over the root of the number of epochs.",
            formula="lr k / sqrt(epoch)",
            source=f"{NG}, 2.9; {LEE}, gradient descent (lr / sqrt(t + 1), t from 0)",
            parameters=(
                Parameter(
                    name="k",
                    type=float,
                    default=1.0,
                    summary="factor of the first epoch",
                    minimum=0,
                    exclusive=True,
                ),
                _FIRST_EPOCH,
            ),
        ),
        Level(
            name="staircase",
            summary="The rate is halved now and then.",
            formula="lr factor^floor((epoch - 1) / every)",
            source=f"{NG}, 2.9 (halved); torch's StepLR; every 5 is ours, half of the default run",
            parameters=(
                Parameter(
                    name="every",
                    type=int,
                    default=5,
                    summary="epochs with the same rate",
                    minimum=1,
                    maximum=100_000,
                ),
                _factor(0.5),
            ),
        ),
        Level(
            name="manual",
            summary="The rate is adjusted by hand, after the epochs that are listed.",
            formula="lr factor^(listed epochs that are over)",
            source=f"{NG}, 2.9; torch's MultiStepLR (factor 0.1); the epochs are ours, for runs of 10",
            parameters=(
                Parameter(
                    name="epochs",
                    type=tuple,
                    default=(5, 8),
                    summary="after which epochs the rate is multiplied by the factor, rising",
                ),
                _factor(0.1),
            ),
        ),
        Level(
            name="plateau",
            summary="The rate falls when the validation loss has ceased to fall.",
            formula="lr factor^n, n steps down, each after more than patience epochs with no better loss",
            source=f"torch's ReduceLROnPlateau; {NG}, 2.9 (by hand); patience 2 is ours, for runs of 10",
            parameters=(
                _factor(0.1),
                Parameter(
                    name="patience",
                    type=int,
                    default=2,
                    summary="epochs without a better validation loss that are borne",
                    minimum=0,
                    maximum=100_000,
                ),
            ),
        ),
        Level(
            name="cosine",
            summary="The rate falls along half a cosine over the run.",
            formula="lr (minimum + (1 - minimum) (1 + cos(pi (epoch - 1) / epochs)) / 2)",
            source="Loshchilov and Hutter 2017; torch's CosineAnnealingLR",
            parameters=(
                Parameter(
                    name="minimum",
                    type=float,
                    default=0.0,
                    summary="smallest factor of the rate, just after the last epoch",
                    minimum=0,
                    maximum=1,
                ),
            ),
        ),
        Level(
            name="warmup",
            summary="The rate rises evenly in the first epochs and stays.",
            formula="lr min(1, epoch / length)",
            source="Goyal et al. 2017 (5 epochs); torch's LinearLR from 1 / length on",
            parameters=(
                Parameter(
                    name="length",
                    type=int,
                    default=5,
                    summary="the first epoch with the full rate",
                    minimum=1,
                    maximum=100_000,
                ),
            ),
        ),
    ],
)
"""How the learning rate changes from epoch to epoch; epochs count from 1."""

FACTORS: dict[str, Catalog] = {
    "activation": ACTIVATIONS,
    "initializer": INITIALIZERS,
    "regularizer": REGULARIZERS,
    "optimizer": OPTIMIZERS,
    "loss": LOSSES,
    "schedule": SCHEDULES,
}
"""The factors of a recipe, in the order of the records' columns."""

DEFAULTS: dict[str, str] = {
    "model": "mlp",
    "activation": "relu",
    "initializer": "he",
    "regularizer": "none",
    "optimizer": "sgd",
    "schedule": "constant",
    "augmentation": "none",
}
"""The level of each factor that a suite leaves out: the plainest recipe, one rule for every model."""

DEFAULT_LOSS: dict[str, str] = {"regression": "mse", "classification": "cross_entropy"}
"""The loss that a suite leaves out, by task."""
