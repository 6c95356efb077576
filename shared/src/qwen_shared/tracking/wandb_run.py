"""W&B without surprises: never a prompt, never a crash, never a long wait."""

from __future__ import annotations

import logging
import os
import uuid
from pathlib import Path
from typing import Any

from qwen_shared.recipe.schema import Tracking

INIT_TIMEOUT_S = 10
FINISH_TIMEOUT_S = 30

_log = logging.getLogger("qwen.wandb")


class WandbRun:
    """One process's part of a W&B run. After any failure of W&B the training goes on without it."""

    def __init__(
        self,
        run_dir: Path,
        recipe: dict[str, Any],
        tracking: Tracking,
        kind: str,
        name: str,
        wandb_id: str | None,
    ):
        self.id = wandb_id
        self.mode = _wanted_mode(tracking)
        self._run = None
        if self.mode == "disabled":
            return
        self.id = wandb_id or uuid.uuid4().hex[:8]
        import wandb

        arguments = {
            "project": tracking.project,
            "dir": run_dir,
            "id": self.id,
            "name": name,
            "group": recipe.get("name", name),
            "job_type": kind,
            "config": recipe,
            "resume": "allow",
        }
        if self.mode == "online" and not _has_key():
            _log.info("no W&B key is set: logging offline, `wandb sync` can send it later")
            self.mode = "offline"
        for mode in ("online", "offline") if self.mode == "online" else ("offline",):
            try:
                self._run = wandb.init(**arguments, mode=mode, settings=_settings())
                self.mode = mode
                return
            except Exception as error:
                _log.warning(f"W&B {mode} does not start: {error}")
                self._attempt(wandb.teardown)  # frees the run id for the next try
        self.mode = "disabled"

    def log(self, step: int, metrics: dict[str, float]) -> None:
        if self._run is not None:
            self._attempt(lambda: self._run.log(metrics, step=step))

    def table(self, step: int | None, name: str, rows: list[dict[str, Any]]) -> None:
        """Without a step: after the last one that was logged."""
        if self._run is not None and rows:
            import wandb

            columns = list(rows[0])
            data = [[row.get(column) for column in columns] for row in rows]
            self._attempt(lambda: self._run.log({name: wandb.Table(columns=columns, data=data)}, step=step))

    def summary(self, figures: dict[str, float]) -> None:
        """Figures of the whole run."""
        if self._run is not None:
            self._attempt(lambda: self._run.summary.update(figures))

    def finish(self, failed: bool) -> None:
        if self._run is not None:
            self._attempt(lambda: self._run.finish(exit_code=int(failed)))
            self._run = None

    def _attempt(self, call) -> None:
        try:
            call()
        except Exception as error:
            _log.warning(f"W&B stopped working, the run goes on without it: {error}")
            self._run = None


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


def _has_key() -> bool:
    """Whether W&B would find credentials for its server (environment or netrc), found out without a prompt."""
    try:
        import wandb
        from wandb.sdk.lib.wbauth import authenticate_session

        host = wandb.setup().settings.base_url
        return authenticate_session(host=host, source="qwen", prompt=False, update_session=False) is not None
    except Exception as error:  # a key of the wrong form, or a W&B that keeps this elsewhere
        _log.warning(f"W&B credentials: {error}")
        return False
