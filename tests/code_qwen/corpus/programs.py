"""Texts of licences, and Python files like no others."""

import random

MIT = """MIT License

Copyright (c) 2024 Somebody

Permission is hereby granted, free of charge, to any person obtaining a copy
of this software and associated documentation files (the "Software"), to deal
in the Software without restriction.
"""
GPL = """                    GNU GENERAL PUBLIC LICENSE
                       Version 3, 29 June 2007

 Everyone is permitted to copy and distribute verbatim copies. See also the GNU Affero General Public License.
"""


def program(seed: int, lines: int = 30) -> str:
    """A Python file like no other."""
    draw = random.Random(seed)
    word = lambda: "".join(draw.choices("abcdefghijklmnopqrstuvwxyz", k=draw.randint(3, 9)))
    text = f'"""Functions about {word()} and {word()}."""\n\n'
    for _ in range(lines):
        text += f"\ndef {word()}({word()}, {word()}):\n    return {word()} + {word()} * {draw.randint(2, 99)}\n"
    return text
