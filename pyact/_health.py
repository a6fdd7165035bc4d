"""What `callbacks.NeuronHealth` has counted inside the step: which results of a layer are
saturated, in the terms of its activation's own bounds."""

from __future__ import annotations

from math import inf, log1p, prod, sqrt
from typing import TYPE_CHECKING, Any

from . import ops
from .layers.activation import Activating, operator_of

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["FLAT", "Bounds", "bounds_of", "emit"]

FLAT = 0.05  # saturated: a slope of at most this share of the activation's largest
_SELU = 1.0507009873554805 * 1.6732632423543772

Bounds = dict[str, Any]

# y at which the slope has fallen to FLAT of its largest; relu's is 0 up to 0
_BOUNDS: dict[str, Bounds] = {
    "relu": {"low": 0.0},
    "hard_sigmoid": {"low": 0.0, "high": 1.0},
    "sigmoid": {"low": (1 - sqrt(1 - FLAT)) / 2, "high": (1 + sqrt(1 - FLAT)) / 2},
    "tanh": {"low": -sqrt(1 - FLAT), "high": sqrt(1 - FLAT)},
    "softsign": {"low": sqrt(FLAT) - 1, "high": 1 - sqrt(FLAT)},
    "elu": {"low": FLAT - 1},
    "selu": {"low": (FLAT - 1) * _SELU},
    "softplus": {"low": -log1p(-FLAT)},
}
# these rise again on the left, towards -0: where they have all but arrived
for _name in ("silu", "gelu", "gelu_tanh", "mish"):
    _BOUNDS[_name] = {"low": -1e-3, "high": 0.0, "between": True}
_NEVER: Bounds = {"low": -inf}  # leaky_relu


def bounds_of(layer: Any) -> Bounds | None:
    """Attributes of `metric_saturated` for the layer's results; None when it has no
    activation, or one that is not element-wise and pyact's own."""
    name = operator_of(layer.activation) if isinstance(layer, Activating) else None
    name = getattr(layer, "op", None) if name is None else name
    if name == "leaky_relu":
        return _NEVER
    found = _BOUNDS.get(name or "")
    alpha = getattr(layer, "alpha", 1.0)
    if name == "elu" and alpha != 1.0:
        return {"low": (FLAT - 1) * alpha} if alpha > 0 else _NEVER
    return found


def emit(seen: Iterable[tuple[Any, list[Any]]]) -> list[tuple[str, int, Any]]:
    """For each activation among (layer, its results): the layer's name, how many values of
    a unit a sample has, and the value that counts the saturated ones of each unit."""
    found: dict[str, tuple[str, int, Any]] = {}
    for layer, values in seen:
        bounds = bounds_of(layer)
        if bounds is None or layer.name in found or len(values[0].shape) < 2:
            continue
        y = values[0]
        if getattr(layer, "data_format", "") == "channels_first":
            y = ops.transpose(y, perm=(0, *range(2, len(y.shape)), 1))
        counts = ops.metric_saturated(y, **bounds)
        found[layer.name] = (layer.name, prod(y.shape[1:-1]), counts)
    return list(found.values())
