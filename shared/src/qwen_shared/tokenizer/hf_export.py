"""The same vocabulary as a Hugging Face fast tokenizer: `tokenizer.json` with identical ids, and the chat template."""

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

from qwen_shared.tokenizer.chatml import CHAT_TEMPLATE
from qwen_shared.tokenizer.vocabulary import RANKS_FILE, format_ranks

if TYPE_CHECKING:
    from qwen_shared.tokenizer.qwen import QwenTokenizer


def save_hf(tokenizer: "QwenTokenizer", directory: Path) -> None:
    """Writes what ``AutoTokenizer.from_pretrained(directory)`` reads, and the ranks that ``load_tokenizer`` reads.

    Each file appears whole or not at all. Where Hugging Face differs from ours:
    - It parses special tokens in text unless called with ``split_special_tokens=True``.
    - Its chat template gives the ids of ``render`` except where content begins with a newline, or whitespace and a
      newline: it tokenises these together with the newline behind the role.
    - Its NFC knows Unicode 10; it may order several marks on one letter otherwise if one of them is newer.
    """
    directory.mkdir(parents=True, exist_ok=True)
    names = {id: token for token, id in tokenizer.special_tokens.items()}
    end_of_text, im_end = names[tokenizer.eod_id], names[tokenizer.stop_ids[0]]
    config = {
        # The generic class takes tokenizer.json as it stands; a model's own class may rebuild parts of it.
        "tokenizer_class": "PreTrainedTokenizerFast",
        "eos_token": im_end,
        "pad_token": end_of_text,
        "additional_special_tokens": [t for t in tokenizer.special_tokens if t not in (end_of_text, im_end)],
        "added_tokens_decoder": {str(id): _added_token(token) for id, token in names.items()},
        "chat_template": CHAT_TEMPLATE,
        "clean_up_tokenization_spaces": False,
    }
    special_tokens_map = {"eos_token": im_end, "pad_token": end_of_text}
    write_atomic(directory / RANKS_FILE, format_ranks(tokenizer.ranks))
    write_atomic(directory / "special_tokens_map.json", json_bytes(special_tokens_map))
    write_atomic(directory / "tokenizer_config.json", json_bytes(config))
    write_atomic(directory / "tokenizer.json", fast_tokenizer(tokenizer).to_str(pretty=True).encode())


def fast_tokenizer(tokenizer: "QwenTokenizer"):
    """The ``tokenizers.Tokenizer`` of equal ids."""
    from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers

    from qwen_shared.tokenizer.qwen import SPLIT_PATTERN

    names = byte_names()

    def name(token: bytes) -> str:
        return "".join([names[byte] for byte in token])

    vocab = {name(token): rank for token, rank in tokenizer.ranks.items()}
    merges = [(name(left), name(right)) for left, right in rebuilt_merges(tokenizer.ranks)]
    # tiktoken takes a piece that is a token as it is, whether or not merges lead there: ignore_merges.
    fast = Tokenizer(models.BPE(vocab=vocab, merges=merges, ignore_merges=True))
    fast.normalizer = normalizers.NFC()
    fast.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(SPLIT_PATTERN), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    fast.decoder = decoders.ByteLevel()
    fast.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in tokenizer.special_tokens])
    return fast


def rebuilt_merges(ranks: dict[bytes, int]) -> list[tuple[bytes, bytes]]:
    """The pair that each token of two or more bytes is merged from, in order of rank.

    tiktoken merges whichever neighbours join to a known token, lowest rank first; Hugging Face wants the pairs listed.
    One pair a token is enough. As long as no merge crosses the edge of a token-to-be, the merges inside it are those
    of BPE on its bytes alone, in the same order, so the last two parts are always the same. A token whose bytes stop
    at three or more parts is never merged at all; it still matches as a whole piece.
    """
    merges = []
    for token in sorted(ranks, key=ranks.__getitem__):
        if len(token) == 1:
            continue
        parts = _last_parts(token, ranks)
        if len(parts) == 2:
            merges.append((parts[0], parts[1]))
    return merges


def _last_parts(token: bytes, ranks: dict[bytes, int]) -> list[bytes]:
    """BPE on the bytes of ``token`` until two parts are left or nothing can be merged."""
    parts = [token[i : i + 1] for i in range(len(token))]
    while len(parts) > 2:
        best, at = None, -1
        for i in range(len(parts) - 1):
            rank = ranks.get(parts[i] + parts[i + 1])
            if rank is not None and (best is None or rank < best):
                best, at = rank, i
        if best is None:
            break
        parts[at : at + 2] = [parts[at] + parts[at + 1]]
    return parts


def byte_names() -> list[str]:
    """The printable character that stands for each byte in a byte-level `tokenizer.json`.

    Printable Latin-1 characters stand for themselves, the other 68 bytes for the characters from U+0100 on.
    """
    names, spare = [], 0x100
    for byte in range(256):
        if 0x21 <= byte <= 0x7E or 0xA1 <= byte <= 0xAC or byte >= 0xAE:
            names.append(chr(byte))
        else:
            names.append(chr(spare))
            spare += 1
    return names


def _added_token(token: str) -> dict:
    flags = {"lstrip": False, "normalized": False, "rstrip": False, "single_word": False, "special": True}
    return {"content": token, **flags}


def json_bytes(value: object) -> bytes:
    return (json.dumps(value, ensure_ascii=False, indent=2) + "\n").encode()


def write_atomic(path: Path, content: bytes) -> None:
    """Atomic: a temporary file beside it, synced, then renamed."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
