"""Text to token ids and back: Qwen's byte-level BPE, ChatML, and the Hugging Face form of the same vocabulary."""

from qwen_shared.tokenizer.chatml import DEFAULT_SYSTEM
from qwen_shared.tokenizer.interface import Message, Tokenizer
from qwen_shared.tokenizer.loading import load_tokenizer
from qwen_shared.tokenizer.qwen import QwenTokenizer

__all__ = ["DEFAULT_SYSTEM", "Message", "QwenTokenizer", "Tokenizer", "load_tokenizer"]
