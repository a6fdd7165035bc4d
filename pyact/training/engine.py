"""What `compile` makes of a model: its optimizer's state, losses, metrics and programs, and
fit, evaluate and predict over them."""

from __future__ import annotations

from contextlib import nullcontext
from functools import wraps
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from .. import losses, metrics, optimizers
from .._names import real, unknown, whole
from .._trees import leaves, map_tree
from ..callbacks import CallbackList, History, NeuronHealth, TerminateOnNaN
from .data import Data, direct, feedable, labels_of, readable
from .inference import inference
from .program import Compiled
from .sources import source_of
from .steps import Steps

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from ..models import Model

    Array = NDArray[Any]

__all__ = ["Engine"]

Trains = TypeVar("Trains", bound="Callable[..., Any]")

PREDICT_BATCH = 256  # rows at a time when the caller does not say


MAX_PROGRAMS = 32  # batch sizes remembered


def _alone(method: Trains) -> Trains:
    """One thread at a time may train with an optimizer: gradients, moments and what `fit` keeps
    on its model are there once."""

    @wraps(method)
    def held(self: Engine, *args: Any, **kwargs: Any) -> Any:
        with nullcontext() if self.optimizer is None else self.optimizer.alone.held():
            return method(self, *args, **kwargs)

    return held  # type: ignore[return-value]


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
        self._programs: dict[Any, list[Compiled]] = {}
        self._live: Any = None  # model(x) and small predicts
        self.check_finite = True
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

    def data(self, x: Any, y: Any, weight: Any, class_weight: Any = None) -> Data:
        """Arrays for this model; a Sequential that does not know its input learns it."""
        if not self.model.built:
            self._ensure_built(readable(x, "x"))
        return Data(self.model, x, y, weight, class_weight)

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
        found = self._metrics.get(key)
        if found is None:
            found = [
                (metrics.for_shapes(m, y_shapes[k] or predictions[k], predictions[k]), heeds, k)
                for m, heeds, k in self._metric_ids
            ]
            self._metrics = {key: found}
        return found

    def forget(self) -> None:
        """Drops all programs: the model has changed."""
        self._programs.clear()
        self._metrics.clear()
        self._live = None

    # ---- programs ----

    def _ensure_built(self, x: Array) -> None:
        self.model.ensure_built((None, *x.shape[1:]))

    def take(
        self, kind: str, batch: int, data: Data, watched: bool = False
    ) -> tuple[list[Compiled], Compiled]:
        """A program that nobody else is running, and the list that it is given back to; when
        the model has changed meanwhile, that list is no longer looked at. watched: does it
        count for `NeuronHealth`?"""
        if kind == "predict":
            key: Any = (kind, batch)
        else:
            trained = kind == "train"
            trainable = tuple(w.trainable for w in self.model.weights) if trained else ()
            y_shapes = tuple(None if y is None else y.shape[1:] for y in data.y)
            weighted = tuple(data.weight_of) if data.weights else ()
            key = (kind, batch, y_shapes, weighted, trainable, watched)
        if len(self._programs) >= MAX_PROGRAMS and key not in self._programs:
            self._programs.pop(next(iter(list(self._programs)), None), None)
        free = self._programs.setdefault(key, [])
        try:  # no test before it: another thread may come between
            return free, free.pop()
        except IndexError:
            return free, Compiled(self, kind, batch, data, watched)

    def _run(self, kind: str, data: Data, batch: int, steps: Steps) -> None:
        """Runs the batches [steps.first, steps.last) of the data in one C call."""
        taken: list[tuple[list[Compiled], Compiled]] = []
        full = rest = look = None
        whole_batches = data.rows // batch
        every = self.health.every if kind == "train" and self.health is not None else 0
        try:
            if steps.first < whole_batches:
                taken.append(self.take(kind, batch, data, every == 1))
                full = taken[-1][1]
            if every > 1 and -(-steps.first // every) * every < min(steps.last, whole_batches):
                taken.append(self.take(kind, batch, data, True))
                look = taken[-1][1]
            if steps.last > whole_batches:
                watched = every > 0 and whole_batches % every == 0
                taken.append(self.take(kind, data.rows % batch, data, watched))
                rest = taken[-1][1]
            if taken:
                steps.run(self, kind, data, batch, full, rest, look)
        finally:
            for free, compiled in taken:
                free.append(compiled)

    # ---- fit ----

    @_alone
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
        source = source_of(self, x, y, sample_weight, class_weight, batch, shuffle, steps_per_epoch)
        held_out = self._validation(source, split, validation_data, validation_batch_size,
                                    validation_steps)  # fmt: skip
        self.model.stop_training = False
        resume = None
        if resume_from is not None:
            from ..saving import Checkpoint  # it imports models, and that this module

            resume = Checkpoint(resume_from, self.model)
            resume.apply(self.model)
        hooks = CallbackList(
            callbacks, model=self.model, verbose=verbose, epochs=epochs, steps=source.steps,
            add_history=True,
        )  # fmt: skip
        history: Any = hooks.history
        self.model.history = history
        checked = self.check_finite
        self.health = next((c for c in hooks.callbacks if isinstance(c, NeuronHealth)), None)
        if any(isinstance(c, TerminateOnNaN) for c in hooks.callbacks):
            self.check_finite = False  # it ends the run in its own, quieter way
        try:
            self._fit(source, held_out, hooks, initial_epoch, epochs, resume)
        except BaseException:
            hooks.abandon()
            raise
        finally:
            hooks.defer_saves(False)
            self.check_finite = checked
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
        from ..saving import save_checkpoint

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
            return source_of(self, x, y, w, None, batch, False, steps)
        if split == 0:
            return None
        return source.hold_out(split)

    def _epoch(self, source: Any, hooks: CallbackList, epoch: int, resume: Any) -> dict[str, float]:
        """One pass over the data, or the rest of one; returns the epoch's logs.

        One that fails before its first step is not counted: the next has its order.
        """
        before = self.model.optimizer.iterations
        self.epochs_seen += resume is None
        try:
            return self._batches(source, hooks, epoch, resume)
        except BaseException:
            self.epochs_seen -= resume is None and self.model.optimizer.iterations == before
            raise

    def _batches(
        self, source: Any, hooks: CallbackList, epoch: int, resume: Any
    ) -> dict[str, float]:
        steps = Steps(self)
        passed = 0 if resume is None else resume.batches
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
        source = source_of(self, x, y, sample_weight, None, batch, False, steps)
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
        short = one and 0 < len(x) <= (batch_size or PREDICT_BATCH)  # one batch: the short way
        live = (self._live or self._small(x)) if short else None
        if live is not None:
            return live(x)
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
        batch = PREDICT_BATCH if batch_size is None else whole("batch_size", batch_size, 1)
        batch = max(1, min(batch, data.rows))
        hooks = None
        if callbacks:
            hooks = CallbackList(callbacks, model=self.model, verbose=0, epochs=1, steps=None)
            hooks.on_predict_begin()
        run = Steps(self)
        run.plan(0, -(-data.rows // batch), None, 0, None, None)
        network = self.model.network
        if data.rows == 0:
            feedable([s.shape[1:] for s in network.inputs], data.x, labels_of(self.model, "x"))
            run.results = [np.empty((0, *s.shape[1:]), s.dtype) for s in network.outputs]
        else:
            self._run("predict", data, batch, run)
        if hooks is not None:
            hooks.on_predict_end()
        found = iter(run.results)
        return map_tree(lambda _: next(found), network.output_form)

    def _small(self, x: Array) -> Any:
        """Makes the short way from one array to one array, for models that have it."""
        if not self.model.built:
            self._ensure_built(readable(x, "x"))
        if not direct(self.model) or self.model.network.checks():
            return None
        self._live = live = inference(self.model, frozen=False)
        return live

    # ---- single batches ----

    @_alone
    def train_on_batch(
        self, x: Any, y: Any, sample_weight: Any, class_weight: Any, return_dict: bool
    ) -> Any:
        self._require("train_on_batch")
        return self._single("train", self.data(x, y, sample_weight, class_weight), return_dict)

    def test_on_batch(self, x: Any, y: Any, sample_weight: Any, return_dict: bool) -> Any:
        self._require("test_on_batch")
        return self._single("test", self.data(x, y, sample_weight), return_dict)

    def _single(self, kind: str, data: Data, return_dict: bool) -> Any:
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
