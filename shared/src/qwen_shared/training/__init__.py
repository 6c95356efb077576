"""The loop, optimizer, schedules, checkpoints, exact resume; and the pretraining job on top of them."""
