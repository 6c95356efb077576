"""SIGTERM and SIGINT ask for a stop; the loop grants it at the end of a step, on every rank at the same step."""

from __future__ import annotations

import os
import signal

import torch


class StopRequest:
    """Set by the first signal. A second one ends the process at once, without saving."""

    def __init__(self):
        self._signal: int | None = None
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._note)

    def _note(self, number: int, _frame) -> None:
        if self._signal is not None:
            os._exit(128 + number)
        self._signal = number

    def agreed(self) -> bool:
        """Whether any rank was asked to stop. Every rank must call this."""
        # A host tensor travels over gloo, which is set up beside nccl: no wait for the GPU.
        flag = torch.tensor([self._signal is not None], dtype=torch.int32)
        if torch.distributed.get_world_size() > 1:
            torch.distributed.all_reduce(flag, op=torch.distributed.ReduceOp.MAX)
        return bool(flag.item())

    @property
    def name(self) -> str:
        """The signal this rank saw, for the message."""
        return signal.Signals(self._signal).name if self._signal is not None else "a signal on another rank"
