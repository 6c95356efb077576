"""Solutions with their answer in `\\boxed{}` (MATH's format), or wherever `math_qwen.verify` finds it."""

from __future__ import annotations

import re

from math_qwen.equations import check, equations
from math_qwen.prepare.gsm8k import KEPT, REJECTED, CheckedSolution

_BOX = re.compile(r"\\f?boxed\s*(\{|[^\s{$])")


def last_box(solution: str) -> str | None:
    """None without a box that closes."""
    boxes = list(_BOX.finditer(solution))
    if not boxes:
        return None
    match = boxes[-1]
    if match[1] != "{":
        return match[1]
    depth = 1
    for at in range(match.end(), len(solution)):
        if solution[at] in "{}" and solution[at - 1] != "\\":
            depth += 1 if solution[at] == "{" else -1
            if not depth:
                return solution[match.end() : at].strip()
    return None


def check_boxed(solution: str, gold: str | None) -> tuple[CheckedSolution, tuple[str, str] | None]:
    """The checked solution, and the (gold, prediction) still to verify.

    Without gold the box is verified against itself: it must be readable. Without a box the whole solution is verified.
    """
    solution = solution.strip()
    if not solution:
        return CheckedSolution(solution, "", REJECTED, ["empty solution"]), None
    for equation in equations(solution):
        result = check(equation)
        if not result.ok:
            return CheckedSolution(solution, "", REJECTED, [f"false equation: <<{equation}>> {result.reason}"]), None
    box = last_box(solution)
    if box is None and (gold is None or "\\boxed" in solution):
        what = "its \\boxed does not close" if "\\boxed" in solution else "neither #### nor \\boxed"
        return CheckedSolution(solution, "", REJECTED, [f"no final answer: {what}"]), None
    if box == "":
        return CheckedSolution(solution, "", REJECTED, ["no final answer: \\boxed is empty"]), None
    answer = gold if gold is not None else box
    assert answer is not None
    checked = CheckedSolution(
        solution, answer, KEPT, [], len(equations(solution)), "the box" if box else "the whole response"
    )
    return checked, (answer, f"\\boxed{{{box}}}" if box else solution)
