"""Evaluation of chat models: tasks, pairs of models, reward models."""
