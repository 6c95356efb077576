"""Guards against bad steps: loss or gradient not finite (no update), and loss spikes (back to a checkpoint, with other
samples in the suspect steps).

`checkpoints/skipped.json` remembers them, so that a resumed run does the same: step s trains on batch
s + n·(steps of the run) after its samples were replaced n times. No other step sees these batches.
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
_RECENT = 16  # losses whose median is the level; with fewer there are no spikes
_WINDOW = 64  # losses whose changes between steps give the noise
_DEVIATIONS = 6  # of the noise, above which a loss is a spike
_SUSPECTS = 4  # steps up to a spike whose samples may be its cause


class Guards:
    """Every rank has one with the same inputs, so all ranks decide alike."""

    def __init__(self, settings: GuardSettings, steps: int, directory: Path, is_first: bool):
        """`directory` holds the run's checkpoints; only rank 0 (`is_first`) writes there."""
        self._settings, self._steps = settings, steps
        self._path, self._is_first = directory / SKIPPED, is_first
        self._losses: list[float] = []
        self._in_a_row = 0
        self._events: list[dict[str, Any]] = _read(self._path)

    # ---- before a step

    def batch_number(self, step: int) -> int:
        """The batch that a step trains on: its own, or a spare one."""
        return step + self._spare(step) * self._steps

    def was_skipped(self, step: int) -> bool:
        """Whether this step with these samples was not finite in an earlier attempt."""
        return any(e["kind"] == "nonfinite" and e["batch"] == self.batch_number(step) for e in self._events)

    def _spare(self, step: int) -> int:
        return sum(str(step) in event["skipped"] for event in self._spikes())

    def _spikes(self) -> list[dict[str, Any]]:
        return [event for event in self._events if event["kind"] == "spike"]

    # ---- after a step

    def record(self, step: int, result: StepResult) -> dict[str, float]:
        """Records a step; returns the guards' metrics. Raises FloatingPointError if `max_nonfinite` steps in a row were
        not finite."""
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
            # Forget these steps: no checkpoint follows them, and a new attempt may succeed.
            streak = range(step - self._in_a_row + 1, step + 1)
            self._keep([e for e in self._events if e["kind"] != "nonfinite" or e["step"] not in streak])
            raise FloatingPointError(
                f"{what}, for {self._in_a_row} steps in a row; checkpoints are from before. A lower optimizer.lr or a "
                "longer schedule.warmup_steps may help"
            )
        if self.was_skipped(step):
            say(f"step {step}: skipped again, as in the first attempt")
        else:
            event = {"kind": "nonfinite", "step": step, "batch": self.batch_number(step)}
            self._keep([*self._events, event | {"loss": str(result.loss), "grad_norm": str(result.grad_norm)}])
            say(f"{what}: the weights stay as they were")

    @property
    def last_step_skipped(self) -> bool:
        """The step before may then have ruined the weights."""
        return self._in_a_row > 0

    def is_spike(self, loss: float) -> bool:
        if self._settings.spike is None or len(self._losses) < _RECENT:
            return False
        # Converts the median change of a normal distribution into a loss's standard deviation.
        noise = statistics.median(abs(b - a) for a, b in itertools.pairwise(self._losses)) / (0.6745 * math.sqrt(2))
        return loss - self._level() > max(self._settings.spike, _DEVIATIONS * noise)

    def _level(self) -> float:
        return statistics.median(self._losses[-_RECENT:])

    # ---- after a spike

    def first_suspect(self, step: int) -> int | None:
        """The first step whose samples may have caused the spike at `step`; None if going back would not help or is not
        allowed again."""
        why = None
        if self._spare(step):
            why = "with other samples too, so these are not the cause"
        elif len(self._spikes()) >= self._settings.max_rollbacks:
            why = f"after {len(self._spikes())} rollbacks (guards.max_rollbacks)"
        if why:
            self.accept_level(step, why)
            return None
        return max(1, step - _SUSPECTS + 1)

    def accept_level(self, step: int, why: str) -> None:
        """Continues after a spike; later losses are compared with the new level."""
        say(f"step {step}: loss spike, {why}: going on")
        self._losses = []

    def record_rollback(self, step: int, loss: float, back: int, digest: Callable[[int], str]) -> None:
        """The run is back at step `back`: the suspects get other samples. `digest` identifies a batch's samples."""
        level = self._level()
        suspects = range(max(back + 1, step - _SUSPECTS + 1), step + 1)
        skipped = {str(suspect): digest(self.batch_number(suspect)) for suspect in suspects}
        event = {"kind": "spike", "step": step, "loss": loss, "level": level, "back_to": back, "skipped": skipped}
        self._keep([*self._events, event])
        say(
            f"step {step}: loss {loss:.3f}, before {level:.3f}: back to step {back}, with other samples in steps "
            f"{suspects[0]} to {step}"
        )

    # ---- memory

    def state(self) -> dict[str, Any]:
        return {"losses": self._losses, "in_a_row": self._in_a_row}

    def load_state(self, state: dict[str, Any]) -> None:
        self._losses, self._in_a_row = list(state.get("losses", [])), state.get("in_a_row", 0)

    def _keep(self, events: list[dict[str, Any]]) -> None:
        """Writes events before training continues."""
        if events != self._events and self._is_first:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            if events:
                write_atomic(self._path, json.dumps(events, indent=1) + "\n")
            else:
                self._path.unlink(missing_ok=True)
        self._events = events


def _read(path: Path) -> list[dict[str, Any]]:
    """Raises UserError if the file is damaged: the run could not go on exactly."""
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
