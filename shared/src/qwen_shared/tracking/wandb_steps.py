"""The last step that W&B's files have after a kill."""

from __future__ import annotations

import json
import logging
import subprocess
from pathlib import Path

READ_TIMEOUT_S = 60

_log = logging.getLogger("qwen.wandb")


def last_step(run_dir: Path, wandb_id: str) -> int:
    """-1 if there is none."""
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
