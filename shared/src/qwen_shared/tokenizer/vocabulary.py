"""`.tiktoken` files: a line per token, its bytes in base64 and its rank, which is its id."""

import base64
import binascii
from pathlib import Path

from qwen_shared.errors import UserError

RANKS_FILE = "qwen.tiktoken"  # QwenTokenizer.save_hf writes it beside tokenizer.json


def read_ranks(path: Path) -> dict[bytes, int]:
    """Bytes → rank of every regular token, in order of rank.

    Raises UserError for a broken line, a repeated token or rank, a gap in the ranks, or a missing single byte.
    """
    try:
        lines = path.read_bytes().splitlines()
    except OSError as error:
        raise UserError(f"cannot read the vocabulary {path}: {error.strerror or error}") from None
    tokens: dict[int, bytes] = {}
    ranks: dict[bytes, int] = {}
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        where = f"{path}, line {number}"
        try:
            encoded, rank_text = line.split()
            token, rank = base64.b64decode(encoded, validate=True), int(rank_text)
        except (ValueError, binascii.Error):
            raise UserError(f"{where}: expected a token in base64, a space and its rank, got {line[:60]!r}") from None
        if not token or rank < 0:
            raise UserError(f"{where}: a token has at least one byte and a rank of at least 0, got {line[:60]!r}")
        if rank in tokens:
            raise UserError(f"{where}: rank {rank} is taken by the token {tokens[rank]!r} already")
        if token in ranks:
            raise UserError(f"{where}: the token {token!r} has the rank {ranks[token]} already")
        tokens[rank] = token
        ranks[token] = rank
    check_ranks(ranks, str(path))
    return {tokens[rank]: rank for rank in range(len(tokens))}


def check_ranks(ranks: dict[bytes, int], name: str) -> None:
    """Raises UserError unless ranks are 0, 1, 2, … and every single byte has one, so that every text has ids."""
    missing = [byte for byte in range(256) if bytes([byte]) not in ranks]
    if missing:
        shown = ", ".join(f"0x{byte:02x}" for byte in missing[:4]) + (", …" if len(missing) > 4 else "")
        raise UserError(f"{name}: {len(missing)} of the 256 single bytes have no token ({shown}); is the file whole?")
    used = set(ranks.values())
    gap = next((rank for rank in range(len(ranks)) if rank not in used), None)
    if gap is not None:
        raise UserError(f"{name}: ranks must be 0 to {len(ranks) - 1} without a gap, but {gap} is missing")


def format_ranks(ranks: dict[bytes, int]) -> bytes:
    """The content of a `.tiktoken` file."""
    ordered = sorted(ranks.items(), key=lambda item: item[1])
    return b"".join(b"%s %d\n" % (base64.b64encode(token), rank) for token, rank in ordered)
