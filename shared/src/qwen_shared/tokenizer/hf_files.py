"""A Hugging Face tokenizer directory as plain data: which files count, which tokens they declare and which end a turn.

Nothing here runs code of the directory: JSON and text only, no pickle, no `auto_map`.
"""

import json
import re
from pathlib import Path

from qwen_shared.errors import UserError

TOKENIZER_FILE = "tokenizer.json"
CONFIG_FILE = "tokenizer_config.json"
TEMPLATE_FILE = "chat_template.jinja"
SPECIAL_MAP_FILE = "special_tokens_map.json"
GENERATION_FILE = "generation_config.json"
# Kept as they are, for programs that read another form of the same vocabulary.
_CARRIED = (SPECIAL_MAP_FILE, TEMPLATE_FILE, "vocab.json", "merges.txt", "added_tokens.json", "tokenizer.model")
_READ = (TOKENIZER_FILE, CONFIG_FILE, GENERATION_FILE, "config.json", "chat_template.json", *_CARRIED)
# Code from elsewhere, and paths of the machine that wrote the file.
_DROPPED = ("auto_map", "custom_code", "name_or_path", "tokenizer_file", "vocab_file", "merges_file")

_NAMED = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")
# Control tokens by their looks; some directories do not flag all of theirs as special.
_CONTROL = re.compile(r"<[|｜].+[|｜]>")


def read_files(directory: Path) -> dict[str, bytes]:
    """The files of ``directory`` that a tokenizer is made of. Raises UserError for one that cannot be read."""
    files = {}
    for name in _READ:
        path = directory / name
        try:
            if path.is_file():
                files[name] = path.read_bytes()
        except OSError as error:
            raise UserError(f"tokenizer: cannot read {path}: {error.strerror or error}") from None
    return files


def json_object(files: dict[str, bytes], file: str, name: str) -> dict:
    """A JSON file as a dict, {} if there is none. Raises UserError unless it holds one object."""
    if file not in files:
        return {}
    try:
        value = json.loads(files[file])
    except (ValueError, RecursionError) as error:  # UnicodeDecodeError is a ValueError
        raise UserError(f"tokenizer {name}: {file} is not valid JSON ({error}); is it whole?") from None
    if not isinstance(value, dict):
        raise UserError(f"tokenizer {name}: {file} must hold one JSON object, got {type(value).__name__}")
    return value


def chat_template(files: dict[str, bytes], name: str) -> str | None:
    """`chat_template.jinja`, else what `tokenizer_config.json` or `chat_template.json` holds; of several "default"."""
    if TEMPLATE_FILE in files:
        try:
            return files[TEMPLATE_FILE].decode()
        except UnicodeDecodeError as error:
            raise UserError(f"tokenizer {name}: {TEMPLATE_FILE} is not UTF-8 ({error})") from None
    config = json_object(files, CONFIG_FILE, name)
    found = config.get("chat_template") or json_object(files, "chat_template.json", name).get("chat_template")
    if isinstance(found, list):
        found = {item.get("name"): item.get("template") for item in found if isinstance(item, dict)}
    if isinstance(found, dict):
        found = found.get("default") or next(iter(found.values()), None)
    if found is not None and not isinstance(found, str):
        raise UserError(f"tokenizer {name}: chat_template in {CONFIG_FILE} must be text, got {type(found).__name__}")
    return found or None


def named_tokens(files: dict[str, bytes], name: str) -> dict[str, str]:
    """``bos_token``, ``eos_token`` and the like, by name, with their text; templates may use these."""
    config, other = json_object(files, CONFIG_FILE, name), json_object(files, SPECIAL_MAP_FILE, name)
    named = {key: _content(config.get(key)) or _content(other.get(key)) for key in _NAMED}
    return {key: text for key, text in named.items() if text}


def eos_ids(files: dict[str, bytes], name: str) -> list[int]:
    """What the model's own configuration ends generation with."""
    for file in (GENERATION_FILE, "config.json"):
        found = json_object(files, file, name).get("eos_token_id")
        ids = found if isinstance(found, list) else [found]
        if ids := [id for id in ids if type(id) is int and id >= 0]:
            return ids
    return []


def tokenizer_spec(files: dict[str, bytes], name: str, extra: tuple[str, ...] = ()) -> dict:
    """`tokenizer.json`, less padding and truncation, with every declared token and ``extra`` among `added_tokens`.

    As `AutoTokenizer` does, a token that only `tokenizer_config.json` or `special_tokens_map.json` declares is added:
    under the id it has in the vocabulary, else behind the last one.
    """
    spec = json_object(files, TOKENIZER_FILE, name)
    model = spec.get("model")
    if not isinstance(model, dict) or not isinstance(model.get("vocab"), (dict, list)) or not model["vocab"]:
        raise UserError(f"tokenizer {name}: {TOKENIZER_FILE} has no model with a vocab; is it whole?")
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
        raise UserError(f"tokenizer {name}: {TOKENIZER_FILE} has a broken vocab or added_tokens ({error})") from None
    for token in [*_declared(files, name), *({"content": text, "special": True} for text in extra)]:
        text = token["content"]
        if text in known:
            continue
        known.add(text)
        id = ids.get(text)
        if id is None:
            highest = id = highest + 1
            # The library numbers a new token by the count of the others, which is wrong where ids have holes; the id
            # of one that stands in the vocabulary it leaves alone.
            if used < id and isinstance(vocab, dict):
                vocab[text] = id
            used += 1
        flags = {flag: bool(token.get(flag)) for flag in ("single_word", "lstrip", "rstrip", "normalized")}
        added.append({"id": id, "content": text, **flags, "special": bool(token.get("special"))})
    return spec


def mark_specials(spec: dict, files: dict[str, bytes], name: str) -> None:
    """Flags in ``spec`` every added token that text must not spell: those that are flagged special anywhere, have a
    name such as ``eos_token``, end generation, or look like ``<|this|>``."""
    declared = {token["content"] for token in _declared(files, name) if token.get("special")}
    ends = set(eos_ids(files, name))
    for token in spec["added_tokens"]:
        text = token["content"]
        token["special"] = bool(
            token.get("special") or text in declared or token.get("id") in ends or _CONTROL.fullmatch(text)
        )


def saved_config(files: dict[str, bytes], name: str, template: str) -> tuple[dict, list[str]]:
    """`tokenizer_config.json` as it is written, and the keys that were left out.

    The generic class takes tokenizer.json as it stands; a model's own class may rebuild parts of it.
    """
    config = json_object(files, CONFIG_FILE, name)
    dropped = [key for key in _DROPPED if config.pop(key, None) is not None]
    config["tokenizer_class"] = "PreTrainedTokenizerFast"
    if TEMPLATE_FILE not in files and not config.get("chat_template"):
        config["chat_template"] = template
    return config, dropped


def carried(files: dict[str, bytes]) -> dict[str, bytes]:
    return {file: content for file, content in files.items() if file in _CARRIED}


def _declared(files: dict[str, bytes], name: str) -> list[dict]:
    """Tokens that the configuration declares, in the order in which missing ones are added."""
    config, other = json_object(files, CONFIG_FILE, name), json_object(files, SPECIAL_MAP_FILE, name)
    decoder = config.get("added_tokens_decoder")
    decoder = decoder if isinstance(decoder, dict) else {}
    by_id = sorted((int(id), token) for id, token in decoder.items() if str(id).isdigit() and isinstance(token, dict))
    tokens = [dict(token) for _, token in by_id if isinstance(token.get("content"), str) and token["content"]]
    texts = list(named_tokens(files, name).values())
    for source in (config, other):
        for key in ("additional_special_tokens", "extra_special_tokens"):
            found = source.get(key) or []
            texts += [_content(token) for token in (found.values() if isinstance(found, dict) else found)]
    return tokens + [{"content": text, "special": True} for text in texts if text]


def _content(token: object) -> str:
    if isinstance(token, dict):
        token = token.get("content")
    return token if isinstance(token, str) else ""
