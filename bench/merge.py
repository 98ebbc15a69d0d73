"""Joining what windows found: time, memory and errors, ours and the peers in one run."""

from __future__ import annotations

import pickle
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import scenes
from judge import errors, findable
from measure import apart, cost, table
from peers import BOX_PEERS, PEERS, installed
from scenes import Faults, Plan

#: What windows may get wrong, one at a time.
TROUBLES: dict[str, Plan] = {
    "as good as it gets": Plan(faults=Faults(jitter=0, relabelled=0)),
    "outlines 1 px off": Plan(),
    "outlines 4 px off": Plan(faults=Faults(jitter=4)),
    "missed in a window": Plan(faults=Faults(missed=0.1)),
    "split in a window": Plan(faults=Faults(split=0.1)),
    "wrong labels": Plan(faults=Faults(relabelled=0.2)),
    "found twice": Plan(faults=Faults(doubled=0.2)),
    "objects overlap": Plan(faults=Faults(overlapping=0.3)),
    "overlap of 16 px": Plan(overlap=16),
    "extreme density": Plan(objects=3000, density=900, largest=40),
}


def run_one(name: str, path: str, repeat: int, by_boxes: bool) -> dict[str, Any]:
    """Join a stored scene; runs in a process of its own."""
    scene, warm = pickle.loads(Path(path).read_bytes())
    peer = (BOX_PEERS if by_boxes else PEERS)[name][1]()
    peer.read(warm, peer.merge(peer.ready(warm)))
    native = peer.ready(scene)
    merged, spent = cost(lambda: peer.merge(native), repeat=repeat, warm_up=False)
    found = errors(scene, peer.read(scene, merged), by_boxes=by_boxes)
    return {
        "name": name,
        "cpu s": spent.cpu_s,
        "wall s": spent.wall_s,
        "MB": round(spent.peak_mb, 1),
        **found,
    }


def compare(
    wanted: Plan,
    names: list[str],
    *,
    repeat: int,
    limit_s: float,
    limit_gb: float,
    by_boxes: bool = False,
) -> list[dict[str, Any]]:
    """Return a row for each; ratios are to ours."""
    scene, warm = scenes.make(wanted), scenes.make(replace(wanted, objects=40, side=1800))
    print(
        f"\n{len(scene.truth):,} objects on {scene.side}², {len(scene.windows)} windows of "
        f"{wanted.window} sharing {wanted.overlap}, {len(scene.found):,} fragments, "
        f"{int(scene.cut.sum())} objects whole in no window, "
        f"{int((~findable(scene, by_boxes=by_boxes)).sum())} drawn by none, seed {wanted.seed}"
        + ", boxes only"
        * by_boxes,
        flush=True,
    )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "scene"
        path.write_bytes(pickle.dumps((scene, warm), protocol=5))
        del scene
        rows = []
        for name in names:
            row = apart(
                run_one, name, str(path), repeat, by_boxes, limit_s=limit_s, limit_gb=limit_gb
            )
            rows.append({"name": name, **row})
    base = next((row["cpu s"] for row in rows if row["name"] == "ours" and "cpu s" in row), None)
    for row in rows:
        if base and "cpu s" in row:
            row["ratio"] = row["cpu s"] / base
    return rows


def names_of(wanted: str, *, by_boxes: bool = False) -> list[str]:
    """Return the chosen peers that are installed, ours first."""
    here = installed(BOX_PEERS if by_boxes else PEERS)
    return here if wanted == "all" else ["ours", *(n for n in wanted.split(",") if n in here[1:])]


def run(
    counts: list[int],
    seeds: list[int],
    *,
    peers: str,
    repeat: int,
    limit_s: float,
    limit_gb: float,
    plan: Plan | None = None,
    by_boxes: bool = False,
) -> None:
    """Print a table for each size and seed; 50,000 objects and more lie on 16384²."""
    base = plan or Plan()
    for count in counts:
        for seed in seeds:
            side = 16384 if count >= 50_000 and not base.side else base.side
            across = 0.04 if count >= 50_000 else base.across
            wanted = replace(base, objects=count, seed=seed, side=side, across=across)
            names = names_of(peers, by_boxes=by_boxes)
            how = {"limit_s": limit_s, "limit_gb": limit_gb, "by_boxes": by_boxes}
            table(compare(wanted, names, repeat=repeat, **how))


def troubles(
    seeds: list[int],
    *,
    count: int,
    peers: str,
    limit_s: float,
    limit_gb: float,
    by_boxes: bool = False,
) -> None:
    """Print, for each kind of trouble, what everybody makes of it."""
    for title, plan in TROUBLES.items():
        for seed in seeds:
            print(f"\n== {title}", end="")
            objects = count * 3 if plan.density > 500 else count
            wanted = replace(plan, objects=objects, seed=seed)
            names = names_of(peers, by_boxes=by_boxes)
            how = {"limit_s": limit_s, "limit_gb": limit_gb, "by_boxes": by_boxes}
            table(compare(wanted, names, repeat=1, **how))
