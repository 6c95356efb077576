"""The flags that go with --plan, and what they print."""

from __future__ import annotations

import argparse
import json
from typing import Any

from qwen_shared.errors import UserError
from qwen_shared.gpus import GPUS
from qwen_shared.launch.launchers import PLAN_VALUES


def add_plan_flags(parser: argparse.ArgumentParser, trains: bool) -> None:
    """`--plan` and what goes with it; a verb that `trains` can be planned for a machine."""
    parser.add_argument("--plan", action="store_true", help="say what would happen and what is wrong, and stop")
    parser.add_argument("--json", action="store_true", help="with --plan: as JSON")
    if not trains:
        return
    parser.add_argument(
        "--gpu",
        metavar="NAME",
        help=f"with --plan: for {', '.join(GPUS)} or cpu (default: this machine, or H100 where it is too small)",
    )
    parser.add_argument("--mfu", type=float, metavar="X", help="with --plan: share of the peak reached (default: 0.4)")
    parser.add_argument("--price", type=float, metavar="X", help="with --plan: dollars a GPU hour")


def check_plan_flags(args: argparse.Namespace) -> None:
    """Raises UserError for one without --plan."""
    given = [name for name in ("json", *PLAN_VALUES) if getattr(args, name, None) not in (None, False)]
    if given and not args.plan:
        raise UserError(f"--{given[0]} goes with --plan")


def shown(plan: Any, as_json: bool) -> str:
    """A verb's plan, a text or an object with `figures()`, as it is printed."""
    if not as_json:
        return str(plan)
    figures = plan.figures() if hasattr(plan, "figures") else {"plan": str(plan).splitlines()}
    return json.dumps(figures, indent=2, ensure_ascii=False)
