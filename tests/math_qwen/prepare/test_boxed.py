"""Boxed answers."""

from math_qwen.prepare.boxed import last_box


def test_last_box():
    assert last_box(r"so \boxed{1} then \boxed{\frac{1}{2}}") == r"\frac{1}{2}"
    assert last_box(r"\boxed 5") == "5"
    assert last_box(r"\boxed{\{1,2\}}") == r"\{1,2\}"
    assert last_box(r"\boxed{1") is None
    assert last_box("no box") is None
