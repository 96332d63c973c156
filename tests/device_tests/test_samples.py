"""The arithmetic of the measurement, and what it reads from the system."""

import itertools
import os
import shutil
from pathlib import Path

import pytest

from osd_edge.device_tests.gauges.growth import counts_up_to
from osd_edge.device_tests.gauges.memory import MemoryUse, available_bytes, read_memory
from osd_edge.device_tests.gauges.rounds import Variant, measure_rounds
from osd_edge.device_tests.gauges.samples import percentile, ratio_of, spread_of, trimmed_mean
from osd_edge.device_tests.gauges.scratch import check_room, file_system, scratch_folder
from osd_edge.device_tests.gauges.sensors import (
    SensorSnapshot,
    put_conditions,
    put_energy,
    read_energy,
    read_sensors,
)
from osd_edge.device_tests.job.inputs import token_ids
from osd_edge.device_tests.job.sheet import Sheet
from osd_edge.errors import OutputError

KIB = 1024


def test_percentiles_interpolate_and_take_any_order() -> None:
    assert percentile([3.0, 1.0, 2.0, 5.0, 4.0], 0.5) == 3
    assert percentile([1.0, 2.0], 0.5) == 1.5
    assert percentile([7.0], 0.99) == 7
    assert percentile([0.0, 10.0], 0.9) == pytest.approx(9)
    assert percentile([0.0, 10.0], 0.0) == 0
    assert percentile([0.0, 10.0], 1.0) == 10


def test_the_trimmed_mean_leaves_out_a_tenth_at_either_end() -> None:
    assert trimmed_mean([1000.0, *[2.0] * 8, -1000.0]) == 2
    assert trimmed_mean([1.0, 2.0, 6.0]) == 3  # too few to leave one out


def test_the_spread_of_a_known_sample() -> None:
    spread = spread_of([float(ms) for ms in range(1, 102)])
    found = [spread[key] for key in ("min", "p10", "p50", "p90", "p95", "p99")]
    assert found == pytest.approx([1, 11, 51, 91, 96, 100])
    assert spread["trimmed_mean"] == pytest.approx(51)
    assert spread["n"] == 101


def test_ratios_are_taken_round_by_round() -> None:
    # The machine is ten times slower in every second round; the ratio does not notice.
    reference = [1.0, 10.0] * 10
    ratio = ratio_of([2.0 * ms for ms in reference], reference)
    assert (ratio["p10"], ratio["p50"], ratio["p90"]) == (2, 2, 2)


def test_every_round_runs_each_thing_once_prepared() -> None:
    log: list[str] = []
    now = "nothing"

    def prepare(name: str) -> None:
        nonlocal now
        now = name

    variants = [
        Variant(name, lambda: log.append(now), lambda name=name: prepare(name))  # type: ignore[misc]
        for name in ("a", "b", "c")
    ]
    taken = measure_rounds(variants, runs=7, seconds=0)
    assert {name: len(samples.wall_ms) for name, samples in taken.items()} == {
        "a": 7,
        "b": 7,
        "c": 7,
    }
    assert all(len(samples.cpu_ms) == 7 for samples in taken.values())
    # A round is three things, each run twice (the first untimed), in some order.
    rounds = [log[i : i + 6] for i in range(0, len(log), 6)]
    assert all(sorted(each) == ["a", "a", "b", "b", "c", "c"] for each in rounds)
    assert len({tuple(each) for each in rounds}) > 1, "always in one order"
    assert all(each[i] == each[i + 1] for each in rounds for i in (0, 2, 4))


@pytest.mark.parametrize(
    ("most", "counts"), [(1, [1]), (2, [1, 2]), (8, [1, 2, 4, 8]), (20, [1, 2, 4, 8, 16, 20])]
)
def test_growth_is_looked_at_by_powers_of_two(most: int, counts: list[int]) -> None:
    assert counts_up_to(most) == counts


# Token ids


def test_ids_come_from_the_tokenizer_and_are_the_same_every_time(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_text('{"model": {"vocab": {"a": 11, "b": 13, "c": 17}}}')
    ids = token_ids(tmp_path, 2, 50)
    assert [len(row) for row in ids] == [50, 50]
    assert {i for row in ids for i in row} == {11, 13, 17}
    assert ids == token_ids(tmp_path, 2, 50)


def test_ids_of_a_unigram_tokenizer_are_its_rows(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_text('{"model": {"vocab": [["<unk>", 0.0], ["a", -1.5]]}}')
    assert {i for row in token_ids(tmp_path, 1, 50) for i in row} == {0, 1}


@pytest.mark.parametrize("text", [None, "no json", "[]", '{"model": {"vocab": {}}}'])
def test_without_a_readable_tokenizer_ids_are_small(tmp_path: Path, text: str | None) -> None:
    if text is not None:
        (tmp_path / "tokenizer.json").write_text(text, "utf-8")
    assert all(2 <= i < 10 for row in token_ids(tmp_path, 3, 20) for i in row)


# The system


def test_memory_is_read_in_bytes(tmp_path: Path) -> None:
    (tmp_path / "smaps_rollup").write_text(
        "55a6-7fff ---p 00000000 00:00 0      [rollup]\nRss:    40 kB\nPss:    30 kB\n"
        "Private_Clean:  5 kB\nPrivate_Dirty:    7 kB\nAnonymous:   6 kB\n"
    )
    (tmp_path / "status").write_text("Name:\tpython\nVmHWM:\t    50 kB\nThreads:\t2\n")
    assert read_memory(tmp_path) == MemoryUse(40 * KIB, 30 * KIB, 12 * KIB, 6 * KIB, 50 * KIB)


def test_a_kernel_without_smaps_rollup_tells_less(tmp_path: Path) -> None:
    (tmp_path / "status").write_text("VmHWM:\t 50 kB\nVmRSS:\t 40 kB\n")
    assert read_memory(tmp_path) == MemoryUse(40 * KIB, None, None, None, 50 * KIB)
    assert read_memory(tmp_path / "absent") is None


@pytest.mark.skipif(read_memory() is None, reason="needs /proc")
def test_memory_of_this_process_is_plausible() -> None:
    use = read_memory()
    assert use is not None and use.rss is not None and use.peak is not None
    assert 1 << 20 < use.rss <= use.peak
    for part in (use.pss, use.uss, use.anonymous):
        assert part is None or 0 < part <= use.rss


def test_room_is_the_machine_s_or_the_group_s_whichever_is_less(tmp_path: Path) -> None:
    (tmp_path / "meminfo").write_text("MemTotal: 900 kB\nMemAvailable:   700 kB\n")
    assert available_bytes(tmp_path, tmp_path) == 700 * KIB
    (tmp_path / "memory.max").write_text("500000\n")
    (tmp_path / "memory.current").write_text("200000\n")
    assert available_bytes(tmp_path, tmp_path) == 300000
    # Of a group's memory the kernel first drops pages of files.
    (tmp_path / "memory.stat").write_text("anon 50000\ninactive_file 120000\n")
    assert available_bytes(tmp_path, tmp_path) == 420000
    (tmp_path / "memory.max").write_text("max\n")
    assert available_bytes(tmp_path, tmp_path) == 700 * KIB
    assert available_bytes(tmp_path / "absent", tmp_path / "absent") is None


def _write(folder: Path, name: str, text: str) -> None:
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(text)


def test_sensors_are_read_where_the_system_has_them(tmp_path: Path) -> None:
    _write(tmp_path, "class/thermal/thermal_zone0/temp", "41500\n")
    _write(tmp_path, "class/thermal/thermal_zone1/temp", "55250\n")
    _write(tmp_path, "devices/system/cpu/cpu0/cpufreq/scaling_cur_freq", "1500000\n")
    _write(tmp_path, "devices/system/cpu/cpu0/thermal_throttle/core_throttle_count", "3\n")
    # What is within the package, and what the package is within, are not counted again.
    zones = (("0", "package-0", 2500000), ("0:0", "core", 900000), ("1", "psys", 9000000))
    for zone, name, energy in zones:
        _write(tmp_path, f"class/powercap/intel-rapl:{zone}/name", f"{name}\n")
        _write(tmp_path, f"class/powercap/intel-rapl:{zone}/energy_uj", f"{energy}\n")
    _write(tmp_path, "class/hwmon/hwmon0/energy1_input", "7000000\n")
    _write(tmp_path, "stat", "cpu  100 0 50 800 50 0 0 0 0 0\ncpu0 1\n")
    reading = read_sensors(tmp_path, tmp_path)
    assert (reading.celsius, reading.hz, reading.throttle_events) == (55.25, 1.5e9, 3)
    assert (reading.busy_ticks, reading.total_ticks) == (150, 1000)
    assert read_energy(tmp_path) == 2.5

    _write(tmp_path, "stat", "cpu  500 0 50 1200 50 0 0 0 0 0\ncpu0 1\n")
    sheet = Sheet()
    own = 100 / os.sysconf("SC_CLK_TCK")  # 100 of the 400 busy ticks were ours
    put_conditions(sheet, [reading, read_sensors(tmp_path, tmp_path)], own)
    assert sheet.figures["temperature_highest_celsius"] == 55.25
    assert sheet.figures["throttled_count"] == 0
    assert sheet.figures["others_cpu_share"] == pytest.approx(300 / 800)


def test_a_power_sensor_stands_in_for_rapl(tmp_path: Path) -> None:
    for number, label, energy in ((1, "Ecore000", 400000), (2, "Esocket0", 3000000)):
        _write(tmp_path, f"class/hwmon/hwmon1/energy{number}_label", f"{label}\n")
        _write(tmp_path, f"class/hwmon/hwmon1/energy{number}_input", f"{energy}\n")
    assert read_energy(tmp_path) == 3.0


@pytest.mark.parametrize(
    ("words", "times"),
    [
        ((0, 0), 0),
        ((0x50000, 0x50000), 0),  # before this run
        ((0, 0x50005), 2),  # two reasons came up
        ((0x50000, 0x50005, 0x50000), 1),  # and went again
        ((0x50005, 0x50005, 0x50000), 2),
    ],
)
def test_a_raspberry_pi_tells_how_often_it_was_throttled(
    words: tuple[int, ...], times: int
) -> None:
    sheet = Sheet()
    put_conditions(
        sheet, [SensorSnapshot(None, None, None, word, None, None, None) for word in words], 0
    )
    assert sheet.figures["throttled_count"] == times


def test_what_no_sensor_tells_is_not_available_here(tmp_path: Path) -> None:
    sheet = Sheet()
    put_conditions(sheet, [read_sensors(tmp_path, tmp_path)] * 2, 0.0)
    for name in ("temperature_start_celsius", "clock_lowest_hz", "others_cpu_share"):
        assert sheet.figures[name] is None
        assert sheet.missing[name]["why"] == "not_available"
    put_energy(sheet, read_energy(tmp_path), read_energy(tmp_path), 10)
    assert "RAPL" in sheet.missing["energy_run_joules"]["reason"]


def test_a_counter_that_wrapped_around_gives_no_energy() -> None:
    sheet = Sheet()
    put_energy(sheet, 10.0, 30.0, 10)
    assert sheet.figures["energy_run_joules"] == 2
    put_energy(sheet, 30.0, 10.0, 10)
    assert sheet.figures["energy_run_joules"] is None


# Scratch


def test_what_a_killed_run_has_left_goes_with_the_next(tmp_path: Path) -> None:
    with scratch_folder(str(tmp_path)) as alive:
        left = tmp_path / "osd-bench-left"
        shutil.copytree(alive, left)
        (left / "model.onnx").write_bytes(b"weights")
        foreign = tmp_path / "osd-bench-of-someone"
        foreign.mkdir()
        with scratch_folder(str(tmp_path)) as folder:
            assert sorted(tmp_path.iterdir()) == sorted([alive, foreign, folder])


def test_scratch_is_gone_afterwards_and_refused_where_it_cannot_be(tmp_path: Path) -> None:
    with scratch_folder(str(tmp_path)) as folder:
        (folder / "copy").write_bytes(b"x")
        assert folder.parent == tmp_path
    assert not list(tmp_path.iterdir())
    with (
        pytest.raises(OutputError) as refused,
        scratch_folder(str(tmp_path / "absent")),
    ):
        pass
    assert refused.value.code == "output.unwritable"


def test_a_disk_without_room_is_refused(tmp_path: Path) -> None:
    with pytest.raises(OutputError) as refused:
        check_room(tmp_path, 1 << 60)
    assert refused.value.code == "output.disk-full"
    assert "--scratch" in str(refused.value)


def test_the_file_system_is_that_of_the_nearest_mount(tmp_path: Path) -> None:
    mounts = tmp_path / "mounts"
    lines = ["/dev/a / ext4 rw 0 0", f"tmpfs {tmp_path} tmpfs rw 0 0", "proc /proc proc rw 0 0"]
    for order in itertools.permutations(lines):
        mounts.write_text("\n".join(order) + "\n")
        assert file_system(tmp_path, mounts) == "tmpfs"
        assert file_system(tmp_path.parent, mounts) == "ext4"
    assert file_system(tmp_path, tmp_path / "absent") is None
