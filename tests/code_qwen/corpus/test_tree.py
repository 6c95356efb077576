"""Which files of a tree are looked at: git's own rules, and none that lie elsewhere or that no one wrote."""

import os
import shutil
import subprocess

import pytest

from code_qwen.corpus.tree import list_tree
from qwen_shared.data import Meter
from qwen_shared.errors import UserError

from .programs import GPL, MIT, program

GITIGNORES = {
    ".gitignore": "*.tmp.py\nbuild/\n/only_root.py\n!keep.tmp.py\ndocs/**/gen_*.py\n# a\n\n\\#odd.py\nspaced.py   \n",
    "sub/.gitignore": "!other.tmp.py\nsecret.py\n/anchored.py\n",
    "sub/deep/.gitignore": "*\n!kept.py\n!.gitignore\n",
    "again/.gitignore": "build\n!build/important.py\n",
}
NAMES = """
    a.py a.tmp.py keep.tmp.py only_root.py sub/only_root.py build/x.py sub/build/y.py sub/other.tmp.py sub/some.tmp.py
    sub/secret.py sub/deep/kept.py sub/deep/gone.py sub/deep/er/kept.py sub/deep/er/gone.py docs/gen_a.py
    docs/x/y/gen_b.py docs/x/real.py #odd.py spaced.py sub/anchored.py sub/x/anchored.py again/build/important.py
    again/more/build/z.py again/builder.py excluded.py
"""


@pytest.mark.skipif(not shutil.which("git"), reason="git is the reference")
def test_ignored_is_what_git_ignores(write):
    files = {name: program(i) for i, name in enumerate(NAMES.split())}
    root = write("tree", {**files, **GITIGNORES})
    subprocess.run(["git", "init", "-q", str(root)], check=True)
    (root / ".git" / "info" / "exclude").write_text("excluded.py\n")
    command = ["git", "-C", str(root), "ls-files", "--others", "--exclude-standard", "-z"]
    env = {**os.environ, "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
    listed = subprocess.run(command, check=True, capture_output=True, env=env).stdout.decode().split("\0")
    expected = {name for name in listed if name.endswith(".py")}
    assert {file.path for file in list_tree(root).files} == expected
    assert 5 < len(expected) < len(files) - 10


def test_what_others_or_programs_wrote_is_left_out(kept, write):
    code = {name: program(i) for i, name in enumerate(
        ["src/a.py", "node_modules/m/a.js", "third_party/b.c", "vendor/c.go", "x_pb2.py", "app.min.js", ".hidden/d.py",
         ".e.py", "lib/site-packages/f.py", "g.designer.cs"]
    )}  # fmt: skip
    root = write("tree", {**code, "yarn.lock": "# yarn", "README.md": "# Read me", "data.json": "{}", "go.sum": "x"})
    assert kept(root) == {
        "src/a.py": None,
        "node_modules": "vendored or built (folder)",
        "third_party": "vendored or built (folder)",
        "vendor": "vendored or built (folder)",
        "lib/site-packages": "vendored or built (folder)",
        "x_pb2.py": "generated",
        "g.designer.cs": "generated",
        "app.min.js": "minified",
        ".hidden": "hidden (folder)",
        ".e.py": "hidden",
        "yarn.lock": "lock file",
        "go.sum": "lock file",
        "README.md": "not a programming language",
        "data.json": "not a programming language",
    }


def test_nothing_is_followed_out_of_the_tree_or_in_circles(write, tmp_path):
    outside = write("outside", {"secret.py": program(1)})
    root = write("tree", {"a.py": program(2), "b/c.py": program(3)})
    (root / "link.py").symlink_to(outside / "secret.py")
    (root / "folder").symlink_to(outside)
    (root / "b" / "circle").symlink_to(root)
    (root / "dangling.py").symlink_to(root / "nowhere")
    for pipe in ("pipe.py", "LICENSE", "b/.gitignore"):
        os.mkfifo(root / pipe)
    with open(os.fsencode(root) + b"/latin-\xe9.py", "w"):  # noqa: PTH123 (a name that no Path can be printed with)
        pass
    listing = list_tree(root)
    assert [file.path for file in listing.files] == ["a.py", "b/c.py"]
    assert sorted(d.reason for d in listing.dropped) == [
        "name that is not UTF-8",
        *["not a regular file"] * 3,
        *["symbolic link"] * 4,
    ]
    (tmp_path / "alias").symlink_to(root)  # but the tree itself may be named by a link
    assert [file.path for file in list_tree(tmp_path / "alias").files] == ["a.py", "b/c.py"]


def test_repositories_and_their_licences(write):
    root = write(
        "clones",
        {
            "one/.git/HEAD": "", "one/LICENSE": MIT, "one/a.py": program(1), "one/sub/b.py": program(2),
            "one/other/COPYING": GPL, "one/other/c.py": program(3),
            "two/.git/HEAD": "", "two/d.py": program(4),
            "two/inner/.git": "gitdir: elsewhere", "two/inner/e.py": program(5),
            "three/LICENSE-MIT": MIT, "three/LICENSE-GPL": GPL, "three/f.py": program(6),
            "four/LICENSE.txt": "Ask me first.", "four/g.py": program(7), "four/license.py": program(8),
        },
    )  # fmt: skip
    found = {(f.repository, f.path): f.licence for f in list_tree(root).files}
    assert found == {
        ("one", "a.py"): "MIT",
        ("one", "sub/b.py"): "MIT",
        ("one", "other/c.py"): "GPL-3.0",
        ("two", "d.py"): None,
        ("two/inner", "e.py"): None,
        ("clones", "three/f.py"): "GPL-3.0 AND MIT",
        ("clones", "four/g.py"): "unknown",
        ("clones", "four/license.py"): "unknown",
    }


def test_licences_allowed(kept, write):
    root = write(
        "tree",
        {
            "mit/LICENSE": MIT, "mit/a.py": program(1), "mit/b.py": "# SPDX-License-Identifier: GPL-2.0\n" + program(2),
            "gpl/COPYING": GPL, "gpl/c.py": program(3), "gpl/d.c": "// SPDX-License-Identifier: MIT OR GPL-3.0\n" * 3,
            "none/e.py": program(4),
        },
    )  # fmt: skip
    found = {name: why for name, why in kept(root).items() if why != "not a programming language"}
    assert found == {
        "mit/a.py": None,
        "none/e.py": None,
        "mit/b.py": "licence GPL-2.0",
        "gpl/c.py": "licence GPL-3.0",
    } | {"gpl/d.c": "licence GPL-3.0"}
    strict = kept(root, filters={"licences": ["GPL-3.0"], "unlicensed": False})
    assert strict["gpl/c.py"] is None and strict["none/e.py"] == "no licence" and strict["mit/a.py"] == "licence MIT"
    assert None in {kept(root, filters={"licences": None})[name] for name in ("mit/b.py", "gpl/c.py")}


def test_a_tree_without_code_is_told(reader, write, tmp_path):
    root = write("tree", {"README.md": "# Read me"})
    with pytest.raises(UserError, match=r"no source code in this directory.*README.md"):
        reader(root)
    root = write("tree2", {"a.py": "x", "b/COPYING": GPL, "b/c.py": program(1)})
    made = reader(root)
    with pytest.raises(UserError, match=r"the filters leave nothing.*licence GPL-3\.0"):
        list(made.documents(Meter()))


def test_two_listings_are_equal_and_anything_that_decides_is_in_the_identity(write):
    root = write("tree", {"a.py": program(1), "b/c.py": program(2), "LICENSE": MIT, ".gitignore": "x\n", "x/y.py": "1"})
    first = list_tree(root)
    assert list_tree(root) == first
    names = {os.path.relpath(path, root) for path, _, _ in first.identities}
    assert names == {"a.py", "b/c.py", "LICENSE", ".gitignore"}
    (root / ".gitignore").write_text("z\n")
    os.utime(root / ".gitignore", ns=(1, 1))
    assert list_tree(root).identities != first.identities
