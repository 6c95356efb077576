"""`qwen-chat talk`: a conversation with a model in the terminal."""

from qwen_chat.talk.command import main, options

__all__ = ["main", "options"]
