"""Supervised fine-tuning on the trainer. Packages bring data, defaults and an evaluation."""
