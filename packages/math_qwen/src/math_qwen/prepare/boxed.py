r"""Solutions whose answer stands in `\boxed{}` (MATH's form), or anywhere else that `math_qwen.verify` reads."""

from __future__ import annotations

import re

from math_qwen.equations import check, equations
from math_qwen.prepare.examine import KEPT, REJECTED, Examined

_BOX = re.compile(r"\\f?boxed\s*(\{|[^\s{$])")


def last_box(solution: str) -> str | None:
    """What the last `\\boxed` holds; None where there is none or its braces do not close."""
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


def examine_boxed(solution: str, gold: str | None) -> tuple[Examined, tuple[str, str] | None]:
    """The solution examined, and the (gold, prediction) that is still to be verified.

    Without a gold answer the box is verified against itself, which asks that it can be read at all. Where there is no
    box, the whole solution is verified against the gold answer.
    """
    solution = solution.strip()
    if not solution:
        return Examined(solution, "", REJECTED, ["empty solution"]), None
    for equation in equations(solution):
        result = check(equation)
        if not result.ok:
            return Examined(solution, "", REJECTED, [f"false equation: <<{equation}>> {result.reason}"]), None
    box = last_box(solution)
    if box is None and (gold is None or "\\boxed" in solution):
        what = "its \\boxed does not close" if "\\boxed" in solution else "neither #### nor \\boxed"
        return Examined(solution, "", REJECTED, [f"no final answer: {what}"]), None
    if box == "":
        return Examined(solution, "", REJECTED, ["no final answer: \\boxed is empty"]), None
    answer = gold if gold is not None else box
    assert answer is not None
    examined = Examined(
        solution, answer, KEPT, [], len(equations(solution)), "the box" if box else "the whole response"
    )
    return examined, (answer, f"\\boxed{{{box}}}" if box else solution)
