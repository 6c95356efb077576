"""`Tokenizer` over a Hugging Face directory, for models from elsewhere."""

import hashlib
import json
import logging
import re
from collections.abc import Callable, Iterable, Sequence
from functools import cached_property
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from qwen_shared.errors import UserError
from qwen_shared.text import replace_lone_surrogates
from qwen_shared.tokenizer import hf_files, hf_mask, hf_spec
from qwen_shared.tokenizer.chatml import CHAT_TEMPLATE, checked_turn
from qwen_shared.tokenizer.hf_files import TokenizerFiles, json_bytes
from qwen_shared.tokenizer.interface import Message

if TYPE_CHECKING:
    from tokenizers import Tokenizer as FastTokenizer

    from qwen_shared.tokenizer.hf_template import ChatTemplate

log = logging.getLogger(__name__)

# The end-of-document token: the first of these that is a special token, else the eos token.
_END_OF_DOCUMENT = ("<|endoftext|>", "<|end_of_text|>", "</s>")
_END_OF_TURN = ("<|im_end|>", "<|eot_id|>", "<end_of_turn>")
_CHATML = ("<|im_start|>", "<|im_end|>")


class HfTokenizer:
    """`Tokenizer` over Hugging Face files. No code is run and no pickle is read.

    `tokenizer.json` is used as it is, as by `PreTrainedTokenizerFast`. Supports byte-level BPE (GPT-2, Llama 3, Qwen2
    and later, SmolLM) and vocabularies with `▁` for a space (Llama 2, Mistral, Gemma). Raises UserError for others, and
    for broken or incomplete files.

    - Special tokens are the added tokens that are flagged so, named (`eos_token`, …), end generation, or look like
      `<|this|>`. No text produces them. Other added tokens (Qwen3's `<think>`) are ordinary vocabulary.
    - Texts get no BOS or EOS; a chat template writes its own.
    - Normalisation is the directory's own, without NFC. Characters that the vocabulary lacks become the unknown token
      or are lost, unless it has single bytes.
    - A directory without a chat template gets ChatML. Missing ChatML tokens are appended, so `vocab_size` grows.
    """

    def __init__(self, files: TokenizerFiles):
        self.name = files.name
        self._files = files
        template = files.chat_template()
        self._template = template or CHAT_TEMPLATE
        self._extra = () if template else _CHATML
        spec = self._spec()
        self._spelling = hf_spec.Spelling.of(spec, files.name)
        self._fast = hf_spec.build(spec, files.name)
        self._ids = self._fast.get_vocab(with_added_tokens=True)
        self._added = {token.content: token for token in self._fast.get_added_tokens_decoder().values()}
        self.special_tokens = {text: self._ids[text] for text, token in self._added.items() if token.special}
        self.vocab_size = max(self._ids.values()) + 1
        self._named = files.named_tokens()
        self.eod_id = self._find_eod()
        self.pad_id = self._ids.get(self._named.get("pad_token", ""), self.eod_id)
        unknown = self._ids.get(spec["model"].get("unk_token") or "", spec["model"].get("unk_id"))
        self._forbidden = frozenset(self.special_tokens.values()) - {unknown}

    def __repr__(self) -> str:
        return f"HfTokenizer({self.name!r}, vocab_size={self.vocab_size})"

    def __reduce__(self) -> tuple[type["HfTokenizer"], tuple[TokenizerFiles]]:
        return HfTokenizer, (self._files,)

    @cached_property
    def fingerprint(self) -> str:
        spec = self._spec()
        if merges := spec["model"].get("merges"):  # pairs, or texts with a space
            spec["model"]["merges"] = [merge.split(" ") if isinstance(merge, str) else merge for merge in merges]
        everything = [spec, self._template, self._named, self.eod_id]
        return hashlib.sha256(json.dumps(everything, sort_keys=True).encode()).hexdigest()

    @cached_property
    def stop_ids(self) -> tuple[int, ...]:
        """The token that closes an assistant's turn, those that the directory names, and `eod_id`."""
        configured = [id for id in self._files.eos_ids() if id < self.vocab_size]
        named = [self._ids.get(self._named.get("eos_token", ""))]
        usual = [self.special_tokens.get(token) for token in _END_OF_TURN]
        ids = [self._end_of_turn(), *configured, *named, *usual, self.eod_id]
        return tuple(dict.fromkeys(id for id in ids if id is not None))

    def encode(self, text: str) -> list[int]:
        encoding = self._fast.encode(replace_lone_surrogates(text), add_special_tokens=False)
        return self._without_specials(self._fast, encoding.ids)

    def decode(self, ids: Iterable[int], errors: str = "replace") -> str:
        """Removes the space that the vocabulary puts before a text."""
        content = b"".join([self.token_bytes(id) for id in ids])
        for _ in range(self._spelling.leading_spaces):
            content = content.removeprefix(b" ")
        return content.decode("utf-8", errors)

    def token_bytes(self, id: int) -> bytes:
        if not 0 <= id < self.vocab_size:
            raise ValueError(f"token id {id} is outside the vocabulary of {self.vocab_size}")
        return self._token_bytes[id]

    def token_byte_lengths(self) -> np.ndarray:
        """They add up to a text's bytes after normalisation. A vocabulary with `▁` counts one byte more for the space
        before the text, and one instead of three for a literal `▁`."""
        return np.array([len(token) for token in self._token_bytes], dtype=np.int32)

    def render(self, messages: Sequence[Message], add_generation_prompt: bool = False) -> tuple[list[int], list[int]]:
        """See `Tokenizer.render`; by the directory's chat template.

        Ids are those of `apply_chat_template` if no content spells a special token, except that a new token begins at
        the end of each answer's prompt. So a prompt's ids are a prefix of the conversation's ids if its text is a
        prefix. It is not if a template writes past turns differently (Qwen3 drops past thoughts) or writes more for a
        prompt than it keeps later (`<think>`).

        The mask is 1 from the end of that prompt (if it is a prefix, else from the content) to the special token behind
        the content, if that is one of `stop_ids`. So an empty thought before an answer is in the loss: the model has to
        write it. `strftime_now` always returns the same day.

        Raises UserError for a message without role or content, a role outside `hf_template.ROLES`, and a template that
        refuses the conversation or rewrites contents.
        """
        if not messages:
            raise UserError("a conversation needs at least one message, got an empty list")
        turns = [checked_turn(message, index) for index, message in enumerate(messages)]
        turns = [(role, replace_lone_surrogates(content)) for role, content in turns]
        chat = self._chat_template.render(turns, add_generation_prompt)
        roles = [role for role, _ in turns]
        return hf_mask.ids_and_mask(chat, roles, self._specials(chat), self.stop_ids, self._encode_span)

    def save_hf(self, directory: str | PathLike[str]) -> None:
        """Writes the tokenizer files with added tokens, and without keys that name code or paths. Adds a
        `generation_config.json` with `stop_ids` if there is none."""
        directory = Path(directory)
        directory.mkdir(parents=True, exist_ok=True)
        config, dropped = self._files.config_to_save(self._template)
        if dropped:
            log.info("tokenizer %s: left out of %s: %s", self.name, hf_files.CONFIG_FILE, ", ".join(dropped))
        contents = {hf_files.SPECIAL_MAP_FILE: json_bytes(self._named), **self._files.carried()}
        if not (directory / hf_files.GENERATION_FILE).exists():
            stops = {"eos_token_id": list(self.stop_ids), "pad_token_id": self.pad_id}
            contents[hf_files.GENERATION_FILE] = json_bytes(stops)
        contents[hf_files.CONFIG_FILE] = json_bytes(config)
        contents[hf_files.TOKENIZER_FILE] = json_bytes(hf_spec.read_spec(self._files, self._extra))
        hf_files.write_files(directory, contents)

    def _spec(self) -> dict[str, Any]:
        """`tokenizer.json` as used here. Not kept, because it is large."""
        spec = hf_spec.read_spec(self._files, self._extra)
        hf_spec.mark_specials(spec, self._files)
        # The post-processor adds BOS, and trims spaces off the offsets that the loss mask needs.
        return {**spec, "post_processor": None}

    @cached_property
    def _token_bytes(self) -> list[bytes]:
        table = [b""] * self.vocab_size  # b"" also for ids without a token
        for token, id in self._ids.items():
            if token not in self.special_tokens:
                table[id] = token.encode() if token in self._added else self._spelling.token_bytes(token)
        for id in self.special_tokens.values():
            table[id] = b""
        return table

    @cached_property
    def _chat_template(self) -> "ChatTemplate":
        from qwen_shared.tokenizer.hf_template import ChatTemplate  # imports jinja2

        return ChatTemplate(self._template, self._named, self.special_tokens, self.name)

    @cached_property
    def _behind_special(self) -> "FastTokenizer":
        return self._variant(hf_spec.without_first_space)

    @cached_property
    def _continued(self) -> "FastTokenizer":
        return self._variant(hf_spec.without_any_space)

    def _variant(self, change: Callable[[dict[str, Any]], dict[str, Any]]) -> "FastTokenizer":
        spec = self._spec()
        changed = change(spec)
        same = all(spec.get(key) == changed[key] for key in ("normalizer", "pre_tokenizer"))
        return self._fast if same else hf_spec.build(changed, self.name)

    def _encode_span(self, text: str, first: bool, continued: bool) -> list[hf_mask.Token]:
        fast = self._continued if continued else self._fast if first else self._behind_special
        encoding = fast.encode(text, add_special_tokens=False)
        tokens = [(id, low, high) for id, (low, high) in zip(encoding.ids, encoding.offsets, strict=True)]
        if self._forbidden.isdisjoint(encoding.ids):
            return tokens
        return [(id, low, high) for old, low, high in tokens for id in self._without_specials(fast, [old])]

    def _without_specials(self, fast: "FastTokenizer", ids: list[int]) -> list[int]:
        """`ids` with special tokens replaced by the ids of their characters: some vocabularies also have them as
        ordinary tokens, which merges or a unigram model may reach."""
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

    def _specials(self, chat: hf_mask.RenderedChat) -> list[hf_mask.SpecialToken]:
        found = []
        for low, high in chat.template_spans:
            for match in self._special_pattern.finditer(chat.text, low, high):
                token, id = self._added[match[0]], self.special_tokens[match[0]]
                found.append(hf_mask.SpecialToken(match.start(), match.end(), id, token.lstrip, token.rstrip))
        return found

    @cached_property
    def _special_pattern(self) -> re.Pattern[str]:
        longest_first = sorted(self.special_tokens, key=len, reverse=True)
        return re.compile("|".join(map(re.escape, longest_first)) or "(?!)")

    def _end_of_turn(self) -> int | None:
        try:
            chat = self._chat_template.render([("user", "Hi"), ("assistant", "Hello")], add_generation_prompt=False)
        except UserError:  # raised again if a conversation is rendered
            return None
        special = hf_mask.closing_token(chat, 1, self._specials(chat))
        return special.id if special else None

    def _find_eod(self) -> int:
        for token in _END_OF_DOCUMENT:
            if token in self.special_tokens:
                return self.special_tokens[token]
        ids = [self._ids.get(self._named.get("eos_token", "")), *self._files.eos_ids()]
        found = next((id for id in ids if id is not None and id < self.vocab_size), None)
        if found is None:
            raise UserError(
                f"tokenizer {self.name}: nothing says which token ends a document; "
                f"give {hf_files.CONFIG_FILE} an eos_token that is in {hf_files.TOKENIZER_FILE}"
            )
        return found
