"""The unbiased estimate of pass@k (Chen et al. 2021, Evaluating Large Language Models Trained on Code)."""

from __future__ import annotations

import math


def pass_at_k(samples: int, passed: int, k: int) -> float:
    """The chance that of k answers, drawn without putting any back from `samples` of which `passed` pass, one does.

    1 - C(n - c, k) / C(n, k), as a product whose factors lie between 0 and 1 until one is 0: no binomial is computed.
    Raises ValueError where k answers cannot be drawn.
    """
    if not 0 <= passed <= samples or not 1 <= k <= samples:
        raise ValueError(f"pass@{k} of {samples} samples, {passed} of them passed")
    return 1.0 - math.prod((samples - passed - i) / (samples - i) for i in range(k))
