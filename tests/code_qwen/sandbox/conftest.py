"""Every way of confining a program that this machine offers: others have only the weaker ones."""

import pytest

from code_qwen.sandbox.pool import available_mechanisms, with_mechanisms

TIERS = {
    "namespaces": {},
    "landlock": {"namespaces": False, "user": None},
    "seccomp": {"namespaces": False, "user": None, "landlock": 0},
    "bare": {"namespaces": False, "user": None, "landlock": 0, "seccomp": False},
}


LONG = {"seccomp"}  # the tests of these are for the long run: their boxes are Landlock's less its files


@pytest.fixture(params=[pytest.param(name, marks=[pytest.mark.slow] if name in LONG else []) for name in TIERS])
def tier_name(request):
    return request.param


@pytest.fixture
def tier(tier_name):
    """Boxes are of that tier while the test runs."""
    mechanisms = available_mechanisms()
    if tier_name != "bare" and not mechanisms[tier_name]:
        pytest.skip(f"this machine confines no program by {tier_name}")
    with with_mechanisms(**TIERS[tier_name]):
        yield tier_name
