import sys
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest

from vitreous import comm as module
from vitreous.comm import Comm, LocalComm, launched, launched_size
from vitreous.errors import InputError


def test_local_comm_is_the_identity_of_each_verb():
    comm: Comm = LocalComm()
    total, items = np.arange(3.0), range(4)
    assert (comm.rank, comm.size, comm.node_rank, comm.node_size) == (0, 1, 0, 1)
    assert comm.share(items) is items
    assert comm.sum(total) is total
    assert comm.gather([1, 2]) == [1, 2]
    assert comm.map(lambda x: x * x, range(3)) == [0, 1, 4]


@pytest.mark.parametrize(
    ("environment", "found"),
    [
        ({}, (1, 0)),
        ({"OMPI_COMM_WORLD_SIZE": "1", "OMPI_COMM_WORLD_RANK": "0"}, (1, 0)),
        ({"OMPI_COMM_WORLD_SIZE": "3", "OMPI_COMM_WORLD_RANK": "2"}, (3, 2)),
        ({"PMI_SIZE": "4", "PMI_RANK": "1"}, (4, 1)),
        ({"SLURM_STEP_NUM_TASKS": "5", "SLURM_PROCID": "4"}, (5, 4)),
        ({"SLURM_NTASKS": "8", "SLURM_PROCID": "0"}, (1, 0)),  # a batch script that starts one process
        ({"OMPI_COMM_WORLD_SIZE": "1", "SLURM_STEP_NUM_TASKS": "2", "SLURM_PROCID": "1"}, (1, 0)),  # mpirun -n 1 in a job
        ({"PMI_SIZE": "many"}, (1, 0)),
    ],
)
def test_launched_size_reads_the_launchers_variables(environment, found):
    assert launched_size(environment)[:2] == found


@pytest.fixture
def of_three(monkeypatch):
    """As Open MPI starts process 0 of 3; processes that need not speak do not wait."""
    monkeypatch.setenv("OMPI_COMM_WORLD_SIZE", "3")
    monkeypatch.setenv("OMPI_COMM_WORLD_RANK", "0")
    monkeypatch.setattr(module, "GRACE_S", 0.0)
    return monkeypatch


def test_launched_without_mpi4py_tells_how_to_get_it(of_three):
    of_three.delitem(sys.modules, "vitreous.comm_mpi", raising=False)
    of_three.setitem(sys.modules, "mpi4py", None)
    with pytest.raises(InputError, match=r"one of 3 processes .* mpi4py .*; pip install 'vitreous\[mpi\]'"):
        launched()
    of_three.setenv("OMPI_COMM_WORLD_RANK", "1")
    with pytest.raises(SystemExit, match="2"):  # in silence: process 0 has said it
        launched()


def test_launched_refuses_processes_that_mpi_does_not_join(of_three):
    """As with srun without its plugin, or the mpirun of another MPI: each process would do all the work."""
    other = ModuleType("vitreous.comm_mpi")
    other.MPI = SimpleNamespace(COMM_WORLD=SimpleNamespace(size=1))
    other.MpiComm, other.library_name = None, lambda: "An MPI v1"
    of_three.setitem(sys.modules, "vitreous.comm_mpi", other)
    with pytest.raises(InputError, match="the launcher started 3 processes, but An MPI v1 sees 1, expected the same"):
        launched()


def test_fair_share_of_cores():
    all_cores, own = frozenset(range(8)), [frozenset({0, 1}), frozenset({2, 3})]
    assert module.fair_share(all_cores, [all_cores] * 3) == 2  # unbound
    assert module.fair_share(own[0], own) == 2  # bound, each to its own
    assert module.fair_share(frozenset({0}), [frozenset({0})] * 3) == 1
