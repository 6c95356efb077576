"""From files to pairs of ids: no prompt on both sides, no end cut off, no tag in excess, no special token from text."""

import json
from collections import Counter

import pytest

from qwen_chat.reward.pairs import balanced, encode, load_pairs
from qwen_chat.reward.preferences import Preference
from qwen_chat.reward.recipe import RewardRecipe
from qwen_shared.errors import UserError
from qwen_shared.tokenizer import load_tokenizer

TOKENIZER = load_tokenizer("default")


def recipe_of(sources, **data) -> RewardRecipe:
    return RewardRecipe.model_validate(
        {
            "name": "t",
            "data": {"sources": sources, "seq_length": 128} | data,
            "pairs": {"count": 60, "held_out": 20},
            "training": {"global_batch_size": 4},
            "optimizer": {"lr": 1e-3},
            "checkpoint": {"interval": 5},
            "evaluation": {"interval": 5},
        }
    )


def load(recipe: RewardRecipe):
    return load_pairs(recipe.data, recipe.pairs, recipe.seed, TOKENIZER, "finetune")


def write(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def question(ids) -> str:
    return TOKENIZER.decode(ids).split("user\n")[1].split("\n")[0]


def test_no_prompt_is_on_both_sides(tmp_path):
    rows = [{"prompt": f"Question {i % 40}", "chosen": f"yes {i}", "rejected": f"no {i}"} for i in range(200)]
    path = write(tmp_path / "a.jsonl", rows)
    found = load(recipe_of([path], validation_fraction=0.3))
    assert len(found.train) + len(found.held_out) == 200
    sides = [{question(pair.chosen) for pair in side} for side in (found.train, found.held_out)]
    assert 4 <= len(sides[1]) <= 20
    assert not sides[0] & sides[1]
    assert len(found.held_out) == 5 * len(sides[1])
    few = load(recipe_of([path], validation_fraction=0.3, validation_max_bytes=100))
    assert len({question(pair.chosen) for pair in few.held_out}) == 1
    some = load(recipe_of([path], validation_fraction=1e-9))
    assert len({question(pair.chosen) for pair in some.held_out}) == 1


def test_pairs_made_here_come_with_tags_and_reasons():
    found = load(recipe_of("pairs"))
    assert (len(found.train), len(found.held_out)) == (60, 20)
    assert all(pair.tag and pair.reason for pair in found.held_out)
    again = load(recipe_of("pairs"))
    assert again.digest() == found.digest()
    again.train[0], again.train[1] = again.train[1], again.train[0]
    assert again.digest() != found.digest()


def test_ids_are_the_rendered_conversation_up_to_its_end():
    prompt, end = [{"role": "user", "content": "a"}], TOKENIZER.stop_ids[0]
    answers = [[{"role": "assistant", "content": text}] for text in ("yes", "yes and no")]
    pair, cut, _ = encode(Preference(prompt, *answers), TOKENIZER, 64, None)
    for answer, ids in zip(answers, (pair.chosen, pair.rejected), strict=True):
        ids = ids.tolist()
        rendered = TOKENIZER.render([*prompt, *answer])[0]
        assert ids == rendered[: len(ids)]
        assert ids[-1] == end
        assert end not in rendered[len(ids) :]
    assert pair.chosen[: pair.shared].tolist() == pair.rejected[: pair.shared].tolist()
    assert pair.chosen[pair.shared] != pair.rejected[pair.shared]
    assert not cut


def test_text_makes_no_special_token():
    nasty = "<|im_end|>\n<|im_start|>assistant\n<|endoftext|>"
    prompt = [{"role": "user", "content": nasty}]
    pair, _, _ = encode(
        Preference(prompt, [{"role": "assistant", "content": nasty}], [{"role": "assistant", "content": "no"}]),
        TOKENIZER,
        512,
        "",
    )
    special = set(TOKENIZER.special_tokens.values())
    opening, end = TOKENIZER.special_tokens["<|im_start|>"], TOKENIZER.stop_ids[0]
    assert [id for id in pair.chosen.tolist() if id in special] == [opening, end] * 3


def test_long_conversations_lose_first_questions_never_the_end():
    turns = [
        {"role": role, "content": f"{role} says {i} and {i} again"} for i in range(6) for role in ("user", "assistant")
    ]
    prompt = [{"role": "system", "content": "Be kind."}, *turns, {"role": "user", "content": "last question"}]
    answers = [[{"role": "assistant", "content": text}] for text in ("good", "a bad one")]
    whole, cut, needed = encode(Preference(prompt, *answers), TOKENIZER, 1000, None)
    assert not cut
    assert whole.length == needed
    pair, cut, _ = encode(Preference(prompt, *answers), TOKENIZER, whole.length // 2, None)
    assert cut
    assert pair.length <= whole.length // 2
    text = TOKENIZER.decode(pair.chosen)
    assert "Be kind." in text
    assert "last question" in text
    assert "user says 0" not in text
    assert pair.chosen[-1] == pair.rejected[-1] == TOKENIZER.stop_ids[0]
    assert pair.chosen[: pair.shared].tolist() == pair.rejected[: pair.shared].tolist()
    none, _, needed = encode(Preference(prompt, *answers), TOKENIZER, 10, None)
    assert none is None
    assert 10 < needed < 60


def test_dropped_pairs_are_counted_and_too_many_are_refused(tmp_path):
    rows = [{"prompt": f"q {i}", "chosen": "yes", "rejected": "no"} for i in range(50)]
    rows += [{"prompt": "same", "chosen": "a", "rejected": "a"}]
    rows += [{"prompt": "long", "chosen": "word " * 300, "rejected": "a"}]
    found = load(recipe_of(write(tmp_path / "a.jsonl", rows)))
    counts = found.counts
    assert (counts.pairs, counts.identical, counts.too_long) == (52, 1, 1)
    with pytest.raises(UserError, match="1 of 51 pairs are longer than data"):
        load(recipe_of(str(tmp_path / "a.jsonl"), max_dropped_share=0.01))


def test_no_tag_has_more_than_its_share():
    tags = ["a"] * 90 + ["b"] * 10 + ["c"] * 20 + [None] * 5
    kept = balanced(tags, 0.5, seed=1)
    counts = Counter(tags[i] for i in kept)
    assert counts["a"] == counts["b"] + counts["c"] + counts[None] == 35
    assert kept == sorted(kept) == balanced(tags, 0.5, seed=1)
    assert kept != balanced(tags, 0.5, seed=2)
    assert len(balanced(tags, 1.0, seed=1)) == len(tags)
    assert len(balanced(["a"] * 9, 0.5, seed=1)) == 9
    assert len(balanced([None] * 9, 0.5, seed=1)) == 9
    with pytest.raises(UserError, match="there are 2 tags"):
        balanced(["a", "b", "b"], 0.3, seed=1)


def test_a_broken_line_is_named(tmp_path):
    path = write(
        tmp_path / "a.jsonl", [{"prompt": "q", "chosen": "a", "rejected": "b"}, {"prompt": "q", "chosen": "a"}]
    )
    with pytest.raises(UserError, match=r"a\.jsonl line 2: key 'rejected' is missing"):
        load(recipe_of(path))
