"""A run's checkpoint for others: model files, card, parity certificate, checksums.

command      the verb: checks, assembles, sends; read this first
checkpoint   which one, and its run; `kind`: what the package says of the kind of run
target       a directory, the hub (`hub`) or W&B (`wandb_artifact`); refuses to lose what is there
parity       the proof that the files are the checkpoint
card         the model card, from `evaluation` (results) and `provenance` (parents, data, `licences`)
quantise     int8 and int4 variants, measured on `held_out` text
"""
