"""Whether two expressions have the same value: exact algebra, then floating point to tell them apart, then sympy in a
worker. Without a prover raises `NeedsProof`: the caller asks a worker.
"""

from __future__ import annotations

from typing import Protocol

from math_qwen.verify.comparison import algebra, estimate, polynomials
from math_qwen.verify.comparison.shapes import without_constant
from math_qwen.verify.limits import TooLarge, Unparsable
from math_qwen.verify.parsing.trees import VALUES, Tree


class NeedsProof(Exception):
    pass


class Prover(Protocol):
    def equal(self, a: Tree, b: Tree) -> bool: ...
    def constant(self, a: Tree, b: Tree) -> bool: ...
    def proportional(self, a: Tree, b: Tree) -> int: ...


class ValueRules:
    """Without `shortcuts` the prover decides everything (for tests)."""

    def __init__(self, prover: Prover | None = None, shortcuts: bool = True):
        self.prover = prover
        self.shortcuts = shortcuts
        self.why = ""

    def values(self, a: Tree, b: Tree) -> bool:
        """Whether two expressions have the same value wherever either has one."""
        if a == b:
            return True
        if a[0] not in VALUES or b[0] not in VALUES:
            return False
        if self.shortcuts:
            try:
                proved = polynomials.equal(algebra.ratio(a), algebra.ratio(b))
            except TooLarge:
                proved = None
            except Unparsable:
                return False
            if proved is not None:
                return proved
            if estimate.differ(a, b):
                return False
        if self.prover is None:
            raise NeedsProof
        try:
            return self.prover.equal(a, b)
        except Unparsable:
            return False

    def same_antiderivative(self, gold: Tree, other: Tree) -> bool:
        """`F + C` is the same for every name of C and any number added."""
        mine, yours = without_constant(gold), without_constant(other)
        if mine is None or yours is None:
            return False
        try:
            difference = polynomials.plus(algebra.ratio(mine), polynomials.negative(algebra.ratio(yours)))
            if not polynomials.symbols(difference):
                return True
        except (TooLarge, Unparsable):
            return False
        if not estimate.may_differ_by_constant(mine, yours):
            return False
        if self.prover is None:
            raise NeedsProof
        return self.prover.constant(mine, yours)

    def proportion(self, a: tuple, b: tuple) -> int:
        """The sign of c if (left - right) of one relation is c times that of the other, else 0."""
        if any(side[0] not in VALUES for side in (a[0], a[2], b[0], b[2])):
            return 0
        mine: Tree = ("add", (a[0], ("neg", a[2])))
        yours: Tree = ("add", (b[0], ("neg", b[2])))
        if self.shortcuts:
            try:
                found, factor = polynomials.proportional(algebra.ratio(mine), algebra.ratio(yours))
            except TooLarge:
                found, factor = None, None
            except Unparsable:
                return 0
            if found is not None:
                return 0 if not found else 1 if factor is None or factor > 0 else -1
        if self.prover is None:
            raise NeedsProof
        try:
            return self.prover.proportional(mine, yours)
        except Unparsable:
            return 0

    def surely_equal(self, a: Tree, b: Tree) -> bool:
        if a[0] not in VALUES or b[0] not in VALUES:
            return False
        try:
            return polynomials.equal(algebra.ratio(a), algebra.ratio(b)) is True
        except (TooLarge, Unparsable):
            return False
