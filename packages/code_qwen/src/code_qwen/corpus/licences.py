"""Recognises licence texts and checks whether a licence is allowed."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable

UNKNOWN = "unknown"  # a licence text that matches none below

_PERMISSIVE = """
    0BSD AFL-2.1 AFL-3.0 Apache-1.1 Apache-2.0 Artistic-2.0 BSD-2-Clause BSD-2-Clause-Patent BSD-3-Clause
    BSD-3-Clause-Clear BSD-4-Clause BSL-1.0 BlueOak-1.0.0 CC-BY-3.0 CC-BY-4.0 CC0-1.0 ECL-2.0 FTL HPND ISC Libpng MIT
    MIT-0 MITNFA MulanPSL-2.0 NCSA OFL-1.1 OpenSSL PHP-3.01 PostgreSQL PSF-2.0 Python-2.0 Ruby Unicode-DFS-2016
    Unlicense UPL-1.0 W3C WTFPL X11 Zlib ZPL-2.1
"""
PERMISSIVE = frozenset(_PERMISSIVE.lower().split())

_ALIASES = {"bsd-2": "bsd-2-clause", "bsd-3": "bsd-3-clause", "apache-2": "apache-2.0", "apache2": "apache-2.0"}

# The earliest match decides: GNU licences name each other further down.
_ISC = (
    "Permission to use, copy, modify, and(?:/or)? distribute this software for any purpose with or without fee "
    "is hereby granted"
)
_TEXTS = {
    "AGPL-3.0": r"GNU AFFERO GENERAL PUBLIC LICENSE",
    "LGPL-2.0": r"GNU LIBRARY GENERAL PUBLIC LICENSE",
    "LGPL-2.1": r"GNU LESSER GENERAL PUBLIC LICENSE Version 2\.1",
    "LGPL-3.0": r"GNU LESSER GENERAL PUBLIC LICENSE",
    "GPL-2.0": r"GNU GENERAL PUBLIC LICENSE,? Version 2",
    "GPL-3.0": r"GNU GENERAL PUBLIC LICENSE",
    "Apache-2.0": r"Apache License,? Version 2\.0",
    "Apache-1.1": r"Apache Software License,? Version 1\.1",
    "MPL-2.0": r"Mozilla Public License,? (?:Version|v\.?) 2\.0",
    "EPL-2.0": r"Eclipse Public License (?:- )?v(?:ersion)? 2\.0",
    "EPL-1.0": r"Eclipse Public License (?:- )?v(?:ersion)? 1\.0",
    "BSL-1.0": r"Boost Software License - Version 1\.0",
    "PSF-2.0": r"PYTHON SOFTWARE FOUNDATION LICENSE VERSION 2",
    "Artistic-2.0": r"The Artistic License 2\.0",
    "Unlicense": r"This is free and unencumbered software released into the public domain",
    "CC0-1.0": r"CC0 1\.0 Universal",
    "CC-BY-NC-4.0": r"Attribution-NonCommercial",
    "CC-BY-SA-4.0": r"Attribution-ShareAlike",
    "CC-BY-4.0": r"Creative Commons Attribution 4\.0",
    "MulanPSL-2.0": r"Mulan PSL v2",
    "WTFPL": r"DO WHAT THE FUCK YOU WANT TO PUBLIC LICENSE",
    "UPL-1.0": r"Universal Permissive License \(UPL\)",
    "Zlib": r"This software is provided 'as-is', without any express or implied warranty",
    "ISC": rf"{_ISC}, provided",
    "0BSD": rf"{_ISC}\.",
    "MIT": r"Permission is hereby granted, free of charge, to any person obtaining a copy of this software and "
    r"associated documentation files",
    "BSD-3-Clause": r"Redistribution and use in source and binary forms, with or without modification, are permitted"
    r"(?=.*?may be used to endorse or promote)",
    "BSD-2-Clause": r"Redistribution and use in source and binary forms, with or without modification, are permitted",
}
_PATTERNS = {name: re.compile(pattern.replace(" ", r"\s+"), re.I | re.S) for name, pattern in _TEXTS.items()}
_DECORATION = re.compile(r"^[\s#*/;%-]+", re.M)
_SPDX = re.compile(r"SPDX-License-Identifier:\s*([A-Za-z0-9.+() -]*[A-Za-z0-9.+)])")
LICENCE_FILE = re.compile(r"(licen[cs]e|copying|unlicen[cs]e)([-_.].*)?", re.I)


def licence_of(text: str) -> str | None:
    """The SPDX expression of a licence text or an SPDX header; None if unknown."""
    return spdx_header(text) or _recognised(text[:20_000])


def spdx_header(text: str) -> str | None:
    found = _SPDX.search(text, 0, 5_000)
    return found[1].strip() if found else None


def is_licence_file(name: str) -> bool:
    """LICENSE, LICENCE.md, COPYING.LESSER, LICENSE-MIT, but not license.py."""
    if not LICENCE_FILE.fullmatch(name):
        return False
    suffix = name.rpartition(".")[2].lower() if "." in name else ""
    return suffix in ("", "md", "txt", "rst", "lesser", "lib") or suffix.startswith(("mit", "apache", "bsd", "gpl"))


def licences_named(names: Iterable[str]) -> frozenset[str]:
    """Lower-case SPDX names; `permissive` means all of PERMISSIVE."""
    return frozenset().union(*(PERMISSIVE if name.lower() == "permissive" else {_name(name)} for name in names))


def is_allowed(expression: str, allowed: Collection[str]) -> bool:
    """Whether `allowed` (lower case) covers an SPDX expression: A OR B needs one, A AND B both, brackets all."""
    if "(" in expression:
        expression = re.sub(r"[()]", " ", expression).replace(" OR ", " AND ")
    return any(
        all(_name(licence) in allowed for licence in re.split(r"\s+AND\s+", choice))
        for choice in re.split(r"\s+OR\s+", expression.strip())
    )


def _name(licence: str) -> str:
    licence = re.split(r"\s+WITH\s+", licence.strip())[0].lower()  # an exception only allows more
    licence = re.sub(r"(-only|-or-later|\+)$", "", licence)
    return _ALIASES.get(licence, licence)


def _recognised(text: str) -> str | None:
    text = _DECORATION.sub("", text)
    found = {name: match.start() for name, pattern in _PATTERNS.items() if (match := pattern.search(text))}
    return min(found, key=found.__getitem__) if found else None  # of equals the first in the table
