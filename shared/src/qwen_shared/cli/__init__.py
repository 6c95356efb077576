"""From a command's words to its work: verbs, flags, plans, mistakes, exit codes."""

from qwen_shared.cli.command import run
from qwen_shared.cli.tools import REPORT, publish_tool
from qwen_shared.cli.verb import Invocation, Tool, Verb

__all__ = ["REPORT", "Invocation", "Tool", "Verb", "publish_tool", "run"]
