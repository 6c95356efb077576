"""Progress on the console: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from qwen_shared.log import say, show

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

PLAIN_INTERVAL_S = 10.0
_SHOWN = {
    "train/loss": "loss {:.4f}",
    "train/accuracy": "accuracy {:.3f}",
    "train/lr": "lr {:.2e}",
    "train/tokens_per_second": "{:,.0f} tokens/s",
    "train/mfu": "MFU {:.1%}",
    "ppo/reward": "reward {:+.3f}",
    "ppo/held_out_reward": "held-out reward {:+.3f}",
    "ppo/kl": "KL {:.2f}",
    "ppo/entropy": "entropy {:.2f}",
    "ppo/explained_variance": "explained {:.2f}",
    "ppo/response_tokens": "{:.0f} tokens",
}


class ConsoleProgress:
    def __init__(self, total_steps: int, start_step: int):
        self._total, self._start = total_steps, start_step
        self._started = self._shown = time.monotonic()
        self._metrics: dict[str, float] = {}
        self._bar: Progress | None = None

    def start(self) -> None:
        self._started = self._shown = time.monotonic()
        if sys.stdout.isatty():
            bar, self._task = _make_bar(self._total, self._start)
            bar.start()
            self._bar = bar

    def update(self, step: int, metrics: dict[str, float]) -> None:
        self._metrics |= metrics
        validation = {name: value for name, value in metrics.items() if name.startswith("val/")}
        if self._bar is not None:
            self._bar.update(self._task, completed=step, metrics=self._text())
        else:
            now = time.monotonic()
            # The first step shows that training runs.
            if validation or now - self._shown >= PLAIN_INTERVAL_S or step in (self._start + 1, self._total):
                self._shown = now
                show(f"step {step}/{self._total}  {self._text()}  {self._eta(step)}".rstrip())
        if validation:
            shown = "  ".join(f"{name.removeprefix('val/')} {_short(value)}" for name, value in validation.items())
            say(f"step {step}: validation {shown}")

    def close(self) -> None:
        if self._bar is not None:
            self._bar.stop()

    def _text(self) -> str:
        return "  ".join(text.format(self._metrics[name]) for name, text in _SHOWN.items() if name in self._metrics)

    def _eta(self, step: int) -> str:
        done = step - self._start
        if done < 2 or step >= self._total:
            return ""
        seconds = round((time.monotonic() - self._started) / done * (self._total - step))
        minutes, seconds = divmod(seconds, 60)
        hours, minutes = divmod(minutes, 60)
        return f"ETA {hours}:{minutes:02}:{seconds:02}"


@contextlib.contextmanager
def data_progress() -> Iterator[Callable[[int, int | None, str], None]]:
    """Of tokenising. The callback takes bytes done, total bytes or None, and the source's name."""
    if sys.stdout.isatty():
        from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

        bar = Progress(
            TextColumn("tokenising {task.description}", markup=False),
            BarColumn(bar_width=None),
            DownloadColumn(),
            TimeRemainingColumn(),
            redirect_stderr=False,
            transient=True,
            expand=True,
        )
        tasks: dict[str, TaskID] = {}
        with bar:

            def update(done: int, total: int | None, source: str) -> None:
                if source not in tasks:
                    tasks[source] = bar.add_task(source, total=total)
                bar.update(tasks[source], completed=done, total=total)

            yield update
        return
    shown = time.monotonic()

    def line(done: int, total: int | None, source: str) -> None:
        nonlocal shown
        if time.monotonic() - shown >= PLAIN_INTERVAL_S:
            shown = time.monotonic()
            of = f" of {total:,}" if total else ""
            show(f"tokenising {source}: {done:,}{of} bytes")

    yield line


def _make_bar(total_steps: int, start_step: int) -> tuple[Progress, TaskID]:
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    bar = Progress(
        TextColumn("step"),
        MofNCompleteColumn(),
        BarColumn(bar_width=None),
        TextColumn("{task.fields[metrics]}", markup=False),
        TimeRemainingColumn(),
        refresh_per_second=4,
        speed_estimate_period=120,
        redirect_stderr=False,  # stderr is the log file (see log.py)
        expand=True,
    )
    return bar, bar.add_task("training", total=total_steps, completed=start_step, metrics="")


def _short(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:.4f}"
