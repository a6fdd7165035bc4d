"""One batch of a model as a program: layers, losses, metrics and optimizer in one graph."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from .. import _core, _health, _recording, metrics, ops
from ..layers.base import keeps_batch
from ..layers.recurrent import steps_of
from .data import feedable, labels_of, shaped

if TYPE_CHECKING:
    from ..models import Model
    from .data import Data
    from .engine import Engine

__all__ = ["Compiled", "own_values", "predicted"]


class Compiled:
    """A program for one kind of run and one batch size, and how to feed it."""

    def __init__(
        self, engine: Engine, kind: str, batch: int, data: Data, watched: bool = False
    ) -> None:
        graph = _core.Graph()
        with _recording.tracing(graph):
            self._trace(engine, graph, kind, batch, data, watched)

    def _trace(
        self, engine: Engine, graph: Any, kind: str, batch: int, data: Data, watched: bool
    ) -> None:
        model = engine.model
        specs = model.network.inputs
        self.inputs = [spec.shape[1:] for spec in specs]
        self.x_labels, self.y_labels = labels_of(model, "x"), labels_of(model, "y")
        given = [graph.input((batch, *s.shape[1:]), s.dtype) for s in specs]
        seen: list[tuple[Any, list[Any]]] = []
        see = (lambda layer, values: seen.append((layer, values))) if watched else None
        predictions = predicted(model, given, kind == "train", see)
        self.sizes: list[int] = []  # of what is summed
        self.shapes = [tuple(p.shape[1:]) for p in predictions]
        self.dtypes = [p.dtype for p in predictions]
        self.checks = model.network.checks()
        self.targets: list[tuple[str, int]] = []  # (kind of target, number of the output)
        self.weighted = len(data.weights) if kind != "predict" else 0
        if kind == "predict":
            self.program = _core.Program(graph, outputs=own_values(predictions, given))
            return
        shapes = [None if a is None else a.shape for a in data.y or [None] * len(predictions)]
        self.metrics: list[tuple[Any, bool, Any]] = list(
            engine.metrics_for(shapes, [p.shape for p in predictions])
        )
        values: dict[Any, Any] = {}
        for k, prediction in enumerate(predictions):
            loss = engine.losses[k]
            used = [loss.target] if loss is not None else []
            used += [m.target for m, _, at in self.metrics if at == k]
            for target in ("same", "index"):
                if target in used:
                    self.targets.append((target, k))
                    values[target, k] = self._target(graph, target, prediction)
        weights = [graph.input((batch,), self._weight_dtype(data, k)) for k in range(self.weighted)]
        heeded = [
            None if at is None or not self.weighted else _as(weights[at], predictions[k].dtype)
            for k, at in enumerate(data.weight_of)
        ]
        steps = [steps_of(p) for p in predictions]
        sums = tuple(
            m.emit(values[m.target, k], predictions[k],
                   _both(steps[k], heeded[k] if heeds else None))
            for m, heeds, k in self.metrics
        )  # fmt: skip
        heeded = [_both(_mean_of_them(s), w) for s, w in zip(steps, heeded, strict=True)]
        total, each = self._losses(engine, values, predictions, heeded)
        if len(each) > 1:
            rows = np.array([batch], total.dtype)
            more = [ops.metric_mean(ops.reshape(v, shape=(1,)), rows) for _, v in each]
            names = [f"{engine.model.output_names[k]}_loss" for k, _ in each]
            self.metrics = [
                *((metrics.MeanSquaredError(n), True, None) for n in names),
                *self.metrics,
            ]
            sums = (*more, *sums)
        self.health = _health.emit(seen)
        sums = (*sums, *(counts for _, _, counts in self.health))
        self.names = engine.named(self.metrics)
        self.sizes = [int(np.prod(s.shape)) for s in sums]
        state = engine.state if kind == "train" else None
        self.program = _core.Program(graph, loss=total, optimizer=state, outputs=sums)

    def _weight_dtype(self, data: Data, k: int) -> Any:
        return self.dtypes[data.weight_of.index(k)]

    @staticmethod
    def _losses(
        engine: Engine, values: Any, predictions: Any, heeded: Any
    ) -> tuple[Any, list[tuple[int, Any]]]:
        """What is minimized, and the losses of the outputs before they are weighed."""
        each: list[tuple[int, Any]] = []
        total: Any = None
        for k, loss in enumerate(engine.losses):
            if loss is None:
                continue
            one = loss.emit(values[loss.target, k], predictions[k], heeded[k])
            one = one if not each else _as(one, each[0][1].dtype)
            each.append((k, one))
            part = one if engine.loss_weights[k] == 1 else one * engine.loss_weights[k]
            total = part if total is None else total + part
        return total, each

    @staticmethod
    def _target(graph: Any, target: str, prediction: Any) -> Any:
        if target == "same":
            return graph.input(prediction.shape, prediction.dtype)
        if len(prediction.shape) < 2:
            raise ValueError(
                f"class labels need predictions of shape (batch, classes), got {prediction.shape}"
            )
        return graph.input(prediction.shape[:-1], np.int32)

    def feeds(self, data: Data) -> tuple[Any, ...]:
        """What run_loop reads, checked against the shapes of this program."""
        xs = feedable(self.inputs, data.x, self.x_labels)
        for k, check in self.checks:  # Embedding's: a program cannot refuse a number
            check(xs[k])
        found = [(name, x, 0, False) for name, x in zip(self.x_labels, xs, strict=True)]
        for target, k in self.targets:
            y = data.y[k] if data.y else None
            name = self.y_labels[k]
            if y is None:
                raise ValueError(f"{name} is missing: the loss compares predictions with targets")
            classes, shape = 0, self.shapes[k]
            if target == "index":
                classes, shape = shape[-1], shape[:-1]
            why = f"the model's predictions are {(None, *self.shapes[k])}"
            if target == "index" and y.shape[1:] == self.shapes[k] and classes > 1:
                why += " and the loss takes class labels (one-hot targets need the " \
                    "categorical_crossentropy loss)"  # fmt: skip
            y = shaped(y, shape, name, why)
            found.append((name, y, classes, target == "same"))
        found += [("sample_weight", w, 0, True) for w in data.weights[: self.weighted]]
        return tuple(found)


def _as(value: Any, dtype: Any) -> Any:
    """The value in this dtype."""
    return value if value.dtype == dtype else ops.cast(value, dtype=dtype)


def _mean_of_them(steps: Any) -> Any:
    """The same as weights with which a mean over all steps is one over those that count."""
    if steps is None:
        return None
    many = ops.maximum(ops.sum(steps), 1.0)  # where no step counts, the loss is 0
    return ops.divide(ops.multiply(steps, float(np.prod(steps.shape))), many)


def _both(steps: Any, weight: Any) -> Any:
    """One weight for each step, of weights of steps and of rows; either may be None."""
    if steps is None or weight is None:
        return weight if steps is None else steps
    rows = (weight.shape[0], *(1,) * (len(steps.shape) - 1))
    return ops.multiply(steps, ops.reshape(weight, shape=rows))


def predicted(model: Model, given: list[Any], training: bool, see: Any = None) -> list[Any]:
    """The model's outputs for values of a graph; see(layer, values) is shown each layer's."""
    predictions = model.network.run(given, training, see)
    for value in predictions:
        keeps_batch(value, given[0].shape[0], f"model {model.name!r}")
    return predictions


def own_values(values: list[Any], given: list[Any]) -> tuple[Any, ...]:
    """Each as a value of its own: an output that is an input, or another output, is copied by
    an operator."""
    taken = {x.id for x in given}
    found = []
    for value in values:
        found.append(value * 1.0 if value.id in taken else value)
        taken.add(value.id)
    return tuple(found)
