"""Arrays as the caller gives them, checked and sorted by the model's inputs and outputs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from .._names import real
from ..network import parts_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..models import Model

    Array = NDArray[Any]

__all__ = [
    "Data",
    "class_weights",
    "direct",
    "feedable",
    "labels_of",
    "parts_given",
    "readable",
    "shaped",
]


def readable(data: Any, what: str) -> Array:
    """An array whose rows the core can read where they lie: native real numbers, each row
    contiguous. Copies only what is not so already.

    Raises TypeError for anything but real numbers, ValueError for a single number.
    """
    if hasattr(data, "__next__") or isinstance(data, dict):
        raise TypeError(f"{what}: got {type(data).__name__}, expected an array")
    array = np.asanyarray(data)
    # NumPy imports np.ma when it is asked for; a fork meanwhile would leave that lock taken
    if type(array) is not np.ndarray and np.ma.is_masked(array):
        raise TypeError(f"{what}: got a masked array; fill it or drop the masked rows first")
    if array.dtype.kind not in "fiub":
        raise TypeError(
            f"{what}: got an array of dtype {array.dtype}, expected real numbers "
            "(float16 to float64, integers, bool)"
        )
    array = np.asarray(array)
    if array.dtype.itemsize > 8:
        array = array.astype(np.float64)
    if not array.dtype.isnative:
        array = array.astype(array.dtype.newbyteorder("="))
    if array.ndim == 0:
        raise ValueError(f"{what}: got a single number, expected an array with rows")
    if array.ndim > 1 and not array[:1].flags.c_contiguous:
        array = np.ascontiguousarray(array)
    return array


class Data:
    """Inputs x, targets y (one for each output, or none) and weights as arrays of one length.

    weight_of: for each output the place in `weights` of the one that it heeds, or None.
    """

    def __init__(self, model: Model, x: Any, y: Any, weight: Any, class_weight: Any = None) -> None:
        self.model = model
        self.y: list[Array | None] = []
        plain = type(x) is np.ndarray and (y is None or type(y) is np.ndarray)
        if plain and direct(model):  # the usual case, quickly
            self.x, parted = [readable(x, "x")], True
            self.y = [] if y is None else [readable(y, "y")]
        else:
            self.x, parted = [readable(part, n) for part, n in parts_given(model, "x", x)], False
        self.rows = self.x[0].shape[0]
        if y is not None and not parted:
            found = parts_given(model, "y", y)
            self.y = [None if part is None else readable(part, n) for part, n in found]
        if any(a is not None and a.shape[0] != self.rows for a in (*self.x, *self.y)):
            self._unequal()
        self.weights: list[Array] = []
        network = model._network
        self.weight_of: list[int | None] = [None] * (1 if network is None else len(network.outputs))
        if weight is not None or class_weight is not None:
            self._weigh(weight, class_weight)

    def _unequal(self) -> None:
        """Says which arrays have unequal numbers of rows."""
        model = self.model
        for kind, arrays in (("x", self.x), ("y", self.y)):
            for array, name in zip(arrays, labels_of(model, kind), strict=False):
                if array is not None and array.shape[0] != self.rows:
                    raise ValueError(
                        f"{labels_of(model, 'x')[0]} has {self.rows} rows and {name} has "
                        f"{array.shape[0]}; expected equal numbers"
                    )

    def _weigh(self, weight: Any, class_weight: Any) -> None:
        several = len(self.weight_of) > 1
        if several and class_weight is not None:
            raise ValueError("class_weight is for models with one output; use sample_weight")
        if not several or not isinstance(weight, (list, tuple, dict)):
            if several or not isinstance(weight, dict):
                given = weight
            else:
                ((given, _),) = parts_given(self.model, "sample_weight", weight)
            self.weights = [self._weights(given, class_weight, "sample_weight")]
            self.weight_of = [0] * len(self.weight_of)
            return
        for k, (part, name) in enumerate(parts_given(self.model, "sample_weight", weight)):
            if part is not None:
                self.weight_of[k] = len(self.weights)
                self.weights.append(self._weights(part, None, name))

    def _weights(self, weight: Any, class_weight: Any, what: str) -> Array:
        w = None
        if weight is not None:
            w = readable(weight, what)
            if w.shape == (self.rows, 1):
                w = w.reshape(self.rows)
            if w.shape != (self.rows,):
                raise ValueError(f"{what}: got shape {w.shape}, expected ({self.rows},), one a row")
        if class_weight is not None:
            by_class = class_weights(self.y[0] if self.y else None, class_weight)
            w = by_class if w is None else by_class * w
        assert w is not None
        return w

    def part(self, begin: int, end: int) -> Data:
        """The rows [begin, end), without a copy."""
        found = object.__new__(Data)
        found.model, found.rows, found.weight_of = self.model, end - begin, self.weight_of
        found.x = [a[begin:end] for a in self.x]
        found.y = [None if a is None else a[begin:end] for a in self.y]
        found.weights = [a[begin:end] for a in self.weights]
        return found


def labels_of(model: Model, kind: str) -> list[str]:
    """What messages call the inputs ("x") or the outputs."""
    network = model._network
    specs = [] if network is None else network.inputs if kind == "x" else network.outputs
    return [kind] if len(specs) < 2 else [f"{kind} {spec.name!r}" for spec in specs]


def parts_given(model: Model, kind: str, data: Any) -> list[tuple[Any, str]]:
    """One part of the data for each input or output, and what messages call it."""
    network, names = model._network, labels_of(model, kind)
    if network is None:
        return [(data, names[0])]
    specs = network.inputs if kind == "x" else network.outputs
    form = network.input_form if kind == "x" else network.output_form
    if len(specs) == 1 and not isinstance(data, dict):
        # a list is one array here, but for a list of the one array that is wanted
        one = isinstance(data, (list, tuple)) and len(data) == 1 and isinstance(data[0], np.ndarray)
        listed = one and (isinstance(form, (list, tuple)) or data[0].ndim == len(specs[0].shape))
        parts = list(data) if listed else [data]
    else:
        parts = parts_of(data, form, specs, kind)
    missing = [spec.name for spec, part in zip(specs, parts, strict=True) if part is None]
    if missing and kind == "x":
        raise ValueError(f"x: nothing is given for input {missing[0]!r}")
    return list(zip(parts, names, strict=True))


def direct(model: Model) -> bool:
    """Is it one array in and one array out?"""
    forms = model.network.input_form, model.network.output_form
    return not any(isinstance(form, (list, tuple, dict)) for form in forms)


def class_weights(y: Array | None, table: Any) -> Array:
    """One weight for each row of y, class labels (n,) or one-hot (n, classes)."""
    if not isinstance(table, dict):
        raise TypeError(
            f"class_weight: got {type(table).__name__}, expected a dict from label to weight"
        )
    if y is None:
        raise ValueError("class_weight needs y")
    labels = y.argmax(axis=-1) if y.ndim == 2 and y.shape[1] > 1 else y.reshape(len(y), -1)
    if labels.ndim == 2:
        if labels.shape[1] != 1:
            raise ValueError("class_weight needs one label a row")
        labels = labels[:, 0]
    known, index = np.unique(labels, return_inverse=True)
    values = [real("class_weight", table.get(k, 1.0), 0) for k in known.tolist()]
    return np.asarray(values, np.float64)[index]


def shaped(array: Array, shape: tuple[int, ...], what: str, because: str) -> Array:
    """The array with rows of this shape; only axes of length 1 at the end may differ."""
    if array.shape[1:] == shape:
        return array
    if (*array.shape[1:], 1) == shape or array.shape[1:] == (*shape, 1):
        return array.reshape(array.shape[0], *shape)
    raise ValueError(
        f"{what}: got shape {array.shape}, expected ({array.shape[0]}, "
        f"{', '.join(map(str, shape)) + (',' if not shape else '')}) because {because}"
    )


def feedable(shapes: Any, arrays: list[Array], labels: list[str]) -> list[Array]:
    """The arrays with rows of these shapes; ValueError names the input that is wrong."""
    which = "the model's input is" if len(shapes) == 1 else "this input of the model is"
    return [
        shaped(x, shape, name, f"{which} {(None, *shape)}")
        for x, shape, name in zip(arrays, shapes, labels, strict=True)
    ]
