"""The order of training pairs: a function of the seed."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

_WINDOW = 32  # batches


def training_order(lengths: Sequence[int], batch: int, seed: int, epochs: float, steps: int | None) -> np.ndarray:
    """Indices [steps · batch]: every pair once before any repeats.

    Pairs of similar length share a batch: shuffled, sorted by length within 32 batches, batches shuffled again. `steps`
    None: the full batches of `epochs`, at least one.
    """
    count = len(lengths)
    steps = steps or max(1, int(epochs * count) // batch)
    draw = np.random.default_rng(seed)
    rounds = -(-steps * batch // count)
    order = np.concatenate([draw.permutation(count) for _ in range(rounds)])[: steps * batch]
    by_length = np.asarray(lengths)[order]
    windows = []
    for start in range(0, len(order), _WINDOW * batch):
        window = order[start : start + _WINDOW * batch]
        sorted_ = window[np.argsort(by_length[start : start + _WINDOW * batch], kind="stable")]
        windows.append(draw.permutation(sorted_.reshape(-1, batch), axis=0).ravel())
    return np.concatenate(windows)
