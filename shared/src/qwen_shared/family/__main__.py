import sys

from qwen_shared.family.cli import main

sys.exit(main())
