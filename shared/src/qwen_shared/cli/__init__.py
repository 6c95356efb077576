"""From a command line to the work of a verb. Read `command` first.

    command        one call: parse, check, plan or start the verb, exit code
    verb           `Verb` and `Tool`, which a command offers; `Invocation`, which a verb gets
    parser         argparse and its errors; more flags in `launch_flags` and `plan_flags`
    request        from flags to an `Invocation`: run, recipe, parent model, layout
    failure        how a process reports an error, alone or as one of several ranks
    result_names   names of a run's results, known before it starts
    model_argument, sft_verb, evaluate_verb, tools   shared by several packages

Nothing here imports torch before a verb runs: a user's mistake costs a second and one line.
"""

from qwen_shared.cli.command import run
from qwen_shared.cli.tools import PUBLISH, REPORT
from qwen_shared.cli.verb import Invocation, Tool, Verb

__all__ = ["PUBLISH", "REPORT", "Invocation", "Tool", "Verb", "run"]
