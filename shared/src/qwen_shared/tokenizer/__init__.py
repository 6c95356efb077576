"""Tokenizers: Qwen's byte-level BPE, Hugging Face's, and their chat templates.

Reading order: `interface`, `qwen` (`vocabulary`, `chatml`, `hf_export`), `hf` (`hf_files`, `hf_spec`, `hf_template`,
`hf_mask`), `loading`.
"""

from qwen_shared.tokenizer.chatml import DEFAULT_SYSTEM
from qwen_shared.tokenizer.hf import HfTokenizer
from qwen_shared.tokenizer.interface import Message, Tokenizer
from qwen_shared.tokenizer.loading import load_tokenizer
from qwen_shared.tokenizer.qwen import QwenTokenizer

__all__ = ["DEFAULT_SYSTEM", "HfTokenizer", "Message", "QwenTokenizer", "Tokenizer", "load_tokenizer"]
