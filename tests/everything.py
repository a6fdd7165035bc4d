"""Each public part of pyact, once working and once failing: made by walking the registries.

`ENTRIES[name]()` makes an `Entry` anew: `ok` is a call that works, `bad` one that raises, `state`
what a failing call may not change. Operators run on a tape, forward and backward; layers,
losses, metrics, optimizers and callbacks take a training step. test_memory.py and allocations.py
use them; a new operator or class is in them by itself.
"""

from __future__ import annotations

import inspect
import os
import tempfile
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from hostile import UFUNCS, X, Y, smallest, valid_for

import pyact
from pyact import (
    _core,
    callbacks,
    data,
    initializers,
    layers,
    losses,
    metrics,
    optimizers,
    schedules,
)

IMAGES = np.linspace(-1, 1, 256, dtype=np.float32).reshape(4, 4, 4, 4)
SERIES = IMAGES.reshape(4, 16, 4)
LABELS = np.arange(16) % 2


class Entry(NamedTuple):
    ok: Any
    bad: Any
    state: Any = list  # -> arrays


def arguments(kind):
    return {**valid_for(kind), **({"groups": 2} if kind is layers.GroupNormalization else {})}


def weights(model):
    return [*model.get_weights(), np.int64(model.optimizer.iterations)]


def trained(model, x, y, wrong):
    def ok():
        model.train_on_batch(x, y)
        return model.get_weights()

    return Entry(ok, lambda: model.train_on_batch(x, wrong), partial(weights, model))


def dense(loss="mse", metric=(), optimizer="sgd", units=2, activation=None):
    pyact.set_seed(1)
    model = pyact.Sequential([layers.Input((4,)), layers.Dense(units, activation)])
    model.compile(optimizer, loss, list(metric))
    return model


# ---- each kind ---------------------------------------------------------------------------------


def ufunc(name):
    f = getattr(pyact, name, None) or getattr(_core, name)
    return Entry(lambda: f(X), lambda: f("a"))


def operator(name):
    given, attrs = smallest(name)

    def ok():
        tape = _core.Tape(1)
        leaves = tuple(tape.leaf(np.array(x)) for x in given)
        found = tape.apply(name, leaves, attrs)
        first = found[0] if isinstance(found, tuple) else found
        result = [v.numpy() for v in (found if isinstance(found, tuple) else (found,))]
        try:
            grads = tape.gradient(first, leaves)
        except (TypeError, ValueError):  # not differentiable
            return result
        return result + [g.numpy() for g in grads if g is not None]

    return Entry(ok, lambda: _core.Tape(1).apply(name, (), attrs))


def one_layer(kind):
    """A layer, an array that it takes, and its symbolic input and result."""
    why = []
    for x in (X, SERIES, IMAGES):
        inputs = pyact.Input(x.shape[1:])
        made = kind(**arguments(kind))
        try:
            made(np.zeros_like(x) if not kind.takes_many else [x, x])
            return x, inputs, made([inputs, inputs] if kind.takes_many else inputs)
        except (ValueError, TypeError) as error:
            why.append(str(error))
    raise AssertionError(f"no input for {kind.__name__}: {why}")


def layer(kind):
    pyact.set_seed(1)
    x, inputs, out = one_layer(kind)
    many = kind.takes_many
    tail = layers.Dense(1)(layers.Flatten()(out))
    model = pyact.Model(inputs, tail)
    model.compile("adam", "mse")
    good = np.zeros_like(x) if kind is layers.Embedding else x
    entry = trained(model, good, np.ones((len(x), 1), np.float32), np.ones((3, 1), np.float32))

    def ok():
        eager = kind(**arguments(kind), name="one")
        y = eager([good, good] if many else good)
        del y
        return entry.ok()

    def bad():
        kind(**{**arguments(kind), "name": "one", "dtype": "int3"})

    return Entry(ok, bad, entry.state)


def loss(kind):
    labels = kind is losses.SparseCategoricalCrossentropy
    one = kind in (losses.BinaryCrossentropy, losses.CategoricalCrossentropy)
    y = LABELS if labels else np.eye(2, dtype=np.float32)[LABELS] if one else Y
    activation = "sigmoid" if kind is losses.BinaryCrossentropy else "softmax"
    model = dense(kind(), activation=activation)
    return trained(model, X, y, np.full((16, 2, 2), 7.0))


def metric(kind):
    sparse = kind.__name__.startswith("Sparse")
    binary = kind in (metrics.AUC, metrics.Precision, metrics.Recall, metrics.BinaryAccuracy)
    units = 1 if binary else 2
    y = np.eye(2, dtype=np.float32)[LABELS] if units == 2 else LABELS[:, None].astype(np.float32)
    y = LABELS if sparse else y
    activation = "sigmoid" if units == 1 else "softmax"
    made = kind(k=1) if "TopK" in kind.__name__ else kind()
    loss = "sparse_categorical_crossentropy" if sparse else "mse"
    model = dense(loss, [made], units=units, activation=activation)

    def ok():
        return model.evaluate(X, y, batch_size=5, verbose=0)

    return Entry(ok, lambda: model.evaluate(X, np.ones((16, 7, 7)), verbose=0))


def optimizer(kind, **clip):
    made = kind(**clip)
    v = pyact.Variable(np.ones((4, 4), np.float32))
    grad = np.full((4, 4), 0.5, np.float32)

    def ok():
        made.apply_gradients([(grad, v)])
        return v.numpy()

    return Entry(ok, lambda: made.apply_gradients([(X, v)]),
                 lambda: [v.numpy(), np.int64(made.iterations)])  # fmt: skip


def schedule(kind):
    valid = arguments(kind)
    return Entry(lambda: kind(**valid)(np.arange(3)), lambda: kind(**{**valid, first(kind): "a"}))


def initializer(kind):
    made = kind()
    if "seed" in inspect.signature(kind).parameters:
        made = kind(seed=1)
    return Entry(lambda: made((4, 4)), lambda: made((-1, 4)))


def callback(kind):
    model, folder = dense(), tempfile.mkdtemp()
    valid = arguments(kind)
    for name in ("filename", "filepath"):
        if name in valid:
            valid[name] = os.path.join(folder, "file")

    def ok():
        model.fit(X, Y, verbose=0, callbacks=[kind(**valid)])
        return model.get_weights()

    def bad():
        model.fit(X, np.ones((16, 7)), verbose=0, callbacks=[kind(**valid)])

    return Entry(ok, bad, partial(weights, model))


def loader():
    def ok():
        made = data.DataLoader((X, Y), batch_size=5, shuffle=True, seed=1)
        return [part for batch in made for part in batch]

    return Entry(ok, lambda: data.DataLoader((X, Y[:3])))


def first(kind):
    return next(iter(inspect.signature(kind).parameters))


def kinds(module, base):
    return {
        name: getattr(module, name) for name in module.__all__
        if inspect.isclass(getattr(module, name)) and name not in base
    }  # fmt: skip


def entries():
    yield from ((f"ufunc {n}", partial(ufunc, n)) for n in UFUNCS)
    names = [n for n in _core.op_names() if not n.startswith(("opt_", "grad_", "moving", "assign"))]
    yield from ((f"operator {n}", partial(operator, n)) for n in names)
    for what, make, module, base in (
        ("layer", layer, layers, ("Layer", "InputLayer")), ("loss", loss, losses, ("Loss",)),
        ("metric", metric, metrics, ("Metric", "Mean")),
        ("optimizer", optimizer, optimizers, ("Optimizer",)),
        ("schedule", schedule, schedules, ("LearningRateSchedule",)),
        ("initializer", initializer, initializers, ("Initializer",)),
        ("callback", callback, callbacks, ("Callback", "CallbackList")),
    ):  # fmt: skip
        for name, kind in kinds(module, base).items():
            yield f"{what} {name}", partial(make, kind)
    for clip in ("clipnorm", "clipvalue", "global_clipnorm"):
        yield f"optimizer {clip}", partial(optimizer, optimizers.SGD, **{clip: 0.1})
    yield "data DataLoader", loader


ENTRIES = dict(entries())
