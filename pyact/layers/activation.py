"""Activation functions as layers, and the `activation` argument of other layers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from .. import _core, activations, initializers
from .._core import Value
from .._names import real, whole
from ..variables import WeightSpec
from .base import Layer

if TYPE_CHECKING:
    from .base import Shape

MAP_OPS = {name for name in _core.op_names() if _core.op_info(name)["kind"] == "map"}


def operator_of(activation: Any) -> str | None:
    """The operator behind one of pyact's own activations, or None."""
    name = getattr(activation, "__name__", "")
    known = getattr(activations, name, None)
    return name if known is activation and name in (*MAP_OPS, "softmax", "log_softmax") else None


def activate(x: Any, activation: Any) -> Any:
    """activation(x), noting the logits of a softmax or sigmoid for the losses."""
    if activation is activations.linear:
        return x
    op = operator_of(activation)
    if op is None:
        return activation(x)
    y = _core.apply(op, (x,))
    if isinstance(y, Value) and op in ("softmax", "sigmoid"):
        y.tag.update(activation=op, logits=x)
    return y


class Activating(Layer):
    """A layer with an `activation` argument."""

    def __init__(self, activation: Any = None, **keywords: Any) -> None:
        super().__init__(**keywords)
        if isinstance(activation, Layer):
            self.activation: Any = activation
        else:
            self.activation = activations.get(activation)

    def get_config(self) -> dict[str, Any]:
        return {"activation": activations.serialize(self.activation), **super().get_config()}


class Activation(Activating):
    """activation(x), by name ("gelu"), as a function of `pyact`, or as any function that
    is written with `pyact.ops`.

    >>> Activation("relu")(np.array([[-1.0, 2.0]])).tolist()
    [[0.0, 2.0]]
    """

    passes_mask = True

    def __init__(self, activation: Any, **keywords: Any) -> None:
        super().__init__(activation, **keywords)

    def call(self, x: Any, training: bool = False) -> Any:
        return activate(x, self.activation)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return input_shape


class _Named(Layer):
    """A layer that is one element-wise operator; its attributes are arguments."""

    passes_mask = True

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

    passes_mask = True

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

    passes_mask = True

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
