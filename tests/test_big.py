"""Arrays of more than 2^31 elements, and of more than 4 GiB: offsets are 64 bits wide everywhere.

That takes 14 GB of memory and a minute, so only PYACT_TEST_BIG=1 does it. Otherwise the same is
done with 2^20 elements, which test_planted.py asks of a core whose offsets have 20 bits."""

from __future__ import annotations

import os

import numpy as np
import pytest

import pyact
from pyact import _safetensors, layers, ops

BITS = 31 if os.environ.get("PYACT_TEST_BIG") == "1" else 20
MANY = (1 << BITS) + 77


def places(n):
    """The ends, and where that many bits wrap."""
    wrap = 1 << BITS
    return np.r_[0:9, n // 2 - 4 : n // 2 + 4, wrap - 9 : min(wrap + 9, n), n - 9 : n]


@pytest.mark.parametrize("name", ["tanh", "relu", "gelu_grad"])
def test_ufunc(name):
    """float16: 4 GiB, in place."""
    f = getattr(pyact, name)
    x = np.empty(MANY, np.float16)
    pattern = np.linspace(-4, 4, 1 << 16).astype(np.float16)
    for at in range(0, MANY, 1 << 16):
        x[at : at + (1 << 16)] = pattern[: MANY - at]
    at = places(MANY)
    want = f(x[at])
    assert f(x, out=x) is x
    assert np.array_equal(x[at], want)
    k = np.arange(0, MANY, (1 << 16) * 101 + 3)
    assert np.array_equal(x[k], f(pattern[k % (1 << 16)]))


def test_ufunc_of_float32_above_8_gib():
    x = np.zeros(MANY, np.float32)
    at = places(MANY)
    x[at] = np.linspace(-3, 3, at.size)
    want = pyact.sigmoid(x[at])
    pyact.sigmoid(x, out=x)
    assert np.array_equal(x[at], want)
    assert x[12345] == x[MANY - 12345] == 0.5


def test_operator():
    x = np.ones(((1 << (BITS - 11)) + 1, (1 << 11) + 1), np.float32)  # the last row lies behind
    x[-1] = 3
    weights = np.ones((x.shape[1], 1), np.float32)
    y = ops.matmul(x, weights)
    assert (y[:-1] == x.shape[1]).all() and y[-1, 0] == 3 * x.shape[1]
    total = ops.sum(x, axis=[1])
    assert np.array_equal(total, y[:, 0])


def test_training_and_prediction():
    """uint8 rows, of which the last lie behind 2^31 elements."""
    rows, width = (1 << (BITS - 10)) + 1000, 1 << 10
    x = np.zeros((rows, width), np.uint8)
    x[-1000:] = 200
    model = pyact.Sequential([layers.Dense(1, kernel_initializer="zeros")])
    model.compile(pyact.optimizers.SGD(1e-7), "mse")
    y = np.zeros((rows, 1), np.float32)
    y[-1000:] = 1
    model.fit(x, y, batch_size=8192, verbose=0)  # shuffled: the gradient comes from the last rows
    kernel = model.get_weights()[0]
    assert (kernel > 0).all()
    found = model.predict(x, batch_size=8192)
    assert (found[:-1000] == model.get_weights()[1]).all()
    assert np.allclose(found[-1000:], model.predict(x[-1:]), rtol=1e-6)


def test_file(tmp_path):
    path = tmp_path / "big"
    x = np.zeros(MANY, np.float16)  # 4 GiB and some
    at = places(MANY)
    x[at] = np.arange(at.size)
    _safetensors.write(path, {"a": np.arange(3.0), "big": x, "z": np.arange(5)})
    found = _safetensors.read(path)
    arrays = found[0] if isinstance(found, tuple) else found
    assert np.array_equal(arrays["big"][at], x[at]) and arrays["big"].shape == x.shape
    assert np.array_equal(arrays["a"], np.arange(3.0)) and np.array_equal(arrays["z"], np.arange(5))
