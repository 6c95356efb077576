"""Worked examples in MBPP's form (text, tests, code), for files without the benchmark's own.

They are this project's; the published figures were measured with problems 2, 3 and 4 of MBPP.
"""

from __future__ import annotations

MBPP: list[tuple[str, list[str], str]] = [
    (
        "Write a function to count how often each word occurs in a sentence, whatever its case.",
        [
            'assert count_words("The cat and the dog") == {"the": 2, "cat": 1, "and": 1, "dog": 1}',
            'assert count_words("") == {}',
            'assert count_words("No no NO") == {"no": 3}',
        ],
        "from collections import Counter\n"
        "\n"
        "def count_words(sentence):\n"
        "    return dict(Counter(sentence.lower().split()))",
    ),
    (
        "Write a python function to check whether a list of numbers is sorted in ascending order.",
        [
            "assert is_ascending([1, 2, 2, 5]) == True",
            "assert is_ascending([3, 1]) == False",
            "assert is_ascending([]) == True",
        ],
        "def is_ascending(numbers):\n"
        "    for left, right in zip(numbers, numbers[1:]):\n"
        "        if left > right:\n"
        "            return False\n"
        "    return True",
    ),
    (
        "Write a function to find the second largest of the different values in a list, or None if there is none.",
        [
            "assert second_largest([4, 9, 9, 7]) == 7",
            "assert second_largest([5, 5]) == None",
            "assert second_largest([-1, -3]) == -3",
        ],
        "def second_largest(values):\n"
        "    different = sorted(set(values))\n"
        "    return different[-2] if len(different) > 1 else None",
    ),
]
