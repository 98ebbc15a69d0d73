"""Masks of Label Studio's brush tool: a bit stream of runs over the RGBA pixels of the image.

A head of 53 bits: number of values (32), bits of a value less 1 (5), and four sizes of run
lengths less 1 (4 each). Then runs: one bit says whether a value repeats, two bits which size the
length has, the length less 1, and the value, or, when it does not repeat, that many values. A
painted pixel has 255 in all four channels. Source: @thi.ng/rle-pack, which the tool uses.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from lsl_core.errors import UserInput
from lsl_core.types import CropMasks, Hw

#: Bits of run lengths, the smallest that fits is taken; those of the tool itself.
_SIZES = (3, 4, 8, 16)
_LONGEST = 1 << _SIZES[-1]
_CHANNELS = 4
#: A pixel is of the object when it is painted at least half.
_PAINTED = 128


def encode_brush(masks: CropMasks, i: int, image_hw: Hw) -> list[int]:
    """Return mask `i` of an image as the bytes of the stream.

    The image is never drawn: the runs of the crop are shifted to their place.

    Args:
        masks: binary, inside the image.
        i: which of them.
        image_hw: (height, width) of the image, pixels.
    """
    lengths = _image_runs(masks.crop(i), masks.crops[i].tolist(), image_hw) * _CHANNELS
    values = np.where(np.arange(len(lengths)) % 2 == 1, 255, 0)
    values, lengths = values[lengths > 0], lengths[lengths > 0]
    pieces = -(-lengths // _LONGEST)
    values = np.repeat(values, pieces)
    whole = np.full(pieces.sum(), _LONGEST)
    whole[np.cumsum(pieces) - 1] = lengths - (pieces - 1) * _LONGEST
    kinds = np.searchsorted([1 << bits for bits in _SIZES], whole)
    sizes = np.array(_SIZES)[kinds]
    codes = (4 | kinds) << (sizes + 8) | (whole - 1) << 8 | values
    num_values = image_hw[0] * image_hw[1] * _CHANNELS
    head = [num_values, 7, *(bits - 1 for bits in _SIZES)]
    return _packed(
        np.concatenate([head, codes]).astype(np.uint64),
        np.concatenate([[32, 5, 4, 4, 4, 4], 3 + sizes + 8]),
    )


def _image_runs(pixels: NDArray[np.bool_], crop: Sequence[int], image_hw: Hw) -> NDArray[np.int64]:
    """Return run lengths over the whole image, row by row, background and mask by turns."""
    x, y, width, height = crop
    rows = np.zeros((height, width + 1), np.int8)  # the column more ends every run with its row
    rows[:, :width] = pixels
    edges = np.flatnonzero(np.diff(rows.ravel(), prepend=np.int8(0)))
    row = edges[0::2] // (width + 1)
    shift = (y + row) * image_hw[1] + x - row * (width + 1)
    runs = np.stack([edges[0::2] + shift, edges[1::2] + shift], 1).ravel()
    lengths: NDArray[np.int64] = np.diff(runs, prepend=0, append=image_hw[0] * image_hw[1])
    return lengths


def _packed(codes: NDArray[np.uint64], sizes: NDArray[np.int64]) -> list[int]:
    """Write numbers one after the other, each with its own number of bits, high bits first."""
    ends = np.cumsum(sizes)
    which = np.repeat(np.arange(len(codes)), sizes)
    shift = (ends[which] - 1 - np.arange(ends[-1])).astype(np.uint64)
    bits = (codes[which] >> shift) & np.uint64(1)
    found: list[int] = np.packbits(bits.astype(np.uint8)).tolist()
    return found


def decode_brush(stream: object, image_hw: Hw) -> NDArray[np.bool_]:
    """Return the painted pixels of a stream, (h, w) bool.

    Raises:
        UserInput: when it is damaged, or of an image of another size.
    """
    if not isinstance(stream, list) or not all(isinstance(v, int) and 0 <= v < 256 for v in stream):
        raise _unusable("it is no list of bytes")
    bits = _Bits(bytes(stream))
    num_values, value_bits = bits.take(32), bits.take(5) + 1
    sizes = [bits.take(4) + 1 for _ in range(4)]
    if num_values != image_hw[0] * image_hw[1] * _CHANNELS:
        raise _unusable(f"it is not for an image of (height, width) {list(image_hw)}")
    values: list[int] = []
    lengths: list[int] = []
    left = num_values
    while left > 0:
        repeats = bits.take(1)
        count = min(bits.take(sizes[bits.take(2)]) + 1, left)
        if repeats:
            values.append(bits.take(value_bits))
            lengths.append(count)
        else:
            values.extend(bits.take(value_bits) for _ in range(count))
            lengths.extend([1] * count)
        left -= count
    painted = np.repeat(np.array(values) >= _PAINTED, lengths)
    alpha: NDArray[np.bool_] = painted[_CHANNELS - 1 :: _CHANNELS].reshape(image_hw)
    return alpha


class _Bits:
    """Reads numbers of some bits from bytes."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def take(self, count: int) -> int:
        first, self._at = self._at, self._at + count
        last = (self._at + 7) // 8
        if last > len(self._data):
            raise _unusable("it is cut off")
        word = int.from_bytes(self._data[first // 8 : last])
        return (word >> (last * 8 - self._at)) & ((1 << count) - 1)


def _unusable(reason: str) -> UserInput:
    return UserInput(f"A brush mask cannot be used: {reason}.", hint="Draw it again.")
