import sys

from qwen_shared.entry import start


def main() -> int:
    return start("qwen-family", "qwen_shared.family.cli")


if __name__ == "__main__":
    sys.exit(main())
