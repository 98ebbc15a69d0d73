import subprocess
import sys

from .conftest import BENCH


def test_the_gpu_benchmark_runs_on_a_processor_too():
    asked = ["--device", "cpu", "--side", "300", "--images", "2", "--window", "128", "--overlap"]
    asked += ["32", "--width", "8", "--batch", "2", "--repeat", "1"]
    asked += ["--models", "compact", "rf-detr-tiny"]
    done = subprocess.run(
        [sys.executable, str(BENCH / "gpu.py"), *asked], capture_output=True, text=True, timeout=150
    )
    assert done.returncode == 0, done.stderr
    assert "compact (random weights) on cpu" in done.stdout
    assert "foundation (rf-detr-tiny) on cpu" in done.stdout
    assert done.stdout.count("No GPU takes part") == 2
    assert "not asked" in done.stdout
