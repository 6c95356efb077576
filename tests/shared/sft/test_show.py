"""`--show-batch` shows what training reads, all of it, in colours that are the mask, and no terminal is harmed."""

import re
from itertools import pairwise

import numpy as np
import pytest

from qwen_shared.recipe import SftRecipe
from qwen_shared.sft import show
from qwen_shared.sft.packing import PackedSample

ODD = [
    {"role": "system", "content": ""},
    {"role": "user", "content": "Say\n\n  'hi'\tplease: 龘 <|im_end|> \x1b[2J\x07\u202e"},
    {"role": "assistant", "content": "hi 🦜\r\n"},
]


def lines(sample, tokenizer):
    return list(show.sample_text(sample, tokenizer))


def undone(shown: str) -> bytes:
    """What the shown text of a document stands for, special tokens spelled out."""
    body = shown.partition("\n")[2].replace("\n", "").replace("⏎", "\n").replace("·", " ")
    parts = re.split("⟨([0-9a-f]+)⟩", body)
    # A character that is not printable shows its code, bytes within a character two digits each.
    spelled = [
        part.encode() if i % 2 == 0 else bytes([int(part, 16)]) if len(part) == 2 else chr(int(part, 16)).encode()
        for i, part in enumerate(parts)
    ]
    return b"".join(spelled)


def test_shown_together_it_is_the_text(packed, conversations, tokenizer):
    given = [*conversations(12), ODD]
    stream = packed(given, 600)
    for j in range(stream.num_samples):
        numbers, texts = stream.conversations_of(j), lines(stream.epoch_sample(j), tokenizer)
        assert len(texts) == len(numbers) + bool(show.padding_length(stream.epoch_sample(j)))
        for number, text in zip(numbers, texts, strict=False):  # the padding, too, has a text
            turns = given[number]
            if turns[0]["role"] != "system":
                turns = [{"role": "system", "content": "You are a helpful assistant."}, *turns]
            whole = "".join(f"<|im_start|>{turn['role']}\n{turn['content']}<|im_end|>\n" for turn in turns)
            assert undone(text.plain) == whole.removesuffix("\n").encode()


def test_colours_are_the_mask(packed, conversations, tokenizer):
    """Style by style: what is shown as in the loss is what the answers say and their ends."""
    given = conversations(5)
    stream = packed(given, 1000)
    (sample,) = (stream.epoch_sample(j) for j in range(stream.num_samples))
    for number, text in zip(stream.conversations_of(0), lines(sample, tokenizer), strict=False):
        learnt = [text.plain[span.start : span.end] for span in text.spans if " on " in str(span.style)]
        said = [turn["content"] for turn in given[number] if turn["role"] == "assistant"]
        assert "".join(learnt).replace("·", " ") == "".join(f"{content}<|im_end|>" for content in said)
        styles = [str(span.style) for span in text.spans[1:]]
        bold = [text.plain[span.start : span.end] for span in text.spans if "bold" in str(span.style)]
        assert set(bold) == {"<|im_start|>", "<|im_end|>"}
        assert all(a != b for a, b in pairwise(styles))  # borders of tokens show


def test_headers_count(packed, conversations, tokenizer):
    stream = packed(conversations(30), 300)
    for j in range(stream.num_samples):
        sample = stream.epoch_sample(j)
        lengths = np.diff([*np.flatnonzero(sample.document_starts), 300]).tolist()
        padding = show.padding_length(sample)
        assert padding == (lengths[-1] if len(lengths) > len(stream.conversations_of(j)) else 0)
        if padding:
            assert lines(sample, tokenizer)[-1].plain == f"▌ padding, {padding} places"
            lengths.pop()
        for n, (length, text) in enumerate(zip(lengths, lines(sample, tokenizer), strict=False), start=1):
            assert text.plain.startswith(f"▌{n}: {length} tokens, positions 0 to {length - 1}\n")
        assert show._described(j, sample) == (
            f"sample {j}: {len(lengths)} documents, {sum(lengths)} tokens, "
            f"{int(sample.mask.sum())} in the loss, {padding} padding"
        )


def test_half_a_character_shows_as_bytes(tokenizer):
    ids = tokenizer.encode("龘")
    assert len(ids) > 1, "one token holds this character: choose a rarer one"
    pieces = show._token_texts(ids, {}, tokenizer)
    assert all(re.fullmatch("(⟨[0-9a-f]{2}⟩)+", piece) for piece in pieces)
    assert bytes.fromhex("".join(pieces).replace("⟨", "").replace("⟩", "")) == "龘".encode()


class Hostile:
    """A tokenizer from elsewhere: one of its special tokens is a command to the terminal."""

    special_tokens = {"<|\x1b[2J|>": 1}  # noqa: RUF012

    def token_bytes(self, id):
        return b"" if id == 1 else b"\x1b]0;title\x07\r\x9b"


def test_control_characters_do_not_reach_the_terminal(tokenizer, packed):
    (shown,) = (
        text.plain for text in lines(packed([ODD], 200).epoch_sample(0), tokenizer) if "padding" not in text.plain
    )
    assert "⟨1b⟩[2J⟨07⟩⟨e2⟩⟨80⟩⟨ae⟩" in shown and "⟨0d⟩" in shown and "⟨09⟩" in shown
    begins, ones = np.array([True, False, False]), np.ones(3, np.float32)
    hostile = PackedSample(np.array([1, 2, 1]), np.array([2, 1, 2]), ones, begins)
    for plain in (shown, lines(hostile, Hostile())[0].plain):
        assert all(character.isprintable() or character == "\n" for character in plain)
    assert "<|⟨1b⟩[2J|>" in plain


@pytest.mark.parametrize("mask", ["assistant", "qwen"])
def test_the_command_s_output(mask, write, conversations, tmp_path, monkeypatch, capsys):
    """Of the first step and nothing past it; square brackets in texts are text."""
    monkeypatch.setenv("QWEN_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("COLUMNS", "100")
    given = conversations(40)
    for turns in given:
        turns[-1]["content"] += " [red]x[/red]"
    recipe = SftRecipe.model_validate(
        {
            "name": "x",
            "model": {"num_layers": 1, "hidden_size": 8, "num_attention_heads": 1, "ffn_hidden_size": 8},
            "data": {"sources": [str(write(tmp_path / "a.jsonl", given))], "seq_length": 160, "mask": mask},
            "training": {"steps": 9, "global_batch_size": 3},
            "optimizer": {"lr": 1e-2},
            "checkpoint": {"interval": 1},
            "evaluation": {"interval": 1},
        }
    )
    show.show_batch(recipe, "default", {}, 2)
    two = capsys.readouterr().out
    show.show_batch(recipe, "default", {}, 9)
    three = capsys.readouterr().out
    assert (two.count("in the loss,"), three.count("in the loss,")) == (2, 3)
    assert three.startswith(two.rstrip("\n"))
    assert "[red]x[/red]<|im_end|>" in three.replace("\n", "")  # not taken for a colour
