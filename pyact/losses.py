"""Losses under Keras's names: classes for `compile`, functions for losses of your own.

A class turns (y_true, y_pred, sample_weight) into one number: the sum of weight times
loss over the rows, divided by the number of rows. Inside `fit` it is one fused operator;
called on arrays it runs the same operator. The function forms return the loss of every
row and are written with `pyact.ops`, so they work on arrays and inside a traced loss:

    def robust(y_true, y_pred):
        return mean_squared_error(y_true, y_pred) + 0.1 * mean_absolute_error(y_true, y_pred)

    model.compile("adam", loss=robust)

Shapes: y_pred (n, ...); y_true the same, or (n,) with y_pred (n, 1); for the sparse loss
integer class labels of shape y_pred.shape[:-1] (or that with a last axis of 1).
sample_weight: (n,) or (n, 1).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from . import ops
from ._core import Value
from ._names import real, resolve, snake, unknown
from .config import epsilon, float_name

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

__all__ = [
    "BinaryCrossentropy",
    "CategoricalCrossentropy",
    "Huber",
    "Loss",
    "MeanAbsoluteError",
    "MeanSquaredError",
    "SparseCategoricalCrossentropy",
    "binary_crossentropy",
    "categorical_crossentropy",
    "deserialize",
    "get",
    "huber",
    "logits_of",
    "mean_absolute_error",
    "mean_squared_error",
    "serialize",
    "sparse_categorical_crossentropy",
]

_REDUCTIONS = ("none", "sum", "sum_over_batch_size")


# ---- arrays and graph values ---------------------------------------------------------


def is_symbolic(*values: object) -> bool:
    """Is any of the values part of a graph (rather than an array)?"""
    return any(isinstance(v, Value) for v in values)


def logits_of(value: Any, activation: str) -> Any:
    """The value from which `value` was made by `activation`, or None.

    A layer whose last step is softmax (over the last axis) or sigmoid notes it as
    value.tag = {"activation": "softmax", "logits": the value before it}.
    """
    tag = getattr(value, "tag", None)
    if isinstance(tag, dict) and tag.get("activation") == activation:
        return tag.get("logits")
    return None


def float_array(value: Any, what: str, dtype: Any = None) -> NDArray[Any]:
    """`value` as a float32 or float64 array: its own type, `dtype`, or `floatx()`."""
    array = np.asarray(value)
    if array.dtype.kind not in "fiub":
        raise TypeError(f"{what} must hold real numbers, got dtype {array.dtype}")
    if dtype is None and array.dtype.kind == "f" and array.dtype.itemsize in (4, 8):
        dtype = array.dtype.newbyteorder("=")
    return np.ascontiguousarray(array, dtype or float_name(None)).reshape(array.shape)


def like_prediction(y_true: NDArray[Any], shape: tuple[int, ...], who: str) -> NDArray[Any]:
    """y_true with the prediction's shape: only an axis of length 1 may come or go.

    Raises ValueError otherwise; targets are never broadcast.

    >>> like_prediction(np.zeros(3), (3, 1), "loss").shape
    (3, 1)
    """
    if y_true.shape == shape:
        return y_true
    if (*y_true.shape, 1) == shape or y_true.shape == (*shape, 1):
        return y_true.reshape(shape)
    raise ValueError(
        f"{who}: y_true has shape {y_true.shape}, y_pred has shape {shape}; "
        "expected equal shapes (targets are never broadcast)"
    )


def class_labels(y_true: Any, shape: tuple[int, ...], who: str) -> NDArray[np.int32]:
    """Class labels of shape shape[:-1], checked to be whole and in [0, shape[-1])."""
    labels = np.asarray(y_true)
    if labels.dtype.kind not in "fiub":
        raise TypeError(f"{who}: class labels must be integers, got dtype {labels.dtype}")
    if labels.shape == (*shape[:-1], 1):
        labels = labels.reshape(shape[:-1])
    if labels.shape != shape[:-1]:
        hint = " (one-hot targets need CategoricalCrossentropy)" if labels.shape == shape else ""
        raise ValueError(
            f"{who}: y_true has shape {labels.shape}, expected class labels of shape "
            f"{shape[:-1]} for y_pred of shape {shape}{hint}"
        )
    wrong = ~((labels >= 0) & (labels < shape[-1]))
    if labels.dtype.kind == "f":
        wrong |= labels != np.floor(labels)
    if wrong.any():
        at = np.unravel_index(int(np.argmax(wrong)), labels.shape)
        raise ValueError(
            f"{who}: class label {labels[at]} at index {tuple(int(i) for i in at)}; "
            f"expected whole numbers from 0 to {shape[-1] - 1}"
        )
    return np.ascontiguousarray(labels, np.int32)


def row_weights(weight: Any, n: int, dtype: Any, who: str) -> NDArray[Any] | None:
    """Sample weights as (n,) of `dtype`; None stays None."""
    if weight is None:
        return None
    array = float_array(weight, f"{who}: sample_weight", dtype)
    if array.shape == (n, 1):
        array = array.reshape(n)
    if array.shape != (n,):
        raise ValueError(f"{who}: sample_weight has shape {array.shape}, expected ({n},)")
    return array


def _eager(
    y_true: Any, y_pred: Any, weight: Any, target: str, who: str
) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any] | None]:
    pred = float_array(y_pred, f"{who}: y_pred")
    if pred.ndim == 0:
        raise ValueError(f"{who}: y_pred must have a batch axis, got a single number")
    if target == "index":
        if pred.ndim < 2:
            raise ValueError(f"{who}: y_pred must be (n, classes), got shape {pred.shape}")
        true: NDArray[Any] = class_labels(y_true, pred.shape, who)
    else:
        true = float_array(y_true, f"{who}: y_true", pred.dtype)
        true = like_prediction(true, pred.shape, who)
    return true, pred, row_weights(weight, pred.shape[0], pred.dtype, who)


def _pair(y_true: Any, y_pred: Any, who: str) -> tuple[Any, Any]:
    """Arrays are checked and converted; values of a graph have been already."""
    if is_symbolic(y_true, y_pred):
        if not is_symbolic(y_true):
            y_true = float_array(y_true, f"{who}: y_true", y_pred.dtype)
            y_true = like_prediction(y_true, tuple(y_pred.shape), who)
        return y_true, y_pred
    true, pred, _ = _eager(y_true, y_pred, None, "same", who)
    return true, pred


def target_of(function: object) -> str:
    """What a plain function takes as y_true, by its attribute `target`."""
    target = getattr(function, "target", "same")
    if target not in ("same", "index"):
        raise unknown("target", target, ("same", "index"))
    return str(target)


def per_weight(values: Any, weight: Any, who: str) -> Any:
    """The mean over all axes that the weights do not have: one number for each of them, for
    each row without weights."""
    rank, axes = len(values.shape), 1 if weight is None else len(weight.shape)
    if rank < axes:
        raise ValueError(
            f"{who} returned numbers of shape {tuple(values.shape)}, so the mask of steps on the "
            f"predictions cannot be applied; return one number a step, {tuple(weight.shape)}"
        )
    return ops.mean(values, axis=tuple(range(axes, rank))) if rank > axes else values


def weighted_mean(values: Any, weight: Any, who: str) -> Any:
    """sum(weight * values) / n of one value a weight; a scalar passes as it is."""
    if len(values.shape) == 0:
        if weight is not None:
            raise ValueError(
                f"{who} returned one number for the whole batch, so sample weights cannot "
                "be applied; return the loss of every row, shape (n,)"
            )
        return values
    rows = per_weight(values, weight, who)
    return ops.mean(rows if weight is None else ops.multiply(rows, weight))


# ---- function forms: the loss of every row ---------------------------------------------


def mean_squared_error(y_true: Any, y_pred: Any) -> Any:
    """mean((y_pred - y_true)^2) over the last axis.

    >>> mean_squared_error([[0.0, 1.0]], [[1.0, 1.0]]).tolist()
    [0.5]
    """
    t, p = _pair(y_true, y_pred, "mean_squared_error")
    return ops.mean(ops.square(ops.subtract(p, t)), axis=-1)


def mean_absolute_error(y_true: Any, y_pred: Any) -> Any:
    """mean(|y_pred - y_true|) over the last axis.

    >>> mean_absolute_error([[0.0, 1.0]], [[2.0, 1.0]]).tolist()
    [1.0]
    """
    t, p = _pair(y_true, y_pred, "mean_absolute_error")
    return ops.mean(ops.abs(ops.subtract(p, t)), axis=-1)


def huber(y_true: Any, y_pred: Any, delta: float = 1.0) -> Any:
    """mean over the last axis of e^2/2 where e = |y_pred - y_true| <= delta, else
    delta (e - delta/2).

    Source: Huber, Annals of Mathematical Statistics 35, 1964.

    >>> huber([[0.0, 0.0]], [[1.0, 3.0]]).tolist()
    [1.5]
    """
    t, p = _pair(y_true, y_pred, "huber")
    e = ops.abs(ops.subtract(p, t))
    inner = ops.minimum(e, delta)  # e^2/2 up to delta, a straight line from there
    return ops.mean(0.5 * ops.square(inner) + delta * (e - inner), axis=-1)


def binary_crossentropy(
    y_true: Any, y_pred: Any, from_logits: bool = False, label_smoothing: float = 0.0
) -> Any:
    """-mean(t log p + (1 - t) log(1 - p)) over the last axis.

    from_logits: y_pred is x with p = sigmoid(x), which is exact for any x; else p is
    kept 1e-7 away from 0 and 1. label_smoothing s: t becomes t (1 - s) + s/2.

    >>> binary_crossentropy([[1.0]], [[0.0]], from_logits=True).round(6).tolist()
    [0.693147]
    """
    t, p = _pair(y_true, y_pred, "binary_crossentropy")
    if label_smoothing:
        t = t * (1.0 - label_smoothing) + 0.5 * label_smoothing
    if not from_logits:
        known = logits_of(p, "sigmoid")
        p, from_logits = (p, False) if known is None else (known, True)
    if from_logits:
        loss = ops.relu(p) - p * t + ops.softplus(-ops.abs(p))
    else:
        p = ops.minimum(ops.maximum(p, epsilon()), 1.0 - epsilon())
        loss = -(t * ops.log(p) + (1.0 - t) * ops.log(1.0 - p))
    return ops.mean(loss, axis=-1)


def categorical_crossentropy(
    y_true: Any, y_pred: Any, from_logits: bool = False, label_smoothing: float = 0.0
) -> Any:
    """-sum(t log p) over the last axis, t being one-hot or probabilities.

    from_logits: y_pred is x with p = softmax(x), which is exact for any x; else p is
    y_pred / sum(y_pred), kept 1e-7 away from 0 and 1. label_smoothing s: t becomes
    t (1 - s) + s / classes.

    >>> categorical_crossentropy([[0.0, 1.0]], [[3.0, 3.0]], from_logits=True).round(6).tolist()
    [0.693147]
    """
    t, p = _pair(y_true, y_pred, "categorical_crossentropy")
    if label_smoothing:
        t = t * (1.0 - label_smoothing) + label_smoothing / p.shape[-1]
    if not from_logits:
        known = logits_of(p, "softmax")
        p, from_logits = (p, False) if known is None else (known, True)
    if from_logits:
        log_p = ops.log_softmax(p, axis=-1)
    else:
        p = p / ops.sum(p, axis=-1, keepdims=True)
        log_p = ops.log(ops.minimum(ops.maximum(p, epsilon()), 1.0 - epsilon()))
    return -ops.sum(t * log_p, axis=-1)


def sparse_categorical_crossentropy(y_true: Any, y_pred: Any, from_logits: bool = False) -> Any:
    """-log p[y_true], y_true being the index of the class.

    from_logits as for `categorical_crossentropy`. On arrays the loss of every row; in a
    traced loss, where rows cannot be picked by index, its mean over the batch.

    >>> sparse_categorical_crossentropy([1], [[3.0, 3.0]], from_logits=True).round(6).tolist()
    [0.693147]
    """
    if is_symbolic(y_true, y_pred):
        return SparseCategoricalCrossentropy(from_logits=from_logits).emit(y_true, y_pred)
    t, p, _ = _eager(y_true, y_pred, None, "index", "sparse_categorical_crossentropy")
    if from_logits:
        log_p = ops.log_softmax(p, axis=-1)
    else:
        p = p / p.sum(axis=-1, keepdims=True)
        log_p = ops.log(ops.minimum(ops.maximum(p, epsilon()), 1.0 - epsilon()))
    return -np.take_along_axis(log_p, t[..., None], axis=-1)[..., 0]


# ---- classes -----------------------------------------------------------------------------


class Loss:
    """Base class of losses.

    A loss of your own defines `call(y_true, y_pred)` with `pyact.ops` and returns the
    loss of every row, shape (n,) (more axes are averaged). It is traced once, so `fit`
    runs it in C. A plain function of (y_true, y_pred) does as well. Where y_true holds
    class labels, one int32 for each row of classes, the class or the function says so by
    its attribute target = "index".

    reduction: "sum_over_batch_size" (the mean over rows), or, only when called on arrays
    and not in `fit`, "sum" or "none" (the loss of every row).
    """

    target: str = "same"  # y_true has y_pred's shape; "index": class labels
    _op: ClassVar[str] = ""  # the fused operator
    _fields: ClassVar[tuple[str, ...]] = ()

    def __init__(self, name: str | None = None, reduction: str = "sum_over_batch_size") -> None:
        if reduction not in _REDUCTIONS:
            raise unknown("reduction", reduction, _REDUCTIONS)
        self.name = name or snake(type(self).__name__)
        self.reduction = reduction

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """The loss of every row."""
        raise NotImplementedError(f"{type(self).__name__} must define call(y_true, y_pred)")

    def emit(self, y_true: Any, y_pred: Any, weight: Any = None) -> Any:
        """The mean loss as one value of the graph of its arguments (or as an array).

        Raises ValueError for the reductions "sum" and "none".
        """
        if self.reduction != "sum_over_batch_size":
            raise ValueError(
                f"{self.name}: reduction {self.reduction!r} works on arrays only; training "
                "needs 'sum_over_batch_size'"
            )
        if not self._op:
            return weighted_mean(self.call(y_true, y_pred), weight, self.name)
        y_pred, attrs = self._fused(y_pred)
        inputs = (y_pred, y_true) if weight is None else (y_pred, y_true, weight)
        return getattr(ops, self._op)(*inputs, **attrs)

    def _fused(self, y_pred: Any) -> tuple[Any, dict[str, Any]]:
        """What the operator reads, and its attributes."""
        return y_pred, {}

    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        """The loss of arrays: a float, or with reduction "none" an array (n,).

        Raises ValueError for shapes that do not fit and labels out of range, TypeError
        for arrays that hold no real numbers.
        """
        if is_symbolic(y_true, y_pred, sample_weight):
            return self._recorded(y_true, y_pred, sample_weight)
        t, p, w = _eager(y_true, y_pred, sample_weight, self.target, self.name)
        if self.reduction == "sum_over_batch_size":
            return float(self.emit(t, p, w))
        rows = np.asarray(self.call(t, p))
        w = w if w is None else w.reshape(-1, *(1,) * (rows.ndim - 1))
        rows = rows if w is None else rows * w
        return float(rows.sum(dtype=np.float64)) if self.reduction == "sum" else rows

    def _recorded(self, y_true: Any, y_pred: Any, weight: Any) -> Any:
        """The loss as a value of y_pred's tape or graph; arrays beside it are checked."""
        shape = tuple(y_pred.shape)
        if not is_symbolic(y_true):
            if self.target == "index":
                y_true = class_labels(y_true, shape, self.name)
            else:
                y_true = float_array(y_true, f"{self.name}: y_true", y_pred.dtype)
                y_true = like_prediction(y_true, shape, self.name)
        if weight is not None and not is_symbolic(weight):
            weight = row_weights(weight, shape[0], y_pred.dtype, self.name)
        return self.emit(y_true, y_pred, weight)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        own = {name: getattr(self, name) for name in self._fields}
        return {**own, "name": self.name, "reduction": self.reduction}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Loss:
        """The loss that `get_config` describes."""
        return cls(**config)

    def __repr__(self) -> str:
        args = ", ".join(f"{k}={v!r}" for k, v in self.get_config().items())
        return f"{type(self).__name__}({args})"


class MeanSquaredError(Loss):
    """mean((y_pred - y_true)^2).

    >>> MeanSquaredError()([[0.0, 1.0], [0.0, 0.0]], [[1.0, 1.0], [1.0, 0.0]])
    0.5
    """

    _op = "loss_mse"

    def call(self, y_true: Any, y_pred: Any) -> Any:
        return mean_squared_error(y_true, y_pred)


class MeanAbsoluteError(Loss):
    """mean(|y_pred - y_true|).

    >>> MeanAbsoluteError()([[0.0, 1.0], [0.0, 0.0]], [[1.0, 1.0], [1.0, 0.0]])
    0.5
    """

    _op = "loss_mae"

    def call(self, y_true: Any, y_pred: Any) -> Any:
        return mean_absolute_error(y_true, y_pred)


class Huber(Loss):
    """Quadratic for errors up to `delta`, a straight line beyond; see `huber`.

    Raises ValueError for delta <= 0.
    """

    _op = "loss_huber"
    _fields = ("delta",)

    def __init__(
        self,
        delta: float = 1.0,
        reduction: str = "sum_over_batch_size",
        name: str | None = "huber_loss",
    ) -> None:
        super().__init__(name, reduction)
        self.delta = real("delta", delta, above=0)

    def call(self, y_true: Any, y_pred: Any) -> Any:
        return huber(y_true, y_pred, self.delta)

    def _fused(self, y_pred: Any) -> tuple[Any, dict[str, Any]]:
        return y_pred, {"delta": self.delta}


class _Crossentropy(Loss):
    """What cross-entropies share: probabilities or logits, and never softmax twice."""

    _activation: ClassVar[str] = "softmax"

    def __init__(self, from_logits: bool, name: str | None, reduction: str) -> None:
        super().__init__(name, reduction)
        self.from_logits = bool(from_logits)

    def _fused(self, y_pred: Any) -> tuple[Any, dict[str, Any]]:
        logits = logits_of(y_pred, self._activation)
        if logits is None:
            return y_pred, {"from_logits": self.from_logits}
        if self.from_logits:
            import warnings

            warnings.warn(
                f"{self.name} was made with from_logits=True, but the model already ends in "
                f"{self._activation}; the values before {self._activation} are used as the "
                f"logits. Drop from_logits=True or the last {self._activation}",
                stacklevel=3,
            )
        return logits, {"from_logits": True}


class BinaryCrossentropy(_Crossentropy):
    """-mean(t log p + (1 - t) log(1 - p)) for targets t in [0, 1]; see `binary_crossentropy`.

    from_logits: y_pred is the value before the sigmoid. After a layer that ends in
    sigmoid the fused, exact form is used by itself. label_smoothing: in [0, 1].

    >>> loss = BinaryCrossentropy(from_logits=True)
    >>> round(loss([0, 1, 0, 0], [-18.6, 0.51, 2.94, -12.8]), 3)
    0.865
    """

    _op = "loss_binary_crossentropy"
    _activation = "sigmoid"
    _fields = ("from_logits", "label_smoothing")

    def __init__(
        self,
        from_logits: bool = False,
        label_smoothing: float = 0.0,
        reduction: str = "sum_over_batch_size",
        name: str | None = None,
    ) -> None:
        super().__init__(from_logits, name, reduction)
        self.label_smoothing = real("label_smoothing", label_smoothing, 0, 1)

    def call(self, y_true: Any, y_pred: Any) -> Any:
        return binary_crossentropy(y_true, y_pred, self.from_logits, self.label_smoothing)

    def _fused(self, y_pred: Any) -> tuple[Any, dict[str, Any]]:
        y_pred, attrs = super()._fused(y_pred)
        return y_pred, {**attrs, "label_smoothing": self.label_smoothing}


class CategoricalCrossentropy(_Crossentropy):
    """-sum(t log p) over classes, t one-hot; see `categorical_crossentropy`.

    from_logits: y_pred is the value before the softmax. After a layer that ends in
    softmax the fused, exact form is used by itself. label_smoothing: in [0, 1].

    >>> loss = CategoricalCrossentropy()
    >>> round(loss([[0, 1, 0], [0, 0, 1]], [[0.05, 0.95, 0], [0.1, 0.8, 0.1]]), 3)
    1.177
    """

    _op = "loss_categorical_crossentropy"
    _fields = ("from_logits", "label_smoothing")

    def __init__(
        self,
        from_logits: bool = False,
        label_smoothing: float = 0.0,
        reduction: str = "sum_over_batch_size",
        name: str | None = None,
    ) -> None:
        super().__init__(from_logits, name, reduction)
        self.label_smoothing = real("label_smoothing", label_smoothing, 0, 1)

    def call(self, y_true: Any, y_pred: Any) -> Any:
        return categorical_crossentropy(y_true, y_pred, self.from_logits, self.label_smoothing)

    def _fused(self, y_pred: Any) -> tuple[Any, dict[str, Any]]:
        y_pred, attrs = super()._fused(y_pred)
        return y_pred, {**attrs, "label_smoothing": self.label_smoothing}


class SparseCategoricalCrossentropy(_Crossentropy):
    """-log p[label], the label being the index of the class.

    from_logits: y_pred is the value before the softmax. After a layer that ends in
    softmax the fused, exact form is used by itself.

    >>> loss = SparseCategoricalCrossentropy()
    >>> round(loss([1, 2], [[0.05, 0.95, 0], [0.1, 0.8, 0.1]]), 3)
    1.177
    """

    target = "index"
    _op = "loss_sparse_categorical_crossentropy"
    _fields = ("from_logits",)

    def __init__(
        self,
        from_logits: bool = False,
        reduction: str = "sum_over_batch_size",
        name: str | None = None,
    ) -> None:
        super().__init__(from_logits, name, reduction)

    def call(self, y_true: Any, y_pred: Any) -> Any:
        return sparse_categorical_crossentropy(y_true, y_pred, self.from_logits)


class FunctionLoss(Loss):
    """A plain function of (y_true, y_pred), traced with `pyact.ops`."""

    def __init__(self, function: Callable[[Any, Any], Any]) -> None:
        super().__init__(getattr(function, "__name__", type(function).__name__))
        self.function = function
        self.target = target_of(function)

    def call(self, y_true: Any, y_pred: Any) -> Any:
        value = self.function(y_true, y_pred)
        if is_symbolic(y_true, y_pred) and not is_symbolic(value):
            raise TypeError(
                f"loss {self.name} returned {type(value).__name__} instead of a value of the "
                "graph; write it with pyact.ops, so that it can be traced"
            )
        return value if is_symbolic(value) else np.asarray(value)

    def get_config(self) -> dict[str, Any]:
        raise ValueError(f"loss {self.name} is a plain function and cannot be saved")

    def __repr__(self) -> str:
        return f"<loss {self.name}>"


_CLASSES: tuple[type[Loss], ...] = (
    BinaryCrossentropy,
    CategoricalCrossentropy,
    Huber,
    MeanAbsoluteError,
    MeanSquaredError,
    SparseCategoricalCrossentropy,
)
_TABLE: dict[str, type[Loss]] = {
    **{c.__name__: c for c in _CLASSES},
    **{snake(c.__name__): c for c in _CLASSES},
    # Keras's short names
    "bce": BinaryCrossentropy,
    "mae": MeanAbsoluteError,
    "mse": MeanSquaredError,
}
_FUNCTIONS: dict[Any, type[Loss]] = {
    binary_crossentropy: BinaryCrossentropy,
    categorical_crossentropy: CategoricalCrossentropy,
    huber: Huber,
    mean_absolute_error: MeanAbsoluteError,
    mean_squared_error: MeanSquaredError,
    sparse_categorical_crossentropy: SparseCategoricalCrossentropy,
}


def get(identifier: Any) -> Loss:
    """A loss from a name, class, instance, config dict or function of (y_true, y_pred).

    Raises ValueError for an unknown name (the nearest right one is suggested), TypeError
    for anything else.

    >>> get("mse").name
    'mean_squared_error'
    """
    is_class = isinstance(identifier, type) and issubclass(identifier, Loss)
    if callable(identifier) and not is_class and not isinstance(identifier, Loss):
        known = _FUNCTIONS.get(identifier) if hasattr(identifier, "__hash__") else None
        return known() if known else FunctionLoss(identifier)
    return resolve("loss", identifier, Loss, _TABLE)


def serialize(loss: Loss) -> dict[str, Any]:
    """{"class_name": ..., "config": ...} of a loss."""
    return {"class_name": type(loss).__name__, "config": loss.get_config()}


def deserialize(config: dict[str, Any]) -> Loss:
    """The loss that `serialize` described; only this module's own classes."""
    return get(config)
