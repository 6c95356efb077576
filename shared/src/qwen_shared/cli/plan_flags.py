"""`--plan` and its flags, and how a plan is printed."""

from __future__ import annotations

import argparse
import json
from typing import Any

from qwen_shared.errors import UserError
from qwen_shared.gpus import GPUS

PLAN_SWITCHES = ("--plan", "--json")
PLAN_VALUES = ("gpu", "mfu", "price")  # flags with a value


def add_plan_flags(parser: argparse.ArgumentParser, trains: bool) -> None:
    """Only a verb that `trains` can be planned for another machine."""
    parser.add_argument("--plan", action="store_true", help="say what would happen and what is wrong, and stop")
    parser.add_argument("--json", action="store_true", help="with --plan: as JSON")
    if not trains:
        return
    parser.add_argument(
        "--gpu",
        metavar="NAME",
        help=f"with --plan: for {', '.join(GPUS)} or cpu (default: this machine, or H100 if it is too small)",
    )
    parser.add_argument("--mfu", type=float, metavar="X", help="with --plan: fraction of the peak (default: 0.4)")
    parser.add_argument("--price", type=float, metavar="X", help="with --plan: dollars per GPU hour")


def check_plan_flags(args: argparse.Namespace) -> None:
    """Raises UserError if one is given without --plan."""
    given = [name for name in ("json", *PLAN_VALUES) if getattr(args, name, None) not in (None, False)]
    if given and not args.plan:
        raise UserError(f"--{given[0]} goes with --plan")


def plan_text(plan: Any, as_json: bool) -> str:
    """`plan` is a text or an object with `as_dict()`."""
    if not as_json:
        return str(plan)
    tree = plan.as_dict() if hasattr(plan, "as_dict") else {"plan": str(plan).splitlines()}
    return json.dumps(tree, indent=2, ensure_ascii=False)
