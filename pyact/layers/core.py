"""Dense, Dropout, Flatten, Reshape."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .. import _core, initializers
from .._names import real, whole
from ..variables import WeightSpec
from .activation import MAP_OPS, Activating, activate, operator_of
from .base import Layer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .base import Shape


class Dense(Activating):
    """activation(x kernel + bias).

    units: features of the result. activation: a name, a function, or None. x (batch, ...,
    in) gives (batch, ..., units); kernel (in, units), bias (units,).

    Raises ValueError or TypeError for arguments that cannot be, when it is made or, for
    the shape of x, when it is first used.

    >>> Dense(3, kernel_initializer="ones")(np.ones((1, 2))).tolist()
    [[2.0, 2.0, 2.0]]
    """

    passes_mask = True

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
        fused = operator_of(self.activation)
        if fused in MAP_OPS and fused != "sigmoid":  # a sigmoid's logits are wanted by losses
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

    passes_mask = True

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
