"""KL between policy and reference, and its coefficient."""

from __future__ import annotations

import math

import torch
from torch import Tensor

_GAIN, _LARGEST_ERROR = 0.1, 0.2  # Ziegler et al. 2019, section 2.2: at most 2 % a step
_SPAN = 100.0  # ours: beyond this factor, steering would only hide that something broke


def kl_per_token(logprobs: Tensor, reference_logprobs: Tensor, mask: Tensor, estimator: str) -> Tensor:
    """[B, R] estimates of KL(policy ‖ reference) in nats, from log-probabilities of sampled tokens; 0 at padding.

    With d = log policy - log reference (Schulman, "Approximating KL divergence", 2020): `k1` is d, unbiased, of any
    sign; `k2` is d²/2, biased in third order; `k3` is exp(-d) - 1 + d, never negative, unbiased, of high variance if
    the reference likes a token much better. Under top-p none is unbiased, and the mean of k1 can be below 0.
    """
    difference = (logprobs - reference_logprobs).masked_fill(~mask, 0.0)
    if estimator == "k1":
        return difference
    if estimator == "k2":
        return difference.square() / 2
    if estimator == "k3":
        return torch.expm1(-difference) + difference
    raise ValueError(f"estimator={estimator!r} is none of k1, k2, k3")


class KlController:
    """The KL coefficient: fixed, or steered to a target (Ziegler et al. 2019, section 2.2): each update multiplies it
    by 1 + 0.1 · relative error within ±0.2.
    """

    def __init__(self, coefficient: float, target: float | None = None):
        self.coefficient, self.target = coefficient, target
        self._low, self._high = coefficient / _SPAN, coefficient * _SPAN

    def update(self, kl: float) -> None:
        """`kl`: mean nats per response over the step's global batch. Raises ValueError for NaN."""
        if math.isnan(kl):
            raise ValueError("the KL is not a number")
        if self.target is None:
            return
        error = min(max(kl / self.target - 1.0, -_LARGEST_ERROR), _LARGEST_ERROR)
        self.coefficient = min(max(self.coefficient * (1.0 + _GAIN * error), self._low), self._high)

    def state_dict(self) -> dict[str, float]:
        return {"coefficient": self.coefficient}

    def load_state_dict(self, state: dict[str, float]) -> None:
        self.coefficient = state["coefficient"]
