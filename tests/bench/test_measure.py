import numpy as np


def test_a_process_of_its_own_answers_or_says_why_not():
    from measure import apart, load_once

    load_once(["turtledemo"])
    loaded = "dict(loaded='turtledemo' in __import__('sys').modules)"
    assert apart(eval, loaded, limit_s=60, limit_gb=4) == {"loaded": True}
    assert apart(dict, [("answer", 49)], limit_s=60, limit_gb=4) == {"answer": 49}
    assert "over 4 GB" in apart(bytearray, 8 << 30, limit_s=60, limit_gb=4)["error"]


def test_cost_sees_time_and_memory():
    from measure import cost

    result, spent = cost(lambda: np.ones(8_000_000), repeat=2)
    assert len(result) == 8_000_000
    assert spent.cpu_s > 0
    assert spent.wall_s > 0
    assert spent.peak_mb == 0 or spent.peak_mb > 30
