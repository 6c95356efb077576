"""Start-up without what is imported and never used: torch's compiler on a CPU, and W&B for Megatron's own timers."""

from __future__ import annotations

import contextlib
import functools
import os
import sys
from collections.abc import Iterator


@contextlib.contextmanager
def quick_import() -> Iterator[None]:
    """For importing Megatron. It does not find W&B, to which this suite reports itself: most of a second. And on a CPU,
    where nothing is compiled, torch's compiler is not loaded: Megatron decorates its fused operations while it is
    imported, which takes the compiler about 4 seconds, and torch's optimizers load it in their first step, to tell it
    to leave them alone. On a GPU the compiler stays.
    """
    import torch

    if torch.cuda.is_available():
        _import_megatron()
        yield
        return
    os.environ.setdefault("DS_ACCELERATOR", "cpu")  # DeepSpeed, which transformers asks for, looks for a GPU otherwise
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
    """What torch's decorators come to where nothing is compiled. Where a release has others, start-up takes longer."""
    import torch

    for name in ("state_dict", "load_state_dict", "zero_grad", "add_param_group"):
        plain = getattr(getattr(torch.optim.Optimizer, name), "__wrapped__", None)
        if plain is not None:
            setattr(plain, "__dynamo_disable", plain)  # where the decorator keeps what the compiler gave it
    plain = getattr(torch.optim.Adam.step, "__wrapped__", None)
    if plain is None or getattr(torch.optim.Adam.step, "hooked", False):
        return

    @functools.wraps(plain)
    def step(self, *args, **kwargs):
        with torch.set_grad_enabled(self.defaults["differentiable"]):
            return plain(self, *args, **kwargs)

    torch.optim.Adam.step = step  # and AdamW's, which is the same
