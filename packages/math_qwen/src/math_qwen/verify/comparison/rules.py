"""When two answers are the same, by kind of answer."""

from __future__ import annotations

from math_qwen.verify.comparison import algebra, polynomials
from math_qwen.verify.comparison.lists import Collection, by_label, expanded, flattened, items
from math_qwen.verify.comparison.matrices import matrix
from math_qwen.verify.comparison.regions import is_region, region, same_region
from math_qwen.verify.comparison.shapes import (
    DEGREE,
    approximation,
    canonical,
    congruence,
    explicit_cases,
    flipped,
    in_radians,
    is_empty,
    is_label,
    is_number,
    is_time_of_day,
    letters_as_unit,
    ratio_parts,
    same_label,
    split_unit,
    without_point_name,
)
from math_qwen.verify.comparison.values import NeedsProof, ValueRules
from math_qwen.verify.limits import TooLarge, Unparsable, budget
from math_qwen.verify.parsing import units
from math_qwen.verify.parsing.text_answers import text_key
from math_qwen.verify.parsing.trees import VALUES, Tree, has

_NOTHING = frozenset(("no solution", "none", "empty set", "the empty set", "无解", "空集"))
_SETS_IN_WORDS = {
    "R": ("all real numbers", "all reals", "all real", "real numbers", "reals", "全体实数", "一切实数", "任意实数",
          "所有实数", "实数集"),
    "Z": ("all integers", "integers", "全体整数", "所有整数", "整数集"),
    "N": ("natural numbers", "all natural numbers", "全体自然数", "所有自然数", "自然数集"),
    "Q": ("rational numbers", "all rational numbers", "rationals", "有理数集", "全体有理数"),
    "C": ("complex numbers", "all complex numbers", "复数集"),
}  # fmt: skip
_RADIAN: units.Unit = (("radian", 1),)


class Rules(ValueRules):
    """`why` says what differs, if that helps."""

    def same(self, gold: Tree, other: Tree) -> bool:
        budget.spend(30)
        rounded = approximation(other)
        gold, other = canonical(gold), canonical(other)
        if gold == other:
            return not is_empty(gold)
        if rounded is not None and gold == rounded:
            return True  # gold is the rounded value itself
        gold, other = without_point_name(gold, other), without_point_name(other, gold)
        (gold, unit), (other, other_unit) = split_unit(gold), split_unit(other)
        if unit or other_unit:
            return self._quantities(gold, unit, other, other_unit)
        if gold[0] == "text" or other[0] == "text":
            return self._text(gold, other)
        if any(has(tree, sign) for tree in (gold, other) for sign in ("pm", "mp")):
            return self._lists(items(expanded(gold)), items(expanded(other)))
        if gold[0] == "mod" or other[0] == "mod":
            return self._congruences(gold, other)
        if gold[0] == "cases" or other[0] == "cases":
            return gold[0] == other[0] and self._cases(gold[1], other[1])
        if gold[0] == "ratio" or other[0] == "ratio":
            if gold[0] == "rel" or other[0] == "rel":
                return self._relations(gold, other)
            return self._ratios(gold, other)
        if {gold[0], other[0]} == {"named", "sym"} and gold[1] == other[1]:
            return True  # a plain R for the reals
        if is_region(gold) or is_region(other):
            found = self._regions(gold, other)
            if found is not None:
                return found
        if any(tree[0] in ("list", "and", "or", "set") for tree in (gold, other)):
            return self._collections(gold, other)
        if gold[0] == "rel" or other[0] == "rel":
            return self._relations(gold, other)
        if gold[0] in ("seq", "mat") or other[0] in ("seq", "mat") or has(gold, "mat") or has(other, "mat"):
            return self._arrays(gold, other)
        if gold[0] in VALUES and other[0] in VALUES:
            return self.values(gold, other) or self.same_antiderivative(gold, other)
        if gold[0] == other[0] and len(gold) == len(other) and gold[0] in ("union", "inter", "minus", "builder"):
            return self._structure(gold[1:], other[1:])
        return False

    def _quantities(self, a: Tree, unit: units.Unit, b: Tree, other_unit: units.Unit) -> bool:
        angles = {unit, other_unit}
        if unit != other_unit and angles <= {DEGREE, _RADIAN, ()} and DEGREE in angles:
            mine, yours = (in_radians(x) if u == DEGREE else x for x, u in ((a, unit), (b, other_unit)))
            if {a[0], b[0]} <= VALUES | {"rel"} and self.same(mine, yours):
                return True
            if _RADIAN not in angles:
                return self.same(a, b)
            self.why = "degrees are not radians"
            return False
        for value, named, plain in ((a, other_unit, unit), (b, unit, other_unit)):
            if named and not plain and (read := letters_as_unit(value)) is not None and read[1] == named:
                return self.values(read[0], b if value is a else a)
        if units.conflict(unit, other_unit):
            self.why = f"other unit: {units.show(other_unit)}, gold has {units.show(unit)}"
            return False
        return self.same(a, b)

    # Kinds

    def _text(self, gold: Tree, other: Tree) -> bool:
        if gold[0] == other[0]:
            return text_key(gold[1]) == text_key(other[1])
        text, tree = (gold, other) if gold[0] == "text" else (other, gold)
        key = text_key(text[1])
        if tree == ("named", "empty"):
            return key in _NOTHING
        if tree[0] == "named":
            return key in _SETS_IN_WORDS.get(tree[1], ())
        return False

    def _regions(self, gold: Tree, other: Tree) -> bool | None:
        mine, yours = region(gold), region(other)
        if mine is not None and yours is not None:
            if gold[0] == "set" and other[0] == "set":
                return None
            return same_region(mine, yours, self.values)
        return None

    def _relations(self, gold: Tree, other: Tree) -> bool:
        if gold[0] == "rel" and other[0] == "rel":
            a, b = gold[1], other[1]
            if len(a) != len(b):
                return False
            if len(a) == 3:
                return self._pair(a, b)
            return self._chain(a, b) or self._chain(a, flipped(b))
        relation, value = (gold, other) if gold[0] == "rel" else (other, gold)
        chain = relation[1]
        if len(chain) != 3 or chain[1] not in ("=", "in"):
            return False
        if chain[1] == "in":
            return chain[0][0] == "sym" and self.same(chain[2], value)
        if is_label(chain[0]):
            return self.same(chain[2], value) if gold[0] == "rel" else self.same(value, chain[2])
        if is_label(chain[2]) and not is_label(chain[0]):
            return self.same(chain[0], value)
        if is_number(chain[0]) and is_number(chain[2]):  # 2 + 3 = 5
            return self.same(chain[2], value) and self.values(chain[0], chain[2])
        return False

    def _pair(self, a: tuple, b: tuple) -> bool:
        if a[1] == "=" and b[1] == "=":
            return self._equations(a, b)
        if a[1] == b[1] and self._sides(a[0], b[0]) and self._sides(a[2], b[2]):
            return True
        turned = flipped(b)
        if turned is not None and a[1] == turned[1] and self._sides(a[0], turned[0]) and self._sides(a[2], turned[2]):
            return True
        if (
            a[1] in ("<", ">", "<=", ">=")
            and b[1] in ("<", ">", "<=", ">=")
            and a[1].endswith("=") == b[1].endswith("=")
        ):
            sign = self.proportion(a, b)
            return sign != 0 and (sign > 0) == (a[1][0] == b[1][0])
        if a[1] == b[1] == "!=":
            return self.proportion(a, b) != 0
        return False

    def _equations(self, a: tuple, b: tuple) -> bool:
        if is_label(b[2]) and not is_label(b[0]):
            b = flipped(b) or b
        if is_label(a[2]) and not is_label(a[0]):
            a = flipped(a) or a
        left, right = a[0], b[0]
        if "text" in (left[0], right[0]):
            return self.same(a[2], b[2])
        if left[0] == "app" and right[0] == "app" and left[1] == right[1] and len(left[2]) == len(right[2]):
            value = b[2]  # f(t) = t² is f(x) = x²
            for mine, yours in zip(left[2], right[2], strict=True):
                if yours[0] == "sym" and mine[0] == "sym":
                    value = algebra.replaced(value, yours[1], ("sym", mine[1]))
                elif not self.same(mine, yours):
                    return False
            return self.same(a[2], value)
        if is_label(left) and is_label(right):
            if left[0] == right[0] == "seq":
                return self.same(left, right) and self.same(a[2], b[2])
            if self._labels_agree(left, right):
                return self.same(a[2], b[2])
            if left[0] == "app" or right[0] == "app":
                function, name = (left, right) if left[0] == "app" else (right, left)
                return function[1] in ("f", "y") and name == ("sym", "y") and self.same(a[2], b[2])
        if any(side[0] not in VALUES for side in (a[0], a[2], b[0], b[2])):
            return self._sides(a[0], b[0]) and self._sides(a[2], b[2])
        return self.proportion(a, b) != 0

    def _labels_agree(self, a: Tree, b: Tree) -> bool:
        if a == b:
            return True
        if a[0] == b[0] == "ratio":
            return self._ratios(a, b)
        return self.surely_equal(a, b)

    def _sides(self, a: Tree, b: Tree) -> bool:
        return self.values(a, b) if a[0] in VALUES and b[0] in VALUES else self.same(a, b)

    def _chain(self, a: tuple, b: tuple | None) -> bool:
        return (
            b is not None
            and a[1::2] == b[1::2]
            and all(self._sides(x, y) for x, y in zip(a[0::2], b[0::2], strict=True))
        )

    def _congruences(self, gold: Tree, other: Tree) -> bool:
        (a, modulus), (b, other_modulus) = congruence(gold), congruence(other)
        if modulus is None or other_modulus is None:
            return self.same(a, b)  # no modulus in one: the residues must be equal
        if not self.values(modulus, other_modulus):
            return False
        if a[0] == "rel" and b[0] == "rel" and not self._labels_agree(a[1][0], b[1][0]):
            return False
        x, y = (tree[1][-1] if tree[0] == "rel" else tree for tree in (a, b))
        try:
            m, r, s = (polynomials.rational(algebra.ratio(tree)) for tree in (modulus, x, y))
        except (TooLarge, Unparsable):
            return False
        if not m or r is None or s is None:
            return self.values(x, y)
        return (r - s) % abs(m) == 0

    def _cases(self, gold: tuple, other: tuple) -> bool:
        if len(gold) != len(other):
            return False
        rest = list(explicit_cases(other))
        for value, condition in explicit_cases(gold):
            for k, (other_value, other_condition) in enumerate(rest):
                if self.same(condition, other_condition) and self.same(value, other_value):
                    del rest[k]
                    break
            else:
                return False
        return True

    def _ratios(self, gold: Tree, other: Tree) -> bool:
        mine, yours = ratio_parts(gold), ratio_parts(other)
        if len(mine) != len(yours):
            return False
        if is_time_of_day(mine) or ("num", 0) in (*mine, *yours):  # 3:00 is a time of day
            return self._in_order(mine, yours)
        return all(
            self.values(("mul", (mine[i], yours[i + 1])), ("mul", (mine[i + 1], yours[i])))
            for i in range(len(mine) - 1)
        )

    # Collections

    def _collections(self, gold: Tree, other: Tree) -> bool:
        mine, yours = Collection.of(gold), Collection.of(other)
        if mine is None or yours is None:
            return False
        if mine.labels and yours.labels:
            if len(mine.values) != len(yours.values):
                return False
            left = [("rel", (label, "=", value)) for label, value in zip(mine.labels, mine.values, strict=True)]
            right = [("rel", (label, "=", value)) for label, value in zip(yours.labels, yours.values, strict=True)]
            return self._lists(left, right) or (
                mine.indexed and yours.indexed and self._lists(list(mine.values), list(yours.values))
            )
        if mine.variable and yours.variable and not same_label(mine.variable, yours.variable):
            return False
        for one, another in ((gold, other), (other, gold)):
            if one[0] == "set" and another[0] in ("seq", "named"):  # {(1,2)} is (1,2), {∅} is not ∅
                return another[0] == "seq" and len(one[1]) == 1 and self.same(one[1][0], another)
            if one[0] == "seq" and len(one[2]) == 2 and (one[1], one[3]) != ("(", ")") and another[0] == "list":
                self.why = "an interval is no list"
                return False
        if mine.ordered or yours.ordered:
            if "set" in (mine.kind, yours.kind):
                return False
            if mine.labels or yours.labels or (mine.ordered and yours.ordered) or len(mine.values) == len(yours.values):
                return self._in_order(by_label(mine), by_label(yours)) or self._in_order(mine.values, yours.values)
        if "seq" in (gold[0], other[0]):
            return self._in_order(mine.values, yours.values)
        repeated = gold[0] == "set" or other[0] == "set"
        return self._lists(list(mine.values), list(yours.values), repeated)

    def _in_order(self, a: tuple | list, b: tuple | list) -> bool:
        return len(a) == len(b) and all(self.same(x, y) for x, y in zip(a, b, strict=True))

    def _lists(self, a: list[Tree], b: list[Tree], as_sets: bool = False) -> bool:
        """Without order. In sets, repeated items count once."""
        a, b = flattened(a), flattened(b)
        if as_sets:
            a, b = self._distinct(a), self._distinct(b)
        if len(a) == 1 and len(set(b)) > 1 and all(self.same(a[0], y) for y in b):
            return True  # `1/2 or 0.5` is one answer; 12,12 is not 12
        if len(a) != len(b):
            self.why = f"{len(b)} answers, gold has {len(a)}" if len(b) > 1 or len(a) > 1 else self.why
            return False
        rest = list(b)
        undecided = False
        for x in a:
            for k, y in enumerate(rest):
                try:
                    matches = self.same(x, y)
                except NeedsProof:
                    undecided = True
                    continue
                if matches:
                    del rest[k]
                    break
            else:
                if undecided:
                    raise NeedsProof
                return False
        return True

    def _distinct(self, items: list[Tree]) -> list[Tree]:
        found: list[Tree] = []
        for item in items:
            if not any(item == other or (self.shortcuts and self.surely_equal(item, other)) for other in found):
                found.append(item)
        return found

    def _arrays(self, gold: Tree, other: Tree) -> bool:
        a, b = matrix(gold), matrix(other)
        if gold[0] == "seq" and other[0] == "seq":
            if len(gold[2]) == 2 and (gold[1], gold[3]) != (other[1], other[3]):
                self.why = "open and closed ends differ"
                return False
            return self._in_order(gold[2], other[2])
        if a is None and gold[0] == "seq":
            a = tuple((item,) for item in gold[2])
            if b is not None and len(b) == 1:
                b = tuple(zip(*b, strict=True))
        if b is None and other[0] == "seq":
            b = tuple((item,) for item in other[2])
            if a is not None and len(a) == 1:
                a = tuple(zip(*a, strict=True))
        if a is None or b is None or len(a) != len(b) or len(a[0]) != len(b[0]):
            return False
        return all(
            self.same(x, y) for row, other_row in zip(a, b, strict=True) for x, y in zip(row, other_row, strict=True)
        )

    def _structure(self, a: tuple, b: tuple) -> bool:
        if len(a) != len(b):
            return False
        for x, y in zip(a, b, strict=True):
            if x == y:
                continue
            if not (isinstance(x, tuple) and isinstance(y, tuple)):
                return False
            if x and isinstance(x[0], str) and y and isinstance(y[0], str):
                if not self.same(x, y):
                    return False
            elif not self._structure(x, y):
                return False
        return True
