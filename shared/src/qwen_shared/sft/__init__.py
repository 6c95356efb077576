"""Supervised fine-tuning on the Megatron trainer. Packages add data, defaults and an evaluation.

Reading order: `data` (`packing`, `checks`), `stages`, `batches`, `job`, `show`.
"""
