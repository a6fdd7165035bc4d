"""callbacks.NeuronHealth: what it counts is what NumPy counts, and it changes nothing."""

from __future__ import annotations

import matplotlib as mpl
import numpy as np
import pytest

import pyact
from pyact import callbacks, layers, optimizers

SLOPES = {
    "relu": lambda z: (z > 0) * 1.0,
    "sigmoid": lambda z: np.exp(-z) / (1 + np.exp(-z)) ** 2,
    "tanh": lambda z: 1 - np.tanh(z) ** 2,
    "softsign": lambda z: 1 / (1 + np.abs(z)) ** 2,
    "elu": lambda z: np.where(z > 0, 1, np.exp(np.minimum(z, 0))),
    "selu": lambda z: np.where(z > 0, 1.0507, 1.0507 * 1.67326 * np.exp(np.minimum(z, 0))),
    "softplus": lambda z: 1 / (1 + np.exp(-z)),
    "leaky_relu": lambda z: np.where(z > 0, 1, 0.01),
}


def still(*rest, x, y, batch=32, epochs=1, every=1, watch=True, rate=0.0, shuffle=True):
    """Trains without moving (or with a rate): (model, health, history)."""
    pyact.set_seed(3)
    model = pyact.Sequential([layers.Input(x.shape[1:]), *rest])
    model.compile(optimizers.SGD(rate), "mse")
    health = callbacks.NeuronHealth(every)
    history = model.fit(x, y, batch, epochs, verbose=0, callbacks=[health] if watch else [],
                        shuffle=shuffle)  # fmt: skip
    return model, health, history


def data(n=100, width=5, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.normal(0, 3, (n, width)).astype(np.float32)
    return x, rng.normal(size=(n, 1)).astype(np.float32)


@pytest.mark.parametrize("name", SLOPES)
@pytest.mark.parametrize("units", [7, 33])
def test_shares_are_those_of_the_slopes(name, units):
    x, y = data()
    hidden = layers.Dense(units, name, name="h", bias_initializer=pyact.initializers.RandomNormal(
        stddev=8))  # fmt: skip
    _, health, history = still(hidden, layers.Dense(1), x=x, y=y)
    kernel, bias = hidden.get_weights()
    slope = SLOPES[name](x.astype(float) @ kernel + bias)
    most = {"sigmoid": 0.25, "selu": 1.7581}.get(name, 1.0)
    flat = slope <= 0.05 * most if name != "leaky_relu" else np.zeros_like(slope, bool)
    # a value within rounding of the bound may fall on either side
    near = (np.abs(slope - 0.05 * most) < 1e-5).mean()
    assert abs(health.saturated["h"][0] - flat.mean()) <= near + 1e-9
    if near == 0:
        assert health.dead["h"][0] == pytest.approx(flat.all(axis=0).mean())
    assert history.history["saturated/h"] == health.saturated["h"]
    assert 0 < flat.mean() < 1 or name == "leaky_relu"


def test_dead_units_and_the_last_smaller_batch():
    """A unit that lives only in the last, smaller batch is not dead."""
    x, y = np.zeros((70, 2), np.float32), np.zeros((70, 1), np.float32)
    x[69] = (1, 0)
    hidden = layers.Dense(3, "relu", name="h")
    pyact.set_seed(0)
    model = pyact.Sequential([layers.Input((2,)), hidden, layers.Dense(1)])
    hidden.set_weights([np.array([[5, -1, 0], [0, 0, 0]]), np.array([-1, -1, 1])])
    model.compile(optimizers.SGD(0.0), "mse")
    health = callbacks.NeuronHealth(1)
    model.fit(x, y, 32, 2, shuffle=False, verbose=0, callbacks=[health])
    assert health.dead["h"] == [1 / 3] * 2
    assert health.saturated["h"] == [pytest.approx((69 + 70) / 210)] * 2


def test_gradient_norms_are_those_of_the_loss():
    x, y = data(64)
    dense = layers.Dense(1, name="only")
    _, health, _ = still(dense, x=x, y=y, batch=64, epochs=1)
    kernel, bias = (w.astype(float) for w in dense.get_weights())
    delta = 2 * (x @ kernel + bias - y) / 64
    square = np.sum((x.T @ delta) ** 2) + delta.sum() ** 2
    assert health.gradient_norm["only"][0] == pytest.approx(np.sqrt(square), rel=1e-5)


def test_gradients_are_looked_at_in_every_so_manieth_step():
    """The first step's gradient is the only one that is not nearly 0."""
    x, y = np.ones((40, 1), np.float32), np.ones((40, 1), np.float32)
    for every, looks in ((1, 4), (2, 2), (4, 1), (16, 1)):
        dense = layers.Dense(1, name="only", kernel_initializer="zeros")
        model = pyact.Sequential([layers.Input((1,)), dense])
        model.compile(optimizers.SGD(0.25), "mse")  # there in one step
        health = callbacks.NeuronHealth(every)
        model.fit(x, y, 10, 1, verbose=0, callbacks=[health])
        assert health.gradient_norm["only"] == [pytest.approx(np.sqrt(8 / looks))]


def test_channels_are_units_in_both_formats():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(20, 9, 8, 2)).astype(np.float32)
    y = np.zeros((20, 1), np.float32)
    found = []
    for form in ("channels_last", "channels_first"):
        conv = layers.Conv2D(6, 3, activation="relu", name="c", data_format=form)
        given = x if form == "channels_last" else np.moveaxis(x, -1, 1).copy()
        _, health, _ = still(conv, layers.Flatten(), layers.Dense(1), x=given, y=y, batch=8)
        found.append((health.saturated["c"], health.dead["c"]))
    assert found[0] == found[1]
    assert 0 < found[0][0][0] < 1


@pytest.mark.parametrize("every, rows", [(2, [0, 1, 4, 5]), (3, [0, 1]), (4, [0, 1]),
                                         (5, [0, 1]), (1, list(range(6)))])  # fmt: skip
def test_every_so_manieth_batch_is_looked_at(every, rows):
    """Batches of two rows, the last of one: the first of each epoch is always among them."""
    x = np.array([[1], [-1], [-1], [-1], [1], [1], [-1]], np.float32)
    hidden = layers.Dense(1, "relu", name="h", kernel_initializer="ones")
    _, health, _ = still(hidden, x=x, y=np.zeros((7, 1), np.float32), batch=2, epochs=2,
                         every=every, shuffle=False)  # fmt: skip
    rows = rows + [6] * (3 % every == 0)
    share = (x[rows] <= 0).mean()
    assert health.saturated["h"] == [pytest.approx(share)] * 2
    assert len(health.gradient_norm["h"]) == 2


def test_pooling_behind_a_convolution_is_looked_at_and_trains_to_the_same_bits():
    """What is not looked at runs as one call; what is, as two."""
    x = np.random.default_rng(0).normal(size=(50, 8, 8, 1)).astype(np.float32)
    y = np.zeros((50, 1), np.float32)
    found = []
    for watch in (True, False):
        stack = [layers.Conv2D(4, 3, activation="relu", name="c"), layers.MaxPooling2D(),
                 layers.Flatten(), layers.Dropout(0.2), layers.Dense(1)]  # fmt: skip
        model, _, _ = still(*stack, x=x, y=y, batch=8, epochs=2, every=3, watch=watch,
                                 rate=0.01)  # fmt: skip
        found.append(model.get_weights())
    assert all(a.tobytes() == b.tobytes() for a, b in zip(*found, strict=True))


def test_nothing_else_changes():
    x, y = data(300)
    many = [layers.Dense(9, a) for a in ("relu", "tanh", "gelu", "sigmoid")]
    more = [layers.Dense(9, a) for a in ("relu", "tanh", "gelu", "sigmoid")]
    with_it, _, h1 = still(*many, layers.Dense(1), x=x, y=y, epochs=3, rate=0.1)
    without, _, h2 = still(*more, layers.Dense(1), x=x, y=y, epochs=3, rate=0.1, watch=False)
    assert h1.history["loss"] == h2.history["loss"]
    for a, b in zip(with_it.get_weights(), without.get_weights(), strict=True):
        assert a.tobytes() == b.tobytes()


def test_picture(tmp_path):
    mpl.use("Agg")
    x, y = data()
    health = callbacks.NeuronHealth()
    with pytest.raises(ValueError, match="nothing has been measured"):
        health.plot()
    _, health, history = still(
        layers.Dense(4, "tanh"), layers.Dense(1), x=x, y=y, epochs=2, rate=0.01
    )
    panels = health.plot(title="two layers", path=tmp_path / "health.png")
    assert [p.get_ylabel() for p in panels] == ["saturated values", "dead units", "gradient norm"]
    assert (tmp_path / "health.png").stat().st_size > 1000
    assert [a.get_ylabel() for a in history.plot()] == ["loss"]


def test_every_is_a_whole_number():
    for wrong in (0, -1):
        with pytest.raises(ValueError, match="every"):
            callbacks.NeuronHealth(wrong)
    with pytest.raises(TypeError, match="every"):
        callbacks.NeuronHealth("often")
