import sys

from qwen_chat.cli import main

# Checkpointing starts worker processes that import this file again.
if __name__ == "__main__":
    sys.exit(main())
