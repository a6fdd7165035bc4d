"""The engine behind fit, evaluate and predict: from a model to programs that run in C.

One batch, seen from here: `_Compiled` emits the model's layers, the loss, the metrics and
the optimizer into one graph and compiles it, once for each batch size. `Engine._run` then
makes one C call, `run_loop`, for a whole epoch (or for a single batch, when a callback
wants to look in between): gather rows, forward, loss, backward, clip, update, sum up.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from . import _core, _health, _recording, losses, metrics, ops, optimizers
from ._names import real, unknown, whole
from ._trees import leaves, map_tree
from .callbacks import CallbackList, History, NeuronHealth, TerminateOnNaN
from .layers.base import keeps_batch
from .network import parts_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from numpy.typing import NDArray

    from .models import Model

    Array = NDArray[Any]

__all__ = ["Engine"]

_PREDICT_BATCH = 256  # rows at a time when the caller does not say
CHECK_EVERY = 8  # steps from one look at the gradients to the next, which costs 2 to 9 % of one
_MAX_PROGRAMS = 32  # batch sizes remembered


# ---- data ---------------------------------------------------------------------------------


def readable(data: Any, what: str) -> Array:
    """An array whose rows the core can read where they lie: native real numbers, each row
    contiguous. Copies only what is not so already.

    Raises TypeError for anything but real numbers, ValueError for a single number.
    """
    if hasattr(data, "__next__") or isinstance(data, dict):
        raise TypeError(f"{what}: got {type(data).__name__}, expected an array")
    array = np.asanyarray(data)
    if np.ma.isMaskedArray(array) and np.ma.is_masked(array):
        raise TypeError(f"{what}: got a masked array; fill it or drop the masked rows first")
    if array.dtype.kind not in "fiub":
        raise TypeError(
            f"{what}: got an array of dtype {array.dtype}, expected real numbers "
            "(float16 to float64, integers, bool)"
        )
    array = np.asarray(array)
    if array.dtype.itemsize > 8:
        array = array.astype(np.float64)
    if not array.dtype.isnative:
        array = array.astype(array.dtype.newbyteorder("="))
    if array.ndim == 0:
        raise ValueError(f"{what}: got a single number, expected an array with rows")
    if array.ndim > 1 and not array[:1].flags.c_contiguous:
        array = np.ascontiguousarray(array)
    return array


class _Data:
    """Inputs x, targets y (one for each output, or none) and weights as arrays of one length.

    weight_of: for each output the place in `weights` of the one that it heeds, or None.
    """

    def __init__(self, model: Model, x: Any, y: Any, weight: Any, class_weight: Any = None) -> None:
        self.model = model
        self.y: list[Array | None] = []
        plain = type(x) is np.ndarray and (y is None or type(y) is np.ndarray)
        if plain and direct(model):  # the usual case, quickly
            self.x, parted = [readable(x, "x")], True
            self.y = [] if y is None else [readable(y, "y")]
        else:
            self.x, parted = [readable(part, n) for part, n in _parts(model, "x", x)], False
        self.rows = self.x[0].shape[0]
        if y is not None and not parted:
            found = _parts(model, "y", y)
            self.y = [None if part is None else readable(part, n) for part, n in found]
        if any(a is not None and a.shape[0] != self.rows for a in (*self.x, *self.y)):
            self._unequal()
        self.weights: list[Array] = []
        network = model._network
        self.weight_of: list[int | None] = [None] * (1 if network is None else len(network.outputs))
        if weight is not None or class_weight is not None:
            self._weigh(weight, class_weight)

    def _unequal(self) -> None:
        """Says which arrays have unequal numbers of rows."""
        model = self.model
        for kind, arrays in (("x", self.x), ("y", self.y)):
            for array, name in zip(arrays, _labels(model, kind), strict=False):
                if array is not None and array.shape[0] != self.rows:
                    raise ValueError(
                        f"{_labels(model, 'x')[0]} has {self.rows} rows and {name} has "
                        f"{array.shape[0]}; expected equal numbers"
                    )

    def _weigh(self, weight: Any, class_weight: Any) -> None:
        several = len(self.weight_of) > 1
        if several and class_weight is not None:
            raise ValueError("class_weight is for models with one output; use sample_weight")
        if not several or not isinstance(weight, (list, tuple, dict)):
            if several or not isinstance(weight, dict):
                given = weight
            else:
                ((given, _),) = _parts(self.model, "sample_weight", weight)
            self.weights = [self._weights(given, class_weight, "sample_weight")]
            self.weight_of = [0] * len(self.weight_of)
            return
        for k, (part, name) in enumerate(_parts(self.model, "sample_weight", weight)):
            if part is not None:
                self.weight_of[k] = len(self.weights)
                self.weights.append(self._weights(part, None, name))

    def _weights(self, weight: Any, class_weight: Any, what: str) -> Array:
        w = None
        if weight is not None:
            w = readable(weight, what)
            if w.shape == (self.rows, 1):
                w = w.reshape(self.rows)
            if w.shape != (self.rows,):
                raise ValueError(f"{what}: got shape {w.shape}, expected ({self.rows},), one a row")
        if class_weight is not None:
            by_class = class_weights(self.y[0] if self.y else None, class_weight)
            w = by_class if w is None else by_class * w
        assert w is not None
        return w

    def part(self, begin: int, end: int) -> _Data:
        """The rows [begin, end), without a copy."""
        found = object.__new__(_Data)
        found.model, found.rows, found.weight_of = self.model, end - begin, self.weight_of
        found.x = [a[begin:end] for a in self.x]
        found.y = [None if a is None else a[begin:end] for a in self.y]
        found.weights = [a[begin:end] for a in self.weights]
        return found


def _labels(model: Model, kind: str) -> list[str]:
    """What messages call the inputs ("x") or the outputs."""
    network = model._network
    specs = [] if network is None else network.inputs if kind == "x" else network.outputs
    return [kind] if len(specs) < 2 else [f"{kind} {spec.name!r}" for spec in specs]


def _parts(model: Model, kind: str, data: Any) -> list[tuple[Any, str]]:
    """One part of the data for each input or output, and what messages call it."""
    network, names = model._network, _labels(model, kind)
    if network is None:
        return [(data, names[0])]
    specs = network.inputs if kind == "x" else network.outputs
    form = network.input_form if kind == "x" else network.output_form
    if len(specs) == 1 and not isinstance(data, dict):
        # a list is one array here, but for what stands in a list of one
        one = isinstance(data, (list, tuple)) and len(data) == 1 and isinstance(data[0], np.ndarray)
        parts = list(data) if one and isinstance(form, (list, tuple)) else [data]
    else:
        parts = parts_of(data, form, specs, kind)
    missing = [spec.name for spec, part in zip(specs, parts, strict=True) if part is None]
    if missing and kind == "x":
        raise ValueError(f"x: nothing is given for input {missing[0]!r}")
    return list(zip(parts, names, strict=True))


def class_weights(y: Array | None, table: Any) -> Array:
    """One weight for each row of y, class labels (n,) or one-hot (n, classes)."""
    if not isinstance(table, dict):
        raise TypeError(
            f"class_weight: got {type(table).__name__}, expected a dict from label to weight"
        )
    if y is None:
        raise ValueError("class_weight needs y")
    labels = y.argmax(axis=-1) if y.ndim == 2 and y.shape[1] > 1 else y.reshape(len(y), -1)
    if labels.ndim == 2:
        if labels.shape[1] != 1:
            raise ValueError("class_weight needs one label a row")
        labels = labels[:, 0]
    known, index = np.unique(labels, return_inverse=True)
    values = [real("class_weight", table.get(k, 1.0), 0) for k in known.tolist()]
    return np.asarray(values, np.float64)[index]


def shaped(array: Array, shape: tuple[int, ...], what: str, because: str) -> Array:
    """The array with rows of this shape; only axes of length 1 at the end may differ."""
    if array.shape[1:] == shape:
        return array
    if (*array.shape[1:], 1) == shape or array.shape[1:] == (*shape, 1):
        return array.reshape(array.shape[0], *shape)
    raise ValueError(
        f"{what}: got shape {array.shape}, expected ({array.shape[0]}, "
        f"{', '.join(map(str, shape)) + (',' if not shape else '')}) because {because}"
    )


# ---- programs -----------------------------------------------------------------------------


class _Compiled:
    """A program for one kind of run and one batch size, and how to feed it."""

    def __init__(self, engine: Engine, kind: str, batch: int, data: _Data) -> None:
        graph = _core.Graph()
        with _recording.tracing(graph):
            self._trace(engine, graph, kind, batch, data)

    def _trace(self, engine: Engine, graph: Any, kind: str, batch: int, data: _Data) -> None:
        model = engine.model
        specs = model.network.inputs
        self.inputs = [spec.shape[1:] for spec in specs]
        self.x_labels, self.y_labels = _labels(model, "x"), _labels(model, "y")
        given = [graph.input((batch, *s.shape[1:]), s.dtype) for s in specs]
        seen: list[tuple[Any, list[Any]]] = []
        watched = kind == "train" and engine.health is not None
        see = (lambda layer, values: seen.append((layer, values))) if watched else None
        predictions = predicted(model, given, kind == "train", see)
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
        sums = tuple(
            m.emit(values[m.target, k], predictions[k], heeded[k] if heeds else None)
            for m, heeds, k in self.metrics
        )
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

    def _weight_dtype(self, data: _Data, k: int) -> Any:
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

    def feeds(self, data: _Data) -> tuple[Any, ...]:
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


def feedable(shapes: Any, arrays: list[Array], labels: list[str]) -> list[Array]:
    """The arrays with rows of these shapes; ValueError names the input that is wrong."""
    which = "the model's input is" if len(shapes) == 1 else "this input of the model is"
    return [
        shaped(x, shape, name, f"{which} {(None, *shape)}")
        for x, shape, name in zip(arrays, shapes, labels, strict=True)
    ]


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


# ---- the engine ----------------------------------------------------------------------------


class Engine:
    """What `compile` makes: the optimizer's state, the loss, the metrics, the programs."""

    def __init__(
        self, model: Model, optimizer: Any, loss: Any, metric_list: Any, weighted_metrics: Any,
        loss_weights: Any = None,
    ) -> None:  # fmt: skip
        self.model = model
        self.optimizer = None if optimizer is None else optimizers.get(optimizer)
        self._resolve_losses(loss, loss_weights)
        self._metric_ids = [(m, False, k) for k, m in self._by_output("metrics", metric_list)]
        self._metric_ids += [
            (m, True, k) for k, m in self._by_output("weighted_metrics", weighted_metrics)
        ]
        for identifier, _, _ in self._metric_ids:
            metrics.for_shapes(identifier, (1,), (1, 1))  # a wrong name fails now
        self._metrics: dict[Any, list[tuple[Any, bool, int]]] = {}
        self._programs: dict[Any, list[_Compiled]] = {}
        self._live: Any = None  # model(x) and small predicts
        self.check_every = CHECK_EVERY
        self.health: NeuronHealth | None = None  # during a fit that has one
        self._make_state()
        self.epochs_seen = 0  # over all calls of fit: each epoch has an order of its own

    def _resolve_losses(self, loss: Any, loss_weights: Any) -> None:
        """loss: as given, names resolved; losses, loss_weights: one for each output."""
        names = self._outputs()
        if isinstance(loss, (list, tuple, dict)) and not _is_description(loss):
            found = _each("loss", loss, names)
            self.losses = [None if item is None else losses.get(item) for item in found]
            if all(item is None for item in found):
                raise ValueError(f"loss: got none for the outputs {', '.join(names)}")
        else:
            self.losses = [None if loss is None else losses.get(loss) for _ in names]
        self.loss = self.losses[0] if len(names) == 1 else list(self.losses)
        if loss is None:
            self.loss = None
        given = [1.0] * len(names)
        if loss_weights is not None:
            one = len(names) == 1 and not isinstance(loss_weights, (list, tuple, dict))
            found = [loss_weights] if one else _each("loss_weights", loss_weights, names)
            given = [1.0 if w is None else real("loss_weights", w) for w in found]
        self.loss_weights = given

    def _outputs(self) -> list[str]:
        network = self.model._network
        return ["output"] if network is None else [spec.name for spec in network.outputs]

    def _by_output(self, what: str, given: Any) -> list[tuple[int, Any]]:
        """(number of the output, metric) for metrics of one output, or of each."""
        names = self._outputs()
        if given is None:
            return []
        if len(names) == 1 and not (isinstance(given, dict) and not _is_description(given)):
            nested = isinstance(given, (list, tuple)) and len(given) == 1
            items = given[0] if nested and isinstance(given[0], (list, tuple)) else given
            return [(0, m) for m in _as_list(items)]
        if not isinstance(given, (list, tuple, dict)) or _is_description(given):
            raise TypeError(
                f"{what}: got {given!r}, expected a list or dict with the metrics of each of the "
                f"outputs {', '.join(names)}"
            )
        each = _each(what, given, names)
        return [(k, m) for k, found in enumerate(each) for m in _as_list(found)]

    def data(self, x: Any, y: Any, weight: Any, class_weight: Any = None) -> _Data:
        """Arrays for this model; a Sequential that does not know its input learns it."""
        if not self.model.built:
            self._ensure_built(readable(x, "x"))
        return _Data(self.model, x, y, weight, class_weight)

    def _make_state(self) -> None:
        self.state = None if self.optimizer is None else self.optimizer.new_state()

    def __getstate__(self) -> dict[str, Any]:
        """For pickle and copy: programs are made anew, the optimizer's arrays go along."""
        kept = {k: v for k, v in vars(self).items() if k != "state"}
        kept.update(_programs={}, _metrics={}, _live=None)
        slots: list[Any] = []
        if self.state is not None and self.optimizer.iterations and self.model.built:
            slots = optimizers.slot_arrays(self.state, [w.block for w in self.model.weights])
        return {**kept, "slots": slots}

    def __setstate__(self, kept: dict[str, Any]) -> None:
        slots = kept.pop("slots")
        vars(self).update(kept)
        self._make_state()
        optimizers.fill_slots(self.state, slots)

    @property
    def names(self) -> list[str]:
        """Names of the reported numbers, the loss first."""
        known = next(iter(self._metrics.values()), None)
        if known is None:
            known = [
                (metrics.get(m) if not isinstance(m, str) else _Named(m), heeds, k)
                for m, heeds, k in self._metric_ids
            ]
        trained = [k for k, loss in enumerate(self.losses) if loss is not None]
        each = [f"{self._outputs()[k]}_loss" for k in trained] if len(trained) > 1 else []
        return ["loss", *each, *self.named(known)]

    def named(self, found: list[tuple[Any, bool, Any]]) -> list[str]:
        """What logs call these metrics: with their output's name where there are several."""
        outputs = self._outputs()
        return [
            m.name if k is None or len(outputs) == 1 else f"{outputs[k]}_{m.name}"
            for m, _, k in found
        ]

    def metrics_for(self, y_shapes: Any, predictions: Any) -> list[tuple[Any, bool, int]]:
        """The metrics, "accuracy" being resolved by the shapes of target and prediction."""
        key = tuple(
            (None if y is None else y[1:], p[1:])
            for y, p in zip(y_shapes, predictions, strict=True)
        )
        if key not in self._metrics:
            self._metrics = {
                key: [
                    (metrics.for_shapes(m, y_shapes[k] or predictions[k], predictions[k]), heeds, k)
                    for m, heeds, k in self._metric_ids
                ]
            }
        return self._metrics[key]

    def forget(self) -> None:
        """Drops all programs: the model has changed."""
        self._programs.clear()
        self._metrics.clear()
        self._live = None

    # ---- programs ----

    def _ensure_built(self, x: Array) -> None:
        if not self.model.built:
            self.model.build((None, *x.shape[1:]))

    def _take(self, kind: str, batch: int, data: _Data) -> tuple[Any, _Compiled]:
        """A program that nobody else is running; to be given back with `_give`."""
        if kind == "predict":
            key: Any = (kind, batch)
        else:
            trained = kind == "train"
            watched = trained and self.health is not None
            trainable = tuple(w.trainable for w in self.model.weights) if trained else ()
            y_shapes = tuple(None if y is None else y.shape[1:] for y in data.y)
            weighted = tuple(data.weight_of) if data.weights else ()
            key = (kind, batch, y_shapes, weighted, trainable, watched)
        free = self._programs.get(key)
        if free:
            return key, free.pop()
        if len(self._programs) >= _MAX_PROGRAMS:
            self._programs.pop(next(iter(self._programs)), None)
        return key, _Compiled(self, kind, batch, data)

    def _give(self, key: Any, compiled: _Compiled) -> None:
        self._programs.setdefault(key, []).append(compiled)

    def _run(self, kind: str, data: _Data, batch: int, steps: Steps) -> None:
        """Runs the batches [steps.first, steps.last) of the data in one C call."""
        taken = []
        full = rest = None
        try:
            if data.rows >= batch and steps.first < data.rows // batch:
                taken.append(self._take(kind, batch, data))
                full = taken[-1][1]
            if steps.last > data.rows // batch:
                taken.append(self._take(kind, data.rows % batch, data))
                rest = taken[-1][1]
            either = full or rest
            if either is not None:
                steps.run(self, kind, data, batch, full, rest, either)
        finally:
            for key, compiled in taken:
                self._give(key, compiled)

    # ---- fit ----

    def fit(
        self, x: Any, y: Any, batch_size: Any, epochs: Any, verbose: Any, callbacks: Any,
        validation_split: Any, validation_data: Any, shuffle: Any, class_weight: Any,
        sample_weight: Any, initial_epoch: Any, steps_per_epoch: Any, validation_steps: Any,
        validation_batch_size: Any, resume_from: Any = None,
    ) -> History:  # fmt: skip
        self._require("fit")
        epochs, initial_epoch = whole("epochs", epochs, 0), whole("initial_epoch", initial_epoch, 0)
        batch = 32 if batch_size is None else whole("batch_size", batch_size, 1)
        split = real("validation_split", validation_split, 0, below=1)
        source = _source(self, x, y, sample_weight, class_weight, batch, shuffle, steps_per_epoch)
        held_out = self._validation(source, split, validation_data, validation_batch_size,
                                    validation_steps)  # fmt: skip
        self.model.stop_training = False
        resume = None
        if resume_from is not None:
            from .saving import Checkpoint  # it imports models, and that this module

            resume = Checkpoint(resume_from, self.model)
            resume.apply(self.model)
        hooks = CallbackList(
            callbacks, model=self.model, verbose=verbose, epochs=epochs, steps=source.steps,
            add_history=True,
        )  # fmt: skip
        history: Any = hooks.history
        self.model.history = history
        checked = self.check_every
        self.health = next((c for c in hooks.callbacks if isinstance(c, NeuronHealth)), None)
        if any(isinstance(c, TerminateOnNaN) for c in hooks.callbacks):
            self.check_every = 0  # it ends the run in its own, quieter way
        try:
            self._fit(source, held_out, hooks, initial_epoch, epochs, resume)
        except BaseException:
            hooks.abandon()
            raise
        finally:
            hooks.defer_saves(False)
            self.check_every = checked
            self.health = None
        return history

    def _fit(
        self, source: Any, held_out: Any, hooks: CallbackList, first: int, last: int, resume: Any
    ) -> None:
        hooks.on_train_begin()
        hooks.defer_saves()
        logs: dict[str, float] = {}
        if resume is not None:
            first = resume.epoch
            if resume.batches:
                hooks.on_epoch_begin(first)
            resume.apply(self.model)  # whatever the hooks have done was done before
            hooks.set_states(resume.callbacks)
            self.model.stop_training = bool(resume.position["stop"])
            logs = dict(resume.position["logs"])
            source.pass_by(resume.position["source"], resume.batches)
            if self.model.stop_training:
                last = first
        for epoch in range(first, last):
            inside = resume if resume is not None and resume.batches else None
            resume = None
            if inside is None:
                hooks.on_epoch_begin(epoch)
            logs = self._epoch(source, hooks, epoch, inside)
            if held_out is not None:
                hooks.on_test_begin()
                found = self._measure(held_out, hooks)
                hooks.on_test_end(found)
                logs.update({f"val_{name}": value for name, value in found.items()})
            hooks.on_epoch_end(epoch, logs)
            self._checkpoint(source, hooks, epoch + 1, logs)
            if self.model.stop_training:
                break
        hooks.on_train_end(logs)

    def _checkpoint(
        self, source: Any, hooks: CallbackList, epoch: int, logs: Any,
        batches: int = 0, steps: Steps | None = None,
    ) -> None:  # fmt: skip
        """Writes the files that callbacks have asked for, now that all have had their say."""
        paths = hooks.deferred_paths()
        if not paths:
            return
        from .saving import save_checkpoint

        position = {
            "epoch": epoch,
            "batches": batches,
            "source": source.state(),
            "stop": self.model.stop_training,
            "logs": {} if batches else logs,
            "steps": None if steps is None else steps.state(),
        }
        for path in paths:
            save_checkpoint(self.model, path, position, hooks.states())

    def _validation(
        self, source: Any, split: float, given: Any, batch_size: Any, steps: Any
    ) -> Any:
        if given is not None:
            parts = given if isinstance(given, (tuple, list)) else (given,)
            if len(parts) > 3:
                raise ValueError(
                    f"validation_data: got {len(parts)} parts, expected (x, y) or "
                    "(x, y, sample_weight)"
                )
            x, y, w = (*parts, None, None)[:3]
            batch = source.batch if batch_size is None else whole("batch_size", batch_size, 1)
            return _source(self, x, y, w, None, batch, False, steps)
        if split == 0:
            return None
        return source.hold_out(split)

    def _epoch(self, source: Any, hooks: CallbackList, epoch: int, resume: Any) -> dict[str, float]:
        """One pass over the data, or the rest of one; returns the epoch's logs."""
        steps = Steps(self)
        passed = 0
        if resume is None:
            self.epochs_seen += 1
        else:
            passed = resume.batches
        first = 0
        for data, batch, last, order in source.epoch(self.model._seed, self.epochs_seen - 1):
            at = max(0, min(passed - first, last))
            if resume is not None:
                steps.restore(resume.position["steps"], data, batch)
                resume = None
            while at < last:
                ahead = at + 1 if hooks.wants_batches else last
                if hooks.wants_batches:
                    hooks.on_train_batch_begin(first + at)
                steps.plan(at, ahead, order, first, source.steps, hooks)
                self._run("train", data, batch, steps)
                at = ahead
                if hooks.wants_batches:
                    hooks.on_train_batch_end(first + at - 1, steps.logs())
                    self._checkpoint(source, hooks, epoch, None, first + at, steps)
                if self.model.stop_training:
                    return steps.logs()
            first += last
        if first == 0:
            raise ValueError("fit: the data gave no batch; a generator serves one epoch unless it "
                             "goes on (then give steps_per_epoch)")  # fmt: skip
        source.known_steps(first)
        if self.health is not None:
            self.health.take(*steps.health())
        return steps.logs()

    # ---- evaluate and predict ----

    def _measure(self, source: Any, hooks: CallbackList | None) -> dict[str, float]:
        steps = Steps(self)
        first = 0
        wants = hooks is not None and hooks.wants_test_batches
        for data, batch, last, _ in source.epoch(0, 0):
            at = 0
            while at < last:
                ahead = at + 1 if wants else last
                if wants and hooks is not None:
                    hooks.on_test_batch_begin(first + at)
                steps.plan(at, ahead, None, first, source.steps, None)
                self._run("test", data, batch, steps)
                at = ahead
                if wants and hooks is not None:
                    hooks.on_test_batch_end(first + at - 1, steps.logs())
            first += last
        if first == 0:
            raise ValueError("evaluate: the data have no rows")
        return steps.logs()

    def evaluate(
        self, x: Any, y: Any, batch_size: Any, verbose: Any, sample_weight: Any, steps: Any,
        callbacks: Any, return_dict: bool,
    ) -> Any:  # fmt: skip
        self._require("evaluate")
        batch = 32 if batch_size is None else whole("batch_size", batch_size, 1)
        source = _source(self, x, y, sample_weight, None, batch, False, steps)
        hooks = CallbackList(callbacks, model=self.model, verbose=0, epochs=1, steps=source.steps)
        hooks.on_test_begin()
        logs = self._measure(source, hooks)
        hooks.on_test_end(logs)
        if verbose in (1, 2):
            print(" - ".join(f"{name}: {value:.4g}" for name, value in logs.items()))
        return self._shown(logs, return_dict)

    def _shown(self, logs: dict[str, float], return_dict: bool) -> Any:
        if return_dict:
            return logs
        values = list(logs.values())
        return values if len(values) > 1 else values[0]

    def predict(self, x: Any, batch_size: Any, steps: Any = None, callbacks: Any = None) -> Any:
        one = isinstance(x, np.ndarray) and x.ndim > 0 and not callbacks
        short = one and 0 < len(x) <= (batch_size or _PREDICT_BATCH)  # one batch: the short way
        if short and (self._live is not None or self._small(x)):
            return self._live(x)
        if hasattr(x, "__next__") or hasattr(x, "batch_size"):  # a generator or a loader
            parts = []
            for k, item in enumerate(x):
                if steps is not None and k >= steps:
                    break
                parts.append(self.predict(item[0] if isinstance(item, tuple) else item, None))
            if not parts:
                raise ValueError("predict: the data gave no batch")
            columns = zip(*map(leaves, parts), strict=True)
            return map_tree(lambda _: np.concatenate(next(columns)), parts[0])
        data = self.data(x, None, None)
        batch = _PREDICT_BATCH if batch_size is None else whole("batch_size", batch_size, 1)
        batch = max(1, min(batch, data.rows))
        hooks = None
        if callbacks:
            hooks = CallbackList(callbacks, model=self.model, verbose=0, epochs=1, steps=None)
            hooks.on_predict_begin()
        run = Steps(self)
        run.plan(0, -(-data.rows // batch), None, 0, None, None)
        network = self.model.network
        if data.rows == 0:
            feedable([s.shape[1:] for s in network.inputs], data.x, _labels(self.model, "x"))
            run.results = [np.empty((0, *s.shape[1:]), s.dtype) for s in network.outputs]
        else:
            self._run("predict", data, batch, run)
        if hooks is not None:
            hooks.on_predict_end()
        found = iter(run.results)
        return map_tree(lambda _: next(found), network.output_form)

    def _small(self, x: Array) -> bool:
        """Makes the short way from one array to one array, for models that have it."""
        if not self.model.built:
            self._ensure_built(readable(x, "x"))
        if not direct(self.model) or self.model.network.checks():
            return False
        self._live = inference(self.model, frozen=False)
        return True

    # ---- single batches ----

    def train_on_batch(
        self, x: Any, y: Any, sample_weight: Any, class_weight: Any, return_dict: bool
    ) -> Any:
        self._require("train_on_batch")
        return self._single("train", self.data(x, y, sample_weight, class_weight), return_dict)

    def test_on_batch(self, x: Any, y: Any, sample_weight: Any, return_dict: bool) -> Any:
        self._require("test_on_batch")
        return self._single("test", self.data(x, y, sample_weight), return_dict)

    def _single(self, kind: str, data: _Data, return_dict: bool) -> Any:
        if data.rows == 0:
            raise ValueError(f"{kind}_on_batch: the batch has no rows")
        steps = Steps(self)
        steps.plan(0, 1, None, 0, 1, None)
        self._run(kind, data, data.rows, steps)
        return self._shown(steps.logs(), return_dict)

    def _require(self, what: str) -> None:
        if self.loss is None or (self.optimizer is None and what in ("fit", "train_on_batch")):
            raise RuntimeError(
                f"{what} needs a compiled model: call model.compile(optimizer, loss, metrics) "
                "with a loss first"
            )


# ---- inference: straight from array to array -------------------------------------------------


def direct(model: Model) -> bool:
    """Is it one array in and one array out?"""
    forms = model.network.input_form, model.network.output_form
    return not any(isinstance(form, (list, tuple, dict)) for form in forms)


def inference(model: Model, batch_size: int | None = None, *, frozen: bool) -> Any:
    """A callable fn(x, out=None) over the model's weights, or over a copy of them as they
    are now (frozen); see `Model.compile_inference`."""
    model._require_built("an inference function")
    if batch_size is not None:
        whole("batch_size", batch_size, 1)
    specs = model.network.inputs
    copies = _copies(model) if frozen else {}

    def compile_rows(rows: int) -> Any:
        if batch_size is not None and rows != batch_size:
            raise ValueError(
                f"x: got {rows} rows, expected {batch_size}, the batch_size of compile_inference"
            )
        if rows == 0:
            raise ValueError("x: got no rows, expected at least one")
        graph = _core.Graph()
        given = [graph.input((rows, *s.shape[1:]), s.dtype) for s in specs]
        with _recording.tracing(graph):
            found = predicted(model, given, False)
        graph.freeze(copies)
        return _core.Program(graph, outputs=own_values(found, given))

    kept = None
    if frozen:
        described = {"class_name": type(model).__name__, "config": model.get_config()}
        kept = (described, [w.numpy() for w in model.weights], batch_size)
    if not direct(model):
        return _Several(model, compile_rows, kept)

    def convert(x: Any) -> Array:
        (array,) = feedable([specs[0].shape[1:]], [readable(x, "x")], ["x"])
        return np.require(array, specs[0].dtype, ["C_CONTIGUOUS", "ALIGNED"])

    def reduce() -> Any:
        from .models import restore_inference  # models imports this module

        if kept is None:
            raise TypeError("a live model's function cannot be pickled; use compile_inference")
        return restore_inference, kept

    shape = (batch_size or 1, *specs[0].shape[1:])
    return _core.Inference(shape, np.dtype(specs[0].dtype), compile_rows, convert, reduce)


class _Several:
    """`_core.Inference` for several inputs or outputs: fn(x, out=None)."""

    def __init__(self, model: Model, compile_rows: Any, kept: Any) -> None:
        self._model, self._compile, self._kept = model, compile_rows, kept
        self._free: dict[int, list[Any]] = {}

    def __call__(self, x: Any, out: Any = None) -> Any:
        network = self._model.network
        data = _Data(self._model, x, None, None)
        labels = _labels(self._model, "x")
        arrays = feedable([s.shape[1:] for s in network.inputs], data.x, labels)
        free = self._free.setdefault(data.rows, [])
        try:
            program = free.pop()
        except IndexError:
            program = self._compile(data.rows)
        results = [np.empty((data.rows, *s.shape[1:]), s.dtype) for s in network.outputs]
        if out is not None:
            given = parts_of(out, network.output_form, network.outputs, "out")
            for array, want, spec in zip(given, results, network.outputs, strict=True):
                if getattr(array, "shape", None) != want.shape or array.dtype != want.dtype:
                    raise ValueError(
                        f"out: {spec.name!r}: expected an array of {want.dtype} and shape "
                        f"{want.shape}"
                    )
            results = given
        feeds = tuple((n, a, 0, False) for n, a in zip(labels, arrays, strict=True))
        _core.run_loop(
            program, None, feeds, data.rows, data.rows, None, 0, 1, 0, 0, None, None,
            (None,) * len(results), tuple(results), np.zeros(1, np.int64), None, 0,
        )  # fmt: skip
        free.append(program)
        found = iter(results)
        return map_tree(lambda _: next(found), network.output_form)

    def __reduce__(self) -> Any:
        from .models import restore_inference

        return restore_inference, self._kept


def _copies(model: Model) -> dict[Any, Any]:
    """A copy of each block that the model's weights lie in."""
    copies: dict[Any, Any] = {}
    for weight in model.weights:
        block = weight.block
        if block is not None and block not in copies:
            copies[block] = _core.Block(block.dtype, block.size)
            copies[block].view(0, (block.size,))[...] = block.view(0, (block.size,))
    return copies


class Steps:
    """A stretch of batches and what they measured so far."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.loss_sum = 0.0
        self.rows_done = 0
        self.sums: list[Array] | None = None
        self.done = np.zeros(1, np.int64)
        self.losses = np.empty(0)
        self.results: list[Array] = []
        self.squares: Array | None = None  # of each layer's gradients, and in how many steps
        self._spans: Any = None

    def plan(
        self, first: int, last: int, order: Array | None, offset: int, total: Any, hooks: Any
    ) -> None:
        """The next call runs the batches [first, last)."""
        self.first, self.last, self.order = first, last, order
        self.offset, self.total, self.hooks = offset, total, hooks

    def run(
        self, engine: Engine, kind: str, data: _Data, batch: int,
        full: _Compiled | None, rest: _Compiled | None, either: _Compiled,
    ) -> None:  # fmt: skip
        model, count = engine.model, self.last - self.first
        feeds = either.feeds(data)
        self.losses, self.done = np.empty(count), np.zeros(1, np.int64)
        self._spans = (data.rows, batch)
        sums: Any = (None,)
        results: Any = (None,)
        lr = None
        step = 0
        if kind == "predict":
            kinds = zip(either.shapes, either.dtypes, strict=True)
            self.results = [np.empty((data.rows, *shape), dtype) for shape, dtype in kinds]
            results, sums = tuple(self.results), (None,) * len(self.results)
        else:
            if self.sums is None:
                self.sums = [np.zeros(n) for n in either.sizes]
                self.found, self.names = either.metrics, either.names
            self.watched = either.health
            sums, results = tuple(self.sums), (None,) * len(self.sums)
        watch = None
        if kind == "train":
            watch = self._watch(engine)
            step = engine.optimizer.iterations
            lr = np.ascontiguousarray(engine.optimizer.lr_at(np.arange(step, step + count)))
        try:
            _core.run_loop(
                full and full.program, rest and rest.program, feeds, data.rows, batch, self.order,
                self.first, self.last, model._seed, step, lr,
                None if kind == "predict" else self.losses, sums, results, self.done,
                self._progress if self.hooks is not None else None,
                engine.check_every if kind == "train" else 0, watch,
            )  # fmt: skip
        except FloatingPointError:
            raise FloatingPointError(self._not_finite(data)) from None
        finally:
            done = int(self.done[0])
            if kind == "train":
                engine.optimizer.iterations = step + done
        if kind != "predict":
            add_sum, add_rows = self._so_far()
            self.loss_sum += add_sum
            self.rows_done += add_rows
            self.losses = np.empty(0)
            self.done = np.zeros(1, np.int64)

    def _watch(self, engine: Engine) -> Any:
        """Which gradients run_loop looks at for `NeuronHealth`."""
        if engine.health is None:
            return None
        grads = tuple(
            engine.state.grad(w.block).view(w.offset, w.shape)
            for _, weights in _trained(engine.model) for w in weights
        )  # fmt: skip
        if self.squares is None:
            self.squares = np.zeros(len(grads) + 1)
        return grads, engine.health.every, self.squares

    def health(self) -> tuple[Any, Any]:
        """For each activation (layer's name, share of saturated values of each unit); for each
        layer with weights (name, root mean square of its gradient's norm)."""
        shares, norms = [], []
        if self.sums is not None:
            for (name, each, _), counts in zip(
                self.watched, self.sums[len(self.found) :], strict=True
            ):
                shares.append((name, counts / (each * self.rows_done)))
        if self.squares is not None and self.squares[-1] > 0:
            at = 0
            for name, weights in _trained(self.engine.model):
                total = self.squares[at : at + len(weights)].sum()
                norms.append((name, float(np.sqrt(total / self.squares[-1]))))
                at += len(weights)
        return shares, norms

    def _not_finite(self, data: _Data) -> str:
        """Where a step went wrong that was not made."""
        engine, at = self.engine, self.first + int(self.done[0])
        model = engine.model
        named = [
            (f"weight {w.name!r} of layer {layer.name!r}", w) for layer in model.layers
            for w in layer.weights
        ]  # fmt: skip
        wrong = [what for what, w in named if not np.isfinite(w).all()]
        if wrong:
            return (
                f"{wrong[0]} is not finite after step "
                f"{engine.optimizer.iterations + at - self.first}"
                "; lower the learning rate (compile(check_finite='gradients') finds a gradient "
                "that is not finite in its own step)"
            )
        rows, batch = self._spans
        chosen: Any = slice(at * batch, min((at + 1) * batch, rows))
        chosen = chosen if self.order is None else self.order[chosen]
        xs = [x[chosen] for x in data.x]
        wrong_x = [
            name for name, x in zip(_labels(model, "x"), xs, strict=True)
            if not np.isfinite(x).all()
        ]  # fmt: skip
        if wrong_x:
            where = f"{wrong_x[0]} itself is not"
        else:
            where = _first_not_finite(model, xs) or "no layer's result, so the loss's own value"
        grads = [
            what for what, w in named
            if w.trainable and w.block is not None
            and not np.isfinite(engine.state.grad(w.block).view(w.offset, w.shape)).all()
        ]  # fmt: skip
        found = f"; of the gradients that of {grads[-1]} is not" if grads else ""
        return (
            f"batch {at}: loss or gradient is not finite. In this batch the first that is not: "
            f"{where}{found}. The step was not made: weights, optimizer and its "
            f"{engine.optimizer.iterations + at - self.first} iterations are as before it. Lower "
            "the learning rate, clip gradients, look at the data, or switch this check off by "
            "compile(check_finite=False)"
        )

    def state(self) -> dict[str, Any]:
        """What has been measured, for `restore`."""
        rows, batch = self._spans
        return {
            "loss_sum": float(self.loss_sum),
            "rows_done": int(self.rows_done),
            "sums": list(self.sums or ()),
            "of": [rows, batch] if rows != batch else None,  # of a stream each is its own
        }

    def restore(self, state: Any, data: _Data, batch: int) -> None:
        """Goes on from a `state` of the same epoch over the same data."""
        if state["of"] not in (None, [data.rows, batch]):
            raise ValueError(
                "resume_from: the run had {} rows in batches of {}, this one has {} in "
                "batches of {}".format(*state["of"], data.rows, batch)
            )
        key, compiled = self.engine._take("train", min(batch, data.rows), data)
        self.engine._give(key, compiled)
        sums = [np.array(s, np.float64).reshape(-1) for s in state["sums"]]
        if [s.size for s in sums] != compiled.sizes:
            raise ValueError("resume_from: the run had other metrics than this one")
        self.found, self.sums, self.names = compiled.metrics, sums, compiled.names
        self.loss_sum, self.rows_done = float(state["loss_sum"]), int(state["rows_done"])

    def _so_far(self) -> tuple[float, int]:
        """Loss times rows, and rows, of the batches that the current call has done."""
        done = int(self.done[0])
        if done == 0:
            return 0.0, 0
        rows, batch = self._spans
        counts = np.full(done, batch, np.float64)
        short = rows - (self.first + done - 1) * batch
        counts[-1] = min(batch, short)
        return float(counts @ self.losses[:done]), int(counts.sum())

    def _progress(self) -> None:
        self.hooks.on_progress(
            self.offset + self.first + int(self.done[0]), self.total, self.logs()
        )

    def logs(self) -> dict[str, float]:
        """The running mean of the loss, and the metrics, over all batches so far."""
        add_sum, add_rows = self._so_far()
        rows = self.rows_done + add_rows
        found = {"loss": (self.loss_sum + add_sum) / rows if rows else float("nan")}
        if self.sums is not None:
            for (metric, *_), name, vector in zip(self.found, self.names, self.sums, strict=False):
                found[name] = metric.result_from(vector)
        return found


def _trained(model: Model) -> list[tuple[str, list[Any]]]:
    """(name, weights that the optimizer changes) of each layer that has such."""
    found = [
        (layer.name, [w for w in layer.weights if w.trainable and w.block is not None])
        for layer in model.layers
    ]
    return [(name, weights) for name, weights in found if weights]


def _first_not_finite(model: Model, xs: list[Array]) -> str | None:
    """The first layer whose result for this batch is not finite."""
    found: list[str] = []

    def see(layer: Any, values: list[Any]) -> None:
        if not found and not all(np.isfinite(np.asarray(v)).all() for v in values):
            found.append(f"the result of layer {layer.name!r}")

    try:
        model.network.run(xs, False, see)
    except (TypeError, ValueError):
        return found[0] if found else "the result of some layer"
    return found[0] if found else None


# ---- sources: arrays or a stream of batches ---------------------------------------------------


class _Arrays:
    """All data at hand: an epoch is one stretch of batches in an order made in C."""

    def __init__(
        self, data: _Data, batch: int, shuffle: bool, limit: int | None, what: str
    ) -> None:
        if data.rows == 0:
            raise ValueError(f"{what}: the data have no rows")
        self.data, self.batch, self.shuffle, self.limit = data, batch, shuffle, limit

    @property
    def steps(self) -> int:
        n = -(-self.data.rows // self.batch)
        return n if self.limit is None else min(n, self.limit)

    def known_steps(self, n: int) -> None:
        pass

    def state(self) -> list[int]:
        """How far the data have been drawn: batches of a stream, epochs of a loader."""
        return [0, 0]

    def pass_by(self, state: list[int], batches: int) -> None:
        """Goes to where `state` was given, or to the begin of that epoch when `batches` of
        it were done."""

    def hold_out(self, split: float) -> _Arrays:
        """Splits the last rows off, before any shuffling, as Keras does."""
        rows = self.data.rows
        cut = int(rows * (1 - split))
        if cut in (0, rows):
            raise ValueError(f"validation_split={split} of {rows} rows leaves no row on one side")
        rest = _Arrays(self.data.part(cut, rows), self.batch, False, None, "validation_split")
        self.data = self.data.part(0, cut)
        return rest

    def epoch(self, seed: int, number: int) -> Iterator[tuple[_Data, int, int, Array | None]]:
        order = None
        if self.shuffle:
            order = np.empty(self.data.rows, np.int64)
            _core.shuffle(order, seed, number)
        yield self.data, self.batch, self.steps, order


class _Loader(_Arrays):
    """A DataLoader over arrays: the same rows in the same order, gathered in C."""

    def __init__(self, engine: Engine, loader: Any, limit: int | None, table: Any) -> None:
        x, y, w = (*loader.arrays, None, None)[:3]
        super().__init__(engine.data(x, y, w, table), loader.batch_size, False, limit, "x")
        self.loader = loader

    @property
    def steps(self) -> int:
        n = len(self.loader)
        return n if self.limit is None else min(n, self.limit)

    def state(self) -> list[int]:
        return [0, self.loader.epoch]

    def pass_by(self, state: list[int], batches: int) -> None:
        self.loader.epoch = state[1] - (batches > 0)

    def hold_out(self, split: float) -> _Arrays:
        raise ValueError("validation_split needs arrays; pass validation_data instead")

    def epoch(self, seed: int, number: int) -> Iterator[tuple[_Data, int, int, Array | None]]:
        yield self.data, self.batch, self.steps, self.loader.next_order()


class _Stream:
    """Batches from a generator, or from a loader over something else than arrays."""

    def __init__(
        self, engine: Engine, batches: Iterable[Any], batch: int, limit: int | None, table: Any
    ) -> None:
        self.engine = engine
        self.batches, self.batch, self.limit, self.table = batches, batch, limit, table
        self._length: int | None = None
        self.taken = 0
        endless = hasattr(batches, "__next__")
        self._iterator = iter(batches) if endless else None
        if hasattr(batches, "__len__"):
            self._length = len(batches)

    @property
    def steps(self) -> int | None:
        known = [n for n in (self._length, self.limit) if n is not None]
        return min(known) if known else None

    def state(self) -> list[int]:
        return [self.taken, getattr(self.batches, "epoch", 0)]

    def pass_by(self, state: list[int], batches: int) -> None:
        if self._iterator is not None:
            for _ in range(state[0] - batches):
                next(self._iterator, None)
        elif hasattr(self.batches, "epoch"):
            self.batches.epoch = state[1] - (batches > 0)
        self.taken = state[0] - batches

    def known_steps(self, n: int) -> None:
        self._length = n if self._length is None else self._length

    def hold_out(self, split: float) -> Any:
        raise ValueError("validation_split needs arrays; pass validation_data instead")

    def epoch(self, seed: int, number: int) -> Iterator[tuple[_Data, int, int, Array | None]]:
        iterator = self._iterator if self._iterator is not None else iter(self.batches)
        count = 0
        while self.limit is None or count < self.limit:
            try:
                item = next(iterator)
            except StopIteration:
                break
            parts = item if isinstance(item, (tuple, list)) else (item,)
            if len(parts) > 3:
                raise ValueError(
                    f"a batch has {len(parts)} parts, expected (x, y) or (x, y, sample_weight)"
                )
            x, y, w = (*parts, None, None)[:3]
            data = self.engine.data(x, y, w, self.table)
            if data.rows == 0:
                raise ValueError("a batch has no rows")
            self.taken += 1
            yield data, data.rows, 1, None
            count += 1


def _source(
    engine: Engine, x: Any, y: Any, weight: Any, class_weight: Any, batch: int, shuffle: Any,
    steps: Any,
) -> Any:  # fmt: skip
    limit = None if steps is None else whole("steps_per_epoch", steps, 1)
    if x is None:
        raise ValueError("x is missing: pass an array, a DataLoader or a generator")
    is_stream = hasattr(x, "__next__") or (hasattr(x, "batch_size") and hasattr(x, "__iter__"))
    if is_stream:
        if y is not None or weight is not None:
            raise ValueError("y and sample_weight come from the loader or generator itself")
        if getattr(x, "arrays", None) is not None:
            return _Loader(engine, x, limit, class_weight)
        return _Stream(engine, x, batch, limit, class_weight)
    return _Arrays(engine.data(x, y, weight, class_weight), batch, bool(shuffle), limit, "x")


def _as_list(items: Any) -> Sequence[Any]:
    if items is None:
        return []
    return list(items) if isinstance(items, (list, tuple)) else [items]


class _Named:
    """A metric of which only the name is known."""

    def __init__(self, name: str) -> None:
        self.name = name


def _is_description(given: Any) -> bool:
    """Is this dict one object's {"class_name", "config"}?"""
    return isinstance(given, dict) and "class_name" in given


def _each(what: str, given: Any, names: list[str]) -> list[Any]:
    """One item for each output, from a list, or a dict by name."""
    if isinstance(given, dict):
        for key in given:
            if key not in names:
                raise unknown(f"{what}: output", key, names)
        return [given.get(name) for name in names]
    if not isinstance(given, (list, tuple)) or len(given) != len(names):
        raise ValueError(
            f"{what}: got {given!r}, expected a list or dict for the {len(names)} outputs "
            f"{', '.join(names)}"
        )
    return list(given)
