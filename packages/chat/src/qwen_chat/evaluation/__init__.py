"""How a chat model does on dialogues whose answers a program can check."""
