"""The suite's Adam: torch's own step without the optimizer class around it.

The class serves hooks, parameter groups and closures, and on a CPU that shows in the time of a small network's step.
The first of these objects imports torch's compiler besides: five seconds and 150 MiB of every process.
The function below the class does the same arithmetic and no more.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor
from torch.optim.adam import adam


class Adam:
    """Kingma & Ba 2015 (1412.6980), algorithm 1, with its constants: the steps of ``torch.optim.Adam``, bit for bit.

    Attributes:
        parameters: What is moved, in place.
        lr: The step size, which may change from step to step.
        state: Index of a parameter -> ``step`` and the moments ``exp_avg`` and ``exp_avg_sq``; from its first step on.
    """

    def __init__(self, parameters: Iterable[Tensor], lr: float, fused: bool = False) -> None:
        """Moves nothing yet.

        Args:
            parameters: What is to be moved.
            lr: The step size.
            fused: Whether all of a step is one kernel, which not every device has.
        """
        self.parameters, self.lr = list(parameters), lr
        self.state: dict[int, dict[str, Tensor]] = {}
        self._fused = fused

    def zero_grad(self) -> None:
        """Drops all gradients."""
        for parameter in self.parameters:
            parameter.grad = None

    @torch.no_grad()
    def step(self) -> None:
        """Moves every parameter that has a gradient."""
        moved = [i for i, parameter in enumerate(self.parameters) if parameter.grad is not None]
        if not moved:
            return
        parameters = [self.parameters[i] for i in moved]
        states = [self.state_of(i) for i in moved]
        adam(
            parameters,
            [parameter.grad for parameter in parameters],  # type: ignore[misc]
            [state["exp_avg"] for state in states],
            [state["exp_avg_sq"] for state in states],
            [],
            [state["step"] for state in states],
            fused=self._fused or None,
            lr=self.lr,
            beta1=0.9,
            beta2=0.999,
            eps=1e-8,
            weight_decay=0.0,
            amsgrad=False,
            maximize=False,
        )

    def state_of(self, i: int) -> dict[str, Tensor]:
        """Returns what is kept of a parameter: before its first step, zeros."""
        if i in self.state:
            return self.state[i]
        parameter = self.parameters[i]
        step = torch.zeros((), device=parameter.device if self._fused else "cpu")
        moments = {name: torch.zeros_like(parameter) for name in ("exp_avg", "exp_avg_sq")}
        self.state[i] = {"step": step, **moments}
        return self.state[i]
