"""`math-qwen prepare`: checks worked solutions from elsewhere, and keeps, repairs or rejects each."""

from math_qwen.prepare.command import main, options

__all__ = ["main", "options"]
