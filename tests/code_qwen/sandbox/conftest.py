"""Each test runs with every kind of confinement that this machine offers; other machines have only the weaker ones."""

import pytest

from code_qwen.sandbox import pool

TIERS = {
    "namespaces": {},
    "landlock": {"namespaces": False, "user": None},
    "seccomp": {"namespaces": False, "user": None, "landlock": 0},
    "bare": {"namespaces": False, "user": None, "landlock": 0, "seccomp": False},
}


LONG = {"seccomp"}  # marked slow: like Landlock without its rules for files


@pytest.fixture(params=[pytest.param(name, marks=[pytest.mark.slow] if name in LONG else []) for name in TIERS])
def tier_name(request):
    return request.param


@pytest.fixture
def tier(tier_name, monkeypatch):
    """Boxes use only the mechanisms of this tier while the test runs."""
    mechanisms = pool.available_mechanisms()
    if tier_name != "bare" and not mechanisms[tier_name]:
        pytest.skip(f"this machine confines no program by {tier_name}")
    monkeypatch.setattr(pool, "available_mechanisms", lambda: mechanisms | TIERS[tier_name])
    return tier_name
