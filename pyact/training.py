"""The engine behind fit, evaluate and predict: from a model to programs that run in C.

One batch, seen from here: `_Compiled` emits the model's layers, the loss, the metrics and
the optimizer into one graph and compiles it, once for each batch size. `Engine._run` then
makes one C call, `run_loop`, for a whole epoch (or for a single batch, when a callback
wants to look in between): gather rows, forward, loss, backward, clip, update, sum up.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from . import _core, _recording, losses, metrics, optimizers
from ._names import real, whole
from .callbacks import CallbackList, History, TerminateOnNaN
from .layers.base import keeps_batch

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
    """x, y and weights as arrays of one length, with the shapes that the model wants."""

    def __init__(self, x: Any, y: Any, weight: Any, class_weight: Any = None) -> None:
        self.x = readable(x, "x")
        self.y = None if y is None else readable(y, "y")
        self.rows = self.x.shape[0]
        if self.y is not None and self.y.shape[0] != self.rows:
            raise ValueError(
                f"x has {self.rows} rows and y has {self.y.shape[0]}; expected equal numbers"
            )
        self.weight = self._weights(weight, class_weight)

    def _weights(self, weight: Any, class_weight: Any) -> Array | None:
        w = None
        if weight is not None:
            w = readable(weight, "sample_weight")
            if w.shape == (self.rows, 1):
                w = w.reshape(self.rows)
            if w.shape != (self.rows,):
                raise ValueError(
                    f"sample_weight: got shape {w.shape}, expected ({self.rows},), one a row"
                )
        if class_weight is not None:
            by_class = class_weights(self.y, class_weight)
            w = by_class if w is None else by_class * w
        return w

    def part(self, begin: int, end: int) -> _Data:
        """The rows [begin, end), without a copy."""
        w = self.weight
        return _Data(
            self.x[begin:end],
            None if self.y is None else self.y[begin:end],
            None if w is None else w[begin:end],
        )


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

    def __init__(
        self, engine: Engine, kind: str, batch: int, y_shape: tuple[int, ...] | None, weighted: bool
    ) -> None:
        graph = _core.Graph()
        with _recording.tracing(graph):
            self._trace(engine, graph, kind, batch, y_shape, weighted)

    def _trace(
        self, engine: Engine, graph: Any, kind: str, batch: int, y_shape: tuple[int, ...] | None,
        weighted: bool,
    ) -> None:  # fmt: skip
        model = engine.model
        shape = model.input_shape[1:]
        x = graph.input((batch, *shape), model.dtype)
        prediction = model(x, training=kind == "train")
        keeps_batch(prediction, batch, f"model {model.name!r}")
        self.shape = tuple(prediction.shape[1:])
        self.dtype = prediction.dtype
        self.first = model.layers[0] if model.layers else None
        self.targets: list[tuple[str, str]] = []  # (kind of target, name)
        self.weighted = weighted
        if kind == "predict":
            # an output that is the input itself, or a parameter, is copied by an operator
            out = prediction if prediction.id != x.id else prediction * 1.0
            self.program = _core.Program(graph, outputs=(out,))
            return
        loss = engine.loss
        used = [loss.target] if loss is not None else []
        self.metrics = engine.metrics_for(y_shape, prediction.shape)
        used += [m.target for m, _ in self.metrics]
        values: dict[str, Any] = {}
        for target in ("same", "index"):
            if target in used:
                self.targets.append((target, "y"))
                values[target] = self._target(graph, target, prediction)
        weight = graph.input((batch,), self.dtype) if weighted else None
        sums = tuple(
            m.emit(values[m.target], prediction, weight if heeds else None)
            for m, heeds in self.metrics
        )
        self.sizes = [int(np.prod(s.shape)) for s in sums]
        total = loss.emit(values[loss.target], prediction, weight)
        state = engine.state if kind == "train" else None
        self.program = _core.Program(graph, loss=total, optimizer=state, outputs=sums)

    @staticmethod
    def _target(graph: Any, target: str, prediction: Any) -> Any:
        if target == "same":
            return graph.input(prediction.shape, prediction.dtype)
        if len(prediction.shape) < 2:
            raise ValueError(
                f"class labels need predictions of shape (batch, classes), got {prediction.shape}"
            )
        return graph.input(prediction.shape[:-1], np.int32)

    def feeds(self, data: _Data, input_shape: tuple[int, ...]) -> tuple[Any, ...]:
        """What run_loop reads, checked against the shapes of this program."""
        x = shaped(data.x, input_shape, "x", f"the model's input is {(None, *input_shape)}")
        check = getattr(self.first, "check_input", None)
        if check is not None:  # Embedding: a program cannot refuse a number
            check(x)
        found = [("x", x, 0, False)]
        for target, name in self.targets:
            if data.y is None:
                raise ValueError("y is missing: the loss compares predictions with targets")
            classes, shape = 0, self.shape
            if target == "index":
                classes, shape = self.shape[-1], self.shape[:-1]
            why = f"the model's predictions are {(None, *self.shape)}"
            if target == "index" and data.y.shape[1:] == self.shape and classes > 1:
                why += " and the loss takes class labels (one-hot targets need the " \
                    "categorical_crossentropy loss)"  # fmt: skip
            y = shaped(data.y, shape, name, why)
            found.append((name, y, classes, target == "same"))
        if self.weighted:
            found.append(("sample_weight", data.weight, 0, True))
        return tuple(found)


# ---- the engine ----------------------------------------------------------------------------


class Engine:
    """What `compile` makes: the optimizer's state, the loss, the metrics, the programs."""

    def __init__(
        self, model: Model, optimizer: Any, loss: Any, metric_list: Any, weighted_metrics: Any
    ) -> None:
        self.model = model
        self.optimizer = None if optimizer is None else optimizers.get(optimizer)
        self.loss = None if loss is None else losses.get(loss)
        self._metric_ids = [(m, False) for m in _as_list(metric_list)]
        self._metric_ids += [(m, True) for m in _as_list(weighted_metrics)]
        for identifier, _ in self._metric_ids:
            metrics.for_shapes(identifier, (1,), (1, 1))  # a wrong name fails now
        self._metrics: dict[Any, list[tuple[Any, bool]]] = {}
        self._programs: dict[Any, list[_Compiled]] = {}
        self._live: Any = None  # model(x) and small predicts
        self.check_every = CHECK_EVERY
        self._make_state()
        self.epochs_seen = 0  # over all calls of fit: each epoch has an order of its own

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
        if known is not None:
            return ["loss", *(m.name for m, _ in known)]
        return ["loss", *(m if isinstance(m, str) else metrics.get(m).name
                          for m, _ in self._metric_ids)]  # fmt: skip

    def metrics_for(
        self, y_shape: tuple[int, ...] | None, prediction: tuple[int, ...]
    ) -> list[tuple[Any, bool]]:
        """The metrics, "accuracy" being resolved by the shapes of target and prediction."""
        key = (None if y_shape is None else y_shape[1:], prediction[1:])
        if key not in self._metrics:
            self._metrics = {
                key: [
                    (metrics.for_shapes(m, y_shape or prediction, prediction), heeds)
                    for m, heeds in self._metric_ids
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
        y_shape = None if data.y is None or kind == "predict" else data.y.shape
        trainable = tuple(w.trainable for w in self.model.weights) if kind == "train" else ()
        weighted = kind != "predict" and data.weight is not None
        key = (kind, batch, None if y_shape is None else y_shape[1:], weighted, trainable)
        free = self._programs.get(key)
        if free:
            return key, free.pop()
        if len(self._programs) >= _MAX_PROGRAMS:
            self._programs.pop(next(iter(self._programs)), None)
        return key, _Compiled(self, kind, batch, y_shape, weighted)

    def _give(self, key: Any, compiled: _Compiled) -> None:
        self._programs.setdefault(key, []).append(compiled)

    def _run(self, kind: str, data: _Data, batch: int, steps: Steps) -> None:
        """Runs the batches [steps.first, steps.last) of the data in one C call."""
        self._ensure_built(data.x)
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
        source = _source(x, y, sample_weight, class_weight, batch, shuffle, steps_per_epoch)
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
            return _source(x, y, w, None, batch, False, steps)
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
                self._ensure_built(data.x)
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
        source = _source(x, y, sample_weight, None, batch, False, steps)
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

    def predict(self, x: Any, batch_size: Any, steps: Any = None, callbacks: Any = None) -> Array:
        if hasattr(x, "__next__") or hasattr(x, "batch_size"):  # a generator or a loader
            parts = []
            for k, item in enumerate(x):
                if steps is not None and k >= steps:
                    break
                parts.append(self.predict(item[0] if isinstance(item, tuple) else item, None))
            if not parts:
                raise ValueError("predict: the data gave no batch")
            return np.concatenate(parts)
        one = isinstance(x, np.ndarray) and x.ndim > 0 and not callbacks
        if one and 0 < len(x) <= (batch_size or _PREDICT_BATCH):  # one batch: the short way
            return self._call(x)
        data = _Data(x, None, None)
        self._ensure_built(data.x)
        batch = _PREDICT_BATCH if batch_size is None else whole("batch_size", batch_size, 1)
        batch = max(1, min(batch, data.rows))
        hooks = None
        if callbacks:
            hooks = CallbackList(callbacks, model=self.model, verbose=0, epochs=1, steps=None)
            hooks.on_predict_begin()
        run = Steps(self)
        run.plan(0, -(-data.rows // batch), None, 0, None, None)
        if data.rows == 0:
            shape = self.model.output_shape[1:]
            shaped(data.x, self.model.input_shape[1:], "x", "that is the model's input")
            result = np.empty((0, *shape), self.model.layers[-1].dtype)
        else:
            self._run("predict", data, batch, run)
            result = run.result
        if hooks is not None:
            hooks.on_predict_end()
        return result

    def _call(self, x: Array) -> Array:
        if self._live is None:
            self._ensure_built(readable(x, "x"))
            self._live = inference(self.model, frozen=False)
        return self._live(x)

    # ---- single batches ----

    def train_on_batch(
        self, x: Any, y: Any, sample_weight: Any, class_weight: Any, return_dict: bool
    ) -> Any:
        self._require("train_on_batch")
        return self._single("train", _Data(x, y, sample_weight, class_weight), return_dict)

    def test_on_batch(self, x: Any, y: Any, sample_weight: Any, return_dict: bool) -> Any:
        self._require("test_on_batch")
        return self._single("test", _Data(x, y, sample_weight), return_dict)

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


def inference(model: Model, batch_size: int | None = None, *, frozen: bool) -> Any:
    """A callable fn(x, out=None) over the model's weights, or over a copy of them as they
    are now (frozen); see `Model.compile_inference`."""
    from .models import restore_inference  # models imports this module

    model._require_built("an inference function")
    if batch_size is not None:
        whole("batch_size", batch_size, 1)
    input_shape, dtype = model.input_shape[1:], np.dtype(model.dtype)
    copies = _copies(model) if frozen else {}
    kept = (model.get_config(), [w.numpy() for w in model.weights]) if frozen else None

    def compile_rows(rows: int) -> Any:
        if batch_size is not None and rows != batch_size:
            raise ValueError(
                f"x: got {rows} rows, expected {batch_size}, the batch_size of compile_inference"
            )
        if rows == 0:
            raise ValueError("x: got no rows, expected at least one")
        graph = _core.Graph()
        x = graph.input((rows, *input_shape), dtype)
        with _recording.tracing(graph):
            out = model.call(x, training=False)
        keeps_batch(out, rows, f"model {model.name!r}")
        graph.freeze(copies)
        return _core.Program(graph, outputs=(out if out.id != x.id else out * 1.0,))

    def convert(x: Any) -> Array:
        array = shaped(readable(x, "x"), input_shape, "x", f"the model's input is "
                       f"{(None, *input_shape)}")  # fmt: skip
        return np.require(array, dtype, ["C_CONTIGUOUS", "ALIGNED"])

    def reduce() -> Any:
        if kept is None:
            raise TypeError("a live model's function cannot be pickled; use compile_inference")
        return restore_inference, (*kept, batch_size)

    return _core.Inference((batch_size or 1, *input_shape), dtype, compile_rows, convert, reduce)


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
        self.result: Any = None
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
        feeds = either.feeds(data, model.input_shape[1:])
        self.losses, self.done = np.empty(count), np.zeros(1, np.int64)
        self._spans = (data.rows, batch)
        sums: Any = (None,)
        results: Any = (None,)
        lr = None
        step = 0
        if kind == "predict":
            self.result = np.empty((data.rows, *either.shape), either.dtype)
            results = (self.result,)
        else:
            if self.sums is None:
                self.sums = [np.zeros(n) for n in either.sizes]
                self.found = either.metrics
            sums, results = tuple(self.sums), (None,) * len(self.sums)
        if kind == "train":
            step = engine.optimizer.iterations
            lr = np.ascontiguousarray(engine.optimizer.lr_at(np.arange(step, step + count)))
        try:
            _core.run_loop(
                full and full.program, rest and rest.program, feeds, data.rows, batch, self.order,
                self.first, self.last, model._seed, step, lr,
                None if kind == "predict" else self.losses, sums, results, self.done,
                self._progress if self.hooks is not None else None,
                engine.check_every if kind == "train" else 0,
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
        x = data.x[chosen if self.order is None else self.order[chosen]]
        if not np.isfinite(x).all():
            where = "x itself is not"
        else:
            where = _first_not_finite(model, x) or "no layer's result, so the loss's own value"
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
        self.found, self.sums = compiled.metrics, sums
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
            for (metric, _), vector in zip(self.found, self.sums, strict=True):
                found[metric.name] = metric.result_from(vector)
        return found


def _first_not_finite(model: Model, x: Array) -> str | None:
    """The first layer of a stack whose result for x is not finite."""
    try:
        for layer in model.layers:
            x = np.asarray(layer(x))
            if not np.isfinite(x).all():
                return f"the result of layer {layer.name!r}"
    except (TypeError, ValueError):  # layers that are not simply one behind the other
        return "the result of some layer"
    return None


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

    def __init__(self, loader: Any, limit: int | None, table: Any) -> None:
        x, y, w = (*loader.arrays, None, None)[:3]
        super().__init__(_Data(x, y, w, table), loader.batch_size, False, limit, "x")
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

    def __init__(self, batches: Iterable[Any], batch: int, limit: int | None, table: Any) -> None:
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
            data = _Data(x, y, w, self.table)
            if data.rows == 0:
                raise ValueError("a batch has no rows")
            self.taken += 1
            yield data, data.rows, 1, None
            count += 1


def _source(
    x: Any, y: Any, weight: Any, class_weight: Any, batch: int, shuffle: Any, steps: Any
) -> Any:
    limit = None if steps is None else whole("steps_per_epoch", steps, 1)
    if x is None:
        raise ValueError("x is missing: pass an array, a DataLoader or a generator")
    is_stream = hasattr(x, "__next__") or (hasattr(x, "batch_size") and hasattr(x, "__iter__"))
    if is_stream:
        if y is not None or weight is not None:
            raise ValueError("y and sample_weight come from the loader or generator itself")
        if getattr(x, "arrays", None) is not None:
            return _Loader(x, limit, class_weight)
        return _Stream(x, batch, limit, class_weight)
    return _Arrays(_Data(x, y, weight, class_weight), batch, bool(shuffle), limit, "x")


def _as_list(items: Any) -> Sequence[Any]:
    if items is None:
        return []
    return list(items) if isinstance(items, (list, tuple)) else [items]
