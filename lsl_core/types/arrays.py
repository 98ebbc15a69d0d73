"""Small helpers for columns of numpy arrays."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from numpy.typing import NDArray

#: Which rows: a boolean column, positions, or a slice.
Index = NDArray[np.bool_] | NDArray[np.integer[Any]] | slice


def read_only(value: Any) -> None:  # noqa: ANN401 - any dataclass of ours
    """Make every array field of a frozen dataclass unwritable."""
    for field in dataclasses.fields(value):
        column = getattr(value, field.name)
        if isinstance(column, np.ndarray):
            column.setflags(write=False)
