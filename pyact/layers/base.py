"""What every layer is: weights, a trace of its operators, a configuration."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from .. import _core, _recording, initializers
from .._core import Value
from .._names import snake, whole
from ..config import float_name
from ..variables import Tensor, Weight, WeightSpec, allocate

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Shape = tuple[int | None, ...]

_counts: dict[str, int] = {}


def _new_name(kind: str) -> str:
    """dense, dense_1, dense_2 ... in order of creation."""
    n = _counts.get(kind, 0)
    _counts[kind] = n + 1
    return f"{kind}_{n}" if n else kind


class Layer:
    """Base class of all layers.

    name: shown by `summary`; made from the class's name when not given. dtype: "float32"
    or "float64", of weights and results (default: `pyact.floatx()`). trainable: may the
    optimizer change the weights? Takes effect at once, also after `compile`.
    input_shape: shape of one sample, without the batch, for a model's first layer.
    """

    def __init__(
        self,
        *,
        name: str | None = None,
        dtype: Any = None,
        trainable: bool = True,
        input_shape: Sequence[int] | None = None,
    ) -> None:
        self.name = name or _new_name(snake(type(self).__name__))
        self.dtype = float_name(dtype)
        self.built = False
        self.input_shape: Shape | None = None
        self.output_shape: Shape | None = None
        self._trainable = bool(trainable)
        self._weights: list[Weight] = []
        self._given_shape = None if input_shape is None else sample_shape(input_shape)

    # ---- what subclasses define ----

    def weight_specs(self, input_shape: Shape) -> list[WeightSpec]:
        """The weights that inputs of this shape ask for; raises ValueError for a shape
        that the layer cannot take. A model lays the weights of all its layers in one
        block. Layers of your own may use `build` and `add_weight` instead."""
        return []

    def build(self, input_shape: Shape) -> None:
        """Makes the weights. Called once, before the first `call`."""
        self.place(allocate(self.weight_specs(input_shape), self.dtype))

    def call(self, x: Any, training: bool = False) -> Any:
        """The layer's result for the value x. `training` is True inside `fit`."""
        raise NotImplementedError(f"{type(self).__name__} must define call(x, training=False)")

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """The shape of `call`'s result, found by tracing it on a batch of one."""
        self.ensure_built(input_shape)
        graph = _core.Graph()
        one: Any = (1, *input_shape[1:])
        with _recording.tracing(graph):
            out = self.call(graph.input(one, self.dtype), training=False)
        keeps_batch(out, 1, f"layer {self.name!r}")
        return (None, *out.shape[1:])

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        config: dict[str, Any] = {
            "name": self.name,
            "dtype": self.dtype,
            "trainable": self.trainable,
        }
        if self._given_shape is not None:
            config["input_shape"] = list(self._given_shape)
        return config

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Layer:
        """A new layer, without weights yet, from `get_config`'s dict."""
        return cls(**config)

    # ---- weights ----

    def add_weight(
        self,
        name: str,
        shape: Sequence[int],
        initializer: Any = "glorot_uniform",
        trainable: bool = True,
    ) -> Weight:
        """A new weight; to be called in `build`."""
        spec = WeightSpec(name, shape, initializers.get(initializer), trainable)
        weight = allocate([spec], self.dtype)[0]
        self.place([weight])
        return weight

    def place(self, weights: Sequence[Weight]) -> None:
        """Takes allocated weights over: each becomes an attribute of its name."""
        for weight in weights:
            weight.trainable = weight.trainable and self._trainable
            self._weights.append(weight)
            if not hasattr(type(self), weight.name):
                setattr(self, weight.name, weight)

    @property
    def trainable(self) -> bool:
        """May the optimizer change the weights?"""
        return self._trainable

    @trainable.setter
    def trainable(self, value: bool) -> None:
        self._trainable = bool(value)
        for weight in self._weights:
            weight.trainable = self._trainable

    @property
    def weights(self) -> list[Weight]:
        """All weights, as arrays that view the model's memory."""
        return list(self._weights)

    @property
    def trainable_weights(self) -> list[Weight]:
        """Those that the optimizer may change."""
        return [w for w in self._weights if w.trainable]

    @property
    def non_trainable_weights(self) -> list[Weight]:
        """Those that it may not."""
        return [w for w in self._weights if not w.trainable]

    def get_weights(self) -> list[NDArray[Any]]:
        """Copies of all weights."""
        return [w.numpy() for w in self._weights]

    def set_weights(self, weights: Sequence[Any]) -> None:
        """Writes arrays of the weights' shapes, in the order of `weights`.

        Raises ValueError when their number or a shape differs; nothing is written then.
        """
        assign_all(self._weights, weights, f"layer {self.name!r}")

    def count_params(self) -> int:
        """Number of weights' elements."""
        return sum(w.size for w in self._weights)

    def __getattr__(self, name: str) -> Any:
        if not name.startswith("_") and not self.__dict__.get("built", True):
            raise AttributeError(
                f"layer {self.name!r} has no attribute {name!r} yet: it gets its weights when it "
                "knows its input; build it, or use it in a model with an Input"
            )
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    # ---- calling ----

    def ensure_built(self, input_shape: Shape) -> None:
        """Builds the layer for this shape unless that has been done."""
        if not self.built:
            self.build(input_shape)
            self.built = True
            self.input_shape = input_shape

    def __call__(self, x: Any, training: bool = False, **more: Any) -> Any:
        """`call` on a value of a graph, or at once on an array (batch first); `more` are
        further arguments that this layer's `call` takes."""
        record = _recording.current() if isinstance(x, Tensor) else None
        if record is not None:
            x = record.value(x)
        if not isinstance(x, Value):
            x = np.asarray(x)
            if x.dtype.kind not in "fiub":
                raise TypeError(
                    f"layer {self.name!r}: got an array of {x.dtype}, expected real numbers"
                )
            x = np.asarray(x, self.dtype)
            if x.ndim == 0:
                raise ValueError(
                    f"layer {self.name!r}: got a single number, expected an array whose first "
                    "axis is the batch"
                )
        elif x.dtype.name in ("float32", "float64") and x.dtype.name != self.dtype:
            x = _core.apply("cast", (x,), {"dtype": 1 if self.dtype == "float64" else 0})
        self.ensure_built((None, *x.shape[1:]))
        return self.call(x, training=training, **more)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name!r}>"


def keeps_batch(value: Any, rows: int, whose: str) -> None:
    """Raises ValueError unless the value's first axis is the batch, of so many rows."""
    if value.shape[:1] != (rows,):
        raise ValueError(
            f"{whose}: gives shape {value.shape} for a batch of {rows}; expected the batch to "
            "stay the first axis"
        )


def sample_shape(shape: Any) -> tuple[int, ...]:
    """Dims of one sample, each at least 1; an int means one axis."""
    if isinstance(shape, int):
        shape = (shape,)
    return tuple(whole("input_shape", n, 1) for n in shape)


def assign_all(weights: Sequence[Weight], values: Sequence[Any], whose: str) -> None:
    """Checks all shapes, then writes."""
    arrays = [np.asarray(v) for v in values]
    if len(arrays) != len(weights):
        raise ValueError(f"{whose}: got {len(arrays)} weights, expected {len(weights)}")
    for weight, array in zip(weights, arrays, strict=True):
        if array.shape != weight.shape:
            raise ValueError(
                f"{whose}: weight {weight.name!r}: got shape {array.shape}, expected {weight.shape}"
            )
        if array.dtype.kind not in "fiub":
            raise TypeError(
                f"{whose}: weight {weight.name!r}: got dtype {array.dtype}, expected real numbers"
            )
    for weight, array in zip(weights, arrays, strict=True):
        weight[...] = array


class InputLayer(Layer):
    """Says what one sample looks like; computes nothing."""

    def __init__(self, shape: Sequence[int], *, name: str | None = None, dtype: Any = None) -> None:
        super().__init__(name=name or _new_name("input_layer"), dtype=dtype, input_shape=shape)

    def call(self, x: Any, training: bool = False) -> Any:
        return x

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return input_shape

    def get_config(self) -> dict[str, Any]:
        shape = list(self._given_shape or ())
        return {"shape": shape, "name": self.name, "dtype": self.dtype}


def Input(shape: Sequence[int], *, name: str | None = None, dtype: Any = None) -> InputLayer:  # noqa: N802
    """The input of a Sequential model: `shape` is that of one sample, without the batch.

    Raises TypeError or ValueError when it is not a sequence of positive whole numbers.

    >>> Input((784,)).get_config()["shape"]
    [784]
    """
    return InputLayer(shape, name=name, dtype=dtype)
