"""Formats of preferences, and errors of rows that have none."""

import pytest

from qwen_chat.reward.preferences import preferences_of, transcript
from qwen_shared.errors import UserError


def turn(role, content):
    return {"role": role, "content": content}


ASKED = [turn("user", "Two?")]
GOOD, BAD = [turn("assistant", "2")], [turn("assistant", "two")]
HH = "\n\nHuman: Two?\n\nAssistant: {}"

SAME = {
    "texts": {"prompt": "Two?", "chosen": "2", "rejected": "two"},
    "messages": {"prompt": ASKED, "chosen": GOOD, "rejected": BAD},
    "turns": {"messages": ASKED, "chosen": GOOD[0], "rejected": BAD[0]},
    "whole": {"chosen": [*ASKED, *GOOD], "rejected": [*ASKED, *BAD]},
    "sharegpt": {
        "conversations": [{"from": "human", "value": "Two?"}],
        "chosen": {"from": "gpt", "value": "2"},
        "rejected": {"from": "gpt", "value": "two"},
    },
    "alpaca": {"instruction": "Two?", "input": "", "chosen": "2", "rejected": "two"},
    "transcripts": {"chosen": HH.format("2"), "rejected": HH.format("two")},
    "transcript and texts": {"prompt": HH.format(""), "chosen": "2", "rejected": "two"},
    "ranking": {"prompt": "Two?", "answers": ["2", "two"]},
    "scores": {"prompt": "Two?", "responses": ["two", "2"], "scores": [1, 2.5]},
}


@pytest.mark.parametrize("form", SAME)
def test_every_form_says_the_same(form):
    (found,) = preferences_of(SAME[form], "f line 1", 16)
    assert (found.prompt, found.chosen, found.rejected) == (ASKED, GOOD, BAD)


def test_a_ranking_makes_all_pairs_up_to_a_cap():
    row = {"prompt": "?", "answers": ["a", "b", "c", "d"]}
    pairs = [(p.chosen[-1]["content"], p.rejected[-1]["content"]) for p in preferences_of(row, "f", 16)]
    assert pairs == [("a", "b"), ("a", "c"), ("a", "d"), ("b", "c"), ("b", "d"), ("c", "d")]
    drawn = preferences_of(row, "f", 3)
    assert len(drawn) == 3
    assert drawn == preferences_of(row, "elsewhere", 3)


def test_equal_scores_say_nothing():
    row = {"prompt": "?", "answers": ["a", "b", "c"], "scores": [1, 3, 1]}
    pairs = [(p.chosen[-1]["content"], p.rejected[-1]["content"]) for p in preferences_of(row, "f", 16)]
    assert pairs == [("b", "a"), ("b", "c")]
    assert preferences_of(row | {"scores": [2, 2, 2]}, "f", 16) == []


def test_tags_and_systems_come_along():
    row = {"prompt": "?", "chosen": "a", "rejected": "b", "system": "Be brief.", "tags": ["sums", "short"], "reason": 1}
    (found,) = preferences_of(row, "f", 16)
    assert found.prompt == [turn("system", "Be brief."), turn("user", "?")]
    assert (found.tag, found.reason) == ("sums", "1")


def test_conversations_may_part_before_the_last_turn():
    chosen = [*ASKED, *GOOD, turn("user", "Thanks"), turn("assistant", "Welcome")]
    (found,) = preferences_of({"chosen": chosen, "rejected": [*ASKED, *BAD]}, "f", 16)
    assert (found.prompt, found.chosen, found.rejected) == (ASKED, chosen[1:], BAD)


def test_the_same_twice_is_known():
    (found,) = preferences_of({"prompt": "?", "chosen": "a", "rejected": "a"}, "f", 16)
    assert found.is_identical


def test_transcripts_join_a_speaker_who_goes_on():
    text = "\n\nHuman: a\n\nHuman: b\n\nAssistant: c\nHuman: is a word\n\nAssistant:"
    assert transcript(text, "f") == [turn("user", "a\n\nb"), turn("assistant", "c\nHuman: is a word\n\n")]


BROKEN = {
    "key 'rejected' is missing": {"prompt": "?", "chosen": "a"},
    "no preference": {"text": "a"},
    "is a text without a prompt": {"chosen": "a", "rejected": "b"},
    "ends with a turn of the user": {"chosen": ASKED, "rejected": ASKED},
    "do not begin with the same question": {"chosen": [turn("user", "x"), *GOOD], "rejected": [*ASKED, *BAD]},
    "'chosen' is int": {"prompt": "?", "chosen": 1, "rejected": "b"},
    "two answers or more": {"prompt": "?", "answers": ["a"]},
    "a list of 2 numbers": {"prompt": "?", "answers": ["a", "b"], "scores": [1]},
    "scores.1 is True": {"prompt": "?", "answers": ["a", "b"], "scores": [1, True]},
    "'tags' must be a list": {"prompt": "?", "chosen": "a", "rejected": "b", "tags": "x"},
}


@pytest.mark.parametrize("said", BROKEN)
def test_broken_rows_are_named(said):
    with pytest.raises(UserError) as error:
        preferences_of(BROKEN[said], "some.jsonl line 7", 16)
    assert "some.jsonl line 7" in str(error.value)
    assert said in str(error.value)
