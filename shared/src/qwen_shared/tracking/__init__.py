"""A run as it happens: W&B, TensorBoard, metrics.jsonl and the console, by one call a step."""

from qwen_shared.tracking.console import data_progress
from qwen_shared.tracking.tracker import NoTracker, Tracker

__all__ = ["NoTracker", "Tracker", "data_progress"]
