"""Limits: Docker's words for what cannot be, and OCI for what can."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pier.containers.facts import HostFacts
from pier.containers.resources import (
    DeviceNumber,
    InvalidResource,
    parse_list,
    resources_to_oci,
    supported,
)
from pier.containers.spec import MIB, DeviceRate, Resources

FACTS = HostFacts(cpus=2, cpuset_cpus="0-1", cpuset_mems="0")
BARE = HostFacts(
    memory=False, swap=False, memory_reservation=False, cpu_shares=False, cpu_cfs=False,
    cpuset=False, pids=False, blkio_weight=False, blkio_weight_device=False, blkio_throttle=False,
)  # fmt: skip
DISK = (DeviceRate(path="/dev/sda", rate=100),)


@pytest.mark.parametrize(
    ("resources", "message"),
    [
        (Resources(memory=MIB), "Minimum memory limit allowed is 6MB"),
        (Resources(memory=-1), "Minimum memory limit allowed is 6MB"),
        (
            Resources(memory=8 * MIB, memory_swap=7 * MIB),
            "Minimum memoryswap limit should be larger than memory limit, see usage",
        ),
        (
            Resources(memory_swap=7 * MIB),
            "You should always set the Memory limit when using Memoryswap limit, see usage",
        ),
        (Resources(memory_reservation=MIB), "Minimum memory reservation allowed is 6MB"),
        (
            Resources(memory=8 * MIB, memory_reservation=9 * MIB),
            "Minimum memory limit can not be less than memory reservation limit, see usage",
        ),
        (
            Resources(nano_cpus=1, cpu_period_us=5000),
            "Conflicting options: Nano CPUs and CPU Period cannot both be set",
        ),
        (
            Resources(nano_cpus=3_000_000_000),
            "range of CPUs is from 0.01 to 2.00, as there are only 2 CPUs available",
        ),
        (Resources(cpu_shares=-1), "invalid CPU shares (-1): value must be a positive integer"),
        (
            Resources(cpu_period_us=1),
            "CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)",
        ),
        (Resources(cpu_quota_us=1), "CPU cfs quota can not be less than 1ms (i.e. 1000)"),
        (
            Resources(cpuset_cpus="1-3"),
            "Requested CPUs are not available - requested 1-3, available: 0-1",
        ),
        (Resources(cpuset_cpus="x"), "Invalid value x for cpuset cpus: invalid format: x"),
        (
            Resources(cpuset_mems="1"),
            "Requested memory nodes are not available - requested 1, available: 0",
        ),
        (Resources(blkio_weight=5), "Range of blkio weight is from 10 to 1000"),
        (
            Resources(device_cgroup_rules=("c 1:3",)),
            "invalid device cgroup rule format: 'c 1:3'",
        ),
    ],
)
def test_nonsense_is_refused(resources: Resources, message: str) -> None:
    with pytest.raises(InvalidResource) as refused:
        supported(resources, FACTS)
    assert str(refused.value) == message


def test_swappiness_is_checked_where_the_kernel_has_it() -> None:
    facts = HostFacts(memory_swappiness=True)
    assert supported(Resources(memory_swappiness=-1), facts).resources.memory_swappiness is None
    with pytest.raises(InvalidResource, match="valid memory swappiness range is 0-100"):
        supported(Resources(memory_swappiness=101), facts)


def test_what_the_kernel_cannot_do_is_dropped_with_a_warning() -> None:
    asked = Resources(
        memory=8 * MIB, memory_reservation=7 * MIB, cpu_shares=2, cpu_period_us=5000,
        cpuset_cpus="9", pids_limit=5, blkio_weight=100, blkio_weight_device=DISK,
        device_read_bps=DISK, device_write_iops=DISK, oom_kill_disable=True, memory_swappiness=5,
    )  # fmt: skip
    kept, warnings = supported(asked, BARE)
    assert resources_to_oci(kept) == {"memory": {"swap": -1}}
    assert len(warnings) == 12
    assert (
        "Your kernel does not support memory limit capabilities or the cgroup is not mounted. "
        "Limitation discarded." in warnings
    )


def test_memory_alone_gets_as_much_swap_but_not_on_update() -> None:
    asked = Resources(memory=8 * MIB)
    assert supported(asked, FACTS).resources.memory_swap == 16 * MIB
    assert supported(asked, FACTS, update=True).resources.memory_swap == 0


def test_limits_are_written_as_oci() -> None:
    asked = Resources(
        nano_cpus=1_500_000_000, cpu_shares=512, cpuset_cpus="0", memory=8 * MIB,
        memory_swap=-1, pids_limit=7, device_read_bps=DISK, blkio_weight=10,
        blkio_weight_device=DISK, memory_swappiness=0, oom_kill_disable=True,
    )  # fmt: skip
    numbers = {"/dev/sda": DeviceNumber(8, 0)}
    assert resources_to_oci(asked, numbers) == {
        "cpu": {"shares": 512, "period": 100_000, "quota": 150_000, "cpus": "0"},
        "memory": {"limit": 8 * MIB, "swap": -1, "swappiness": 0, "disableOOMKiller": True},
        "pids": {"limit": 7},
        "blockIO": {
            "weight": 10,
            "weightDevice": [{"major": 8, "minor": 0, "weight": 100}],
            "throttleReadBpsDevice": [{"major": 8, "minor": 0, "rate": 100}],
        },
    }


def test_nothing_asked_changes_nothing() -> None:
    assert resources_to_oci(Resources()) == {}


@given(st.sets(st.integers(0, 4095)))
def test_a_list_of_cpus_is_read_back(numbers: set[int]) -> None:
    assert parse_list(",".join(map(str, sorted(numbers)))) == numbers


@pytest.mark.parametrize("text", ["3-1", "1,", "-1", "a", "0-99999999", "1 2"])
def test_a_bad_list_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=f"invalid format: {text}|value of out range"):
        parse_list(text)
