"""Metrics under Keras's names.

A metric is a sum over batches and a formula on the total: `emit` gives the sums of one
batch (inside `fit` an operator of the same program as the loss), `result_from` turns the
total into the number. Eagerly, as in Keras:

    >>> m = BinaryAccuracy()
    >>> m.update_state([[1], [1], [0], [0]], [[0.98], [1.0], [0.0], [0.6]])
    >>> m.result()
    0.75

Shapes of y_true, y_pred and sample_weight are those of `pyact.losses`.
"""

from __future__ import annotations

from math import nan, sqrt
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from . import ops
from ._names import real, resolve, snake, unknown, whole
from .losses import _eager, is_symbolic, per_weight, target_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    Vector = NDArray[np.float64]

__all__ = [
    "AUC",
    "BinaryAccuracy",
    "CategoricalAccuracy",
    "Mean",
    "MeanAbsoluteError",
    "MeanSquaredError",
    "Metric",
    "Precision",
    "Recall",
    "RootMeanSquaredError",
    "SparseCategoricalAccuracy",
    "SparseTopKCategoricalAccuracy",
    "TopKCategoricalAccuracy",
    "deserialize",
    "for_shapes",
    "get",
    "serialize",
]


def _ratio(a: Any, b: Any) -> Any:
    """a / b, and 0 where b is 0."""
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    return np.divide(a, b, out=np.zeros(np.broadcast(a, b).shape), where=b != 0)


class Metric:
    """Base class of metrics.

    A metric of your own is most simply a function of (y_true, y_pred) written with
    `pyact.ops` that gives one number a row; its mean is reported. With the attribute
    target = "index" the function gets class labels as y_true.

    target: "same" (y_true has y_pred's shape) or "index" (class labels).
    direction: "up" when more is better, "down" when less is, None when not known;
    callbacks with mode="auto" read it.
    """

    target: str = "same"
    direction: ClassVar[str | None] = None
    _op: ClassVar[str] = ""
    _fields: ClassVar[tuple[str, ...]] = ()

    def __init__(self, name: str | None = None) -> None:
        self.name = name or snake(type(self).__name__)
        self._total: Vector | None = None

    def emit(self, y_true: Any, y_pred: Any, weight: Any = None) -> Any:
        """The sums of one batch: a vector of the graph of the arguments (or an array)."""
        inputs = (y_pred, y_true) if weight is None else (y_pred, y_true, weight)
        return getattr(ops, self._op)(*inputs, **self._attrs())

    def _attrs(self) -> dict[str, Any]:
        return {}

    def result_from(self, vector: Any) -> Any:
        """The metric from the sum of `emit` over all batches; NaN when there was no row."""
        total, weight = (float(v) for v in np.asarray(vector, np.float64).ravel())
        return total / weight if weight != 0 else nan

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Adds a batch of arrays.

        Raises ValueError for shapes that do not fit and labels out of range, TypeError
        for arrays that hold no real numbers.
        """
        t, p, w = _eager(y_true, y_pred, sample_weight, self.target, self.name)
        part = np.asarray(self.emit(t, p, w), np.float64)
        self._total = part if self._total is None else self._total + part

    def result(self) -> Any:
        """The metric over all batches added since the last `reset_state`; first of all 0."""
        return 0.0 if self._total is None else self.result_from(self._total)

    def reset_state(self) -> None:
        """Forgets all batches."""
        self._total = None

    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        """`update_state`, then `result`."""
        self.update_state(y_true, y_pred, sample_weight)
        return self.result()

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {**{name: getattr(self, name) for name in self._fields}, "name": self.name}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Metric:
        """The metric that `get_config` describes."""
        return cls(**config)

    def __repr__(self) -> str:
        args = ", ".join(f"{k}={v!r}" for k, v in self.get_config().items())
        return f"{type(self).__name__}({args})"


# ---- means ---------------------------------------------------------------------------------


class Mean(Metric):
    """The weighted mean of values, for loops of your own.

    >>> m = Mean(); m.update_state([1, 3, 5, 7]); m.result()
    4.0
    """

    def __init__(self, name: str | None = "mean") -> None:
        super().__init__(name)

    def update_state(  # type: ignore[override]
        self, values: Any, sample_weight: Any = None
    ) -> None:
        """Adds values of any shape; sample_weight broadcasts to that shape."""
        v = np.asarray(values, np.float64)
        w = np.broadcast_to(np.asarray(1.0 if sample_weight is None else sample_weight), v.shape)
        part = np.array([(v * w).sum(), w.sum(dtype=np.float64)])
        self._total = part if self._total is None else self._total + part

    def __call__(self, values: Any, sample_weight: Any = None) -> Any:  # type: ignore[override]
        self.update_state(values, sample_weight)
        return self.result()

    def emit(self, y_true: Any, y_pred: Any, weight: Any = None) -> Any:
        raise TypeError(
            "Mean is a metric of values, not of (y_true, y_pred); compile cannot use it"
        )


class MeanSquaredError(Metric):
    """The mean of (y_pred - y_true)^2.

    >>> MeanSquaredError()([[0, 1], [0, 0]], [[1, 1], [0, 0]])
    0.25
    """

    direction = "down"
    _op = "metric_mse"


class RootMeanSquaredError(Metric):
    """The root of the mean of (y_pred - y_true)^2.

    >>> RootMeanSquaredError()([[0, 1], [0, 0]], [[1, 1], [0, 0]])
    0.5
    """

    direction = "down"
    _op = "metric_mse"

    def result_from(self, vector: Any) -> Any:
        return sqrt(super().result_from(vector))


class MeanAbsoluteError(Metric):
    """The mean of |y_pred - y_true|.

    >>> MeanAbsoluteError()([[0, 1], [0, 0]], [[1, 1], [0, 0]])
    0.25
    """

    direction = "down"
    _op = "metric_mae"


# ---- accuracies ----------------------------------------------------------------------------


class BinaryAccuracy(Metric):
    """The share of numbers where (y_pred > threshold) equals y_true.

    threshold: in (0, 1).

    >>> BinaryAccuracy()([[1], [1], [0], [0]], [[0.98], [1], [0], [0.6]])
    0.75
    """

    direction = "up"
    _op = "metric_binary_accuracy"
    _fields = ("threshold",)

    def __init__(self, name: str | None = "binary_accuracy", threshold: float = 0.5) -> None:
        super().__init__(name)
        self.threshold = real("threshold", threshold, above=0, below=1)

    def _attrs(self) -> dict[str, Any]:
        return {"threshold": self.threshold}


class CategoricalAccuracy(Metric):
    """The share of rows where the largest of y_pred is the largest of one-hot y_true.

    >>> CategoricalAccuracy()([[0, 0, 1], [0, 1, 0]], [[0.1, 0.9, 0.8], [0.05, 0.95, 0]])
    0.5
    """

    direction = "up"
    _op = "metric_categorical_accuracy"


class SparseCategoricalAccuracy(Metric):
    """The share of rows where the largest of y_pred is the one that the label names.

    >>> SparseCategoricalAccuracy()([2, 1], [[0.1, 0.6, 0.3], [0.05, 0.95, 0]])
    0.5
    """

    target = "index"
    direction = "up"
    _op = "metric_sparse_categorical_accuracy"


class TopKCategoricalAccuracy(Metric):
    """The share of rows where the one-hot class is among the k largest of y_pred.

    >>> TopKCategoricalAccuracy(k=1)([[0, 0, 1], [0, 1, 0]], [[0.1, 0.9, 0.8], [0.05, 0.95, 0]])
    0.5
    """

    direction = "up"
    _op = "metric_top_k"
    _fields = ("k",)

    def __init__(self, k: int = 5, name: str | None = "top_k_categorical_accuracy") -> None:
        super().__init__(name)
        self.k = whole("k", k, 1)

    def _attrs(self) -> dict[str, Any]:
        return {"k": self.k}


class SparseTopKCategoricalAccuracy(TopKCategoricalAccuracy):
    """The share of rows where the labelled class is among the k largest of y_pred.

    >>> SparseTopKCategoricalAccuracy(k=2)([2, 1], [[0.1, 0.9, 0.8], [0.05, 0.95, 0]])
    1.0
    """

    target = "index"
    _op = "metric_sparse_top_k"

    def __init__(self, k: int = 5, name: str | None = "sparse_top_k_categorical_accuracy") -> None:
        super().__init__(k, name)


# ---- counts of right and wrong at thresholds --------------------------------------------------


class _AtThresholds(Metric):
    """Precision and recall: one threshold or several, from the same four counts.

    The rows of the counts are true positives, false positives, false negatives, true
    negatives; the columns are the thresholds. y_pred counts as positive when it is
    greater than the threshold.
    """

    direction = "up"
    _op = "metric_confusion_at_thresholds"
    _fields = ("thresholds",)
    _missed: ClassVar[int]  # row of the counts that, with the first, is divided by

    def __init__(
        self, thresholds: float | Sequence[float] | None = None, name: str | None = None
    ) -> None:
        super().__init__(name)
        self.thresholds = thresholds
        given: Any = 0.5 if thresholds is None else thresholds
        self._many = not np.isscalar(given)
        self._list = [real("thresholds", t, 0, 1) for t in (given if self._many else [given])]
        if not self._list:
            raise ValueError("thresholds must not be empty")

    def emit(self, y_true: Any, y_pred: Any, weight: Any = None) -> Any:
        parts = [_confusion(y_true, y_pred, weight, 1, t) for t in self._list]
        return parts[0] if len(parts) == 1 else ops.concatenate(parts, axis=1)

    def result_from(self, vector: Any) -> Any:
        counts = np.asarray(vector, np.float64).reshape(4, -1)
        ratio = _ratio(counts[0], counts[0] + counts[self._missed])
        return ratio if self._many else float(ratio[0])


def _confusion(y_true: Any, y_pred: Any, weight: Any, n: int, threshold: float) -> Any:
    inputs = (y_pred, y_true) if weight is None else (y_pred, y_true, weight)
    attrs: dict[str, Any] = {"n": n, "threshold": threshold}
    return ops.metric_confusion_at_thresholds(*inputs, **attrs)


class Precision(_AtThresholds):
    """true positives / (true positives + false positives); 0 when there are none.

    thresholds: a number in [0, 1] (default 0.5), or several, for an array of results.

    >>> Precision()([0, 1, 1, 1], [1, 0, 1, 1]) == 2 / 3
    True
    """

    _missed = 1


class Recall(_AtThresholds):
    """true positives / (true positives + false negatives); 0 when there are none.

    thresholds: a number in [0, 1] (default 0.5), or several, for an array of results.

    >>> Recall()([0, 1, 1, 1], [1, 0, 1, 1]) == 2 / 3
    True
    """

    _missed = 2


class AUC(Metric):
    """The area under the ROC or the precision-recall curve, from its points at
    `num_thresholds` even thresholds in [0, 1] (the outer two pushed out by 1e-7).

    curve: "ROC" (true over false positive rate) or "PR". summation_method:
    "interpolation" (trapezoids; for PR the true curve between points), "minoring" or
    "majoring" (rectangles below or above). The error is at most about
    1 / num_thresholds when the predictions spread evenly.

    Source: Davis and Goadrich, ICML 2006, for interpolation under the PR curve.

    >>> AUC(num_thresholds=3)([0, 0, 1, 1], [0, 0.5, 0.3, 0.9])
    0.75
    """

    direction = "up"
    _op = "metric_confusion_at_thresholds"
    _fields = ("num_thresholds", "curve", "summation_method")

    def __init__(
        self,
        num_thresholds: int = 200,
        curve: str = "ROC",
        summation_method: str = "interpolation",
        name: str | None = None,
    ) -> None:
        super().__init__(name)
        self.num_thresholds = whole("num_thresholds", num_thresholds, 2)
        self.curve = curve.upper()
        self.summation_method = summation_method.lower()
        if self.curve not in ("ROC", "PR"):
            raise unknown("curve", curve, ("ROC", "PR"))
        if self.summation_method not in ("interpolation", "minoring", "majoring"):
            raise unknown(
                "summation_method", summation_method, ("interpolation", "minoring", "majoring")
            )

    def emit(self, y_true: Any, y_pred: Any, weight: Any = None) -> Any:
        return _confusion(y_true, y_pred, weight, self.num_thresholds, 0.5)

    def result_from(self, vector: Any) -> Any:
        tp, fp, fn, tn = np.asarray(vector, np.float64).reshape(4, -1)
        if self.curve == "PR" and self.summation_method == "interpolation":
            return self._interpolated_pr(tp, fp, fn)
        recall = _ratio(tp, tp + fn)
        if self.curve == "ROC":
            x, y = _ratio(fp, fp + tn), recall
        else:
            x, y = recall, _ratio(tp, tp + fp)
        height = {
            "interpolation": (y[:-1] + y[1:]) / 2,
            "minoring": np.minimum(y[:-1], y[1:]),
            "majoring": np.maximum(y[:-1], y[1:]),
        }[self.summation_method]
        return float(((x[:-1] - x[1:]) * height).sum())

    @staticmethod
    def _interpolated_pr(tp: Vector, fp: Vector, fn: Vector) -> float:
        """Between two points tp and fp grow together: tp = slope p + intercept, p = tp + fp.

        The precision tp/p integrated over tp is then slope (d tp + intercept log(p0/p1)).
        """
        p = tp + fp
        d_tp = tp[:-1] - tp[1:]
        slope = _ratio(d_tp, np.maximum(p[:-1] - p[1:], 0))
        intercept = tp[1:] - slope * p[1:]
        both = (p[:-1] > 0) & (p[1:] > 0)
        log_ratio = np.log(np.divide(p[:-1], p[1:], out=np.ones_like(d_tp), where=both))
        area = slope * (d_tp + intercept * log_ratio)
        return float(_ratio(area, np.maximum(tp[1:] + fn[1:], 0)).sum())


# ---- functions ---------------------------------------------------------------------------------


class FunctionMetric(Metric):
    """The mean of a plain function of (y_true, y_pred), traced with `pyact.ops`."""

    def __init__(self, function: Callable[[Any, Any], Any], name: str | None = None) -> None:
        super().__init__(name or getattr(function, "__name__", type(function).__name__))
        self.function = function
        self.target = target_of(function)

    def emit(self, y_true: Any, y_pred: Any, weight: Any = None) -> Any:
        value = self.function(y_true, y_pred)
        if is_symbolic(y_true, y_pred) and not is_symbolic(value):
            raise TypeError(
                f"metric {self.name} returned {type(value).__name__} instead of a value of "
                "the graph; write it with pyact.ops, so that it can be traced"
            )
        value = value if is_symbolic(value) else np.asarray(value, np.float64)
        if len(value.shape) == 0:
            if weight is not None:
                raise ValueError(
                    f"metric {self.name} returned one number for the whole batch, so sample "
                    "weights cannot be applied; return one number a row, shape (n,)"
                )
            value = ops.broadcast_to(value, shape=(y_pred.shape[0],))
        rows = per_weight(value, weight, f"metric {self.name}")
        if weight is None:
            return ops.metric_mean(rows)
        if len(weight.shape) > 1:
            rows, weight = (ops.reshape(v, shape=(-1,)) for v in (rows, weight))
        return ops.metric_mean(rows, weight)

    def get_config(self) -> dict[str, Any]:
        raise ValueError(f"metric {self.name} is a plain function and cannot be saved")

    def __repr__(self) -> str:
        return f"<metric {self.name}>"


_CLASSES: tuple[type[Metric], ...] = (
    AUC,
    BinaryAccuracy,
    CategoricalAccuracy,
    Mean,
    MeanAbsoluteError,
    MeanSquaredError,
    Precision,
    Recall,
    RootMeanSquaredError,
    SparseCategoricalAccuracy,
    SparseTopKCategoricalAccuracy,
    TopKCategoricalAccuracy,
)
_TABLE: dict[str, type[Metric]] = {
    **{c.__name__: c for c in _CLASSES},
    **{snake(c.__name__): c for c in _CLASSES},
    # Keras's short names
    "mae": MeanAbsoluteError,
    "mse": MeanSquaredError,
}
_ACCURACY = ("accuracy", "acc")


def get(identifier: Any) -> Metric:
    """A metric from a name, class, instance, config dict or function of (y_true, y_pred).

    "accuracy" depends on shapes and is resolved by `for_shapes`.

    Raises ValueError for an unknown name (the nearest right one is suggested), TypeError
    for anything else.
    """
    is_class = isinstance(identifier, type) and issubclass(identifier, Metric)
    if callable(identifier) and not is_class and not isinstance(identifier, Metric):
        return FunctionMetric(identifier)
    if isinstance(identifier, str):
        if identifier.lower() in _ACCURACY:
            raise ValueError(
                f"metric {identifier!r} depends on the shapes of the targets: name "
                "BinaryAccuracy, CategoricalAccuracy or SparseCategoricalAccuracy here"
            )
        if identifier not in _TABLE and identifier.lower() not in _TABLE:
            raise unknown("metric", identifier, [*_TABLE, *_ACCURACY])
    return resolve("metric", identifier, Metric, _TABLE)


def for_shapes(identifier: Any, y_true: tuple[int, ...], y_pred: tuple[int, ...]) -> Metric:
    """The metric that `compile(metrics=[identifier])` means for targets and predictions
    of these shapes; a metric given by name reports under that very name.

    "accuracy" or "acc" is binary when y_pred's last axis is 1, sparse when y_true has
    fewer axes than y_pred or a last axis of 1, else categorical.

    >>> for_shapes("acc", (32,), (32, 10))
    SparseCategoricalAccuracy(name='acc')
    """
    if not isinstance(identifier, str):
        return get(identifier)
    metric: Metric
    if identifier.lower() not in _ACCURACY:
        metric = get(identifier)
    elif len(y_pred) < 2 or y_pred[-1] == 1:
        metric = BinaryAccuracy()
    elif len(y_true) < len(y_pred) or y_true[-1] == 1:
        metric = SparseCategoricalAccuracy()
    else:
        metric = CategoricalAccuracy()
    metric.name = identifier
    return metric


def serialize(metric: Metric) -> dict[str, Any]:
    """{"class_name": ..., "config": ...} of a metric."""
    return {"class_name": type(metric).__name__, "config": metric.get_config()}


def deserialize(config: dict[str, Any]) -> Metric:
    """The metric that `serialize` described; only this module's own classes."""
    return get(config)
