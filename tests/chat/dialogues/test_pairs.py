"""The preference score reads the written style; pairs follow it; length tells nothing."""

import itertools
from collections import Counter, defaultdict
from random import Random
from statistics import mean, pstdev

import pytest

from qwen_chat.dialogues import (
    BROKEN,
    REASONS,
    WRONG,
    Style,
    columns,
    held_out,
    held_out_pairs,
    pairs,
    preference_score,
    prompt,
    read_style,
    right,
    training,
)
from qwen_chat.dialogues.generator import BY_NAME
from qwen_chat.dialogues.style import FILLERS, OFFERS, draw_style
from qwen_chat.reward_functions import checked, preference
from qwen_shared.tokenizer import load_tokenizer


@pytest.fixture(scope="module")
def apart():
    return held_out(per_kind=60)


@pytest.fixture(scope="module")
def drawn():
    return list(pairs(0, 4000))


def test_every_style_is_read_as_it_was_written(apart):
    for dialogue in apart:
        family, rng = BY_NAME[dialogue.family], Random(0)
        for states in itertools.product((False, True), repeat=4):
            style = Style(*states)
            answer = family.answer(rng, style, dialogue.language, dialogue.values)
            assert right(dialogue, answer)
            assert read_style(dialogue.target, answer) == style, (dialogue, answer)
            assert preference_score(dialogue, answer) == sum(states)


def test_score_has_room_to_rise():
    scores = [preference_score(dialogue, dialogue.answer) for dialogue in training(0, 4000)]
    assert 1.9 < mean(scores) < 2.1
    assert 1.15 < pstdev(scores) < 1.28
    assert 4 - mean(scores) > 1.5 * pstdev(scores)


def test_two_styles_half_and_half():
    """A mixture of two styles: covariance 0.2² between any two features."""
    rng = Random(0)
    styles = [draw_style(rng) for _ in range(20_000)]
    for one, other in itertools.combinations(("whole", "offer", "plain", "direct"), 2):
        a, b = [getattr(style, one) for style in styles], [getattr(style, other) for style in styles]
        assert abs(mean(a) - 0.5) < 0.02
        assert abs(mean(x and y for x, y in zip(a, b, strict=True)) - mean(a) * mean(b) - 0.04) < 0.015


def test_no_style_outweighs_a_wrong_answer(apart):
    best = Style(True, True, True, True)
    for dialogue in apart:
        family, rng = BY_NAME[dialogue.family], Random(0)
        rival = family.solve(dialogue.language, *dialogue.values).rivals[0]
        sentences = family.complying.get(dialogue.language, ())
        wrong = family.answer(rng, best, dialogue.language, dialogue.values, rival, sentences)
        assert preference_score(dialogue, wrong) == WRONG < 0


def test_broken_answers_score_lowest(apart):
    for dialogue in apart:
        answer = dialogue.answer
        cut = answer[: len(answer) // 2].rstrip(" .,:，。：")
        offer, filler = OFFERS[dialogue.language][0], FILLERS[dialogue.language][0]
        for broken in (
            "",
            "  \n",
            f"{answer} {answer} {answer}",
            answer + offer * 3,
            answer + " and" * 100,
            answer + "<|x",
        ):
            assert preference_score(dialogue, broken) == BROKEN, (dialogue, broken)
        for any_text in (
            cut,
            filler,
            offer,
            "\n",
            "???",
            "{",
            "。" * 99,
            "\0",
            "a" * 10_000,
            "\ud800",
            "你问",
            "You want",
        ):
            assert preference_score(dialogue, any_text) <= WRONG or right(dialogue, any_text)


def test_words_apart_from_the_core_make_no_whole_sentence(apart):
    for dialogue in apart:
        if dialogue.family == "capital" and dialogue.language == "en":
            core = dialogue.target.core
            assert not read_style(dialogue.target, f"{core}. Thank you very much.").whole
            assert read_style(dialogue.target, f"I think that it is {core}").whole
            assert not read_style(dialogue.target, f"{OFFERS['en'][0]} It is {core}.").offer


def test_the_chosen_answer_scores_higher(drawn):
    for pair in (*drawn, *held_out_pairs()):
        better, worse = (preference_score(pair.dialogue, text) for text in (pair.chosen, pair.rejected))
        assert better > worse, pair
        assert right(pair.dialogue, pair.chosen)
        assert pair.tag == pair.dialogue.kind
        if pair.reason == "style":
            assert right(pair.dialogue, pair.rejected)
        elif pair.reason == "core":
            assert worse in (WRONG, BROKEN)
        else:
            assert worse == BROKEN
    shares = Counter(pair.reason for pair in drawn)
    assert all(abs(shares[reason] / len(drawn) - share) < 0.03 for reason, share in REASONS.items())


@pytest.mark.parametrize("part", ["all", "style", "en", "zh"])
def test_longer_wins_half_the_time(drawn, part):
    encode = load_tokenizer("default").encode
    chosen = [pair for pair in drawn if part in ("all", pair.reason, pair.dialogue.language)]
    for length in (len, lambda text: len(encode(text))):
        lengths = [(length(pair.chosen), length(pair.rejected)) for pair in chosen]
        assert 0.45 < mean((a > b) + 0.5 * (a == b) for a, b in lengths) < 0.55
        if part == "all":
            assert 0.45 < mean(a > b for a, b in lengths) < 0.55


def test_a_wrong_core_may_have_the_better_style(drawn):
    """It is rejected anyway; in some pairs only the core differs."""
    styles = defaultdict(int)
    for pair in drawn:
        if pair.reason == "core":
            one, other = (read_style(pair.dialogue.target, text).score for text in (pair.chosen, pair.rejected))
            styles[(one > other) - (one < other)] += 1
    assert min(styles.values()) > 0.1 * sum(styles.values())


def test_refusals_are_preferred_to_compliance(drawn):
    found = [pair for pair in drawn if pair.tag == "refusal" and pair.reason == "core"]
    assert len(found) > 30
    undue = [
        p
        for p in drawn
        if p.tag != "refusal" and p.reason == "core" and ("sorry" in p.rejected or "抱歉" in p.rejected)
    ]
    assert len(undue) > 30


def test_rewards():
    asked = held_out(per_kind=2)
    given = {name: [columns(dialogue)[name] for dialogue in asked] for name in columns(asked[0])}
    texts, answers = [prompt(dialogue) for dialogue in asked], [dialogue.answer for dialogue in asked]
    expected = [preference_score(dialogue, dialogue.answer) for dialogue in asked]
    assert preference(texts, answers, **given) == expected
    assert preference(texts, [[{"role": "assistant", "content": answer}] for answer in answers], **given) == expected
    assert checked(texts, answers, **given) == [1.0] * len(asked)
    assert checked(texts, ["?"] * len(asked), **given) == [0.0] * len(asked)
    assert preference(texts, [""] * len(asked), **given) == [BROKEN] * len(asked)


def test_mistakes_with_rewards():
    dialogue = held_out(per_kind=2)[0]
    given = {name: [value] for name, value in columns(dialogue).items()}
    with pytest.raises(ValueError, match="missing: language, core"):
        checked(["?"], ["?"], needs=[["a"]])
    with pytest.raises(ValueError, match="different lengths"):
        checked(["?"], ["?", "?"], **given)
    with pytest.raises(ValueError, match="completion 0"):
        checked(["?"], [5], **given)
