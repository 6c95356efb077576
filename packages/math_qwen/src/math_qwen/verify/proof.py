"""The prover that worker processes use."""

from __future__ import annotations

from math_qwen.verify import symbolic
from math_qwen.verify.trees import Tree


class Sympy:
    def equal(self, a: Tree, b: Tree) -> bool:
        return symbolic.prove_equal(a, b)

    def constant(self, a: Tree, b: Tree) -> bool:
        return symbolic.prove_constant(a, b)

    def proportional(self, a: Tree, b: Tree) -> int:
        return symbolic.prove_proportional(a, b)
