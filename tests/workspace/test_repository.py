"""What the repository's files may say: no download addresses, no lock file, no second place to get packages from."""

import shutil
import subprocess

import pytest

# Spelled in pieces, or this file would be the first to break the rule.
HOSTS = ["pypi" + ".org", "python" + "hosted.org", "download." + "pytorch.org", "pypi." + "nvidia", "npmjs" + ".org"]
INDEXES = ["index" + "-url", "find" + "-links", "[[tool.uv." + "index"]


@pytest.fixture(scope="module")
def files(root):
    """Everything that git tracks or would track."""
    if not (root / ".git").exists() or not shutil.which("git"):
        pytest.skip("not a git checkout")
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    names = subprocess.run(command, cwd=root, capture_output=True, check=True).stdout.decode().split("\0")
    return [root / name for name in names if name and (root / name).is_file()]


def test_no_registry_is_named(files):
    words = [word.encode() for word in HOSTS + INDEXES]
    found = [f"{path}: {word.decode()}" for path in files for word in words if word in path.read_bytes()]
    assert not found


def test_no_lock_file_no_runs(files, root):
    names = [path.relative_to(root) for path in files]
    assert not [name for name in names if name.name == "uv.lock" or name.parts[0] in ("runs", "wandb", ".venv")]
    assert {"uv.lock", "runs/", ".venv/"} <= set((root / ".gitignore").read_text().split())


def test_scripts_can_be_run(root):
    assert (root / ".ci" / "run").stat().st_mode & 0o111
