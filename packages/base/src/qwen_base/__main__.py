import sys

from qwen_shared.entry import start


def main() -> int:
    return start("qwen-base", "qwen_base.cli")


# Checkpointing starts worker processes that import this file again.
if __name__ == "__main__":
    sys.exit(main())
