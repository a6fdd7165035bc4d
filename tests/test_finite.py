"""NaN and infinity are found in the step where they appear, and that step is not made."""

from __future__ import annotations

import numpy as np
import pytest

import pyact
from pyact import _core, callbacks, ops
from pyact.layers import Activation, Dense, Input

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


def test_a_weight_that_overflows_is_found():
    net = model(optimizer=pyact.optimizers.SGD(3e38))
    with pytest.raises(FloatingPointError, match=r"weight 'kernel' of layer .* after step 1"):
        net.fit(*data(), batch_size=ROWS, verbose=0)


@pytest.mark.parametrize("at", [0, 3, 7])
def test_the_step_in_which_a_weight_overflowed_is_named(at):
    def rate(step):
        return np.where(np.asarray(step) == at, 3e38, 0.01)

    x, y = data()
    net = model(optimizer=pyact.optimizers.SGD(rate))
    with pytest.raises(FloatingPointError, match=rf"weight '.*' of layer .* after step {at + 1},"):
        net.fit(x, 100 * y, batch_size=BATCH, verbose=0, shuffle=False)
    assert net.optimizer.iterations == at + 1  # nothing was learned from it


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
    """d/dw sum(w c) = c: a gradient of any numbers, with one bad one anywhere."""
    largest = np.finfo(dtype).max
    rng = np.random.default_rng(size)
    c = rng.choice([0, -0.0, 1, largest, -largest, np.finfo(dtype).tiny], size).astype(dtype)
    graph = _core.Graph()
    block = _core.Block(np.dtype(dtype), size)
    w = graph.param(block, 0, (size,), True)
    x = graph.input((1, size), np.dtype(dtype))
    loss = ops.sum(ops.reshape(x, shape=(size,)) * w)
    state = _core.OptimizerState("opt_sgd")
    program = _core.Program(graph, loss=loss, optimizer=state)

    def step():
        _core.run_loop(program, None, (("x", c[None], 0, False),), 1, 1, None, 0, 1, 0, 0,
                       np.zeros(1), None, (), (), np.zeros(1, np.int64), None, 1)  # fmt: skip

    step()
    places = {0, size - 1, size // 2, *rng.integers(0, size, 5).tolist()}
    for at in places:
        kept, c[at] = c[at], rng.choice([np.nan, np.inf, -np.inf])
        with pytest.raises(FloatingPointError):
            step()
        c[at] = kept
    step()
