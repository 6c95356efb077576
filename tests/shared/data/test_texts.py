"""The same texts come out of every format, and broken content is told by file and line."""

import gzip
import json

import pytest
import zstandard

from qwen_shared.data import Meter
from qwen_shared.data.texts import text_reader
from qwen_shared.errors import UserError
from qwen_shared.recipe.schema import Data

TEXTS = ["First.\n\nSecond paragraph.", "naïve 你好 🙂", "x" * 5000, "last"]


def read(path, **source):
    documents = source.pop("documents", None)
    data = Data(sources={"path": str(path), **source}, seq_length=8, documents=documents)
    return [d.text for d in text_reader(data, data.sources[0]).read(Meter())]


def refusal(path, **source):
    with pytest.raises(UserError) as caught:
        read(path, **source)
    return str(caught.value)


def lines(texts, key="text"):
    return "".join(json.dumps({"id": i, key: text}, ensure_ascii=False) + "\n" for i, text in enumerate(texts)).encode()


def write_parquet(path, columns):
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table(columns), path, row_group_size=2)


def test_every_format_gives_the_same_documents(tmp_path):
    content = lines(TEXTS)
    (tmp_path / "a.jsonl").write_bytes(content)
    (tmp_path / "bom.jsonl").write_bytes(b"\xef\xbb\xbf" + content.replace(b"\n", b"\r\n\n"))
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(content))
    compress = zstandard.ZstdCompressor().compress
    (tmp_path / "a.jsonl.zst").write_bytes(compress(content[:1000]) + compress(content[1000:]))  # two frames
    write_parquet(tmp_path / "a.parquet", {"text": TEXTS, "id": [1, 2, 3, 4]})
    for name in ("a.jsonl", "bom.jsonl", "a.jsonl.gz", "a.jsonl.zst", "a.parquet"):
        assert read(tmp_path / name) == TEXTS, name
    assert read(tmp_path) == TEXTS * 5  # sorted: a.jsonl, a.jsonl.gz, a.jsonl.zst, a.parquet, bom.jsonl


def test_directory_is_sorted_and_passes_over_hidden_and_empty_files(tmp_path):
    for name, text in {"b.txt": "two", "a/z.md": "one", ".git/x.txt": "no", "c.txt": "", "d.py": "no"}.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    assert read(tmp_path) == ["one", "two"]


def test_documents_limit_and_blank_texts(tmp_path):
    (tmp_path / "a.jsonl").write_bytes(lines(["one", " \n", "", "two", "three"]))
    assert read(tmp_path / "a.jsonl", documents=2) == ["one", "two"]


def test_lone_surrogates_become_replacement_characters(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"text": "a\\ud800b \\ud83d\\ude42"}\n')
    assert read(tmp_path / "a.jsonl") == ["a\ufffdb 🙂"]


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (b'{"text": "a", }', "not valid JSON"),
        (b'{"text": "a"', "not valid JSON"),
        (b'["a"]', "expected an object with the key 'text', found list"),
        (b'{"txt": "a", "id": 1}', "no key 'text'; there are: txt, id; perhaps text_key=txt"),
        (b'{"id": "7", "content": "long enough"}', "perhaps text_key=content"),
        (b"{}", "there are no keys"),
        (b'{"text": null}', "'text' is null, expected a string"),
        (b'{"text": ["a"]}', "'text' is list, expected a string"),
        (b'{"text": "\xff"}', "not UTF-8 (byte 0xff"),
        (b"[" * 100_000, "not valid JSON"),
    ],
)
def test_broken_lines_are_named(tmp_path, line, says):
    path = tmp_path / "a.jsonl"
    path.write_bytes(lines(["fine"]) + b"\n" + line + b"\n")
    message = refusal(path)
    assert message.startswith(f"{path} line 3: ") and says in message


def test_damaged_compression_is_named(tmp_path):
    content = lines([str(i) * 100 for i in range(1000)])
    gz, zst = tmp_path / "a.jsonl.gz", tmp_path / "a.jsonl.zst"
    packed = gzip.compress(content)
    for damaged in (packed[: len(packed) // 2], packed[:40] + b"\0\0\0\0" + packed[44:], b"no gzip"):
        gz.write_bytes(damaged)
        assert refusal(gz).startswith(f"{gz}: gzip data damaged or cut off after line ")
    packed = zstandard.ZstdCompressor().compress(content)
    for damaged in (packed[: len(packed) // 2], packed + packed[:-4], b"no zstd"):
        zst.write_bytes(damaged)
        assert refusal(zst).startswith(f"{zst}: zstd data damaged or cut off after line ")


def test_parquet_errors_name_columns_and_rows(tmp_path):
    path = tmp_path / "a.parquet"
    write_parquet(path, {"content": ["a"], "url": ["b"]})
    assert "no column 'text'; there are: content, url" in refusal(path)
    write_parquet(path, {"text": ["a", "b", None]})
    assert refusal(path).startswith(f"{path} row 3: 'text' is null")
    path.write_bytes(path.read_bytes()[:-10])
    assert "not a readable Parquet file" in refusal(path)


def test_source_without_text_is_refused(tmp_path):
    (tmp_path / "a.jsonl").write_bytes(lines(["", "  "]))
    assert "no text in it" in refusal(tmp_path / "a.jsonl")


def test_long_text_is_cut_at_paragraphs_and_nothing_is_lost(tmp_path):
    paragraphs = [f"paragraph {i} " + "words and more words. " * (i % 40 + 1) for i in range(600)]
    path = tmp_path / "book.txt"
    path.write_text("\n\n".join(paragraphs))
    pieces = read(path)
    assert len(pieces) == -(-path.stat().st_size // (64 * 1024)) and len(pieces) > 2
    assert "\n\n".join(pieces) == "\n\n".join(paragraphs)
    assert all(len(piece.encode()) <= 64 * 1024 for piece in pieces)


def test_long_text_without_borders_is_cut_between_characters(tmp_path):
    for character in ("x", "é", "你", "🙂"):
        (tmp_path / "a.txt").write_text("-" + character * 100_000)
        pieces = read(tmp_path / "a.txt")
        assert "".join(pieces) == "-" + character * 100_000
        assert all(len(piece.encode()) <= 64 * 1024 for piece in pieces)
    (tmp_path / "a.txt").write_text(("y" * 99 + "\n") * 2000)
    assert all(set(map(len, piece.split("\n"))) == {99} for piece in read(tmp_path / "a.txt"))


def test_bad_utf8_in_text_is_told_by_line(tmp_path):
    (tmp_path / "a.txt").write_bytes(b"line\n" * 30_000 + b"b\xe9d\n" + b"line\n" * 30_000)
    assert refusal(tmp_path / "a.txt") == (
        f"{tmp_path}/a.txt line 30001: not UTF-8 (byte 0xe9, invalid continuation byte)"
    )


def test_progress_ends_at_the_size_of_all_files(tmp_path):
    (tmp_path / "a.jsonl").write_bytes(lines(TEXTS))
    (tmp_path / "b.jsonl.gz").write_bytes(gzip.compress(lines(TEXTS)))
    write_parquet(tmp_path / "c.parquet", {"text": TEXTS})
    (tmp_path / "d.txt").write_text("text " * 50_000)
    data = Data(sources=str(tmp_path), seq_length=8)
    meter, seen = Meter(), []
    for _ in text_reader(data, data.sources[0]).read(meter):
        seen.append(meter.done)
    assert seen == sorted(seen)
    assert seen[-1] == meter.total == sum(p.stat().st_size for p in tmp_path.iterdir())


def test_hf_directories(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_DATASETS_OFFLINE", "1")
    import datasets

    (tmp_path / "loose").mkdir()
    (tmp_path / "loose" / "train.jsonl").write_bytes(lines(TEXTS))
    datasets.Dataset.from_dict({"text": TEXTS}).save_to_disk(str(tmp_path / "saved"))
    assert read(f"hf:{tmp_path}/loose") == TEXTS
    assert read(f"hf:{tmp_path}/saved") == TEXTS
    assert "no key 'body'; there are: id, text" in refusal(f"hf:{tmp_path}/loose", text_key="body")
    message = refusal(f"hf:{tmp_path}/loose", split="trian")
    assert message.startswith(f"data source hf:{tmp_path}/loose (config=None, split=trian)")
