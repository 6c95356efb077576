"""Writes the exact version of every third-party package into the root pyproject's `constraint-dependencies`.

    uv run scripts/pin.py           resolve afresh, to the newest versions the members allow, and write the pins
    uv run scripts/pin.py --check   exit 1 unless the pins name the whole tree, no more and no less

Only names and versions are written: unlike a lock file, the result says nothing of where packages come from.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
PINS = re.compile(r"^constraint-dependencies = \[[^]]*\]\n", re.MULTILINE)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="write nothing, exit 1 where the pins are not exact")
    args = parser.parse_args()
    written = read_pins(ROOT)
    if args.check:
        needed = resolve(ROOT, written)
        for pin in sorted(set(needed) ^ set(written)):
            print(f"{'missing' if pin in needed else 'not needed'}: {pin}")
        return int(set(needed) != set(written))
    pins = resolve(ROOT, [])
    path = ROOT / "pyproject.toml"
    path.write_text(with_pins(path.read_text(encoding="utf-8"), pins), encoding="utf-8")
    for pin in sorted(set(pins) ^ set(written)):
        print(f"{'+' if pin in pins else '-'} {pin}")
    return 0


def read_pins(root: Path) -> list[str]:
    tool = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["tool"]
    return tool["uv"]["constraint-dependencies"]


def with_pins(pyproject: str, pins: list[str]) -> str:
    # A marker holds double quotes only where the lock does; TOML's basic strings escape them.
    lines = "".join('    "' + pin.replace('"', "'") + '",\n' for pin in pins)
    text, count = PINS.subn(lambda _: f"constraint-dependencies = [\n{lines}]\n", pyproject)
    if count != 1:
        raise SystemExit("pyproject.toml: expected one line or block `constraint-dependencies = [...]`")
    return text


def resolve(root: Path, pins: list[str]) -> list[str]:
    """The whole third-party tree as name==version, resolved in a copy that has only these pins and no lock file."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder)
        members = [*root.glob("packages/*/pyproject.toml"), root / "shared/pyproject.toml"]
        for pyproject in [root / "pyproject.toml", *members]:
            target = copy / pyproject.relative_to(root)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(pyproject.read_text(encoding="utf-8"), encoding="utf-8")
        shutil.copy(root / ".python-version", copy)
        top = copy / "pyproject.toml"
        top.write_text(with_pins(top.read_text(encoding="utf-8"), pins), encoding="utf-8")
        subprocess.run(["uv", "lock", "--quiet"], cwd=copy, check=True)
        return pins_of_lock(tomllib.loads((copy / "uv.lock").read_text(encoding="utf-8")))


def pins_of_lock(lock: dict) -> list[str]:
    """name==version of each package that comes from a registry; where platforms differ, with the platform's marker."""
    packages = [package for package in lock["package"] if "registry" in package["source"]]
    names = [package["name"] for package in packages]
    pins = []
    for package in packages:
        pin = f"{package['name']}=={package['version']}"
        if names.count(package["name"]) == 1:
            pins.append(pin)
        else:
            pins += [f"{pin} ; {marker}" for marker in package["resolution-markers"]]
    return sorted(pins)


if __name__ == "__main__":
    sys.exit(main())
