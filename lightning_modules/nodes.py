"""The two nodes that every computational graph is made of, each with a forward and a backward pass.

Backpropagation is the chain rule, node by node and from the back: a node gets the derivative of the cost
by its output and hands on that by each of its inputs, from nothing but its own operation. Where an
output feeds several successors, their derivatives are added up.
"""

from __future__ import annotations

from torch import Tensor


class Add:
    """z = x + y. Backward passes the derivative on: dx = dz, dy = dz.

    Example:
        >>> import torch
        >>> node = Add()
        >>> node.forward(torch.tensor(2.0), torch.tensor(3.0))
        tensor(5.)
        >>> node.backward(torch.tensor(1.5))
        (tensor(1.5000), tensor(1.5000))

    References:
        Saito, Deep Learning from Scratch, backpropagation of the addition node.
    """

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """Return x + y, of one shape."""
        return x + y

    def backward(self, grad: Tensor) -> tuple[Tensor, Tensor]:
        """Return the derivatives by x and by y from `grad`, that by z."""
        return grad, grad


class Multiply:
    """z = x y. Backward multiplies by the other input: dx = dz y, dy = dz x.

    The inputs of the last forward pass are kept for it.

    Example:
        Two apples of 100 each and a tax of 10 %: the price rises by 2.2 for each unit that an apple costs.

        >>> import torch
        >>> apples, tax = Multiply(), Multiply()
        >>> before = apples.forward(torch.tensor(100.0), torch.tensor(2.0))
        >>> tax.forward(before, torch.tensor(1.1))
        tensor(220.)
        >>> by_before, by_tax = tax.backward(torch.tensor(1.0))
        >>> by_tax, apples.backward(by_before)
        (tensor(200.), (tensor(2.2000), tensor(110.)))

    References:
        Saito, Deep Learning from Scratch, backpropagation of the multiplication node.
    """

    def __init__(self) -> None:
        self._inputs: tuple[Tensor, Tensor] | None = None

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """Return x y, of one shape."""
        self._inputs = x, y
        return x * y

    def backward(self, grad: Tensor) -> tuple[Tensor, Tensor]:
        """Return the derivatives by x and by y from `grad`, that by z.

        Raises:
            RuntimeError: there was no forward pass.
        """
        if self._inputs is None:
            raise RuntimeError("Multiply: call forward before backward.")
        x, y = self._inputs
        return grad * y, grad * x
