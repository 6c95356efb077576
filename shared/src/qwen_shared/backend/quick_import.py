"""Start-up without torch's compiler where nothing is compiled."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator


@contextlib.contextmanager
def quick_import() -> Iterator[None]:
    """Inside, `torch.compile` used as a decorator leaves functions as they are; for importing Megatron on a CPU.

    Megatron decorates its fused operations while it is imported, which loads torch's whole compiler: about 4 of 11
    seconds. The fusions are off on a CPU, so nothing that would be compiled is ever called. On a GPU nothing changes.
    """
    import torch

    if torch.cuda.is_available():
        yield
        return
    os.environ.setdefault(
        "DS_ACCELERATOR", "cpu"
    )  # DeepSpeed, where it is installed, looks for a GPU's driver otherwise
    compile_function = torch.compile
    torch.compile = lambda function=None, **_: function if function is not None else lambda decorated: decorated
    try:
        yield
    finally:
        torch.compile = compile_function
