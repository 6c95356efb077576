"""What a run leaves to be read: manifest, metrics.jsonl, W&B, the console, the log file."""

from qwen_shared.tracking.console import data_progress
from qwen_shared.tracking.log import log_file, note, say
from qwen_shared.tracking.manifest import Manifest, Parent, inspect_run, open_run
from qwen_shared.tracking.metrics_file import read_metrics
from qwen_shared.tracking.tracker import NoTracker, Tracker

__all__ = [
    "Manifest",
    "NoTracker",
    "Parent",
    "Tracker",
    "data_progress",
    "inspect_run",
    "log_file",
    "note",
    "open_run",
    "read_metrics",
    "say",
]
