"""Licences by their text and as SPDX expressions."""

from code_qwen.corpus.licences import PERMISSIVE, is_allowed, is_licence_file, licence_of, licences_named

from .programs import GPL, MIT


def test_licences_by_their_text_and_as_expressions():
    assert licence_of(MIT) == "MIT" and licence_of(GPL) == "GPL-3.0"
    assert licence_of("\n".join(f" * {line}" for line in MIT.splitlines())) == "MIT"
    apache = "                     Apache License\n               Version 2.0, January 2004\n"
    assert licence_of(apache) == "Apache-2.0"
    bsd = "Redistribution and use in source and binary forms, with or without\nmodification, are permitted provided"
    assert licence_of(bsd) == "BSD-2-Clause"
    assert licence_of(bsd + "\nNeither the name may be used to endorse or promote products") == "BSD-3-Clause"
    lesser = "GNU LESSER GENERAL PUBLIC LICENSE\n  Version 2.1, February 1999\n GNU GENERAL PUBLIC LICENSE"
    assert licence_of(lesser) == "LGPL-2.1"
    assert licence_of("# SPDX-License-Identifier: BSD-3-Clause\n" + GPL) == "BSD-3-Clause"
    assert licence_of("All rights reserved.") is None
    assert is_licence_file("LICENSE") and is_licence_file("COPYING.LESSER") and is_licence_file("licence.md")
    assert not is_licence_file("license.py") and not is_licence_file("licensing.txt")
    for expression, allowed in {
        "MIT": True, "mit": True, "GPL-3.0-or-later": False, "MIT OR GPL-3.0": True, "MIT AND GPL-3.0": False,
        "Apache-2.0 WITH LLVM-exception": True, "(MIT OR GPL-3.0) AND BSD-3-Clause": False, "unknown": False,
        "(MIT AND BSD-2-Clause)": True, "": False,
    }.items():  # fmt: skip
        assert is_allowed(expression, PERMISSIVE) is allowed, expression
    assert is_allowed("GPL-3.0-only", licences_named(["GPL-3.0"])) and "mit" in licences_named(["permissive", "X"])
