import re

import pytest

from vitreous.errors import InputError
from vitreous.job.memory import available_bytes, cgroup_free, check_memory, human, memory_table, peak_bytes, system_free

GB = 1 << 30


@pytest.mark.parametrize(
    ("n", "text"), [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 kB"), (3 * GB, "3.0 GB"), (5000 * GB, "5000.0 GB")]
)
def test_human_bytes(n, text):
    assert human(n) == text


def test_system_free_reads_meminfo(tmp_path):
    (tmp_path / "meminfo").write_text("MemTotal: 100 kB\nMemFree: 5 kB\nMemAvailable:   64 kB\n")
    assert system_free(tmp_path / "meminfo") == 65536
    assert system_free(tmp_path / "none") is None


def cgroup2(tmp_path, **levels):
    """A tree of control groups of version 2: level name -> (limit, usage, inactive_file)."""
    for name, (limit, used, cache) in levels.items():
        folder = tmp_path / "cgroup" / name.strip("_").replace("__", "/")
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "memory.max").write_text(f"{limit}\n")
        (folder / "memory.current").write_text(f"{used}\n")
        (folder / "memory.stat").write_text(f"anon 1\ninactive_file {cache}\n")
    (tmp_path / "self").write_text("0::/job/step\n")
    return cgroup_free(tmp_path / "cgroup", tmp_path / "self")


def test_cgroup_free_takes_the_tightest_level(tmp_path):
    assert cgroup2(tmp_path, job=(10 * GB, 2 * GB, 0), job__step=("max", 2 * GB, 0)) == 8 * GB


def test_cgroup_free_counts_file_cache_as_free(tmp_path):
    assert cgroup2(tmp_path, job=(10 * GB, 9 * GB, 4 * GB), job__step=("max", 0, 0)) == 5 * GB


def test_cgroup_free_is_none_without_a_limit(tmp_path):
    assert cgroup2(tmp_path, job=("max", GB, 0), job__step=("max", GB, 0)) is None
    assert cgroup_free(tmp_path, tmp_path / "absent") is None


def test_cgroup_free_reads_version_1(tmp_path):
    folder = tmp_path / "memory/slurm/job"
    folder.mkdir(parents=True)
    (folder / "memory.limit_in_bytes").write_text(str(4 * GB))
    (folder / "memory.usage_in_bytes").write_text(str(GB))
    (tmp_path / "memory/memory.limit_in_bytes").write_text(str(2**63 - 4096))
    (tmp_path / "memory/memory.usage_in_bytes").write_text("0")
    (tmp_path / "self").write_text("7:cpu,cpuacct:/slurm/job\n3:memory:/slurm/job\n")
    assert cgroup_free(tmp_path, tmp_path / "self") == 3 * GB


def test_available_is_positive_and_no_more_than_the_system_has():
    free, system = available_bytes(), system_free()
    assert free is None or free > 0
    assert free is None or system is None or free <= 1.1 * system  # both move while we look


def test_peak_bytes_is_of_this_process():
    assert 10 << 20 < peak_bytes() < 1 << 40  # python with numpy takes more than 10 MB


def test_memory_table_is_aligned_and_sums():
    lines = memory_table({"references": GB, "particles": 3 * GB}, 8 * GB).splitlines()
    assert [line.split()[0] for line in lines[1:]] == ["particles", "references", "together", "available"]
    assert re.search(r"together +4\.0 GB$", lines[3])
    assert len({len(line) for line in lines[1:]}) == 1


def test_check_memory_refuses_what_cannot_fit_and_says_what_shrinks_it():
    parts = {"references": GB, "particles in memory": 9 * GB}
    text = r"found 8\.0 GB available, expected 10\.5 GB .*particles in memory, 9\.0 GB.*; leave"
    with pytest.raises(InputError, match=text):
        check_memory(parts, "leave out --preread_images", free=8 * GB)
    assert "together" in check_memory(parts, "leave out --preread_images", free=11 * GB)
