"""What is written to cgroup v2, by a tree that was recorded: most machines have one version of cgroups, and the tests run on it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from services.worker.sandbox import cgroup_v2, cgroups
from services.worker.sandbox.cgroups import CONTROLLERS, FACILITIES, Cgroup, CgroupTree
from shared.domain.limits import MEMORY_MB_MAX, MEMORY_MB_PER_VCPU
from tests.unit.worker.recorded_cgroups import FILES, Kernel

MIB = 1024**2


@pytest.fixture
def kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Kernel:
    kernel = Kernel(tmp_path / "worker.service")
    for module in (cgroups, cgroup_v2):
        monkeypatch.setattr(module, "write", kernel.write)
    for name in ("mkdir", "makedirs", "rmdir"):
        monkeypatch.setattr(cgroups.os, name, getattr(kernel, name))
    for controller in CONTROLLERS:
        kernel.write(str(kernel.root), "cgroup.subtree_control", f"+{controller}")
    monkeypatch.setattr(
        cgroups, "find_parents", lambda: ({facility: (str(kernel.root), cgroup_v2) for facility in FACILITIES}, {})
    )
    kernel.written.clear()
    return kernel


@pytest.fixture
def tree(kernel: Kernel) -> CgroupTree:
    return CgroupTree(memory_bytes=4_000 * MIB, processes=10_000)


@pytest.fixture
def base(kernel: Kernel, tree: CgroupTree) -> str:
    return next(entry.name for entry in kernel.root.iterdir() if entry.name.startswith(f"lambdad-{os.getpid()}-"))


@pytest.fixture
def sandbox(tree: CgroupTree) -> Cgroup:
    return tree.create("s1")


def test_the_workers_own_cgroup_bounds_all_and_lets_each_be_limited(kernel: Kernel, base: str) -> None:
    assert kernel.holds(base, "memory.max") == str(4_000 * MIB)
    assert kernel.holds(base, "memory.swap.max") == "0"
    assert kernel.holds(base, "pids.max") == "10000"
    assert kernel.holds(base, "cgroup.subtree_control") == "cpu memory pids"


def test_a_sandbox_is_limited_before_it_has_a_function(kernel: Kernel, base: str, sandbox: Cgroup) -> None:
    assert kernel.holds(f"{base}/s1", "pids.max") == "1024"
    assert kernel.holds(f"{base}/s1", "cpu.max") == "20000 20000", "one core, for the initialisation"


def test_a_function_gets_its_memory_and_what_tmp_holds_and_no_swap(kernel: Kernel, base: str, sandbox: Cgroup) -> None:
    sandbox.set_memory(128 * MIB, 512 * MIB)
    assert kernel.holds(f"{base}/s1", "memory.max") == str(640 * MIB)
    assert kernel.holds(f"{base}/s1", "memory.swap.max") == "0"


@pytest.mark.parametrize(
    ("memory_mb", "cpu", "weight"), [(128, "1447", "7"), (1_769, "20000", "100"), (10_240, "115772", "579")]
)
def test_cpu_goes_with_memory(kernel: Kernel, base: str, sandbox: Cgroup, memory_mb: int, cpu: str, weight: str) -> None:
    sandbox.boost_cpu(memory_mb)
    quota = int(kernel.holds(f"{base}/s1", "cpu.max").split()[0])
    assert quota == max(20_000, int(cpu)), "a core at least while it initialises"
    sandbox.set_cpu(memory_mb)
    assert kernel.holds(f"{base}/s1", "cpu.max") == f"{cpu} 20000"
    assert kernel.holds(f"{base}/s1", "cpu.weight") == weight


def test_every_size_of_memory_is_one_that_the_kernel_takes(kernel: Kernel, base: str, sandbox: Cgroup) -> None:
    """In steps of a MB; more memory is never less CPU."""
    least = 0
    for memory_mb in (*range(128, 1_000), *range(1_000, MEMORY_MB_MAX, 13), MEMORY_MB_MAX):
        kernel.written.clear()
        sandbox.set_cpu(memory_mb)
        (_, _, quota), (_, _, weight) = kernel.written
        assert int(quota) >= least
        assert abs(int(quota) / 20_000 - memory_mb / MEMORY_MB_PER_VCPU) < 0.000_05
        assert 1 <= int(weight) <= 10_000
        least = int(quota)


def test_it_is_frozen_and_thawed_by_one_write_each(kernel: Kernel, base: str, sandbox: Cgroup) -> None:
    kernel.written.clear()
    sandbox.set_frozen(True)
    sandbox.set_frozen(False)
    assert kernel.written == [(f"{base}/s1", "cgroup.freeze", "1"), (f"{base}/s1", "cgroup.freeze", "0")]


def test_what_counters_say_is_read(kernel: Kernel, base: str, sandbox: Cgroup) -> None:
    folder = kernel.root / base / "s1"
    (folder / "memory.current").write_text("5000000\n")
    (folder / "memory.peak").write_text("9000000\n")
    (folder / "memory.events").write_text("low 0\nhigh 3\nmax 9\noom 2\noom_kill 1\noom_group_kill 0\n")
    (folder / "cgroup.procs").write_text("17\n4711\n")
    assert (sandbox.used_bytes(), sandbox.peak_bytes(), sandbox.out_of_memory_kills()) == (5_000_000, 9_000_000, 1)
    assert sandbox.processes() == [17, 4711]
    (folder / "memory.peak").unlink()
    assert sandbox.peak_bytes() == 5_000_000, "older kernels have none"
    (folder / "memory.peak").touch()


def test_what_all_use_leaves_out_files_that_can_be_read_again(kernel: Kernel, base: str, tree: CgroupTree) -> None:
    folder = kernel.root / base
    (folder / "memory.current").write_text(f"{100 * MIB}\n")
    (folder / "memory.stat").write_text(f"anon {60 * MIB}\ninactive_file {25 * MIB}\nactive_file {5 * MIB}\nshmem {9 * MIB}\n")
    assert tree.used_bytes(exact_above=100 * MIB) == 100 * MIB
    assert tree.used_bytes(exact_above=99 * MIB) == 70 * MIB


def test_it_is_squeezed_for_a_moment(kernel: Kernel, base: str, sandbox: Cgroup) -> None:
    sandbox.set_memory(128 * MIB, 512 * MIB)
    kernel.written.clear()
    assert sandbox.squeeze(130 * MIB)
    assert [text for _, name, text in kernel.written if name == "memory.max"] == [str(130 * MIB), str(640 * MIB)]


def test_a_kernel_without_swap_limits_the_rest_all_the_same(kernel: Kernel, base: str, sandbox: Cgroup) -> None:
    (kernel.root / base / "s1" / "memory.swap.max").unlink()
    sandbox.set_memory(128 * MIB, 512 * MIB)
    assert kernel.holds(f"{base}/s1", "memory.max") == str(640 * MIB)
    (kernel.root / base / "s1" / "memory.swap.max").touch()


def test_the_tree_has_the_core_files_that_this_machines_have() -> None:
    mount = cgroups._mounts().get("")
    if mount is None:
        pytest.skip("there is no cgroup v2 here")
    here = Path(cgroups._folder(mount, cgroups._own_paths().get("", "/")))
    below = next((path for path in here.iterdir() if path.is_dir()), None)
    if below is None:
        pytest.skip("the root of all cgroups lacks what others have")
    assert {name for name in FILES if name.startswith("cgroup.")} <= {path.name for path in below.iterdir()}


def test_nothing_is_left_of_it(kernel: Kernel, base: str, tree: CgroupTree, sandbox: Cgroup) -> None:
    assert len(tree.children()) == 1, "of one hierarchy, one folder"
    assert sandbox.remove()
    assert tree.children() == []
    tree.close()
    assert not (kernel.root / base).exists()
