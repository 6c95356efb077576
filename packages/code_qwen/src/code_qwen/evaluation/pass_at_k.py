"""The unbiased estimate of pass@k (Chen et al. 2021, Evaluating Large Language Models Trained on Code)."""

from __future__ import annotations

import math


def pass_at_k(samples: int, passed: int, k: int) -> float:
    """The chance that one of k answers passes, drawn without replacement from `samples`, of which `passed` do.

    1 - C(n - c, k) / C(n, k), as a product of factors between 0 and 1. Raises ValueError for fewer than k answers.
    """
    if not 0 <= passed <= samples or not 1 <= k <= samples:
        raise ValueError(f"pass@{k} of {samples} samples, {passed} of them passed")
    return 1.0 - math.prod((samples - passed - i) / (samples - i) for i in range(k))
