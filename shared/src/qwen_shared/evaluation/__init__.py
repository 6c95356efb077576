r"""Evaluation tasks and their runner. The command is `cli.evaluate_verb`.

Read `task`, `choices` (multiple choice), `find` (tasks by name), `run`, `results`, `before_after` (fine-tuning).

- A task decides prompts, outcomes and metrics; the runner decides order, batches and seeds, and resumes.
- A score is 0 to 1. Intervals count problems: several answers to one problem are not independent.
"""
