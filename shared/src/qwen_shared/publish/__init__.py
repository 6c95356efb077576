"""A run's checkpoint made ready for others: files, card, certificate and checksums; the hub and W&B."""
