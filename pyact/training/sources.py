"""Where batches come from: arrays at hand, a loader over arrays, or a stream."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from .. import _core
from .._names import whole

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from numpy.typing import NDArray

    from .data import Data
    from .engine import Engine

    Array = NDArray[Any]

__all__ = ["Arrays", "Loader", "Stream", "source_of"]


class Arrays:
    """All data at hand: an epoch is one stretch of batches in an order made in C."""

    def __init__(self, data: Data, batch: int, shuffle: bool, limit: int | None, what: str) -> None:
        if data.rows == 0:
            raise ValueError(f"{what}: the data have no rows")
        self.data, self.batch, self.shuffle, self.limit = data, batch, shuffle, limit

    @property
    def steps(self) -> int:
        n = -(-self.data.rows // self.batch)
        return n if self.limit is None else min(n, self.limit)

    def known_steps(self, n: int) -> None:
        pass

    def state(self) -> list[int]:
        """How far the data have been drawn: batches of a stream, epochs of a loader."""
        return [0, 0]

    def pass_by(self, state: list[int], batches: int) -> None:
        """Goes to where `state` was given, or to the begin of that epoch when `batches` of
        it were done."""

    def hold_out(self, split: float) -> Arrays:
        """Splits the last rows off, before any shuffling, as Keras does."""
        rows = self.data.rows
        cut = int(rows * (1 - split))
        if cut in (0, rows):
            raise ValueError(f"validation_split={split} of {rows} rows leaves no row on one side")
        rest = Arrays(self.data.part(cut, rows), self.batch, False, None, "validation_split")
        self.data = self.data.part(0, cut)
        return rest

    def epoch(self, seed: int, number: int) -> Iterator[tuple[Data, int, int, Array | None]]:
        order = None
        if self.shuffle:
            order = np.empty(self.data.rows, np.int64)
            _core.shuffle(order, seed, number)
        yield self.data, self.batch, self.steps, order


class Loader(Arrays):
    """A DataLoader over arrays: the same rows in the same order, gathered in C."""

    def __init__(self, engine: Engine, loader: Any, limit: int | None, table: Any) -> None:
        x, y, w = (*loader.arrays, None, None)[:3]
        super().__init__(engine.data(x, y, w, table), loader.batch_size, False, limit, "x")
        self.loader = loader

    @property
    def steps(self) -> int:
        n = len(self.loader)
        return n if self.limit is None else min(n, self.limit)

    def state(self) -> list[int]:
        return [0, self.loader.epoch]

    def pass_by(self, state: list[int], batches: int) -> None:
        self.loader.epoch = state[1] - (batches > 0)

    def hold_out(self, split: float) -> Arrays:
        raise ValueError("validation_split needs arrays; pass validation_data instead")

    def epoch(self, seed: int, number: int) -> Iterator[tuple[Data, int, int, Array | None]]:
        yield self.data, self.batch, self.steps, self.loader.next_order()


class Stream:
    """Batches from a generator, or from a loader over something else than arrays."""

    def __init__(
        self, engine: Engine, batches: Iterable[Any], batch: int, limit: int | None, table: Any
    ) -> None:
        self.engine = engine
        self.batches, self.batch, self.limit, self.table = batches, batch, limit, table
        self._length: int | None = None
        self.taken = 0
        endless = hasattr(batches, "__next__")
        self._iterator = iter(batches) if endless else None
        if hasattr(batches, "__len__"):
            self._length = len(batches)

    @property
    def steps(self) -> int | None:
        known = [n for n in (self._length, self.limit) if n is not None]
        return min(known) if known else None

    def state(self) -> list[int]:
        return [self.taken, getattr(self.batches, "epoch", 0)]

    def pass_by(self, state: list[int], batches: int) -> None:
        if self._iterator is not None:
            for _ in range(state[0] - batches):
                next(self._iterator, None)
        elif hasattr(self.batches, "epoch"):
            self.batches.epoch = state[1] - (batches > 0)
        self.taken = state[0] - batches

    def known_steps(self, n: int) -> None:
        self._length = n if self._length is None else self._length

    def hold_out(self, split: float) -> Any:
        raise ValueError("validation_split needs arrays; pass validation_data instead")

    def epoch(self, seed: int, number: int) -> Iterator[tuple[Data, int, int, Array | None]]:
        iterator = self._iterator if self._iterator is not None else iter(self.batches)
        count = 0
        while self.limit is None or count < self.limit:
            try:
                item = next(iterator)
            except StopIteration:
                break
            parts = item if isinstance(item, (tuple, list)) else (item,)
            if len(parts) > 3:
                raise ValueError(
                    f"a batch has {len(parts)} parts, expected (x, y) or (x, y, sample_weight)"
                )
            x, y, w = (*parts, None, None)[:3]
            data = self.engine.data(x, y, w, self.table)
            if data.rows == 0:
                raise ValueError("a batch has no rows")
            self.taken += 1
            yield data, data.rows, 1, None
            count += 1


def source_of(
    engine: Engine, x: Any, y: Any, weight: Any, class_weight: Any, batch: int, shuffle: Any,
    steps: Any,
) -> Any:  # fmt: skip
    limit = None if steps is None else whole("steps_per_epoch", steps, 1)
    if x is None:
        raise ValueError("x is missing: pass an array, a DataLoader or a generator")
    is_stream = hasattr(x, "__next__") or (hasattr(x, "batch_size") and hasattr(x, "__iter__"))
    if is_stream:
        if y is not None or weight is not None:
            raise ValueError("y and sample_weight come from the loader or generator itself")
        if getattr(x, "arrays", None) is not None:
            return Loader(engine, x, limit, class_weight)
        return Stream(engine, x, batch, limit, class_weight)
    return Arrays(engine.data(x, y, weight, class_weight), batch, bool(shuffle), limit, "x")
