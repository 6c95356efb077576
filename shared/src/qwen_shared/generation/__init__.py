"""Decoding and scoring with the Hugging Face form of a model, where a KV cache lives."""
