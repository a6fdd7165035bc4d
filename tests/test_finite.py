"""NaN and infinity are found in the step where they appear, and that step is not made."""

from __future__ import annotations

import sys
from time import perf_counter

import numpy as np
import pytest
from conftest import ROOT

import pyact
from pyact import _core, callbacks, ops
from pyact.layers import (
    Activation,
    BatchNormalization,
    Conv2D,
    Dense,
    Flatten,
    Input,
    MaxPooling2D,
)

ROWS, BATCH = 64, 8


def data():
    x = np.random.default_rng(0).normal(size=(ROWS, 5)).astype(np.float32)
    return x, x[:, :1] * 2


def model(layers=None, dtype="float32", optimizer=None, **compiled):
    pyact.set_seed(1)
    net = pyact.Sequential([
        Input((5,), dtype=dtype), Dense(16, "tanh", dtype=dtype, name="first"),
        *(layers or []), Dense(1, dtype=dtype, name="last"),
    ])  # fmt: skip
    net.compile(optimizer or pyact.optimizers.Adam(0.01), "mse", **compiled)
    return net


def bits(net):
    state = net.engine.state
    slots = [state.slot(w.block, k).view(w.offset, w.shape).tobytes()
             for w in net.weights for k in range(state.slots)]  # fmt: skip
    return [w.tobytes() for w in net.weights], slots, net.optimizer.iterations


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("at", [0, 3, 7])
def test_a_bad_row_ends_the_run_in_its_step_and_undoes_it(value, at):
    x, y = data()
    before = model()  # tanh takes an infinity away: then the gradient alone is not finite
    if at:
        before.fit(x[: at * BATCH], y[: at * BATCH], batch_size=BATCH, shuffle=False, verbose=0)
    x[at * BATCH + 2, 1] = value
    net = model()
    with pytest.raises(FloatingPointError, match=rf"batch {at}: .*x itself is not"):
        net.fit(x, y, batch_size=BATCH, shuffle=False, verbose=0)
    assert bits(net) == bits(before)
    with pytest.raises(FloatingPointError, match="x itself is not"):  # the shuffled row is found
        model().fit(x, y, batch_size=BATCH, verbose=0)
    net.fit(*data(), verbose=0)  # and it goes on


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_layer_is_named(dtype):
    x, y = data()
    net = model([Activation(ops.log, name="logarithm", dtype=dtype)], dtype)
    with pytest.raises(FloatingPointError, match="layer 'logarithm'"):
        net.fit(x, y, verbose=0)


def test_a_gradient_alone_is_found():
    """sqrt has a finite value and an infinite slope at 0: the loss is fine."""
    x, y = data()
    root = Activation(lambda v: ops.sqrt(ops.relu(v - 2.0)), name="root")
    net = model([root])
    assert np.isfinite(net.evaluate(x, y, verbose=0))
    before = bits(net)
    with pytest.raises(FloatingPointError, match=r"of the gradients that of weight '.*' of layer"):
        net.fit(x, y, verbose=0)
    assert bits(net) == before


OPTIMIZERS = {
    "sgd": lambda rate: pyact.optimizers.SGD(rate),
    "momentum": lambda rate: pyact.optimizers.SGD(rate, 0.9, weight_decay=1e-3),
    "nesterov": lambda rate: pyact.optimizers.SGD(rate, 0.9, nesterov=True),
    "adam": lambda rate: pyact.optimizers.Adam(rate),
    "adamw": lambda rate: pyact.optimizers.AdamW(rate, clipvalue=1.0),
    "amsgrad": lambda rate: pyact.optimizers.Adam(rate, amsgrad=True, global_clipnorm=1.0),
    "rmsprop": lambda rate: pyact.optimizers.RMSprop(rate),
    "centered": lambda rate: pyact.optimizers.RMSprop(rate, momentum=0.9, centered=True),
    "adagrad": lambda rate: pyact.optimizers.Adagrad(rate, clipnorm=1.0),
}


class Batches(callbacks.Callback):
    """The logs of each batch that was made."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def on_train_batch_end(self, batch, logs=None):
        self.seen.append(dict(logs))


@pytest.mark.parametrize("watching", [False, True])
@pytest.mark.parametrize("at", [0, 3, 7])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_step_whose_update_overflows_a_weight_is_undone(name, at, watching):
    def rate(step):
        return np.where(np.asarray(step) == at, 1e39, 0.01)

    x, y = data()
    before = model(optimizer=OPTIMIZERS[name](0.01), metrics=["mae"])
    logs, want = Batches(), Batches()
    if at:
        before.fit(x[: at * BATCH], y[: at * BATCH], batch_size=BATCH, shuffle=False, verbose=0,
                   callbacks=[want])  # fmt: skip
    net = model(optimizer=OPTIMIZERS[name](rate), metrics=["mae"])
    message = rf"batch {at}: the update of weight '\w+' of layer '\w+' overflowed, .* {at} iter"
    with pytest.raises(FloatingPointError, match=message):
        net.fit(x, y, batch_size=BATCH, shuffle=False, verbose=0, callbacks=[logs] * watching)
    assert bits(net) == bits(before)
    if watching:
        assert logs.seen == want.seen
    for one in (net, before):
        one.optimizer.iterations = 8
        one.fit(x, y, batch_size=BATCH, shuffle=False, verbose=0)
    assert bits(net) == bits(before)  # and it goes on


def test_an_optimizer_s_state_that_overflows_is_found():
    """The square of a gradient of 1e20 is infinite, and steps would be 0 from then on."""
    net = model()
    net.compile("adam", "mae", loss_weights=1e21)
    before = bits(net)
    with pytest.raises(FloatingPointError, match=r"the optimizer's state of weight '\w+' of layer"):
        net.fit(*data(), batch_size=BATCH, verbose=0)
    assert bits(net) == before


def test_what_a_layer_keeps_is_looked_at_and_put_back():
    """The variance of values around 1e25 is infinite; normalized they are 0."""
    x, y = data()
    x[3 * BATCH :] *= 1e25
    pyact.set_seed(1)

    def made():
        pyact.set_seed(1)
        net = pyact.Sequential([Input((5,)), BatchNormalization(name="norm"), Dense(1)])
        net.compile(pyact.optimizers.Adam(0.01), "mse")
        return net

    net, before = made(), made()
    before.fit(x[: 3 * BATCH], y[: 3 * BATCH], batch_size=BATCH, shuffle=False, verbose=0)
    with pytest.raises(FloatingPointError, match="batch 3: the update of weight 'moving_variance'"):
        net.fit(x, y, batch_size=BATCH, shuffle=False, verbose=0)
    assert bits(net) == bits(before)


@pytest.mark.parametrize("rows", [2, 200])  # by the factors of the product, and by itself
def test_a_product_s_overflow_is_found_whatever_its_factors(rows):
    """Weights of 0 hide an x of 1e38 from the loss, not from their gradient."""
    x = np.zeros((rows, 100), np.float32)
    x[1, 50] = 1e38
    net = pyact.Sequential([Input((100,)), Dense(100, kernel_initializer="zeros", name="wide")])
    net.compile(pyact.optimizers.SGD(0.1), "mse")
    with pytest.raises(FloatingPointError, match="that of weight 'kernel' of layer 'wide' is not"):
        net.fit(x, np.full((rows, 100), 1e4 * rows), batch_size=rows, verbose=0)
    assert not net.weights[0].any()


def test_a_weight_that_was_not_finite_before_is_named():
    x, y = data()
    net = model([Dense(3, "relu", name="idle")])
    net.weights[3][1] = -np.inf  # relu hides it
    with pytest.raises(FloatingPointError, match="'bias' of layer 'idle' is not finite, and was"):
        net.fit(x, y, batch_size=BATCH, verbose=0)


TRIES = [
    ("opt_sgd", {}), ("opt_sgd", {"momentum": 0.9}), ("opt_sgd", {"weight_decay": 0.1}),
    ("opt_sgd", {"momentum": 1.0, "nesterov": True}),
    ("opt_adam", {}), ("opt_adam", {"amsgrad": True, "weight_decay": 1e-2}),
    ("opt_adam", {"epsilon": 0.0}), ("opt_adam", {"epsilon": 1e-20, "beta_1": 0.0}),
    ("opt_rmsprop", {}), ("opt_rmsprop", {"momentum": 0.5, "epsilon": 1e-37}),
    ("opt_rmsprop", {"centered": True}), ("opt_rmsprop", {"rho": 0.0, "weight_decay": 1.0}),
    ("opt_adagrad", {}), ("opt_adagrad", {"epsilon": 1e-40, "initial_accumulator_value": 0.0}),
]  # fmt: skip


class Fed:
    """An optimizer over one weight whose gradient is what it is fed, the loss being 0."""

    def __init__(self, name, attrs, dtype, size):
        graph = _core.Graph()
        self.block = _core.Block(np.dtype(dtype), size)
        w, x = graph.param(self.block, 0, (size,), True), graph.input((1, size), np.dtype(dtype))
        self.state = _core.OptimizerState(name, attrs)
        nothing = w - graph.apply("stop_gradient", (w,))
        loss = ops.sum(ops.reshape(x, shape=(size,)) * nothing)
        self.program = _core.Program(graph, loss=loss, optimizer=self.state)
        slots = [self.state.slot(self.block, k) for k in range(self.state.slots)]
        self.arrays = [b.view(0, (size,)) for b in (self.block, *slots)]

    def run(self, gradients, rates, first=0, check=True):
        """Steps made, and the number of the array that made the next one end, or None."""
        done = np.zeros(1, np.int64)
        try:
            _core.run_loop(
                self.program, None, (("x", gradients, 0, False),), len(gradients), 1, None, 0,
                len(gradients), 0, first, rates, None, (), (), done, None, check,
            )  # fmt: skip
        except FloatingPointError as error:
            places = [a.__array_interface__["data"][0] for a in self.arrays]
            return int(done[0]), places.index(error.args[1])
        return int(done[0]), None

    def finite(self):
        return [np.isfinite(a).all() for a in self.arrays]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name, attrs", TRIES)
def test_no_step_is_taken_for_finite_that_is_not(name, attrs, dtype):
    """Numbers of all magnitudes, many steps in a call: what the bounds let pass without a look
    at the new weights is what a look at them lets pass."""
    largest, size, steps, ends = np.log10(np.finfo(dtype).max), 5, 12, set()
    checked, free = Fed(name, attrs, dtype, size), Fed(name, attrs, dtype, size)
    for seed in range(100):
        rng = np.random.default_rng(seed)

        def numbers(*shape, rng=rng):
            exponent = rng.normal(rng.uniform(-1, 1) * largest, 0.1 * largest, shape)
            return rng.choice([-1, 0, 1], shape) * 10 ** np.minimum(exponent, largest - 0.1)

        gradients = numbers(steps, size).astype(dtype)
        rates = np.abs(numbers(steps)) if seed % 2 else np.full(steps, 10 ** rng.uniform(-9, 3))
        for k, (a, b) in enumerate(zip(checked.arrays, free.arrays, strict=True)):
            a[:] = b[:] = numbers(size).astype(dtype) if k == 0 or seed % 3 == 0 else 0
        want = steps
        for t in range(steps):
            kept = [a.copy() for a in free.arrays]
            free.run(gradients[t : t + 1], rates[t : t + 1], t, False)
            if not all(free.finite()):
                want = t
                break
        blamed = None if want == steps else free.finite().index(False)
        assert checked.run(gradients, rates) == (want, blamed), seed
        for a, b in zip(checked.arrays, kept if want < steps else free.arrays, strict=True):
            assert a.tobytes() == b.tobytes(), seed
        ends.add(want)
    assert {0, steps} <= ends  # some stop at once, some never


def test_it_can_be_switched_off():
    x, y = data()
    x[3] = np.nan
    net = model(check_finite=False)
    net.fit(x, y, verbose=0)
    assert not np.isfinite(net.weights[0]).any()


def test_terminate_on_nan_ends_the_run_in_its_own_way(capsys):
    x, y = data()
    x[20] = np.nan
    net = model()
    stop = callbacks.TerminateOnNaN()
    net.fit(x, y, batch_size=BATCH, shuffle=False, verbose=0, callbacks=[stop])
    assert capsys.readouterr().out == "Batch 2: Invalid loss, terminating training\n"
    assert net.optimizer.iterations == 3
    with pytest.raises(FloatingPointError):
        model().fit(x, y, verbose=0)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("size", [1, 15, 17, 70000, 3000001])
def test_each_place_of_a_gradient_is_looked_at(dtype, size):
    """d/dw sum(c sqrt(w)) = c / (2 sqrt(w)): infinite or NaN at w = 0, where the loss is not."""
    rng, range_of = np.random.default_rng(size), np.finfo(dtype)
    c = rng.choice([-1, 0, 1], size).astype(dtype)
    graph = _core.Graph()
    block = _core.Block(np.dtype(dtype), size)
    w = graph.param(block, 0, (size,), True)
    x = graph.input((1, size), np.dtype(dtype))
    loss = ops.sum(ops.reshape(x, shape=(size,)) * ops.sqrt(w))
    state = _core.OptimizerState("opt_sgd")
    program = _core.Program(graph, loss=loss, optimizer=state)
    weights = block.view(0, (size,))
    weights[:] = rng.choice([1, range_of.max / size**2, range_of.tiny], size)

    def step(check=True):
        found = np.zeros(1)
        _core.run_loop(program, None, (("x", c[None], 0, False),), 1, 1, None, 0, 1, 0, 0,
                       np.zeros(1), found, (), (), np.zeros(1, np.int64), None, check)  # fmt: skip
        return found[0]

    step()
    places = {0, size - 1, size // 2, *rng.integers(0, size, 5).tolist()}
    for at in places:
        kept = weights[at], c[at]
        for sign in (-1, 0, 1):
            weights[at], c[at] = 0, sign
            if size < 100:  # not made for nothing: NaN in a weight, with a rate of 0
                assert np.isfinite(step(check=False)) and np.isnan(weights[at])
                weights[at] = 0
            with pytest.raises(FloatingPointError, match="gradient"):
                step()
        weights[at], c[at] = kept
    step()


# ---- what it costs: python tests/test_finite.py ------------------------------------------------


def networks():
    """(name, model, x, y, batch size) of the benchmark's cases (a) to (c), and LeNet-5."""
    import bench_train

    for key in "abc":
        case = bench_train.CASES[key]
        one = bench_train.Pyact(case, 1)
        yield case.title, one.model, one.x, one.y, case.batch
    lenet = pyact.Sequential([
        Input((28, 28, 1)), Conv2D(6, 5, padding="same", activation="relu"), MaxPooling2D(),
        Conv2D(16, 5, activation="relu"), MaxPooling2D(), Flatten(), Dense(120, "relu"),
        Dense(84, "relu"), Dense(10, "softmax"),
    ])  # fmt: skip
    lenet.compile("adam", "sparse_categorical_crossentropy")
    rng = np.random.default_rng(0)
    x = rng.random((1024, 28, 28, 1), dtype=np.float32)
    yield "LeNet-5, batch 64", lenet, x, rng.integers(0, 10, 1024), 64


def measure(seconds=10):
    """Prints the share of a step, one thread: the median over pairs of runs, with and without."""
    pyact.set_num_threads(1)
    for title, net, x, y, batch in networks():
        epochs, took, end = 5 if len(x) > 3000 else 1, [], perf_counter() + seconds
        while perf_counter() < end:
            pair = {}
            for check in (True, False) if len(took) % 2 else (False, True):
                net._engine.check_finite = check
                begin = perf_counter()
                net.fit(x, y, batch_size=batch, epochs=epochs, shuffle=False, verbose=0)
                pair[check] = perf_counter() - begin
            took.append(pair[True] / pair[False])
        print(f"{title}: {np.median(took) - 1:.2%} of a step, {len(took)} pairs")


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT / "benchmarks"))
    measure()
