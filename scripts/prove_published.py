"""Shows that published checkpoints are of use to whoever has only transformers.

    uv run python scripts/prove_published.py runs/*/tiny/published

For each: its checksums; then the code of its model card, as it stands, in an environment of its own that has torch and
transformers and nothing of this project. What the model says is printed. Exits with 1 where one is damaged or says
nothing.
"""

from __future__ import annotations

import argparse
import hashlib
import re
import subprocess
import sys
from pathlib import Path

_ELSEWHERE = ["uv", "run", "--quiet", "--isolated", "--no-project", "--python", sys.executable]
_ELSEWHERE += ["--with", "torch,transformers", "python", "-c"]
_NOT_OURS = """
import importlib.util, torch, transformers
assert importlib.util.find_spec("qwen_shared") is None, "the project is in this environment"
print(f"torch {torch.__version__}, transformers {transformers.__version__}")
"""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("published", type=Path, nargs="+", metavar="DIR", help="what `publish` made")
    parser.add_argument("--timeout", type=int, default=600, metavar="S", help="seconds for each (default: 600)")
    args = parser.parse_args()
    print(_run_elsewhere(_NOT_OURS, Path("/"), args.timeout), flush=True)
    failed = 0
    for directory in args.published:
        try:
            _check_sums(directory)
            said = _run_elsewhere(_code_of_card(directory), directory, args.timeout)
            if not said:
                raise ValueError("it says nothing")
        except (OSError, ValueError, subprocess.SubprocessError) as error:
            failed += 1
            said = f"FAIL: {error}"
        print(f"\n{directory}\n  " + said.replace("\n", "\n  "), flush=True)
    print(f"\n{'FAIL' if failed else 'PASS'}: {len(args.published) - failed} of {len(args.published)}")
    return int(failed > 0)


def _check_sums(directory: Path) -> None:
    for line in (directory / "SHA256SUMS").read_text().splitlines():
        expected, _, name = line.partition("  ")
        with (directory / name).open("rb") as file:
            if hashlib.file_digest(file, "sha256").hexdigest() != expected:
                raise ValueError(f"{name} is not what its checksum says")


def _code_of_card(directory: Path) -> str:
    found = re.search(r"^```python\n(.*?)^```", (directory / "README.md").read_text(), re.DOTALL | re.MULTILINE)
    if found is None:
        raise ValueError("the card has no code")
    return found[1]


def _run_elsewhere(code: str, directory: Path, timeout: int) -> str:
    done = subprocess.run([*_ELSEWHERE, code], cwd=directory, capture_output=True, text=True, timeout=timeout)
    if done.returncode:
        raise ValueError(done.stderr.strip() or f"exit code {done.returncode}")
    return done.stdout.strip()


if __name__ == "__main__":
    sys.exit(main())
