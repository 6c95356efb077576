"""Decoding and scoring with models in Hugging Face form."""
