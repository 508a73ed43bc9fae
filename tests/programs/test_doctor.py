from types import SimpleNamespace

import numpy as np
import pytest

from vitreous.comm import LocalComm
from vitreous.programs import doctor


def test_doctor_reports_every_section_and_returns_what_it_found(be, capsys, tmp_path):
    lines = doctor.run(doctor.Options.from_keywords(scratch_dir=tmp_path), be, LocalComm())
    text = capsys.readouterr().out
    for title in ("Installation", "Processor", "Fourier transforms", "GPU", "Several processes", "Room", "Other programs"):
        assert f"\n{title}\n" in text
    found = {what: value for what, value, _ in lines}
    assert be.lib.blas_kernels() in found["BLAS kernels"]
    assert "GFLOP/s" in found["matrix product"]
    assert "free" in found[f"disk {tmp_path}"]


def test_doctor_says_what_to_do_about_a_missing_folder(tmp_path):
    (_, (_, found, todo)) = doctor.room([str(tmp_path / "none")])
    assert (found, todo) == ("no such folder", "make it, or give another --scratch_dir")


def test_gemm_rates_are_those_of_a_product():
    one, together = doctor.gemm_rates(2, n=256)
    assert 0.1 < one < 5000 and 0.1 < together < 10000  # GFLOP/s: slower than python loops, faster than any core
    assert np.isfinite(one + together)


@pytest.mark.parametrize(("chosen", "fix"), [("", "set "), ("HASWELL", "unset ")])
def test_doctor_advises_on_narrow_blas_kernels(monkeypatch, chosen, fix):
    monkeypatch.delenv("VITREOUS_OPENBLAS_CORETYPE", raising=False)
    if chosen:
        monkeypatch.setenv("VITREOUS_OPENBLAS_CORETYPE", chosen)
    lib = SimpleNamespace(__name__="vitreous._cpu_avx512", blas_kernels=lambda: "Haswell")
    monkeypatch.setattr(doctor, "gemm_rates", lambda n_threads: (200.0, 200.0))
    todo = {what: advice for what, _, advice in doctor.kernels(SimpleNamespace(lib=lib, n_threads=1))}
    assert todo["BLAS kernels"].startswith(f"{fix}VITREOUS_OPENBLAS_CORETYPE")
    assert todo["matrix product"] == ""


def test_doctor_tells_how_to_get_mpi(monkeypatch):
    monkeypatch.setattr(doctor, "version", lambda name: (_ for _ in ()).throw(doctor.PackageNotFoundError(name)))
    monkeypatch.setattr(doctor.shutil, "which", lambda name: None)
    monkeypatch.setattr(doctor.sys, "executable", "/none/python")
    monkeypatch.setattr(doctor, "find_spec", lambda name: None)
    (_, found, todo), (_, launcher, get) = doctor.mpi()
    assert found == launcher == "not found (optional)" and "pip install 'vitreous[mpi]'" in todo and "mpich" in get


@pytest.mark.parametrize(
    ("says", "name"),
    [
        ("mpirun (Open MPI) 4.1.4\n\nReport bugs", "Open MPI 4.1.4"),
        ("HYDRA build details:\n    Version:              5.0.2\n", "MPICH 5.0.2"),
        ("", "does not run"),
    ],
)
def test_doctor_names_the_launcher(monkeypatch, says, name):
    monkeypatch.setattr(doctor, "_output", lambda command: says)
    assert doctor._launcher("mpirun") == name


@pytest.mark.parametrize(
    ("says", "found", "todo"),
    [
        ("joined 2\njoined 2", "joined by mpirun", False),
        ("joined 1\njoined 1", "not joined by mpirun (joined 1)", True),
        ("", "not joined by mpirun", True),
    ],
)
def test_doctor_starts_two_processes(monkeypatch, says, found, todo):
    monkeypatch.setattr(doctor, "_output", lambda command, environment: says)
    what, told, advice = doctor.joined("mpirun")
    assert (what, told, bool(advice)) == ("two processes", found, todo)


def test_doctor_starts_processes_outside_of_its_own_launcher(monkeypatch):
    seen = {}
    monkeypatch.setenv("OMPI_COMM_WORLD_SIZE", "3")
    monkeypatch.setenv("PMI_SIZE", "3")
    monkeypatch.setattr(doctor, "_output", lambda command, environment: seen.update(environment) or "")
    doctor.joined("mpirun")
    assert "OMPI_COMM_WORLD_SIZE" not in seen and "PMI_SIZE" not in seen and "PATH" in seen


def test_doctor_says_when_other_work_shares_the_cores():
    assert doctor.load(1.0, 2)[2] == "" and "other work" in doctor.load(3.0, 2)[2]


@pytest.mark.parametrize(
    ("says", "todo"), [("NVIDIA H200", False), ("no CUDA device: no driver", True), ("", True)]
)
def test_doctor_tries_the_cuda_module(monkeypatch, says, todo):
    monkeypatch.setattr(doctor, "_output", lambda command: says)
    found, advice = doctor.opened()
    assert says in found and bool(advice) == todo
