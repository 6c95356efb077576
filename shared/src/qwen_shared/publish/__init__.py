"""A run's checkpoint as something that others can load and trust."""
