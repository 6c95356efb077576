"""Accuracy on math problems: prompts as in the report, greedy answers or votes, judged by sympy."""
