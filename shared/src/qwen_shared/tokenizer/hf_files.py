"""The files of a Hugging Face tokenizer. Only JSON and text are read."""

import json
from dataclasses import dataclass
from pathlib import Path

from qwen_shared.errors import UserError
from qwen_shared.files import write_atomic

TOKENIZER_FILE = "tokenizer.json"
CONFIG_FILE = "tokenizer_config.json"
TEMPLATE_FILE = "chat_template.jinja"
SPECIAL_MAP_FILE = "special_tokens_map.json"
GENERATION_FILE = "generation_config.json"
# Saved unchanged, for programs that read other forms of the vocabulary.
_CARRIED = (SPECIAL_MAP_FILE, TEMPLATE_FILE, "vocab.json", "merges.txt", "added_tokens.json", "tokenizer.model")
_READ = (TOKENIZER_FILE, CONFIG_FILE, GENERATION_FILE, "config.json", "chat_template.json", *_CARRIED)
# References to code, and paths on the machine that wrote the file.
_DROPPED = ("auto_map", "custom_code", "name_or_path", "tokenizer_file", "vocab_file", "merges_file")

_NAMED = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")


@dataclass(frozen=True)
class TokenizerFiles:
    """File name → content. `name` is for messages. Methods raise UserError for broken files."""

    contents: dict[str, bytes]
    name: str

    @classmethod
    def read(cls, directory: Path, name: str) -> "TokenizerFiles":
        contents = {}
        for file in _READ:
            path = directory / file
            try:
                if path.is_file():
                    contents[file] = path.read_bytes()
            except OSError as error:
                raise UserError(f"tokenizer: cannot read {path}: {error.strerror or error}") from None
        return cls(contents, name)

    def json_object(self, file: str) -> dict:
        """{} if the file is missing."""
        if file not in self.contents:
            return {}
        try:
            value = json.loads(self.contents[file])
        except (ValueError, RecursionError) as error:  # UnicodeDecodeError is a ValueError
            raise UserError(f"tokenizer {self.name}: {file} is not valid JSON ({error}); is it whole?") from None
        if not isinstance(value, dict):
            raise UserError(f"tokenizer {self.name}: {file} must hold one JSON object, got {type(value).__name__}")
        return value

    def chat_template(self) -> str | None:
        if TEMPLATE_FILE in self.contents:
            try:
                return self.contents[TEMPLATE_FILE].decode()
            except UnicodeDecodeError as error:
                raise UserError(f"tokenizer {self.name}: {TEMPLATE_FILE} is not UTF-8 ({error})") from None
        config = self.json_object(CONFIG_FILE)
        found = config.get("chat_template") or self.json_object("chat_template.json").get("chat_template")
        if isinstance(found, list):
            found = {item.get("name"): item.get("template") for item in found if isinstance(item, dict)}
        if isinstance(found, dict):
            found = found.get("default") or next(iter(found.values()), None)
        if found is not None and not isinstance(found, str):
            kind = type(found).__name__
            raise UserError(f"tokenizer {self.name}: chat_template in {CONFIG_FILE} must be text, got {kind}")
        return found or None

    def named_tokens(self) -> dict[str, str]:
        """Name (`bos_token`, `eos_token`, …) → text."""
        config, other = self.json_object(CONFIG_FILE), self.json_object(SPECIAL_MAP_FILE)
        named = {key: token_text(config.get(key)) or token_text(other.get(key)) for key in _NAMED}
        return {key: text for key, text in named.items() if text}

    def eos_ids(self) -> list[int]:
        """Ids that end generation, from `generation_config.json` or `config.json`."""
        for file in (GENERATION_FILE, "config.json"):
            found = self.json_object(file).get("eos_token_id")
            ids = found if isinstance(found, list) else [found]
            if ids := [id for id in ids if type(id) is int and id >= 0]:
                return ids
        return []

    def declared_tokens(self) -> list[dict]:
        """Tokens of the configuration, in the order in which missing ones are added."""
        config, other = self.json_object(CONFIG_FILE), self.json_object(SPECIAL_MAP_FILE)
        decoder = config.get("added_tokens_decoder")
        decoder = decoder if isinstance(decoder, dict) else {}
        by_id = sorted((int(i), token) for i, token in decoder.items() if str(i).isdigit() and isinstance(token, dict))
        tokens = [dict(token) for _, token in by_id if isinstance(token.get("content"), str) and token["content"]]
        texts = list(self.named_tokens().values())
        for source in (config, other):
            for key in ("additional_special_tokens", "extra_special_tokens"):
                found = source.get(key) or []
                texts += [token_text(token) for token in (found.values() if isinstance(found, dict) else found)]
        return tokens + [{"content": text, "special": True} for text in texts if text]

    def config_to_save(self, template: str) -> tuple[dict, list[str]]:
        """`tokenizer_config.json`, and the keys left out of it."""
        config = self.json_object(CONFIG_FILE)
        dropped = [key for key in _DROPPED if config.pop(key, None) is not None]
        # A model-specific class may rebuild parts of tokenizer.json; this one takes it as it is.
        config["tokenizer_class"] = "PreTrainedTokenizerFast"
        if TEMPLATE_FILE not in self.contents and not config.get("chat_template"):
            config["chat_template"] = template
        return config, dropped

    def carried(self) -> dict[str, bytes]:
        return {file: content for file, content in self.contents.items() if file in _CARRIED}


def token_text(token: object) -> str:
    """A token given as text or as `{content: text, …}`; "" if it is neither."""
    if isinstance(token, dict):
        token = token.get("content")
    return token if isinstance(token, str) else ""


def json_bytes(value: object) -> bytes:
    return (json.dumps(value, ensure_ascii=False, indent=2) + "\n").encode()


def write_files(directory: Path, contents: dict[str, bytes]) -> None:
    """Each file appears whole or not at all."""
    for name, content in contents.items():
        write_atomic(directory / name, content)


def byte_names() -> list[str]:
    """The character that names each byte in a byte-level `tokenizer.json`: printable Latin-1 characters name
    themselves, and characters from U+0100 on name the other 68 bytes."""
    names, spare = [], 0x100
    for byte in range(256):
        if 0x21 <= byte <= 0x7E or 0xA1 <= byte <= 0xAC or byte >= 0xAE:
            names.append(chr(byte))
        else:
            names.append(chr(spare))
            spare += 1
    return names
