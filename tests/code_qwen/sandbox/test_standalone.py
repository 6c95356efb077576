"""The sandbox is usable alone: neither importing nor using it brings in anything of training."""

import json
import subprocess
import sys

CODE = r"""
import json, sys
before = set(sys.modules)
from code_qwen.sandbox import Limits, isolation, passes, run
assert run("print(6 * 7)", limits=Limits(wall_seconds=60)).stdout == "42\n"
assert passes("", "def f(): return 1", "def check(c): assert c() == 1", "f", 60.0)
assert isolation()
print(json.dumps(sorted(set(sys.modules) - before)))
"""


def test_nothing_but_the_standard_library():
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True)
    modules = json.loads(done.stdout)
    own = [name for name in modules if name.partition(".")[0] not in sys.stdlib_module_names]
    assert own and all(name == "code_qwen" or name.startswith("code_qwen.sandbox") for name in own), own
