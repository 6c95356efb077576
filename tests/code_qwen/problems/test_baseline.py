"""The nearest training task's solution."""

from code_qwen.problems import held_out, nearest_training_solutions, training
from code_qwen.problems.check import run_check


def test_a_known_task_finds_itself():
    known = list(training(0, 3000))
    asked = known[::100]
    assert nearest_training_solutions(asked, known) == [task.solution for task in asked]


def test_solutions_have_the_name_that_is_asked_for():
    known, asked = list(training(0, 6000)), held_out("functions", 4)
    found = nearest_training_solutions(asked, known)
    assert all(text.startswith(f"def {task.entry_point}(") for task, text in zip(asked, found, strict=True))
    passed = 0
    for task, text in zip(asked, found, strict=True):
        try:
            run_check(text, task.entry_point, task.test)
            passed += 1
        except Exception:  # what another task's solution does here is open
            continue
    assert passed < 0.1 * len(asked)  # its parameters are in no training task
