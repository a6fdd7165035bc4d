"""Variables, and weights: arrays that view the model's own memory.

A `Weight` is a NumPy array like any other; writing to it changes the model. It also knows
its place in the core's memory, so that operators record it as a parameter and not as a
constant. Slices and results of arithmetic are plain arrays, except while a GradientTape
records: then they are values of the tape.
"""

from __future__ import annotations

import copyreg
from _thread import _local
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from . import _recording
from ._core import Block, Value
from .config import float_name

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

__all__ = [
    "Tensor",
    "Variable",
    "Weight",
    "WeightSpec",
    "allocate",
    "constant",
    "zeros_within",
]

_ALIGN = 64  # bytes; where each weight begins, so that vector loads do not straddle lines


def _recorded(*values: Any) -> bool:
    """Is an operator on these to be recorded?"""
    return _recording.current() is not None or any(isinstance(v, Value) for v in values)


def _method(name: str) -> Any:
    plain: Any = getattr(np.ndarray, name)

    def method(self: Any, *args: Any, **kwargs: Any) -> Any:
        if not _recorded():
            return plain(self, *args, **kwargs)
        from ._tensors import METHODS

        return METHODS[name](self, *args, **kwargs)

    method.__name__, method.__doc__ = name, plain.__doc__
    return method


class Tensor(np.ndarray):
    """A NumPy array whose use a GradientTape can watch; made by `constant`."""

    block: Block | None = None
    offset: int = 0
    trainable: bool = False
    name: str = ""

    def numpy(self) -> NDArray[Any]:
        """A copy as a plain array."""
        return np.array(self, subok=False)

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
        if _recorded(*inputs):
            from ._tensors import array_ufunc

            return array_ufunc(ufunc, method, inputs, kwargs)
        plain = [np.asarray(x) if isinstance(x, Tensor) else x for x in inputs]
        out = kwargs.get("out")
        if out is None:
            return getattr(ufunc, method)(*plain, **kwargs)
        kwargs["out"] = tuple(np.asarray(x) if isinstance(x, Tensor) else x for x in out)
        getattr(ufunc, method)(*plain, **kwargs)
        return out[0] if len(out) == 1 else out

    def __array_function__(self, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
        if _recorded():
            from ._tensors import array_function

            return array_function(function, args, kwargs)
        return super().__array_function__(function, types, args, kwargs)

    def __getitem__(self, key: Any) -> Any:
        if _recorded():
            from ._tensors import getitem

            return getitem(self, key)
        return np.asarray(self)[key]

    @property
    def T(self) -> Any:  # noqa: N802
        """The transpose."""
        return self.transpose()

    @property
    def mT(self) -> Any:  # noqa: N802
        """The last two axes changed."""
        return self.swapaxes(-1, -2)

    def __reduce__(self) -> Any:
        """With its block, so that weights of one model stay together; `numpy()` is a plain
        copy of one alone."""
        if self.block is None:
            return np.asarray(self).__reduce__()
        return _weight_over, (
            self.block, self.offset, self.shape, self.trainable, self.name, type(self)
        )  # fmt: skip

    def __deepcopy__(self, memo: Any) -> Any:
        if self.block is None:
            return self.numpy()
        from copy import deepcopy

        block = deepcopy(self.block, memo)
        return _weight_over(block, self.offset, self.shape, self.trainable, self.name, type(self))

    for _name in ("sum", "mean", "max", "min", "var", "std", "reshape", "transpose", "swapaxes",
                  "squeeze", "ravel", "flatten", "dot", "clip", "prod", "cumsum", "cumprod",
                  "repeat", "take", "trace", "diagonal", "copy", "astype"):  # fmt: skip
        locals()[_name] = _method(_name)
    del _name


class Weight(Tensor):
    """A weight of a layer; made by `Layer.add_weight`.

    block, offset: its place in the core's memory (elements). trainable: does the
    optimizer change it? name: as shown by `summary` and files.
    """

    trainable: bool = True

    def assign(self, value: Any) -> None:
        """Writes `value`, of the same shape, into the weight.

        Raises ValueError for another shape; nothing is broadcast.
        """
        record = _recording.current()
        if record is not None:
            if not record.is_tape:
                raise TypeError(
                    f"{self.name or 'weight'}: cannot be assigned to inside a traced function, "
                    "layer or loss; assign outside of it"
                )
            record.forget(self)
        array = value.numpy() if isinstance(value, Value) else np.asarray(value)
        if array.shape != self.shape:
            raise ValueError(
                f"{self.name or 'weight'}: got shape {array.shape}, expected {self.shape}"
            )
        np.asarray(self)[...] = array

    def __setitem__(self, key: Any, value: Any) -> None:
        record = _recording.current()
        if record is not None:
            record.forget(self)
        super().__setitem__(key, value.numpy() if isinstance(value, Value) else value)

    def assign_add(self, value: Any) -> None:
        """self += value."""
        self.assign(np.asarray(self) + np.asarray(value))

    def assign_sub(self, value: Any) -> None:
        """self -= value."""
        self.assign(np.asarray(self) - np.asarray(value))


class Variable(Weight):
    """An array that is learned: a GradientTape watches it, an optimizer updates it.

    initial_value: array or number; float32 and float64 are kept, everything else becomes
    `pyact.floatx()`. dtype: "float32" or "float64". trainable: is it watched?

    Raises TypeError for what is not real numbers.

    >>> v = Variable([1.0, 2.0])
    >>> v.assign_add([1.0, 1.0]); (v * 2).tolist()
    [4.0, 6.0]
    """

    def __new__(
        cls,
        initial_value: Any,
        trainable: bool = True,
        name: str | None = None,
        dtype: Any = None,
    ) -> Variable:
        array = _floats(initial_value, dtype, "Variable")
        block = Block(array.dtype, array.size)
        self = block.view(0, array.shape).view(cls)
        self.block, self.offset = block, 0
        self.trainable, self.name = bool(trainable), name or "variable"
        np.asarray(self)[...] = array
        return self

    def __repr__(self) -> str:
        return f"<Variable {self.name!r}: {np.asarray(self)!r}>"


def _floats(value: Any, dtype: Any, what: str) -> NDArray[Any]:
    """value as a float32 or float64 array."""
    array = np.asarray(value.numpy() if isinstance(value, Value) else value)
    if array.dtype.kind not in "fiub":
        raise TypeError(f"{what}: got an array of {array.dtype}, expected real numbers")
    typed = hasattr(value, "dtype") and array.dtype.name in ("float32", "float64")
    return np.asarray(array, float_name(dtype) if dtype is not None or not typed else array.dtype)


def constant(value: Any, dtype: Any = None) -> Tensor:
    """`value` as a Tensor: an array that a GradientTape can be told to watch.

    dtype: as for `Variable`. Raises TypeError for what is not real numbers.

    >>> constant(3.0) + 1
    np.float32(4.0)
    """
    return np.array(_floats(value, dtype, "constant")).view(Tensor)


def _weight_over(
    block: Block, offset: int, shape: tuple[int, ...], trainable: bool, name: str, kind: Any
) -> Any:
    weight = block.view(offset, shape).view(kind)
    weight.block, weight.offset = block, offset
    weight.trainable, weight.name = trainable, name
    return weight


def _block_of(values: NDArray[Any]) -> Block:
    block = Block(values.dtype, values.size)
    block.view(0, values.shape)[...] = values
    return block


def _reduce_block(block: Block) -> Any:
    return _block_of, (block.view(0, (block.size,)).copy(),)


copyreg.pickle(Block, _reduce_block)  # type: ignore[arg-type]


class WeightSpec:
    """What a layer says about a weight before it has memory."""

    __slots__ = ("initializer", "name", "shape", "trainable")

    def __init__(
        self, name: str, shape: Sequence[int], initializer: Any, trainable: bool = True
    ) -> None:
        self.name = name
        self.shape = tuple(int(n) for n in shape)
        self.initializer = initializer
        self.trainable = trainable


_allowance = _local()


@contextmanager
def zeros_within(elements: int) -> Iterator[None]:
    """Inside, in this thread, new weights stay zero and have so many elements at most in
    all: what is read from a file is written over them, and a file cannot ask for more
    memory than it fills.

    Raises ValueError from `allocate` for more.
    """
    before = getattr(_allowance, "left", None)
    _allowance.left = elements
    try:
        yield
    finally:
        _allowance.left = before


def _may_allocate(specs: Sequence[WeightSpec]) -> bool:
    """Are initial values wanted? Counts against the allowance when they are not."""
    left = getattr(_allowance, "left", None)
    if left is None:
        return True
    for spec in specs:
        count = 1
        for n in spec.shape:
            count *= n
        left -= count
    if left < 0:
        raise ValueError("the layers ask for more weights than there are in the file")
    _allowance.left = left
    return False


def _size(spec: WeightSpec, itemsize: int) -> int:
    unit = _ALIGN // itemsize
    count = 1
    for n in spec.shape:
        count *= n
    return -(-count // unit) * unit


def allocate(specs: Sequence[WeightSpec], dtype: Any) -> list[Weight]:
    """Weights with their initial values, one behind the other in one block."""
    dtype = np.dtype(dtype)
    wanted = _may_allocate(specs)
    block = Block(dtype, sum(_size(s, dtype.itemsize) for s in specs))
    weights, offset = [], 0
    for spec in specs:
        weight = _weight_over(block, offset, spec.shape, spec.trainable, spec.name, Weight)
        if wanted:
            with _recording.paused():
                weight.assign(spec.initializer(spec.shape, dtype))
        weights.append(weight)
        offset += _size(spec, dtype.itemsize)
    return weights
