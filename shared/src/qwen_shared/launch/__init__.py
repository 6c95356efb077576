"""How a command becomes one process or many."""

from qwen_shared.launch.command import Invocation, Verb, run

__all__ = ["Invocation", "Verb", "run"]
