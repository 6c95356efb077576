"""Text to token ids and back: Qwen's byte-level BPE and its Hugging Face form, others' tokenizers, and ChatML."""

from qwen_shared.tokenizer.chatml import DEFAULT_SYSTEM
from qwen_shared.tokenizer.hf import HfTokenizer
from qwen_shared.tokenizer.interface import Message, Tokenizer
from qwen_shared.tokenizer.loading import load_tokenizer
from qwen_shared.tokenizer.qwen import QwenTokenizer

__all__ = ["DEFAULT_SYSTEM", "HfTokenizer", "Message", "QwenTokenizer", "Tokenizer", "load_tokenizer"]
