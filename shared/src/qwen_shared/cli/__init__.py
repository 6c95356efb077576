"""From a command line to the work of a verb. Read `command` first.

    command        the story of one call: parse, check, plan or start the verb, exit code
    verb           what a command offers (`Verb`, `Tool`) and the checked request that a verb gets (`Invocation`)
    parser         argparse and its errors; `launch_flags` and `plan_flags` hold the flags of launchers and plans
    request        from flags to an `Invocation`: the run, its recipe, the parent model, the layout
    failure        how a failing process reports, alone or as one of several ranks
    result_names   the names of a run's results, known before it starts
    model_argument, sft_verb, tools   shared by the verbs of several packages

Nothing here imports torch before a verb runs, so a user's mistake costs a second and one line.
"""

from qwen_shared.cli.command import run
from qwen_shared.cli.tools import PUBLISH, REPORT
from qwen_shared.cli.verb import Invocation, Tool, Verb

__all__ = ["PUBLISH", "REPORT", "Invocation", "Tool", "Verb", "run"]
