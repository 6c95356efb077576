"""W&B without surprises: never a prompt, never a crash, never a long wait."""

from __future__ import annotations

import contextlib
import logging
import os
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

from qwen_shared.errors import first_line
from qwen_shared.log import say
from qwen_shared.recipe.schema import Tracking
from qwen_shared.run.lineage import family
from qwen_shared.run.manifest import Manifest
from qwen_shared.terminal import escape_control_characters
from qwen_shared.tracking.background import BackgroundQueue
from qwen_shared.tracking.wandb_artifacts import log_model, use_models
from qwen_shared.tracking.wandb_steps import last_step

INIT_TIMEOUT_S = 10
FINISH_TIMEOUT_S = 30

_log = logging.getLogger("qwen.wandb")


class WandbRun:
    """One process's part of a W&B run: one for each run directory, over all restarts. After any failure of W&B the
    training goes on without it.

    Its group is the family, from the base model on; its job type the verb. `id` and `url` are for the manifest.
    A step that W&B has from before is not sent again, whatever is logged. Figures are sent aside: where W&B's service
    hangs, no step waits for it.
    """

    def __init__(self, run_dir: Path, recipe: dict[str, Any], tracking: Tracking, manifest: Manifest):
        self.id = manifest.wandb_run_id
        self.url: str | None = manifest.wandb_url
        self.mode = _wanted_mode(tracking)
        self._manifest, self._artifacts = manifest, tracking.artifacts
        self._directory, self._warned = run_dir / "wandb", False
        self._run = None
        self._known = -1  # the last step of the processes before
        self._step = 0  # the step that is being logged
        if self.mode == "disabled":
            return
        self._queue = BackgroundQueue("wandb")
        if self.id:
            self._known = last_step(run_dir, self.id)
        self.id = self.id or uuid.uuid4().hex[:8]
        import wandb

        arguments = {
            "project": tracking.project,
            "dir": run_dir,
            "id": self.id,
            "name": f"{manifest.kind}/{manifest.name}",
            "group": family(manifest),
            "job_type": manifest.command.rpartition(" ")[2],
            "config": recipe | _parent(manifest),
            "resume": "allow",
        }
        if self.mode == "online" and not has_key():
            if tracking.wandb == "online":
                self._warn(f"no W&B key is set: {self._offline()}")
            else:
                _log.info(f"no W&B key is set: {self._offline()}")
            self.mode = "offline"
        why = ""  # what keeps it from being as it was wanted
        for mode in ("online", "offline") if self.mode == "online" else ("offline",):
            try:
                self._run = wandb.init(**arguments, mode=mode, settings=_settings())
                self.mode = mode
                break
            except Exception as error:
                _log.warning(f"W&B {mode} does not start: {error}")
                why = why or first_line(error)
                self._attempt(wandb.teardown)  # frees the run id for the next try
        if self._run is None:
            self.mode = "disabled"
            self._warn(f"W&B does not start ({why}): the run goes on without it")
        elif why:
            self._warn(f"W&B cannot be reached ({why}): {self._offline()}")
        elif self.mode == "online":
            self._attempt(self._join_online)

    def _offline(self) -> str:
        return f"logging offline, to {self._directory}; `wandb sync {self._directory}/offline-run-*` sends it later"

    def _sync(self) -> str:
        return f"`wandb sync {self._directory}/run-*` sends what it was told"

    def _warn(self, words: str) -> None:
        """On the console once, whatever more goes wrong: W&B is not the run."""
        (_log.warning if self._warned else say)(escape_control_characters(words))
        self._warned = True

    def _join_online(self) -> None:
        self._known = self._run.starting_step - 1  # what the server has is what counts
        self.url = self._run.url
        use_models(self._run, self._manifest)

    @property
    def active(self) -> bool:
        return self._run is not None

    def log(self, step: int, metrics: dict[str, Any]) -> None:
        """Figures, or tables, of a step; several calls make one row."""
        if self._run is not None and step > self._known and step >= self._step:
            self._step = step
            self._ask(lambda run: run.log(metrics, step=step))

    def table(self, step: int | None, name: str, rows: list[dict[str, Any]]) -> None:
        """Without a step: with the last one that was logged; where that is of a process before, with one more."""
        if self._run is not None and rows:
            import wandb

            columns = list(rows[0])
            data = [[row.get(column) for column in columns] for row in rows]
            step = max(self._step, self._known + 1) if step is None else step
            try:
                shown = wandb.Table(columns=columns, data=data, allow_mixed_types=True)
            except Exception as error:  # no reason to lose the figures, too
                _log.warning(f"W&B does not take the table {name}: {error}")
                return
            self.log(step, {name: shown})

    def summary(self, figures: dict[str, float]) -> None:
        """Figures of the whole run."""
        if self._run is not None:
            self._ask(lambda run: run.summary.update(figures))

    def log_model(self, directory: Path, final: bool) -> tuple[int, str] | None:
        """An export as the run's artifact; its step and W&B's name for it, where W&B has taken it."""
        if self._run is None or self.mode != "online" or self._artifacts == "none":
            return None
        return log_model(self._run, self._manifest, directory, final, upload=self._artifacts == "auto")

    def finish(self, failed: bool) -> None:
        if self._run is not None:
            self._ask(lambda run: run.finish(exit_code=int(failed)))
            if not self._queue.close(2 * FINISH_TIMEOUT_S):
                self._warn(f"W&B does not answer: what it was told last may be missing there; {self._sync()}")
                self._end_service()
            self._run = None

    def _end_service(self) -> None:
        """Python would wait for it when this process ends."""
        import wandb

        for child in psutil.Process().children():
            with contextlib.suppress(psutil.Error):
                if "wandb" in child.name():
                    child.kill()
        self._attempt(wandb.teardown)

    def _ask(self, call: Callable[[Any], None]) -> None:
        run = self._run

        def attempt() -> None:
            if self._run is not None:
                self._attempt(lambda: call(run))

        if not self._queue.ask(attempt):
            self._warn(f"W&B does not answer: the run goes on without it; {self._sync()}")
            self._run = None

    def _attempt(self, call) -> None:
        try:
            call()
        except Exception as error:
            self._warn(f"W&B stopped working, the run goes on without it: {error}")
            self._run = None


def _parent(manifest: Manifest) -> dict[str, Any]:
    """What W&B's config says of a run besides its recipe."""
    lineage = [ancestor.model_dump(exclude_none=True) for ancestor in manifest.lineage]
    reward = manifest.reward_model.model_dump(exclude_none=True) if manifest.reward_model else None
    return {"kind": manifest.kind, "git_commit": manifest.git_commit, "lineage": lineage, "reward_model": reward}


def _settings():
    import wandb

    return wandb.Settings(
        silent=True,
        console="off",
        init_timeout=INIT_TIMEOUT_S,
        finish_timeout=FINISH_TIMEOUT_S,
        save_code=False,
        disable_git=True,
    )


def _wanted_mode(tracking: Tracking) -> str:
    """The recipe's word; `auto` leaves it to WANDB_MODE, then to whether there is a key."""
    mode = tracking.wandb
    if mode == "auto":
        mode = os.environ.get("WANDB_MODE", "online")
    return {"dryrun": "offline"}.get(mode, mode if mode in ("online", "offline") else "disabled")


def has_key() -> bool:
    """Whether W&B would find credentials for its server (environment or netrc), found out without a prompt."""
    try:
        import wandb
        from wandb.sdk.lib.wbauth import authenticate_session

        host = wandb.setup().settings.base_url
        return authenticate_session(host=host, source="qwen", prompt=False, update_session=False) is not None
    except Exception as error:  # a key of the wrong form, or a W&B that keeps this elsewhere
        _log.warning(f"W&B credentials: {error}")
        return False
