"""Keys and addresses are replaced, whatever only looks like them stays, and the text around is the same."""

import random
import string

import pytest

from code_qwen.corpus.scrub import scrubbed

DRAW = random.Random(0)


def letters(count, alphabet=string.ascii_letters + string.digits):
    """Made at run time: no scanner shall find keys in this file."""
    return "".join(DRAW.choices(alphabet, k=count))


UPPER = string.ascii_uppercase + "234567"
HEX = "0123456789abcdef"
SECRETS = {
    "AWS key": "AKIA" + letters(16, UPPER),
    "GitHub token": "ghp_" + letters(36),
    "GitLab token": "glpat-" + letters(20),
    "Slack token": "xoxb-" + letters(12, string.digits) + "-" + letters(24),
    "Google key": "AIza" + letters(35),
    "Stripe key": "sk_live_" + letters(24),
    "API key": "sk-" + letters(20) + "7" + letters(27),
    "Hugging Face token": "hf_" + letters(34),
    "npm token": "npm_" + letters(36),
    "JSON web token": f"eyJ{letters(20)}.eyJ{letters(40)}.{letters(43)}",
    "Telegram token": letters(9, "123456789") + ":AA" + letters(33),
    "SendGrid key": f"SG.{letters(22)}.{letters(43)}",
}


@pytest.mark.parametrize("name", SECRETS)
def test_tokens_with_a_known_form(name):
    secret = SECRETS[name]
    text, counts = scrubbed(f'client = connect("{secret}", retries=3)  # a client\n')
    assert text == 'client = connect("<KEY>", retries=3)  # a client\n'
    assert counts == {name: 1}


def test_private_keys():
    begin, end = "-----BEGIN RSA PRIVATE " + "KEY-----", "-----END RSA PRIVATE " + "KEY-----"
    body = "\n".join(letters(64) for _ in range(10))
    text, counts = scrubbed(f"KEY = '''{begin}\n{body}\n{end}'''\nx = 1\n")
    assert text == f"KEY = '''{begin}<KEY>{end}'''\nx = 1\n" and counts == {"private key": 1}
    assert scrubbed(f"if line == '{begin}': pass\n{end}\n")[1] == {}  # only a mention
    assert scrubbed(f"{begin}\n{body}\n{begin}\n{body}\n{end}\n")[0] == f"{begin}<KEY>{begin}<KEY>{end}\n"
    quoted = "".join(f'  "{line}\\n"\n' for line in [begin, *body.split("\n"), end])
    assert body[:64] not in scrubbed(quoted)[0] and scrubbed(quoted)[1] == {"private key": 1}
    cut, counts = scrubbed(f"KEY = '''{begin}\n{body}\n'''\nx = [1]\n")
    assert body[-64:] not in cut and cut.endswith("[1]\n") and counts == {"private key": 1}


def test_code_that_handles_private_keys_stays():
    begin, end = "-----BEGIN RSA PRIVATE " + "KEY-----", "-----END RSA PRIVATE " + "KEY-----"
    code = "    for line in lines:\n        if line in known:\n            return parse(line, strict=False)\n" * 20
    for text in (
        f"if '{begin}' in text:\n{code}",
        f"a = '{begin}'\n{code}b = '{begin}'\n",
        f"'{begin}'\n{code}'{end}'\n",
    ):
        assert scrubbed(text) == (text, {})


@pytest.mark.timeout(60)
def test_a_file_of_nothing_but_beginnings_is_read_once():
    assert scrubbed(("-----BEGIN PRIVATE " + "KEY-----\n") * 30_000)[1] == {}


@pytest.mark.parametrize(
    "line",
    [
        'api_key = "{}"', "SECRET_TOKEN: '{}',", "export ACCESS_KEY={}", 'config["password"] = "{}"', '"auth": "{}",',
        "const clientSecret = '{}';",
    ],
)  # fmt: skip
def test_values_of_high_entropy_under_a_telling_name(line):
    secret = letters(40)
    text, counts = scrubbed(line.format(secret) + "\n")
    assert text == line.format("<KEY>") + "\n" and counts == {"secret value": 1}


@pytest.mark.parametrize(
    "text",
    [
        'sha256 = "' + letters(64, HEX) + '"',
        'token = "expected_token_name_here"',
        'model = Tokenizer.from_pretrained("openai/gpt-oss-20b-instruct")',
        "secret_key = os.environ['SECRET_KEY']",
        'tokenizer = "facebook/opt-125m-v2-cased"',
        'author = "jdoe-1984-and-friends"',
        "password = get_password(user)",
        'uuid = "123e4567-e89b-12d3-a456-426614174000"',
        'auth_url = "https"',
        "key = key1 + key2",
        'CSS = ".sk-cube-grid { width: 40px }"',
        "task-" + "a" * 40,
    ],
)
def test_what_is_no_secret(text):
    assert scrubbed(text) == (text, {})


def test_passwords_in_urls():
    text, counts = scrubbed('db = "postgres://admin:hunter2!x@db.internal:5432/app"\n')
    assert text == 'db = "postgres://admin:<PASSWORD>@db.internal:5432/app"\n' and counts == {"password in a URL": 1}
    for kept in ("postgres://user:password@localhost/x", "https://${USER}:${PASS}@host/", "http://host:8080/a@b"):
        assert scrubbed(kept)[0] == kept


def test_email_addresses():
    text, counts = scrubbed("# Written by Ada <ada.l@mail.analytical.co.uk>, b_c+d@gmail.com.\n")
    assert text == "# Written by Ada <<EMAIL>>, <EMAIL>.\n" and counts == {"e-mail address": 2}
    for kept in (
        "someone@example.com", "a@b.example", "git@github.com:a/b.git", "x = A@B.T @ C", "y = w@x.sum(axis=1)",
        "@pytest.fixture", "npm i @scope/name@1.2.3", "noreply@github.com", "f'{user}@{host}'", "loss@k",
        'url("logo@2x.png")', "return x@self.weight + b",
    ):  # fmt: skip
        assert scrubbed(kept) == (kept, {}), kept


def test_ip_addresses():
    text, counts = scrubbed('HOST = "93.184.216.34"; OTHER = 5.9.243.187\n')
    assert text == 'HOST = "192.0.2.1"; OTHER = 192.0.2.1\n' and counts == {"IP address": 2}
    for kept in (
        "127.0.0.1", "192.168.1.20", "10.0.0.1", "0.0.0.0", "255.255.255.0", "8.8.8.8", "version 5.9.243.187",
        "1.2.3.4", "93.184.216.341", "1.93.184.216.34", "93.184.216.34.5", "pkg==23.45.67.89", "v100.2.3.4",
    ):  # fmt: skip
        assert scrubbed(kept) == (kept, {}), kept


def test_twice_changes_nothing_more_and_long_texts_take_no_long():
    everything = "\n".join(f'token = "{secret}"' for secret in SECRETS.values()) + "\nx = 'a@mail.org' 93.184.216.34\n"
    once, counts = scrubbed(everything)
    assert scrubbed(once) == (once, {}) and sum(counts.values()) == len(SECRETS) + 2
    for hostile in ("a", "a@", "A1", "1.", "x:y@", "eyJ", "'=A1"):
        scrubbed(hostile * 100_000)  # the timeout of the tests is the bound
    begin = "-----BEGIN PRIVATE " + "KEY-----\n"
    scrubbed(begin * 5_000)
