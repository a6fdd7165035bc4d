"""Layers under Keras's names: each turns a value into a value by a few operators.

A layer of your own subclasses `Layer`, makes its weights in `build` and says in `call`,
with `pyact.ops` or Python's arithmetic, what it computes. `call` is traced once for each
batch size and runs in C from then on:

    class Scale(Layer):
        def build(self, input_shape):
            self.scale = self.add_weight("scale", input_shape[-1:], "ones")

        def call(self, x, training=False):
            return x * self.scale

Shapes are tuples whose first entry, the batch, is None where it is not known. Weights
have Keras's shapes: a Dense kernel is (in, out).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from . import _core, activations, initializers
from ._core import Value
from ._names import real, snake, whole
from .config import float_name
from .variables import Weight, WeightSpec, allocate

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Shape = tuple[int | None, ...]

__all__ = [
    "ELU",
    "GELU",
    "SELU",
    "Activation",
    "Dense",
    "Dropout",
    "Flatten",
    "HardSigmoid",
    "Input",
    "InputLayer",
    "Layer",
    "LeakyReLU",
    "LogSoftmax",
    "Mish",
    "PReLU",
    "ReLU",
    "Reshape",
    "SiLU",
    "Sigmoid",
    "Softmax",
    "Softplus",
    "Softsign",
    "Swish",
    "Tanh",
]

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

    def __call__(self, x: Any, training: bool = False) -> Any:
        """`call` on a value of a graph, or at once on an array (batch first)."""
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
        return self.call(x, training=training)

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


# ---- inputs -------------------------------------------------------------------------------


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


# ---- activations --------------------------------------------------------------------------

_MAP_OPS = {name for name in _core.op_names() if _core.op_info(name)["kind"] == "map"}


def _operator(activation: Any) -> str | None:
    """The operator behind one of pyact's own activations, or None."""
    name = getattr(activation, "__name__", "")
    known = getattr(activations, name, None)
    return name if known is activation and name in (*_MAP_OPS, "softmax", "log_softmax") else None


def activate(x: Any, activation: Any) -> Any:
    """activation(x), noting the logits of a softmax or sigmoid for the losses."""
    if activation is activations.linear:
        return x
    op = _operator(activation)
    if op is None:
        return activation(x)
    y = _core.apply(op, (x,))
    if isinstance(y, Value) and op in ("softmax", "sigmoid"):
        y.tag.update(activation=op, logits=x)
    return y


class _Activating(Layer):
    """A layer with an `activation` argument."""

    def __init__(self, activation: Any = None, **keywords: Any) -> None:
        super().__init__(**keywords)
        if isinstance(activation, Layer):
            self.activation: Any = activation
        else:
            self.activation = activations.get(activation)

    def get_config(self) -> dict[str, Any]:
        return {"activation": activations.serialize(self.activation), **super().get_config()}


class Activation(_Activating):
    """activation(x), by name ("gelu"), as a function of `pyact`, or as any function that
    is written with `pyact.ops`.

    >>> Activation("relu")(np.array([[-1.0, 2.0]])).tolist()
    [[0.0, 2.0]]
    """

    def __init__(self, activation: Any, **keywords: Any) -> None:
        super().__init__(activation, **keywords)

    def call(self, x: Any, training: bool = False) -> Any:
        return activate(x, self.activation)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return input_shape


class _Named(Layer):
    """A layer that is one element-wise operator; its attributes are arguments."""

    op: ClassVar[str]
    fields: ClassVar[tuple[str, ...]] = ()

    def call(self, x: Any, training: bool = False) -> Any:
        y = _core.apply(self.op, (x,), {name: getattr(self, name) for name in self.fields})
        if isinstance(y, Value) and self.op in ("softmax", "sigmoid"):
            y.tag.update(activation=self.op, logits=x)
        return y

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return input_shape

    def get_config(self) -> dict[str, Any]:
        return {**{name: getattr(self, name) for name in self.fields}, **super().get_config()}


class ReLU(_Named):
    """max(x, 0).

    >>> ReLU()(np.array([[-1.0, 2.0]])).tolist()
    [[0.0, 2.0]]
    """

    op = "relu"


class LeakyReLU(_Named):
    """x for x > 0, alpha x elsewhere; alpha is .01, as in its paper (Keras: .3).

    Source: Maas, Hannun and Ng, ICML 2013.

    >>> LeakyReLU(0.5)(np.array([[-1.0, 2.0]])).tolist()
    [[-0.5, 2.0]]
    """

    op = "leaky_relu"
    fields = ("alpha",)

    def __init__(self, alpha: float = 0.01, **keywords: Any) -> None:
        super().__init__(**keywords)
        self.alpha = real("alpha", alpha)


class PReLU(Layer):
    """x for x > 0, alpha x elsewhere, with one learned alpha for each feature.

    Source: He, Zhang, Ren and Sun, ICCV 2015.

    >>> PReLU()(np.array([[-1.0, 2.0]])).tolist()
    [[0.0, 2.0]]
    """

    def __init__(self, alpha_initializer: Any = "zeros", **keywords: Any) -> None:
        super().__init__(**keywords)
        self.alpha_initializer = initializers.get(alpha_initializer)

    def weight_specs(self, input_shape: Shape) -> list[WeightSpec]:
        shape = [whole(f"layer {self.name!r}: dimension", n, 1) for n in input_shape[1:]]
        return [WeightSpec("alpha", shape, self.alpha_initializer)]

    def call(self, x: Any, training: bool = False) -> Any:
        apply = _core.apply
        below = apply("multiply", (apply("minimum", (x, 0.0)), self.alpha))
        return apply("add", (apply("relu", (x,)), below))

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return input_shape

    def get_config(self) -> dict[str, Any]:
        initializer = initializers.serialize(self.alpha_initializer)
        return {"alpha_initializer": initializer, **super().get_config()}


class ELU(_Named):
    """x for x > 0, alpha (e^x - 1) elsewhere.

    Source: Clevert, Unterthiner and Hochreiter, ICLR 2016.

    >>> print(ELU()(np.array([[-1.0]])).round(4))
    [[-0.6321]]
    """

    op = "elu"
    fields = ("alpha",)

    def __init__(self, alpha: float = 1.0, **keywords: Any) -> None:
        super().__init__(**keywords)
        self.alpha = real("alpha", alpha)


class SiLU(_Named):
    """x sigmoid(beta x), also called Swish.

    Source: Ramachandran, Zoph and Le, arXiv:1710.05941.

    >>> SiLU()(np.array([[0.0, 100.0]])).tolist()
    [[0.0, 100.0]]
    """

    op = "silu"
    fields = ("beta",)

    def __init__(self, beta: float = 1.0, **keywords: Any) -> None:
        super().__init__(**keywords)
        self.beta = real("beta", beta)


Swish = SiLU


class SELU(_Named):
    """The self-normalizing ELU. Source: Klambauer et al., NIPS 2017."""

    op = "selu"


class Sigmoid(_Named):
    """1 / (1 + e^-x)."""

    op = "sigmoid"


class HardSigmoid(_Named):
    """x/6 + 1/2, cut to [0, 1]."""

    op = "hard_sigmoid"


class Tanh(_Named):
    """tanh x."""

    op = "tanh"


class GELU(Layer):
    """x Phi(x), Phi being the normal distribution function; exact unless `approximate`.

    Source: Hendrycks and Gimpel, arXiv:1606.08415.

    >>> print(GELU()(np.array([[1.0]])).round(6))
    [[0.841345]]
    """

    def __init__(self, approximate: bool = False, **keywords: Any) -> None:
        super().__init__(**keywords)
        self.approximate = bool(approximate)

    def call(self, x: Any, training: bool = False) -> Any:
        return _core.apply("gelu_tanh" if self.approximate else "gelu", (x,))

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return input_shape

    def get_config(self) -> dict[str, Any]:
        return {"approximate": self.approximate, **super().get_config()}


class Softplus(_Named):
    """log(1 + e^x)."""

    op = "softplus"


class Softsign(_Named):
    """x / (1 + |x|)."""

    op = "softsign"


class Mish(_Named):
    """x tanh(softplus(x)). Source: Misra, BMVC 2020."""

    op = "mish"


class Softmax(_Named):
    """e^(x_i) / sum_j e^(x_j) along `axis`.

    >>> Softmax()(np.array([[0.0, 0.0]])).tolist()
    [[0.5, 0.5]]
    """

    op = "softmax"
    fields = ("axis",)

    def __init__(self, axis: int = -1, **keywords: Any) -> None:
        super().__init__(**keywords)
        self.axis = whole("axis", axis)


class LogSoftmax(Softmax):
    """x_i - log sum_j e^(x_j) along `axis`."""

    op = "log_softmax"


# ---- core layers ----------------------------------------------------------------------------


class Dense(_Activating):
    """activation(x kernel + bias).

    units: features of the result. activation: a name, a function, or None. x (batch, ...,
    in) gives (batch, ..., units); kernel (in, units), bias (units,).

    Raises ValueError or TypeError for arguments that cannot be, when it is made or, for
    the shape of x, when it is first used.

    >>> Dense(3, kernel_initializer="ones")(np.ones((1, 2))).tolist()
    [[2.0, 2.0, 2.0]]
    """

    def __init__(
        self,
        units: int,
        activation: Any = None,
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        **keywords: Any,
    ) -> None:
        super().__init__(activation, **keywords)
        self.units = whole("units", units, 1)
        self.use_bias = bool(use_bias)
        self.kernel_initializer = initializers.get(kernel_initializer)
        self.bias_initializer = initializers.get(bias_initializer)

    def weight_specs(self, input_shape: Shape) -> list[WeightSpec]:
        if len(input_shape) < 2 or input_shape[-1] is None:
            raise ValueError(
                f"layer {self.name!r}: got inputs of shape {input_shape}, expected at least two "
                "axes, (batch, features), with a known number of features"
            )
        kernel = WeightSpec("kernel", (input_shape[-1], self.units), self.kernel_initializer)
        bias = WeightSpec("bias", (self.units,), self.bias_initializer)
        return [kernel, bias] if self.use_bias else [kernel]

    def call(self, x: Any, training: bool = False) -> Any:
        operands = (x, *self._weights)
        fused = _operator(self.activation)
        if fused in _MAP_OPS and fused != "sigmoid":  # a sigmoid's logits are wanted by losses
            return _core.apply("dense", operands, {"activation": fused})
        return activate(_core.apply("dense", operands), self.activation)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return (*input_shape[:-1], self.units)

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        return {
            "units": self.units,
            "activation": config.pop("activation"),
            "use_bias": self.use_bias,
            "kernel_initializer": initializers.serialize(self.kernel_initializer),
            "bias_initializer": initializers.serialize(self.bias_initializer),
            **config,
        }


class Dropout(Layer):
    """In training each element is 0 with probability `rate` and else divided by 1 - rate;
    elsewhere x as it is.

    Raises ValueError unless 0 <= rate < 1.

    Source: Srivastava et al., JMLR 15, 2014.

    >>> Dropout(0.5)(np.ones((1, 3))).tolist()
    [[1.0, 1.0, 1.0]]
    """

    def __init__(self, rate: float, **keywords: Any) -> None:
        super().__init__(**keywords)
        self.rate = real("rate", rate, 0, below=1)

    def call(self, x: Any, training: bool = False) -> Any:
        if not training or self.rate == 0:
            return x
        return _core.apply("dropout", (x,), {"rate": self.rate})

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return input_shape

    def get_config(self) -> dict[str, Any]:
        return {"rate": self.rate, **super().get_config()}


class Flatten(Layer):
    """(batch, ...) to (batch, features).

    >>> Flatten()(np.zeros((2, 3, 4))).shape
    (2, 12)
    """

    def call(self, x: Any, training: bool = False) -> Any:
        size = 1
        for n in x.shape[1:]:
            size *= n
        return _core.apply("reshape", (x,), {"shape": (x.shape[0], size)})

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        size = 1
        for n in input_shape[1:]:
            if n is None:
                return (input_shape[0], None)
            size *= n
        return (input_shape[0], size)


class Reshape(Layer):
    """(batch, ...) to (batch, *target_shape); one entry may be -1.

    Raises ValueError when the sizes do not agree.

    >>> Reshape((2, -1))(np.zeros((5, 6))).shape
    (5, 2, 3)
    """

    def __init__(self, target_shape: Sequence[int], **keywords: Any) -> None:
        super().__init__(**keywords)
        self.target_shape = tuple(whole("target_shape", n, -1) for n in target_shape)
        if self.target_shape.count(-1) > 1 or 0 in self.target_shape:
            raise ValueError(
                f"target_shape: got {self.target_shape}, expected sizes of at least 1 and at "
                "most one -1"
            )

    def call(self, x: Any, training: bool = False) -> Any:
        shape = self.compute_output_shape((None, *x.shape[1:]))
        return _core.apply("reshape", (x,), {"shape": (x.shape[0], *shape[1:])})

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        have, known = 1, 1
        for n in input_shape[1:]:
            have *= n or 1
        for n in self.target_shape:
            known *= n if n > 0 else 1
        if have % known or (-1 not in self.target_shape and have != known):
            raise ValueError(
                f"layer {self.name!r}: cannot reshape {have} elements of a sample, shape "
                f"{input_shape[1:]}, into {self.target_shape}"
            )
        return (input_shape[0], *(n if n > 0 else have // known for n in self.target_shape))

    def get_config(self) -> dict[str, Any]:
        return {"target_shape": list(self.target_shape), **super().get_config()}
