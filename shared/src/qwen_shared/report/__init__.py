"""report.html: a run on one page that opens without a network."""

from __future__ import annotations

import logging
from pathlib import Path

REPORT = "report.html"
_log = logging.getLogger("qwen.report")


def write_report(run_dir: Path) -> Path:
    """Writes RUN/report.html. Raises UserError if `run_dir` is not a run, OSError if the file cannot be written."""
    from qwen_shared.files import write_atomic
    from qwen_shared.report.page import render
    from qwen_shared.report.record import read_record

    write_atomic(run_dir / REPORT, render(read_record(run_dir)))
    return run_dir / REPORT


def refresh_report(run_dir: Path) -> None:
    """Writes the report at the end of a run that took a step. An error is only logged: the run does not fail by it."""
    try:
        if (run_dir / "metrics.jsonl").is_file():
            write_report(run_dir)
    except Exception as error:
        _log.warning(f"{run_dir / REPORT} is not written: {error}")
