"""Images that cannot be used: named in the log, the table and the report, left out, and too many of them end a run."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from vitreous.errors import InputError
from vitreous.io.mrc import read_mrc, write_mrc
from vitreous.io.particles import QUARANTINE
from vitreous.io.star import read_star, write_star

BAD = 7  # row of the particle whose image is spoilt


def odd_one(case, folder: Path, make):
    """A particle file whose row BAD names an image in a stack of its own, which ``make(path, image)`` writes."""
    folder.mkdir(exist_ok=True)
    stack, _ = read_mrc(case.stack)
    other = folder / "other.mrcs"

    def change(optics, particles):
        names = particles["rlnImageName"].copy()
        names[BAD] = f"000001@{other}"
        particles["rlnImageName"] = names

    make(other, np.array(stack[BAD]))
    return case.variant(folder / "particles.star", change), f"000001@{other}"


def write(path, image):
    write_mrc(path, image[None].astype(np.float32), 6.0, stack=True)


def with_nan(path, image):
    image[3, 4] = np.nan
    write(path, image)


def cut_short(path, image):
    write(path, image)
    path.write_bytes(path.read_bytes()[:-100])


SPOILT = {
    "nan": (with_nan, "1 pixels are NaN"),
    "infinite": (lambda path, image: write(path, np.where(image > 1, np.inf, image)), "NaN or infinite"),
    "constant": (lambda path, image: write(path, np.full_like(image, 3)), "all pixels are 3"),
    "zero": (lambda path, image: write(path, np.zeros_like(image)), "all pixels are 0"),
    "cut short": (cut_short, "cut short"),
    "empty file": (lambda path, image: path.write_bytes(b""), "other.mrcs"),
    "text": (lambda path, image: path.write_text("an error page " * 200), "other.mrcs"),
    "missing": (lambda path, image: None, "other.mrcs"),
    "other box": (lambda path, image: write(path, np.pad(image, 4)), "40 x 40 px, expected 32 x 32"),
    "far off scale": (lambda path, image: write(path, image * 1e30), "far off scale"),
}  # fmt: skip


@pytest.mark.parametrize("spoilt", SPOILT)
@pytest.mark.parametrize("preread", [None, True])
def test_bad_image_is_left_out_and_listed(case, no_report, events, particles_of, tmp_path, capfd, spoilt, preread):
    make, cause = SPOILT[spoilt]
    file, name = odd_one(case, tmp_path / "in", make)
    root = tmp_path / "out" / "run"
    result = case.classify(root, i=file, preread_images=preread)
    listed = [e for e in events(root) if e["event"] == "quarantined"]
    assert [e["image"] for e in listed] == [name] and cause in listed[0]["cause"]
    assert "1 particle" in capfd.readouterr().err
    for i in (1, 2):
        star = read_star(f"{root}_it{i:03d}_data.star")
        assert list(star[QUARANTINE].columns["rlnImageName"]) == [name]
        assert len(star["particles"].columns["rlnImageName"]) == len(case.truth)
    assert not result.dataset.usable[BAD] and result.dataset.usable.sum() == len(case.truth) - 1
    assert np.isfinite(result.classes).all()
    left = particles_of(root, 2)
    assert left.n_significant[BAD] == 0 and (np.delete(left.n_significant, BAD) > 0).all()


def test_bad_image_does_not_change_the_others(case, no_report, particles_of, tmp_path):
    """What is left out leaves no trace: another kind of damage gives the same answer."""
    found = []
    for spoilt in ("zero", "missing"):
        file, _ = odd_one(case, tmp_path / spoilt, SPOILT[spoilt][0])
        case.classify(tmp_path / f"{spoilt}-out" / "run", i=file)
        found.append(particles_of(tmp_path / f"{spoilt}-out" / "run", 2))
    np.testing.assert_array_equal(found[0].euler_deg, found[1].euler_deg)
    np.testing.assert_array_equal(found[0].log_likelihood, found[1].log_likelihood)


def test_bad_image_stays_out_of_a_continued_run(case, no_report, outputs, tmp_path):
    file, name = odd_one(case, tmp_path / "in", with_nan)
    root = tmp_path / "run"
    case.classify(root, i=file)
    case.classify(tmp_path / "again", continue_from=f"{root}_it001_optimiser.star", j=2)
    assert outputs(root, 2) == outputs(tmp_path / "again", 2)
    assert list(read_star(f"{tmp_path / 'again'}_it002_data.star")[QUARANTINE].columns["rlnImageName"]) == [name]


def test_bad_image_is_in_the_report(case, tmp_path):
    file, name = odd_one(case, tmp_path / "in", with_nan)
    case.classify(tmp_path / "run", i=file, iter=1)
    page = (tmp_path / "report.html").read_text()
    assert name in page and "NaN" in page


def with_nan_defocus(case, path: Path, n: int, n_rows: int = 150) -> str:
    """A particle file of the first rows, with no number for the defocus of ``n`` of them from BAD on."""
    star = read_star(case.particles)
    blocks = {name: dict(star[name].columns) for name in ("optics", "particles")}
    blocks["particles"] = {label: np.array(column[:n_rows]) for label, column in blocks["particles"].items()}
    blocks["particles"]["rlnDefocusU"][BAD : BAD + n] = np.nan
    write_star(path, blocks, allow_nan=True)
    return str(path)


@pytest.mark.parametrize("n_rows", [150, 40])
def test_bad_row_of_the_table_is_left_out_and_listed(case, no_report, events, tmp_path, n_rows):
    result = case.classify(tmp_path / "run", i=with_nan_defocus(case, tmp_path / "in.star", 1, n_rows))
    listed = [e["image"] for e in events(tmp_path / "run") if e["event"] == "quarantined"]
    assert listed == [f"{BAD + 1:06d}@{case.stack}"]
    assert not result.dataset.usable[BAD] and result.dataset.usable.sum() == n_rows - 1


def test_many_bad_rows_of_the_table_are_refused_or_allowed(case, no_report, tmp_path):
    file = with_nan_defocus(case, tmp_path / "in.star", 12)
    with pytest.raises(InputError, match=r"rlnDefocusU .* 12 of 150 .*--max_bad_fraction"):
        case.classify(tmp_path / "run", i=file)
    assert case.classify(tmp_path / "run", i=file, max_bad_fraction=0.1).dataset.usable.sum() == 138


def spoil(case, folder: Path, n: int) -> str:
    """A particle file whose first n images are NaN."""
    stack = np.array(read_mrc(case.stack)[0])
    stack[:n] = np.nan
    write_mrc(folder / "stack.mrcs", stack, 6.0, stack=True)

    def change(optics, particles):
        names = [f"{i + 1:06d}@{folder / 'stack.mrcs'}" for i in range(len(stack))]
        particles["rlnImageName"] = np.array(names, object)

    return case.variant(folder / "particles.star", change)


def test_too_many_bad_images_end_the_run_with_exit_code_2(case, command, tmp_path):
    file = spoil(case, tmp_path, 2)
    done = command(case.words(tmp_path / "run", i=file))
    assert done.returncode == 2
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith(f"error: 000001@{tmp_path}/stack.mrcs: 1024 pixels are NaN")
    assert "2 of 150" in last and "expected at most 1.00%" in last and "--max_bad_fraction" in last
    assert "Traceback" not in done.stderr


def test_too_many_bad_images_end_the_run_where_they_are_found_late(case, no_report, tmp_path):
    """The first noise spectrum looks at few particles; the rest are seen in iteration 1."""
    with pytest.raises(InputError, match=r"40 of 150 particles cannot be used, expected at most 10"):
        case.classify(tmp_path / "run", i=spoil(case, tmp_path, 40), nr_parts_sigma2noise=1, K=1, max_bad_fraction=0.1)
    assert Path(f"{tmp_path / 'run'}_it000_optimiser.star").exists()


def test_more_bad_images_may_be_allowed(case, no_report, tmp_path):
    result = case.classify(tmp_path / "run", i=spoil(case, tmp_path, 30), max_bad_fraction=0.25)
    assert result.dataset.usable.sum() == 120


def test_no_bad_image_may_be_allowed(case, no_report, tmp_path):
    with pytest.raises(InputError, match=r"1 of 150 .* expected at most 0"):
        case.classify(tmp_path / "run", i=spoil(case, tmp_path, 1), max_bad_fraction=0)


def test_one_bad_image_of_a_small_set_does_not_end_the_run(case, no_report, tmp_path):
    def first_40(optics, particles):
        for label in particles:
            particles[label] = particles[label][:40]

    small = case.variant(tmp_path / "small.star", first_40)
    star = read_star(small)
    assert len(star["particles"].columns["rlnImageName"]) == 40
    spoil(case, tmp_path, 1)
    text = Path(small).read_text().replace(str(case.stack), str(tmp_path / "stack.mrcs"))
    Path(small).write_text(text)
    assert case.classify(tmp_path / "run", i=small).dataset.usable.sum() == 39


def test_missing_first_stack_does_not_end_the_run(case, no_report, tmp_path):
    def change(optics, particles):
        names = particles["rlnImageName"].copy()
        names[0] = "000001@gone.mrcs"
        particles["rlnImageName"] = names

    result = case.classify(tmp_path / "run", i=case.variant(tmp_path / "particles.star", change))
    assert result.dataset.usable.sum() == len(case.truth) - 1


def test_all_stacks_missing_is_one_clear_error(case, no_report, tmp_path):
    def change(optics, particles):
        names = [f"{i + 1:06d}@Extract/job009/a.mrcs" for i in range(len(case.truth))]
        particles["rlnImageName"] = np.array(names, object)

    with pytest.raises(InputError, match=r"Extract/job009/a.mrcs.*project folder"):
        case.classify(tmp_path / "run", i=case.variant(tmp_path / "particles.star", change))
