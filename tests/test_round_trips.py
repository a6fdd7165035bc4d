"""Every public layer class: its description, weights and results come back bit by bit from
files, pickles and copies. A class without a row here fails."""

from __future__ import annotations

import copy
import inspect
import pickle

import numpy as np
import pytest
from oracle import normal

import pyact
from pyact import Input, Model, Sequential, layers
from pyact.layers import Dense

FLAT, TIME, IMAGE, LINE = (6,), (5, 4), (6, 6, 4), (8, 4)
BARE = ("ELU", "GELU", "HardSigmoid", "LeakyReLU", "LogSoftmax", "Mish", "PReLU", "ReLU", "SELU",
        "SiLU", "Sigmoid", "Softmax", "Softplus", "Softsign", "Swish", "Tanh")  # fmt: skip

# class -> (layer, shape of one sample, or of each of several)
ROWS = {
    **{name: (lambda n=name: getattr(layers, n)(), FLAT) for name in BARE},
    **{
        name: (lambda n=name: getattr(layers, n)(), IMAGE)
        for name in ("AveragePooling2D", "Flatten", "GlobalAveragePooling2D", "GlobalMaxPooling2D",
                     "MaxPooling2D", "UpSampling2D", "ZeroPadding2D", "BatchNormalization",
                     "LayerNormalization")
    },
    **{
        name: (lambda n=name: getattr(layers, n)(), LINE)
        for name in ("AveragePooling1D", "GlobalAveragePooling1D", "GlobalMaxPooling1D",
                     "MaxPooling1D", "UpSampling1D", "ZeroPadding1D")
    },
    **{
        name: (lambda n=name: getattr(layers, n)(), [FLAT, FLAT])
        for name in ("Add", "Average", "Concatenate", "Maximum", "Minimum", "Multiply", "Subtract")
    },
    "Activation": (lambda: layers.Activation("tanh"), FLAT),
    "Bidirectional": (lambda: layers.Bidirectional(layers.LSTM(3), "sum"), TIME),
    "Conv1D": (lambda: layers.Conv1D(3, 2, padding="causal"), LINE),
    "Conv1DTranspose": (lambda: layers.Conv1DTranspose(3, 3, 2, output_padding=1), LINE),
    "Conv2D": (lambda: layers.Conv2D(6, (3, 2), 2, "same", groups=2, activation="gelu"), IMAGE),
    "Conv2DTranspose": (
        lambda: layers.Conv2DTranspose(3, (3, 2), 2, "same", 1, activation="tanh"), IMAGE),
    "Dense": (lambda: Dense(3, "gelu", kernel_initializer="he_normal"), FLAT),
    "DepthwiseConv2D": (lambda: layers.DepthwiseConv2D(3, depth_multiplier=2), IMAGE),
    "Dot": (lambda: layers.Dot((2, 1), True), [TIME, LINE[::-1]]),
    "Dropout": (lambda: layers.Dropout(0.25), FLAT),
    "Embedding": (lambda: layers.Embedding(9, 3, mask_zero=True), (5,)),
    "Feedback": (lambda: layers.Feedback([Dense(4, "tanh"), Dense(2)], delays=(1, 3)), TIME),
    "GRU": (lambda: layers.GRU(3, reset_after=False, recurrent_dropout=0.2), TIME),
    "GroupNormalization": (lambda: layers.GroupNormalization(2), IMAGE),
    "LSTM": (lambda: layers.LSTM(3, go_backwards=True, unit_forget_bias=False), TIME),
    "Masking": (lambda: layers.Masking(2.0), TIME),
    "Reshape": (lambda: layers.Reshape((2, -1)), FLAT),
    "SeparableConv2D": (lambda: layers.SeparableConv2D(5, 3, depth_multiplier=2), IMAGE),
    "SimpleRNN": (lambda: layers.SimpleRNN(3, "relu", dropout=0.1), TIME),
    "TimeDistributed": (lambda: layers.TimeDistributed(Sequential([Dense(3), Dense(2)])), TIME),
    "Model": (lambda: Model(x := Input((4,)), layers.Add()([x, Dense(4)(x)])), (4,)),
    "Sequential": (lambda: Sequential([Dense(3), layers.BatchNormalization()]), (4,)),
}  # fmt: skip
NO_LAYERS = {"InputLayer"}  # what Input makes; it is in every row


def test_every_layer_has_a_row():
    named = {
        n for n in layers.__all__
        if isinstance(getattr(layers, n), type) and issubclass(getattr(layers, n), layers.Layer)
    }  # fmt: skip
    assert set(ROWS) == (named | {"Model", "Sequential"}) - NO_LAYERS - {"Layer"}


def arguments(kind):
    """What the constructors of a class and of those above it take by name."""
    found = set()
    for one in kind.__mro__[:-1]:
        for name, p in inspect.signature(one.__init__).parameters.items():
            if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY) and name != "self":
                found.add(name)
        if "keywords" not in inspect.signature(one.__init__).parameters and "kw" not in (
            inspect.signature(one.__init__).parameters
        ):
            break  # takes nothing for those above
    return found


@pytest.mark.parametrize("name", sorted(set(ROWS) - {"Model", "Sequential"}))
def test_a_description_names_every_argument(name):
    layer = ROWS[name][0]()
    config = layer.get_config()
    left = arguments(type(layer)) - set(config) - {"input_shape"}
    if "depthwise_initializer" in config:
        left.discard("kernel_initializer")  # its name in the class above
    assert not left


def through_file(net, path):
    net.save(path / "one")
    twin = pyact.load_model(path / "one")
    twin.save(path / "two")
    assert (path / "one").read_bytes() == (path / "two").read_bytes()
    return twin


WAYS = {
    "save": through_file,
    "pickle": lambda net, path: pickle.loads(pickle.dumps(net)),
    "deepcopy": lambda net, path: copy.deepcopy(net),
}


def network(name):
    make, shape = ROWS[name]
    shapes = shape if isinstance(shape, list) else [shape]
    inputs = [Input(s, name=f"in_{k}") for k, s in enumerate(shapes)]
    y = make()(inputs if isinstance(shape, list) else inputs[0])
    net = Model(inputs if isinstance(shape, list) else inputs[0], y)
    for k, w in enumerate(net.weights):  # no weight stays at a value that it begins with
        w[...] = np.abs(normal(w.shape, "w", k)) + 0.1
    data = [normal((7, *s), "x", k).astype(np.float32) for k, s in enumerate(shapes)]
    if name == "Embedding":
        data = [np.arange(35).reshape(7, 5) % 9]
    return net, data if isinstance(shape, list) else data[0]


def same(a, b):
    a, b = (v if isinstance(v, (list, tuple)) else [v] for v in (a, b))
    return [x.tobytes() for x in a] == [x.tobytes() for x in b]


@pytest.mark.parametrize("how", WAYS)
@pytest.mark.parametrize("name", ROWS)
def test_a_layer_comes_back(name, how, tmp_path):
    net, x = network(name)
    net.compile("adam", "mse")
    y = net.predict(x)
    assert tuple(net.output_shape[1:]) == y.shape[1:]
    twin = WAYS[how](net, tmp_path)
    assert same(twin.get_weights(), net.get_weights()) and same(twin.predict(x), y)
    assert twin.get_config() == net.get_config()
    if net.weights:  # and goes on alike
        for model in (net, twin):
            model.fit(x, np.zeros_like(y), epochs=2, batch_size=4, verbose=0)
        assert same(twin.get_weights(), net.get_weights())
        assert not same(twin.predict(x), y)
