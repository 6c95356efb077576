"""How many of a model's programs pass their tests: prompts as in the report, answers run in the sandbox, pass@k."""
