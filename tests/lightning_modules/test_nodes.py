"""Add and multiply nodes against autograd, the chain rule on a graph by hand, and successors added up."""

from __future__ import annotations

import pytest
import torch

from recipebench.lightning_modules.nodes import Add, Multiply


def draws(count: int) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(3, 2, generator=generator, dtype=torch.float64) for _ in range(count)]


@pytest.mark.parametrize(("node", "function"), [(Add(), torch.add), (Multiply(), torch.mul)], ids=["+", "x"])
def test_a_node_gives_autograds_derivatives(node: Add | Multiply, function: object) -> None:
    x, y, grad = draws(3)
    x.requires_grad_()
    y.requires_grad_()
    expected = torch.autograd.grad(function(x, y), (x, y), grad)  # type: ignore[operator]

    with torch.no_grad():
        value = node.forward(x, y)
        found = node.backward(grad)

    assert torch.equal(value, function(x, y))  # type: ignore[operator]
    assert torch.equal(found[0], expected[0])
    assert torch.equal(found[1], expected[1])


def test_apples_and_oranges_as_the_book_works_them_out() -> None:
    """Two apples of 100, three oranges of 150, a tax of 10 %: 715, and the derivatives of the book."""
    number = torch.tensor
    apples, oranges, fruit, tax = Multiply(), Multiply(), Add(), Multiply()
    basket = fruit.forward(
        apples.forward(number(100.0), number(2.0)), oranges.forward(number(150.0), number(3.0))
    )
    price = tax.forward(basket, number(1.1))

    by_basket, by_tax = tax.backward(number(1.0))
    by_apples, by_oranges = fruit.backward(by_basket)

    assert price == pytest.approx(715)
    assert [float(d) for d in (by_tax, *apples.backward(by_apples))] == pytest.approx([650, 2.2, 110])
    assert [float(d) for d in oranges.backward(by_oranges)] == pytest.approx([3.3, 165])


def test_derivatives_of_several_successors_add_up() -> None:
    """z = (x + y) x: x feeds two nodes, so dz/dx = (x + y) + x, and dz/dy = x."""
    x, y = torch.tensor(3.0), torch.tensor(4.0)
    add, multiply = Add(), Multiply()
    multiply.forward(add.forward(x, y), x)

    by_sum, by_x = multiply.backward(torch.tensor(1.0))
    first, by_y = add.backward(by_sum)

    assert (float(by_x + first), float(by_y)) == (10.0, 3.0)


def test_multiply_has_nothing_to_go_back_to_before_a_forward_pass() -> None:
    with pytest.raises(RuntimeError, match="call forward before backward"):
        Multiply().backward(torch.tensor(1.0))
