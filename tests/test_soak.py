"""What the soak makes of its samples."""

import os

import pytest

from benchmarks.soak import Sample, Settings, compared, processor_seconds, resident


def samples(minutes):
    """Two decisions a second at first and one at the end; memory that grows by 1 a minute."""
    found, decisions = [], 1000
    for second in range(0, minutes * 60 + 1, 10):
        found.append(Sample(second, 700 + second // 60, 300, 10.0 + second / 2, decisions, second))
        decisions += 20 if second < minutes * 30 else 10
    return found


def test_the_ends_are_compared_by_speed_and_by_median_memory():
    settings = Settings(minutes=60, warm_up=5, window=10)
    result = compared(samples(60), settings)
    assert result["throughput_ratio"] == {
        "second": pytest.approx(0.5),
        "processor second": pytest.approx(0.5),
    }
    assert result["first"]["processor second"] == pytest.approx(4)
    # The middles of the windows are the minutes 10 and 55.
    assert (result["first"]["memory"], result["last"]["memory"]) == (1010, 1055)
    assert result["memory_drift_percent"] == pytest.approx(100 * 45 / 1010)
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
