"""Losses, metrics, optimizers and clipping as NumPy formulas: rows of `reference.ROWS`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from oracle import LD, Case, Row, exact, normal, rng

# ---- losses -----------------------------------------------------------------------------------


def mean_of(rows: Any, weight: Any) -> Any:
    """sum_b w_b (mean of sample b's rows) / B; weights of more axes make each step a sample."""
    rows = rows.reshape(*rows.shape[: 1 if weight is None else weight.ndim], -1).mean(axis=-1)
    return np.mean(rows if weight is None else rows * weight)


def share(like: Any, weight: Any) -> Any:
    """What each row of `like` (B, ...) counts in `mean_of`."""
    each = np.full(like.shape, 1 / LD(like.size))
    if weight is None:
        return each
    return each * weight.reshape(*weight.shape, *(1,) * (like.ndim - weight.ndim))


def _step_weights(shape: tuple[int, ...]) -> list[Any]:
    """Weights with more axes than the batch, as a mask of steps makes them: some are 0."""
    every = [exact(np.abs(normal(shape[:n], "steps", n))) for n in range(2, len(shape) + 1)]
    for w in every:
        w.flat[::3] = 0
    return every


def _errors(target: str) -> Callable[[], list[Case]]:
    def cases() -> list[Case]:
        found = []
        for k, shape in enumerate([(1,), (5,), (1, 1), (7, 3), (3, 2, 5), (31, 17), (600, 2)]):
            p, t = normal(shape, "pred", k), normal(shape, "target", k)
            p.flat[0] = t.flat[0]  # no error: the kink of |e|
            w = exact(np.abs(normal(shape[:1], "weight", k)))
            found += [Case((p, t)), Case((p, t, w))]
            found += [Case((p, t, v)) for v in _step_weights(shape)]
        if target == "huber":
            found += [Case(c.inputs, {"delta": 0.375}) for c in found[-4:]]
        return found

    return cases


def add_error(rows: dict[str, Row], name: str, value: Any, slope: Any, **row: Any) -> None:
    def forward(p: Any, t: Any, w: Any = None, **attrs: float) -> Any:
        return mean_of(value(p - t, **attrs), w)

    def vjp(dy: Any, p: Any, t: Any, w: Any = None, **attrs: float) -> Any:
        return dy * share(p, w) * slope(p - t, **attrs), None, None

    rows[name] = Row(
        forward, _errors(name[5:]), vjp=vjp, ulps=(0.51, 32), grad_ulps=(0.6, 3),
        big=lambda: Case((normal((50021, 3), "p"), normal((50021, 3), "t"))),
        why="terms in double; 600 samples are added one by one", **row,
    )  # fmt: skip


def _huber(e: Any, delta: float = 1.0) -> Any:
    a = np.abs(e)
    return np.where(a <= delta, e * e / 2, delta * (a - LD(delta) / 2))


LOW, HIGH = LD(1e-7), LD(1 - 1e-7)  # Keras's bounds of a probability


def softplus(x: Any) -> Any:
    return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))


def sigmoid(x: Any) -> Any:
    e = np.exp(-np.abs(x))
    return np.where(x >= 0, 1, e) / (1 + e)


def binary(p: Any, t: Any, w: Any = None, from_logits: bool = False, label_smoothing: float = 0.0):
    t = t * (1 - LD(label_smoothing)) + LD(label_smoothing) / 2
    if from_logits:
        return mean_of((1 - t) * softplus(p) + t * softplus(-p), w)
    q = np.clip(p, LOW, HIGH)
    return mean_of(-t * np.log(q) - (1 - t) * np.log1p(-q), w)


def _binary_vjp(dy, p, t, w=None, from_logits=False, label_smoothing=0.0):
    t = t * (1 - LD(label_smoothing)) + LD(label_smoothing) / 2
    if from_logits:
        slope = (1 - t) * sigmoid(p) - t * sigmoid(-p)
    else:
        q = np.clip(p, LOW, HIGH)
        slope = np.where(p == q, (q - t) / (q * (1 - q)), 0)
    return dy * share(p, w) * slope, None, None


def _binary_size(dy, p, t, w=None, from_logits=False, label_smoothing=0.0):
    t = t * (1 - LD(label_smoothing)) + LD(label_smoothing) / 2
    if from_logits:
        terms = (1 - t) * sigmoid(p) + t * sigmoid(-p)
    else:
        q = np.clip(p, LOW, HIGH)
        terms = (q + t) / (q * (1 - q))
    return dy * share(p, w) * terms, None, None


def _binary_cases() -> list[Case]:
    found = []
    for k, shape in enumerate([(1,), (5,), (7, 3), (31, 17), (3, 2, 5)]):
        t = exact(rng("t", k).integers(0, 2, shape))
        soft = exact(rng("s", k).random(shape))
        p = exact(rng("p", k).uniform(0.25, 0.75, shape))
        if p.size > 4:
            p.flat[:4] = 0, 1, 2.0**-40, 1
        x = normal(shape, "logit", k, scale=(2, 40)[k % 2])
        w = exact(np.abs(normal(shape[:1], "w", k)))
        found += [
            Case((x, t), {"from_logits": True}), Case((x, soft, w), {"from_logits": True}),
            Case((p, t)), Case((p, soft, w), {"label_smoothing": 0.25}),
            Case((x, t, w), {"from_logits": True, "label_smoothing": 0.125}),
            *(Case((x, t, v), {"from_logits": True}) for v in _step_weights(shape)),
        ]  # fmt: skip
    return found


def log_softmax(x: Any) -> Any:
    x = x - np.max(x, axis=-1, keepdims=True)
    return x - np.log(np.sum(np.exp(x), axis=-1, keepdims=True))


def categorical(p, t, w=None, from_logits=False, label_smoothing=0.0):
    t = t * (1 - LD(label_smoothing)) + LD(label_smoothing) / t.shape[-1]
    if from_logits:
        return mean_of(-np.sum(t * log_softmax(p), axis=-1), w)
    q = np.clip(p / np.sum(p, axis=-1, keepdims=True), LOW, HIGH)
    return mean_of(-np.sum(t * np.log(q), axis=-1), w)


def _categorical_parts(p, t, w, from_logits, label_smoothing):
    """The two terms whose difference is the slope."""
    t = t * (1 - LD(label_smoothing)) + LD(label_smoothing) / t.shape[-1]
    each = share(p[..., 0], w)[..., None]
    if from_logits:
        return each * np.sum(t, axis=-1, keepdims=True) * np.exp(log_softmax(p)), each * t
    total = np.sum(p, axis=-1, keepdims=True)
    q = p / total
    t = np.where((q >= LOW) & (q <= HIGH), t, 0)
    return each * np.sum(t, axis=-1, keepdims=True) / total + 0 * p, each * t / q / total


def _categorical_vjp(dy, p, t, w=None, from_logits=False, label_smoothing=0.0):
    a, b = _categorical_parts(p, t, w, from_logits, label_smoothing)
    return dy * (a - b), None, None


def _categorical_size(dy, p, t, w=None, from_logits=False, label_smoothing=0.0):
    a, b = _categorical_parts(p, t, w, from_logits, label_smoothing)
    return np.abs(dy) * (np.abs(a) + np.abs(b)), None, None


def _one_hot(labels: Any, classes: int) -> Any:
    return exact(np.eye(classes)[labels])


def _class_shapes() -> list[tuple[Any, int]]:
    return [((1,), 2), ((5,), 3), ((7,), 1), ((3, 2), 5), ((31,), 17), ((2,), 1031)]


def _class_cases(sparse: bool) -> Callable[[], list[Case]]:
    def cases() -> list[Case]:
        found = []
        for k, (rows, n) in enumerate(_class_shapes()):
            labels = rng("labels", k).integers(0, n, rows).astype(np.int32)
            x = normal((*rows, n), "logit", k, scale=(2, 30)[k % 2])
            p = exact(rng("p", k).uniform(0.5, 1, (*rows, n)))
            w = exact(np.abs(normal(rows[:1], "w", k)))
            soft = exact(rng("soft", k).random((*rows, n)))
            t = labels if sparse else _one_hot(labels, n)
            found += [
                Case((x, t), {"from_logits": True}), Case((x, t, w), {"from_logits": True}),
                Case((p, t)), Case((p, t, w)),
                *(Case((x, t, v), {"from_logits": True}) for v in _step_weights(rows)),
            ]  # fmt: skip
            if not sparse:
                found += [
                    Case((x, soft, w), {"from_logits": True, "label_smoothing": 0.125}),
                    Case((p, t, w), {"label_smoothing": 0.25}),
                ]
        return found

    return cases


def _as_one_hot(f: Any) -> Any:
    """A function of one-hot targets as one of class labels."""

    def sparse(p, t, w=None, from_logits=False):
        return f(p, np.eye(p.shape[-1], dtype=LD)[t], w, from_logits)

    return sparse


def _sparse_vjp(dy, p, t, w=None, from_logits=False):
    return _categorical_vjp(dy, p, np.eye(p.shape[-1], dtype=LD)[t], w, from_logits)


def _sparse_size(dy, p, t, w=None, from_logits=False):
    return _categorical_size(dy, p, np.eye(p.shape[-1], dtype=LD)[t], w, from_logits)


def add_losses(rows: dict[str, Row]) -> None:
    add_error(rows, "loss_mse", np.square, lambda e: 2 * e)
    add_error(rows, "loss_mae", np.abs, np.sign, kinks=())
    add_error(rows, "loss_huber", _huber,
              lambda e, delta=1.0: np.clip(e, -LD(delta), LD(delta)))  # fmt: skip
    why = "terms and sums in double, 1031 targets one by one; the gradient's two terms cancel"
    big_labels = rng("big").integers(0, 7, 6007).astype(np.int32)
    big = normal((6007, 7), "big")
    rows["loss_binary_crossentropy"] = Row(
        binary, _binary_cases, vjp=_binary_vjp, grad_size=_binary_size, kinks=(0.0, 1.0), why=why,
        big=lambda: Case((big, np.abs(np.sign(big))), {"from_logits": True}),
        ulps=(0.51, 8), grad_ulps=(1.6, 8),
    )  # fmt: skip
    rows["loss_categorical_crossentropy"] = Row(
        categorical, _class_cases(False), vjp=_categorical_vjp, grad_size=_categorical_size,
        big=lambda: Case((big, _one_hot(big_labels, 7)), {"from_logits": True}),
        ulps=(0.51, 8), grad_ulps=(1.6, 512), why=why,
    )  # fmt: skip
    rows["loss_sparse_categorical_crossentropy"] = Row(
        _as_one_hot(categorical), _class_cases(True), vjp=_sparse_vjp, grad_size=_sparse_size,
        big=lambda: Case((big, big_labels), {"from_logits": True}),
        ulps=(0.51, 8), grad_ulps=(1.6, 8), why=why,
    )  # fmt: skip


# ---- metrics: float64 sums [weight times value, weight] ---------------------------------------


def _saturated(y: Any, low: float = -np.inf, high: float = np.inf, between: bool = False) -> Any:
    low, high = y.dtype.type(low), y.dtype.type(high)
    hit = (low <= y) & (y <= high) if between else (y <= low) | (y >= high)
    return hit.reshape(-1, y.shape[-1]).sum(axis=0).astype(np.float64)


def _summed(values: Any, w: Any = None) -> Any:
    axes = 1 if w is None else w.ndim
    rows = values.reshape(*values.shape[:axes], -1).astype(LD).mean(axis=-1)
    w = np.ones(rows.shape, LD) if w is None else w
    return np.array([np.sum(w * rows), np.sum(w)], LD)


def _top_k(p: Any, label: Any, k: int) -> Any:
    its = np.take_along_axis(p, np.asarray(label, np.int64)[..., None], axis=-1)
    return np.isfinite(its[..., 0]) & (np.sum(p > its, axis=-1) < k)


def _confusion(p, t, w=None, n=1, threshold=0.5):
    at = np.array([threshold], LD)
    if n > 1:
        at = np.arange(n).astype(LD) / LD(n - 1)
        at = np.r_[LD(-1e-7), (np.arange(1, n - 1) / (n - 1)).astype(LD), LD(1 + 1e-7)]
    w = np.ones(p.shape[0], LD) if w is None else w
    w = np.broadcast_to(w.reshape(*w.shape, *(1,) * (p.ndim - w.ndim)), p.shape)
    said, is_one = p[None] > at.reshape(-1, *(1,) * p.ndim), t > 0
    axes = tuple(range(1, p.ndim + 1))
    pairs = ((said, is_one), (said, ~is_one), (~said, is_one), (~said, ~is_one))
    return np.stack([np.sum((a & b) * w, axis=axes) for a, b in pairs])


def _metric_cases(kind: str, attrs: Any = ({},)) -> Callable[[], list[Case]]:
    """kind: "error" (any shape), "binary", "rows" (one-hot), "labels"."""

    def cases() -> list[Case]:
        found = []
        for k, (rows, n) in enumerate(_class_shapes()):
            p = exact(np.round(rng(kind, k).random((*rows, n)) * 8) / 8)  # with ties
            labels = rng("labels", k).integers(0, n, rows).astype(np.int32)
            target = {
                "error": normal(p.shape, "t", k),
                "binary": exact(rng("b", k).integers(0, 2, p.shape)),
                "rows": _one_hot(labels, n),
                "labels": labels,
            }[kind]
            w = exact(np.abs(normal(rows[:1], "w", k)))
            for a in attrs:
                found += [Case((p, target), a), Case((p, target, w), a)]
                found += [Case((p, target, v), a) for v in _step_weights(rows)]
        return found

    return cases


def add_metrics(rows: dict[str, Row]) -> None:
    def add(name: str, f: Any, cases: Any) -> None:
        rows[name] = Row(f, cases, ulps=(40, 40), why="2000 terms added in order")

    def binary_accuracy(p, t, w=None, threshold=0.5):
        return _summed((p > threshold) == t, w)

    def same_largest(p, t, w=None):
        return _summed(np.argmax(p, -1) == np.argmax(t, -1), w)

    def sparse_accuracy(p, t, w=None):
        return _summed(np.argmax(p, -1) == t, w)

    def top_k(p, t, w=None, k=5):
        return _summed(_top_k(p, np.argmax(t, -1), k), w)

    ks = ({}, {"k": 1}, {"k": 2})
    errors = _metric_cases("error")
    add("metric_mse", lambda p, t, w=None: _summed((p - t) ** 2, w), errors)
    add("metric_mae", lambda p, t, w=None: _summed(np.abs(p - t), w), errors)
    add("metric_binary_accuracy", binary_accuracy,
        _metric_cases("binary", ({}, {"threshold": 0.25})))  # fmt: skip
    add("metric_categorical_accuracy", same_largest, _metric_cases("rows"))
    add("metric_sparse_categorical_accuracy", sparse_accuracy, _metric_cases("labels"))
    add("metric_top_k", top_k, _metric_cases("rows", ks))
    add("metric_sparse_top_k", lambda p, t, w=None, k=5: _summed(_top_k(p, t, k), w),
        _metric_cases("labels", ks))  # fmt: skip
    tries = ({}, {"threshold": 0.25}, {"n": 9}, {"n": 200})
    add("metric_confusion_at_thresholds", _confusion, _metric_cases("binary", tries))
    plain = Case((normal((5,), "v"),))
    weighted = Case((normal((31,), "v"), np.abs(normal((31,), "w"))))
    add("metric_mean", _summed, lambda: [plain, weighted])
    bounds = (
        {"low": 0.0},
        {"low": -0.5, "high": 0.25},
        {"low": -0.1, "high": 0.0, "between": True},
    )
    shapes = ((5, 3), (64, 7, 6), (9, 16), (40, 37), (0, 4), (3, 1))
    add("metric_saturated", _saturated,
        lambda: [Case((normal(s, "v"),), b) for s in shapes for b in bounds])  # fmt: skip


# ---- optimizers and clipping ------------------------------------------------------------------


@dataclass
class Update:
    """An optimizer: step(p, g, slots, lr, t, **attrs) -> (p, slots) at update t = 1, 2, ...;
    start(**attrs) -> the first values of the slots; tries: attributes to test."""

    step: Callable[..., tuple[Any, list[Any]]]
    start: Callable[..., list[float]]
    tries: list[dict[str, Any]]


@dataclass
class Clip:
    """clip(list of gradients, bound) -> list of gradients; kind: OptimizerState's name."""

    clip: Callable[[list[Any], float], list[Any]]
    kind: str


def sgd(p, g, slots, lr, t, momentum=0.0, nesterov=False, weight_decay=0.0):
    p = p - lr * weight_decay * p
    if not momentum:
        return p - lr * g, slots
    v = momentum * slots[0] - lr * g
    return p + (momentum * v - lr * g if nesterov else v), [v]


def adagrad(p, g, slots, lr, t, initial_accumulator_value=0.1, epsilon=1e-7, weight_decay=0.0):
    a = slots[0] + g * g
    return p - lr * weight_decay * p - lr * g / np.sqrt(a + epsilon), [a]


def rmsprop(
    p, g, slots, lr, t, rho=0.9, momentum=0.0, epsilon=1e-7, centered=False, weight_decay=0.0
):
    v = rho * slots[0] + (1 - rho) * g * g
    found, d = [v], v + epsilon
    if centered:
        a = rho * slots[-1] + (1 - rho) * g
        d = v - a * a + epsilon
    step = lr * g / np.sqrt(d)
    if momentum:
        step = momentum * slots[1] + step
        found.append(step)
    return p - lr * weight_decay * p - step, [*found, a] if centered else found


def adam(
    p, g, slots, lr, t, beta_1=0.9, beta_2=0.999, epsilon=1e-7, amsgrad=False, weight_decay=0.0
):
    m, v = beta_1 * slots[0] + (1 - beta_1) * g, beta_2 * slots[1] + (1 - beta_2) * g * g
    top = np.maximum(slots[2], v) if amsgrad else v
    rate = lr * np.sqrt(1 - beta_2**t) / (1 - beta_1**t)
    p = p - lr * weight_decay * p - rate * m / (np.sqrt(top) + epsilon)
    return p, [m, v, top] if amsgrad else [m, v]


def _shrink(g: Any, norm: Any, bound: float) -> Any:
    return g * (bound / norm) if norm > bound else g


def _norm(gs: list[Any]) -> Any:
    return np.sqrt(sum(np.sum(g.astype(LD) ** 2) for g in gs))


CLIPS = {
    "value": lambda gs, c: [np.clip(g, -c, c) for g in gs],
    "norm": lambda gs, c: [_shrink(g, _norm([g]), c) for g in gs],
    "global_norm": lambda gs, c: [_shrink(g, _norm(gs), c) for g in gs],
}


def add_updates(rows: dict[str, Any]) -> None:
    decay = {"weight_decay": 0.125}
    momentum = {"momentum": 0.75}
    rows["opt_sgd"] = Update(
        sgd, lambda momentum=0.0, **_: [0.0] * bool(momentum),
        [{}, decay, momentum, {**momentum, "nesterov": True}, {**momentum, **decay},
         {**momentum, **decay, "nesterov": True}],
    )  # fmt: skip
    rows["opt_adagrad"] = Update(
        adagrad, lambda initial_accumulator_value=0.1, **_: [initial_accumulator_value],
        [{}, decay, {"initial_accumulator_value": 1.0, "epsilon": 0.01}],
    )  # fmt: skip
    rows["opt_rmsprop"] = Update(
        rmsprop, lambda momentum=0.0, centered=False, **_: [0.0] * (1 + bool(momentum) + centered),
        [{}, decay, momentum, {"centered": True, "epsilon": 0.01},
         {**momentum, **decay, "centered": True, "rho": 0.5, "epsilon": 0.01}],
    )  # fmt: skip
    rows["opt_adam"] = Update(
        adam, lambda amsgrad=False, **_: [0.0] * (2 + amsgrad),
        [{}, decay, {"amsgrad": True}, {"beta_1": 0.5, "beta_2": 0.75, "epsilon": 0.01}],
    )  # fmt: skip
    rows["grad_clip_value"] = Clip(CLIPS["value"], "value")
    rows["grad_clip_norm"] = Clip(CLIPS["norm"], "norm")
    rows["grad_scale_global"] = Clip(CLIPS["global_norm"], "global_norm")
    rows["grad_sumsq"] = Row(
        lambda g: np.sum(np.square(g)), why="squares and sum in double", ulps=(4, 4),
        cases=lambda: [Case((normal(s, "g"),)) for s in [(), (0,), (1,), (5, 7), (1031,)]],
        big=lambda: Case((normal((200003,), "g"),)),
    )  # fmt: skip
