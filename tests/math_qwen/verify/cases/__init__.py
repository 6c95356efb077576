"""Pairs by kind: (gold, prediction, whether a mathematician would say that they are the same)."""
