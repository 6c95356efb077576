"""Math tasks: prompts as in the report, greedy answers or votes, judged by the verifier."""
