"""What every layer is: weights, a trace of its operators, a configuration."""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import _core, _recording, initializers
from .._core import Value
from .._locks import guard
from .._names import snake, unknown, whole
from .._trees import is_shape, leaves, map_shapes, map_tree
from ..config import float_name, floatx
from ..variables import Tensor, Weight, WeightSpec, allocate
from .symbolic import Call, Symbol, connect, has_symbols

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    Shape = tuple[int | None, ...]

KNOWN: dict[str, type[Layer]] = {}  # every class that a file may name
_counts: dict[str, Iterator[int]] = {}
_building = guard()  # one lock for all: a layer may lie in several models


def _new_name(kind: str) -> str:
    """dense, dense_1, dense_2 ... in order of creation."""
    n = next(_counts.setdefault(kind, count()))  # no other thread gets the same
    return f"{kind}_{n}" if n else kind


class Layer:
    """Base class of all layers.

    name: shown by `summary`; made from the class's name when not given. dtype: "float32"
    or "float64", of weights and results (default: `pyact.floatx()`). trainable: may the
    optimizer change the weights? Takes effect at once, also after `compile`.
    input_shape: shape of one sample, without the batch, for a model's first layer.
    """

    takes_many = False  # is a list of arrays several inputs, rather than one array?
    passes_mask = False  # does the mask of steps on x (see `sequence.py`) hold for the result?

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
        self._plan: tuple[Any, list[WeightSpec]] | None = None
        self._calls: list[tuple[Any, Any]] = []  # the last symbolic call: x and result
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

        def given(shape: Any) -> Any:
            return graph.input((1, *shape[1:]), self.dtype)

        def found(value: Any) -> Shape:
            keeps_batch(value, 1, f"layer {self.name!r}")
            return (None, *value.shape[1:])

        with _recording.tracing(graph):
            out = self.call(map_shapes(given, input_shape), training=False)
        shape: Shape = map_tree(found, out)
        return shape

    def output_dtypes(self) -> list[str]:
        """dtype of each result, where they are not `dtype`."""
        return []

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
            weight.trainable = self._trainable and self._learns(weight)

    def _learns(self, weight: Weight) -> bool:
        """Is the weight one for the optimizer, and not state that the layer keeps itself?"""
        return True

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
        with _building:  # the first calls of several threads
            if not self.built:
                self.build(input_shape)
                self._plan, self.input_shape = None, input_shape
                self.built = True

    def plan(self, input_shape: Shape) -> None:
        """Notes the weights that this shape asks for; a model then makes those of all its
        layers in one block. A layer with a `build` of its own is built at once.

        Raises ValueError when the layer has, or has noted, weights of other shapes.
        """
        if type(self).build is not Layer.build:
            self.ensure_built(input_shape)
            return
        specs = self.weight_specs(input_shape)
        if self._plan is None and not self.built:
            self._plan = (input_shape, specs)
            return
        have = self._weights if self._plan is None else self._plan[1]
        if [s.shape for s in specs] != [w.shape for w in have]:
            before = self.input_shape if self._plan is None else self._plan[0]
            raise ValueError(
                f"layer {self.name!r}: got inputs of shape {input_shape}, but it is in use for "
                f"{before}, which asks for other weights; use a layer of its own"
            )

    @property
    def input(self) -> Any:
        """What the layer was called on last, symbolically."""
        return self._call_of()[0]

    @property
    def output(self) -> Any:
        """What the layer gave for it: an output for another `Model`, say."""
        return self._call_of()[1]

    def _call_of(self) -> tuple[Any, Any]:
        if not self._calls:
            raise ValueError(f"layer {self.name!r} is not connected: it is in no built model")
        return self._calls[-1]

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_calls": [], "_plan": None}

    def __call__(self, x: Any, training: bool = False, **more: Any) -> Any:
        """`call` on a value of a graph, on symbolic tensors, or at once on an array (batch
        first); `more` are further arguments that this layer's `call` takes. Layers of
        several inputs take a list of any of these."""
        if type(x) is Symbol or (type(x) in (list, tuple, dict) and has_symbols(x)):
            return connect(self, x, more)
        if type(x) in (list, tuple, dict) and (
            self.takes_many
            or (self.input_shape is not None and not is_shape(self.input_shape))
            or any(isinstance(leaf, Value) for leaf in leaves(x))
        ):
            x = map_tree(self._converted, x)
        else:
            x = self._converted(x)
        if not self.built:
            self.ensure_built(map_tree(lambda leaf: (None, *leaf.shape[1:]), x))
        y = self.call(x, training=training, **more)
        if self.passes_mask and isinstance(x, Value) and isinstance(y, Value) and "mask" in x.tag:
            y.tag["mask"] = x.tag["mask"]
        return y

    def _converted(self, x: Any) -> Any:
        """x as a value or an array of this layer's dtype."""
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
        elif x.dtype.name != self.dtype:
            x = _core.apply("cast", (x,), {"dtype": 1 if self.dtype == "float64" else 0})
        return x

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


def allocate_planned(layers: Sequence[Layer]) -> None:
    """Makes the weights that the layers have noted, those of a dtype in one block."""
    for dtype in ("float32", "float64"):
        chosen = [
            (layer, layer._plan)
            for layer in layers
            if layer._plan is not None and not layer.built and layer.dtype == dtype
        ]
        weights = allocate([spec for _, plan in chosen for spec in plan[1]], dtype)
        at = 0
        for layer, plan in chosen:
            layer.place(weights[at : at + len(plan[1])])
            layer.built, layer._plan = True, None
            layer.input_shape = plan[0]
            at += len(plan[1])


def make_layer(item: Any) -> Layer:
    """The layer that a {"class_name", "config"} dict describes; only pyact's own.

    Raises ValueError for another class.
    """
    name = item["class_name"]
    if name not in KNOWN:
        raise unknown("layer class", name, KNOWN)
    return KNOWN[name].from_config(item["config"])


class InputLayer(Layer):
    """Says what one sample looks like; computes nothing."""

    def __init__(self, shape: Sequence[int], *, name: str | None = None, dtype: Any = None) -> None:
        super().__init__(name=name or _new_name("input_layer"), dtype=dtype, input_shape=shape)
        self.built = True
        self.input_shape = self.output_shape = (None, *(self._given_shape or ()))

    def symbol(self) -> Symbol:
        """The symbolic tensor that stands for the input."""
        call = Call(self, (), {})
        call.outputs.append(Symbol(call, self.output_shape or (), self.dtype, self.name))
        self._calls = [((), call.outputs[0])]
        return call.outputs[0]

    def call(self, x: Any, training: bool = False) -> Any:
        return x

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return input_shape

    def get_config(self) -> dict[str, Any]:
        shape = list(self._given_shape or ())
        return {"shape": shape, "name": self.name, "dtype": self.dtype}


def Input(shape: Sequence[int], *, name: str | None = None, dtype: Any = None) -> Symbol:  # noqa: N802
    """The input of a model, as a symbolic tensor: `shape` is that of one sample, without the
    batch.

    name: how data are named in dicts; made when not given. dtype: "float32" or "float64", of
    the computation; integer types mean `pyact.floatx()`, since data of any real type are
    converted as they are read.

    Raises TypeError or ValueError when shape is not a sequence of positive whole numbers.

    >>> Input((784,), name="pixels")
    <symbolic tensor 'pixels' (None, 784)>
    """
    if dtype is not None and np.dtype(dtype).kind in "iub":
        dtype = floatx()
    return InputLayer(shape, name=name, dtype=dtype).symbol()
