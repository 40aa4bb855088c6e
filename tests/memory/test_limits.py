"""What bounds the service, and what of it is used: read from files as the kernel writes them."""

from pathlib import Path

import pytest

from penstock.memory.limits import make_gauge

MB = 1024 * 1024
PLENTY_KB = 1 << 30


class Machine:
    """A tree with `proc` and `sys` in it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.memberships: list[str] = []
        self.mounts = ["22 1 0:20 / /proc rw - proc proc rw"]
        self.has(PLENTY_KB)

    def has(self, available_kb: int) -> None:
        """Memory that nobody uses."""
        self._write("proc/meminfo", f"MemTotal: 1 kB\nMemFree: 2 kB\nMemAvailable: {available_kb} kB\n")

    def mount_2(self, mounted: str = "/sys/fs/cgroup", top: str = "/") -> None:
        """Control groups of version 2."""
        self.mounts.append(f"31 23 0:28 {top} {mounted} rw,relatime shared:9 - cgroup2 cgroup rw,nsdelegate")

    def mount_1(self, mounted: str = "/sys/fs/cgroup/memory", top: str = "/") -> None:
        """The same of version 1, with other controllers beside memory's."""
        self.mounts.append("32 23 0:29 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu")
        self.mounts.append(f"33 23 0:30 {top} {mounted} rw,relatime - cgroup cgroup rw,memory")

    def group_2(self, folder: str, used_mb: int, limit: str, cache_mb: int = 0) -> None:
        """Page cache: a half of it was used more than once."""
        self._write(f"{folder}/memory.current", f"{used_mb * MB}\n")
        self._write(f"{folder}/memory.max", f"{limit}\n")
        half = cache_mb * MB // 2
        self._write(
            f"{folder}/memory.stat", f"anon 5\nfile 7\ninactive_file {half}\nactive_file {half}\nshmem 3\n"
        )

    def group_1(self, folder: str, used_mb: int, limit: int, cache_mb: int = 0) -> None:
        self._write(f"{folder}/memory.usage_in_bytes", f"{used_mb * MB}\n")
        self._write(f"{folder}/memory.limit_in_bytes", f"{limit}\n")
        self._write(
            f"{folder}/memory.stat",
            f"inactive_file 1\nactive_file 1\ntotal_inactive_file {cache_mb * MB}\ntotal_active_file 0\n",
        )

    def look(self) -> tuple[int, int]:
        """Bytes in use, and the limit, of what is nearest to it."""
        self._write("proc/self/cgroup", "".join(f"{line}\n" for line in self.memberships))
        self._write("proc/self/mountinfo", "".join(f"{line}\n" for line in self.mounts))
        reading = make_gauge(None, self.root)()
        assert reading is not None
        return reading.used, reading.limit

    def _write(self, name: str, text: str) -> None:
        path = self.root / name.lstrip("/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_a_container_sees_its_own_group_as_the_root(machine: Machine) -> None:
    machine.mount_2()
    machine.memberships = ["0::/"]
    machine.group_2("/sys/fs/cgroup", 300, str(1000 * MB))
    assert machine.look() == (300 * MB, 800 * MB)


def test_the_limits_of_all_groups_above_count(machine: Machine) -> None:
    machine.mount_2()
    machine.memberships = ["0::/pods/one/app"]
    machine.group_2("/sys/fs/cgroup/pods/one/app", 500, str(1000 * MB))
    machine.group_2("/sys/fs/cgroup/pods/one", 900, "max")
    machine.group_2("/sys/fs/cgroup/pods", 1500, str(2000 * MB))
    assert machine.look() == (1500 * MB, 1600 * MB), "the one that is nearest to its limit"
    machine.group_2("/sys/fs/cgroup/pods", 1000, str(2000 * MB))
    assert machine.look() == (500 * MB, 800 * MB)


def test_a_limit_that_is_changed_holds_at_once(machine: Machine) -> None:
    machine.mount_2()
    machine.memberships = ["0::/app"]
    machine.group_2("/sys/fs/cgroup/app", 300, "max")
    machine.look()
    gauge = make_gauge(None, machine.root)
    machine.group_2("/sys/fs/cgroup/app", 300, str(500 * MB))
    assert gauge() == (300 * MB, 400 * MB, "of the control group, which may have 500 MB")


def test_page_cache_does_not_count_as_the_kernel_drops_it(machine: Machine) -> None:
    machine.mount_2()
    machine.memberships = ["0::/app"]
    machine.group_2("/sys/fs/cgroup/app", 990, str(1000 * MB), cache_mb=600)
    assert machine.look() == (390 * MB, 800 * MB)


def test_version_1(machine: Machine) -> None:
    machine.mount_1()
    machine.memberships = ["5:cpu:/elsewhere", "4:memory:/app", "0::/"]
    machine.group_1("/sys/fs/cgroup/memory/app", 900, 1000 * MB, cache_mb=50)
    machine.group_1("/sys/fs/cgroup/memory", 5000, 9223372036854771712)
    assert machine.look() == (850 * MB, 800 * MB)


def test_version_1_in_a_container_whose_path_is_the_machines(machine: Machine) -> None:
    machine.mount_1(top="/docker/0f")
    machine.memberships = ["4:memory:/docker/0f"]
    machine.group_1("/sys/fs/cgroup/memory", 100, 200 * MB)
    assert machine.look() == (100 * MB, 160 * MB)


def test_a_path_from_outside_of_the_mount_is_taken_for_its_root(machine: Machine) -> None:
    machine.mount_2(top="/docker/0f")
    machine.memberships = ["0::/somewhere/else"]
    machine.group_2("/sys/fs/cgroup", 100, str(200 * MB))
    assert machine.look() == (100 * MB, 160 * MB)


def test_without_a_group_that_bounds_us_the_machine_does(machine: Machine) -> None:
    machine.mount_2()
    machine.memberships = ["0::/"]  # the root has no such files
    used, limit = machine.look()
    assert 10 * MB < used < 4000 * MB, "this process's own"
    assert limit == int((used + PLENTY_KB * 1024) * 0.8)


def test_on_a_machine_that_is_full_of_others_memory_ours_may_be_as_much_as_is_left(machine: Machine) -> None:
    own, _ = machine.look()
    machine.has(own // 1024 // 16)
    used, limit = machine.look()
    assert 0 < limit < used, "less than a fifth of what we could have is left"
    machine.has(own // 1024 * 2)
    used, limit = machine.look()
    assert used < limit, "there is room, though the others may have nearly all"


def test_where_the_system_says_nothing_nothing_is_known(tmp_path: Path) -> None:
    assert make_gauge(None, tmp_path)() is None
