def test_the_gpu_benchmark_runs_on_a_processor_too(bench):
    asked = ["--device", "cpu", "--side", "300", "--images", "2", "--window", "128", "--overlap"]
    asked += ["32", "--width", "8", "--batch", "2", "--repeat", "1"]
    asked += ["--models", "compact", "rf-detr-tiny"]
    printed = bench("gpu.py", *asked)
    assert "compact (random weights) on cpu" in printed
    assert "foundation (rf-detr-tiny) on cpu" in printed
    assert printed.count("No GPU takes part") == 2
    assert "not asked" in printed
