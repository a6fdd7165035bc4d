"""The tape: what ran is recorded, and walked back."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import _core, _recording, random_state
from .._core import Value
from .._trees import leaves, refill
from ..variables import Tensor, Weight
from .rules import RULES, twice_differentiable, unbroadcast


class GradientTape:
    """Records what is computed from variables, and gives gradients of it.

    persistent: may `gradient` be called more than once? watch_accessed_variables: are
    trainable variables watched by themselves? Constants (`pyact.constant`) are watched
    when `watch` is told to. Python's control flow is free. Tapes may stand inside each
    other: the gradient taken inside the outer one is differentiable again where every
    operator on the way has a rule for it (`pyact.autodiff.twice_differentiable`).

    >>> x = constant(3.0)
    >>> with GradientTape() as tape:
    ...     tape.watch(x)
    ...     y = x * x
    >>> float(tape.gradient(y, x))
    6.0
    """

    def __init__(self, persistent: bool = False, watch_accessed_variables: bool = True) -> None:
        self._persistent = bool(persistent)
        self._watch_variables = bool(watch_accessed_variables)
        self._record: Any = None
        self._watched: dict[int, tuple[Any, int]] = {}
        self._first = self._last = 0
        self._inside = self._owns = self._spent = False
        self._before: Any = None

    def __enter__(self) -> GradientTape:
        if self._inside or self._spent:
            raise ValueError("this tape is recording already, or has given its gradients")
        record = _recording.current()
        resumed = self._record is not None
        if resumed and record is not None and record is not self._record:
            raise ValueError("a tape cannot go on inside of another tape than before")
        self._owns = record is None
        if record is None:
            if not resumed:
                self._record = _recording.Record(_core.Tape(random_state.seed_value()))
            self._before = _recording.use(self._record)
        else:
            self._record = record
        if not resumed:
            self._first = self._record.owner.nodes
        self._record.tapes += 1
        self._inside = True
        return self

    def __exit__(self, *exception: object) -> None:
        self._last = self._record.owner.nodes
        self._record.tapes -= 1
        self._inside = False
        if self._owns:
            _recording.use(self._before)
            self._before = None
        if self._spent:
            self._record = None

    def _require(self, what: str) -> Any:
        if self._spent:
            raise RuntimeError(
                f"{what}: this tape has given its gradients; make it with persistent=True to ask "
                "more than once"
            )
        if self._record is None:
            raise RuntimeError(f"{what}: this tape has not recorded anything yet; use it in `with`")
        return self._record

    def watch(self, tensor: Any) -> None:
        """Makes gradients in `tensor` (a constant, a variable, a value, or a nested
        structure of them) available. Raises TypeError for other types."""
        self._require("watch")
        watched = leaves(tensor)
        for x in watched:
            if not isinstance(x, (Tensor, Value)):
                raise TypeError(
                    f"watch: got {type(x).__name__}, expected a pyact.constant or Variable: a tape "
                    "cannot follow a plain array or number; make it one with pyact.constant(x)"
                )
            known = 0  # what was computed from a constant before is not followed
            if isinstance(x, Tensor) and not self._watches(x) and self._record.is_tape:
                self._record.forget(x)
                known = len(self._record.values_of(x))
            self._watched.setdefault(id(x), (x, known))

    def watched_variables(self) -> tuple[Any, ...]:
        """The variables that were met, in that order."""
        record = self._require("watched_variables")
        return tuple(x for x, _ in record.met.values() if self._watches(x) and hasattr(x, "block")
                     and x.block is not None)  # fmt: skip

    def stop_recording(self) -> Any:
        """A context in which nothing is recorded."""
        return _recording.paused()

    def reset(self) -> None:
        """Forgets what was recorded so far."""
        record = self._require("reset")
        self._first = self._last = record.owner.nodes

    def _watches(self, x: Any) -> bool:
        if id(x) in self._watched:
            return True
        if isinstance(x, Value):
            return x.owner is self._record.owner  # results of what is recorded
        return self._watch_variables and isinstance(x, Weight) and x.trainable

    def gradient(
        self,
        target: Any,
        sources: Any,
        output_gradients: Any = None,
        unconnected_gradients: str = "none",
    ) -> Any:
        """Gradients of sum(target * output_gradients) in the sources.

        target: a value of the tape, or a nested structure whose gradients are added up.
        sources: a variable, watched constant or value, or a nested structure; the result
        has the same one. output_gradients: arrays of the targets' shapes (default: ones).
        unconnected_gradients: what a source gets on which no target depends: "none" for
        None, "zero" for zeros. Results are arrays; inside another tape they are values.

        Raises RuntimeError when asked a second time of a tape that is not persistent,
        ValueError for shapes that do not fit, TypeError for other types.
        """
        record = self._require("gradient")
        found = self._sources("gradient", sources, unconnected_gradients)
        targets = leaves(target)
        seeds: list[Any] = [None] * len(targets)
        if output_gradients is not None:
            seeds = leaves(output_gradients)
            if len(seeds) != len(targets):
                raise ValueError(
                    f"output_gradients: got {len(seeds)}, expected one for each of the "
                    f"{len(targets)} targets"
                )
        grads = self._gradients(record, targets, seeds, found)
        if unconnected_gradients == "zero":
            grads = [np.zeros(x.shape, x.dtype) if g is None else g
                     for g, x in zip(grads, found, strict=True)]  # fmt: skip
        self._given()
        return refill(sources, grads)

    def jacobian(self, target: Any, sources: Any, unconnected_gradients: str = "none") -> Any:
        """The derivative of each element of the target in each element of the sources.

        target: one value of the tape. sources, unconnected_gradients: as for `gradient`; the
        result has the structure of the sources, each of shape (*target.shape, *source.shape).
        Walks back once for each element of the target. Inside another tape the result is
        differentiable again, so the Jacobian of a gradient is a Hessian.

        Raises as `gradient` does.

        >>> x = Variable([1.0, 2.0])
        >>> with GradientTape() as tape:
        ...     y = x * x
        >>> tape.jacobian(y, x).tolist()
        [[2.0, 0.0], [0.0, 4.0]]
        """
        record = self._require("jacobian")
        found = self._sources("jacobian", sources, unconnected_gradients)
        shape = tuple(np.shape(target))
        rows = []
        for at in np.ndindex(shape):
            seed = np.zeros(shape, getattr(target, "dtype", None))
            seed[at] = 1
            rows.append(self._gradients(record, [target], [seed], found))
        self._given()
        zero = unconnected_gradients == "zero"
        return refill(sources, [_stacked([row[k] for row in rows], 0, (*shape, *x.shape), x, zero)
                                for k, x in enumerate(found)])  # fmt: skip

    def batch_jacobian(self, target: Any, source: Any, unconnected_gradients: str = "none") -> Any:
        """The Jacobian of row b of the target in row b of the source, for each b.

        target: (batch, ...), of which each row depends on the same row of the source alone.
        source: one source, (batch, ...). Gives (batch, *target.shape[1:], *source.shape[1:]).
        Walks back once for each element of a row.

        Raises ValueError where the batches differ, and as `gradient` does.

        >>> x = constant([[1.0], [2.0]])
        >>> with GradientTape() as tape:
        ...     tape.watch(x)
        ...     y = x * x
        >>> tape.batch_jacobian(y, x).tolist()
        [[[2.0]], [[4.0]]]
        """
        record = self._require("batch_jacobian")
        found = self._sources("batch_jacobian", [source], unconnected_gradients)
        shape, inner = tuple(np.shape(target)), tuple(found[0].shape)
        if not shape or not inner or shape[0] != inner[0]:
            raise ValueError(
                f"batch_jacobian: got a target of shape {shape} and a source of shape {inner}; "
                "expected equal batches first"
            )
        rows = []
        for at in np.ndindex(shape[1:]):
            seed = np.zeros(shape, getattr(target, "dtype", None))
            seed[(slice(None), *at)] = 1
            rows.append(self._gradients(record, [target], [seed], found)[0])
        self._given()
        zero = unconnected_gradients == "zero"
        return _stacked(rows, 1, (*shape, *inner[1:]), found[0], zero)

    @staticmethod
    def _sources(what: str, sources: Any, unconnected: str) -> list[Any]:
        """The leaves of the sources; raises for what cannot be one."""
        if unconnected not in ("none", "zero"):
            raise ValueError(
                f"unconnected_gradients: got {unconnected!r}, expected 'none' or 'zero'"
            )
        found = leaves(sources)
        for x in found:
            if not isinstance(x, (Tensor, Value)):
                raise TypeError(
                    f"{what}: got {type(x).__name__} as a source, expected a Variable, a watched "
                    "pyact.constant or a value computed inside the tape"
                )
        return found

    def _given(self) -> None:
        """It has given its gradients."""
        if not self._persistent:
            self._spent = True
            if not self._inside:
                self._record = None

    def _gradients(self, record: Any, targets: Any, seeds: Any, sources: Any) -> list[Any]:
        last = record.owner.nodes if self._inside else self._last
        values: list[list[Any]] = [
            record.values_of(x)[self._watched.get(id(x), (x, 0))[1] :] if self._watches(x) else []
            for x in sources
        ]
        wanted = {v.id: v for many in values for v in many}
        # the operators' own passes give what cannot be differentiated again; rules written with
        # operators give what can, and know what the slope of a slope is
        if record.is_tape:
            again = _recording.current() is record
        else:
            again = record.for_gradients or record.tapes > 0
        rules = again or any(
            record.owner.node(k)[0] == "derivative" for k in range(self._first, last)
        )
        total: dict[int, Any] = {}
        for target, seed in zip(targets, seeds, strict=True):
            for to in self._target_values(record, target):
                if seed is not None and np.shape(seed) != tuple(to.shape):
                    raise ValueError(
                        f"output_gradients: got shape {np.shape(seed)}, expected {to.shape}"
                    )
                self._check_second(record, to, wanted)
                walk = _walk_rules if rules else _walk_core
                for key, g in walk(record, to, seed, wanted, self._first, last).items():
                    total[key] = g if key not in total else total[key] + g
        grads = []
        for many in values:
            parts = [total[v.id] for v in many if v.id in total]
            g = None if not parts else parts[0]
            for part in parts[1:]:
                g = g + part
            grads.append(plain(g) if record.is_tape and not again else g)
        return grads

    @staticmethod
    def _target_values(record: Any, target: Any) -> list[Any]:
        found = record.values_of(target)[-1:]
        if found and found[0].dtype.kind != "f":
            raise TypeError(
                f"gradient: the target is {found[0].dtype}, expected float32 or float64"
            )
        return found

    def _check_second(self, record: Any, target: Any, wanted: Any) -> None:
        """Raises when the way from the target leads through a gradient without a rule."""
        if not record.opaque:
            return
        need, seen = {target.id}, set(record.opaque)
        for k in range(record.owner.nodes - 1, -1, -1):
            _, inputs, outputs, _ = record.owner.node(k)
            if need & set(outputs):
                need |= set(inputs)
        for v in sorted(need & seen):
            raise NotImplementedError(
                f"the gradient of a gradient through {record.opaque[v]!r} has no rule; operators "
                "that have one: " + ", ".join(twice_differentiable())
            )


def _stacked(rows: Any, axis: int, shape: tuple[int, ...], source: Any, zero: bool) -> Any:
    """Rows of a Jacobian as one; None where nothing is connected."""
    if not rows:
        return np.zeros(shape, source.dtype)
    if rows[0] is None:
        return np.zeros(shape, source.dtype) if zero else None
    return np.reshape(np.stack(rows, axis=axis), shape)


def plain(g: Any) -> Any:
    return g.numpy() if isinstance(g, Value) else g


def _walk_core(record: Any, to: Any, seed: Any, wanted: Any, first: int, last: int) -> Any:
    """Gradients by the operators' own backward passes."""
    sources = tuple(wanted.values())
    found = record.owner.gradient(to, sources, _seed(record, to, seed), first, last)
    return {v.id: g for v, g in zip(sources, found, strict=True) if g is not None}


def _walk_rules(record: Any, to: Any, seed: Any, wanted: Any, first: int, last: int) -> Any:
    """Gradients written with operators, so that they can be differentiated again."""
    owner = record.owner
    nodes = [(k, owner.node(k)) for k in range(first, last)]
    on_path = set(wanted)
    for _, (_, inputs, outputs, _) in nodes:
        if on_path & set(inputs):
            on_path |= set(outputs)
    path = []
    need = {to.id}
    for k, node in reversed(nodes):
        if need & set(node[2]) and on_path & set(node[1]):
            path.append((k, node))
            need |= set(node[1])
    grad: dict[int, Any] = {to.id: _as_value(record, to, seed)}
    for k, (name, inputs, outputs, attrs) in path:
        if not grad.keys() & set(outputs):
            continue
        xs = [owner.value(i) for i in inputs]
        if name in RULES:
            parts = RULES[name](grad[outputs[0]], owner.value(outputs[0]), xs, attrs)
        else:
            parts = _by_core(record, k, name, outputs, xs, grad)
        for i, x, part in zip(inputs, xs, parts, strict=True):
            if part is not None and i in on_path:
                part = part() if callable(part) else part
                part = unbroadcast(part, x.shape)
                grad[i] = part if i not in grad else grad[i] + part
    return {i: grad[i] for i in wanted if i in grad}


def _by_core(record: Any, k: int, name: str, outputs: Any, xs: Any, grad: Any) -> list[Any]:
    """The gradients of one call by its own backward pass: numbers without a history."""
    unique = {x.id: x for x in xs}
    total: dict[int, Any] = {}
    for o in (o for o in outputs if o in grad):
        to = record.owner.value(o)
        seed = _seed(record, to, grad[o])
        found = record.owner.gradient(to, tuple(unique.values()), seed, k, k + 1)
        for i, g in zip(unique, found, strict=True):
            if g is not None:
                total[i] = g if i not in total else total[i] + g
    for g in total.values():
        if isinstance(g, Value):
            record.opaque[g.id] = name
    return [total.pop(x.id, None) for x in xs]  # an input given twice has its sum once


def _as_value(record: Any, to: Any, seed: Any) -> Any:
    """A seed of the target `to` as a value of the record; None means ones."""
    if isinstance(seed, Value):
        return seed
    numbers = np.ones(to.shape, to.dtype) if seed is None else np.asarray(seed, to.dtype)
    return record.owner.leaf(numbers) if record.is_tape else record.owner.const(numbers)


def _seed(record: Any, to: Any, seed: Any) -> Any:
    """A seed as the core takes it: numbers for a tape, a value of a graph."""
    return plain(seed) if record.is_tape else _as_value(record, to, seed)
