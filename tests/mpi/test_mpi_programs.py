"""Programs shared among processes give the answer of one process."""

from __future__ import annotations

import numpy as np
import pytest

from vitreous.cli import call
from vitreous.io.mrc import read_mrc
from vitreous.io.particles import read_particles
from vitreous.io.star import read_star

pytestmark = pytest.mark.mpi

USUAL = {
    "particle_diameter": 150, "ctf": True, "zero_mask": True, "flatten_solvent": True, "norm": True, "scale": True,
    "random_seed": 1, "max_bad_fraction": 0.05, "j": 1, "dont_check_norm": True,
}  # fmt: skip
OF = {
    "class2d": {"K": 3, "iter": 3, "psi_step": 15, "offset_range": 3, "offset_step": 1, "center_classes": True},
    "refine3d": {
        "ref": True, "ini_high": 50, "healpix_order": 1, "offset_range": 2, "offset_step": 2, "auto_iter_max": 3,
        "low_resol_join_halves": 60, "auto_local_healpix_order": 3, "solvent_correct_fsc": True, "solvent_mask": True,
    },
    "class3d": {"ref": True, "ini_high": 50, "healpix_order": 1, "offset_range": 2, "offset_step": 2, "K": 2, "iter": 2},
    "class2d --grad": {"K": 3, "iter": 4, "psi_step": 15, "offset_range": 3, "offset_step": 1, "center_classes": True, "grad_em_iters": 1,
                       "grad_ini_subset": 60, "grad_fin_subset": 100, "grad_write_iter": 1, "class_inactivity_threshold": 0.1},
    "initial-model": {"offset_range": 2, "K": 2, "iter": 3, "starts": 2, "grad_write_iter": 1},
}  # fmt: skip
FILES = {"ref": "truth.mrc", "solvent_mask": "mask.mrc"}
# Sums of float32 in another order: 1e-6 of the largest value of a map, which later iterations carry on.
RTOL_MAP, ATOL_PMAX = 1e-5, 1e-3


def options_of(program, particles, root, **more):
    chosen = {"i": particles / "particles.star", "o": root} | USUAL | OF[program] | more
    chosen |= {key: particles / name for key, name in FILES.items() if key in chosen}
    return chosen


def words_of(program, particles, root, **more):
    chosen = options_of(program, particles, root, **more)
    return program.split() + [w for k, v in chosen.items() for w in ([f"--{k}"] if v is True else [f"--{k}", str(v)])]


def last_files(root, program):
    """Data file, model file and maps of the last iteration."""
    last = max(root.parent.glob(f"{root.name}_it*_data.star"))
    start = str(last).removesuffix("_data.star")
    maps = {
        "class2d": ["classes.mrcs"], "class2d --grad": ["classes.mrcs", "1moment.mrcs"],
        "refine3d": ["half1_class001.mrc", "half2_class001.mrc"],
    }.get(program, ["class001.mrc", "class002.mrc"])  # fmt: skip
    model = "half1_model.star" if program == "refine3d" else "model.star"
    return last, f"{start}_{model}", [f"{start}_{name}" for name in maps]


@pytest.fixture(scope="module")
def alone(particles, tmp_path_factory):
    """program -> root of its run on one process."""
    made = {}

    def root(program):
        if program not in made:
            made[program] = tmp_path_factory.mktemp(program) / "run"
            name, *switches = program.split()
            call(name, verb=0, **options_of(program, particles, made[program]), **{s.strip("-"): True for s in switches})
        return made[program]

    return root


def same_answer(root, other, program):
    """Poses, classes and what was set aside are equal; statistics and maps differ by rounding alone."""
    files, others = last_files(root, program), last_files(other, program)
    assert files[0].name == others[0].name
    one, two = read_particles(files[0]), read_particles(others[0])
    assert dict(one.quarantined) == dict(two.quarantined) and len(one.quarantined) == 2
    for name in ("euler_deg", "shift_A", "class_number", "half", "n_significant"):
        np.testing.assert_array_equal(getattr(one.particles, name), getattr(two.particles, name), err_msg=name)
    np.testing.assert_allclose(one.particles.p_max, two.particles.p_max, atol=ATOL_PMAX)
    general, other_general = (read_star(f[1])["model_general"].columns for f in (files, others))
    for label in ("rlnCurrentResolution", "rlnCurrentImageSize"):
        assert general[label] == other_general[label], label
    for mine, theirs in zip(files[2], others[2]):
        a, b = read_mrc(mine)[0], read_mrc(theirs)[0]
        np.testing.assert_allclose(b, a, atol=RTOL_MAP * np.abs(a).max())


@pytest.mark.parametrize(
    ("program", "n"), [("class2d", 1), ("class2d", 2), ("class2d", 3), ("refine3d", 2), ("refine3d", 3), ("class3d", 3),
                      ("initial-model", 3), ("class2d --grad", 1), ("class2d --grad", 2), ("class2d --grad", 3)]
)
def test_program_does_not_depend_on_the_number_of_processes(launcher, alone, particles, tmp_path, program, n):
    done = launcher.vitreous(n, words_of(program, particles, tmp_path / "run"))
    assert done.returncode == 0, done.stderr
    same_answer(alone(program), tmp_path / "run", program)
    assert (f" {n} processes, {n} on this machine, with 1 thread each" in done.stdout) == (n > 1)
    assert done.stderr.count("2 particles cannot be used") == 1 and done.stdout.count(" Report: ") == 1
    assert not list(tmp_path.glob(".*")), "temporary files are left"


def test_start_of_the_classes_does_not_depend_on_the_number_of_processes(launcher, particles, tmp_path):
    """Classes that begin along principal volumes, here of one state: of noise, which rounding would change most."""
    here = {"i": str(particles / "particles_truth.star"), "skip_align": True, "class_start": "principal"}
    call("class3d", verb=0, **options_of("class3d", particles, tmp_path / "alone", **here))
    done = launcher.vitreous(3, words_of("class3d", particles, tmp_path / "three", **here))
    assert done.returncode == 0, done.stderr
    one, three = (read_mrc(f"{tmp_path}/{run}_it000_class001.mrc")[0] for run in ("alone", "three"))
    np.testing.assert_allclose(three, one, atol=1e-3 * np.abs(one).max())  # where a search ends is a matter of its last step


def test_other_launcher_gives_the_same(each_launcher, alone, particles, tmp_path):
    done = each_launcher.vitreous(2, words_of("class2d", particles, tmp_path / "run"))
    assert done.returncode == 0, done.stderr
    same_answer(alone("class2d"), tmp_path / "run", "class2d")


def test_seed_from_the_clock_is_one_for_all(launcher, particles, tmp_path):
    """Draws of another seed would give the processes' sums other sizes, or ask for other particles."""
    words = words_of("class2d", particles, tmp_path / "run", iter=1)
    at = words.index("--random_seed")
    done = launcher.vitreous(2, words[:at] + words[at + 2 :])
    assert done.returncode == 0, done.stderr


def test_scratch_is_copied_once_and_removed(launcher, alone, particles, tmp_path):
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    words = words_of("class2d", particles, tmp_path / "run", scratch_dir=scratch, keep_free_scratch=0)
    count = "import shutil\nwhole = shutil.copyfile\nshutil.copyfile = lambda *a: (print('copied', file=sys.stderr), whole(*a))"
    done = launcher.vitreous(3, words, code=count)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("copied\n") == 1 and not list(scratch.iterdir())
    same_answer(alone("class2d"), tmp_path / "run", "class2d")
