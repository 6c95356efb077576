"""Numbers as people read them."""

from qwen_shared.report.numbers import compact, duration, number


def test_numbers_in_words():
    assert [number(v) for v in (7410944, 0.20346, 3e-4, 1e-5, 5509.4, None, 12.0, float("nan"))] == [
        "7,410,944",
        "0.2035",
        "0.0003",
        "1e-5",
        "5,509",
        "–",
        "12",
        "–",
    ]
    assert [compact(v) for v in (0, 1500, 2e6, 0.00025, 7.5e-5, 4.5e9)] == [
        "0",
        "1.5k",
        "2M",
        "0.00025",
        "7.5e-5",
        "4.5B",
    ]
    assert [duration(v) for v in (9.6, 90, 7300)] == ["10 s", "1 min 30 s", "2 h 1 min"]
