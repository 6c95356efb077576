"""Worked solutions made fit for training: every equation and answer checked, repaired where certain, else rejected."""

from math_qwen.prepare.command import main, options

__all__ = ["main", "options"]
