"""Faults on demand, for tests. QWEN_FAULTS is a list with blanks between:

    KIND@STEP[-STEP][/RANK][#PHASE]    a fault in these steps, on this rank (default: 0), when the phase begins
    tell=PATH                          rank 0 writes each phase and step that it begins into PATH

Kinds: `kill` (SIGKILL), `term` (SIGTERM) and `hang` when a phase (default: training) begins; `nan` in the gradients;
`slow` reading of data; `spike`, wrong labels on every rank. Phases: start-up (step 0), training, evaluation,
generation, checkpointing, export.
"""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Iterator
from dataclasses import Field, dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

if TYPE_CHECKING:
    from torch import Tensor

VARIABLE = "QWEN_FAULTS"
_WORD = re.compile(r"(kill|term|hang|nan|slow|spike)@(\d+)(?:-(\d+))?(?:/(\d+))?(?:#([a-z-]+))?$")
_SLOW_S = 0.5


class Batch(Protocol):
    """A dataclass with labels, int64 [B, S]."""

    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]

    @property
    def labels(self) -> Tensor: ...


@dataclass(frozen=True)
class _Fault:
    kind: str
    first: int
    last: int
    rank: int
    phase: str


def reach(phase: str, step: int) -> None:
    if VARIABLE not in os.environ:
        return
    faults, report = _read(os.environ[VARIABLE])
    if report and _rank() == 0:
        report.write_text(f"{phase} {step}")
    for fault in faults:
        if fault.phase == phase and fault.first <= step <= fault.last and fault.rank == _rank():
            if fault.kind == "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            if fault.kind == "term":
                os.kill(os.getpid(), signal.SIGTERM)
            while fault.kind == "hang":
                time.sleep(1.0)


def spoil_samples[B: Batch](micro_batches: Iterator[B], number: int) -> Iterator[B]:
    if VARIABLE not in os.environ:
        return micro_batches
    return _spoiled(micro_batches, number)


def _spoiled[B: Batch](micro_batches: Iterator[B], number: int) -> Iterator[B]:
    time.sleep(_SLOW_S if _strikes("slow", number) else 0.0)
    spike = _strikes("spike", number, on_every_rank=True)
    for batch in micro_batches:
        yield replace(batch, labels=batch.labels * 31 % 97) if spike else batch


def spoil_gradients(gradients: list[Tensor], step: int) -> None:
    if VARIABLE in os.environ and _strikes("nan", step):
        gradients[0].view(-1)[0] = float("nan")


def _strikes(kind: str, step: int, on_every_rank: bool = False) -> bool:
    return any(
        fault.kind == kind and fault.first <= step <= fault.last and (on_every_rank or fault.rank == _rank())
        for fault in _read(os.environ[VARIABLE])[0]
    )


def _rank() -> int:
    return int(os.environ.get("RANK", "0"))


@lru_cache
def _read(text: str) -> tuple[list[_Fault], Path | None]:
    faults: list[_Fault] = []
    report: Path | None = None
    for word in text.split():
        if word.startswith("tell="):
            report = Path(word.removeprefix("tell="))
            continue
        if not (found := _WORD.match(word)):
            raise ValueError(f"{VARIABLE}: {word}: not a fault")
        kind, first, last, rank, phase = found.groups()
        faults.append(_Fault(kind, int(first), int(last or first), int(rank or 0), phase or "training"))
    return faults, report
