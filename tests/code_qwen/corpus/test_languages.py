"""Languages by file name."""

from code_qwen.corpus.languages import language_of


def test_languages():
    names = {
        "a.py": "Python", "A.PY": "Python", "x/Makefile": "Makefile", "b.tsx": "TypeScript", "c.hpp": "C++", "d.h": "C",
        "Dockerfile": "Dockerfile", "CMakeLists.txt": "CMake", "e.rs": "Rust", "f.ipynb": None, "README": None,
        ".py": None, "g.json": None, "notes.txt": None,
    }  # fmt: skip
    assert {name: language_of(name) for name in names} == names
