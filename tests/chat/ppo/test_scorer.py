"""Reward functions by name, and their errors."""

import pytest

from qwen_chat.ppo.prompts import Query
from qwen_chat.ppo.rollout import Responses
from qwen_chat.ppo.scorer import Scorer, find_function, score_by
from qwen_shared.errors import UserError


def responses(*texts, **columns):
    queries = [
        Query([{"role": "user", "content": "?"}], [1], {k: v[i] for k, v in columns.items()}) for i in range(len(texts))
    ]
    return Responses(queries, [[2]] * len(texts), [True] * len(texts), list(texts))


def test_every_package_s_functions_are_found_by_name():
    for name in ("checked", "preference", "math", "code"):
        assert callable(find_function(name, "reward.functions"))
    with pytest.raises(UserError, match=r"reward.functions=chequed: no such reward function; nearest: checked"):
        find_function("chequed", "reward.functions")


def test_a_function_that_cannot_score_names_what_is_missing():
    with pytest.raises(UserError, match=r"reward function math: .*right answers in a column"):
        score_by(find_function("math", "reward.functions"), "math", responses("4"))
    with pytest.raises(UserError, match="1 scores for 2 responses"):
        score_by(lambda prompts, completions, **_: [1.0], "short", responses("a", "b"))
    with pytest.raises(UserError, match="reward function odd"):
        score_by(lambda prompts, completions, **_: [None] * len(completions), "odd", responses("a"))


def test_scores_add_up_by_weight():
    scorer = Scorer(None, [("one", 2.0, lambda p, c, **_: [1.0, 0.0]), ("two", -1.0, lambda p, c, **_: [0.0, 3.0])])
    assert scorer(responses("a", "b")) == [2.0, -3.0]
    assert scorer.held_out_scores(responses("a")) is None


def test_columns_travel_with_their_prompts():
    seen = {}

    def function(prompts, completions, **columns):
        seen.update(columns)
        return [0.0] * len(completions)

    score_by(function, "f", responses("a", "b", answer=["1", "2"]))
    assert seen == {"answer": ["1", "2"]}
