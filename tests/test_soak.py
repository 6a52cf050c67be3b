"""What the soak makes of its samples."""

import os

import pytest

from benchmarks.soak import Sample, Settings, allocated, compared, processor_seconds, resident


def samples(minutes):
    """Two decisions a second, then one, while fixed work takes 0.1 s, then 0.16; memory grows by 1
    a minute, a third of it allocated.
    """
    found, decisions = [], 1000
    for second in range(0, minutes * 60 + 1, 10):
        minute = second // 60
        memory = 700 + minute, 300, 500 + minute // 3
        early = second < minutes * 30
        work = 0.1 if early else 0.16
        found.append(Sample(second, *memory, 10.0 + second / 2, decisions, second, work))
        decisions += 20 if early else 10
    return found


def test_the_ends_are_compared_by_speed_and_by_median_memory():
    settings = Settings(minutes=60, warm_up=5, window=10)
    result = compared(samples(60), settings)
    assert result["throughput_ratio"] == {
        "second": pytest.approx(0.5),
        "processor second": pytest.approx(0.5),
        "fixed work": pytest.approx(0.8),
    }
    assert result["first"]["processor second"] == pytest.approx(4)
    assert result["first"]["fixed work"] == pytest.approx(0.2)
    # The middles of the windows are the minutes 10 and 55.
    assert (result["first"]["memory"], result["last"]["memory"]) == (1010, 1055)
    assert result["memory_drift_percent"] == pytest.approx(100 * 45 / 1010)
    assert (result["first"]["allocated"], result["last"]["allocated"]) == (503, 518)
    assert result["allocated_drift_percent"] == pytest.approx(100 * 15 / 503)
    assert (result["updates"], result["peak_memory"]) == (3600, 1060)
    assert result["decisions"] == 30 * 60 * 2 + 30 * 60


def test_what_cannot_be_compared_is_refused():
    with pytest.raises(ValueError, match=r"--minutes is 24; it must be at least .* 25"):
        Settings(minutes=24)


def test_memory_and_processor_time_are_the_systems():
    before = processor_seconds(os.getpid())
    kept = bytes(200 * 2**20)
    while processor_seconds(os.getpid()) < before + 0.05:
        pass
    assert resident(os.getpid()) > len(kept)
    assert processor_seconds(os.getpid()) == pytest.approx(sum(os.times()[:2]), abs=0.1)


def test_what_is_allocated_goes_up_and_down_with_what_is_held():
    if not allocated():
        pytest.skip("glibc 2.33 or later")
    before = allocated()
    small = [bytes(1000) for _ in range(10_000)]
    large = bytes(50 * 2**20)
    held = len(large) + sum(map(len, small))
    assert allocated() - before == pytest.approx(held, rel=0.05)
    del small, large
    assert allocated() - before < held / 50
