"""Evaluation: tasks, one runner, one row, one `evaluation.json`. The command is `cli.evaluate_verb`.

Read `task` (what a task is), `choices` (multiple choice), `find` (tasks by name), `run` (the runner), `results` (where
results go), `before_after` (the tasks of a fine-tuning).

- A task decides prompts, outcomes and metrics; the runner decides order, batches, seeds and what is resumed.
- A score is 0 to 1. Several answers to one problem are not independent: intervals count problems.
- Parts of a task (`Task.part_size`) have seeds of their own, so that a resumed evaluation draws the same answers.
"""
