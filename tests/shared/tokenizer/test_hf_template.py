import random

import pytest

from qwen_shared.errors import UserError
from qwen_shared.tokenizer import load_tokenizer
from qwen_shared.tokenizer.hf_template import TODAY

from .hard_strings import HARD_STRINGS, random_strings
from .hf_directories import CHATML, KINDS, make

CONVERSATION = [
    {"role": "system", "content": "Answer in Chinese."},
    {"role": "user", "content": "What is 12 x 12?\n\n    Think."},
    {"role": "assistant", "content": "  一百四十四。\n"},
    {"role": "user", "content": " And 13 x 13?"},
    {"role": "assistant", "content": "👍🏽 169"},
]
PLAIN = [name for name in KINDS if name not in ("qwen-3",)]  # of which every prompt is a prefix


@pytest.fixture(scope="module")
def directories(tmp_path_factory):
    root = tmp_path_factory.mktemp("hf")
    return {name: make(kind, root / name.replace(" ", "_")) for name, kind in KINDS.items()}


@pytest.fixture(scope="module")
def tokenizers(directories):
    return {name: load_tokenizer(str(directory)) for name, directory in directories.items()}


@pytest.fixture(scope="module")
def autos(directories, tokenizers, tmp_path_factory):
    """As saved: so those without a template have one."""
    from transformers import AutoTokenizer

    root = tmp_path_factory.mktemp("saved")
    for name, tokenizer in tokenizers.items():
        tokenizer.save_hf(root / name)
    return {name: AutoTokenizer.from_pretrained(root / name) for name in tokenizers}


@pytest.fixture
def same_day(monkeypatch):
    """transformers tells templates our day, too."""
    from transformers.utils import chat_template_utils

    class Clock(chat_template_utils.datetime):
        @classmethod
        def now(cls):
            return TODAY

    chat_template_utils._compile_jinja_template.cache_clear()
    monkeypatch.setattr(chat_template_utils, "datetime", Clock)


def turns(name: str, *contents: str) -> list[dict]:
    """A conversation that the template of ``name`` takes."""
    system = [] if name == "mistral" else [{"role": "system", "content": contents[0]}]
    return system + [{"role": ("user", "assistant")[i % 2], "content": text} for i, text in enumerate(contents[1:])]


def spelled(tokenizer, ids: list[int]) -> str:
    """Text in which special tokens are shown."""
    names = {id: name for name, id in tokenizer.special_tokens.items()}
    return "".join(names.get(id) or tokenizer.token_bytes(id).decode("utf-8", "backslashreplace") for id in ids)


def trained(tokenizer, ids: list[int], mask: list[int]) -> str:
    assert len(ids) == len(mask)
    return spelled(tokenizer, [id for id, kept in zip(ids, mask, strict=True) if kept])


def with_template(directories, tmp_path, template: str, name: str = "chatml"):
    kind = KINDS[name]
    return load_tokenizer(str(make(type(kind)(**{**vars(kind), "template": template}), tmp_path / "own")))


@pytest.mark.parametrize("name", KINDS)
def test_ids_of_apply_chat_template(tokenizers, autos, name, same_day):
    tokenizer, hf = tokenizers[name], autos[name]
    conversations = [CONVERSATION[1:], CONVERSATION[1:3], CONVERSATION[1:2]]
    if name != "mistral":
        conversations += [CONVERSATION, CONVERSATION[:2]]
    for messages in conversations:
        for prompt in (False, True):
            theirs = hf.apply_chat_template(messages, add_generation_prompt=prompt, return_dict=False)
            assert tokenizer.render(messages, prompt)[0] == theirs


@pytest.mark.parametrize("name", KINDS)
def test_ids_of_apply_chat_template_for_hard_contents(tokenizers, autos, name, same_day):
    tokenizer, hf = tokenizers[name], autos[name]
    texts = [text for text in HARD_STRINGS.values() if len(text) < 1000 and "<|" not in text]
    texts += [text for text in random_strings(200, seed=7) if "<|" not in text]
    for i, text in enumerate(texts):
        # An answer that begins with white space may be cut at the prompt's end; theirs is not.
        messages = turns(name, text, texts[i - 1], "x" + text, text, "y" + texts[i - 2])
        theirs = hf.apply_chat_template(messages, return_dict=False)
        assert tokenizer.render(messages)[0] == theirs, messages


@pytest.mark.parametrize("name", KINDS)
def test_no_content_spells_a_special_token(tokenizers, name):
    tokenizer = tokenizers[name]
    specials = set(tokenizer.special_tokens.values())
    harmless = tokenizer.render(turns(name, "a", "b", "c", "d", "e"))[0]
    chosen = random.Random(0)
    parts = [*tokenizer.special_tokens, "a", " ", "<|", "|>", "<think>", "</think>", "im_end|>", "</s", "INST]"]
    for i in range(300):
        poison = ["".join(chosen.choices(parts, k=chosen.randrange(1, 6))) + "x" for _ in range(5)]
        if i < len(tokenizer.special_tokens):
            poison = [list(tokenizer.special_tokens)[i]] * 5
        ids, mask = tokenizer.render(turns(name, *poison))
        assert [id for id in ids if id in specials] == [id for id in harmless if id in specials], poison
        assert len(ids) == len(mask)
        if name not in ("qwen-3", "llama-3", "llama-2", "phi-3"):  # which drop thoughts and trim
            text = spelled(tokenizer, ids)
            assert all(said in text for said in poison[1:])


@pytest.mark.parametrize("name", PLAIN)
@pytest.mark.parametrize(
    "answer", ["  \n\n def f():", "\nfine", "plain", " plain", "", "\n", "]x", "é\u0301", "<|im_end|>"]
)
def test_a_prompt_is_a_prefix_of_the_whole(tokenizers, name, answer):
    tokenizer = tokenizers[name]
    whole, mask = tokenizer.render(turns(name, "told", answer or "q", answer, "q" + answer, answer))
    for asked in (2, 4):
        prompt, none = tokenizer.render(
            turns(name, "told", answer or "q", answer, "q" + answer)[: asked - (name == "mistral")], True
        )
        assert whole[: len(prompt)] == prompt
        assert not any(none[-4:])
        if len(whole) > len(prompt) + 2:
            assert mask[len(prompt)] == 1


@pytest.mark.parametrize("name", PLAIN)
def test_prompts_are_prefixes_for_any_text(tokenizers, name):
    texts = random_strings(120, seed=9)
    for i in range(0, len(texts) - 4, 4):
        messages = turns(name, *texts[i : i + 5])
        whole, mask = tokenizers[name].render(messages)
        for end in (len(messages) - 1, len(messages) - 3):
            prompt, _ = tokenizers[name].render(messages[:end], add_generation_prompt=True)
            assert whole[: len(prompt)] == prompt, texts[i : i + 5]
            assert not mask[len(prompt) - 1]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("chatml", "Ho, ho<|im_end|>Yes.\n<|im_end|>"),
        ("llama-3", "Ho, ho<|eot_id|>Yes.<|eot_id|>"),
        ("llama-2", " Ho, ho </s> Yes. </s>"),
        ("mistral", " Ho, ho</s> Yes.\n</s>"),
        ("phi-3", "Ho, ho<|end|>Yes.\n<|end|>"),
        ("qwen-3", "Ho, ho<|im_end|><think>\n\n</think>\n\nYes.\n<|im_end|>"),
        ("no template", "Ho, ho<|im_end|>Yes.\n<|im_end|>"),
        ("no template, pieces", "Ho, ho<|im_end|>Yes.\n<|im_end|>"),
    ],
)
def test_mask(tokenizers, name, expected):
    tokenizer = tokenizers[name]
    found = trained(tokenizer, *tokenizer.render(turns(name, "told", "Hi", "Ho, ho", "Sure?", "Yes.\n")))
    # Pieces may have a space before the first word behind a special token.
    assert found.replace(" ", "") == expected.replace(" ", "") if KINDS[name].pieces else found == expected
    assert not any(tokenizer.render(turns(name, "told", "Hi"), add_generation_prompt=True)[1])


def test_a_text_in_which_only_contents_are_trained(tokenizers):
    ids, mask = tokenizers["chatml"].render(
        [{"role": "assistant", "content": "first"}, {"role": "user", "content": "b"}]
    )
    assert trained(tokenizers["chatml"], ids, mask) == "first<|im_end|>"


def test_thoughts(tokenizers, autos):
    tokenizer, hf = tokenizers["qwen-3"], autos["qwen-3"]
    thought = "<think>\nHm <|im_end|>.\n</think>\n\nYes <|im_start|>"
    messages = [*turns("", "told", "a", thought, "b", thought)]
    ids, mask = tokenizer.render(messages)
    assert trained(tokenizer, ids, mask) == f"Yes <|im_start|><|im_end|>{thought}<|im_end|>"
    specials = [id for id in ids if id in tokenizer.special_tokens.values()]
    assert specials == [tokenizer.special_tokens[token] for token in ("<|im_start|>", "<|im_end|>")] * 5
    for said in (
        "<think>\nHm.\n</think>\n\nYes",
        "<think>\n\n</think>\n\nYes",
        "</think>",
        "x</think>",
        "\n<think> a",
        "",
    ):
        messages = turns("", "told", "a", said, "<tool_response> b", said)
        assert tokenizer.render(messages)[0] == hf.apply_chat_template(messages, return_dict=False)
    # The prompt is what generation reads.
    prompt, _ = tokenizer.render(messages[:-1], add_generation_prompt=True)
    assert tokenizer.render(messages)[0][: len(prompt)] == prompt


def test_what_tools_return(tokenizers, autos, same_day):
    for name in ("llama-3", "chatml"):
        tokenizer = tokenizers[name]
        messages = [CONVERSATION[1], {"role": "ipython", "content": 'He said "é",\n\tand left. '}, CONVERSATION[2]]
        theirs = autos[name].apply_chat_template(messages, return_dict=False)
        assert tokenizer.render(messages)[0] == theirs
        messages[1]["content"] += "".join(tokenizer.special_tokens)
        specials = set(tokenizer.special_tokens.values())
        found = [id for id in tokenizer.render(messages)[0] if id in specials]
        assert found == [id for id in theirs if id in specials]


def test_role_and_other_keys_bring_nothing_in(tokenizers):
    tokenizer = tokenizers["qwen-3"]
    messages = [
        {"role": "user", "content": "a"},
        {"role": "assistant", "content": "b", "reasoning_content": "<|im_end|>"},
    ]
    assert tokenizer.render(messages) == tokenizer.render([{k: m[k] for k in ("role", "content")} for m in messages])
    for role in ("<|im_end|>", "endoftext", "someone"):
        with pytest.raises(UserError, match=r"message 1 .* role must be one of system, .*, got '.*'"):
            tokenizer.render([messages[0], {"role": role, "content": "b"}])


@pytest.mark.parametrize(
    ("messages", "told"),
    [
        ([], "at least one message"),
        ([{"role": "user"}], "message 0 .* 'role' and 'content'"),
        ([*CONVERSATION, {"role": "assistant", "content": None}], "message 5 .*: content must be a string"),
        ([{"role": "user\nx", "content": "x"}], "role must be"),
    ],
)
def test_broken_conversations(tokenizers, messages, told):
    with pytest.raises(UserError, match=told):
        tokenizers["chatml"].render(messages)


def test_a_template_refuses(tokenizers):
    with pytest.raises(UserError, match=r"the chat template of llama-2: Roles must take turns") as error:
        tokenizers["llama-2"].render([CONVERSATION[1], CONVERSATION[1]])
    assert "\n" not in str(error.value)
    with pytest.raises(UserError, match="no turns of system here"):
        tokenizers["mistral"].render(CONVERSATION)


@pytest.mark.parametrize(
    ("expression", "fits"),
    [
        ("message.content", True),
        ("message.content | trim", True),
        ("message.content.rstrip()", True),
        ("message.content.strip('\n')", True),
        ("message.content.split('###')[-1]", True),
        ("message.content | replace('<b>', '')", True),
        ("(message.content if message.content else 'nothing')", True),
        ("message.content ~ message.content", True),
        ("message.content | upper", False),
        ("message.content[:3]", False),
        ("message.content | length | string", False),
        ("message.content | tojson", False),
        ("message.content | replace('e', '<|im_end|>')", False),
    ],
)
def test_what_templates_may_do_with_contents(directories, tmp_path, expression, fits):
    escaped = expression.replace("\n", "\\n")
    tokenizer = with_template(directories, tmp_path, CHATML.replace("message['content']", f"({escaped})"))
    specials = set(tokenizer.special_tokens.values())
    for said in ('one ### <b> "two" <|im_end|>\n', " \n", "###", ""):
        messages = [{"role": "user", "content": said}, {"role": "assistant", "content": "Here " + said}]
        if fits:
            ids, _ = tokenizer.render(messages)
            assert len([id for id in ids if id in specials]) == 4
        elif '"' in said:
            with pytest.raises(UserError, match="rewrites what messages say"):
                tokenizer.render([messages[1]])


@pytest.mark.parametrize(
    ("template", "told"),
    [
        ("{% for message in messages %}\n{{ message.content }", "the chat template of own, line"),
        ("{{ messages[0].content.nothing.more }}", "the chat template of own: .* has no attribute"),
        ("{{ ''.__class__.__mro__ }}", "the chat template of own: .*unsafe"),
        ("{% set ns = namespace() %}{% set ns.__init__ = 1 %}", "private name '__init__'"),
        ("{% for i in range(10 ** 9) %}{% endfor %}", "[Rr]ange too big"),
        ("{% for i in range(90000) %}{{ 'x' * 10000 }}{% endfor %}", "wrote more than 50,000,000 characters"),
        ("{{ messages.append(1) }}", "the chat template of own: .*unsafe"),
        ("{% include 'tokenizer.json' %}", "the chat template of own: "),
    ],
)
def test_templates_that_fail(directories, tmp_path, template, told):
    tokenizer = with_template(directories, tmp_path, template)
    assert tokenizer.stop_ids  # what needs no template works
    with pytest.raises(UserError, match=told) as error:
        tokenizer.render(CONVERSATION[1:2])
    assert "\n" not in str(error.value)


def test_loops_tojson_and_generation_tags(directories, tmp_path):
    template = (
        "{% for m in messages %}{% if m.role == 'tool' %}{% continue %}{% endif %}"
        "{% generation %}<|im_start|>{{ {'role': m.role} | tojson }}{{ m.content }}<|im_end|>{% endgeneration %}"
        "{% endfor %}{{ strftime_now('%Y-%m-%d') }}"
    )
    tokenizer = with_template(directories, tmp_path, template)
    ids, mask = tokenizer.render([{"role": "tool", "content": "x"}, {"role": "assistant", "content": "yes"}])
    assert spelled(tokenizer, ids) == '<|im_start|>{"role": "assistant"}yes<|im_end|>2024-07-26'
    assert trained(tokenizer, ids, mask) == "yes<|im_end|>"
