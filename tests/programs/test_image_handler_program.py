"""``vitreous image-handler``: order of steps, stacks and STAR files, pictures, what is refused."""

import zlib

import numpy as np
import pytest

from vitreous import cli
from vitreous.engine import filters, image_ops
from vitreous.errors import InputError
from vitreous.io.mrc import read_header, read_mrc, write_mrc
from vitreous.io.star import read_star, write_star
from vitreous.programs import image_handler
from vitreous.programs.image_handler_options import Options


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    write_mrc("map.mrc", rng.normal(size=(12, 12, 12)).astype(np.float32), 4.0)
    write_mrc("other.mrc", rng.normal(size=(12, 12, 12)).astype(np.float32), 4.0)
    write_mrc("a.mrcs", rng.normal(size=(6, 16, 16)).astype(np.float32), 3.0, stack=True)
    write_mrc("b.mrcs", rng.normal(size=(3, 16, 16)).astype(np.float32), 3.0, stack=True)
    write_mrc("small.mrcs", rng.normal(size=(2, 12, 12)).astype(np.float32), 3.0, stack=True)
    write_mrc("image.mrc", rng.normal(size=(16, 20)).astype(np.float32), 3.0)
    names = ["000002@b.mrcs", "000001@a.mrcs", "000005@a.mrcs", "000003@b.mrcs"]
    star("p.star", names)
    return tmp_path


def star(path, names, groups=None):
    groups = groups or [1] * len(names)
    n = max(groups)
    optics = {"rlnOpticsGroup": np.arange(1, n + 1), "rlnOpticsGroupName": [f"g{i}" for i in range(n)],
              "rlnImagePixelSize": np.full(n, 3.0), "rlnImageSize": np.full(n, 16)}  # fmt: skip
    write_star(path, {"optics": optics, "particles": {"rlnImageName": names, "rlnOpticsGroup": groups,
                                                      "rlnAnglePsi": np.arange(len(names), dtype=float)}})  # fmt: skip


def run(**options):
    return image_handler.run(Options.from_keywords(**{"verb": 0, **options}))


def test_steps_are_done_in_one_order(folder):
    run(i="map.mrc", o="out.mrc", threshold_below=0.0, new_box=10, rescale_angpix=6.0, shift_x=1.0, flipX=True,
        lowpass=20.0, multiply_constant=2.0, add_constant=1.0)  # fmt: skip
    x = 2 * read_mrc("map.mrc")[0] + 1
    x = filters.filtered(x, filters.low_pass(2, 12))
    x = image_ops.resized(image_ops.shifted(x[:, :, ::-1], (1, 0, 0)), (8, 8, 8))
    found, pixel_size_A = read_mrc("out.mrc")
    np.testing.assert_allclose(found, np.maximum(image_ops.in_box(x, 10), 0), atol=1e-6)
    assert pixel_size_A == 6.0


def test_all_arithmetic_that_is_asked_for_is_done(folder):
    run(i="map.mrc", o="out.mrc", divide_constant=2.0, subtract_constant=0.5, multiply="other.mrc", subtract="map.mrc")
    x, y = read_mrc("map.mrc")[0], read_mrc("other.mrc")[0]
    np.testing.assert_allclose(read_mrc("out.mrc")[0], (x / 2 - 0.5) * y - x, atol=1e-6)


def test_one_section_may_be_named(folder):
    run(i="000003@a.mrcs", o="third.mrc", add="000002@a.mrcs")
    a = read_mrc("a.mrcs")[0]
    np.testing.assert_array_equal(read_mrc("third.mrc")[0][0], a[2] + a[1])


def test_a_suffix_is_added_and_a_stack_may_be_taken_for_a_map(folder):
    run(i="a.mrcs", o="copy")
    run(i="map.mrc", o="copied")
    assert read_header("copy.mrcs").shape == (6, 16, 16) and read_header("copied.mrc").shape == (12, 12, 12)
    run(i="a.mrcs:mrc", o="flipped.mrc", flipZ=True)
    np.testing.assert_array_equal(read_mrc("flipped.mrc")[0], read_mrc("a.mrcs")[0][::-1])
    run(i="map.mrc:mrcs", o="sections.mrcs", flipXY=True)
    np.testing.assert_array_equal(read_mrc("sections.mrcs")[0], read_mrc("map.mrc")[0].transpose(0, 2, 1))


def test_a_file_may_be_written_over(folder):
    before = read_mrc("a.mrcs")[0]
    run(i="a.mrcs", o="a.mrcs", multiply_constant=-1.0)
    np.testing.assert_array_equal(read_mrc("a.mrcs")[0], -before)


def test_a_star_file_keeps_its_rows_and_gets_new_names(folder, capsys):
    result = run(i="p.star", o="x", rescale_angpix=6.0, flipX=True)
    new = read_star("p_x.star")
    assert new["particles"]["rlnImageName"].tolist() == [
        "000002@b_x.mrcs", "000001@a_x.mrcs", "000005@a_x.mrcs", "000003@b_x.mrcs"]  # fmt: skip
    np.testing.assert_array_equal(new["particles"]["rlnAnglePsi"], [0, 1, 2, 3])
    assert new["optics"]["rlnImagePixelSize"].tolist() == [6.0] and new["optics"]["rlnImageSize"].tolist() == [8]
    for name in "ab":
        written = read_mrc(f"{name}_x.mrcs")[0]  # all sections, so that numbers hold
        expected = [image_ops.resized(np.ascontiguousarray(x[:, ::-1]), (8, 8)) for x in read_mrc(f"{name}.mrcs")[0]]
        np.testing.assert_allclose(written, expected, atol=1e-6)
    assert [str(path) for path in result.files] == ["b_x.mrcs", "a_x.mrcs", "p_x.star"]
    assert "those of the images before --flipX" in capsys.readouterr().err


def test_a_star_file_may_go_into_one_stack(folder, monkeypatch):
    monkeypatch.setattr(image_handler._Readers, "MOST", 1)
    run(i="p.star", o="all.mrcs", add_constant=1.0)
    a, b = (read_mrc(f"{name}.mrcs")[0] for name in "ab")
    np.testing.assert_array_equal(read_mrc("all.mrcs")[0], np.stack([b[1], a[0], a[4], b[2]]) + 1)
    names = read_star("all.star")["particles"]["rlnImageName"].tolist()
    assert names == [f"{i:06d}@all.mrcs" for i in (1, 2, 3, 4)]


def test_each_optics_group_gets_its_own_pixel_size(folder):
    star("two.star", ["000001@a.mrcs", "000001@small.mrcs"], [1, 2])
    run(i="two.star", o="y", rescale_angpix=4.0)
    optics = read_star("two_y.star")["optics"]
    assert optics["rlnImageSize"].tolist() == [12, 8]
    np.testing.assert_allclose(optics["rlnImagePixelSize"], [4.0, 4.5])


def test_files_are_found_beside_the_star_file(folder, monkeypatch):
    (folder / "elsewhere").mkdir()
    monkeypatch.chdir(folder / "elsewhere")
    run(i="../p.star", o="z")
    assert (folder / "a_z.mrcs").exists() and (folder / "p_z.star").exists()


def test_averages_run_over_all_files(folder):
    run(i="p.star", o="mean.mrc", average=True)
    a, b = (read_mrc(f"{name}.mrcs")[0] for name in "ab")
    chosen = np.stack([b[1], b[2], a[0], a[4]])
    np.testing.assert_allclose(read_mrc("mean.mrc")[0][0], chosen.mean(axis=0), atol=1e-6)
    np.testing.assert_allclose(read_mrc("mean_sigma.mrc")[0][0], chosen.std(axis=0), atol=1e-6)
    run(i="p.star", o="power.mrc", avg_ampl2=True)
    expected = np.mean(np.abs(np.fft.rfft2(chosen) / 256) ** 2, axis=0)
    np.testing.assert_allclose(read_mrc("power.mrc")[0][0], expected, rtol=1e-4)


def test_frames_are_averaged_in_bins_within_a_range(folder):
    run(i="a.mrcs", o="bins.mrcs", avg_bin=2, avg_first=2)
    a = read_mrc("a.mrcs")[0]
    np.testing.assert_allclose(read_mrc("bins.mrcs")[0], [a[1:3].mean(axis=0), a[3:5].mean(axis=0)], atol=1e-6)


def test_filters_of_the_transform_in_both_layouts(folder):
    run(i="a.mrcs", o="ampl.mrcs", avg_ampl=True)
    half = read_mrc("ampl.mrcs")[0][0]
    run(i="a.mrcs", o="x.mrcs", fourier_filter="ampl.mrcs")
    a = read_mrc("a.mrcs")[0]
    np.testing.assert_allclose(read_mrc("x.mrcs")[0], np.fft.irfft2(np.fft.rfft2(a) * half), atol=1e-6)
    k = np.arange(16) - 8
    centred = np.exp(-(k[:, None] ** 2 + k**2) / 50)
    write_mrc("centred.mrc", centred.astype(np.float32), 3.0)
    run(i="a.mrcs", o="y.mrcs", fourier_filter="centred.mrc")
    expected = np.fft.ifft2(np.fft.fft2(a) * np.fft.ifftshift(centred)).real
    np.testing.assert_allclose(read_mrc("y.mrcs")[0], expected, atol=1e-6)


def test_images_have_random_phases_of_their_own(folder):
    write_mrc("same.mrcs", np.repeat(read_mrc("a.mrcs")[0][:1], 2, axis=0), 3.0, stack=True)
    for seed, name in ((0, "x"), (0, "y"), (1, "z")):
        run(i="same.mrcs", o=f"{name}.mrcs", phase_randomise=20.0, random_seed=seed)
    x, y, z = (read_mrc(f"{name}.mrcs")[0] for name in "xyz")
    np.testing.assert_array_equal(x, y)
    assert np.abs(x - z).max() > 0.1 and np.abs(x[0] - x[1]).max() > 0.1


def test_nan_is_replaced_or_refused(folder):
    bad = read_mrc("a.mrcs")[0]
    bad[2, 3, 4] = np.nan
    write_mrc("bad.mrcs", bad, 3.0, stack=True)
    with pytest.raises(InputError, match=r"000003@bad.mrcs: holds NaN or infinity.*--remove_nan"):
        run(i="bad.mrcs", o="good.mrcs")
    assert not (folder / "good.mrcs").exists()
    run(i="bad.mrcs", o="good.mrcs", remove_nan=True, replace_nan=7.0)
    assert read_mrc("good.mrcs")[0][2, 3, 4] == 7


def test_information_is_printed_and_returned(folder, capsys):
    assert cli.main(["image-handler", "--i", "map.mrc", "--stats", "--com", "--fsc", "map.mrc", "--verb", "0"]) == 0
    out = capsys.readouterr().out
    assert "map.mrc : (x,y,z,n)= 12 x 12 x 12 x 1 ; avg=" in out and "center of mass" in out
    assert len([line for line in out.splitlines() if line.endswith("            1")]) == 7  # FSC with itself
    result = run(i="a.mrcs", stats=True, threshold_below=0.0)
    assert len(result.rows) == 6 and all(row["min"] == 0 for row in result.rows)
    run(i="map.mrc", o="curve.star", power=True)
    assert len(read_star("curve.star")["power"]["rlnReferenceSpectralPower"]) == 7


def grey_of(path):
    """Pixels of one of our PNG files: rows without a filter."""
    data = path.read_bytes()
    size = np.frombuffer(data[16:24], ">u4")
    start = data.index(b"IDAT") + 4
    n = int.from_bytes(data[start - 8 : start - 4], "big")
    rows = np.frombuffer(zlib.decompress(data[start : start + n]), np.uint8).reshape(size[1], size[0] + 1)
    return rows[:, 1:]


def test_pictures_have_the_contrast_that_is_asked_for(folder):
    image = read_mrc("image.mrc")[0][0]
    run(i="image.mrc", o="auto.png")
    assert np.unravel_index(np.argmin(grey_of(folder / "auto.png")), image.shape) == np.unravel_index(
        np.argmin(image), image.shape
    )
    run(i="image.mrc", o="given.png", black=-1.0, white=1.0)
    np.testing.assert_array_equal(grey_of(folder / "given.png"), np.rint(127.5 * (np.clip(image, -1, 1) + 1)))
    run(i="image.mrc", o="sigma.png", sigma_contrast=1.0)
    limits = image.mean() + image.std() * np.array([-1, 1])
    expected = np.rint(255 * np.clip((image - limits[0]) / np.ptp(limits), 0, 1))
    assert np.abs(grey_of(folder / "sigma.png") - expected).max() <= 1


def test_a_stack_is_never_held_whole(folder, monkeypatch):
    read, most = image_handler.StackReader.read, []

    def counted(self, sections, out=None):
        most.append(len(sections))
        return read(self, sections, out)

    monkeypatch.setattr(image_handler.StackReader, "read", counted)
    run(i="a.mrcs", o="out.mrcs", lowpass=20.0)
    run(i="a.mrcs", o="mean.mrcs", average=True)
    assert most == [1] * 12


def test_half_precision_is_written(folder):
    run(i="a.mrcs", o="half.mrcs", float16=True)
    assert read_header("half.mrcs").mode == 12


@pytest.mark.parametrize("change, text", [
    ({"i": None}, "--i: found no image"),
    ({"i": "gone.mrc"}, "gone.mrc is not there"),
    ({"i": "000009@a.mrcs"}, "000009@a.mrcs is not there, expected sections 1 to 6"),
    ({"i": "000001@map.mrc"}, "names a section of a map, expected a stack; write map.mrc:mrcs"),
    ({"o": None}, "--o: found none"),
    ({"o": "x.png"}, "holds several images, expected one for a .png"),
    ({"add": "map.mrc"}, r"--add map.mrc: is 12 x 12 x 12 px, expected 16 x 16 as the input; resample it"),
    ({"add": "b.mrcs"}, r"is 16 x 16 x 3 px, expected 16 x 16 as the input; name one section, as 000001@b.mrcs"),
    ({"fourier_filter": "image.mrc"}, r"is 20 x 16 x 1 px|is 20 x 16 px, expected 9 x 16"),
    ({"flipZ": True}, "--flipZ: found 2 axes, expected a map"),
    ({"sym": "C3"}, "--sym: found 2 axes, expected a map"),
    ({"i": "map.mrc", "sym": "C3v"}, "--sym: found C3v, which is no point group of rotations"),
    ({"i": "map.mrc", "flipXY": True}, "--flipXY: found 3 axes, expected an image"),
    ({"shift_z": 1.0}, "--shift_z: found images"),
    ({"shift_com": True, "shift_x": 1.0}, "--shift_com: found --shift_x, y or z beside it"),
    ({"invert_hand": True, "flipX": True}, "--invert_hand: found --flipX beside it"),
    ({"directional": "Z", "lowpass": 20.0}, "--directional: found 'Z', expected X, Y"),
    ({"directional": "X"}, "--directional: found no --lowpass"),
    ({"optimise_scale_subtract": True}, "--optimise_scale_subtract: found no --subtract"),
    ({"subtract": "000001@a.mrcs", "optimise_bfactor_subtract": 50.0}, "expected --optimise_scale_subtract beside it"),
    ({"divide_constant": 0.0}, "--divide_constant: found 0"),
    ({"avg_bin": 7}, "--avg_bin: found 7, expected at most the 6 images"),
    ({"avg_first": 5, "avg_last": 4}, "--avg_first: found images 5 to 4"),
    ({"i": "map.mrc", "avg_bin": 2}, "expected one stack for --avg_bin"),
    ({"i": "mixed.star", "o": "all.mrcs"}, "small.mrcs: images come out with 12 x 12 px, expected 16 x 16 as of"),
    ({"i": "mixed.star", "average": True}, r"images are \(12, 12\) px, expected \(16, 16\)"),
    ({"i": "empty.star"}, "has none of the columns rlnImageName"),
    ({"i": "cut.mrcs"}, "was cut short"),
    ({"avg_ampl2_ali": True}, "--avg_ampl2_ali: found an option of RELION"),
    ({"colour_fire": True}, "--colour_fire: found an option of RELION.*pictures are grey"),
])  # fmt: skip
def test_bad_input_is_refused(folder, change, text):
    star("mixed.star", ["000001@a.mrcs", "000001@small.mrcs"], [1, 2])
    (folder / "empty.star").write_text("data_x\nloop_\n_rlnAnglePsi\n1\n")
    (folder / "cut.mrcs").write_bytes((folder / "a.mrcs").read_bytes()[:-100])
    with pytest.raises(InputError, match=text):
        run(**{"i": "a.mrcs", "o": "out.mrcs", **change})
    assert not (folder / "out.mrcs").exists()


@pytest.mark.parametrize("option", ["lowpass", "bfactor", "LoG", "rescale_angpix", "phase_randomise"])
def test_a_header_without_pixel_size_asks_for_it(folder, option):
    data = bytearray((folder / "map.mrc").read_bytes())
    data[40:52] = bytes(12)
    (folder / "map.mrc").write_bytes(data)
    with pytest.raises(InputError, match=f"--{option}: the image has no pixel size.*--angpix"):
        run(i="map.mrc", o="out.mrc", **{option: 10.0})
    run(i="map.mrc", o="out.mrc", angpix=4.0, **{option: 10.0})
    assert read_header("out.mrc").pixel_size_A == pytest.approx(12.0 if option == "rescale_angpix" else 4.0)
