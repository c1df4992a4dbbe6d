"""HugeCTR's optimiser for the PyTorch twin."""

import math

import torch
from torch import nn


def adam_eps(step: int) -> float:
    """Return PyTorch's eps for step ``step`` (from 1) that makes its Adam HugeCTR's; see ``HugeCTRAdam``."""
    return 1e-7 / math.sqrt(1 - 0.999**step)


class HugeCTRAdam(torch.optim.Adam):
    """Adam as HugeCTR steps it: lr * sqrt(1 - b2^t) / (1 - b1^t) * m / (sqrt(v) + eps), eps 1e-7.

    PyTorch adds eps after the bias correction of v, so its eps is set to 1e-7 / sqrt(1 - b2^t) before
    step t, which makes the two formulas equal. Like HugeCTR's ``Update_t.Global``, moments of rows
    that are absent from a batch decay.
    """

    def __init__(self, parameters: "list[nn.Parameter]", lr: float) -> None:
        super().__init__(parameters, lr=lr, betas=(0.9, 0.999), eps=1e-7, fused=True)
        self._steps = 0

    # Adam's step may be given a closure that computes the loss; nothing here gives one.
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Take one step."""
        self._steps += 1
        for group in self.param_groups:
            group["eps"] = adam_eps(self._steps)
        super().step(closure)
