"""Training on Megatron-core: loop, engine, schedules, guards, checkpoints with exact resume, and pretraining.

Reading order: `loop`, `engine`, `batches`, `schedule`, `guards`, `checkpoint` and `saving`, `validation`, `pretrain`.
"""
