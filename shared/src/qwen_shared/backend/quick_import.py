"""Importing Megatron without W&B, and on a CPU without torch's compiler."""

from __future__ import annotations

import contextlib
import functools
import os
import sys
from collections.abc import Iterator


@contextlib.contextmanager
def quick_import() -> Iterator[None]:
    """Import Megatron inside. Its timers would load W&B: most of a second.

    On a CPU nothing is compiled, but Megatron's decorators load the compiler on import (about 4 seconds), and torch's
    optimizers in their first step, to exempt themselves. On a GPU the compiler stays.
    """
    import torch

    if torch.cuda.is_available():
        _import_megatron()
        yield
        return
    os.environ.setdefault("DS_ACCELERATOR", "cpu")  # else DeepSpeed, which transformers imports, looks for a GPU
    compile_function = torch.compile
    torch.compile = lambda function=None, **_: function if function is not None else lambda decorated: decorated
    try:
        _import_megatron()
        yield
    finally:
        torch.compile = compile_function
    _leave_optimizers_alone()


def _import_megatron() -> None:
    hidden = "wandb" not in sys.modules
    if hidden:
        sys.modules["wandb"] = None  # as if it were not installed
    try:
        import megatron.core  # noqa: F401
    finally:
        if hidden:
            del sys.modules["wandb"]


def _leave_optimizers_alone() -> None:
    """The effect of torch's decorators without the compiler. With another torch, start-up only takes longer."""
    import torch

    for name in ("state_dict", "load_state_dict", "zero_grad", "add_param_group"):
        plain = getattr(getattr(torch.optim.Optimizer, name), "__wrapped__", None)
        if plain is not None:
            setattr(plain, "__dynamo_disable", plain)  # where the decorator caches the compiler's result
    plain = getattr(torch.optim.Adam.step, "__wrapped__", None)
    if plain is None or getattr(torch.optim.Adam.step, "hooked", False):
        return

    @functools.wraps(plain)
    def step(self, *args, **kwargs):
        with torch.set_grad_enabled(self.defaults["differentiable"]):
            return plain(self, *args, **kwargs)

    torch.optim.Adam.step = step  # AdamW inherits it
