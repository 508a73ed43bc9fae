"""Re-centred class averages are those of RELION."""

import numpy as np
import pytest
from relion_case import relion

from vitreous.engine.select import recentred
from vitreous.io.mrc import read_mrc, write_mrc

pytestmark = pytest.mark.interop


@pytest.mark.parametrize("box", [40, 64])
def test_recentred_averages_equal_those_of_relion(tmp_path, box):
    """relion_image_handler --shift_com does the same without wrapping, so the images are empty near their edges."""
    rng = np.random.default_rng(box)
    images = np.zeros((4, box, box), np.float32)
    inner = slice(box // 3, -box // 3)
    for i, image in enumerate(images):
        image[inner, inner] = rng.normal(0.5, 1, image[inner, inner].shape)
        images[i] = np.roll(image, (2 * i - 3, 4 - i), (0, 1))
    write_mrc(tmp_path / "in.mrcs", images, 3.0)
    relion("relion_image_handler", "--i", "in.mrcs", "--o", "out.mrcs", "--shift_com", folder=tmp_path)
    theirs = read_mrc(tmp_path / "out.mrcs")[0]
    ours, centres = recentred(images)
    assert np.abs(centres).max() > 1
    np.testing.assert_allclose(ours, theirs, atol=1e-5)
