import numpy as np
import pytest

from vitreous.errors import InputError
from vitreous.io.spider import read_spider, write_spider


@pytest.mark.parametrize("shape", [(30, 30), (7, 300), (400, 40)])
def test_spider_comes_back(tmp_path, shape):
    image = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    write_spider(tmp_path / "a.spi", image)
    found, maximum = read_spider(tmp_path / "a.spi")
    np.testing.assert_array_equal(found, image)
    assert maximum == image.max()
    write_spider(tmp_path / "a.spi", image, maximum=1.25)
    assert read_spider(tmp_path / "a.spi")[1] == 1.25


def test_spider_of_the_other_byte_order_is_read(tmp_path):
    image = np.arange(60, dtype=np.float32).reshape(6, 10)
    write_spider(tmp_path / "a.spi", image)
    np.fromfile(tmp_path / "a.spi", "<f4").astype(">f4").tofile(tmp_path / "b.spi")
    np.testing.assert_array_equal(read_spider(tmp_path / "b.spi")[0], image)


def test_spider_that_is_none_or_cut_short_is_told(tmp_path):
    (tmp_path / "a.spi").write_bytes(b"x" * 3000)
    with pytest.raises(InputError, match="no SPIDER header"):
        read_spider(tmp_path / "a.spi")
    write_spider(tmp_path / "b.spi", np.ones((20, 20), np.float32))
    (tmp_path / "b.spi").write_bytes((tmp_path / "b.spi").read_bytes()[:-8])
    with pytest.raises(InputError, match="cut short"):
        read_spider(tmp_path / "b.spi")
    with pytest.raises(InputError, match="cannot be read"):
        read_spider(tmp_path / "c.spi")
