"""``Tokenizer`` over a Hugging Face directory with a `tokenizer.json`: for models from elsewhere."""

import hashlib
import json
import logging
import re
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from qwen_shared.errors import UserError
from qwen_shared.tokenizer import hf_files
from qwen_shared.tokenizer.chatml import CHAT_TEMPLATE, checked_turn
from qwen_shared.tokenizer.hf_export import byte_names, json_bytes, write_atomic
from qwen_shared.tokenizer.interface import Message

if TYPE_CHECKING:
    from tokenizers import Tokenizer as FastTokenizer

    from qwen_shared.tokenizer.hf_chat import ChatTemplate, Layout, Special

log = logging.getLogger(__name__)

# What stands between documents, where the directory has it as a special token; else its eos token does.
_END_OF_DOCUMENT = ("<|endoftext|>", "<|end_of_text|>", "</s>")
_END_OF_TURN = ("<|im_end|>", "<|eot_id|>", "<end_of_turn>")
_CHATML = ("<|im_start|>", "<|im_end|>")
_BYTE = re.compile("<0x([0-9A-F]{2})>")


class HfTokenizer:
    """``Tokenizer`` over the files of a Hugging Face directory; nothing of it is run as code, no pickle is read.

    `tokenizer.json` counts as it stands, which is what ``PreTrainedTokenizerFast`` makes of it; some model-specific
    classes of transformers build parts anew. Byte-level BPE (GPT-2, Llama 3, Qwen2 and later, SmolLM) and pieces with
    ``▁`` for a space (Llama 2, Mistral, Gemma) are known; UserError for others, and for files that are broken or miss
    what a `Tokenizer` needs.

    - Special are the added tokens that the directory flags so, those it names (``eos_token``, …), what ends its
      generation, and what looks like ``<|this|>``. Text spells none of them. Other added tokens (Qwen3's ``<think>``,
      runs of spaces) are ordinary vocabulary, as their authors declare: text has them, and ``decode`` shows them.
    - No BOS or EOS is ever added to a text; a chat template writes its own.
    - Normalisation is the directory's own, perhaps none; ours (NFC) is not applied. A text with characters that the
      vocabulary lacks, where it has no single bytes to fall back on, gets its unknown token, or loses them.
    - Without a chat template the directory gets ours, ChatML, and its two tokens where it lacks them, behind all
      others: ``vocab_size`` grows by as many, and no other id changes. A model's rows may have to grow.

    ``files`` are those that ``hf_files.read_files`` gives; ``name`` is for messages.
    """

    def __init__(self, files: dict[str, bytes], name: str):
        self.name = name
        self._files = files
        template = hf_files.chat_template(files, name)
        self._template = template or CHAT_TEMPLATE
        self._extra = () if template else _CHATML
        spec = self._spec()
        self._style, self._space, self._leading_spaces = _style(spec, name)
        self._fast = _built(spec, name)
        self._ids = self._fast.get_vocab(with_added_tokens=True)
        self._added = {token.content: token for token in self._fast.get_added_tokens_decoder().values()}
        self.special_tokens = {text: self._ids[text] for text, token in self._added.items() if token.special}
        self.vocab_size = max(self._ids.values()) + 1
        self._named = hf_files.named_tokens(files, name)
        self.eod_id = self._found_eod()
        self.pad_id = self._ids.get(self._named.get("pad_token", ""), self.eod_id)
        unknown = self._ids.get(spec["model"].get("unk_token") or "", spec["model"].get("unk_id"))
        self._forbidden = frozenset(self.special_tokens.values()) - {unknown}

    def __repr__(self) -> str:
        return f"HfTokenizer({self.name!r}, vocab_size={self.vocab_size})"

    def __reduce__(self):
        return HfTokenizer, (self._files, self.name)

    @cached_property
    def fingerprint(self) -> str:
        spec = self._spec()
        if merges := spec["model"].get("merges"):  # pairs, or text with a space between the two
            spec["model"]["merges"] = [merge.split(" ") if isinstance(merge, str) else merge for merge in merges]
        everything = [spec, self._template, self._named, self.eod_id]
        return hashlib.sha256(json.dumps(everything, sort_keys=True).encode()).hexdigest()

    @cached_property
    def stop_ids(self) -> tuple[int, ...]:
        """What closes an assistant's turn in the chat template, then what the directory names, then ``eod_id``."""
        configured = [id for id in hf_files.eos_ids(self._files, self.name) if id < self.vocab_size]
        named = [self._ids.get(self._named.get("eos_token", ""))]
        usual = [self.special_tokens.get(token) for token in _END_OF_TURN]
        ids = [self._end_of_turn(), *configured, *named, *usual, self.eod_id]
        return tuple(dict.fromkeys(id for id in ids if id is not None))

    def encode(self, text: str) -> list[int]:
        return self._without_specials(self._fast, self._fast.encode(_valid(text), add_special_tokens=False).ids)

    def decode(self, ids: Iterable[int], errors: str = "replace") -> str:
        """See ``Tokenizer.decode``. Leaves out the space that a vocabulary of ``▁`` pieces puts before a text."""
        content = b"".join([self.token_bytes(id) for id in ids])
        for _ in range(self._leading_spaces):
            content = content.removeprefix(b" ")
        return content.decode("utf-8", errors)

    def token_bytes(self, id: int) -> bytes:
        if not 0 <= id < self.vocab_size:
            raise ValueError(f"token id {id} is outside the vocabulary of {self.vocab_size}")
        return self._token_bytes[id]

    def token_byte_lengths(self) -> np.ndarray:
        """See ``Tokenizer.token_byte_lengths``.

        Over the ids of a text they sum to its bytes, after the directory's normalisation. A vocabulary of ``▁`` pieces
        counts one byte more where it puts a space before the text, and one instead of three for a literal ``▁``.
        """
        return np.array([len(token) for token in self._token_bytes], dtype=np.int32)

    def render(self, messages: Sequence[Message], add_generation_prompt: bool = False) -> tuple[list[int], list[int]]:
        """See ``Tokenizer.render``; by the directory's chat template, which reads role and content of each message.

        Ids are those of ``apply_chat_template`` while no content spells a special token, with one exception: what an
        assistant is to write begins a token of its own where the prompt ends. So the ids of the first turns with the
        generation prompt are a prefix of the ids of the whole whenever their texts are; they are not where a template
        writes past turns in another way than the last (Qwen3 drops past thoughts) or prompts with more than it writes
        later (a ``<think>``).

        The mask is 1 from the end of that prompt, or from the content where the prompt is no prefix, to the special
        token behind the content if that is one of ``stop_ids``. So an empty thought that the template puts before an
        answer counts: the model has to write it. ``strftime_now`` always tells the same day.

        Raises UserError for a message without role or content, a role outside ``hf_chat.ROLES``, and a template that
        refuses the conversation or that rewrites contents, so that their text could not be kept apart.
        """
        from qwen_shared.tokenizer import hf_chat

        if not messages:
            raise UserError("a conversation needs at least one message, got an empty list")
        turns = [checked_turn(message, index) for index, message in enumerate(messages)]
        turns = [(role, _valid(content)) for role, content in turns]
        layout = self._chat.lay_out(turns, add_generation_prompt)
        roles = [role for role, _ in turns]
        return hf_chat.ids_and_mask(layout, roles, self._specials(layout), self.stop_ids, self._encode_stretch)

    def save_hf(self, directory: str | PathLike[str]) -> None:
        """Writes the directory's tokenizer files again, with tokens that were added.

        Each file appears whole or not at all. Keys that name code or paths are left out. A `generation_config.json`
        with ``stop_ids`` is written if there is none.
        """
        directory = Path(directory)
        directory.mkdir(parents=True, exist_ok=True)
        config, dropped = hf_files.saved_config(self._files, self.name, self._template)
        if dropped:
            log.info("tokenizer %s: left out of %s: %s", self.name, hf_files.CONFIG_FILE, ", ".join(dropped))
        contents = {hf_files.SPECIAL_MAP_FILE: json_bytes(self._named), **hf_files.carried(self._files)}
        if not (directory / hf_files.GENERATION_FILE).exists():
            stops = {"eos_token_id": list(self.stop_ids), "pad_token_id": self.pad_id}
            contents[hf_files.GENERATION_FILE] = json_bytes(stops)
        contents[hf_files.CONFIG_FILE] = json_bytes(config)
        contents[hf_files.TOKENIZER_FILE] = json_bytes(hf_files.tokenizer_spec(self._files, self.name, self._extra))
        for file, content in contents.items():
            write_atomic(directory / file, content)

    def _spec(self) -> dict:
        """`tokenizer.json` as it is used here. Parsed anew where it is needed: as Python objects it is large."""
        spec = hf_files.tokenizer_spec(self._files, self.name, self._extra)
        hf_files.mark_specials(spec, self._files, self.name)
        # It would add BOS, and trims spaces off the offsets by which the loss mask is found.
        return {**spec, "post_processor": None}

    @cached_property
    def _token_bytes(self) -> list[bytes]:
        table = [b""] * self.vocab_size  # also for ids that no token has
        value = {name: byte for byte, name in enumerate(byte_names())}
        for token, id in self._ids.items():
            if token in self.special_tokens:
                continue
            if token in self._added:
                table[id] = token.encode()
            elif self._style == "bytes" and all(character in value for character in token):
                table[id] = bytes([value[character] for character in token])
            elif self._style == "pieces" and (byte := _BYTE.fullmatch(token)):
                table[id] = bytes([int(byte[1], 16)])
            else:
                table[id] = (token.replace(self._space, " ") if self._space else token).encode()
        for id in self.special_tokens.values():
            table[id] = b""
        return table

    @cached_property
    def _chat(self) -> "ChatTemplate":
        from qwen_shared.tokenizer.hf_chat import ChatTemplate

        return ChatTemplate(self._template, self._named, self.special_tokens, self.name)

    @cached_property
    def _inner(self) -> "FastTokenizer":
        """For text behind a special token: without the space that stands at the very beginning only."""
        return self._variant(_without_first_space)

    @cached_property
    def _continued(self) -> "FastTokenizer":
        """For text that goes on where other text stopped: without any space before it."""
        return self._variant(_without_any_space)

    def _variant(self, change) -> "FastTokenizer":
        spec = self._spec()
        changed = {key: change(spec.get(key)) for key in ("normalizer", "pre_tokenizer")}
        same = all(spec.get(key) == value for key, value in changed.items())
        return self._fast if same else _built(spec | changed, self.name)

    def _encode_stretch(self, text: str, first: bool, continued: bool) -> list[tuple[int, int, int]]:
        fast = self._continued if continued else self._fast if first else self._inner
        encoding = fast.encode(text, add_special_tokens=False)
        tokens = [(id, *span) for id, span in zip(encoding.ids, encoding.offsets, strict=True)]
        if self._forbidden.isdisjoint(encoding.ids):
            return tokens
        return [(id, start, end) for old, start, end in tokens for id in self._without_specials(fast, [old])]

    def _without_specials(self, fast: "FastTokenizer", ids: list[int]) -> list[int]:
        """``ids`` where the ids of special tokens give way to those of their characters.

        The library does not look for special tokens in text, but some vocabularies also have them as ordinary tokens,
        which merges or a unigram model may reach.
        """
        if self._forbidden.isdisjoint(ids):
            return ids
        spelled: list[int] = []
        for id in ids:
            if id in self._forbidden:
                parts = [part.id for character in fast.id_to_token(id) or "" for part in fast.model.tokenize(character)]
                spelled += [part for part in parts if part not in self._forbidden]
            else:
                spelled.append(id)
        return spelled

    def _specials(self, layout: "Layout") -> list["Special"]:
        from qwen_shared.tokenizer.hf_chat import Special

        found = []
        for low, high in layout.written:
            for match in self._special_pattern.finditer(layout.text, low, high):
                token = self._added[match[0]]
                id = self.special_tokens[match[0]]
                found.append(Special(match.start(), match.end(), id, token.lstrip, token.rstrip))
        return found

    @cached_property
    def _special_pattern(self) -> re.Pattern[str]:
        longest_first = sorted(self.special_tokens, key=len, reverse=True)
        return re.compile("|".join(map(re.escape, longest_first)) or "(?!)")

    def _end_of_turn(self) -> int | None:
        from qwen_shared.tokenizer import hf_chat

        try:
            layout = self._chat.lay_out([("user", "Hi"), ("assistant", "Hello")], add_generation_prompt=False)
        except UserError:  # it is told when a conversation is rendered; a model may never need one
            return None
        special = hf_chat.closing(layout, 1, self._specials(layout))
        return special.id if special else None

    def _found_eod(self) -> int:
        for token in _END_OF_DOCUMENT:
            if token in self.special_tokens:
                return self.special_tokens[token]
        named = self._ids.get(self._named.get("eos_token", ""))
        ids = [named, *hf_files.eos_ids(self._files, self.name)]
        found = next((id for id in ids if id is not None and id < self.vocab_size), None)
        if found is None:
            raise UserError(
                f"tokenizer {self.name}: nothing says which token ends a document; "
                f"give {hf_files.CONFIG_FILE} an eos_token that stands in {hf_files.TOKENIZER_FILE}"
            )
        return found


def _valid(text: str) -> str:
    """Halves of surrogate pairs become the character they stand for; lone ones, which have no UTF-8, U+FFFD."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def _built(spec: dict, name: str) -> "FastTokenizer":
    from tokenizers import Tokenizer as FastTokenizer

    try:
        fast = FastTokenizer.from_str(json.dumps(spec))
    except Exception as error:  # the library raises bare Exception
        raise UserError(f"tokenizer {name}: {hf_files.TOKENIZER_FILE} is broken: {error}") from None
    fast.encode_special_tokens = True  # the flag means: as text
    return fast


def _components(spec: object) -> Iterator[dict]:
    """A normalizer, pre-tokenizer or decoder, or the ones it is a sequence of."""
    if isinstance(spec, dict):
        parts = next((spec[key] for key in ("normalizers", "pretokenizers", "decoders") if key in spec), None)
        if parts is None:
            yield spec
        for part in parts or ():
            yield from _components(part)


def _style(spec: dict, name: str) -> tuple[str, str, int]:
    """How tokens spell text: "bytes" or "pieces"; what stands for a space; how many spaces go before a text."""
    decoder = {part.get("type"): part for part in _components(spec.get("decoder"))}
    if not decoder:
        decoder = {part.get("type"): part for part in _components(spec.get("pre_tokenizer"))}
    if "ByteLevel" in decoder:
        return "bytes", "", 0
    if meta := decoder.get("Metaspace"):
        before = meta.get("prepend_scheme", "always") != "never" and meta.get("add_prefix_space", True)
        return "pieces", meta.get("replacement", "▁"), int(before)
    replace = decoder.get("Replace")
    if replace and replace.get("content") == " " and isinstance(replace.get("pattern"), dict):
        strip = decoder.get("Strip")
        spaces = strip.get("start", 0) if strip and strip.get("content") == " " else 0
        return "pieces", replace["pattern"].get("String", ""), spaces
    raise UserError(
        f"tokenizer {name}: only byte-level BPE and vocabularies with ▁ for a space are known, but the decoder in "
        f"{hf_files.TOKENIZER_FILE} is {' + '.join(map(str, decoder)) or 'missing'}"
    )


def _changed(spec: object, change) -> object:
    """``spec`` with ``change`` made of every component; None drops one."""
    if not isinstance(spec, dict):
        return spec
    for key in ("normalizers", "pretokenizers"):
        if key in spec:
            parts = [_changed(part, change) for part in spec[key]]
            return {**spec, key: [part for part in parts if part is not None]}
    return change(spec)


def _without_first_space(spec: object) -> object:
    def change(part: dict) -> dict:
        return {**part, "prepend_scheme": "never"} if part.get("prepend_scheme") == "first" else part

    return _changed(spec, change)


def _without_any_space(spec: object) -> object:
    def change(part: dict) -> dict | None:
        if part.get("type") == "Prepend":
            return None
        if part.get("type") == "Metaspace":
            return {**{k: v for k, v in part.items() if k != "add_prefix_space"}, "prepend_scheme": "never"}
        return {**part, "add_prefix_space": False} if part.get("type") == "ByteLevel" else part

    return _changed(spec, change)
