"""The mathematics of PPO: pure functions on tensors (see `qwen_chat.ppo`)."""
