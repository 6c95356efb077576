"""Makes the embedded vocabulary, shared/src/qwen_shared/tokenizer/default.tiktoken, from the Python installation alone.

    uv run python scripts/train_default_vocab.py [--output FILE]

In order of rank: the 256 bytes; Chinese, one token for each of the 3,755 common characters (GB 2312, level 1) and for
the usual punctuation; byte-pair merges learnt on the standard library's documentation and source. The same Python
release gives the same file.
"""

import argparse
import ast
import io
import os
import sysconfig
import tokenize
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from pydoc_data.topics import topics

from tokenizers import Regex, Tokenizer, models, pre_tokenizers, trainers

from qwen_shared.files import write_atomic
from qwen_shared.tokenizer.loading import DEFAULT_RANKS
from qwen_shared.tokenizer.qwen import SPECIAL_TOKENS, SPLIT_PATTERN, QwenTokenizer
from qwen_shared.tokenizer.vocabulary import format_ranks

VOCAB_SIZE = 8192
REGULAR_TOKENS = VOCAB_SIZE - len(SPECIAL_TOKENS)
CHINESE_PUNCTUATION = "，。、；：？！“”‘’（）《》〈〉【】「」『』〔〕—…·～￥％"
CHATML_ROLES = "system\nuser\nassistant\n"
# Tests and an editor are code of their own kind, encodings are tables, the rest is no prose and no library.
LEFT_OUT = {
    "test",
    "tests",
    "idlelib",
    "idle_test",
    "turtledemo",
    "encodings",
    "pydoc_data",
    "site-packages",
    "lib2to3",
}
LONGEST_MERGE = 24  # bytes; longer ones would be rules of dashes and banners


def common_characters() -> list[str]:
    """GB 2312 level 1: rows 0xB0 to 0xD7, by frequency of use chosen, by pronunciation ordered."""
    cells = [bytes([row, cell]) for row in range(0xB0, 0xD8) for cell in range(0xA1, 0xFF)]
    return [text for cell in cells if (text := cell.decode("gb2312", "ignore"))]


def chinese_tokens() -> list[bytes]:
    """Each character behind its own prefixes, since merges join two known tokens."""
    characters = [character.encode() for character in [*common_characters(), *CHINESE_PUNCTUATION]]
    prefixes = {character[:2] for character in characters}
    return [*sorted(prefixes), *(character for character in characters if len(character) > 2)]


def library_files() -> list[Path]:
    root = Path(sysconfig.get_path("stdlib"))
    found = []
    for directory, names, files in os.walk(root):
        names[:] = sorted(set(names) - LEFT_OUT)
        found += [Path(directory) / name for name in sorted(files) if name.endswith(".py")]
    return sorted(found)


def docstrings(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            text = ast.get_docstring(node)
            if text:
                yield text


def comments(source: str) -> Iterator[str]:
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            yield token.string.lstrip("#").strip()


def corpus() -> tuple[list[str], list[str]]:
    """Prose and code, both ASCII: other scripts keep to their bytes and to the Chinese tokens above."""
    prose, code = [topics[name] for name in sorted(topics)], []
    for path in library_files():
        source = path.read_text(encoding="utf-8", errors="ignore")
        try:
            tree = ast.parse(source)
            prose += [*docstrings(tree), "\n".join(comments(source))]
        except (SyntaxError, tokenize.TokenError):
            continue
        code.append(source)
    return [_ascii(text) for text in prose], [_ascii(text) for text in code]


def _ascii(text: str) -> str:
    return text.encode("ascii", "replace").decode()


def learn_merges(texts: list[str], count: int) -> list[bytes]:
    """The first ``count`` merged tokens of BPE on ``texts``, in the order in which they were learnt."""
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(SPLIT_PATTERN), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=len(alphabet) + count,
        initial_alphabet=alphabet,
        max_token_length=LONGEST_MERGE,
        show_progress=False,
    )
    bpe.train_from_iterator(texts, trainer)
    # Byte-level names of ASCII bytes: themselves, or the byte plus 0x100 for the space and what lies below it.
    in_order = sorted(bpe.get_vocab().items(), key=lambda item: item[1])
    return [bytes(ord(c) % 0x100 for c in token) for token, _ in in_order if len(token) > 1]


def main() -> None:
    parser = argparse.ArgumentParser(description="Train the embedded default vocabulary.")
    parser.add_argument("--output", type=Path, default=DEFAULT_RANKS)
    output = parser.parse_args().output

    prose, code = corpus()
    size = Counter(prose=sum(map(len, prose)), code=sum(map(len, code)))
    # Source is larger than documentation: prose counts as often as it takes to weigh at least as much.
    weight = -(-size["code"] // size["prose"])
    roles = [CHATML_ROLES] * 2000  # one token each for the words that open every turn
    tokens = [bytes([byte]) for byte in range(256)] + chinese_tokens()
    tokens += learn_merges(prose * weight + code + roles, REGULAR_TOKENS - len(tokens))
    ranks = {token: rank for rank, token in enumerate(tokens)}
    assert len(ranks) == REGULAR_TOKENS, f"{len(tokens)} tokens, {len(ranks)} different, wanted {REGULAR_TOKENS}"

    tokenizer = QwenTokenizer(ranks, "default")
    write_atomic(output, format_ranks(ranks))

    def bytes_per_token(texts: list[str]) -> float:
        return sum(map(len, texts)) / sum(len(tokenizer.encode(text)) for text in texts)

    characters = common_characters()
    print(f"{output}: {tokenizer.vocab_size} ids, {output.stat().st_size} bytes, fingerprint {tokenizer.fingerprint}")
    print(f"prose {size['prose'] / 1e6:.1f} MB x {weight}, code {size['code'] / 1e6:.1f} MB")
    print(f"bytes per token: prose {bytes_per_token(prose):.3f}, code {bytes_per_token(code):.3f}")
    print(f"tokens per common Chinese character: {len(tokenizer.encode(''.join(characters))) / len(characters):.3f}")


if __name__ == "__main__":
    main()
