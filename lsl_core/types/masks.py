"""Masks of many objects, each kept as a crop of its image.

Both classes store by column and are read-only. `CropMasks` are exact binary masks as run
lengths, in the order that CVAT uses, so that a push is a slice and not a decode. `SoftMasks`
hold the model's probability per pixel, so that a mask threshold is a view and not a model call.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from lsl_core.types.arrays import Index, read_only

Crops = NDArray[np.int32]

#: Pixels that are encoded at a time, whatever the size of the masks: bounds the memory.
_PIECE = 1 << 20
#: Masks of more pixels than this, on average, hardly change from pixel to pixel.
_LARGE = 1 << 16


def _check_columns(flat: NDArray[np.generic], starts: NDArray[np.int64], crops: Crops) -> None:
    if crops.ndim != 2 or crops.shape[1] != 4:
        raise ValueError(f"crops must be (N, 4), got {crops.shape}")
    if starts.shape != (len(crops) + 1,) or starts[0] != 0 or starts[-1] != len(flat):
        raise ValueError("starts must be (N + 1,), from 0 to the length of the flat column")


def _gather(
    flat: NDArray[np.generic], starts: NDArray[np.int64], index: NDArray[np.int64]
) -> tuple[NDArray[np.generic], NDArray[np.int64]]:
    """Return the flat column and the starts of the chosen rows.

    Row by row: positions of single values would take eight times the memory of soft masks.
    """
    lengths = np.diff(starts)[index]
    new_starts = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    begins = starts[index]
    rows = zip(begins.tolist(), (begins + lengths).tolist(), strict=True)
    return np.concatenate([flat[:0], *(flat[begin:end] for begin, end in rows)]), new_starts


def crops_of(
    flat: NDArray[np.uint8], starts: NDArray[np.int64], crops: Crops, index: Index = slice(None)
) -> list[NDArray[np.uint8]]:
    """Return the chosen ones of N crops whose pixels lie in a flat column, (h, w) views."""
    rows = (starts[:-1][index].tolist(), starts[1:][index].tolist(), crops[index, 2:].tolist())
    return [flat[begin:end].reshape(h, w) for begin, end, (w, h) in zip(*rows, strict=True)]


def _pieces(pixels: Sequence[NDArray[np.generic]]) -> Iterator[NDArray[np.bool_]]:
    """Give the pixels of all crops, one after the other, `_PIECE` at a time."""
    waiting: list[NDArray[np.generic]] = []
    count = 0
    for crop in pixels:
        flat = crop.reshape(-1)
        while count + len(flat) >= _PIECE:
            room = _PIECE - count
            waiting.append(flat[:room])
            yield (np.concatenate(waiting) if len(waiting) > 1 else waiting[0]) != 0
            waiting, count, flat = [], 0, flat[room:]
        waiting.append(flat)
        count += len(flat)
    if count:
        yield np.concatenate(waiting) != 0


def _sparse(claims: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Return where claims are true, like `flatnonzero`, faster where hardly any are."""
    whole = len(claims) // 8 * 8
    words = np.flatnonzero(claims[:whole].view(np.uint64) != 0)
    inside = np.flatnonzero(claims[:whole].reshape(-1, 8)[words])
    rest = np.flatnonzero(claims[whole:]) + whole
    return np.concatenate([words[inside >> 3] * 8 + (inside & 7), rest])


@dataclass(frozen=True, slots=True, eq=False)
class CropMasks:
    """N binary masks as run lengths over their crops.

    runs: flat uint32, the run lengths of all masks; each mask is row-major over its crop and
        starts with a run of background (0 long when the first pixel is set). The runs of one
        mask sum to width x height of its crop.
    starts: (N + 1,) int64, where the runs of each mask begin in `runs`.
    crops: (N, 4) int32, x, y, width, height in image pixels.

    The order is CVAT's (https://docs.cvat.ai, mask annotations). COCO's is column-major.
    """

    runs: NDArray[np.uint32]
    starts: NDArray[np.int64]
    crops: Crops

    def __post_init__(self) -> None:
        _check_columns(self.runs, self.starts, self.crops)
        read_only(self)

    def __len__(self) -> int:
        return len(self.crops)

    @classmethod
    def empty(cls) -> Self:
        """Return no masks."""
        return cls(np.zeros(0, np.uint32), np.zeros(1, np.int64), np.zeros((0, 4), np.int32))

    @classmethod
    def from_crops(
        cls, pixels: Sequence[NDArray[np.generic]], xy: Sequence[tuple[int, int]]
    ) -> Self:
        """Encode 2-d crops; a pixel is set when it is not zero.

        Args:
            pixels: N arrays (h, w) with h, w >= 1.
            xy: N pairs, the crop's left and top in image pixels.
        """
        if len(pixels) != len(xy):
            raise ValueError(f"{len(pixels)} crops but {len(xy)} places")
        crops = np.array(
            [(x, y, p.shape[1], p.shape[0]) for p, (x, y) in zip(pixels, xy, strict=True)],
            np.int32,
        ).reshape(-1, 4)
        return cls._from_pieces(_pieces(pixels), crops)

    @classmethod
    def _from_pieces(cls, pieces: Iterable[NDArray[np.bool_]], crops: Crops) -> Self:
        """Encode the row-major pixels of all crops, one after the other.

        Args:
            pieces: these pixels in pieces of at most `_PIECE`; a piece is done with when the
                next one is asked for.
            crops: (N, 4) x, y, width, height.
        """
        sizes = crops[:, 2].astype(np.int64) * crops[:, 3]
        begins = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
        if (sizes <= 0).any():
            raise ValueError("a crop without a pixel")
        if not len(crops):
            return cls.empty()
        is_dense = begins[-1] < _LARGE * len(crops)
        find = np.flatnonzero if is_dense else _sparse
        lengths, starts, first_set = [], [], []
        at, num_edges, last_edge, before = 0, 0, 0, np.False_
        change = np.empty(_PIECE, bool)
        for piece in pieces:
            until = at + len(piece)
            here = change[: len(piece)]
            np.not_equal(piece[1:], piece[:-1], out=here[1:])
            here[0] = piece[0] != before
            first, last = np.searchsorted(begins, (at, until))
            own = begins[first:last] - at
            here[own] = True  # every mask begins with a run of its own
            first_set.append(piece[own])
            edges = find(here)
            starts.append(np.searchsorted(edges, own) + num_edges)
            if len(edges):
                closed = np.empty(len(edges), np.uint32)
                np.subtract(edges[1:], edges[:-1], out=closed[1:], casting="unsafe")
                closed[0] = at + edges[0] - last_edge
                lengths.append(closed)
                num_edges, last_edge = num_edges + len(edges), at + int(edges[-1])
            at, before = until, piece[-1].copy()
        if begins[-1] != at:
            raise ValueError("crops and pixels differ in size")
        # every edge ends a run, but the first one; the last run ends with the pixels
        runs = np.concatenate([*lengths, np.array([at - last_edge], np.uint32)])[1:]
        begin_at = np.concatenate([*starts, [num_edges]])
        # a mask whose first pixel is set begins with a background run of length 0
        is_set = np.concatenate(first_set)
        runs = np.insert(runs, begin_at[:-1][is_set], 0)
        begin_at[1:] += np.cumsum(is_set)
        return cls(runs, begin_at.astype(np.int64), crops.astype(np.int32, copy=True))

    def runs_of(self, i: int) -> NDArray[np.uint32]:
        """Return the run lengths of mask `i` (a view)."""
        return self.runs[self.starts[i] : self.starts[i + 1]]

    def crop(self, i: int) -> NDArray[np.bool_]:
        """Decode mask `i` to its crop, (h, w) bool."""
        begin, end = self.starts[i : i + 2].tolist()
        w, h = self.crops[i, 2:].tolist()
        is_set = np.zeros(end - begin, bool)
        is_set[1::2] = True
        return is_set.repeat(self.runs[begin:end]).reshape(h, w)

    def decoded(self) -> list[NDArray[np.bool_]]:
        """Decode all masks to their crops, (h, w) bool each; they share their memory."""
        return [crop.view(np.bool_) for crop in self.filled(1)]

    def filled(self, value: int) -> list[NDArray[np.uint8]]:
        """Decode all masks to crops (h, w) uint8 of 0 and `value`; they share their memory."""
        first = np.repeat(self.starts[:-1], np.diff(self.starts))
        is_set = (np.arange(len(self.runs)) - first) % 2 == 1
        flat = (is_set * np.uint8(value)).repeat(self.runs)
        ends = np.cumsum(self.crops[:, 2:].astype(np.int64).prod(1))
        return crops_of(flat, np.append(0, ends), self.crops)

    def areas(self) -> NDArray[np.int64]:
        """Return the number of set pixels of each mask, (N,)."""
        position = np.arange(len(self.runs)) - np.repeat(self.starts[:-1], np.diff(self.starts))
        total = np.concatenate([[0], np.cumsum(np.where(position % 2 == 1, self.runs, 0))])
        areas: NDArray[np.int64] = total[self.starts[1:]] - total[self.starts[:-1]]
        return areas

    def take(self, index: Index) -> Self:
        """Return the chosen masks: a boolean column, or positions."""
        index = np.arange(len(self))[index]
        runs, starts = _gather(self.runs, self.starts, index)
        return type(self)(runs.astype(np.uint32, copy=False), starts, self.crops[index])

    def moved(self, dx: int, dy: int) -> Self:
        """Return the same masks `dx` pixels to the right and `dy` down."""
        return type(self)(self.runs, self.starts, self.crops + np.array([dx, dy, 0, 0], np.int32))

    @classmethod
    def concat(cls, parts: Sequence[Self]) -> Self:
        """Join several columns into one, in order."""
        if not parts:
            return cls.empty()
        shifts = np.cumsum([0] + [len(p.runs) for p in parts])
        starts = [p.starts[:-1] + shift for p, shift in zip(parts, shifts, strict=False)]
        return cls(
            np.concatenate([p.runs for p in parts]),
            np.concatenate([*starts, shifts[-1:]]).astype(np.int64),
            np.concatenate([p.crops for p in parts]),
        )


@dataclass(frozen=True, slots=True, eq=False)
class SoftMasks:
    """N masks as probabilities over their crops.

    values: flat uint8, 0 for never, 255 for certainly; each mask row-major over its crop.
    starts: (N + 1,) int64, where the values of each mask begin.
    crops: (N, 4) int32, x, y, width, height in image pixels.
    """

    values: NDArray[np.uint8]
    starts: NDArray[np.int64]
    crops: Crops

    def __post_init__(self) -> None:
        _check_columns(self.values, self.starts, self.crops)
        sizes = self.crops[:, 2].astype(np.int64) * self.crops[:, 3]
        if not np.array_equal(np.diff(self.starts), sizes):
            raise ValueError("every mask needs width x height values")
        read_only(self)

    def __len__(self) -> int:
        return len(self.crops)

    @classmethod
    def empty(cls) -> Self:
        """Return no masks."""
        return cls(np.zeros(0, np.uint8), np.zeros(1, np.int64), np.zeros((0, 4), np.int32))

    @classmethod
    def from_crops(cls, pixels: Sequence[NDArray[np.uint8]], xy: Sequence[tuple[int, int]]) -> Self:
        """Join N crops (h, w) uint8 placed at (left, top) in image pixels. Copies."""
        if len(pixels) != len(xy):
            raise ValueError(f"{len(pixels)} crops but {len(xy)} places")
        if not pixels:
            return cls.empty()
        hw = np.array([p.shape for p in pixels], np.int32)
        return cls(
            np.concatenate([p.ravel() for p in pixels]),
            np.append(0, np.cumsum(hw.astype(np.int64).prod(1))),
            np.concatenate([np.array(xy, np.int32), hw[:, ::-1]], axis=1),
        )

    def crop(self, i: int) -> NDArray[np.uint8]:
        """Return the probabilities of mask `i`, (h, w) uint8 (a view)."""
        _, _, w, h = self.crops[i].tolist()
        return self.values[self.starts[i] : self.starts[i + 1]].reshape(h, w)

    def take(self, index: Index) -> Self:
        """Return the chosen masks: a boolean column, or positions."""
        index = np.arange(len(self))[index]
        values, starts = _gather(self.values, self.starts, index)
        return type(self)(values.astype(np.uint8, copy=False), starts, self.crops[index])

    def moved(self, dx: int, dy: int) -> Self:
        """Return the same masks `dx` pixels to the right and `dy` down."""
        shift = np.array([dx, dy, 0, 0], np.int32)
        return type(self)(self.values, self.starts, self.crops + shift)

    @classmethod
    def concat(cls, parts: Sequence[Self]) -> Self:
        """Join several columns into one, in order."""
        if not parts:
            return cls.empty()
        shifts = np.cumsum([0] + [len(p.values) for p in parts])
        starts = [p.starts[:-1] + shift for p, shift in zip(parts, shifts, strict=False)]
        return cls(
            np.concatenate([p.values for p in parts]),
            np.concatenate([*starts, shifts[-1:]]).astype(np.int64),
            np.concatenate([p.crops for p in parts]),
        )

    def binary(self, threshold: float) -> CropMasks:
        """Return the masks of the pixels with probability >= `threshold`, in the same crops.

        Args:
            threshold: in (0, 1]; a mask may come out empty.
        """
        if not 0 < threshold <= 1:
            raise ValueError(f"mask threshold {threshold} is outside (0, 1]")
        level = max(1, int(np.ceil(threshold * 255)))
        blocks = range(0, len(self.values), _PIECE)
        pieces = (self.values[at : at + _PIECE] >= level for at in blocks)
        return CropMasks._from_pieces(pieces, self.crops)
