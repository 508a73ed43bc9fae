import numpy as np

from vitreous.report.autopick import AutopickRun, Shown, autopick_report, binned, colour


def page(**changes):
    rng = np.random.default_rng(0)
    shown = Shown(
        "M/a<b>.mrc",
        *binned(rng.normal(size=(900, 1300)).astype(np.float32)),
        np.array([10.0, 700]),
        np.array([20.0, 300]),
        np.array([0.1, 0.9]),
        60.0,
    )
    run = {
        "title": "Picks: P/",
        "option_rows": [("basic", "threshold", 0.1, "", "user")],
        "names": ["M/a<b>.mrc", "M/c.mrc"],
        "counts": np.array([2, 0]),
        "foms": [np.array([0.1, 0.9]), np.zeros(0)],
        "failed": {"M/d.mrc": "all pixels are 7"},
        "shown": [shown],
    }
    return autopick_report(AutopickRun(**(run | changes)))


def test_report_shows_micrographs_with_coloured_picks():
    html = page()
    assert html.count('stroke="rgb(') == 2 and colour(1) in html and colour(0) in html
    assert "M/a&lt;b&gt;.mrc" in html and "M/a<b>" not in html
    assert "all pixels are 7" in html and len(html) < 2e6


def test_report_circles_are_where_the_picks_are():
    html = page()
    assert 'cx="' in html
    first = html.split("<circle ")[1].split(">")[0]
    numbers = [float(part.split('"')[1]) for part in first.split()[:3]]
    np.testing.assert_allclose(numbers, [10.5 / 3, 20.5 / 3, 10.0], atol=0.06)  # 1300 px are shown as 433


def test_report_of_no_picks_is_a_page():
    html = page(names=[], counts=np.zeros(0, int), foms=[], shown=[], failed={})
    assert html.startswith("<!doctype html>")
