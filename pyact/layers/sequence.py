"""Around recurrent layers: Embedding, Masking, Bidirectional, TimeDistributed, and weights
in the order of other libraries.

A mask travels as a note on a value, from Masking or Embedding(mask_zero=True) to the
recurrent layers behind them, through recurrent layers that return sequences, Bidirectional,
TimeDistributed, Dense, Dropout, activations, normalizations and what joins several tensors
(`merging.py`). It is (batch, steps), 0 where a step does not count. What it leaves out of a
model's output counts neither in the loss nor in the metrics.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from .. import _core, initializers
from .._core import Value
from .._names import real, unknown, whole
from ..variables import WeightSpec
from .base import Layer, make_layer
from .recurrent import GRU, LSTM, Recurrent, mask_of, with_mask

if TYPE_CHECKING:
    from .base import Shape

__all__ = ["Bidirectional", "Embedding", "Masking", "TimeDistributed", "recurrent_weights"]


class Masking(Layer):
    """Steps all of whose features equal `mask_value` are left out by the recurrent layers
    that follow: x (batch, steps, features) itself passes on as it is.

    Raises ValueError for inputs of other than three axes.
    """

    def __init__(self, mask_value: float = 0.0, **keywords: Any) -> None:
        super().__init__(**keywords)
        self.mask_value = real("mask_value", mask_value)

    def call(self, x: Any, training: bool = False) -> Any:
        if len(x.shape) != 3:
            raise ValueError(
                f"layer {self.name!r}: got shape {tuple(x.shape)}, expected (batch, steps, "
                "features)"
            )
        if not isinstance(x, Value):
            return x
        apply = _core.apply
        away = apply("abs", (apply("subtract", (x, self.mask_value)),))
        same = apply("multiply", (x, 1.0))  # a value of its own, to carry the note
        return with_mask(same, apply("max", (away,), {"axis": (-1,)}))

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return input_shape

    def get_config(self) -> dict[str, Any]:
        return {"mask_value": self.mask_value, **super().get_config()}


class Embedding(Layer):
    """Row x of a table, for each whole number x: (batch, ...) gives (batch, ..., output_dim).

    input_dim: rows of the table; x is in [0, input_dim). mask_zero: steps with x = 0 are
    left out by the recurrent layers that follow.

    Raises ValueError for numbers that name no row; inside a program, where nothing may
    fail, they give NaN.

    >>> table = Embedding(4, 2, embeddings_initializer="ones")
    >>> table(np.array([[0, 3, 1]])).shape
    (1, 3, 2)
    """

    def __init__(
        self,
        input_dim: int,
        output_dim: int,
        embeddings_initializer: Any = "uniform",
        mask_zero: bool = False,
        **keywords: Any,
    ) -> None:
        super().__init__(**keywords)
        self.input_dim = whole("input_dim", input_dim, 1)
        self.output_dim = whole("output_dim", output_dim, 1)
        if self.dtype == "float32" and self.input_dim > 2**24:
            raise ValueError(
                f"input_dim: got {input_dim}, but float32 holds whole numbers up to {2**24} only; "
                'use dtype="float64"'
            )
        self.embeddings_initializer = initializers.get(embeddings_initializer)
        self.mask_zero = bool(mask_zero)

    def weight_specs(self, input_shape: Shape) -> list[WeightSpec]:
        shape = (self.input_dim, self.output_dim)
        return [WeightSpec("embeddings", shape, self.embeddings_initializer)]

    def check_input(self, x: Any) -> None:
        """Raises ValueError unless all of x are numbers of rows."""
        x = np.asarray(x)
        good = (x >= 0) & (x < self.input_dim)
        if x.dtype.kind == "f":
            good &= x == np.floor(x)
        if not good.all():
            at = tuple(map(int, np.argwhere(~good)[0]))
            raise ValueError(
                f"layer {self.name!r}: got {x[at]} at {at}, expected whole numbers from 0 to "
                f"{self.input_dim - 1}"
            )

    def call(self, x: Any, training: bool = False) -> Any:
        if not isinstance(x, Value):
            self.check_input(x)
        y = _core.apply("embedding", (self.embeddings, x))
        return with_mask(y, x) if self.mask_zero else y

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return (*input_shape, self.output_dim)

    def get_config(self) -> dict[str, Any]:
        return {
            "input_dim": self.input_dim,
            "output_dim": self.output_dim,
            "embeddings_initializer": initializers.serialize(self.embeddings_initializer),
            "mask_zero": self.mask_zero,
            **super().get_config(),
        }


class Wrapper(Layer):
    """A layer that runs other layers: their weights are its own."""

    def __init__(self, *inner: Layer, **keywords: Any) -> None:
        for layer in inner:
            if not isinstance(layer, Layer):
                raise TypeError(f"{type(self).__name__}: got {layer!r}, expected a layer")
        keywords.setdefault("dtype", inner[0].dtype)
        super().__init__(**keywords)
        self._inner = inner

    def _build_inner(self, layer: Layer, input_shape: Shape) -> None:
        layer.ensure_built(input_shape)
        for weight in layer.weights:
            weight.trainable = weight.trainable and self._trainable
        self._weights += layer.weights

    @property
    def trainable(self) -> bool:
        """May the optimizer change the weights?"""
        return self._trainable

    @trainable.setter
    def trainable(self, value: bool) -> None:
        self._trainable = bool(value)
        for layer in self._inner:
            layer.trainable = value


def _inner_config(layer: Layer) -> dict[str, Any]:
    return {"class_name": type(layer).__name__, "config": layer.get_config()}


def _inner_from(config: dict[str, Any]) -> Layer:
    """A layer of this package from `_inner_config`'s dict; a closed list of names."""
    return make_layer(config)


class Bidirectional(Wrapper):
    """A recurrent layer and its mirror image, which walks from the last step to the first.

    merge_mode: what is made of the two results: "concat", "sum", "mul", "ave", or None for
    both, as a tuple. The mirror image has weights of its own; backward_layer: a layer to take
    its place, which walks the other way. With return_state the result is followed by the
    last states of both layers. Steps that a mask leaves out give 0 with return_sequences.

    Raises TypeError unless the layers are SimpleRNN, LSTM or GRU; ValueError for an unknown
    merge_mode, a stateful layer, or two layers that do not fit together.

    Source: Schuster and Paliwal, IEEE Trans. Signal Processing 45, 1997.

    >>> Bidirectional(LSTM(3, return_sequences=True))(np.ones((2, 5, 4))).shape
    (2, 5, 6)
    """

    _MODES = ("concat", "sum", "mul", "ave", None)

    def __init__(
        self,
        layer: Recurrent,
        merge_mode: str | None = "concat",
        backward_layer: Recurrent | None = None,
        **kw: Any,
    ) -> None:
        if not isinstance(layer, Recurrent):
            raise TypeError(f"Bidirectional: got {layer!r}, expected SimpleRNN, LSTM or GRU")
        if merge_mode not in self._MODES:
            raise ValueError(f"merge_mode: got {merge_mode!r}, expected one of {self._MODES}")
        self._own_backward = backward_layer is not None
        mirror: Any = backward_layer
        if mirror is None:
            config = {**layer.get_config(), "go_backwards": not layer.go_backwards}
            config["name"] = f"{layer.name}_backward"
            mirror = type(layer).from_config(config)
        elif not isinstance(mirror, Recurrent):
            raise TypeError(f"backward_layer: got {mirror!r}, expected SimpleRNN, LSTM or GRU")
        if layer.stateful or mirror.stateful:
            raise ValueError("Bidirectional: stateful must be False")
        if layer.go_backwards == mirror.go_backwards:
            raise ValueError("backward_layer: go_backwards must differ from the layer's")
        for name in ("return_sequences", "return_state"):
            if getattr(layer, name) != getattr(mirror, name):
                raise ValueError(f"backward_layer: {name} must be the layer's")
        self.forward_layer: Recurrent = layer
        self.backward_layer: Recurrent = mirror
        for one in self._both:
            one.zero_output_for_mask = one.return_sequences
        super().__init__(self.forward_layer, self.backward_layer, **kw)
        self.merge_mode = merge_mode

    def build(self, input_shape: Shape) -> None:
        self._build_inner(self.forward_layer, input_shape)
        self._build_inner(self.backward_layer, input_shape)

    def call(
        self, x: Any, training: bool = False, mask: Any = None, initial_state: Any = None
    ) -> Any:
        """mask and initial_state as the layers'; initial_state: the forward layer's states,
        then the backward layer's."""
        apply = _core.apply
        mask = mask_of(x) if mask is None else mask
        first: list[Any] = [None, None]
        if initial_state is not None:
            k, wanted = self.forward_layer.states, sum(one.states for one in self._both)
            if not isinstance(initial_state, (list, tuple)) or len(initial_state) != wanted:
                raise ValueError(
                    f"layer {self.name!r}: initial_state: expected a list of {wanted} arrays"
                )
            first = [list(initial_state[:k]), list(initial_state[k:])]
        both, last = [], []
        for layer, states in zip(self._both, first, strict=True):
            result = layer.call(x, training, mask, states)
            if layer.return_state:
                result, *more = result
                last += more
            both.append(result)
        if self.forward_layer.return_sequences:  # both in the order of x
            for k, layer in enumerate((self.forward_layer, self.backward_layer)):
                if layer.go_backwards:
                    turn = {"begin": (0, -1, 0), "size": (-1, -1, -1), "step": (1, -1, 1)}
                    both[k] = apply("slice", (both[k],), turn)
        if self.merge_mode is None:
            return (*both, *last)
        if self.merge_mode == "concat":
            y = apply("concatenate", tuple(both), {"axis": -1})
        else:
            y = apply("multiply" if self.merge_mode == "mul" else "add", tuple(both))
        if self.merge_mode == "ave":
            y = apply("multiply", (y, 0.5))
        y = with_mask(y, mask) if self.forward_layer.return_sequences else y
        return (y, *last) if last else y

    @property
    def _both(self) -> tuple[Recurrent, Recurrent]:
        return self.forward_layer, self.backward_layer

    def compute_output_shape(self, input_shape: Shape) -> Any:
        shapes, last = [], []
        for layer in self._both:
            shape = layer.compute_output_shape(input_shape)
            if layer.return_state:
                shape, *more = shape
                last += more
            shapes.append(shape)
        if self.merge_mode is None:
            return (*shapes, *last)
        units = sum(s[-1] for s in shapes) if self.merge_mode == "concat" else shapes[0][-1]
        merged = (*shapes[0][:-1], units)
        return (merged, *last) if last else merged

    def get_config(self) -> dict[str, Any]:
        inner = _inner_config(self.forward_layer)
        mirror = _inner_config(self.backward_layer) if self._own_backward else None
        more = {"merge_mode": self.merge_mode, "backward_layer": mirror}
        return {"layer": inner, **more, **super().get_config()}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Bidirectional:
        inner: dict[str, Any] = {
            name: _inner_from(config[name])
            for name in ("layer", "backward_layer")
            if config.get(name) is not None
        }
        return cls(**{**config, **inner})


class TimeDistributed(Wrapper):
    """The layer applied to each step: (batch, steps, ...) as (batch steps, ...).

    >>> from pyact.layers import Dense
    >>> TimeDistributed(Dense(3))(np.ones((2, 5, 4))).shape
    (2, 5, 3)
    """

    def __init__(self, layer: Layer, **keywords: Any) -> None:
        super().__init__(layer, **keywords)
        self.layer = layer

    def build(self, input_shape: Shape) -> None:
        if len(input_shape) < 3:
            raise ValueError(
                f"layer {self.name!r}: got inputs of shape {input_shape}, expected (batch, steps, "
                "...)"
            )
        self._build_inner(self.layer, (None, *input_shape[2:]))

    def call(self, x: Any, training: bool = False) -> Any:
        batch, steps, *rest = x.shape
        flat = _core.apply("reshape", (x,), {"shape": (batch * steps, *rest)})
        y = self.layer.call(flat, training=training)
        y = _core.apply("reshape", (y,), {"shape": (batch, steps, *y.shape[1:])})
        return with_mask(y, mask_of(x))

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        self.ensure_built(input_shape)
        inner = self.layer.compute_output_shape((None, *input_shape[2:]))
        return (*input_shape[:2], *inner[1:])

    def get_config(self) -> dict[str, Any]:
        return {"layer": _inner_config(self.layer), **super().get_config()}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> TimeDistributed:
        return cls(**{**config, "layer": _inner_from(config["layer"])})


# ---- weights of other libraries ---------------------------------------------------------------

# Where gate k of Keras's order stands in the other library's.
_ORDERS = {
    ("LSTM", "torch"): (0, 1, 2, 3),  # i f g o
    ("LSTM", "onnx"): (0, 2, 3, 1),  # i o f c
    ("GRU", "torch"): (1, 0, 2),  # r z n
    ("GRU", "onnx"): (0, 1, 2),  # z r h
    ("SimpleRNN", "torch"): (0,),
    ("SimpleRNN", "onnx"): (0,),
}


def recurrent_weights(layer: Recurrent, source: str, *arrays: Any) -> list[Any]:
    """The list for `layer.set_weights` from weights in another library's order.

    source "torch": weight_ih (gates units, features), weight_hh (gates units, units),
    bias_ih and bias_hh (gates units,). source "onnx": one direction of W (gates units,
    features), R (gates units, units) and, where there is one, B (2 gates units,); a GRU
    with linear_before_reset=0 needs a layer with reset_after=False. The layer's
    use_bias says whether biases are wanted.

    Raises ValueError for another source, number of arrays, or shape.

    >>> layer = LSTM(2)
    >>> layer.ensure_built((None, None, 3))
    >>> theirs = np.ones((8, 3)), np.ones((8, 2)), np.ones(8), np.ones(8)
    >>> w = recurrent_weights(layer, "torch", *theirs)
    >>> [a.shape for a in w]
    [(3, 8), (2, 8), (8,)]
    """
    if source not in ("torch", "onnx"):
        raise unknown("source", source, ["torch", "onnx"])
    if source == "torch" and isinstance(layer, GRU) and not layer.reset_after:
        raise ValueError(
            f"recurrent_weights: layer {layer.name!r} has reset_after=False, PyTorch's GRU has not"
        )
    kind = next(c.__name__ for c in (GRU, LSTM, Recurrent) if isinstance(layer, c))
    order = _ORDERS["SimpleRNN" if kind == "Recurrent" else kind, source]
    given = [np.asarray(a) for a in arrays]
    if layer.use_bias and source == "onnx" and len(given) == 3:
        given[2:] = np.split(given[2], 2)
    wanted = 4 if layer.use_bias else 2
    if len(given) != wanted:
        raise ValueError(
            f"recurrent_weights: got {len(arrays)} arrays, expected "
            f"{wanted if source == 'torch' or wanted == 2 else 3} for layer {layer.name!r}"
        )
    rows = layer.gates * layer.units
    for k, a in enumerate(given):
        if a.shape[:1] != (rows,) or a.ndim != (2 if k < 2 else 1):
            raise ValueError(
                f"recurrent_weights: array {k}: got shape {a.shape}, expected {rows} rows and "
                f"{2 if k < 2 else 1} axes"
            )

    def ours(a: Any) -> Any:
        parts = np.split(a, layer.gates)
        return np.concatenate([parts[k] for k in order]).T

    found = [ours(a) for a in given]
    if not layer.use_bias:
        return found
    apart = isinstance(layer, GRU) and layer.reset_after
    bias = np.stack(found[2:]) if apart else found[2] + found[3]
    return [*found[:2], bias]
