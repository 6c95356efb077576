"""How far a run has come in W&B's files, which outlive a kill: no step is repeated after it, and none left out."""

from __future__ import annotations

import json
import logging
import subprocess
from pathlib import Path

READ_TIMEOUT_S = 60

_log = logging.getLogger("qwen.wandb")


def last_step(run_dir: Path, wandb_id: str) -> int:
    """The last step that W&B's directories in a run directory hold of this W&B run, -1 where they hold none."""
    return max(map(_last_step, run_dir.glob(f"wandb/*run-*-{wandb_id}/run-{wandb_id}.wandb")), default=-1)


def _last_step(file: Path) -> int:
    """W&B's own reader says it; a torn end is no trouble to it."""
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
    except Exception as error:  # a W&B without this reader: steps may then stand twice, which harms no one
        _log.warning(f"{file}: how far it goes is not known: {error}")
        return -1
