"""One call per step feeds W&B, TensorBoard, metrics.jsonl and the console."""

from qwen_shared.tracking.console import data_progress
from qwen_shared.tracking.tracker import NoTracker, Tracker

__all__ = ["NoTracker", "Tracker", "data_progress"]
