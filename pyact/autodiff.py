"""Automatic differentiation: tapes over operators that run at once, and traced functions.

    w = pyact.Variable(np.zeros((3, 1)))
    with pyact.GradientTape() as tape:
        loss = np.mean((x @ w - y) ** 2)
    gradient = tape.gradient(loss, w)

Inside a tape Python's operators, NumPy's functions, `pyact.ops`, layers, models and
losses are recorded as they run; the same operators with the same backward passes as in
`fit`, so the same bits.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from . import _core, _recording, _tensors, ops, random_state
from ._core import Value
from ._names import real
from .variables import Tensor, Weight, constant

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["GradientTape", "check_grad", "function", "value_and_grad"]


# ---- nested structures ------------------------------------------------------------------------


def _flatten(tree: Any, found: list[Any]) -> Any:
    """Appends the leaves of lists, tuples and dicts; returns how to build it again."""
    if isinstance(tree, dict):
        return {key: _flatten(tree[key], found) for key in tree}
    if isinstance(tree, tuple) and hasattr(tree, "_fields"):
        return (type(tree), [_flatten(item, found) for item in tree])
    if isinstance(tree, (list, tuple)):
        return type(tree)(_flatten(item, found) for item in tree)
    found.append(tree)
    return None


def _unflatten(shape: Any, leaves: Any) -> Any:
    if isinstance(shape, dict):
        return {key: _unflatten(item, leaves) for key, item in shape.items()}
    if isinstance(shape, tuple) and len(shape) == 2 and isinstance(shape[0], type):
        return shape[0](*(_unflatten(item, leaves) for item in shape[1]))
    if isinstance(shape, (list, tuple)):
        return type(shape)(_unflatten(item, leaves) for item in shape)
    return next(leaves)


# ---- the tape ---------------------------------------------------------------------------------


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
        self._watched: dict[int, Any] = {}
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
        self._inside = True
        return self

    def __exit__(self, *exception: object) -> None:
        self._last = self._record.owner.nodes
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
        leaves: list[Any] = []
        _flatten(tensor, leaves)
        for x in leaves:
            if not isinstance(x, (Tensor, Value)):
                raise TypeError(
                    f"watch: got {type(x).__name__}, expected a pyact.constant or Variable: a tape "
                    "cannot follow a plain array or number; make it one with pyact.constant(x)"
                )
            self._watched[id(x)] = x

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
        if unconnected_gradients not in ("none", "zero"):
            raise ValueError(
                f"unconnected_gradients: got {unconnected_gradients!r}, expected 'none' or 'zero'"
            )
        targets: list[Any] = []
        _flatten(target, targets)
        seeds: list[Any] = [None] * len(targets)
        if output_gradients is not None:
            seeds = []
            _flatten(output_gradients, seeds)
            if len(seeds) != len(targets):
                raise ValueError(
                    f"output_gradients: got {len(seeds)}, expected one for each of the "
                    f"{len(targets)} targets"
                )
        found: list[Any] = []
        shape = _flatten(sources, found)
        for x in found:
            if not isinstance(x, (Tensor, Value)):
                raise TypeError(
                    f"gradient: got {type(x).__name__} as a source, expected a Variable, a watched "
                    "pyact.constant or a value computed inside the tape"
                )
        grads = self._gradients(record, targets, seeds, found)
        if unconnected_gradients == "zero":
            grads = [np.zeros(x.shape, x.dtype) if g is None else g
                     for g, x in zip(grads, found, strict=True)]  # fmt: skip
        if not self._persistent:
            self._spent = True
            if not self._inside:
                self._record = None
        return _unflatten(shape, iter(grads))

    def _gradients(self, record: Any, targets: Any, seeds: Any, sources: Any) -> list[Any]:
        last = record.owner.nodes if self._inside else self._last
        values: list[list[Any]] = [record.values_of(x) if self._watches(x) else [] for x in sources]
        wanted = {v.id: v for many in values for v in many}
        # the operators' own passes give numbers; rules written with operators give what can be
        # differentiated again, and know what the slope of a slope is
        again = _recording.current() is record or not record.is_tape
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
            grads.append(g if g is None or again else _plain(g))
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


def _plain(g: Any) -> Any:
    return g.numpy() if isinstance(g, Value) else g


def _walk_core(record: Any, to: Any, seed: Any, wanted: Any, first: int, last: int) -> Any:
    """Gradients by the operators' own backward passes."""
    sources = tuple(wanted.values())
    if seed is not None:
        seed = _plain(seed)
    found = record.owner.gradient(to, sources, seed, first, last)
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
    missing = sorted({node[0] for _, node in path} - set(_RULES))
    if missing and not record.is_tape:
        raise NotImplementedError(
            f"a GradientTape inside a traced function has no rule for {missing[0]!r}; trace "
            "pyact.value_and_grad(f) instead, or take the gradient outside"
        )
    one = np.ones(to.shape, to.dtype) if seed is None else np.asarray(_plain(seed), to.dtype)
    grad: dict[int, Any] = {to.id: (seed if isinstance(seed, Value) else _constant(record, one))}
    for k, (name, inputs, outputs, attrs) in path:
        if not grad.keys() & set(outputs):
            continue
        xs = [owner.value(i) for i in inputs]
        if name in _RULES:
            parts = _RULES[name](grad[outputs[0]], owner.value(outputs[0]), xs, attrs)
        else:
            parts = _by_core(record, k, name, outputs, xs, grad)
        for i, x, part in zip(inputs, xs, parts, strict=True):
            if part is not None and i in on_path:
                part = part() if callable(part) else part
                part = _unbroadcast(part, x.shape)
                grad[i] = part if i not in grad else grad[i] + part
    return {i: grad[i] for i in wanted if i in grad}


def _by_core(record: Any, k: int, name: str, outputs: Any, xs: Any, grad: Any) -> list[Any]:
    """The gradients of one call by its own backward pass: numbers without a history."""
    unique = {x.id: x for x in xs}
    total: dict[int, Any] = {}
    for o in (o for o in outputs if o in grad):
        seed = _plain(grad[o])
        found = record.owner.gradient(record.owner.value(o), tuple(unique.values()), seed, k, k + 1)
        for i, g in zip(unique, found, strict=True):
            if g is not None:
                total[i] = g if i not in total else total[i] + g
    for g in total.values():
        if isinstance(g, Value):
            record.opaque[g.id] = name
    return [total.pop(x.id, None) for x in xs]  # an input given twice has its sum once


def _constant(record: Any, array: Any) -> Any:
    return record.owner.leaf(array) if record.is_tape else record.owner.const(array)


# ---- gradients as operators: what can be differentiated again ---------------------------------


def _unbroadcast(g: Any, shape: tuple[int, ...]) -> Any:
    if tuple(g.shape) == tuple(shape):
        return g
    ahead = len(g.shape) - len(shape)
    axes = tuple(range(ahead)) + tuple(
        i + ahead for i, n in enumerate(shape) if n == 1 and g.shape[i + ahead] != 1
    )
    if axes:
        g = ops.sum(g, axis=axes)
    return g if tuple(g.shape) == tuple(shape) else ops.reshape(g, shape=shape)


def _spread(g: Any, x: Any, attrs: Any) -> Any:
    """The gradient of a reduction, back in the shape of x."""
    rank = len(x.shape)
    axes = {a % rank for a in attrs["axis"]} if attrs["axis"] else set(range(rank))
    kept = tuple(1 if i in axes else n for i, n in enumerate(x.shape))
    g = g if tuple(g.shape) == kept else ops.reshape(g, shape=kept)
    return g if kept == tuple(x.shape) else ops.broadcast_to(g, shape=x.shape)


def _mean_rule(g: Any, y: Any, xs: Any, attrs: Any) -> Any:
    count = max(int(np.prod(xs[0].shape)), 1) / max(int(np.prod(y.shape)), 1)
    return [_spread(g, xs[0], attrs) / float(count)]


def _swap(x: Any) -> Any:
    rank = len(x.shape)
    return ops.transpose(x, perm=(*range(rank - 2), rank - 1, rank - 2))


def _matmul_rule(g: Any, y: Any, xs: Any, attrs: Any) -> Any:
    a = _swap(xs[0]) if attrs["transpose_a"] else xs[0]
    b = _swap(xs[1]) if attrs["transpose_b"] else xs[1]
    da, db = ops.matmul(g, _swap(b)), ops.matmul(_swap(a), g)
    if len(db.shape) > len(xs[1].shape):
        db = ops.sum(db, axis=tuple(range(len(db.shape) - 2)))
    if len(da.shape) > len(xs[0].shape):
        da = ops.sum(da, axis=tuple(range(len(da.shape) - 2)))
    return [_swap(da) if attrs["transpose_a"] else da, _swap(db) if attrs["transpose_b"] else db]


def _dense_rule(g: Any, y: Any, xs: Any, attrs: Any) -> Any:
    x, kernel = xs[0], xs[1]
    if attrs["activation"] is not None:
        before = ops.dense(*xs)
        param = attrs["param"]
        g = g * _slope(attrs["activation"], before, None if param != param else param)
    flat_x = ops.reshape(x, shape=(-1, x.shape[-1])) if len(x.shape) != 2 else x
    flat_g = ops.reshape(g, shape=(-1, g.shape[-1])) if len(g.shape) != 2 else g
    dx = ops.matmul(flat_g, _swap(kernel))
    dx = dx if dx.shape == x.shape else ops.reshape(dx, shape=x.shape)
    return [dx, ops.matmul(_swap(flat_x), flat_g), ops.sum(flat_g, axis=0)][: len(xs)]


def _softmax_rule(g: Any, y: Any, xs: Any, attrs: Any) -> Any:
    return [y * (g - ops.sum(g * y, axis=attrs["axis"], keepdims=True))]


def _log_softmax_rule(g: Any, y: Any, xs: Any, attrs: Any) -> Any:
    return [g - ops.exp(y) * ops.sum(g, axis=attrs["axis"], keepdims=True)]


def _logsumexp_rule(g: Any, y: Any, xs: Any, attrs: Any) -> Any:
    return [_spread(g, xs[0], attrs) * ops.exp(xs[0] - _spread(y, xs[0], attrs))]


def _power_rule(g: Any, y: Any, xs: Any, attrs: Any) -> Any:
    a, b = xs
    return [
        lambda: g * b * ops.power(a, b - 1.0),
        lambda: g * y * ops.log(a),
    ]  # only where somebody wants it: a may be < 0


def _concatenate_rule(g: Any, y: Any, xs: Any, attrs: Any) -> Any:
    axis = attrs["axis"] % len(y.shape)
    parts, at = [], 0
    for x in xs:
        key = [slice(None)] * len(y.shape)
        key[axis] = slice(at, at + x.shape[axis])
        parts.append(_tensors.getitem(g, tuple(key)))
        at += x.shape[axis]
    return parts


def _slice_rule(g: Any, y: Any, xs: Any, attrs: Any) -> Any:
    """Zeros around what was cut out; by a product with a 0/1 matrix along each axis."""
    x = xs[0]
    rank = len(x.shape)
    for axis, begin in enumerate(attrs["begin"]):
        n, m = x.shape[axis], y.shape[axis]
        pace = attrs["step"][axis] if attrs["step"] else 1
        if (begin, pace, m) == (0, 1, n):
            continue
        begin += n if begin < 0 else 0
        place = np.zeros((m, n), y.dtype)
        place[np.arange(m), begin + pace * np.arange(m)] = 1
        order = [i for i in range(rank) if i != axis] + [axis]
        moved = ops.transpose(g, perm=order) if rank > 1 else ops.reshape(g, shape=(1, m))
        shape = moved.shape
        flat = ops.reshape(moved, shape=(-1, m))
        spread = ops.reshape(ops.matmul(flat, place), shape=(*shape[:-1], n))
        back = [order.index(i) for i in range(rank)]
        g = ops.transpose(spread, perm=back) if rank > 1 else ops.reshape(spread, shape=(n,))
    return [g]


def _mse_rule(g: Any, y: Any, xs: Any, attrs: Any) -> Any:
    p, t = xs[0], xs[1]
    e = (p - t) * (2.0 / max(int(np.prod(p.shape)), 1))
    if len(xs) == 3:
        e = e * ops.reshape(xs[2], shape=(p.shape[0], *[1] * (len(p.shape) - 1)))
    return [g * e] + [None] * (len(xs) - 1)


def _step(x: Any) -> Any:
    """1 where x > 0, else 0: the slope of relu, of which the slope is 0."""
    return ops.derivative(x, of="relu")


_PHI0 = 0.3989422804014327  # 1 / sqrt(2 pi)


def _slope(name: str, x: Any, param: Any = None) -> Any:
    """f'(x) as a value."""
    if param is None:
        return ops.derivative(x, of=name)
    return ops.derivative(x, of=name, param=param)


def _bend(name: str, x: Any, p: float) -> Any:
    """f''(x), written with operators; None where it is 0 (almost) everywhere."""
    if name in ("relu", "leaky_relu", "abs", "negative", "hard_sigmoid"):
        return None
    if name == "tanh":
        return -2.0 * ops.tanh(x) * _slope("tanh", x)
    if name == "sigmoid":
        return _slope("sigmoid", x) * (1.0 - 2.0 * ops.sigmoid(x))
    if name == "softplus":
        return _slope("sigmoid", x)
    if name == "exp":
        return ops.exp(x)
    if name == "log":
        return -1.0 / ops.square(x)
    if name == "sqrt":
        return -0.25 / (x * ops.sqrt(x))
    if name == "square":
        return ops.multiply(_step(ops.square(x)), 0.0) + 2.0
    if name == "gelu":
        return _PHI0 * ops.exp(-0.5 * ops.square(x)) * (2.0 - ops.square(x))
    if name == "silu":
        s, ds = ops.sigmoid(p * x), _slope("sigmoid", p * x)
        return p * ds * (2.0 + p * x * (1.0 - 2.0 * s))
    if name in ("elu", "selu"):  # below 0 the slope is its own slope, above it is constant
        return _slope(name, x, p if name == "elu" else None) * _step(-x)
    raise KeyError(name)


_BENT = ("relu", "leaky_relu", "abs", "negative", "hard_sigmoid", "tanh", "sigmoid", "softplus",
         "exp", "log", "sqrt", "square", "gelu", "silu", "elu", "selu")  # fmt: skip


def _derivative_rule(g: Any, y: Any, xs: Any, attrs: Any) -> Any:
    name, param = attrs["of"], attrs["param"]
    if param != param:
        known = _core.op_info(name)["attrs"]
        param = known[0][2] if known else 0.0
    bend = _bend(name, xs[0], param)
    return [None if bend is None else g * bend]


def _map_rule(name: str) -> Callable[..., Any]:
    def rule(g: Any, y: Any, xs: Any, attrs: Any) -> Any:
        return [g * _slope(name, xs[0], next(iter(attrs.values())) if attrs else None)]

    return rule


_RULES: dict[str, Callable[..., Any]] = {
    "add": lambda g, y, xs, a: [g, g],
    "subtract": lambda g, y, xs, a: [g, -g],
    "multiply": lambda g, y, xs, a: [lambda: g * xs[1], lambda: g * xs[0]],
    "divide": lambda g, y, xs, a: [lambda: g / xs[1], lambda: -g * y / xs[1]],
    "power": _power_rule,
    "maximum": lambda g, y, xs, a: [g * (1.0 - _step(xs[1] - xs[0])), g * _step(xs[1] - xs[0])],
    "minimum": lambda g, y, xs, a: [g * (1.0 - _step(xs[0] - xs[1])), g * _step(xs[0] - xs[1])],
    "sum": lambda g, y, xs, a: [_spread(g, xs[0], a)],
    "mean": _mean_rule,
    "matmul": _matmul_rule,
    "dense": _dense_rule,
    "softmax": _softmax_rule,
    "log_softmax": _log_softmax_rule,
    "logsumexp": _logsumexp_rule,
    "reshape": lambda g, y, xs, a: [ops.reshape(g, shape=xs[0].shape)],
    "transpose": lambda g, y, xs, a: [
        ops.transpose(g, perm=np.argsort([p % len(y.shape) for p in a["perm"]]).tolist()
                      if a["perm"] else ())
    ],
    "broadcast_to": lambda g, y, xs, a: [g],
    "concatenate": _concatenate_rule,
    "slice": _slice_rule,
    "cast": lambda g, y, xs, a: [ops.cast(g, dtype=xs[0].dtype)],
    "stop_gradient": lambda g, y, xs, a: [None],
    "loss_mse": _mse_rule,
    "derivative": _derivative_rule,
}  # fmt: skip
_RULES.update({name: _map_rule(name) for name in ops.__all__
               if _core.op_info(name)["kind"] == "map"})  # fmt: skip


def twice_differentiable() -> list[str]:
    """The operators of which gradients of gradients can be taken.

    >>> {"matmul", "dense", "tanh", "gelu", "softmax"} <= set(twice_differentiable())
    True
    """
    maps = {n for n in ops.__all__ if _core.op_info(n)["kind"] == "map"}
    return sorted((set(_RULES) - maps - {"derivative"}) | (maps & set(_BENT)))


# ---- value and gradient of a function ---------------------------------------------------------


def value_and_grad(f: Callable[..., Any], argnums: int | tuple[int, ...] = 0) -> Callable[..., Any]:
    """A function of the same arguments that returns (f(...), gradient).

    f: gives one number (a value of shape ()), computed with pyact.ops, operators or NumPy
    functions. argnums: the argument, or arguments, to differentiate in: arrays, variables, or
    nested structures of them; the gradient has the same structure.

    Raises TypeError when the result is not a value that depends on the arguments' operators,
    ValueError when it is not a single number.

    >>> value, grad = value_and_grad(lambda x: np.sum(x**3.0))(np.array([1.0, 2.0]))
    >>> float(value), grad.tolist()
    (9.0, [3.0, 12.0])
    """
    chosen = (argnums,) if isinstance(argnums, int) else tuple(argnums)

    def both(*args: Any, **kwargs: Any) -> tuple[Any, Any]:
        given = list(args)
        everything: list[Any] = []
        _flatten((args, kwargs), everything)
        wide = any(getattr(x, "dtype", None) == np.float64 for x in everything)
        outer = _recording.current() is not None
        with GradientTape() as tape:
            for k in chosen:
                leaves: list[Any] = []
                shape = _flatten(given[k], leaves)
                leaves = [
                    x if isinstance(x, (Tensor, Value))
                    else constant(x, "float64" if wide and not hasattr(x, "dtype") else None)
                    for x in leaves
                ]  # fmt: skip
                tape.watch(leaves)
                given[k] = _unflatten(shape, iter(leaves))
            value = f(*given, **kwargs)
            if np.shape(value) != ():
                raise ValueError(
                    f"value_and_grad: the function gave shape {np.shape(value)}, expected one "
                    "number; take a sum or a mean"
                )
        grads = tape.gradient(value, tuple(given[k] for k in chosen), None, "zero")
        if isinstance(value, Value) and not outer:
            value = value.numpy()[()]
        return value, grads[0] if isinstance(argnums, int) else grads

    both.__name__ = f"value_and_grad({getattr(f, '__name__', 'f')})"
    both.__doc__ = f.__doc__
    return both


def check_grad(
    f: Callable[..., Any], inputs: Any, eps: float = 1e-5, rtol: float = 1e-4, atol: float = 1e-6
) -> float:
    """Holds the gradients of f against finite differences, in float64.

    f: a function of len(inputs) arrays, written with operators. inputs: an array or a list of
    arrays. Each element is moved by eps max(1, |x|) both ways; for a function with more than
    one result a random weighting of them is summed. Returns the largest error, relative to
    the larger of the two gradients and at least 1.

    Raises AssertionError, naming input and element, where the gradients differ by more than
    atol + rtol |numeric|.

    >>> check_grad(lambda x: np.tanh(x), np.array([0.3, -1.0])) < 1e-8
    True
    """
    eps, rtol, atol = real("eps", eps, above=0), real("rtol", rtol, 0), real("atol", atol, 0)
    given = inputs if isinstance(inputs, (list, tuple)) else [inputs]
    arrays = [np.array(x, np.float64) for x in given]
    weights: list[Any] = []

    def weighted(*values: Any) -> Any:
        y = f(*values)
        if not weights:
            rng = np.random.default_rng(0)
            weights.append(rng.uniform(0.5, 1.5, np.shape(y)))
        return np.sum(y * weights[0])

    _, grads = value_and_grad(weighted, tuple(range(len(arrays))))(*arrays)
    worst = 0.0
    for k, (array, grad) in enumerate(zip(arrays, grads, strict=True)):
        for at in np.ndindex(array.shape):
            h = eps * max(1.0, abs(float(array[at])))
            moved: list[Any] = []
            for sign in (1, -1):
                other = [a.copy() for a in arrays]
                other[k][at] += sign * h
                moved.append((other[k][at], float(weighted(*other))))
            numeric = (moved[0][1] - moved[1][1]) / (moved[0][0] - moved[1][0])
            got = float(grad[at])
            error = abs(got - numeric)
            if not error <= atol + rtol * abs(numeric):
                raise AssertionError(
                    f"check_grad: input {k}, element {at}: the gradient is {got!r}, finite "
                    f"differences give {numeric!r}"
                )
            scale: Any = max(1.0, abs(got), abs(numeric))
            worst = max(worst, float(error / scale))
    return worst


# ---- traced functions -------------------------------------------------------------------------


class Function:
    """What `function` makes: a Python function that runs as a program."""

    def __init__(self, f: Callable[..., Any]) -> None:
        self._f = f
        self._programs: dict[Any, Any] = {}
        self._seed: int | None = None
        self._calls = 0
        self.__name__ = getattr(f, "__name__", "function")
        self.__doc__ = f.__doc__
        self.__wrapped__ = f

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        return self if instance is None else _Method(self, instance)

    @property
    def traces(self) -> int:
        """How many programs there are: one for each combination of shapes and dtypes."""
        return len(self._programs)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if _recording.current() is not None:  # inside a tape or another trace: part of it
            return self._f(*args, **kwargs)
        leaves: list[Any] = []
        shape = _flatten((args, kwargs), leaves)
        arrays = [_input(x) for x in leaves]
        key = (
            repr(shape),
            tuple(
                (a.shape, a.dtype.char) if a is not None else _static(x)
                for a, x in zip(arrays, leaves, strict=True)
            ),
        )
        traced = self._programs.get(key)
        if traced is None:
            traced = self._programs[key] = self._trace(shape, leaves, arrays)
        program, rebuild, fixed, _held = traced
        if self._seed is None:
            self._seed = random_state.seed_value()
        inputs = tuple(a for a in arrays if a is not None)
        made = iter(_core.execute(program, inputs, self._seed, self._calls))
        self._calls += 1
        return _unflatten(
            rebuild, iter([next(made) if k is None else _fixed(k, inputs) for k in fixed])
        )

    def _trace(self, shape: Any, leaves: list[Any], arrays: list[Any]) -> Any:
        graph = _core.Graph()
        with _recording.tracing(graph):
            values = [x if a is None else graph.input(a.shape, a.dtype)
                      for x, a in zip(leaves, arrays, strict=True)]  # fmt: skip
            inputs = [v.id for v, a in zip(values, arrays, strict=True) if a is not None]
            args, kwargs = _unflatten(shape, iter(values))
            result = self._f(*args, **kwargs)
            found: list[Any] = []
            rebuild = _flatten(result, found)
            outputs: list[Any] = []
            fixed: list[Any] = []  # how a result that is not computed is had
            for x in found:
                if isinstance(x, Value) and x.owner is graph and x.id in inputs:
                    fixed.append(("input", inputs.index(x.id)))
                elif isinstance(x, Value) and x.owner is graph:
                    outputs.append(ops.stop_gradient(x) if x.id in {o.id for o in outputs} else x)
                    fixed.append(None)
                elif isinstance(x, Weight) and x.block is not None:
                    fixed.append(("weight", x))
                else:
                    fixed.append(("as it is", x))
            program = _core.Program(graph, outputs=tuple(outputs))
        return program, rebuild, fixed, leaves  # what keys name by id must stay alive


class _Method:
    """A traced method of one object."""

    def __init__(self, function: Function, instance: Any) -> None:
        self._function, self._instance = function, instance
        self.__doc__ = function.__doc__

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._function(self._instance, *args, **kwargs)


def _fixed(how: Any, inputs: Any) -> Any:
    kind, x = how
    if kind == "input":
        return np.array(inputs[x])
    return x.numpy() if kind == "weight" else x


def _static(x: Any) -> Any:
    """What tells two arguments that are no arrays apart."""
    if x is None or isinstance(x, (bool, int, float, str, bytes)):
        return (type(x), x)
    return (type(x), id(x))


def _input(x: Any) -> Any:
    """An argument as an array that is fed anew for each call; None for everything else."""
    if isinstance(x, Weight) and x.block is not None:
        return None
    if isinstance(x, Value):
        x = x.numpy()
    if not isinstance(x, (np.ndarray, np.generic)):
        return None
    array = np.asarray(x)
    if array.dtype.kind not in "fiub":
        raise TypeError(f"a traced function got an array of {array.dtype}, expected real numbers")
    if array.dtype.kind in "iu":
        narrow = array.astype(np.int32)
        if not np.array_equal(narrow, array):
            raise ValueError("a traced function got integers beyond 32 bits; pass them as floats")
        return narrow
    return np.asarray(array, np.float64 if array.dtype.char in "dg?" else np.float32)


def function(f: Callable[..., Any]) -> Function:
    """f, recorded once for each combination of its arguments' shapes and dtypes and run as a
    program in C from then on. May be used as a decorator, also of methods.

    Arrays (also in lists, tuples, dicts) are inputs; integers become int32. Variables and
    weights are read where they lie, so updates are seen. Everything else is fixed at
    recording; other numbers, strings or objects are recorded anew. Python's own statements
    run while recording only: a print or an if on numbers is not part of the program.

    Raises TypeError, naming the line, for what cannot be recorded (a NumPy function without
    an operator, an if on values, an assignment to a variable).

    >>> @function
    ... def norm(x):
    ...     return np.sqrt(np.sum(x * x))
    >>> float(norm(np.array([3.0, 4.0])))
    5.0
    """
    if not callable(f):
        raise TypeError(f"function: got {type(f).__name__}, expected a function")
    return Function(f)
