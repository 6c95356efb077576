"""SIGTERM, SIGINT, SIGHUP and SIGUSR1 ask for a stop. The loop stops after a step, the same on every rank."""

from __future__ import annotations

import os
import signal
import time

import torch

from qwen_shared.errors import Stopped
from qwen_shared.launched import LAUNCHER_PID, TIME_IS_UP

_SAME_REQUEST_S = 3.0  # Ctrl-C under `uv run` arrives twice: from the terminal, and passed on by uv


class StopRequest:
    """Inside the `with`, the first signal is noted; another one seconds later ends the process without saving."""

    def __init__(self):
        self._signal: int | None = None
        self._at = 0.0

    def __enter__(self) -> StopRequest:
        numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
        # Clusters announce the end of a job's time with it.
        time_is_up = TIME_IS_UP if LAUNCHER_PID in os.environ else signal.SIGUSR1
        self._before = {number: signal.signal(number, self._note) for number in (*numbers, time_is_up)}
        return self

    def __exit__(self, *_) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number: int, _frame) -> None:
        if self._signal is None:
            self._signal, self._at = number, time.monotonic()
        elif time.monotonic() - self._at > _SAME_REQUEST_S:
            os._exit(128 + number)

    @property
    def asked(self) -> bool:
        """Whether this rank got a signal."""
        return self._signal is not None

    def agreed(self) -> bool:
        """Whether any rank got a signal. Every rank must call this."""
        # A CPU tensor travels over gloo, beside nccl: no wait for the GPU.
        flag = torch.tensor([self.asked], dtype=torch.int32)
        if torch.distributed.is_initialized() and torch.distributed.get_world_size() > 1:
            torch.distributed.all_reduce(flag, op=torch.distributed.ReduceOp.MAX)
        return bool(flag.item())

    def stopped(self, step: int) -> Stopped:
        """To be raised when `step` is saved."""
        return Stopped(f"stopped by {self.name} after step {step}, all saved: the same command goes on from there")

    @property
    def name(self) -> str:
        """The signal that this rank got, for messages."""
        if self._signal is None:
            return "a signal on another rank"
        return "SIGUSR1" if self._signal == TIME_IS_UP else signal.Signals(self._signal).name
