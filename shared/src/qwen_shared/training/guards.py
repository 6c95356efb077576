"""What is done about a step that goes wrong, and the memory of it, so that the same command later does the same.

A step whose loss or gradient is not finite leaves the weights as they were. A step whose loss stands far above those
before it sends the run back to a checkpoint; then the steps before it, whose samples may be the cause, get others.

Which samples a step sees stays a function of seed, data, step and of what stands in `checkpoints/skipped.json`: batch
s + n·(steps of the run) in step s, after it was given other samples n times. No step ever sees those on its own.
"""

from __future__ import annotations

import itertools
import json
import math
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qwen_shared.errors import UserError
from qwen_shared.files import write_atomic
from qwen_shared.log import say
from qwen_shared.recipe.schema import GuardSettings

if TYPE_CHECKING:
    from qwen_shared.training.engine import StepResult

SKIPPED = "skipped.json"
_RECENT = 16  # losses whose median is the level; with fewer nothing is said
_WINDOW = 64  # losses whose changes from step to step are the noise, which a falling loss does not add to
_DEVIATIONS = 6  # of the noise: that of small batches and short answers is large
# A loss is that of the weights which the steps before have made: the cause may lie there.
_SUSPECTS = 4


class Guards:
    """Every rank has one and feeds it with the same figures, so all decide alike."""

    def __init__(self, settings: GuardSettings, steps: int, directory: Path, is_first: bool):
        """`directory` is that of the run's checkpoints, which rank 0, `is_first`, alone writes to."""
        self._settings, self._steps = settings, steps
        self._path, self._is_first = directory / SKIPPED, is_first
        self._losses: list[float] = []
        self._in_a_row = 0
        self._events: list[dict[str, Any]] = _read(self._path)

    # ---- what is known before a step

    def batch_number(self, step: int) -> int:
        """Number of the batch that a step trains on: its own, or a spare one."""
        return step + self._spare(step) * self._steps

    def was_skipped(self, step: int) -> bool:
        """Whether this step, with these samples, left the weights alone when it was done before."""
        return any(e["kind"] == "nonfinite" and e["batch"] == self.batch_number(step) for e in self._events)

    def _spare(self, step: int) -> int:
        return sum(str(step) in event["skipped"] for event in self._spikes())

    def _spikes(self) -> list[dict[str, Any]]:
        return [event for event in self._events if event["kind"] == "spike"]

    # ---- after a step

    def record(self, step: int, result: StepResult) -> dict[str, float]:
        """Take in a step that stays; returns what its line of metrics says of guards.

        Raises FloatingPointError where as many steps in a row as are allowed could not be used.
        """
        if result.updated:
            self._losses = [*self._losses, result.loss][-_WINDOW:]
            self._in_a_row = 0
        else:
            self._skip(step, result)
        found = {"guards/nonfinite": len(self._events) - len(self._spikes()), "guards/rollbacks": len(self._spikes())}
        return {name: count for name, count in found.items() if count}

    def _skip(self, step: int, result: StepResult) -> None:
        self._in_a_row += 1
        what = f"step {step}: loss {result.loss}, gradient norm {result.grad_norm}"
        if self._in_a_row >= self._settings.max_nonfinite:
            # Nothing was built on these steps: when they are done again, they may come out well.
            streak = range(step - self._in_a_row + 1, step + 1)
            self._keep([e for e in self._events if e["kind"] != "nonfinite" or e["step"] not in streak])
            raise FloatingPointError(
                f"{what}, for {self._in_a_row} steps in a row; checkpoints are from before. A lower optimizer.lr or a "
                "longer schedule.warmup_steps may help"
            )
        if self.was_skipped(step):
            say(f"step {step}: left out, as when it was first done")
        else:
            event = {"kind": "nonfinite", "step": step, "batch": self.batch_number(step)}
            self._keep([*self._events, event | {"loss": str(result.loss), "grad_norm": str(result.grad_norm)}])
            say(f"{what}: the weights stay as they were")

    @property
    def last_step_skipped(self) -> bool:
        """Whether the last step could not be used: the one before may have ruined the weights."""
        return self._in_a_row > 0

    def is_spike(self, loss: float) -> bool:
        if self._settings.spike is None or len(self._losses) < _RECENT:
            return False
        # The median of normally distributed changes, in deviations of a single loss.
        noise = statistics.median(abs(b - a) for a, b in itertools.pairwise(self._losses)) / (0.6745 * math.sqrt(2))
        return loss - self._level() > max(self._settings.spike, _DEVIATIONS * noise)

    def _level(self) -> float:
        return statistics.median(self._losses[-_RECENT:])

    # ---- after a spike

    def first_suspect(self, step: int) -> int | None:
        """The first step whose samples may have made the loss of `step`; None where going back is no use, or not
        allowed any more, which is said once."""
        why = None
        if self._spare(step):
            why = "with other samples too, so it is not theirs"
        elif len(self._spikes()) >= self._settings.max_rollbacks:
            why = f"after {len(self._spikes())} rollbacks (guards.max_rollbacks)"
        if why:
            self.accept_level(step, why)
            return None
        return max(1, step - _SUSPECTS + 1)

    def accept_level(self, step: int, why: str) -> None:
        """The loss is what it is now: what comes is compared with itself."""
        say(f"step {step}: the loss jumps, {why}: going on")
        self._losses = []

    def record_rollback(self, step: int, loss: float, back: int, digest: Callable[[int], str]) -> None:
        """The run is at step `back` again: from here on the suspects have other samples. `digest` tells a batch's."""
        usual = self._level()
        suspects = range(max(back + 1, step - _SUSPECTS + 1), step + 1)
        skipped = {str(suspect): digest(self.batch_number(suspect)) for suspect in suspects}
        event = {"kind": "spike", "step": step, "loss": loss, "usual": usual, "back_to": back, "skipped": skipped}
        self._keep([*self._events, event])
        say(
            f"step {step}: loss {loss:.3f}, lately {usual:.3f}: back to step {back}, and other samples in steps "
            f"{suspects[0]} to {step}"
        )

    # ---- memory

    def state(self) -> dict[str, Any]:
        """Plain data, for a checkpoint."""
        return {"losses": self._losses, "in_a_row": self._in_a_row}

    def load_state(self, state: dict[str, Any]) -> None:
        self._losses, self._in_a_row = list(state.get("losses", [])), state.get("in_a_row", 0)

    def _keep(self, events: list[dict[str, Any]]) -> None:
        """On the disk before anything is built on it."""
        if events != self._events and self._is_first:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            if events:
                write_atomic(self._path, json.dumps(events, indent=1) + "\n")
            else:
                self._path.unlink(missing_ok=True)
        self._events = events


def _read(path: Path) -> list[dict[str, Any]]:
    """Raises UserError where the file is damaged: without it the run would not be what it was."""
    try:
        events = json.loads(path.read_text(encoding="utf-8"))
        for event in events:
            needed = dict(event["skipped"]) if event["kind"] == "spike" else int(event["batch"])
            assert needed, "an event without samples"
    except FileNotFoundError:
        return []
    except (OSError, ValueError, TypeError, KeyError, AssertionError) as error:
        raise UserError(f"{path}: cannot be read ({error}); put it back, or start a new run with --run-dir") from None
    return events
