"""Code tasks: prompts as in the report, answers run in the sandbox, pass@k."""
