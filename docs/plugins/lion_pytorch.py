"""Lion of the package lion-pytorch: element-wise, so one step serves all members of a pack."""

from lion_pytorch import Lion

from recipebench.plugins import optimizer


@optimizer(elementwise=True)
def lion_pytorch(parameters, lr: float = 1e-3, beta1: float = 0.9, beta2: float = 0.99):
    """Steps of one size, against the sign of a mean of gradients: `lion_pytorch.Lion`.

    Args:
        parameters: the numbers to train.
        lr: step size, per optimizer step; the paper has a third to a tenth of AdamW's.
        beta1: share of the running mean in the direction of a step.
        beta2: decay rate of the running mean.

    References:
        Chen et al., Symbolic Discovery of Optimization Algorithms, NeurIPS 2023; package lion-pytorch.
    """
    return Lion(parameters, lr=lr, betas=(beta1, beta2))
