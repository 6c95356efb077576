"""Qwen on Megatron-core. Import the submodule you need: `sizes` alone needs no torch."""
