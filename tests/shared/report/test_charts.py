"""Curves that show what was measured, on axes with round numbers."""

import re

import numpy as np
import pytest

from qwen_shared.report.charts import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH, Axis, charts, curve, value_axis


def records(values, name="train/loss"):
    return [{"step": step, name: value} for step, value in enumerate(values, 1)]


def test_a_band_holds_all_points_and_the_line_runs_inside():
    noisy = np.random.default_rng(0).normal(size=5000)
    drawn = curve(records(noisy.tolist()), "train/loss", "x")
    assert len(drawn.band) == len(drawn.x) == 200
    assert drawn.band[:, 1].min() == noisy.min() and drawn.band[:, 2].max() == noisy.max()
    assert np.abs(drawn.y).max() < 0.5
    assert (drawn.last, drawn.lowest, drawn.highest) == (noisy[-1], noisy.min(), noisy.max())


@pytest.mark.parametrize("slope", [0.0, -0.25])
def test_smoothing_leaves_straight_lines_straight(slope):
    straight = [7.0 + slope * step for step in range(1000)]
    drawn = curve(records(straight), "train/loss", "x")
    wanted = 7.0 + slope * (drawn.x - 1)
    middle = slice(0, -3)  # at the end the mean reaches back
    assert np.allclose(drawn.y[middle], wanted[middle])
    assert np.abs(drawn.y - wanted).max() <= abs(slope) * 1000 / 100


def test_few_points_are_all_drawn():
    drawn = curve(records([3.0, None, 2.0, float("nan"), True, "4", 1]), "train/loss", "x")
    assert (drawn.x.tolist(), drawn.y.tolist(), drawn.band) == ([1, 3, 7], [3, 2, 1], None)
    assert curve(records([3.0]), "train/loss", "x") is None
    assert curve([], "train/loss", "x") is None


@pytest.mark.parametrize(("low", "high"), [(0, 1), (-3.2, 8.7), (5.1, 5.2), (0, 3e9), (1e-6, 3e-6), (2, 2)])
def test_ticks_are_round_and_inside(low, high):
    axis = value_axis([(low, high)], 200, 10, may_be_log=False)
    ticks = axis.ticks()
    assert 2 <= len(ticks) <= 7
    assert all(axis.low - 1e-9 <= tick <= axis.high + 1e-9 for tick in ticks)
    assert all(10 - 1e-6 <= axis.at(tick) <= 200 + 1e-6 for tick in ticks)
    assert axis.low <= low and high <= axis.high
    assert not (low >= 0 > axis.low)


def test_logarithmic_where_values_span_decades():
    axis = value_axis([(0.004, 6.0)], 200, 10, may_be_log=True)
    assert axis.log
    assert axis.ticks() == pytest.approx([0.01, 0.1, 1.0])
    assert not value_axis([(0.0, 6.0)], 200, 10, may_be_log=True).log
    assert Axis(1, 100, 0, 2, log=True).at(10) == pytest.approx(1)


def test_every_metric_has_a_chart_but_those_that_say_nothing_new():
    record = {"step": 1, "tokens": 2, "samples": 3, "time": 4.0, "train/loss": 5.0, "val/loss": 5.0}
    record |= {"val/perplexity": 6.0, "val/text/perplexity": 7.0, "train/loss_tokens": 8, "data/samples": "abc"}
    record |= {"val/text/loss": 9.0, "guard/skipped": 10}
    found = charts([record, record | {"step": 2}])
    shown = {section: {c.title: [line.label for line in c.lines] for c in plots} for section, plots in found.items()}
    assert shown == {
        "Learning": {"Loss": ["training", "held out", "held out: text"]},
        "Throughput": {},
        "Other measures": {"guard/skipped": ["skipped"]},
    }


def test_curves_stay_on_the_paper():
    values = [100.0, *np.random.default_rng(1).normal(5, 1, 3000).tolist()]
    (chart,) = charts(records(values))["Learning"]
    (line,) = chart.lines
    points = [tuple(map(float, point.split(","))) for point in re.findall(r"[\d.-]+,[\d.-]+", line.path)]
    assert all(LEFT - 0.1 <= x <= WIDTH - RIGHT + 0.1 and TOP - 0.1 <= y <= HEIGHT - BOTTOM + 0.1 for x, y in points)
