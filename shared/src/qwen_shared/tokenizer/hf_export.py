"""A tiktoken vocabulary as a Hugging Face fast tokenizer with the same ids, and ChatML as its chat template."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from qwen_shared.tokenizer import hf_files
from qwen_shared.tokenizer.chatml import CHAT_TEMPLATE
from qwen_shared.tokenizer.vocabulary import RANKS_FILE, format_ranks

if TYPE_CHECKING:
    from tokenizers import Tokenizer as FastTokenizer


def save(
    directory: Path, ranks: dict[bytes, int], split_pattern: str, special_tokens: Sequence[str], *, eos: str, pad: str
) -> None:
    """Writes the files for `AutoTokenizer.from_pretrained(directory)`, and the ranks for `load_tokenizer`.

    Hugging Face's tokenizer differs from ours in three ways:

    - It parses special tokens in text unless called with `split_special_tokens=True`.
    - Its chat template gives other ids than `render` if content begins with a newline (after any spaces): it tokenises
      this together with the newline behind the role.
    - Its NFC is that of Unicode 10, and may order several marks on one letter differently if one is newer.
    """
    directory.mkdir(parents=True, exist_ok=True)
    config = {
        # A model-specific class may rebuild parts of tokenizer.json; this one takes it as it is.
        "tokenizer_class": "PreTrainedTokenizerFast",
        "eos_token": eos,
        "pad_token": pad,
        "additional_special_tokens": [token for token in special_tokens if token not in (eos, pad)],
        "added_tokens_decoder": {str(id): _added_token(token) for id, token in enumerate(special_tokens, len(ranks))},
        "chat_template": CHAT_TEMPLATE,
        "clean_up_tokenization_spaces": False,
    }
    fast = fast_tokenizer(ranks, split_pattern, special_tokens)
    contents = {
        RANKS_FILE: format_ranks(ranks),
        hf_files.SPECIAL_MAP_FILE: hf_files.json_bytes({"eos_token": eos, "pad_token": pad}),
        hf_files.CONFIG_FILE: hf_files.json_bytes(config),
        hf_files.TOKENIZER_FILE: fast.to_str(pretty=True).encode(),
    }
    hf_files.write_files(directory, contents)


def fast_tokenizer(ranks: dict[bytes, int], split_pattern: str, special_tokens: Sequence[str]) -> "FastTokenizer":
    from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers

    names = hf_files.byte_names()

    def name(token: bytes) -> str:
        return "".join([names[byte] for byte in token])

    vocab = {name(token): rank for token, rank in ranks.items()}
    merges = [(name(left), name(right)) for left, right in rebuild_merges(ranks)]
    # ignore_merges: like tiktoken, a word that is a token is one token, even if no merges lead there.
    fast = Tokenizer(models.BPE(vocab=vocab, merges=merges, ignore_merges=True))
    fast.normalizer = normalizers.NFC()
    fast.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(split_pattern), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    fast.decoder = decoders.ByteLevel()
    fast.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in special_tokens])
    return fast


def rebuild_merges(ranks: dict[bytes, int]) -> list[tuple[bytes, bytes]]:
    """The pair that each token of two or more bytes is merged from, in order of rank.

    tiktoken merges any neighbours that join to a known token, lowest rank first; Hugging Face needs a list of pairs.
    One pair per token is enough: until a merge crosses the borders of a future token, the merges inside it are those of
    BPE on its bytes alone, so its last two parts are always the same. A token whose bytes stop at three or more parts
    is never merged, but still matches as a whole word.
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
    """BPE on the token's bytes until two parts are left or nothing can be merged."""
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


def _added_token(token: str) -> dict[str, str | bool]:
    flags = {"lstrip": False, "normalized": False, "rstrip": False, "single_word": False, "special": True}
    return {"content": token, **flags}
