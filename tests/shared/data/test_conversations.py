"""Conversations: each form gives the same messages, and messages become the ids and the mask that they should."""

import gzip
import hashlib
import json

import numpy as np
import pytest
import tiktoken

from qwen_shared.data import Meter, TokenFile, prepare
from qwen_shared.data import conversations as forms
from qwen_shared.data.documents import Document
from qwen_shared.data.token_file import in_loss, token_ids
from qwen_shared.errors import UserError
from qwen_shared.recipe.sft_schema import SftData
from qwen_shared.tokenizer import load_tokenizer
from qwen_shared.tokenizer.qwen import SPLIT_PATTERN

PAIR = [("user", "What is 1 + 1?"), ("assistant", "2")]
SYSTEM = ("system", "Be brief.")


def messages(*turns):
    return [{"role": role, "content": content} for role, content in turns]


def lines(rows):
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def data(*paths, **settings):
    return SftData(sources=[p if isinstance(p, dict) else str(p) for p in paths], seq_length=64, **settings)


def read(path, **settings):
    """Messages and names of what a source holds."""
    recipe = data(path, **settings)
    return [(json.loads(d.text), d.name) for d in forms.conversation_reader(recipe, recipe.sources[0]).read(Meter())]


# ---- forms


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ({"messages": messages(SYSTEM, *PAIR)}, [SYSTEM, *PAIR]),
        ({"messages": messages(*PAIR), "system": "Be brief."}, [SYSTEM, *PAIR]),
        ({"messages": messages(SYSTEM, *PAIR), "system": "Another."}, [SYSTEM, *PAIR]),
        ({"messages": messages(*PAIR), "conversations": None, "id": 7}, PAIR),  # columns of other rows are null
        ({"messages": messages(("developer", "Be brief."), *PAIR, ("tool", "3"))}, [SYSTEM, *PAIR, ("tool", "3")]),
        (
            {"messages": [{"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}]},
            [("user", "ab")],
        ),
        (
            {"conversations": [{"from": "human", "value": "What is 1 + 1?"}, {"from": "gpt", "value": "2"}]},
            PAIR,
        ),
        (
            {"conversations": [{"from": "System", "value": "Be brief."}, {"from": "user", "value": "x"}]},
            [SYSTEM, ("user", "x")],
        ),
        (
            {"system": "Be brief.", "conversations": [{"from": "human", "value": "a"}, {"from": "gpt", "value": "b"}]},
            [SYSTEM, ("user", "a"), ("assistant", "b")],
        ),
        ({"conversations": messages(*PAIR)}, PAIR),  # one form under the other's key
        ({"messages": [{"from": "human", "value": "What is 1 + 1?"}, {"from": "gpt", "value": "2"}]}, PAIR),
        ({"instruction": "What is 1 + 1?", "output": "2"}, PAIR),
        ({"instruction": "What is 1 + 1?", "input": "", "output": "2", "history": [], "system": ""}, PAIR),
        ({"instruction": "Add.", "input": "1 and 1", "output": "2"}, [("user", "Add.\n1 and 1"), ("assistant", "2")]),
        (
            {"instruction": "c", "output": "d", "history": [["a", "b"]], "system": "Be brief."},
            [SYSTEM, ("user", "a"), ("assistant", "b"), ("user", "c"), ("assistant", "d")],
        ),
        ({"prompt": "What is 1 + 1?", "completion": "2"}, PAIR),
        ({"prompt": messages(SYSTEM, PAIR[0]), "completion": messages(PAIR[1])}, [SYSTEM, *PAIR]),
        ({"prompt": messages(PAIR[0]), "completion": "2", "system": "Be brief."}, [SYSTEM, *PAIR]),
        ({"prompt": "a\ud800b", "completion": "\ud83d\ude42"}, [("user", "a\ufffdb"), ("assistant", "🙂")]),
    ],
)
def test_every_form(row, expected, tmp_path):
    (tmp_path / "a.jsonl").write_text(json.dumps(row) + "\n")
    assert read(tmp_path / "a.jsonl") == [(messages(*expected), f"{tmp_path / 'a.jsonl'} line 1")]


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ({}, "no conversation: expected the key messages, .* there are: none"),
        ({"text": "x", "id": 1}, "expected the key messages, .* there are: text, id"),
        ({"a\nb": 1}, r"there are: 'a\\nb'"),
        ({f"k{i}": i for i in range(50)}, "there are: k0, k1, k2, k3, k4, k5, k6, k7, …"),
        ({"messages": []}, "'messages' must be a list of turns, {role, content}"),
        ({"messages": "hi"}, "'messages' must be a list of turns"),
        ({"messages": {"role": "user", "content": "a"}}, "'messages' must be a list of turns"),
        ({"messages": ["hi"]}, "messages.0 must have the keys 'role' and 'content'"),
        ({"messages": [{"role": "user"}]}, "messages.0 must have the keys 'role' and 'content'"),
        ({"messages": [*messages(*PAIR), {"content": "x"}]}, "messages.2 must have the keys 'role' and 'content'"),
        ({"messages": messages(("usr", "a"))}, "messages.0 has the role 'usr'; known are system, "),
        ({"messages": messages((3, "a"))}, "messages.0 has the role 3; known are"),
        ({"messages": messages(("x" * 10_000, "a"))}, r"messages.0 has the role 'x{36}\.\.\.; known are"),
        ({"messages": messages(("us\ner", "a"))}, r"messages.0 has the role 'us\\ner'; known are"),
        ({"messages": messages(("user", None))}, "messages.0 is null, expected a text"),
        ({"messages": messages(("user", 7))}, "messages.0 is int, expected a text"),
        ({"messages": messages(("user", ["a"]))}, "messages.0 is list, expected a text"),
        (
            {"messages": messages(("user", [{"type": "image_url", "image_url": {}}]))},
            "messages.0 is list, expected a text",
        ),
        ({"messages": messages(("user", [{"type": "text"}]))}, "messages.0 is null, expected a text"),
        ({"messages": messages(*PAIR), "system": 5}, "system is int, expected a text"),
        ({"conversations": []}, "'conversations' must be a list of turns, {from, value}"),
        ({"conversations": [{"from": "human"}]}, "conversations.0 must have the keys 'from' and 'value'"),
        ({"conversations": [{"from": "alien", "value": "a"}]}, "conversations.0 has the role 'alien'; known are"),
        ({"instruction": "a"}, "no key 'output'; there are: instruction"),
        ({"instruction": "a", "output": None}, "no key 'output'; there are: instruction, output"),
        ({"instruction": ["a"], "output": "b"}, "instruction is list, expected a text"),
        ({"instruction": "a", "input": 5, "output": "b"}, "input is int, expected a text"),
        ({"instruction": "a", "output": "b", "history": 5}, "'history' must be a list of pairs of texts"),
        ({"instruction": "a", "output": "b", "history": [["x"]]}, "history.0 must be a pair of texts"),
        ({"instruction": "a", "output": "b", "history": [["x", 1]]}, "history.0 is int, expected a text"),
        ({"prompt": "a"}, "no key 'completion'; there are: prompt"),
        ({"prompt": 5, "completion": "b"}, "'prompt' must be a list of turns"),
        ({"prompt": "a", "completion": []}, "'completion' must be a list of turns"),
    ],
)
def test_a_bad_row_is_one_line_with_file_and_line(row, says, tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text(lines([{"messages": messages(*PAIR)}]) + "\n" + lines([row]))
    with pytest.raises(UserError, match=f"line 3: .*{says}") as caught:
        read(path)
    assert str(caught.value).startswith(f"{path} line 3: ")
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 400


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("a.jsonl", b'{"messages": [\n', "line 1: not valid JSON"),
        ("a.jsonl", b"[1]\n", "line 1: expected an object, found list"),
        ("a.jsonl", b'{"messages": "\xff"}\n', r"line 1: not UTF-8 \(byte 0xff"),
        ("a.jsonl", b"\n \n", "no conversation in it"),
        ("a.json", b'{"messages": []}', "expected a list of objects, found dict; one object a line is .jsonl"),
        ("a.json", b'[{"prompt": "a", "completion": "b"}, 5]', "item 2: expected an object, found int"),
        ("a.json", b"[{}", "a.json: not valid JSON"),
        ("a.json", b"[{}]", "item 1: no conversation"),
        ("a.jsonl.gz", gzip.compress(b'{"prompt": "a"}', mtime=0)[:-9], "gzip data damaged or cut off"),
        ("a.parquet", b"PAR1", "not a readable Parquet file"),
    ],
)
def test_a_broken_file_is_one_line(name, content, says, tmp_path):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(UserError, match=says) as caught:
        read(path)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


# ---- files


ROWS = [{"messages": messages(*PAIR)}, {"messages": messages(SYSTEM, ("user", "你好 🙂"), ("assistant", "x\n" * 50))}]


def write_every_format(folder):
    """The same rows as .jsonl, .jsonl.gz, .json and .parquet, and as datasets that `datasets` saved."""
    import datasets
    import pyarrow as pa
    import pyarrow.parquet as pq

    (folder / "a.jsonl").write_text(lines(ROWS))
    (folder / "a.jsonl.gz").write_bytes(gzip.compress(lines(ROWS).encode()))
    (folder / "a.json").write_text(json.dumps(ROWS, indent=1))
    pq.write_table(pa.Table.from_pylist(ROWS), folder / "a.parquet")
    saved = datasets.Dataset.from_list(ROWS)
    saved.save_to_disk(folder / "dataset")
    datasets.DatasetDict({"train": saved.select([1]), "test": saved}).save_to_disk(folder / "dict")


def test_every_format_gives_the_same_conversations(tmp_path):
    write_every_format(tmp_path)
    expected = [row["messages"] for row in ROWS]
    for name in ("a.jsonl", "a.jsonl.gz", "a.json", "a.parquet"):
        assert [found for found, _ in read(tmp_path / name)] == expected, name
    assert [found for found, _ in read(f"hf:{tmp_path}/dataset")] == expected
    assert [found for found, _ in read({"path": f"hf:{tmp_path}/dict", "split": "test"})] == expected
    assert [found for found, _ in read(f"hf:{tmp_path}/dict")] == expected[1:]
    with pytest.raises(UserError, match=r"dict \(config=None, split=dev\): KeyError") as caught:
        read({"path": f"hf:{tmp_path}/dict", "split": "dev"})
    assert "\n" not in str(caught.value)
    names = [name for _, name in read(f"hf:{tmp_path}/dataset")]
    assert names == [f"hf:{tmp_path}/dataset row 1", f"hf:{tmp_path}/dataset row 2"]


def test_a_directory_is_all_its_files_and_the_limit_counts_conversations(tmp_path):
    for name in "ba":
        (tmp_path / f"{name}.jsonl").write_text(lines({"prompt": f"{name}{i}", "completion": "x"} for i in range(3)))
    (tmp_path / "notes.txt").write_text("no conversation")
    asked = [found[0]["content"] for found, _ in read(tmp_path)]
    assert asked == ["a0", "a1", "a2", "b0", "b1", "b2"]
    assert [found[0]["content"] for found, _ in read(tmp_path, documents=4)] == asked[:4]


def test_held_out_conversations_are_nowhere_else(tmp_path):
    """The split goes by what is said, whatever the form, and copies of what is held out are dropped."""
    rows = [{"prompt": f"question {i}", "completion": f"answer {i}"} for i in range(100)]
    copies = [{"messages": messages(("user", f"question {i}"), ("assistant", f"answer {i}"))} for i in range(100)]
    (tmp_path / "a.jsonl").write_text(lines(rows + copies))
    (source,) = prepare(data(tmp_path / "a.jsonl", validation_fraction=0.2), "default", tmp_path / "cache")
    tokenizer = load_tokenizer("default")
    train, held_out = (
        [tokenizer.decode(token_ids(file[i]).tolist()) for i in range(len(file))]
        for file in (TokenFile(source.train), TokenFile(source.validation))
    )
    assert 8 < len(held_out) < 35 and len(held_out) == len(set(held_out))
    assert not set(train) & set(held_out)
    assert len(train) == 2 * (100 - len(held_out)) and source.meta["copies_dropped"] == len(held_out)


def test_conversations_made_by_a_package(tmp_path):
    class Made(SftData):
        builtin = ("made",)

    def made(identity):
        conversations = [(messages(*PAIR, ("user", str(i))), i % 3 == 0) for i in range(9)]
        return {"made": forms.generated_conversations("made", lambda: conversations, identity)}

    recipe = Made(sources=["made"], seq_length=64, documents=2)  # the limit is for files
    (source,) = prepare(recipe, "default", tmp_path, readers=made("first"))
    assert [source.meta[part]["documents"] for part in ("train", "validation")] == [6, 3]
    (again,) = prepare(recipe, "default", tmp_path, readers=made("second"))
    assert again.directory != source.directory


def test_what_decides_tokens_decides_the_cache(tmp_path):
    (tmp_path / "a.jsonl").write_text(lines(ROWS))

    def directory(**settings):
        recipe = data(tmp_path / "a.jsonl", validation_fraction=0, **settings)
        return prepare(recipe, "default", tmp_path / "cache")[0].directory

    first = directory()
    others = [directory(mask="qwen"), directory(system=""), directory(documents=1)]
    assert len({first, *others}) == 4
    assert directory(max_dropped_share=1.0) == first


def test_all_without_an_answer_is_not_said_to_be_held_out(tmp_path):
    """Nothing to train on is for `sft.checks` to say: it knows why."""
    (tmp_path / "a.jsonl").write_text(lines({"messages": messages(("user", f"{i}"))} for i in range(5)))
    (source,) = prepare(data(tmp_path / "a.jsonl", validation_fraction=0), "default", tmp_path / "cache")
    first = f"{tmp_path / 'a.jsonl'} line 1"
    assert (source.meta["train"]["documents"], source.meta["train"]["tokens"]) == (5, 0)
    assert source.meta["train"]["remarks"] == {forms.NOTHING_TO_LEARN: [5, first]}
    with pytest.raises(UserError, match="nothing is left to train on, all 5 documents are held out"):
        prepare(data(tmp_path / "a.jsonl", validation_fraction=1), "default", tmp_path / "cache")


# ---- ChatML


@pytest.fixture(scope="module")
def tokenizer():
    return load_tokenizer("default")


@pytest.fixture(scope="module")
def chatml(tokenizer):
    """chatml(messages) → ids and the text of each: rendered by tiktoken, which here knows the special tokens.

    As Qwen's own inference code does it: role, content and line ends are encoded apart, roles and contents with no
    special token allowed, and the default system prompt goes before all where there is none.
    """
    encoding = tiktoken.Encoding(
        "reference", pat_str=SPLIT_PATTERN, mergeable_ranks=tokenizer.ranks, special_tokens=tokenizer.special_tokens
    )

    def turn(role, content):
        safe = {"allowed_special": set(), "disallowed_special": ()}
        return [
            *encoding.encode("<|im_start|>", allowed_special="all"),
            *encoding.encode(role, **safe),
            *encoding.encode("\n", **safe),
            *encoding.encode(content, **safe),
            *encoding.encode("<|im_end|>", allowed_special="all"),
            *encoding.encode("\n", **safe),
        ]

    def render(conversation):
        turns = [(message["role"], message["content"]) for message in conversation]
        if turns[0][0] != "system":
            turns.insert(0, ("system", "You are a helpful assistant."))
        ids = [id for role, content in turns for id in turn(role, content)]
        text = "".join(f"<|im_start|>{role}\n{content}<|im_end|>\n" for role, content in turns)
        assert encoding.decode(ids) == text
        return ids

    return render


SPELLED = "What is <|im_start|>? And <|im_end|>\n<|im_start|>assistant\n<|endoftext|>"
CONVERSATIONS = {
    "one turn": [("user", "What is 7 + 8?"), ("assistant", "15")],
    "system": [("system", "用中文回答。"), ("user", "Hi"), ("assistant", "  你好 👍🏽\n")],
    "empty system": [("system", ""), ("user", "Hi"), ("assistant", "Ho")],
    "several turns": [("user", "2023?"), ("assistant", "\n\nfine"), ("user", ""), ("assistant", "def f():\n\n    1")],
    "special tokens spelled": [("user", SPELLED), ("assistant", f"It is text: {SPELLED}")],
}


def encoded(turns, tokenizer, mask="assistant", system=None):
    stored, remark = forms.ConversationEncoder(mask, system)(tokenizer, Document(json.dumps(messages(*turns)), "x"))
    stored = np.array(stored, np.int32)
    return token_ids(stored).tolist(), in_loss(stored).astype(int).tolist(), remark


@pytest.mark.parametrize("name", CONVERSATIONS)
def test_ids_are_tiktoken_s_own(name, tokenizer, chatml):
    """Up to the last token in the loss: the line end after the last answer is neither read nor said."""
    turns = CONVERSATIONS[name]
    expected = chatml(messages(*turns))
    assert tokenizer.render(messages(*turns))[0] == expected
    ids, _, _ = encoded(turns, tokenizer)
    assert [*ids, *tokenizer.encode("\n")] == expected
    assert encoded(turns, tokenizer, mask="qwen")[0] == expected


def test_the_recipe_s_system_is_for_those_without(tokenizer, chatml):
    for turns in CONVERSATIONS.values():
        for system in ("", "Count."):
            given = turns if turns[0][0] == "system" else [("system", system), *turns]
            assert encoded(turns, tokenizer, system=system)[0] == chatml(messages(*given))[:-1]


def test_spelled_special_tokens_stay_text(tokenizer):
    ids, mask, remark = encoded(CONVERSATIONS["special tokens spelled"], tokenizer)
    start, end = tokenizer.special_tokens["<|im_start|>"], tokenizer.special_tokens["<|im_end|>"]
    assert [id for id in ids if id >= tokenizer.eod_id] == [start, end] * 3
    assert remark == forms.SPELLED_SPECIALS
    answer = [id for id, inside in zip(ids, mask, strict=True) if inside]
    assert answer == [*tokenizer.encode(f"It is text: {SPELLED}"), end]


# Text, whether the `assistant` mask has it in the loss, and whether the `qwen` mask has (report, section 5: opening
# and closing tokens and the line end after a turn count in every turn; roles and the line end after them in none).
MASKED = [
    ("<|im_start|>", 0, 1), ("system", 0, 0), ("\n", 0, 0), ("the", 0, 0), ("<|im_end|>", 0, 1), ("\n", 0, 1),
    ("<|im_start|>", 0, 1), ("user", 0, 0), ("\n", 0, 0), ("1", 0, 0), ("2", 0, 0), ("<|im_end|>", 0, 1), ("\n", 0, 1),
    ("<|im_start|>", 0, 1), ("assistant", 0, 0), ("\n", 0, 0),
    ("3", 1, 1), ("4", 1, 1), ("\n", 1, 1), ("<|im_end|>", 1, 1), ("\n", 0, 1),
    ("<|im_start|>", 0, 1), ("user", 0, 0), ("\n", 0, 0), ("5", 0, 0), ("<|im_end|>", 0, 1), ("\n", 0, 1),
    ("<|im_start|>", 0, 1), ("assistant", 0, 0), ("\n", 0, 0), ("6", 1, 1), ("<|im_end|>", 1, 1), ("\n", 0, 1),
]  # fmt: skip
MASKED_TURNS = [("system", "the"), ("user", "12"), ("assistant", "34\n"), ("user", "5"), ("assistant", "6")]


@pytest.mark.parametrize("mask", ["assistant", "qwen"])
def test_masks_token_by_token(mask, tokenizer):
    ids, inside, remark = encoded(MASKED_TURNS, tokenizer, mask)
    names = {id: name for name, id in tokenizer.special_tokens.items()}
    texts = [names.get(id) or tokenizer.token_bytes(id).decode() for id in ids]
    table = MASKED if mask == "qwen" else MASKED[:-1]  # stored up to the last that counts
    assert list(zip(texts, inside, strict=True)) == [(text, row[mask == "qwen"]) for text, *row in table]
    assert remark is None


def test_the_same_with_a_tokenizer_from_hugging_face(tokenizer, tmp_path):
    """Of which only the Hugging Face form is there, and whose own template renders."""
    tokenizer.save_hf(tmp_path)
    (tmp_path / "qwen.tiktoken").unlink()
    theirs = load_tokenizer(str(tmp_path))
    assert type(theirs) is not type(tokenizer)
    for mask in ("assistant", "qwen"):
        for name in ("one turn", "system", "empty system", "special tokens spelled"):
            assert encoded(CONVERSATIONS[name], theirs, mask) == encoded(CONVERSATIONS[name], tokenizer, mask), name
        assert encoded(MASKED_TURNS, theirs, mask) == encoded(MASKED_TURNS, tokenizer, mask)


LLAMA_STYLE = (
    "{% for message in messages %}{{ '<|start|>' + message['role'] + '<|header|>' + message['content'] + '<|eot|>' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|start|>assistant<|header|>' }}{% endif %}"
)


@pytest.fixture
def without_chatml(tokenizer, tmp_path):
    """without_chatml(template): a Hugging Face tokenizer with the special tokens <|start|>, <|header|> and <|eot|>."""

    def make(template):
        tokenizer.save_hf(tmp_path)
        (tmp_path / "qwen.tiktoken").unlink()
        for path in tmp_path.glob("*"):
            text = path.read_text()
            for ours, theirs in (("im_start", "start"), ("im_end", "eot"), ("extra_0", "header")):
                text = text.replace(f"<|{ours}|>", f"<|{theirs}|>")
            path.write_text(text)
        (tmp_path / "chat_template.jinja").write_text(template)
        return load_tokenizer(str(tmp_path))

    return make


def test_qwen_s_mask_is_for_chatml(without_chatml):
    other = without_chatml(LLAMA_STYLE)
    with pytest.raises(UserError, match=r"data.mask=qwen is for ChatML, .* has no <\|im_start\|>"):
        encoded(MASKED_TURNS, other, "qwen")
    ids, mask, remark = encoded(MASKED_TURNS, other)
    assert remark is None and ids[-1] == other.special_tokens["<|eot|>"] and mask[-1]


# ---- remarks


@pytest.mark.parametrize(
    ("turns", "remark"),
    [
        ([("user", "a"), ("assistant", "b")], None),
        ([("user", "a"), ("assistant", "b"), ("user", "c")], None),
        ([("user", "a")], forms.NOTHING_TO_LEARN),
        ([("system", "a")], forms.NOTHING_TO_LEARN),
        ([("user", "a"), ("assistant", " \n")], forms.NOTHING_TO_LEARN),
        ([("user", "<|im_end|>"), ("assistant", "b")], forms.SPELLED_SPECIALS),
        ([("user", "a"), ("assistant", "b<|endoftext|>")], forms.SPELLED_SPECIALS),
    ],
)
def test_remarks(turns, remark, tokenizer):
    ids, _, found = encoded(turns, tokenizer)
    assert found == remark
    assert bool(ids) == (remark != forms.NOTHING_TO_LEARN)


def test_what_follows_the_last_answer_is_not_kept(tokenizer):
    asked = [("user", "a"), ("assistant", "b"), ("user", "and c?")]
    assert encoded(asked, tokenizer) == encoded(asked[:2], tokenizer)


@pytest.mark.parametrize(
    ("template", "remark"),
    [
        (LLAMA_STYLE.replace("+ '<|eot|>' ", ""), forms.NO_END),
        (LLAMA_STYLE.replace("+ '<|eot|>' ", "+ ('<|eot|>' if loop.last else '') "), forms.NO_END),
        (LLAMA_STYLE.replace("'<|eot|>'", "'<|eot|><|eot|>'"), forms.DOUBLE_SPECIALS),
    ],
)
def test_remarks_about_templates(template, remark, without_chatml):
    assert encoded(MASKED_TURNS, without_chatml(template))[2] == remark


def test_a_template_that_refuses_says_which_conversation(without_chatml, tmp_path):
    refusal = "{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system here') }}{% endif %}"
    tokenizer = without_chatml(refusal + LLAMA_STYLE)
    document = Document(json.dumps(messages(SYSTEM, *PAIR)), "x line 3")
    with pytest.raises(UserError, match=r"x line 3: .*no system here"):
        forms.ConversationEncoder("assistant", None)(tokenizer, document)


def test_remarks_are_counted_over_workers_and_name_the_first(tmp_path):
    """The files and the remarks do not depend on who tokenises what."""
    rows = [{"prompt": f"question {i} " * 40, "completion": "" if i % 400 == 7 else "fine"} for i in range(2500)]
    (tmp_path / "a.jsonl").write_text(lines(rows))
    metas = [
        prepare(data(tmp_path / "a.jsonl"), "default", tmp_path / f"{workers}", workers=workers)[0].meta
        for workers in (1, 2)
    ]
    assert metas[0] == metas[1]
    count, first = metas[0]["train"]["remarks"][forms.NOTHING_TO_LEARN]
    assert count in (6, 7) and first.endswith("line 8")
    for part in ("train", "validation"):
        content = (tmp_path / "1").glob(f"*/{part}.bin")
        assert hashlib.sha256(next(content).read_bytes()).hexdigest() == metas[1][part]["sha256"]
