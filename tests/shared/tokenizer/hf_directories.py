"""Hugging Face directories of the kinds one meets, made small: byte-level BPE and `▁` pieces, each with a template."""

import argparse
import json
from dataclasses import dataclass, field
from pathlib import Path

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

from .hard_strings import HARD_STRINGS

CHATML = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'"
    " }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
# Headers between special tokens, contents trimmed, a system turn with a date.
LLAMA_3 = """{{- bos_token }}
{%- if strftime_now is defined %}{%- set today = strftime_now("%d %b %Y") %}{%- endif %}
{%- if messages[0]['role'] == 'system' %}
    {%- set told = messages[0]['content'] | trim %}
    {%- set messages = messages[1:] %}
{%- else %}
    {%- set told = "" %}
{%- endif %}
{{- "<|start_header_id|>system<|end_header_id|>\n\nToday Date: " + today + "\n\n" + told + "<|eot_id|>" }}
{%- for message in messages %}
    {%- if not (message.role == 'ipython' or 'tool_calls' in message) %}
        {{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\n\n' }}
        {{- message['content'] | trim + '<|eot_id|>' }}
    {%- else %}
        {{- '<|start_header_id|>ipython<|end_header_id|>\n\n' + message.content | tojson + '<|eot_id|>' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{%- endif %}
"""
# Text marks instead of special tokens; the system's words go into the first user turn.
LLAMA_2 = (
    "{% if messages[0]['role'] == 'system' %}{% set loop_messages = messages[1:] %}"
    "{% set system_message = messages[0]['content'] %}{% else %}{% set loop_messages = messages %}"
    "{% set system_message = false %}{% endif %}{% for message in loop_messages %}"
    "{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('Roles must take turns: user, assistant, user, …') }}{% endif %}"
    "{% if loop.index0 == 0 and system_message != false %}"
    "{% set content = '<<SYS>>\\n' + system_message + '\\n<</SYS>>\\n\\n' + message['content'] %}"
    "{% else %}{% set content = message['content'] %}{% endif %}"
    "{% if message['role'] == 'user' %}{{ bos_token + '[INST] ' + content.strip() + ' [/INST]' }}"
    "{% elif message['role'] == 'assistant' %}{{ ' '  + content.strip() + ' ' + eos_token }}{% endif %}{% endfor %}"
)
# Marks that are special tokens, spaces around contents left to the pieces.
MISTRAL = (
    "{{ bos_token }}{% for message in messages %}{% if message['role'] == 'user' %}"
    "{{ '[INST] ' + message['content'] + '[/INST]' }}{% elif message['role'] == 'assistant' %}"
    "{% generation %}{{ ' ' + message['content'] + eos_token }}{% endgeneration %}"
    "{% else %}{{ raise_exception('no turns of ' ~ message['role'] ~ ' here') }}{% endif %}{% endfor %}"
)
# Special tokens that take the white space behind them along.
PHI_3 = (
    "{% for message in messages %}{{ '<|' + message['role'] + '|>\n' + message['content'] + '<|end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% else %}{{ eos_token }}{% endif %}"
)
# Thoughts are cut out of an answer; before the last question they are dropped, behind it they are shown even if empty.
QWEN_3 = """{%- set ns = namespace(question=-1) %}
{%- for message in messages %}
    {%- if message.role == 'user' and not (message.content.startswith('<tool_response>')) %}
        {%- set ns.question = loop.index0 %}
    {%- endif %}
{%- endfor %}
{%- for message in messages %}
    {%- if message.content is string %}{%- set said = message.content %}{%- else %}{%- set said = '' %}{%- endif %}
    {%- if message.role == 'assistant' %}
        {%- set thought = '' %}
        {%- if message.reasoning_content is string %}
            {%- set thought = message.reasoning_content %}
        {%- elif '</think>' in said %}
            {%- set thought = said.split('</think>')[0].rstrip('\\n').split('<think>')[-1].lstrip('\\n') %}
            {%- set said = said.split('</think>')[-1].lstrip('\\n') %}
        {%- endif %}
        {%- if loop.index0 > ns.question and (loop.last or thought) %}
            {{- '<|im_start|>assistant\\n<think>\\n' + thought.strip('\\n') }}
            {{- '\\n</think>\\n\\n' + said.lstrip('\\n') }}
        {%- else %}
            {{- '<|im_start|>assistant\\n' + said }}
        {%- endif %}
        {{- '<|im_end|>\\n' }}
    {%- else %}
        {{- '<|im_start|>' + message.role + '\\n' + said + '<|im_end|>' + '\\n' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
    {%- if enable_thinking is defined and enable_thinking is false %}{{- '<think>\\n\\n</think>\\n\\n' }}{%- endif %}
{%- endif %}
"""


@dataclass
class Kind:
    pieces: bool
    """Pieces with `▁`, else byte-level."""
    specials: list[str]
    named: dict[str, str]
    """bos_token, eos_token and the like."""
    template: str | None
    others: list[str] = field(default_factory=list)
    """Added tokens that are not special."""
    eod: str = ""
    end_of_turn: str = ""


_IM = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
_HEADERS = ["<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"]
_S = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
KINDS = {
    "chatml": Kind(False, _IM, {"eos_token": "<|im_end|>"}, CHATML, ["<think>"], "<|endoftext|>", "<|im_end|>"),
    "llama-3": Kind(
        False,
        _HEADERS,
        {"bos_token": "<|begin_of_text|>", "eos_token": "<|end_of_text|>"},
        LLAMA_3,
        [],
        "<|end_of_text|>",
        "<|eot_id|>",
    ),
    "llama-2": Kind(True, [], _S, LLAMA_2, [], "</s>", "</s>"),
    "mistral": Kind(True, ["[INST]", "[/INST]"], _S, MISTRAL, [], "</s>", "</s>"),
    "phi-3": Kind(
        True,
        ["<|endoftext|>", "<|user|>", "<|assistant|>", "<|system|>", "<|end|>"],
        {"bos_token": "<s>", "eos_token": "<|endoftext|>", "unk_token": "<unk>", "pad_token": "<|endoftext|>"},
        PHI_3,
        [],
        "<|endoftext|>",
        "<|end|>",
    ),
    "qwen-3": Kind(
        False,
        _IM,
        {"eos_token": "<|im_end|>", "pad_token": "<|endoftext|>"},
        QWEN_3,
        ["<think>", "</think>", "<tool_response>", "</tool_response>"],
        "<|endoftext|>",
        "<|im_end|>",
    ),
    "no template": Kind(
        False, ["<|endoftext|>"], {"eos_token": "<|endoftext|>"}, None, [], "<|endoftext|>", "<|im_end|>"
    ),
    "no template, pieces": Kind(True, [], _S, None, [], "</s>", "<|im_end|>"),
}


def make(kind: Kind, directory: Path) -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    fast = _pieces(kind) if kind.pieces else _bytes(kind)
    fast.save(str(directory / "tokenizer.json"))
    config = {"tokenizer_class": "PreTrainedTokenizerFast", "clean_up_tokenization_spaces": False, **kind.named}
    if kind.template and "{%-" in kind.template:
        (directory / "chat_template.jinja").write_text(kind.template, encoding="utf-8")
    elif kind.template:
        config["chat_template"] = kind.template
    write(directory / "tokenizer_config.json", config)
    return directory


def write(path: Path, value: object) -> None:
    path.write_text(json.dumps(value, ensure_ascii=False), encoding="utf-8")


def corpus() -> list[str]:
    texts = [text for text in HARD_STRINGS.values() if len(text) < 1000]
    return [*Path(argparse.__file__).read_text(encoding="utf-8").split("\n\n"), *texts]


def _bytes(kind: Kind) -> Tokenizer:
    fast = Tokenizer(models.BPE())
    fast.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    if kind.template == LLAMA_3:
        pattern = (
            r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
            r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
        )
        split = pre_tokenizers.Split(Regex(pattern), behavior="isolated")
        byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
        fast.pre_tokenizer = pre_tokenizers.Sequence([split, byte_level])
    if kind.template == QWEN_3:
        fast.normalizer = normalizers.NFC()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    fast.train_from_iterator(
        corpus(), trainers.BpeTrainer(vocab_size=700, initial_alphabet=alphabet, show_progress=False)
    )
    fast.decoder = decoders.ByteLevel()
    _add(fast, kind)
    bos = kind.named.get("bos_token")
    fast.post_processor = processors.ByteLevel(trim_offsets=True)
    if bos:
        begun = processors.TemplateProcessing(single=f"{bos} $A", special_tokens=[(bos, fast.token_to_id(bos))])
        fast.post_processor = processors.Sequence([fast.post_processor, begun])
    return fast


def _pieces(kind: Kind) -> Tokenizer:
    trained = Tokenizer(models.BPE())
    trained.pre_tokenizer = pre_tokenizers.Metaspace()
    ascii_only = [text for text in corpus() if text.isascii()]
    trained.train_from_iterator(ascii_only, trainers.BpeTrainer(vocab_size=500, show_progress=False))
    model = json.loads(trained.to_str())["model"]
    controls = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))]
    learned = [piece for piece in sorted(model["vocab"], key=model["vocab"].get) if piece.isprintable()]
    vocab = {piece: id for id, piece in enumerate([*controls, *learned])}
    merges = [tuple(merge) for merge in model["merges"] if "".join(merge) in vocab and set(merge) <= set(vocab)]
    fast = Tokenizer(models.BPE(vocab, merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    if kind.template == MISTRAL:
        fast.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first", split=False)
    else:
        fast.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    fast.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    fast.add_special_tokens([AddedToken(token, normalized=False, special=True) for token in controls[:3]])
    _add(fast, kind)
    fast.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    return fast


def _add(fast: Tokenizer, kind: Kind) -> None:
    takes_space = kind.template == PHI_3
    for token in kind.specials:
        fast.add_special_tokens([AddedToken(token, normalized=False, special=True, rstrip=takes_space)])
    fast.add_tokens([AddedToken(token, normalized=False, special=False) for token in kind.others])
