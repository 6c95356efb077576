"""One process or many: local processes, torchrun's agent, Slurm."""
