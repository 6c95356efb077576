"""Datasets in the shapes people publish; whole repositories on one side of the split."""

import pytest

from code_qwen.corpus import sources
from qwen_shared.data import Meter
from qwen_shared.errors import UserError

from .programs import program

STACK = {"lang": "Python", "ext": "py", "max_stars_repo_licenses": ["MIT"]}


def stack(repository, path, seed, **more):
    row = {"content": program(seed), "max_stars_repo_name": repository, "max_stars_repo_path": path}
    return {**row, **STACK, **more}


@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.gz", "a.parquet"])
def test_the_stack(reader, rows, name):
    path = rows(
        name,
        [
            stack("u/one", "src/a.py", 1),
            stack("u/one", "b.py", 2, max_stars_repo_licenses=["GPL-3.0"]),
            stack("u/two", "/c.py", 3, max_stars_repo_licenses=["MIT", "GPL-2.0"]),
            stack("u/two", "d.py", 4, max_stars_repo_licenses=[]),
            stack("u/two", "e.py", 1),
        ],
    )
    made = reader(path)
    files = [filtered.file for filtered in made.files(Meter())]
    assert [(f.repository, f.path, f.language, f.licence) for f in files] == [
        ("u/one", "src/a.py", "Python", "MIT"),
        ("u/two", "d.py", "Python", None),
    ]
    assert files[0].text == program(1)
    reasons = {reason: tally.files for reason, tally in made.report.dropped.items()}
    assert reasons == {"licence GPL-3.0": 1, "licence MIT AND GPL-2.0": 1, "copy": 1}


def test_other_shapes(reader, rows):
    path = rows(
        "a.jsonl",
        [
            {"code": program(1), "repo_name": "a/b", "path": "x/y.go", "language": "Go", "license": "apache-2.0"},
            {"text": program(2), "filename": "z.rs"},
            {"content": program(3), "ext": "cpp", "repository_name": "c"},
            {"repo_name": "v/two", "files": [
                {"content": program(4), "path": "/p.py", "language": "Python", "detected_licenses": ["MIT"]},
                {"content": program(5), "path": "/q.c", "language": "C", "detected_licenses": []},
            ]},
            {"text": program(6)},
        ],
    )  # fmt: skip
    files = [filtered.file for filtered in reader(path).files(Meter())]
    assert [(f.repository, f.path, f.language, f.licence) for f in files] == [
        ("a/b", "x/y.go", "Go", "apache-2.0"),
        ("", "z.rs", "Rust", None),
        ("c", "", "C++", None),
        ("v/two", "p.py", "Python", "MIT"),
        ("v/two", "q.c", "C", None),
        ("", "", None, None),
    ]
    only = reader(path, filters={"languages": "go"})
    assert [filtered.file.path for filtered in only.files(Meter())] == ["x/y.go"]


def test_a_directory_of_rows_is_a_dataset(reader, rows, tmp_path):
    (tmp_path / "shards").mkdir()
    rows("shards/1.jsonl", [stack("a", "a.py", 1)])
    rows("shards/2.parquet", [stack("b", "b.py", 2)])
    (tmp_path / "shards" / "README.md").write_text("about")
    meter = Meter()
    assert [filtered.file.path for filtered in reader(tmp_path / "shards").files(meter)] == ["a.py", "b.py"]
    assert meter.total == sum(p.stat().st_size for p in (tmp_path / "shards").glob("[12].*"))


def test_whole_repositories_are_held_out(reader, rows):
    path = rows("a.jsonl", [stack(f"r{i % 40}", f"{i}.py", i) for i in range(200)])
    sides: dict[str, set] = {}
    for filtered in reader(path, validation_fraction=0.3).files(Meter()):
        sides.setdefault(filtered.file.repository, set()).add(filtered.file.held_out)
    assert len(sides) == 40 and all(len(side) == 1 for side in sides.values())
    assert 5 <= sum(side == {True} for side in sides.values()) <= 20
    limited = list(reader(path, validation_fraction=0.3, validation_max_bytes=1).files(Meter()))
    assert len({e.file.repository for e in limited if e.file.held_out}) == 1


def sides(files):
    """Bytes that are held out, and those of all."""
    return sum(file.size for file in files if file.held_out), sum(file.size for file in files)


@pytest.mark.parametrize("repositories", [1, 2, 3, 5])
def test_of_few_repositories_something_is_held_out_and_not_too_much(reader, rows, repositories):
    """Whole files, where each repository is more than is wanted; and where one is nearly everything."""
    for sizes in ([12] * repositories, [60, *[12] * (repositories - 1)]):
        made = [stack(f"r{r}", f"{i}.py", 100 * r + i) for r, size in enumerate(sizes) for i in range(size)]
        files = [filtered.file for filtered in reader(rows("a.jsonl", made), validation_fraction=0.05).files(Meter())]
        held, whole = sides(files)
        assert len(files) == sum(sizes) and 0.02 * whole < held < 0.1 * whole
    one = [stack("r", "", i) for i in range(20)]  # without paths
    files = [filtered.file for filtered in reader(rows("b.jsonl", one), validation_fraction=0.05).files(Meter())]
    assert 1 <= sum(file.held_out for file in files) <= 2


def test_a_dataset_too_large_to_be_known_whole(reader, rows, monkeypatch):
    monkeypatch.setattr(sources, "_KNOWN_BYTES", 20_000)
    many = rows("many.jsonl", [stack(f"r{i % 60}", f"{i}.py", i, n=i) for i in range(240)])
    found = [filtered.file for filtered in reader(many, validation_fraction=0.1).files(Meter())]
    held = {file.repository for file in found if file.held_out}
    assert len(found) == 240 and 1 <= len(held) <= 15
    assert not held & {file.repository for file in found if not file.held_out}
    few = rows("few.jsonl", [stack(f"r{i % 2}", f"{i}.py", i) for i in range(240)])
    found = [filtered.file for filtered in reader(few, validation_fraction=0.1).files(Meter())]
    assert len(found) == 240 and 8 <= sum(file.held_out for file in found) <= 48
    limited = reader(few, validation_fraction=0.1, documents=50)
    assert len(list(limited.files(Meter()))) == 50


def test_a_folder_of_a_dataset(reader, rows, tmp_path):
    for language in ("go", "python"):
        (tmp_path / "stack" / "data" / language).mkdir(parents=True)
        rows(f"stack/data/{language}/train.jsonl", [stack(language, f"{language}.py", len(language))])
    made = reader(f"hf:{tmp_path / 'stack'}", source={"data_dir": "data/python"})
    assert [filtered.file.path for filtered in made.files(Meter())] == ["python.py"]
    other = reader(f"hf:{tmp_path / 'stack'}", source={"data_dir": "data/go"})
    assert made.settings() != other.settings()
    with pytest.raises(UserError, match="data_dir=data/rust"):
        list(reader(f"hf:{tmp_path / 'stack'}", source={"data_dir": "data/rust"}).files(Meter()))


def test_broken_rows_are_named(reader, rows):
    for row, message in [
        ({"body": "x"}, r"line 2: no key content, text or code; there are: body; name the right one as text_key"),
        ({"content": 3}, r"line 2: 'content' is int, expected a string"),
        ({"blob_id": "1"}, "ids of The Stack 2, whose contents must be fetched first"),
    ]:
        path = rows("a.jsonl", [stack("a", "a.py", 1), row])
        with pytest.raises(UserError, match=message):
            list(reader(path).files(Meter()))
    path = rows("a.jsonl", [{"body": program(1)}])
    assert len(list(reader(path, source={"text_key": "body"}).files(Meter()))) == 1
