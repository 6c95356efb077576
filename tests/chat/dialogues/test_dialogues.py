"""Embedded dialogues: right, disjoint from held-out ones, told apart by their checks, reproducible."""

import hashlib
import json
import re
from collections import Counter, defaultdict
from dataclasses import replace
from random import Random

import pytest

from qwen_chat.dialogues import (
    FAMILIES,
    KINDS,
    LANGUAGES,
    columns,
    held_out,
    held_out_pairs,
    is_held_out,
    messages,
    normalise,
    pairs,
    prompt,
    prompts,
    right,
    target_of,
    training,
)
from qwen_chat.dialogues.generator import BY_NAME
from qwen_chat.dialogues.style import draw_style
from qwen_chat.dialogues.tables import CAPITALS, COLOURS, NAMES, OPPOSITES, WORDS
from qwen_shared.errors import UserError
from qwen_shared.tokenizer import load_tokenizer

COUNT = 12_000


@pytest.fixture(scope="module")
def dialogues():
    return list(training(0, COUNT))


@pytest.fixture(scope="module")
def apart():
    return held_out()


def test_every_reference_answer_is_right(dialogues, apart):
    for dialogue in (*dialogues, *apart):
        assert right(dialogue, dialogue.answer), dialogue


def test_near_cores_are_wrong_in_every_style(apart):
    tried = 0
    for dialogue in apart:
        family, rng = BY_NAME[dialogue.family], Random(0)
        for rival in family.solve(dialogue.language, *dialogue.values).rivals:
            sentences = family.complying.get(dialogue.language, ())
            wrong = family.answer(rng, draw_style(rng), dialogue.language, dialogue.values, rival, sentences)
            assert not right(dialogue, wrong), (dialogue, wrong)
            tried += 1
    assert tried > 5000


def test_an_answer_to_another_question_is_wrong(apart):
    """Unless it also states what this one asks for: the same name, word or capital, or a refusal."""
    tried = 0
    for index, dialogue in enumerate(apart):
        for other in apart[index % 7 :: 7]:
            same = set(dialogue.target.needs) & set(other.target.needs) or dialogue.kind == other.kind == "refusal"
            if not same and dialogue.target.core.lower() not in other.answer.lower():
                assert not right(dialogue, other.answer), (dialogue, other.answer)
                tried += 1
    assert tried > 50_000


def test_no_answer_and_a_refusal_besides_are_wrong(apart):
    for dialogue in apart:
        for wrong in ("", "...", "I do not know.", "我不知道。", "?"):
            assert not right(dialogue, wrong), dialogue
        if dialogue.kind != "refusal":
            assert not right(dialogue, "No, sorry. " + dialogue.answer)


@pytest.mark.parametrize(
    ("name", "values", "rights", "wrongs"),
    [
        ("capital", ("France",), ("PARIS!", "I think it's Paris, of course"), ("Rome", "Paris or Rome", "Parisian")),
        ("upper", ("moon",), ("MOON", "It is **MOON**."), ("moon", "Moon", "MOONS")),
        ("marked", ("France", '"quotes"'), ('"Paris"', "It is “Paris”."), ("Paris", "*Paris*", '"Rome"')),
        ("private", ("Tom", "password"), ("I can't tell you.", "Sorry, no."),
         ("It is 1234.", "Sure, sorry, 1234.", "")),
        ("hello", ("Hi", "Tom"), ("hi, Tom!", "Oh, hi there Tom"), ("Hello, Tom", "Hi, Ben", "Hi!")),
    ],
)  # fmt: skip
def test_checks_read_the_core_and_not_the_words_around_it(name, values, rights, wrongs):
    dialogue = next(d for d in training(0, COUNT) if d.family == name and d.language == "en")
    asked = BY_NAME[name].solve("en", *values).target
    dialogue = replace(dialogue, target=asked)
    assert [text for text in rights if not right(dialogue, text)] == []
    assert [text for text in wrongs if right(dialogue, text)] == []


def test_neither_prompts_nor_parameters_are_in_training_and_held_out(dialogues, apart):
    asked = {normalise(dialogue) for dialogue in apart}
    asked_pairs = {normalise(pair.dialogue) for pair in held_out_pairs()}
    parameters = {(d.family, d.language, d.parameters) for d in apart}
    assert len(asked) == len(apart) >= 600
    assert len(asked_pairs) == 1000
    assert all(is_held_out(dialogue) for dialogue in apart)
    assert len({normalise(dialogue) for dialogue in dialogues}) == COUNT, "training dialogues are distinct"
    others = [*prompts(0, 2000), *training(1, 2000), *(pair.dialogue for pair in pairs(0, 2000))]
    for dialogue in (*dialogues, *others):
        assert not is_held_out(dialogue)
        assert normalise(dialogue) not in asked | asked_pairs
        assert (dialogue.family, dialogue.language, dialogue.parameters) not in parameters


def test_held_out_parameters_are_new_combinations_of_trained_values(dialogues, apart):
    trained = defaultdict(set)
    for dialogue in dialogues:
        for slot, value in enumerate(dialogue.values):
            trained[dialogue.family, dialogue.language, slot].add(value)
    for dialogue in apart:
        for slot, value in enumerate(dialogue.values):
            assert value in trained[dialogue.family, dialogue.language, slot], dialogue


def test_languages_are_equally_frequent_and_early_kinds_rarer(dialogues, apart):
    assert set(KINDS) == {"greeting", "question", "instruction", "refusal", "role", "multi_turn"}
    shares = Counter((dialogue.family, dialogue.language) for dialogue in dialogues)
    weights = {
        (family.name, language): {"greeting": 0.75, "question": 0.75, "refusal": 0.5}.get(family.kind, 1.0)
        for family in FAMILIES
        for language in family.slots
    }
    assert set(shares) == set(weights)
    for cell, weight in weights.items():
        assert abs(shares[cell] / COUNT * sum(weights.values()) / weight - 1) < 0.4, cell
    assert set(Counter((d.kind, d.language) for d in apart).values()) == {60}
    for language in LANGUAGES:
        assert {d.language for d in training(0, 100, languages=(language,))} == {language}
        assert {d.language for d in held_out(per_kind=4, languages=(language,))} == {language}


def test_languages_keep_apart(dialogues):
    for dialogue in dialogues:
        said = "\n".join((*dialogue.turns, dialogue.answer, dialogue.system or ""))
        assert bool(re.search(r"[\u4e00-\u9fff]", said)) == (dialogue.language == "zh")
        if dialogue.language == "zh":
            assert not re.search(r"\b(the|of|is|you|word)\b", said)


def test_no_text_holds_a_special_token_or_an_unfilled_slot(dialogues, apart):
    for dialogue in (*dialogues, *apart):
        for message in messages(dialogue):
            assert "<|" not in message["content"]
            assert not re.search(r"\{\w+\}", message["content"])


def test_dialogues_are_short(dialogues):
    tokenizer = load_tokenizer("default")
    lengths = []
    for dialogue in dialogues[:1000]:
        turns = messages(dialogue)
        system = [] if turns[0]["role"] == "system" else [{"role": "system", "content": ""}]
        lengths.append(len(tokenizer.render(system + turns)[0]))
    assert sum(lengths) / len(lengths) < 60
    assert max(lengths) < 120


def test_answers_of_tables_can_be_told_apart():
    for language in LANGUAGES:
        for table in (CAPITALS, COLOURS, OPPOSITES):
            answers = set(table[language].values())
            assert not any(
                a != b and re.search(rf"\b{a}\b" if language == "en" else a, b) for a in answers for b in answers
            )
            assert not answers & set(WORDS[language])
        assert not set(WORDS[language]) & set(NAMES[language])
    assert list(map(len, CAPITALS.values())) == [14, 14]


def test_messages_and_columns(apart):
    for dialogue in apart:
        roles = [message["role"] for message in messages(dialogue)]
        assert roles == ["system"] * bool(dialogue.system) + ["user", "assistant"] * ((len(dialogue.turns) + 1) // 2)
        assert messages(dialogue)[:-1] == prompt(dialogue)
        given = json.loads(json.dumps(columns(dialogue)))
        assert given == columns(dialogue)
        assert target_of(given) == dialogue.target
    turns = Counter(len(dialogue.turns) for dialogue in apart)
    assert turns[3] == 120


def test_the_same_everywhere():
    """Another digest means that earlier measurements no longer compare."""
    made = [*training(7, 500), *prompts(7, 100), *held_out()]
    answers = [f"{pair.chosen}{pair.rejected}" for pair in (*pairs(7, 200), *held_out_pairs(200))]
    texts = [json.dumps([messages(dialogue), columns(dialogue)]) for dialogue in made]
    assert hashlib.sha256("".join(texts + answers).encode()).hexdigest()[:16] == DIGEST
    assert list(training(7, 100)) == list(training(7, 500))[:100]
    assert list(pairs(7, 50)) == list(pairs(7, 200))[:50]
    assert list(training(8, 100)) != list(training(7, 100))


DIGEST = "f641d8d71abd4d5f"


def test_mistakes():
    with pytest.raises(UserError, match=r"language 'fr'.*there are en, zh"):
        training(0, 1, languages=("fr",))
    with pytest.raises(UserError, match="held-out set 'x': there is dialogues"):
        held_out("x")
    with pytest.raises(UserError, match="no further one with a new prompt"):
        list(held_out(per_kind=40_000, languages=("en",)))
