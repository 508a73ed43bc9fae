from types import SimpleNamespace

import numpy as np

from vitreous.report.extract import Summary, report_html, sheet


def outcome(n, failed="", seed=0):
    rng = np.random.default_rng(seed)
    return SimpleNamespace(
        failed=failed,
        n=n,
        notes=["mic: a <remark>"] if n == 3 else [],
        n_left_out=1,
        bytes_read=10**6,
        background=rng.normal(500, 5, (n, 2)),
        sample=rng.normal(size=(min(n, 16), 16, 16)).astype(np.float32) if n else None,
    )


def page(outcomes, left_out=()):
    result = SimpleNamespace(
        particles="Extract/particles.star", n=sum(o.n for o in outcomes), outcomes=outcomes, left_out=list(left_out)
    )
    summary = Summary("1.0", 12.0, 2**30, 2, "outside of 25 px of 64")
    return report_html(result, None, summary, [("--i", "mics.star", "", "user")])


def test_extract_report_shows_sheet_statistics_and_what_was_left_out():
    text = page([outcome(40), outcome(3, seed=1)], [("bad.mrc", "bad.mrc: was cut short")])
    for part in (
        "mean of 19",
        "standard deviation of 19",
        "Particles of each micrograph",
        "was cut short",
        "a &lt;remark&gt;",
        "outside of 25 px of 64",
        "mics.star",
        "<b>43</b>",
    ):
        assert part in text, part


def test_extract_report_of_a_run_that_found_all_done():
    assert "particles" in page([])


def test_sheet_takes_evenly_from_all():
    images = [np.full((10, 2, 2), i, np.float32) for i in range(20)]
    found = sheet(images, 40)
    assert len(found) == 40 and len(np.unique(found)) == 20
    assert len(sheet(images[:1], 40)) == 10
