"""What would fail in silence is refused before the first step, in one line; what is rare is a remark."""

import json

import pytest

from qwen_shared.data import TokenFile, prepare
from qwen_shared.data.conversations import DOUBLE_SPECIALS, NO_END
from qwen_shared.errors import UserError
from qwen_shared.recipe.sft_schema import SftData
from qwen_shared.sft.checks import check_conversations
from qwen_shared.sft.packing import PackedConversations


@pytest.fixture
def check(write, tokenizer, tmp_path):
    """check(conversations, data settings…) → remarks. `remarks` replaces those that were counted."""

    def check(conversations, remarks=None, max_positions=None, **settings):
        path = write(tmp_path / "a.jsonl", conversations)
        data = SftData(sources=[str(path)], validation_fraction=0, **{"seq_length": 128} | settings)
        (source,) = prepare(data, "default", tmp_path / "cache")
        packed = PackedConversations(
            TokenFile(source.train), data.seq_length, tokenizer.stop_ids, tokenizer.pad_id, 0, max_positions
        )
        if remarks:
            source.meta["train"]["remarks"] = remarks
        try:
            return list(check_conversations(data, source, packed, tokenizer))
        except UserError as error:
            assert "\n" not in str(error) and f"data source {path}: " in str(error)
            raise

    return check


def turns(*contents):
    """User and assistant in turns."""
    return [{"role": ("user", "assistant")[i % 2], "content": content} for i, content in enumerate(contents)]


GOOD = [turns(f"question {i}", f"answer {i}") for i in range(40)]
LONG = "very " * 300


def test_good_ones_pass_without_a_word(check, conversations):
    assert check(conversations(60)) == []


@pytest.mark.parametrize(
    ("some", "says"),
    [
        (
            {NO_END: [3, "a.jsonl line 8"]},
            r"3 of 40 conversations, first a.jsonl line 8, have answers without an end in the loss, .* must close an "
            r"assistant's turn with one of <\|endoftext\|>, <\|im_end\|>",
        ),
        ({DOUBLE_SPECIALS: [1, "a.jsonl line 8"]}, "1 of 40 conversations, .* have a special token twice in a row"),
    ],
)
def test_one_is_too_many(some, says, check):
    with pytest.raises(UserError, match=says):
        check(GOOD, some)


def test_a_template_without_an_end_is_refused(write, tokenizer, tmp_path):
    """From the template itself to the refusal: the model would never learn to stop."""
    tokenizer.save_hf(tmp_path / "hf")
    (tmp_path / "hf/qwen.tiktoken").unlink()
    template = "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '\n' }}{% endfor %}"
    (tmp_path / "hf/chat_template.jinja").write_text(template)
    config = json.loads((tmp_path / "hf/tokenizer_config.json").read_text())
    config.pop("chat_template", None)
    (tmp_path / "hf/tokenizer_config.json").write_text(json.dumps(config))
    from qwen_shared.tokenizer import load_tokenizer

    source_of = str(tmp_path / "hf")
    theirs = load_tokenizer(source_of)
    data = SftData(sources=[str(write(tmp_path / "a.jsonl", GOOD))], validation_fraction=0, seq_length=128)
    (source,) = prepare(data, source_of, tmp_path / "cache")
    packed = PackedConversations(TokenFile(source.train), 128, theirs.stop_ids, theirs.pad_id, 0)
    with pytest.raises(UserError, match=r"40 of 40 conversations, .* have answers without an end"):
        list(check_conversations(data, source, packed, theirs))


def test_texts_that_were_rendered_before(check):
    rendered = [turns(f"<|im_start|>user\n{i}<|im_end|>", f"answer {i}") for i in range(8)]
    (remark,) = check([*GOOD[:32], *rendered])
    assert "8 of 40 conversations, first" in remark and "line 33, spell a special token; it stays text" in remark
    with pytest.raises(UserError, match=r"9 of 40 .* have special tokens written out in their texts: give messages"):
        check([*GOOD[:31], *rendered, turns("what is <|im_end|>", "an end")])


def test_nothing_to_learn(check):
    unanswered = [turns(f"only question {i}") for i in range(3)]
    (remark,) = check([*GOOD[:37], unanswered[0], unanswered[1], turns("q", "")], max_dropped_share=0.08)
    assert "3 of 40 conversations, first" in remark and "line 38, have no answer of an assistant: left out" in remark
    with pytest.raises(UserError, match=r"3 of 40 .* no answer of an assistant .*; data.max_dropped_share=0.05 allows"):
        check([*GOOD[:37], *unanswered])
    for share in (0.05, 1.0):  # with nothing left no share allows it
        with pytest.raises(UserError, match=r"3 of 3 conversations, .* have no answer of an assistant to learn from"):
            check(unanswered, max_dropped_share=share)


def test_too_long(check):
    cut, left_out = turns("q", "a", LONG, "b"), turns(LONG, "b")
    (remark,) = check([*GOOD[:38], cut, left_out])
    assert remark == ("2 of 40 conversations are longer than 128 tokens: 1 keep the answers that fit, 1 are left out")
    with pytest.raises(UserError, match=r"3 of 40 conversations are longer than data.seq_length=128; "):
        check([*GOOD[:37], cut, left_out, left_out])
    with pytest.raises(UserError, match=r"40 of 40 conversations are longer than .*, model.max_positions=9; "):
        check(GOOD, max_positions=9)
    for share in (0.05, 1.0):
        with pytest.raises(UserError, match=r"2 of 2 conversations are longer than data.seq_length=128"):
            check([left_out, left_out], max_dropped_share=share)


def test_unanswered_and_too_long_add_up(check):
    """Two of each: neither kind is too many alone."""
    some = [*GOOD[:36], turns("q1"), turns("q2"), turns(LONG, "b"), turns(LONG, "c")]
    assert len(check(some, max_dropped_share=0.1)) == 2
    with pytest.raises(UserError, match=r"data.max_dropped_share=0.05 allows fewer"):
        check(some)


@pytest.mark.parametrize("total", [20, 100, 150, 199])
def test_the_length_that_would_do_does(check, total, tokenizer):
    """What the message says is enough for 99 % and for all is, and one place less is not."""
    given = [turns("q", "a " * (100 + i)) for i in range(total)]
    with pytest.raises(UserError) as caught:
        check(given, max_dropped_share=0.0)
    words = str(caught.value).split("; ")[1].replace(",", "").split()
    most, all_ = int(words[0]), int(words[-3])
    lengths = sorted(len(tokenizer.render(messages)[0]) - 2 for messages in given)
    assert all_ == lengths[-1]
    assert sum(length <= most for length in lengths) >= 0.99 * total > sum(length < most for length in lengths)
    assert check(given, max_dropped_share=0.0, seq_length=all_) == []
    assert len(check(given, max_dropped_share=0.01, seq_length=most)) == (most < all_)
