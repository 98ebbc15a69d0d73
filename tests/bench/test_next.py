import json
import subprocess
import sys

from .conftest import BENCH


def test_every_way_adds_as_many_images_to_the_same_first_ones(tmp_path):
    drawn = ["--kind", "parts", "--out", tmp_path, "--train", "4", "--val", "1", "--test", "1"]
    subprocess.run([sys.executable, BENCH / "other_scenes.py", *drawn], check=True, timeout=150)
    asked = ["--mode", "fsod", "--pool", tmp_path / "train.json", "--test", tmp_path / "test.json"]
    asked += ["--images", tmp_path, "--begin", "1", "--add", "2", "--iterations", "3"]
    done = subprocess.run(
        [sys.executable, BENCH / "next.py", *asked, "--seeds", "1"],
        capture_output=True, text=True, timeout=150, env={"OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout.splitlines()[-1])
    (row,) = report["runs"]
    ways = ("random", "unsure", "unlike", "both", "rare")
    assert list(report["mean"]) == list(ways)
    assert all(len(set(row[way]["images"])) == 2 for way in ways)
    assert report["mean"]["random"]["gain"] == 0
    assert not any(set(row["begin"]) & set(row[way]["images"]) for way in ways)
