"""Training does what its formulas say: every weight after every step, against NumPy.

And what does not depend on formulas: threads, batches, seeds and interruptions leave the
same bits, and a model that was interrupted stands at a whole step.
"""

from __future__ import annotations

import json
import os
import pickle
import signal
import subprocess
import sys

import clock
import numpy as np
import pytest
from conftest import ROOT, python, search_path
from numpy_net import Net
from oracle import LD, normal, rng, same_bits
from reference import ROWS

import pyact
from pyact import _core, callbacks, layers, losses, ops, optimizers
from pyact.layers import Dense, Dropout, Input

ROWS_OF_DATA, BATCH = 77, 8  # nine whole batches and one of five rows
UNDEFINED = ("log", "sqrt")  # for negative sums
ACTIVATIONS = [n for n in _core.op_names()
               if _core.op_info(n)["kind"] == "map" and n not in UNDEFINED]  # fmt: skip


class Recorder(callbacks.Callback):
    """All weights after every step."""

    def __init__(self):
        super().__init__()
        self.weights = []

    def on_train_batch_end(self, batch, logs=None):
        self.weights.append(self.model.get_weights())


def model_of(activations, widths, dtype, inputs=5):
    stack = [Input((inputs,), dtype=dtype)]
    stack += [Dense(n, a, dtype=dtype) for n, a in zip(widths, activations, strict=True)]
    model = pyact.Sequential(stack)
    for k, w in enumerate(model.weights):
        w[...] = normal(w.shape, "w", k, scale=0.5)
    return model


def check_steps(
    activations, loss, target, optimizer, dtype="float64", weighted=False, widths=(7, 3), scale=1.0,
):  # fmt: skip
    """Ten steps of fit against ten steps of NumPy.

    target: "real", "unit", "one_hot" or "labels". float32 is compared with the exact
    result too; its own rounding is what the tolerance is for.
    """
    pyact.set_seed(0)
    model = model_of(activations, widths, dtype)
    n = widths[-1]
    x = normal((ROWS_OF_DATA, 5), "x", scale=scale)
    labels = rng("labels").integers(0, n, ROWS_OF_DATA).astype(np.int32)
    y = {
        "real": normal((ROWS_OF_DATA, n), "y"),
        "unit": rng("y").integers(0, 2, (ROWS_OF_DATA, n)).astype(np.float64),
        "one_hot": np.eye(n)[labels],
        "labels": labels,
    }[target]
    weight = np.abs(normal((ROWS_OF_DATA,), "weight")) if weighted else None
    attrs = {name: getattr(loss, name) for name in loss._fields}
    net = Net(model.get_weights(), activations, loss._op, attrs, optimizer.op,
              {k: LD(v) if isinstance(v, float) else v for k, v in optimizer.attrs().items()},
              optimizer.clip)  # fmt: skip
    rates = optimizer.lr_at(np.arange(10))
    recorder = Recorder()
    model.compile(optimizer, loss)
    model.fit(x, y, BATCH, 1, verbose=0, shuffle=False, sample_weight=weight, callbacks=[recorder])
    assert len(recorder.weights) == 10 == optimizer.iterations
    total = 0.0
    for step, got in enumerate(recorder.weights):
        rows = slice(step * BATCH, min((step + 1) * BATCH, ROWS_OF_DATA))
        w = None if weight is None else weight[rows]
        total += net.step(x[rows], y[rows], w, rates[step]) * (rows.stop - rows.start)
        compare_weights(f"step {step}", model, got, net, dtype)
    limit = 1e-10 if dtype == "float64" else 1e-4
    found = model.history.history["loss"][0]
    assert abs(found - total / ROWS_OF_DATA) <= limit * (1 + abs(found)), "mean loss of the epoch"


def compare_weights(what, model, got, net, dtype):
    limit = 1e-11 if dtype == "float64" else 2e-5
    for name, g, want in zip([w.name for w in model.weights], got, net.weights, strict=True):
        error = np.abs(g - want)
        size = limit * (1 + np.abs(want).max())
        at = np.unravel_index(int(np.argmax(error)), error.shape)
        assert error.max() <= size, (
            f"{what}, {dtype}, ISA {_core.isa()}: {name} {at}: got {g[at]!r}, want {want[at]!r}"
        )


# ---- ten steps against NumPy ------------------------------------------------------------------


@pytest.mark.parametrize("name", ACTIVATIONS)
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_every_activation(name, dtype):
    scale = 0.25 if name in ("exp", "square") else 1.0
    check_steps([name, name, None], losses.MeanSquaredError(), "real", optimizers.SGD(0.02), dtype,
                widths=(7, 6, 3), scale=scale)  # fmt: skip


LOSSES = [
    (losses.MeanSquaredError(), None, "real"),
    (losses.MeanAbsoluteError(), "tanh", "real"),
    (losses.Huber(0.5), None, "real"),
    (losses.BinaryCrossentropy(), "sigmoid", "unit"),
    (losses.BinaryCrossentropy(label_smoothing=0.125), "sigmoid", "unit"),
    (losses.BinaryCrossentropy(from_logits=True), None, "unit"),
    (losses.BinaryCrossentropy(), "hard_sigmoid", "unit"),
    (losses.CategoricalCrossentropy(), "softmax", "one_hot"),
    (losses.CategoricalCrossentropy(label_smoothing=0.125), "softmax", "one_hot"),
    (losses.CategoricalCrossentropy(from_logits=True), None, "one_hot"),
    (losses.CategoricalCrossentropy(), "softplus", "one_hot"),
    (losses.SparseCategoricalCrossentropy(), "softmax", "labels"),
    (losses.SparseCategoricalCrossentropy(from_logits=True), None, "labels"),
    (losses.SparseCategoricalCrossentropy(), "softplus", "labels"),
]


@pytest.mark.parametrize("weighted", [False, True], ids=["plain", "weighted"])
@pytest.mark.parametrize("case", LOSSES, ids=lambda c: f"{c[0].name}-{c[1]}")
def test_every_loss(case, weighted):
    loss, last, target = case
    for dtype in ("float64", "float32"):
        check_steps(["tanh", last], loss, target, optimizers.SGD(0.1), dtype, weighted)


def optimizer_cases():
    sgd, adam = optimizers.SGD, optimizers.Adam
    for attrs in ROWS["opt_sgd"].tries:
        yield sgd, {"learning_rate": 0.1, **attrs}
    for attrs in ROWS["opt_adagrad"].tries:
        yield optimizers.Adagrad, {"learning_rate": 0.1, **attrs}
    for attrs in ROWS["opt_rmsprop"].tries:
        yield optimizers.RMSprop, {"learning_rate": 0.01, **attrs}
    for attrs in ROWS["opt_adam"].tries:
        yield adam, {"learning_rate": 0.01, **attrs}
    yield optimizers.AdamW, {"learning_rate": 0.01, "weight_decay": 0.1}
    for clip in ("clipvalue", "clipnorm", "global_clipnorm"):
        for bound in (0.02, 0.3):
            yield sgd, {"learning_rate": 0.5, "momentum": 0.5, clip: bound}
        yield adam, {"learning_rate": 0.01, "weight_decay": 0.1, clip: 0.1}
    decay = optimizers.schedules.ExponentialDecay(0.2, 3, 0.5)
    yield sgd, {"learning_rate": decay, "momentum": 0.9, "nesterov": True}
    yield adam, {"learning_rate": lambda step: 0.01 / (1 + step)}


@pytest.mark.parametrize("case", list(optimizer_cases()),
                         ids=lambda c: f"{c[0].__name__}-{'-'.join(sorted(c[1])[:4])}")  # fmt: skip
def test_every_optimizer(case):
    make, attrs = case
    for dtype in ("float64", "float32"):
        loss = losses.SparseCategoricalCrossentropy(from_logits=True)
        check_steps(["gelu", None], loss, "labels", make(**attrs), dtype)


def test_class_weights_are_sample_weights():
    x = normal((60, 5), "x")
    y = rng("y").integers(0, 3, 60)
    table = {0: 0.5, 2: 3.0}
    found = []
    weights = np.array([table.get(k, 1.0) for k in y.tolist()])
    for keywords in ({"class_weight": table}, {"sample_weight": weights}):
        pyact.set_seed(3)
        model = model_of(["relu", "softmax"], (7, 3), "float32")
        model.compile("sgd", "sparse_categorical_crossentropy")
        model.fit(x, y, 16, 3, verbose=0, **keywords)
        found.append(model.get_weights())
    for a, b in zip(*found, strict=True):
        same_bits("class_weight and sample_weight", a, b)


def test_frozen_layers_stay():
    model = model_of(["tanh", "tanh", None], (7, 6, 3), "float32")
    model.layers[1].trainable = False
    before = model.get_weights()
    model.compile("adam", "mse")
    model.fit(normal((40, 5), "x"), normal((40, 3), "y"), 8, 2, verbose=0)
    moved = [not np.array_equal(a, b) for a, b in zip(before, model.get_weights(), strict=True)]
    assert moved == [True, True, False, False, True, True]


# ---- the same bits ----------------------------------------------------------------------------


def big_model(seed=1, dropout=0.0):
    pyact.set_seed(seed)
    model = pyact.Sequential([
        Input((64,)), Dense(200, "relu"), Dropout(dropout), Dense(203, "gelu"),
        Dense(10, "softmax"),
    ])  # fmt: skip
    model.compile(optimizers.Adam(0.001), "sparse_categorical_crossentropy", ["accuracy"])
    return model


def digits(rows=600):
    return normal((rows, 64), "digits").astype(np.float32), rng("d").integers(0, 10, rows)


def test_threads_do_not_change_a_bit():
    x, y = digits()
    found = []
    for threads in (1, 2, 3):
        _core.set_num_threads(threads)
        model = big_model(dropout=0.3)
        history = model.fit(x, y, 128, 3, verbose=0)
        found.append([*model.get_weights(), np.array(history.history["loss"]), model.predict(x)])
    for other in found[1:]:
        for a, b in zip(other, found[0], strict=True):
            same_bits("training with threads", a, b)


def test_fit_and_single_batches_give_the_same_bits():
    x, y = digits()
    one, two = big_model(), big_model()
    one.fit(x, y, 128, 2, verbose=0, shuffle=False)
    for _ in range(2):
        for begin in range(0, len(x), 128):
            two.train_on_batch(x[begin : begin + 128], y[begin : begin + 128])
    assert one.optimizer.iterations == two.optimizer.iterations == 10
    for a, b in zip(one.get_weights(), two.get_weights(), strict=True):
        same_bits("fit and train_on_batch", a, b)


def test_callbacks_do_not_change_a_bit():
    x, y = digits()
    one, two = big_model(dropout=0.3), big_model(dropout=0.3)
    one.fit(x, y, 100, 2, verbose=0)
    two.fit(x, y, 100, 2, verbose=0, callbacks=[Recorder()])
    for a, b in zip(one.get_weights(), two.get_weights(), strict=True):
        same_bits("with a callback at every batch", a, b)


def test_seeds_decide_everything():
    x, y = digits()
    runs = []
    for seed in (1, 1, 2):
        model = big_model(seed, 0.5)
        model.fit(x, y, 100, 2, verbose=0)
        runs.append(model.get_weights())
    for a, b in zip(runs[0], runs[1], strict=True):
        same_bits("the same seed", a, b)
    kernels = [(a, b) for a, b in zip(runs[0], runs[2], strict=True) if a.ndim == 2]
    assert not any(np.array_equal(a, b) for a, b in kernels)


def test_shuffling_is_a_new_order_each_epoch():
    seen = []

    class Watch(layers.Layer):
        def call(self, x, training=False):
            return x

    x = np.arange(32, dtype=np.float32).reshape(32, 1)
    pyact.set_seed(4)
    model = pyact.Sequential([Input((1,)), Watch(), Dense(1, kernel_initializer="zeros")])
    model.compile(optimizers.SGD(0.0), "mse")
    record = callbacks.LambdaCallback(on_train_batch_end=lambda b, logs: seen.append(logs["loss"]))
    model.fit(x, x, 32, 1, verbose=0)
    model.fit(x, x, 1, 2, verbose=0, callbacks=[record])
    running = np.array(seen).reshape(2, 32)
    each = np.diff(running * np.arange(1, 33), axis=1, prepend=0)  # x^2 of each row in turn
    orders = np.sqrt(each).round().astype(int)
    assert all(sorted(o) == list(range(32)) for o in orders.tolist())
    assert orders[0].tolist() != orders[1].tolist() != list(range(32))


def test_dropout_only_while_training():
    x, y = digits(100)
    plain, dropped = big_model(), big_model(dropout=0.5)
    for a, b in zip(dropped.weights, plain.get_weights(), strict=True):
        a[...] = b
    same_bits("predict", dropped.predict(x), plain.predict(x))
    assert dropped.evaluate(x, y, verbose=0) == plain.evaluate(x, y, verbose=0)
    losses_of = [m.train_on_batch(x, y)[0] for m in (plain, dropped)]
    assert losses_of[0] != losses_of[1]


# ---- interruptions ----------------------------------------------------------------------------


def test_an_interrupt_from_a_callback_leaves_whole_steps():
    x, y = digits()
    model, other = big_model(), big_model()

    def stop(batch, logs):
        if batch == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        model.fit(x, y, 100, verbose=0, shuffle=False,
                  callbacks=[callbacks.LambdaCallback(on_train_batch_end=stop)])  # fmt: skip
    assert model.optimizer.iterations == 3
    for begin in range(0, 300, 100):
        other.train_on_batch(x[begin : begin + 100], y[begin : begin + 100])
    for a, b in zip(model.get_weights(), other.get_weights(), strict=True):
        same_bits("interrupted after three steps", a, b)
    model.fit(x, y, 100, verbose=0)  # and it goes on


@pytest.mark.parametrize("call", [1, 2, 3])
def test_an_interrupt_inside_a_long_step_undoes_it(call):
    """on_progress is asked every 50 ms, here so nearly always between the products of a step."""

    class Stop(callbacks.Callback):
        calls = 0

        def on_progress(self, done, total, logs=None):
            self.calls += 1
            if self.calls == call:
                raise KeyboardInterrupt

    def build():
        pyact.set_seed(1)
        hidden = [layers.Dense(512, "relu") for _ in range(8)]
        model = pyact.Sequential([layers.Input((512,)), *hidden, layers.Dense(10)])
        loss = losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile(optimizers.SGD(0.001, momentum=0.9), loss)
        return model

    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(4096, 512)).astype(np.float32), rng.integers(0, 10, 4096)
    model, again = build(), build()
    with pytest.raises(KeyboardInterrupt):
        model.fit(x, y, 2048, 1000, verbose=0, shuffle=False, callbacks=[Stop()])
    for k in range(model.optimizer.iterations):
        begin = k % 2 * 2048
        again.train_on_batch(x[begin : begin + 2048], y[begin : begin + 2048])
    for a, b in zip(model.get_weights(), again.get_weights(), strict=True):
        same_bits("interrupted inside a step", a, b)


INTERRUPTED = """
import json, sys
import clock
import numpy as np
import pyact
from pyact.layers import Dense, Input

def build():
    pyact.set_seed(1)
    model = pyact.Sequential([Input(({width},)), *(Dense({width}, "relu") for _ in range({depth})),
                              Dense(10)])
    loss = pyact.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(pyact.optimizers.SGD(0.001, momentum=0.9), loss)
    return model

rng = np.random.default_rng(0)
x = rng.normal(0, 1, ({rows}, {width})).astype(np.float32)
y = rng.integers(0, 10, {rows})
model = build()
model.train_on_batch(x[:{batch}], y[:{batch}])
try:
    print(clock.of(), flush=True)
    model.fit(x, y, {batch}, 1000, verbose=0, shuffle=False)
    ended = "without an interrupt"
except KeyboardInterrupt:
    ended = clock.of()
steps, batches = model.optimizer.iterations, {rows} // {batch}
again = build()
for k in range(steps):
    begin = max(k - 1, 0) % batches * {batch}
    again.train_on_batch(x[begin : begin + {batch}], y[begin : begin + {batch}])
same = all(np.array_equal(a, b) for a, b in zip(model.get_weights(), again.get_weights()))
finite = all(np.isfinite(w).all() for w in model.get_weights())
print(json.dumps([ended, steps, same, finite]))
"""


def interrupt(after, **sizes):
    """Sends SIGINT to a process in fit: (seconds until the exception, steps). All seconds are
    those that each of its threads computes."""
    threads = pyact.get_num_threads()
    process = subprocess.Popen(
        [sys.executable, "-c", INTERRUPTED.format(**sizes)], stdout=subprocess.PIPE, text=True,
        cwd=ROOT / "tests", env={**os.environ, "PYTHONPATH": search_path(), **clock.ALONE},
    )  # fmt: skip
    try:
        sent = clock.wait_until(process, float(process.stdout.readline()) + after * threads)
        process.send_signal(signal.SIGINT)
        ended, steps, same, finite = json.loads(process.communicate(timeout=120)[0])
    finally:
        process.kill()
        process.wait()
    assert isinstance(ended, float), f"fit ended {ended}"
    assert same and finite, f"after {steps} steps the weights are not those of {steps} steps"
    return (ended - sent) / threads, steps


@pytest.mark.skipif(sys.platform == "win32", reason="SIGINT cannot be sent to one process")
def test_ctrl_c_is_answered_within_a_tenth_of_a_second():
    # this process may be kept from sending what it has taken the time of; a wrong poll is
    # late each time
    waits = []
    for _ in range(3):
        wait, steps = interrupt(0.5, width=384, depth=2, rows=2048, batch=256)
        assert steps > 1
        waits.append(wait)
        if wait < 0.1:
            break
    assert min(waits) < 0.1, f"seconds from the signal to the exception: {waits}"


@pytest.mark.skipif(sys.platform == "win32", reason="SIGINT cannot be sent to one process")
def test_ctrl_c_inside_a_long_step_undoes_it():
    """A step of many products: the poll between them ends it before any update.

    Four moments: the one or other may fall into the update, which is not abandoned.
    """
    for moment in (0.3, 0.37, 0.45, 0.58):
        wait, _ = interrupt(moment, width=512, depth=8, rows=4096, batch=2048)
        assert wait < 2


def test_an_exception_in_a_callback_keeps_its_type():
    x, y = digits(200)
    model = big_model()

    def fail(batch, logs):
        raise LookupError("mine")

    with pytest.raises(LookupError, match="mine"):
        model.fit(x, y, 100, verbose=0,
                  callbacks=[callbacks.LambdaCallback(on_train_batch_begin=fail)])  # fmt: skip
    assert model.optimizer.iterations == 0


def test_training_is_the_same_in_a_fresh_process():
    """The hash of the weights does not depend on the process (hash seeds, addresses)."""
    code = """
import sys, zlib
import numpy as np
from test_training import big_model, digits
x, y = digits()
model = big_model(dropout=0.2)
model.fit(x, y, 100, 1, verbose=0)
print([zlib.crc32(w.tobytes()) for w in model.get_weights()])
"""
    first, second = (python(code, PYTHONHASHSEED=str(k)) for k in (1, 2))
    assert first == second


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("threads", [1, 2])
def test_weights_laid_out_once_give_the_same_bits(dtype, threads):
    """compile_inference(batch_size) packs them for its one program; without, it does not."""
    pyact.set_num_threads(threads)
    pyact.set_seed(3)
    model = pyact.Sequential([
        Input((37,), dtype=dtype), Dense(300, "relu", dtype=dtype),
        Dense(33, dtype=dtype, use_bias=False), Dense(1, "tanh", dtype=dtype),
    ])  # fmt: skip
    for rows in (1, 15, 16, 17, 100):
        x = np.random.default_rng(rows).standard_normal((rows, 37)).astype(dtype)
        fixed, want = model.compile_inference(rows), model.compile_inference()(x)
        same_bits(f"{rows} rows", fixed(x), want)
        weights = model.get_weights()
        model.set_weights([w + 1 for w in weights])
        same_bits(f"{rows} rows, the model changed", fixed(x), want)
        same_bits(f"{rows} rows, unpickled", pickle.loads(pickle.dumps(fixed))(x), want)
        model.set_weights(weights)


class OwnProduct(layers.Layer):
    """Its kernel is computed from x, and so is no weight that could be laid out."""

    def call(self, x, training=False):
        wide = ops.dense(x, np.ones((37, 300), np.float32))
        return ops.dense(x, ops.matmul(x, wide, transpose_a=True))


def test_a_kernel_that_is_computed_is_not_laid_out_once():
    model = pyact.Sequential([Input((37,)), OwnProduct()])
    fixed, free = model.compile_inference(5), model.compile_inference()
    for seed in range(2):
        x = np.random.default_rng(seed).standard_normal((5, 37)).astype(np.float32)
        same_bits(f"rows {seed}", fixed(x), free(x))


def test_compiled_inference_of_a_kernel_that_is_computed():
    """Only kernels that lie there are laid out once for all calls."""

    class Bounded(pyact.layers.Layer):
        def build(self, input_shape):
            self.kernel = self.add_weight("kernel", (input_shape[-1], 24))

        def call(self, x, training=False):
            return pyact.ops.dense(x, np.tanh(self.kernel))

    pyact.set_seed(0)
    model = pyact.Sequential([Bounded()])
    x = np.random.default_rng(0).normal(size=(32, 20)).astype(np.float32)
    model(x)
    expected = x @ np.tanh(model.get_weights()[0])
    np.testing.assert_allclose(model.compile_inference(32)(x), expected, rtol=1e-4, atol=1e-5)
