"""`tokenizer.json` as data: its tokens, their spelling, and variants of it."""

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from qwen_shared.errors import UserError
from qwen_shared.tokenizer.hf_files import TOKENIZER_FILE, TokenizerFiles, byte_names

if TYPE_CHECKING:
    from tokenizers import Tokenizer as FastTokenizer

# Some directories do not flag all control tokens as special.
_CONTROL = re.compile(r"<[|｜].+[|｜]>")
_BYTE = re.compile("<0x([0-9A-F]{2})>")


def read_spec(files: TokenizerFiles, extra: tuple[str, ...] = ()) -> dict[str, Any]:
    """`tokenizer.json` without padding and truncation; every declared token and `extra` are in `added_tokens`.

    Like `AutoTokenizer`, adds tokens that only the configuration declares: with their id in the vocabulary, else behind
    the last one. Raises UserError for a broken file.
    """
    spec = files.json_object(TOKENIZER_FILE)
    model = spec.get("model")
    if not isinstance(model, dict) or not isinstance(model.get("vocab"), (dict, list)) or not model["vocab"]:
        raise UserError(f"tokenizer {files.name}: {TOKENIZER_FILE} has no model with a vocab; is it whole?")
    spec |= {"padding": None, "truncation": None}
    added = spec["added_tokens"] = list(spec.get("added_tokens") or [])
    vocab = model["vocab"]
    try:
        known = {token["content"] for token in added}
        ids = vocab if isinstance(vocab, dict) else {piece[0]: id for id, piece in enumerate(vocab)}
        numbers = [*ids.values(), *(token["id"] for token in added)]
        highest = max((int(number) for number in numbers), default=-1)
        used = len(set(ids) | known)
    except (TypeError, KeyError, IndexError, ValueError) as error:
        raise UserError(
            f"tokenizer {files.name}: {TOKENIZER_FILE} has a broken vocab or added_tokens ({error})"
        ) from None
    for token in [*files.declared_tokens(), *({"content": text, "special": True} for text in extra)]:
        text = token["content"]
        if text in known:
            continue
        known.add(text)
        id = ids.get(text)
        if id is None:
            highest = id = highest + 1
            # The library numbers new tokens by count, which is wrong if ids have gaps, but keeps the ids of tokens in
            # the vocabulary.
            if used < id and isinstance(vocab, dict):
                vocab[text] = id
            used += 1
        flags = {flag: bool(token.get(flag)) for flag in ("single_word", "lstrip", "rstrip", "normalized")}
        added.append({"id": id, "content": text, **flags, "special": bool(token.get("special"))})
    return spec


def mark_specials(spec: dict[str, Any], files: TokenizerFiles) -> None:
    """Flags every added token that text must not produce: flagged anywhere, ending generation, or like `<|this|>`."""
    declared = {token["content"] for token in files.declared_tokens() if token.get("special")}
    ends = set(files.eos_ids())
    for token in spec["added_tokens"]:
        text = token["content"]
        token["special"] = bool(
            token.get("special") or text in declared or token.get("id") in ends or _CONTROL.fullmatch(text)
        )


def build(spec: dict[str, Any], name: str) -> "FastTokenizer":
    from tokenizers import Tokenizer as FastTokenizer

    try:
        fast = FastTokenizer.from_str(json.dumps(spec))
    except Exception as error:  # the library raises bare Exception
        raise UserError(f"tokenizer {name}: {TOKENIZER_FILE} is broken: {error}") from None
    fast.encode_special_tokens = True  # special tokens in text are encoded as text
    return fast


@dataclass(frozen=True)
class Spelling:
    """How a vocabulary spells text: with byte-level names, or with `space` for a space and <0xNN> for single bytes."""

    byte_level: bool
    space: str = ""
    leading_spaces: int = 0  # put before each text

    @classmethod
    def of(cls, spec: dict[str, Any], name: str) -> "Spelling":
        """Raises UserError for other kinds of vocabulary."""
        decoder = {part.get("type"): part for part in _components(spec.get("decoder"))}
        if not decoder:
            decoder = {part.get("type"): part for part in _components(spec.get("pre_tokenizer"))}
        if "ByteLevel" in decoder:
            return cls(byte_level=True)
        if meta := decoder.get("Metaspace"):
            before = meta.get("prepend_scheme", "always") != "never" and meta.get("add_prefix_space", True)
            return cls(False, meta.get("replacement", "▁"), int(before))
        replace = decoder.get("Replace")
        if replace and replace.get("content") == " " and isinstance(replace.get("pattern"), dict):
            strip = decoder.get("Strip")
            spaces = strip.get("start", 0) if strip and strip.get("content") == " " else 0
            return cls(False, replace["pattern"].get("String", ""), spaces)
        raise UserError(
            f"tokenizer {name}: only byte-level BPE and vocabularies with ▁ for a space are known, but the decoder in "
            f"{TOKENIZER_FILE} is {' + '.join(map(str, decoder)) or 'missing'}"
        )

    def token_bytes(self, token: str) -> bytes:
        """UTF-8 of an ordinary token, which may hold parts of characters."""
        if self.byte_level and all(character in _BYTE_OF for character in token):
            return bytes([_BYTE_OF[character] for character in token])
        if not self.byte_level and (byte := _BYTE.fullmatch(token)):
            return bytes([int(byte[1], 16)])
        return (token.replace(self.space, " ") if self.space else token).encode()


_BYTE_OF = {name: byte for byte, name in enumerate(byte_names())}


def without_first_space(spec: dict[str, Any]) -> dict[str, Any]:
    """A variant without the space at the beginning of the whole text."""

    def change(part: dict[str, Any]) -> dict[str, Any]:
        return {**part, "prepend_scheme": "never"} if part.get("prepend_scheme") == "first" else part

    return _changed(spec, change)


def without_any_space(spec: dict[str, Any]) -> dict[str, Any]:
    """A variant without added spaces."""

    def change(part: dict[str, Any]) -> dict[str, Any] | None:
        if part.get("type") == "Prepend":
            return None
        if part.get("type") == "Metaspace":
            return {**{k: v for k, v in part.items() if k != "add_prefix_space"}, "prepend_scheme": "never"}
        return {**part, "add_prefix_space": False} if part.get("type") == "ByteLevel" else part

    return _changed(spec, change)


Change = Callable[[dict[str, Any]], dict[str, Any] | None]


def _changed(spec: dict[str, Any], change: Change) -> dict[str, Any]:
    """`spec` with `change` applied to each normalizer and pre-tokenizer; None drops one."""
    return spec | {key: _changed_part(spec.get(key), change) for key in ("normalizer", "pre_tokenizer")}


def _changed_part(part: object, change: Change) -> object:
    if not isinstance(part, dict):
        return part
    for key in ("normalizers", "pretokenizers"):
        if key in part:
            parts = [_changed_part(inner, change) for inner in part[key]]
            return {**part, key: [inner for inner in parts if inner is not None]}
    return change(part)


def _components(part: object) -> Iterator[dict[str, Any]]:
    """A normalizer, pre-tokenizer or decoder, or the members of a sequence."""
    if isinstance(part, dict):
        parts = next((part[key] for key in ("normalizers", "pretokenizers", "decoders") if key in part), None)
        if parts is None:
            yield part
        for inner in parts or ():
            yield from _components(inner)
