"""Our slide windows beside the peers that are installed: one command, one machine, one run.

    python bench/run.py                       # everything, a few minutes
    python bench/run.py merge --objects 1000 10000 50000 --seeds 11 12
    python bench/run.py merge --missed 0.1 --jitter 3 --overlap 16
    python bench/run.py merge --boxes --objects 10000 --density 900 --largest 40
    python bench/run.py troubles --seeds 3 4 5
    python bench/run.py pipeline large cut encode decode overlay

Peers: `pip install -r requirements-bench.txt`. Figures are medians; `cpu s` counts all cores and is
steadier than the clock on a shared machine. `ratio` is CPU time over ours.
"""

from __future__ import annotations

import argparse
import os
import sys
import warnings
from pathlib import Path

for _threads in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(_threads, "1")
sys.path.insert(0, str(Path(__file__).parents[1]))
warnings.filterwarnings("ignore")

import cutting  # noqa: E402 - threads are set before numpy is loaded
import decode  # noqa: E402
import encode  # noqa: E402
import merge  # noqa: E402
import overlay  # noqa: E402
import pipeline  # noqa: E402
from measure import load_once  # noqa: E402
from scenes import Faults, Plan  # noqa: E402

#: What takes seconds to import.
SLOW = ("torch", "sahi.predict", "supervision", "pycocotools.mask", "lsl_core.models.compact.entry")
PARTS = ("merge", "troubles", "pipeline", "large", "cut", "encode", "decode", "overlay")


def _arguments() -> argparse.Namespace:
    form = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=form)
    parser.add_argument("parts", nargs="*", default=PARTS, help=", ".join(PARTS))
    parser.add_argument("--objects", type=int, nargs="*", default=[1000, 10_000])
    parser.add_argument("--seeds", type=int, nargs="*", default=[11])
    parser.add_argument("--peers", default="all", help="all, or names with commas, or none")
    parser.add_argument("--boxes", action="store_true", help="join boxes that have no masks")
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--limit-s", type=float, default=120, help="per peer and case")
    parser.add_argument("--limit-gb", type=float, default=12)
    parser.add_argument("--side", type=int, default=0, help="of the image, instead of density")
    parser.add_argument("--images", type=int, default=4, help="very large images")
    plan, faults = Plan(), Faults()
    for name in ("density", "window", "overlap", "smallest", "largest", "across", "labels"):
        kind = type(getattr(plan, name))
        parser.add_argument(f"--{name}", type=kind, default=getattr(plan, name))
    for name in ("jitter", "missed", "split", "relabelled", "doubled", "overlapping"):
        kind = type(getattr(faults, name))
        parser.add_argument(f"--{name}", type=kind, default=getattr(faults, name))
    asked = parser.parse_args()
    unknown = sorted(set(asked.parts) - set(PARTS))
    if unknown:
        parser.error(f"no such part: {', '.join(unknown)}; there are {', '.join(PARTS)}")
    return asked


def _plan(asked: argparse.Namespace) -> Plan:
    faults = Faults(
        asked.jitter,
        asked.missed,
        asked.split,
        asked.relabelled,
        asked.doubled,
        asked.overlapping,
    )
    return Plan(
        side=asked.side,
        density=asked.density,
        window=asked.window,
        overlap=asked.overlap,
        smallest=asked.smallest,
        largest=asked.largest,
        across=asked.across,
        labels=asked.labels,
        faults=faults,
    )


def main() -> None:
    """Run the parts that were asked for."""
    asked = _arguments()
    load_once(SLOW)
    limits = {"limit_s": asked.limit_s, "limit_gb": asked.limit_gb}
    works = {
        "merge": lambda: merge.run(
            asked.objects,
            asked.seeds,
            peers=asked.peers,
            repeat=asked.repeat,
            plan=_plan(asked),
            by_boxes=asked.boxes,
            **limits,
        ),
        "troubles": lambda: merge.troubles(
            asked.seeds, count=1000, peers=asked.peers, by_boxes=asked.boxes, **limits
        ),
        "pipeline": lambda: pipeline.run(
            side=asked.side or 8192, counts=[0, 20], repeat=asked.repeat, **limits
        ),
        "large": lambda: pipeline.large(
            side=asked.side or 16384, images=asked.images, count=20, limit_s=600
        ),
        "cut": lambda: cutting.run(side=asked.side or 4096, repeat=9),
        "encode": lambda: encode.run(repeat=asked.repeat, small=10_000, large=100),
        "decode": lambda: decode.run(side=asked.side or 4096, repeat=asked.repeat),
        "overlay": lambda: overlay.run(side=asked.side or 4096, count=2000, screen=1600, repeat=5),
    }
    for part in asked.parts:
        works[part]()


if __name__ == "__main__":
    main()
