"""Megatron ↔ Hugging Face weights, with a proof at every crossing."""
