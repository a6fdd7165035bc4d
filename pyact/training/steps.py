"""A stretch of batches: the one call into C that runs it, and what it measured."""

from __future__ import annotations

from math import fsum
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import _core
from ..layers.feedback import Feedback
from .data import labels_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..models import Model
    from .data import Data
    from .engine import Engine
    from .program import Compiled

    Array = NDArray[Any]

__all__ = ["Steps"]


class Steps:
    """A stretch of batches and what they measured so far."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.loss_sum = 0.0
        self.rows_done = 0
        self.sums: list[Array] | None = None
        self.watched: list[Any] = []  # what is counted for `NeuronHealth`
        self.done = np.zeros(1, np.int64)
        self.losses = np.empty(0)
        self.results: list[Array] = []
        self.squares: Array | None = None  # of each gradient, then the steps looked at and rows
        self._spans: Any = None

    def plan(
        self, first: int, last: int, order: Array | None, offset: int, total: Any, hooks: Any
    ) -> None:
        """The next call runs the batches [first, last)."""
        self.first, self.last, self.order = first, last, order
        self.offset, self.total, self.hooks = offset, total, hooks

    def run(
        self, engine: Engine, kind: str, data: Data, batch: int,
        full: Compiled | None, rest: Compiled | None, look: Compiled | None,
    ) -> None:  # fmt: skip
        either = max((c for c in (full, rest, look) if c is not None), key=lambda c: len(c.sizes))
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
                self.sums = []
                self.found, self.names = either.metrics, either.names
            if len(self.sums) < len(either.sizes):  # the first batch that is looked at
                self.sums += [np.zeros(n) for n in either.sizes[len(self.sums) :]]
            self.watched = either.health or self.watched
            sums, results = tuple(self.sums[: len(either.sizes)]), (None,) * len(either.sizes)
        watch = None
        if kind == "train":
            watch = self._watch(engine)
            step = engine.optimizer.iterations
            lr = engine.optimizer.rates(step, count)
        try:
            _core.run_loop(
                full and full.program, rest and rest.program, feeds, data.rows, batch, self.order,
                self.first, self.last, model._seed, step, lr,
                None if kind == "predict" else self.losses, sums, results, self.done,
                self._progress if self.hooks is not None else None,
                engine.check_finite and kind == "train", watch,
                engine.optimizer._updates if kind == "train" else None, look and look.program,
            )  # fmt: skip
        except FloatingPointError as found:
            raise FloatingPointError(self._not_finite(data, found.args[1])) from None
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
            for _, weights in trained(engine.model) for w in weights
        )  # fmt: skip
        if self.squares is None:
            self.squares = np.zeros(len(grads) + 2)
        return grads, engine.health.every, self.squares

    def health(self) -> tuple[Any, Any]:
        """For each activation (layer's name, share of saturated values of each unit); for each
        layer with weights (name, root mean square of its gradient's norm)."""
        shares, norms = [], []
        if self.sums is not None and self.squares is not None and self.squares[-1] > 0:
            for (name, each, _), counts in zip(
                self.watched, self.sums[len(self.found) :], strict=True
            ):
                shares.append((name, counts / (each * self.squares[-1])))
            at = 0
            for name, weights in trained(self.engine.model):
                total = self.squares[at : at + len(weights)].sum()
                norms.append((name, float(np.sqrt(total / self.squares[-2]))))
                at += len(weights)
        return shares, norms

    def _not_finite(self, data: Data, overflowed: int) -> str:
        """Where a step went wrong that was not made. overflowed: the address of what its
        update made so, or 0."""
        engine, at = self.engine, self.first + int(self.done[0])
        model = engine.model
        named = [
            (f"weight {w.name!r} of layer {layer.name!r}", w) for layer in model.layers
            for w in layer.weights
        ]  # fmt: skip
        undone = (
            f"The step was not made: weights, optimizer and its {engine.optimizer.iterations} "
            "iterations are as before it. Lower the learning rate, clip gradients, "
        )
        wrong = [what for what, w in named if not np.isfinite(w).all()]
        if wrong:
            return f"batch {at}: {wrong[0]} is not finite, and was so before this step"
        if overflowed:
            return (
                f"batch {at}: the update of {_at(overflowed, named, engine.state)} overflowed, "
                f"though loss and gradients were finite. {undone}or switch this check off by "
                "compile(check_finite=False)"
            )
        rows, batch = self._spans
        chosen: Any = slice(at * batch, min((at + 1) * batch, rows))
        chosen = chosen if self.order is None else self.order[chosen]
        xs = [x[chosen] for x in data.x]
        wrong_x = [
            name for name, x in zip(labels_of(model, "x"), xs, strict=True)
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
            f"{where}{found}. {undone}look at the data, or switch this check off by "
            "compile(check_finite=False)"
        )

    def state(self) -> dict[str, Any]:
        """What has been measured, for `restore`."""
        rows, batch = self._spans
        return {
            "loss_sum": float(self.loss_sum),
            "rows_done": int(self.rows_done),
            "sums": list(self.sums or ()),
            "squares": self.squares,
            "of": [rows, batch] if rows != batch else None,  # of a stream each is its own
        }

    def restore(self, state: Any, data: Data, batch: int) -> None:
        """Goes on from a `state` of the same epoch over the same data."""
        if state["of"] not in (None, [data.rows, batch]):
            raise ValueError(
                "resume_from: the run had {} rows in batches of {}, this one has {} in "
                "batches of {}".format(*state["of"], data.rows, batch)
            )
        watched = self.engine.health is not None
        free, compiled = self.engine.take("train", min(batch, data.rows), data, watched)
        free.append(compiled)
        sums = [np.array(s, np.float64).reshape(-1) for s in state["sums"]]
        if [s.size for s in sums] != compiled.sizes[: len(sums)] or len(sums) < len(
            compiled.metrics
        ):
            raise ValueError("resume_from: the run had other metrics than this one")
        self.found, self.sums, self.names = compiled.metrics, sums, compiled.names
        self.watched = compiled.health
        if watched and state.get("squares") is not None:
            self.squares = np.array(state["squares"], np.float64).reshape(-1)
        self.loss_sum, self.rows_done = float(state["loss_sum"]), int(state["rows_done"])

    def _so_far(self) -> tuple[float, int]:
        """Loss times rows, and rows, of the batches that the current call has done."""
        done = int(self.done[0])
        if done == 0:
            return 0.0, 0
        rows, batch = self._spans
        *losses, last = self.losses[:done].tolist()
        short = min(batch, rows - (self.first + done - 1) * batch)
        return batch * fsum(losses) + short * last, batch * (done - 1) + short

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


def trained(model: Model) -> list[tuple[str, list[Any]]]:
    """(name, weights that the optimizer changes) of each layer that has such."""
    found = [
        (layer.name, [w for w in layer.weights if w.trainable and w.block is not None])
        for layer in model.layers
    ]
    return [(name, weights) for name, weights in found if weights]


def _at(address: int, named: list[tuple[str, Any]], state: Any) -> str:
    """Whose array begins at this address."""
    for what, w in named:
        if w.block is None:
            continue
        slots = [state.slot(w.block, k).view(w.offset, w.shape) for k in range(state.slots)]
        for kind, array in (("", w), *(("the optimizer's state of ", s) for s in slots)):
            if array.__array_interface__["data"][0] == address:
                return kind + what
    return "what a layer keeps"


def _since(layer: Any, y: Any) -> str:
    """From which of its steps on the result of a feedback loop is not finite."""
    if not isinstance(layer, Feedback) or np.ndim(y) != 3:
        return ""
    wrong = ~np.isfinite(np.asarray(y)).all(axis=(0, 2))
    return f", from its step {int(wrong.argmax())} on" if wrong.any() else ""


def _first_not_finite(model: Model, xs: list[Array]) -> str | None:
    """The first layer whose result for this batch is not finite."""
    found: list[str] = []

    def see(layer: Any, values: list[Any]) -> None:
        if not found and not all(np.isfinite(np.asarray(v)).all() for v in values):
            found.append(f"the result of layer {layer.name!r}{_since(layer, values[0])}")

    try:
        model.network.run(xs, False, see)
    except (TypeError, ValueError):
        return found[0] if found else "the result of some layer"
    return found[0] if found else None
