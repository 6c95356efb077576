import sys

from qwen_shared.entry import start


def main() -> int:
    return start("qwen-chat", "qwen_chat.cli")


# Checkpointing starts worker processes that import this file again.
if __name__ == "__main__":
    sys.exit(main())
