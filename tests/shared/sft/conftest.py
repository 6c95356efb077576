"""Small conversations, as files and packed."""

import json
import random
from pathlib import Path

import pytest

WORDS = ("add", "the", "numbers", "and", "say", "what", "is", "left", "加", "等于", "12", "345")


def conversation(i: int) -> list[dict[str, str]]:
    """One to three questions and answers of a few words, all different."""
    draw = random.Random(i)
    turns = [{"role": "system", "content": f"You are number {i}."}] if i % 3 == 0 else []
    for turn in range(draw.randint(1, 3)):
        question, answer = (" ".join(draw.choices(WORDS, k=draw.randint(1, 8))) for _ in range(2))
        turns.append({"role": "user", "content": f"{i}.{turn}: {question}?"})
        turns.append({"role": "assistant", "content": answer})
    return turns


@pytest.fixture(scope="session")
def conversations():
    """conversations(n): n of them, as lists of messages."""
    return lambda count: [conversation(i) for i in range(count)]


@pytest.fixture(scope="session")
def write():
    """write(path, conversations) → path, as `messages` JSONL."""

    def write(path: Path, conversations: list[list[dict[str, str]]]) -> Path:
        lines = (json.dumps({"messages": messages}, ensure_ascii=False) + "\n" for messages in conversations)
        path.write_text("".join(lines), encoding="utf-8")
        return path

    return write


@pytest.fixture(scope="session")
def tokenizer():
    from qwen_shared.tokenizer import load_tokenizer

    return load_tokenizer("default")


@pytest.fixture
def token_file(tmp_path):
    """token_file([stored tokens of each conversation]) → TokenFile"""
    import numpy as np

    from qwen_shared.data import TokenFile, TokenFileWriter

    def write(documents):
        prefix = tmp_path / f"tokens-{len(list(tmp_path.glob('tokens-*.idx')))}"
        with TokenFileWriter(prefix, np.int32) as writer:
            for document in documents:
                writer.add(np.array(document, np.int32))
        return TokenFile(prefix)

    return write


@pytest.fixture
def packed(tokenizer, token_file):
    """packed(conversations, seq_length, mask=…, seed=…, max_positions=…) → PackedConversations"""
    from qwen_shared.data.conversations import ConversationEncoder
    from qwen_shared.data.documents import Document
    from qwen_shared.sft.packing import PackedConversations

    def pack(conversations, seq_length, mask="assistant", seed=0, max_positions=None):
        encode = ConversationEncoder(mask, None)
        stored = [encode(tokenizer, Document(json.dumps(messages), "x"))[0] for messages in conversations]
        file = token_file(stored)
        return PackedConversations(file, seq_length, tokenizer.stop_ids, tokenizer.pad_id, seed, max_positions)

    return pack
