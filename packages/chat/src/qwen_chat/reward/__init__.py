"""The reward model: which of two answers people would prefer (report, section 6)."""
