"""A run of PPO: put together, watched, saved. The algorithm is in `qwen_chat.ppo`."""
