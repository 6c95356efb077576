"""A W&B run that never prompts, crashes or waits long."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import queue
import subprocess
import threading
import uuid
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import psutil

from qwen_shared.errors import first_line
from qwen_shared.log import say
from qwen_shared.recipe.schema import Tracking
from qwen_shared.run.lineage import family
from qwen_shared.run.manifest import Manifest
from qwen_shared.text import escape_control_characters
from qwen_shared.tracking.wandb_artifacts import log_model, use_models

if TYPE_CHECKING:
    from wandb import Run, Settings

INIT_TIMEOUT_S = 10
READ_TIMEOUT_S = 60
_MAX_WAITING = 10_000  # calls
FINISH_TIMEOUT_S = 30

_log = logging.getLogger("qwen.wandb")


class WandbRun:
    """One W&B run over all restarts, which never sends a step twice. After any failure training goes on without it.

    A background thread sends metrics, so that no step waits for a hanging W&B.
    """

    def __init__(self, run_dir: Path, recipe: dict[str, Any], tracking: Tracking, manifest: Manifest):
        self.id = manifest.wandb_run_id
        self.url: str | None = manifest.wandb_url
        self.mode = _mode(tracking)
        self._manifest, self._artifacts = manifest, tracking.artifacts
        self._directory, self._warned = run_dir / "wandb", False
        self._run: Run | None = None
        self._known = -1  # the last step that W&B has from earlier processes
        self._step = 0  # the last step logged by this process
        if self.mode == "disabled":
            return
        self._queue = BackgroundQueue("wandb")
        if self.id:
            self._known = last_step(run_dir, self.id)
        self.id = self.id or uuid.uuid4().hex[:8]
        import wandb

        init = partial(
            wandb.init,
            project=tracking.project,
            dir=run_dir,
            id=self.id,
            name=f"{manifest.kind}/{manifest.name}",
            group=family(manifest),
            job_type=manifest.command.rpartition(" ")[2],
            config=recipe | _parent(manifest),
            resume="allow",
        )
        modes: list[Literal["online", "offline"]] = ["online", "offline"]
        if self.mode == "online" and not has_key():
            if tracking.wandb == "online":
                self._warn(f"no W&B key is set: {self._offline()}")
            else:
                _log.info(f"no W&B key is set: {self._offline()}")
            self.mode = "offline"
        why = ""  # the first failure
        for mode in modes if self.mode == "online" else modes[1:]:
            try:
                self._run = init(mode=mode, settings=_settings())
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
        return f"`wandb sync {self._directory}/run-*` sends it"

    def _warn(self, text: str) -> None:
        """The first time on the console, later only in the log."""
        (_log.warning if self._warned else say)(escape_control_characters(text))
        self._warned = True

    def _join_online(self) -> None:
        assert self._run is not None
        self._known = self._run.starting_step - 1  # the server's count is the right one
        self.url = self._run.url
        use_models(self._run, self._manifest)

    @property
    def active(self) -> bool:
        return self._run is not None

    def log(self, step: int, metrics: dict[str, Any]) -> None:
        """Several calls for one step make one row."""
        if self._run is not None and step > self._known and step >= self._step:
            self._step = step
            self._ask(lambda run: run.log(metrics, step=step))

    def table(self, step: int | None, name: str, rows: list[dict[str, Any]]) -> None:
        """Default step: the last one, or the next if an earlier process logged it."""
        if self._run is not None and rows:
            import wandb

            columns = list(rows[0])
            data = [[row.get(column) for column in columns] for row in rows]
            step = max(self._step, self._known + 1) if step is None else step
            try:
                shown = wandb.Table(columns=[*columns], data=data, allow_mixed_types=True)
            except Exception as error:  # the metrics must not be lost, too
                _log.warning(f"W&B does not take the table {name}: {error}")
                return
            self.log(step, {name: shown})

    def summary(self, results: dict[str, float]) -> None:
        if self._run is not None:
            self._ask(lambda run: run.summary.update(results))

    def log_model(self, directory: Path, final: bool) -> tuple[int, str] | None:
        """See `wandb_artifacts.log_model`."""
        if self._run is None or self.mode != "online" or self._artifacts == "none":
            return None
        return log_model(self._run, self._manifest, directory, final, upload=self._artifacts == "auto")

    def finish(self, failed: bool) -> None:
        if self._run is not None:
            self._ask(lambda run: run.finish(exit_code=int(failed)))
            if not self._queue.close(2 * FINISH_TIMEOUT_S):
                self._warn(f"W&B does not answer and may lack the last steps; {self._sync()}")
                self._end_service()
            self._run = None

    def _end_service(self) -> None:
        """Else Python would wait for it at exit."""
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

        if not self._queue.put(attempt):
            self._warn(f"W&B does not answer: the run goes on without it; {self._sync()}")
            self._run = None

    def _attempt(self, call: Callable[[], object]) -> None:
        try:
            call()
        except Exception as error:
            self._warn(f"W&B stopped working, the run goes on without it: {error}")
            self._run = None


def _parent(manifest: Manifest) -> dict[str, Any]:
    """W&B's config besides the recipe."""
    lineage = [ancestor.model_dump(exclude_none=True) for ancestor in manifest.lineage]
    reward = manifest.reward_model.model_dump(exclude_none=True) if manifest.reward_model else None
    return {"kind": manifest.kind, "git_commit": manifest.git_commit, "lineage": lineage, "reward_model": reward}


def _settings() -> Settings:
    import wandb

    return wandb.Settings(
        silent=True,
        console="off",
        init_timeout=INIT_TIMEOUT_S,
        finish_timeout=FINISH_TIMEOUT_S,
        save_code=False,
        disable_git=True,
    )


def _mode(tracking: Tracking) -> str:
    """`auto` means WANDB_MODE, else online."""
    mode: str = tracking.wandb
    if mode == "auto":
        mode = os.environ.get("WANDB_MODE", "online")
    return {"dryrun": "offline"}.get(mode, mode if mode in ("online", "offline") else "disabled")


def has_key() -> bool:
    """Whether W&B has credentials (environment or netrc). Never prompts."""
    try:
        import wandb
        from wandb.sdk.lib.wbauth import authenticate_session

        host = wandb.setup().settings.base_url
        return authenticate_session(host=host, source="qwen", prompt=False, update_session=False) is not None
    except Exception as error:  # a malformed key, or another version of W&B
        _log.warning(f"W&B credentials: {error}")
        return False


class BackgroundQueue:
    """Calls in a background thread, in order. They must not raise."""

    def __init__(self, name: str):
        self._calls: queue.Queue[Callable[[], None] | None] = queue.Queue(_MAX_WAITING)
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)
        self._thread.start()

    def put(self, call: Callable[[], None] | None) -> bool:
        """None ends the thread. Returns False if the queue is full."""
        try:
            self._calls.put_nowait(call)
        except queue.Full:
            return False
        return True

    def close(self, timeout: float) -> bool:
        """Waits at most `timeout` seconds; returns whether all calls are done."""
        if not self.put(None):
            return False
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def _work(self) -> None:
        while (call := self._calls.get()) is not None:
            call()


def last_step(run_dir: Path, wandb_id: str) -> int:
    """The last step in W&B's files; -1 if there is none."""
    return max(map(_last_step, run_dir.glob(f"wandb/*run-*-{wandb_id}/run-{wandb_id}.wandb")), default=-1)


def _last_step(file: Path) -> int:
    """By W&B's own reader, which copes with a torn end."""
    from wandb.util import get_core_path

    command = [get_core_path(), "leet", "inspect", "--summary", "--json", "--no-observability"]
    try:
        done = subprocess.run(
            [*command, "--run-file", str(file), str(file.parent)],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=True,
            timeout=READ_TIMEOUT_S,
        )
        state = json.loads(done.stdout)
        return int(state["step"]) if "_step" in state["summary"] else -1
    except Exception as error:  # a W&B without this reader: some steps may then occur twice
        _log.warning(f"{file}: cannot tell its last step: {error}")
        return -1
