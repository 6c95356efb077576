"""Docstrings and comments that are prose, each once."""

from qwen_shared.data.python_prose import module_prose

MODULE = b'''#!/usr/bin/env python
# -*- coding: utf-8 -*-
#
# A comment of two lines that tells something
# about this module.
# ---------------
"""Docstring of the module, first of all.

    Indented.
"""
import os  # a comment beside code does not fill its line, however long it may be

# short one

# for x in range(3):
#     print(x, "commented-out code is no prose and stays out")

class Thing:
    """What a thing is and does."""

    # A single line that is long enough to be read as a remark of its own.
    def method(self):
        """Docstring of the method: caf\xc3\xa9 \\ud800."""
        text = """
        # not a comment but a string, although it looks like a comment line
        """
'''


def test_prose_of_a_module_in_source_order():
    assert module_prose(MODULE, set()).split("\n\n") == [
        "A comment of two lines that tells something\nabout this module.",
        "Docstring of the module, first of all.",
        "Indented.",
        "What a thing is and does.",
        "A single line that is long enough to be read as a remark of its own.",
        "Docstring of the method: café \ufffd.",
    ]


def test_a_repeated_text_and_a_broken_module_give_nothing():
    seen = set()
    assert module_prose(MODULE, seen)
    assert module_prose(MODULE, seen) == ""
    assert module_prose(b"def broken(:\n", set()) == module_prose(b"\x00\xff", set()) == ""
