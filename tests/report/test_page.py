"""The page builder: escaping, self-containedness, images that decode."""

import base64
import io
import re
from html.parser import HTMLParser

import matplotlib.image
import numpy as np
import pytest

from vitreous.report import figures
from vitreous.report.page import Page, card, grey, image_tag, number, png, thumbnail

VOID = {"meta", "img", "br", "link", "input", "hr"}


class Nesting(HTMLParser):
    """Fails on an end tag that does not close the innermost open one."""

    def __init__(self):
        super().__init__()
        self.open = []

    def handle_starttag(self, tag, attrs):
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        pass

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def check_nesting(html):
    parser = Nesting()
    parser.feed(html)
    assert parser.open == []


def test_png_decodes_to_the_same_pixels():
    image = np.random.default_rng(1).integers(0, 256, (7, 12), np.uint8)
    decoded = matplotlib.image.imread(io.BytesIO(png(image)), format="png")
    np.testing.assert_array_equal(np.rint(255 * decoded).astype(np.uint8), image)


def test_grey_uses_the_whole_range_whatever_the_scale():
    ramp = np.linspace(-3e5, 7e5, 4096).reshape(64, 64)
    levels = grey(ramp)
    assert levels.min() == 0 and levels.max() == 255
    np.testing.assert_array_equal(levels, grey(ramp * 1e-9 + 4))


@pytest.mark.parametrize("value", [0.0, np.nan])
def test_grey_of_an_empty_class_is_black(value):
    assert not grey(np.full((8, 8), value)).any()


@pytest.mark.parametrize("box, expected", [(64, 64), (112, 112), (256, 85), (250, 83)])
def test_thumbnail_keeps_the_mean_and_limits_the_size(box, expected):
    image = np.random.default_rng(2).random((box, box))
    small = thumbnail(image)
    assert small.shape == (expected, expected)
    assert small.mean() == pytest.approx(image.mean(), abs=0.01)  # the last incomplete squares are cut off


def test_page_escapes_what_it_is_given():
    page = Page("<title> & co", "a < b")
    page.section("1 < 2", "<script>alert(1)</script>")
    page.warning("<b>")
    page.facts([("<i>", "<u>")])
    page.table(["<th>"], [["<td>"]], fold="<fold>")
    html = page.html()
    for raw in ("<script>", "<u>", "<td><td>", "<fold>", "<title> &"):
        assert raw not in html
    check_nesting(html)


def test_page_loads_nothing_from_elsewhere():
    page = Page("title")
    page.section("pictures")
    page.gallery([card([image_tag(np.eye(8), "class 1", 0.2)], ["<b>12 %</b>"], 0.12)])
    page.figures([(figures.histogram(np.arange(50.0), "values"), "caption")])
    html = page.html()
    for target in re.findall(r'(?:src|href)="([^"]*)"', html):
        assert target.startswith(("data:image/", "#"))
    assert "@import" not in html and "url(http" not in html
    check_nesting(html)


def test_images_of_the_page_are_the_thumbnails():
    image = np.random.default_rng(3).random((32, 32))
    data = re.search(r"base64,([^\"]+)", image_tag(image, "x"))[1]
    decoded = matplotlib.image.imread(io.BytesIO(base64.b64decode(data)), format="png")
    np.testing.assert_array_equal(np.rint(255 * decoded), grey(image))


def test_page_is_the_same_bytes_twice():
    def make():
        page = Page("title")
        page.figures([(figures.curves([1, 2, 3], [("y", {"a": [1, None, 3], "b": [3, 2, 1]})], "x"), "two curves")])
        return page.html()

    assert make() == make()


@pytest.mark.parametrize("value, text", [
    (None, "–"), (12345, "12,345"), (np.int64(1000), "1,000"), (0.123456, "0.1235"), (True, "yes"), ("a", "a"),
])
def test_number_in_a_cell(value, text):
    assert number(value) == text


def test_table_aligns_columns_of_numbers():
    page = Page("t")
    page.table(["name", "n"], [["a", 1], ["b", None]], chosen=[False, True])
    html = page.html()
    assert '<td class="n">1</td>' in html and "<td>a</td>" in html and "<tr class=chosen><td>b</td>" in html
