"""Inference without an engine: a callable straight from array to array."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from .. import _core, _recording
from .._names import whole
from .._trees import map_tree
from ..network import parts_of
from .data import Data, direct, feedable, labels_of, readable
from .program import own_values, predicted

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..models import Model

    Array = NDArray[Any]

__all__ = ["inference"]


def inference(model: Model, batch_size: int | None = None, *, frozen: bool) -> Any:
    """A callable fn(x, out=None) over the model's weights, or over a copy of them as they
    are now (frozen); see `Model.compile_inference`."""
    model._require_built("an inference function")
    if batch_size is not None:
        whole("batch_size", batch_size, 1)
    specs = model.network.inputs
    copies = _copies(model) if frozen else {}

    def compile_rows(rows: int) -> Any:
        if batch_size is not None and rows != batch_size:
            raise ValueError(
                f"x: got {rows} rows, expected {batch_size}, the batch_size of compile_inference"
            )
        if rows == 0:
            raise ValueError("x: got no rows, expected at least one")
        graph = _core.Graph()
        given = [graph.input((rows, *s.shape[1:]), s.dtype) for s in specs]
        with _recording.tracing(graph):
            found = predicted(model, given, False)
        # one program: its own layout of the weights. Many would each take their memory.
        graph.freeze(copies, frozen and batch_size is not None)
        return _core.Program(graph, outputs=own_values(found, given))

    kept = None
    if frozen:
        described = {"class_name": type(model).__name__, "config": model.get_config()}
        kept = (described, [w.numpy() for w in model.weights], batch_size)
    if not direct(model):
        return _Several(model, compile_rows, kept)

    def convert(x: Any) -> Array:
        (array,) = feedable([specs[0].shape[1:]], [readable(x, "x")], ["x"])
        return np.require(array, specs[0].dtype, ["C_CONTIGUOUS", "ALIGNED"])

    def reduce() -> Any:
        from ..models import restore_inference  # models imports this module

        if kept is None:
            raise TypeError("a live model's function cannot be pickled; use compile_inference")
        return restore_inference, kept

    shape = (batch_size or 1, *specs[0].shape[1:])
    return _core.Inference(shape, np.dtype(specs[0].dtype), compile_rows, convert, reduce)


class _Several:
    """`_core.Inference` for several inputs or outputs: fn(x, out=None)."""

    def __init__(self, model: Model, compile_rows: Any, kept: Any) -> None:
        self._model, self._compile, self._kept = model, compile_rows, kept
        self._free: dict[int, list[Any]] = {}

    def __call__(self, x: Any, out: Any = None) -> Any:
        network = self._model.network
        data = Data(self._model, x, None, None)
        labels = labels_of(self._model, "x")
        arrays = feedable([s.shape[1:] for s in network.inputs], data.x, labels)
        free = self._free.setdefault(data.rows, [])
        try:
            program = free.pop()
        except IndexError:
            program = self._compile(data.rows)
        results = [np.empty((data.rows, *s.shape[1:]), s.dtype) for s in network.outputs]
        if out is not None:
            given = parts_of(out, network.output_form, network.outputs, "out")
            for array, want, spec in zip(given, results, network.outputs, strict=True):
                if getattr(array, "shape", None) != want.shape or array.dtype != want.dtype:
                    raise ValueError(
                        f"out: {spec.name!r}: expected an array of {want.dtype} and shape "
                        f"{want.shape}"
                    )
            results = given
        feeds = tuple((n, a, 0, False) for n, a in zip(labels, arrays, strict=True))
        _core.run_loop(
            program, None, feeds, data.rows, data.rows, None, 0, 1, 0, 0, None, None,
            (None,) * len(results), tuple(results), np.zeros(1, np.int64), None, 0,
        )  # fmt: skip
        free.append(program)
        found = iter(results)
        return map_tree(lambda _: next(found), network.output_form)

    def __reduce__(self) -> Any:
        from ..models import restore_inference

        return restore_inference, self._kept


def _copies(model: Model) -> dict[Any, Any]:
    """A copy of each block that the model's weights lie in."""
    copies: dict[Any, Any] = {}
    for weight in model.weights:
        block = weight.block
        if block is not None and block not in copies:
            copies[block] = _core.Block(block.dtype, block.size)
            copies[block].view(0, (block.size,))[...] = block.view(0, (block.size,))
    return copies
