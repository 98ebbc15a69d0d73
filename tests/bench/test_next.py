import json


def test_every_way_adds_as_many_images_to_the_same_first_ones(bench, tmp_path):
    drawn = ["--kind", "parts", "--out", tmp_path, "--train", "4", "--val", "1", "--test", "1"]
    bench("other_scenes.py", *drawn)
    asked = ["--mode", "fsod", "--pool", tmp_path / "train.json", "--test", tmp_path / "test.json"]
    asked += ["--images", tmp_path, "--begin", "1", "--add", "2", "--iterations", "3"]
    report = json.loads(bench("next.py", *asked, "--seeds", "1").splitlines()[-1])
    (row,) = report["runs"]
    ways = ("random", "unsure", "unlike", "both", "rare")
    assert list(report["mean"]) == list(ways)
    assert all(len(set(row[way]["images"])) == 2 for way in ways)
    assert report["mean"]["random"]["gain"] == 0
    assert not any(set(row["begin"]) & set(row[way]["images"]) for way in ways)
