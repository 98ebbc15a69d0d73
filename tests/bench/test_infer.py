import pytest


@pytest.mark.parametrize("mode", ["fsod", "fsis"])
def test_the_bench_finds_what_it_drew_and_says_what_each_part_costs(bench, mode):
    asked = ["--modes", mode, "--objects", "30", "--repeat", "1", "--threads", "1"]
    row = bench("infer.py", *asked).splitlines()[1].split()
    assert row[:3] == [mode, "1", "30"]
    found, *costs, whole, wall, _ = map(int, row[3:])
    assert found >= 30
    assert whole > 0
    assert wall > 0
    assert sum(costs) <= whole * 3  # parts are runs of their own
