"""How a command becomes one process or many."""

from qwen_shared.launch.command import Invocation, Tool, Verb, run

__all__ = ["Invocation", "Tool", "Verb", "run"]
