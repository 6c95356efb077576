"""Wrong filters are refused in one line."""

import pytest

from code_qwen.corpus.settings import Filters
from qwen_shared.errors import UserError
from qwen_shared.recipe.load import validate


def test_settings_name_what_is_wrong():
    for key, (value, message) in {
        "languages": (["Pyton"], "Pyton is not known; nearest: Python"),
        "min_bytes": (2_000_000, "min_bytes=2000000 is more than max_bytes=1000000"),
        "near_duplicate_threshold": (0.0, "near_duplicate_threshold=0.0"),
        "max_line_lenght": (3, "nearest valid key: 'max_line_length'"),
    }.items():
        with pytest.raises(UserError, match=message):
            validate(Filters, {key: value}, "prepare")
