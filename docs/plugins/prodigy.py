"""Prodigy of the package prodigyopt: one estimate for all weights, so every member of a pack has its own."""

from prodigyopt import Prodigy

from recipebench.plugins import optimizer


@optimizer
def prodigy(parameters, lr: float = 1.0, beta1: float = 0.9, beta2: float = 0.999, d_coef: float = 1.0):
    """Adam whose step size is an estimate of the distance to the solution: `prodigyopt.Prodigy`.

    Args:
        parameters: the numbers to train.
        lr: multiplies the estimate; 1 leaves it, and a schedule lowers it from there.
        beta1: decay rate of the mean of gradients.
        beta2: decay rate of the mean of squared gradients.
        d_coef: multiplies the estimate too, before it is compared with earlier ones.

    References:
        Mishchenko and Defazio, Prodigy: An Expeditiously Adaptive Parameter-Free Learner, ICML 2024;
        package prodigyopt.
    """
    return Prodigy(parameters, lr=lr, betas=(beta1, beta2), d_coef=d_coef)
