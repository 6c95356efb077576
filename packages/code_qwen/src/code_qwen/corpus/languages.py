"""A file's programming language by its name. Languages have GitHub's names."""

from __future__ import annotations

import difflib
from pathlib import PurePosixPath

# An extension of several languages counts as the most common. No data, markup or prose.
_EXTENSIONS = {
    "Ada": "adb ads",
    "Assembly": "asm s nasm",
    "Awk": "awk",
    "Batchfile": "bat cmd",
    "C": "c h",
    "C#": "cs csx",
    "C++": "cpp cc cxx c++ hpp hh hxx h++ ipp tpp inl",
    "CMake": "cmake",
    "CSS": "css",
    "Clojure": "clj cljs cljc",
    "CoffeeScript": "coffee",
    "Common Lisp": "lisp lsp asd",
    "Crystal": "cr",
    "Cuda": "cu cuh",
    "Cython": "pyx pxd pxi",
    "D": "d di",
    "Dart": "dart",
    "Dockerfile": "dockerfile",
    "Elixir": "ex exs",
    "Elm": "elm",
    "Emacs Lisp": "el",
    "Erlang": "erl hrl",
    "F#": "fs fsi fsx",
    "Fortran": "f f77 f90 f95 f03 f08 for",
    "GLSL": "glsl vert frag geom comp",
    "Go": "go",
    "Groovy": "groovy gradle",
    "HLSL": "hlsl",
    "HTML": "html htm",
    "Haskell": "hs lhs",
    "Idris": "idr",
    "Java": "java",
    "JavaScript": "js mjs cjs jsx",
    "Julia": "jl",
    "Kotlin": "kt kts",
    "Lean": "lean",
    "Lua": "lua",
    "MATLAB": "m",
    "Makefile": "mk mak",
    "Metal": "metal",
    "Nim": "nim",
    "Nix": "nix",
    "OCaml": "ml mli",
    "Objective-C++": "mm",
    "PHP": "php phtml",
    "Pascal": "pas pp dpr",
    "Perl": "pl pm",
    "PowerShell": "ps1 psm1",
    "Prolog": "pro plg",
    "Protocol Buffer": "proto",
    "Python": "py pyw pyi",
    "R": "r",
    "Racket": "rkt",
    "Ruby": "rb rake gemspec",
    "Rust": "rs",
    "SQL": "sql",
    "Scala": "scala sc sbt",
    "Scheme": "scm ss",
    "Shell": "sh bash zsh ksh fish",
    "Solidity": "sol",
    "Stan": "stan",
    "Svelte": "svelte",
    "Swift": "swift",
    "SystemVerilog": "sv svh",
    "Tcl": "tcl",
    "Terraform": "tf",
    "Thrift": "thrift",
    "TypeScript": "ts mts cts tsx",
    "VHDL": "vhd vhdl",
    "Verilog": "v vh",
    "Vim Script": "vim",
    "Visual Basic": "vb bas",
    "Vue": "vue",
    "Zig": "zig",
}
_FILES = {
    "CMake": ("CMakeLists.txt",),
    "Dockerfile": ("Dockerfile", "Containerfile"),
    "Makefile": ("Makefile", "makefile", "GNUmakefile"),
    "Ruby": ("Rakefile", "Gemfile"),
    "Starlark": ("BUILD", "BUILD.bazel", "WORKSPACE"),
}
_BY_EXTENSION = {extension: language for language, line in _EXTENSIONS.items() for extension in line.split()}
_BY_NAME = {name: language for language, names in _FILES.items() for name in names}

LANGUAGES = {language.lower(): language for language in (*_EXTENSIONS, *_FILES)}
_ALIASES = {"cpp": "C++", "c-sharp": "C#", "csharp": "C#", "golang": "Go", "js": "JavaScript", "ts": "TypeScript"}
LANGUAGES |= _ALIASES


def language_of(path: str) -> str | None:
    name = PurePosixPath(path).name
    stem, dot, extension = name.rpartition(".")
    return _BY_NAME.get(name) or (_BY_EXTENSION.get(extension.lower()) if stem and dot else None)


def language_named(name: str) -> str:
    """In the table's spelling; an unknown name as it is."""
    return LANGUAGES.get(name.lower(), name)


def nearest_language(name: str) -> str:
    near = difflib.get_close_matches(name.lower(), LANGUAGES, n=1, cutoff=0.0)
    return LANGUAGES[near[0]]
