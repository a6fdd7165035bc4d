"""Models, layers and optimizers pickle and deep-copy, and go on to the same bits."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest

import pyact
from pyact import optimizers
from pyact.layers import Dense, Dropout, Input, Layer, PReLU
from pyact.training.engine import Engine
from pyact.variables import Weight

COPIES = {
    "deepcopy": copy.deepcopy,
    **{f"pickle {p}": lambda x, p=p: pickle.loads(pickle.dumps(x, p)) for p in (2, 4, 5)},
}


class Scale(Layer):
    def build(self, input_shape):
        self.parts = [self.add_weight(n, input_shape[-1:], "ones") for n in "ab"]

    def call(self, x, training=False):
        return x * self.parts[0] + self.parts[1]


def model():
    pyact.set_seed(1)
    net = pyact.Sequential([
        Input((5,)), Dense(16, "gelu"), Dropout(0.3),
        pyact.Sequential([Dense(8, "leaky_relu"), PReLU()]), Scale(), Dense(1, "sigmoid"),
    ])  # fmt: skip
    net.compile(optimizers.Adam(0.01, amsgrad=True, global_clipnorm=1.0), "bce", ["accuracy"])
    return net


def data():
    x = np.random.default_rng(0).normal(size=(60, 5)).astype(np.float32)
    return x, (x[:, :1] > 0).astype(np.float32)


def bits(net):
    return [w.tobytes() for w in net.weights]


@pytest.mark.parametrize("how", COPIES)
@pytest.mark.parametrize("epochs", [0, 2])
def test_a_copy_goes_on_to_the_same_bits_and_shares_nothing(how, epochs):
    net, (x, y) = model(), data()
    if epochs:
        net.fit(x, y, epochs=epochs, verbose=0)
    net.predict(x)
    twin = COPIES[how](net)
    before = bits(net)
    assert bits(twin) == before
    twin.fit(x, y, epochs=2, verbose=0)
    assert bits(net) == before and bits(twin) != before
    net.fit(x, y, epochs=2, verbose=0)
    assert bits(twin) == bits(net)
    assert twin.layers[0].kernel.base is not None
    twin.layers[0].kernel[...] = 0  # still the model's own memory
    twin.layers[-2].parts[1][...] = 5
    assert not twin.get_weights()[0].any()
    assert (twin.predict(x) != net.predict(x)).any()


@pytest.mark.parametrize("owner, name, fault", [
    (Engine, "__getstate__", lambda self: {**vars(self), "slots": []}),  # the moments are lost
    (Weight, "__deepcopy__", lambda self, memo: self),  # the memory is shared
])  # fmt: skip
def test_a_copy_that_loses_or_shares_something_is_found(monkeypatch, owner, name, fault):
    monkeypatch.setattr(owner, name, fault)
    with pytest.raises((AssertionError, TypeError)):
        test_a_copy_goes_on_to_the_same_bits_and_shares_nothing("deepcopy", 2)


@pytest.mark.parametrize("how", COPIES)
def test_layers_and_optimizers(how):
    layer = Dense(3, "relu", name="mine")
    x = np.ones((2, 4), np.float32)
    assert COPIES[how](layer).get_config() == layer.get_config()  # not built yet
    y = layer(x)
    twin = COPIES[how](layer)
    assert (twin(x) == y).all() and twin.weights[0] is twin.kernel
    for optimizer in ("sgd", optimizers.RMSprop(optimizers.schedules.CosineDecay(0.1, 5))):
        made = optimizers.get(optimizer)
        made.iterations = 7
        other = COPIES[how](made)
        assert other.get_config() == made.get_config() and other.iterations == 7


def test_a_weight_alone():
    layer = Dense(3)
    layer(np.ones((2, 4), np.float32))
    twin = copy.deepcopy(layer.kernel)
    twin[...] = 0
    assert layer.kernel.any() and type(layer.kernel.numpy()) is np.ndarray


@pytest.mark.parametrize("again", [lambda o: pickle.loads(pickle.dumps(o)), copy.deepcopy])
def test_an_optimizer_that_applied_gradients(again):
    v, opt = pyact.Variable([1.0, -2.0]), pyact.optimizers.Adam(0.1)
    opt.apply_gradients([(np.float32([1, 2]), v)])
    w, other = again((v, opt))
    assert type(w) is pyact.Variable
    for variable, optimizer in ((v, opt), (w, other)):
        optimizer.apply_gradients([(np.float32([3, -1]), variable)])
    assert v.numpy().tobytes() == w.numpy().tobytes()
    assert not np.shares_memory(v, w)
