"""Replaces keys, passwords, e-mail addresses and public IP addresses with placeholders.

Each pattern has literal words without which it cannot match, so most texts cost a few substring searches. The
placeholder of an IP address is one reserved for documentation, so that code stays valid. Names of people and IPv6
addresses stay.
"""

from __future__ import annotations

import ipaddress
import math
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

KEY, PASSWORD, EMAIL, IP_ADDRESS = "<KEY>", "<PASSWORD>", "<EMAIL>", "192.0.2.1"


@dataclass(frozen=True)
class Rule:
    name: str
    words: tuple[str, ...]  # in lower case; one must occur
    pattern: re.Pattern[str]
    placeholder: str
    is_secret: Callable[[re.Match[str]], bool] = lambda match: True
    core: re.Pattern[str] | None = None  # a faster pattern that must match too


def scrubbed(text: str) -> tuple[str, dict[str, int]]:
    """The text with placeholders, and the number of each kind. Idempotent."""
    counts: Counter[str] = Counter()
    lower = text.lower()
    for rule in RULES:
        if not any(word in lower for word in rule.words) or (rule.core and not rule.core.search(text)):
            continue

        def replaced(match: re.Match[str], rule: Rule = rule) -> str:
            if not rule.is_secret(match):
                return match[0]
            counts[rule.name] += 1
            # A group holds the secret.
            start, end = match.span(match.re.groups and 1)
            return match[0][: start - match.start()] + rule.placeholder + match[0][end - match.start() :]

        text = rule.pattern.sub(replaced, text)
    return text, dict(counts)


def _rule(name: str, words: str, pattern: str, placeholder: str = KEY, **more: Any) -> Rule:
    return Rule(name, tuple(words.lower().split()), re.compile(pattern), placeholder, **more)


_SECRET_WORDS = "secret token passw pwd api access private auth credential signing"
_SECRET_NAME = re.compile(
    r"(?:secret|token(?!i[sz])|passw(?:or)?d|passwd|pwd|api[_-]?key|access[_-]?key|private[_-]?key|auth(?!or)|credential"
    r"|signing)"
    r"[\w\]\"'.-]*\s*(?:=>|[:=])\s*\w{0,2}$",
    re.I,
)
_LOOKS_LIKE_WORDS = re.compile(r"[a-z]+(?:[_.\-/][a-z]+)*|[A-Z]+(?:_[A-Z]+)*|[A-Za-z][a-z]*(?:[A-Z][a-z]+)*")


def _is_secret_value(match: re.Match[str]) -> bool:
    """High entropy, assigned to a name such as secret, token or key."""
    value = match[1]
    if not (any(c.isdigit() for c in value) and any(c.isalpha() for c in value)):
        return False
    if _LOOKS_LIKE_WORDS.fullmatch(value) or _entropy(value) < 3.5:
        return False
    line = match.string[max(0, match.start() - 80) : match.start(1)].rpartition("\n")[2].rstrip("\"'")
    return _SECRET_NAME.search(line) is not None


def _entropy(value: str) -> float:
    return -sum(n / len(value) * math.log2(n / len(value)) for n in Counter(value).values())


# Reserved for examples.
_NOBODY = re.compile(r"@(?:[\w-]+\.)*(?:example\.(?:com|org|net|edu)|\w+\.(?:example|invalid|test|localhost))$", re.I)
# A picture's size, a matrix product.
_CODE = re.compile(r"@(?:[1-9]x|self|cls)\.")
_SERVICE = re.compile(r"^(?:git|noreply|no-reply|hg|svn|user|username|root)@", re.I)


def _is_persons_email(match: re.Match[str]) -> bool:
    return not any(pattern.search(match[0]) for pattern in (_NOBODY, _CODE, _SERVICE))


_RESOLVERS = {"8.8.8.8", "8.8.4.4", "1.1.1.1", "1.0.0.1", "9.9.9.9", "208.67.222.222", "208.67.220.220"}
_VERSION = re.compile(r"(?:\bv|version|release|==|>=|<=|~=|\^|rev)[\s\"':=(]*$", re.I)


def _is_public_address(match: re.Match[str]) -> bool:
    address = ipaddress.IPv4Address(match[0])
    if match[0] in _RESOLVERS or not address.is_global or address.is_multicast:
        return False
    before = match.string[max(0, match.start() - 16) : match.start()]
    # Four small numbers are usually a version.
    return not _VERSION.search(before) and any(int(part) > 20 for part in match[0].split("."))


def _is_password(match: re.Match[str]) -> bool:
    return not re.fullmatch(r"[<{$%*\[].*|pass(?:word|wd)?|pwd|secret|x+", match[1], re.I)


_KEY_LINE = re.compile(r"[A-Za-z0-9+/]{40}")


def _is_key_body(match: re.Match[str]) -> bool:
    """Code that handles keys has their first line, but no key data."""
    return _KEY_LINE.search(match[1]) is not None


_OCTET = r"(?:25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)"

RULES = (
    _rule(
        "private key",
        "PRIVATE",
        # Up to the end mark, or as far as key data goes. Any mark ends the search, for linear time.
        r"-----BEGIN [A-Z ]*PRIVATE KEY(?: BLOCK)?-----"
        r"((?:(?!-----)[\s\S]){40,20000}(?=-----END)|(?:(?!-----)[\w\s+/=\\\"'`,:;.#*()|-]){40,20000})",
        is_secret=_is_key_body,
    ),
    _rule("AWS key", "AKIA ASIA AROA AIDA AGPA ANPA ANVA", r"\bA(?:KIA|SIA|ROA|IDA|GPA|NPA|NVA)[A-Z2-7]{16}\b"),
    _rule("GitHub token", "ghp_ gho_ ghu_ ghs_ ghr_", r"\bgh[pousr]_[A-Za-z0-9]{36,251}\b"),
    _rule("GitHub token", "github_pat_", r"\bgithub_pat_[A-Za-z0-9_]{22,251}\b"),
    _rule("GitLab token", "glpat-", r"\bglpat-[\w-]{20,}"),
    _rule("Slack token", "xoxa- xoxb- xoxp- xoxo- xoxr- xoxs-", r"\bxox[abopsr]-[A-Za-z0-9-]{10,}"),
    _rule("Slack webhook", "hooks.slack.com", r"hooks\.slack\.com/services/(T\w+/B\w+/\w+)"),
    _rule("Google key", "AIza", r"\bAIza[\w-]{35}"),
    _rule("Google token", "GOCSPX- ya29.", r"\b(?:GOCSPX-[\w-]{20,}|ya29\.[\w-]{20,})"),
    _rule("Stripe key", "sk_live_ rk_live_", r"\b[sr]k_live_[A-Za-z0-9]{16,}\b"),
    _rule("API key", "sk-", r"\bsk-(?:(?:proj|ant|or)-)?(?=[\w-]*\d)[A-Za-z0-9_-]{32,}"),
    _rule("Hugging Face token", "hf_", r"\bhf_[A-Za-z0-9]{34}\b"),
    _rule("npm token", "npm_", r"\bnpm_[A-Za-z0-9]{36}\b"),
    _rule("package index token", "pypi-AgEI", r"\bpypi-AgEI[\w-]{50,}"),
    _rule("SendGrid key", "SG.", r"\bSG\.[\w-]{16,32}\.[\w-]{16,64}"),
    _rule("Telegram token", ":AA", r"\b\d{8,10}:AA[\w-]{32,33}\b"),
    _rule("JSON web token", "eyJ", r"\beyJ[\w-]{10,}\.eyJ[\w-]{10,}\.[\w-]{10,}"),
    _rule(
        "password in a URL",
        "://",
        r"://[^\s/:@\"'<>]{1,64}:([^\s/@\"'<>]{3,128})@",
        PASSWORD,
        is_secret=_is_password,
    ),
    _rule(
        "secret value", _SECRET_WORDS, r"[\"'=]([A-Za-z0-9+/_\-.~]{16,512}={0,2})(?![\w(])", is_secret=_is_secret_value
    ),
    _rule(
        "e-mail address",
        "@",
        r"(?<![\w.+%@/-])[A-Za-z0-9_][\w.+%-]{0,63}@(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.){1,5}"
        r"[A-Za-z]{2,12}(?![\w(\[@-]|\.\w)",
        EMAIL,
        is_secret=_is_persons_email,
        core=re.compile(r"@(?<=\w@)[\w-]+\."),
    ),
    _rule(
        "IP address",
        ".",
        rf"(?<![\w.])(?:{_OCTET}\.){{3}}{_OCTET}(?![\w]|\.\d)",
        IP_ADDRESS,
        is_secret=_is_public_address,
        core=re.compile(r"\.\d{1,3}\.\d"),
    ),
)
