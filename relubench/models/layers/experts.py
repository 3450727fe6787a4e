"""A mixture of feed-forward networks: a router sends each row to a few of them and adds up what they give.

In the list of layers the experts of a block stand one after the other, each between its `Take` and its `Put`: inside,
they are stages like all others, on the rows that were sent to them. No row is dropped, and no noise is added.

Shapes: R rows, D features, E experts, K of them for a row, N rows of one expert.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from relubench.models.layers.base import Layer
from relubench.models.optimizers import Optimizer, Parameter


class Router(Layer):
    """x [R, D] itself, and where its rows go: to the K experts of largest probability p = softmax(x W^T).

    What an expert gives is weighted by its p, with K > 1 over the sum of the K (Shazeer et al. 2017, arXiv 1701.06538).
    The loss has balance * E * sum_e f_e mean(p_e) more, with f_e the share of choices that are e (Fedus et al. 2022,
    arXiv 2101.03961, equation 4): it is least where all experts are chosen alike.
    """

    def __init__(self, weight: Parameter, chosen: int, balance: float) -> None:
        self.weight, self.parameters = weight, (weight,)
        self.chosen, self.balance = chosen, balance
        self.x = self.sum = self.x_grad = self.sum_grad = torch.empty(0)
        self.choices: Sequence[Tensor] = ()
        """Of each expert the places of its rows among the R K choices."""
        self.gates = self.gate_grads = torch.empty(0)
        """Of each choice [R K]."""
        self.leaves: tuple[Tensor, Tensor] | None = None
        self.graph: tuple[Tensor, Tensor] | None = None
        """In training, the gates and the balancing loss as autograd can follow them."""

    @property
    def counts(self) -> list[int]:
        """Rows of each expert in the last batch."""
        return [len(choices) for choices in self.choices]

    def rows_of(self, expert: int) -> Tensor:
        """The rows that an expert works on [N]."""
        return self.choices[expert] // self.chosen

    def forward(self, x: Tensor, training: bool) -> Tensor:
        self.x, self.sum = x, torch.zeros_like(x)
        if not training:
            self.gates, _ = self._route(x, self.weight.value)
            return x
        with torch.enable_grad():
            self.leaves = x.detach().requires_grad_(), self.weight.value.detach().requires_grad_()
            self.graph = self._route(*self.leaves)
        self.gates = self.graph[0].detach()
        self.x_grad, self.gate_grads = torch.zeros_like(x), torch.zeros_like(self.gates)
        return x

    def _route(self, x: Tensor, w: Tensor) -> tuple[Tensor, Tensor]:
        """The gates [R K] and the balancing loss; remembers the choices."""
        p = torch.softmax(x @ w.t(), dim=-1)
        gates, index = p.topk(self.chosen, dim=-1)
        if self.chosen > 1:
            gates = gates / gates.sum(dim=-1, keepdim=True)
        experts = index.flatten()
        counts = torch.bincount(experts, minlength=len(w))
        self.choices = experts.argsort(stable=True).split(counts.tolist())
        shares = counts.to(p.dtype) / max(1, len(experts))
        return gates.flatten(), self.balance * len(w) * (shares * p.mean(dim=0)).sum()

    def backward(self, grad: Tensor, update: Optimizer, first: bool) -> Tensor:
        assert self.graph is not None and self.leaves is not None
        gates, loss = self.graph
        below, weight_grad = torch.autograd.grad([gates, loss], self.leaves, [self.gate_grads, torch.ones_like(loss)])
        update.gradient(self.weight, weight_grad)
        self.graph = self.leaves = None
        return self.x_grad.add_(below)


class Take(Layer):
    """The rows of x that the router sends to one expert, [N, D]; the layer's own input only says when."""

    def __init__(self, router: Router, expert: int) -> None:
        self.router, self.expert = router, expert

    def forward(self, x: Tensor, training: bool) -> Tensor:
        return self.router.x.index_select(0, self.router.rows_of(self.expert))

    def backward(self, grad: Tensor, update: Optimizer, first: bool) -> Tensor:
        self.router.x_grad.index_add_(0, self.router.rows_of(self.expert), grad)
        return self.router.sum_grad


class Put(Layer):
    """The sum over the experts so far [R, D], with the rows [N, D] of one more, each times its gate."""

    stream = True

    def __init__(self, router: Router, expert: int) -> None:
        self.router, self.expert = router, expert
        self.x = torch.empty(0)

    def forward(self, x: Tensor, training: bool) -> Tensor:
        router, rows = self.router, self.router.rows_of(self.expert)
        weighted = x * router.gates[router.choices[self.expert]].unsqueeze(-1)
        if training:
            self.x = x
            return router.sum.index_add_(0, rows, weighted)
        router.sum = router.sum.index_add(0, rows, weighted)
        return router.sum

    def backward(self, grad: Tensor, update: Optimizer, first: bool) -> Tensor:
        router, choices = self.router, self.router.choices[self.expert]
        router.sum_grad = grad
        by_row = grad.index_select(0, router.rows_of(self.expert))
        router.gate_grads[choices] = (by_row * self.x).sum(dim=-1)
        return by_row.mul_(router.gates[choices].unsqueeze(-1))
