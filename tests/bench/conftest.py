import runpy
import sys
from pathlib import Path

import pytest

BENCH = Path(__file__).parents[2] / "bench"


@pytest.fixture(autouse=True)
def _bench_is_importable(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCH))
    yield
    for name, module in list(sys.modules.items()):
        if str(getattr(module, "__file__", "") or "").startswith(str(BENCH)):
            del sys.modules[name]


@pytest.fixture
def bench(monkeypatch, capsys):
    """Run a script of `bench/` and return what it prints; here, where torch is loaded already."""

    def run(script, *arguments):
        monkeypatch.setattr(sys, "argv", [script, *map(str, arguments)])
        capsys.readouterr()
        runpy.run_path(str(BENCH / script), run_name="__main__")
        return capsys.readouterr().out

    return run
