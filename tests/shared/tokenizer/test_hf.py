import json
import pickle
import random
import subprocess
import sys
import unicodedata

import numpy as np
import pytest

from qwen_shared.errors import UserError
from qwen_shared.tokenizer import HfTokenizer, Tokenizer, load_tokenizer

from .hard_strings import HARD_STRINGS, random_strings
from .hf_directories import KINDS, make, write

pytestmark = pytest.mark.heavy  # many tokenizers are trained and saved

PIECES = [name for name, kind in KINDS.items() if kind.pieces]
BYTES = [name for name, kind in KINDS.items() if not kind.pieces]
# A `▁` of its own comes back as a space; none of these has one.
TEXTS = [*HARD_STRINGS.values(), *random_strings(300, seed=5)]


@pytest.fixture(scope="module")
def directories(tmp_path_factory):
    root = tmp_path_factory.mktemp("hf")
    return {name: make(kind, root / name.replace(" ", "_")) for name, kind in KINDS.items()}


@pytest.fixture(scope="module")
def tokenizers(directories):
    return {name: load_tokenizer(str(directory)) for name, directory in directories.items()}


def auto(directory):
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(directory)


def auto_ids(hf, text: str) -> list[int]:
    return hf(text, split_special_tokens=True, add_special_tokens=False, verbose=False)["input_ids"]


def changed(directory, target, change, file="tokenizer.json"):
    """A copy of the directory in which ``change`` was done to one file's JSON."""
    target.mkdir(exist_ok=True)
    for path in directory.iterdir():
        (target / path.name).write_bytes(path.read_bytes())
    value = json.loads((target / file).read_text(encoding="utf-8")) if (target / file).exists() else {}
    change(value)
    write(target / file, value)
    return target


@pytest.mark.parametrize("name", KINDS)
def test_ids_and_text_of_auto_tokenizer(directories, tokenizers, name):
    tokenizer, hf = tokenizers[name], auto(directories[name])
    for text in TEXTS:
        ids = tokenizer.encode(text)
        assert ids == auto_ids(hf, text), ascii(text[:80])
        assert tokenizer.decode(ids) == hf.decode(ids, skip_special_tokens=True)


@pytest.mark.parametrize("name", KINDS)
def test_text_comes_back(tokenizers, name):
    tokenizer = tokenizers[name]
    for text in TEXTS:
        if name == "qwen-3":
            text = unicodedata.normalize("NFC", text)
        # Metaspace puts no space before a text that begins with one, and takes one off it all the same.
        back = text[1:] if name == "mistral" and text.startswith(" ") else text
        assert tokenizer.decode(tokenizer.encode(text)) == back


@pytest.mark.parametrize("name", KINDS)
def test_bytes_of_tokens_sum_to_the_text(tokenizers, name):
    tokenizer = tokenizers[name]
    lengths = tokenizer.token_byte_lengths()
    assert lengths.dtype == np.int32
    assert lengths.tolist() == [len(tokenizer.token_bytes(id)) for id in range(tokenizer.vocab_size)]
    assert not any(lengths[id] for id in tokenizer.special_tokens.values())
    for text in TEXTS:
        if name == "qwen-3":
            text = unicodedata.normalize("NFC", text)
        ids = tokenizer.encode(text)
        before = int(KINDS[name].pieces and bool(text) and not (name == "mistral" and text.startswith(" ")))
        assert lengths[ids].sum() == len(text.encode()) + before
        assert b"".join(tokenizer.token_bytes(id) for id in ids)[before:] == text.encode()


@pytest.mark.parametrize("name", KINDS)
def test_no_text_spells_a_special_token(tokenizers, name):
    tokenizer = tokenizers[name]
    specials = set(tokenizer.special_tokens.values())
    unknown = {tokenizer.special_tokens.get("<unk>")}
    chosen = random.Random(0)
    parts = [*tokenizer.special_tokens, "a", " ", "\n", "<|", "|>", "<", ">", "[", "▁", "é"]
    texts = ["".join(chosen.choices(parts, k=chosen.randrange(1, 8))) for _ in range(1000)]
    for text in [*tokenizer.special_tokens, *texts]:
        ids = tokenizer.encode(text)
        assert specials.isdisjoint(ids), text
        assert unknown.isdisjoint(ids)
        assert "▁" in text or tokenizer.decode(ids) == text or name == "mistral"


@pytest.mark.parametrize("name", KINDS)
def test_ids_of_special_tokens(tokenizers, name):
    tokenizer, kind = tokenizers[name], KINDS[name]
    assert {*kind.specials, *kind.named.values()} <= set(tokenizer.special_tokens)
    assert set(kind.others).isdisjoint(tokenizer.special_tokens)
    assert tokenizer.eod_id == tokenizer.special_tokens[kind.eod]
    assert tokenizer.stop_ids[0] == tokenizer.special_tokens[kind.end_of_turn]
    assert tokenizer.eod_id in tokenizer.stop_ids
    assert tokenizer.pad_id == tokenizer.special_tokens[kind.named.get("pad_token", kind.eod)]
    assert tokenizer.decode([tokenizer.eod_id, *tokenizer.encode("one"), tokenizer.pad_id]) == "one"


def test_other_added_tokens_are_ordinary_vocabulary(tokenizers):
    tokenizer = tokenizers["qwen-3"]
    ids = tokenizer.encode("<think>\nso</think>")
    assert len(tokenizer.encode("<think>")) == 1
    assert tokenizer.decode(ids) == "<think>\nso</think>"
    assert tokenizer.token_byte_lengths()[ids[0]] == len("<think>")


@pytest.mark.parametrize("id", [-1, 10_000])
def test_ids_outside_the_vocabulary_are_refused(tokenizers, id):
    with pytest.raises(ValueError, match="outside the vocabulary of"):
        tokenizers["chatml"].decode([id])


def test_surrogates_and_parts_of_characters(tokenizers):
    for tokenizer in tokenizers.values():
        assert tokenizer.encode("a\ud800b") == tokenizer.encode("a\ufffdb")
        assert tokenizer.encode("x\ud83d\ude00y") == tokenizer.encode("x😀y")
        ids = tokenizer.encode("𠮷")
        assert tokenizer.decode(ids[:-1], errors="ignore") == ""
        with pytest.raises(UnicodeDecodeError):
            tokenizer.decode(ids[:-1], errors="strict")


def test_satisfies_the_interface(tokenizers):
    members = {name for name in vars(Tokenizer) if not name.startswith("_")} | set(Tokenizer.__annotations__)
    assert {"encode", "render", "eod_id", "fingerprint"} <= members
    for tokenizer in tokenizers.values():
        assert all(hasattr(tokenizer, member) for member in members)


def test_where_a_template_may_stand(directories, tmp_path):
    """A file, text, several by name, and the file of models that also see."""
    own, other = "{{ 'own' }}", "{{ 'other' }}"
    several = [{"name": "tool_use", "template": other}, {"name": "default", "template": own}]
    for i, (file, content) in enumerate(
        [
            ("chat_template.jinja", own),
            ("tokenizer_config.json", {"chat_template": own}),
            ("tokenizer_config.json", {"chat_template": several}),
            ("chat_template.json", {"chat_template": own}),
        ]
    ):
        directory = changed(directories["no template"], tmp_path / str(i), lambda spec: None)
        if isinstance(content, str):
            (directory / file).write_text(content)
        else:
            changed(directory, directory, lambda config, content=content: config.update(content), file)
        tokenizer = load_tokenizer(str(directory))
        assert "<|im_start|>" not in tokenizer.special_tokens
        assert tokenizer.decode(tokenizer.render([{"role": "user", "content": "Hi"}])[0]) == "own"
        tokenizer.save_hf(tmp_path / f"saved {i}")
        assert load_tokenizer(str(tmp_path / f"saved {i}")).fingerprint == tokenizer.fingerprint


def test_control_tokens_that_are_not_flagged(directories, tmp_path):
    # By looks, by name, and by being what ends generation.
    def change(spec):
        id = max(token["id"] for token in spec["added_tokens"])
        for token in spec["added_tokens"]:
            token["special"] = False
        for text in ("<｜User｜>", "[END]", "<pad>", "<tag>"):
            id += 1
            spec["added_tokens"].append({**spec["added_tokens"][0], "id": id, "content": text, "special": False})

    directory = changed(directories["chatml"], tmp_path / "a", change)
    ids = json.loads((directory / "tokenizer.json").read_text())["added_tokens"]
    end = next(token["id"] for token in ids if token["content"] == "[END]")
    write(directory / "generation_config.json", {"eos_token_id": [end]})
    changed(directory, directory, lambda config: config.update(pad_token="<pad>"), "tokenizer_config.json")
    tokenizer = load_tokenizer(str(directory))
    assert {"<｜User｜>", "[END]", "<pad>", "<|im_start|>"} <= set(tokenizer.special_tokens)
    assert {"<tag>", "<think>"}.isdisjoint(tokenizer.special_tokens)
    assert tokenizer.pad_id == tokenizer.special_tokens["<pad>"]
    assert end in tokenizer.stop_ids
    for text in tokenizer.special_tokens:
        assert set(tokenizer.encode(text)).isdisjoint(tokenizer.special_tokens.values())


@pytest.mark.parametrize("model", ["ignore_merges", "merges", "Unigram"])
def test_special_tokens_that_the_model_itself_could_reach(directories, tmp_path, model):
    characters = {"▁": 0, "<": 1, "/": 2, "s": 3, ">": 4, "</s>": 5, "a": 6, "</": 7, "s>": 8}
    merges = [["<", "/"], ["s", ">"], ["</", "s>"]] if model == "merges" else []
    bpe = {"type": "BPE", "vocab": characters, "merges": merges, "ignore_merges": model == "ignore_merges"}
    unigram = {"type": "Unigram", "unk_id": 0, "vocab": [[text, -1.0] for text in characters]}

    def change(spec):
        spec["model"] = unigram if model == "Unigram" else bpe
        spec["normalizer"] = spec["post_processor"] = None
        spec["added_tokens"] = []

    tokenizer = load_tokenizer(str(changed(directories["no template, pieces"], tmp_path / "m", change)))
    end = tokenizer.special_tokens["</s>"]
    assert end == 5
    for text in ("</s>", "a</s>a", "</s></s>"):
        assert end not in tokenizer.encode(text)
        assert tokenizer.decode(tokenizer.encode(text)) == text
    ids, _ = tokenizer.render([{"role": "user", "content": "</s>"}])
    assert end not in ids


@pytest.mark.parametrize("name", ["no template", "no template, pieces"])
def test_chatml_tokens_are_added_where_there_is_no_template(directories, tokenizers, name):
    tokenizer, hf = tokenizers[name], auto(directories[name])
    before = len(hf)
    added = [tokenizer.special_tokens[token] for token in ("<|im_start|>", "<|im_end|>")]
    assert added == [before, before + 1]
    assert tokenizer.vocab_size == before + 2


def test_tokens_are_added_behind_holes(directories, tmp_path):
    def change(spec):
        last = max(spec["model"]["vocab"].values())
        spec["model"]["vocab"] |= {"hole": last + 40, "<|endoftext|>": last + 50}
        spec["added_tokens"][0]["id"] = last + 50

    directory = changed(directories["no template"], tmp_path / "h", change)
    tokenizer = load_tokenizer(str(directory))
    eod = tokenizer.eod_id
    assert [tokenizer.special_tokens[token] for token in ("<|im_start|>", "<|im_end|>")] == [eod + 1, eod + 2]
    assert tokenizer.vocab_size == eod + 3
    assert tokenizer.token_bytes(eod - 5) == b""
    assert tokenizer.decode([eod - 5]) == ""
    hf = auto(directory)
    assert all(auto_ids(hf, text) == tokenizer.encode(text) for text in TEXTS)
    tokenizer.save_hf(tmp_path / "saved")
    assert auto(tmp_path / "saved").convert_tokens_to_ids("<|im_end|>") == eod + 2


def test_tokens_that_only_the_configuration_declares(directories, tmp_path):
    def change(config):
        config["pad_token"] = "<pad>"
        config["additional_special_tokens"] = ["<one>", "<two>"]

    directory = changed(directories["chatml"], tmp_path / "c", change, "tokenizer_config.json")
    tokenizer, hf = load_tokenizer(str(directory)), auto(directory)
    names = ["<pad>", "<one>", "<two>"]
    assert [tokenizer.special_tokens[token] for token in names] == hf.convert_tokens_to_ids(names)
    assert tokenizer.vocab_size == len(hf)


@pytest.mark.parametrize("name", KINDS)
def test_round_trip(directories, tokenizers, tmp_path, name):
    tokenizer = tokenizers[name]
    tokenizer.save_hf(tmp_path)
    first = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    again, hf = load_tokenizer(str(tmp_path)), auto(tmp_path)
    for other in (again, pickle.loads(pickle.dumps(tokenizer))):
        assert other.fingerprint == tokenizer.fingerprint
        assert (other.eod_id, other.pad_id, other.stop_ids) == (tokenizer.eod_id, tokenizer.pad_id, tokenizer.stop_ids)
        assert other.special_tokens == tokenizer.special_tokens
    assert len(hf) == tokenizer.vocab_size
    for text in TEXTS:
        if len(text) > 1000:
            continue
        ids = tokenizer.encode(text)
        assert again.encode(text) == ids
        assert auto_ids(hf, text) == ids
    messages = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Ho, ho"}]
    ids, _ = tokenizer.render(messages)
    assert again.render(messages)[0] == ids
    if "strftime_now" not in (KINDS[name].template or ""):
        assert hf.apply_chat_template(messages, return_dict=False) == ids
    again.save_hf(tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == first


def test_saves_without_its_directory_and_beside_a_model(directories, tokenizers, tmp_path):
    from transformers import LlamaConfig

    (tmp_path / "gone").mkdir()
    directory = changed(directories["llama-3"], tmp_path / "gone", lambda spec: None)
    (directory / "merges.txt").write_text("#version: 0.2\n")
    tokenizer = load_tokenizer(str(directory))
    for path in directory.iterdir():
        path.unlink()
    export = tmp_path / "new" / "export"
    export.mkdir(parents=True)
    LlamaConfig(vocab_size=1000, hidden_size=8, num_attention_heads=2).save_pretrained(export)
    write(export / "generation_config.json", {"eos_token_id": [3]})
    tokenizer.save_hf(str(export))
    assert (export / "merges.txt").read_text() == "#version: 0.2\n"
    assert json.loads((export / "generation_config.json").read_text()) == {"eos_token_id": [3]}
    hf = auto(export)
    assert all(auto_ids(hf, text) == tokenizer.encode(text) for text in random_strings(50, seed=3))
    assert load_tokenizer(str(tmp_path / "new")).fingerprint == tokenizer.fingerprint


def test_no_code_is_carried_over(directories, tmp_path, caplog):
    remote = {"auto_map": {"AutoTokenizer": ["other--evil.Evil", None]}, "name_or_path": "somewhere"}
    directory = changed(directories["chatml"], tmp_path / "r", lambda c: c.update(remote), "tokenizer_config.json")
    with caplog.at_level("INFO"):
        load_tokenizer(str(directory)).save_hf(tmp_path / "saved")
    config = json.loads((tmp_path / "saved" / "tokenizer_config.json").read_text())
    assert set(remote).isdisjoint(config)
    assert "left out of tokenizer_config.json: auto_map, name_or_path" in caplog.text
    assert len(auto(tmp_path / "saved")) == len(auto(directories["chatml"]))


def test_fingerprint_tells_what_decides_ids(directories, tokenizers, tmp_path):
    def merges(spec):
        spec["model"]["merges"][0:2] = reversed(spec["model"]["merges"][0:2])

    def as_text(spec):  # the same, written another way
        spec["model"]["merges"] = [" ".join(pair) for pair in spec["model"]["merges"]]
        spec["model"]["vocab"] = dict(reversed(spec["model"]["vocab"].items()))
        spec["truncation"] = {"max_length": 4, "strategy": "LongestFirst", "stride": 0, "direction": "Right"}

    print_of = {tokenizer.fingerprint for tokenizer in tokenizers.values()}
    assert len(print_of) == len(tokenizers)
    source, original = directories["chatml"], tokenizers["chatml"]
    same = load_tokenizer(str(changed(source, tmp_path / "a", as_text)))
    assert same.fingerprint == original.fingerprint
    assert same.encode(TEXTS[2]) == original.encode(TEXTS[2])
    assert load_tokenizer(str(changed(source, tmp_path / "b", merges))).fingerprint not in print_of
    template = changed(source, tmp_path / "c", lambda c: c.update(chat_template="{{ 1 }}"), "tokenizer_config.json")
    assert load_tokenizer(str(template)).fingerprint not in print_of


def test_our_own_export_without_its_ranks(tokenizer, tmp_path):
    """Both implementations over one vocabulary."""
    tokenizer.save_hf(tmp_path)
    (tmp_path / "qwen.tiktoken").unlink()
    other = load_tokenizer(str(tmp_path))
    assert isinstance(other, HfTokenizer)
    assert other.special_tokens == tokenizer.special_tokens
    for key in ("vocab_size", "eod_id", "pad_id", "stop_ids"):
        assert getattr(other, key) == getattr(tokenizer, key)
    assert other.token_byte_lengths().tolist() == tokenizer.token_byte_lengths().tolist()
    for text in TEXTS:
        assert other.encode(text) == tokenizer.encode(text)
    for text in ("plain", "", "\n\nfine", "  \n x\n", "<|im_end|>", *random_strings(100)):
        messages = [{"role": "user", "content": "a " + text}, {"role": "assistant", "content": text}]
        for prompt in (False, True):
            assert other.render(messages, prompt) == tokenizer.render(messages, prompt)


@pytest.mark.parametrize(
    ("file", "content", "told"),
    [
        ("tokenizer.json", "{", "tokenizer.json is not valid JSON"),
        ("tokenizer.json", "\udcff", "tokenizer.json is not valid JSON"),
        ("tokenizer.json", "[]", "must hold one JSON object, got list"),
        ("tokenizer.json", "{}", "has no model with a vocab"),
        ("tokenizer.json", '{"model": {"vocab": {}}}', "has no model with a vocab"),
        ("tokenizer.json", '{"model": {"vocab": {"a": "b"}}}', "broken vocab or added_tokens"),
        ("tokenizer.json", '{"model": {"vocab": {"a": 0}}, "added_tokens": ["a"]}', "broken vocab or added_tokens"),
        ("tokenizer.json", '{"model": {"type": "BPE", "vocab": {"a": 0}}}', "decoder .* is missing"),
        ("tokenizer_config.json", "nothing", "tokenizer_config.json is not valid JSON"),
        ("tokenizer_config.json", '{"chat_template": 5}', "chat_template .* must be text, got int"),
        ("chat_template.jinja", "\udcff", "is not UTF-8"),
    ],
)
def test_broken_files(directories, tmp_path, file, content, told):
    directory = changed(directories["chatml"], tmp_path / "broken", lambda spec: None)
    (directory / file).write_bytes(content.encode(errors="surrogateescape"))
    with pytest.raises(UserError, match=told) as error:
        load_tokenizer(str(directory))
    assert "broken" in str(error.value)
    assert "\n" not in str(error.value)


def test_models_of_another_kind_are_refused(directories, tmp_path):
    word_piece = changed(directories["chatml"], tmp_path / "w", lambda s: s.update(decoder={"type": "WordPiece"}))
    with pytest.raises(UserError, match=r"only byte-level BPE .* decoder in tokenizer\.json is WordPiece"):
        load_tokenizer(str(word_piece))
    unknown = changed(directories["chatml"], tmp_path / "u", lambda s: s["model"].update(type="Other"))
    with pytest.raises(UserError, match=r"tokenizer\.json is broken"):
        load_tokenizer(str(unknown))


def test_no_end_of_document(directories, tmp_path):
    def change(spec):
        spec["added_tokens"] = []

    directory = changed(directories["chatml"], tmp_path / "e", change)
    write(directory / "tokenizer_config.json", {"chat_template": "{{ 1 }}"})
    with pytest.raises(UserError, match=r"nothing says which token ends a document; give tokenizer_config\.json"):
        load_tokenizer(str(directory))


@pytest.mark.parametrize("file", ["tokenizer.model", "vocab.bpe"])
def test_other_forms_of_a_vocabulary(tmp_path, file):
    (tmp_path / file).write_bytes(b"x")
    with pytest.raises(UserError, match=rf"has {file} but no tokenizer\.json; .*from_pretrained\(.*save_pretrained\("):
        load_tokenizer(str(tmp_path))


def test_imports_nothing_heavy(directories):
    heavy = "torch", "transformers", "datasets"
    code = (
        "import sys, qwen_shared.tokenizer as t; light = {'tokenizers', 'jinja2'}.isdisjoint(sys.modules);"
        f"t.load_tokenizer({str(directories['chatml'])!r}).stop_ids; print(light, *sys.modules)"
    )
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert loaded[0] == "True"
    assert not set(heavy) & set(loaded)
