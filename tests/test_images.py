"""Layers over images and sequences: Keras's shapes and padding, both orders of the axes,
and what cannot be."""

from __future__ import annotations

import re
from functools import partial
from typing import Any

import numpy as np
import pytest
from oracle import normal
from reference import ROWS
from test_ops import program_run

import pyact
from pyact import _core, layers, ops


def near(got: Any, want: Any) -> None:
    want = np.asarray(want, np.float64)
    assert np.shape(got) == want.shape
    np.testing.assert_allclose(got, want, rtol=0, atol=2e-6 * (1 + np.abs(want).max(initial=0)))


def swapped(x: Any) -> Any:
    """Channels last to channels first, contiguous."""
    return np.ascontiguousarray(np.moveaxis(x, -1, 1))


CONV = ROWS["conv2d"].forward
CONV_BACK = ROWS["conv2d"].vjp
IMAGES = normal((2, 7, 10, 4), "images")


@pytest.mark.parametrize(("keywords", "attrs"), [
    ({}, {}),
    ({"strides": (2, 3)}, {"strides": (2, 3)}),
    ({"padding": "same"}, {"padding": (1, 1, 0, 1)}),
    ({"padding": "same", "strides": 2}, {"padding": (1, 1, 0, 0), "strides": (2, 2)}),
    ({"padding": "same", "dilation_rate": (2, 3)}, {"padding": (2, 2, 1, 2), "dilation": (2, 3)}),
    ({"groups": 2, "activation": "relu"}, {"groups": 2, "activation": "relu"}),
    ({"activation": "sigmoid"}, {"activation": "sigmoid"}),
    ({"activation": "gelu"}, {"activation": "gelu"}),
])  # fmt: skip
def test_conv2d_is_keras_s(keywords, attrs):
    layer = layers.Conv2D(6, (3, 2), bias_initializer="glorot_uniform", **keywords)
    got = layer(IMAGES)
    kernel, bias = layer.get_weights()
    assert kernel.shape == (3, 2, 4 // keywords.get("groups", 1), 6) and bias.shape == (6,)
    near(got, CONV(IMAGES, kernel, bias, **attrs))
    assert layer.compute_output_shape((None, 7, 10, 4)) == (None, *got.shape[1:])
    config = layer.get_config()
    first = layers.Conv2D.from_config({**config, "data_format": "channels_first"})
    first(swapped(IMAGES))
    first.set_weights([kernel, bias])
    near(first(swapped(IMAGES)), swapped(got))
    assert first.compute_output_shape((None, 4, 7, 10)) == (None, *swapped(got).shape[1:])


def test_depthwise_convolution_keeps_a_channel_s_results_together():
    layer = layers.DepthwiseConv2D(3, padding="same", depth_multiplier=2, use_bias=False)
    got = layer(IMAGES)
    (kernel,) = layer.get_weights()
    assert kernel.shape == (3, 3, 4, 2)
    for c in range(4):
        one = CONV(IMAGES[..., c : c + 1], kernel[:, :, c : c + 1], padding=(1, 1, 1, 1))
        near(got[..., 2 * c : 2 * c + 2], one)


@pytest.mark.parametrize("padding", ["valid", "same", "causal"])
def test_conv1d_by_its_definition(padding):
    x = normal((3, 9, 2), "steps")
    layer = layers.Conv1D(5, 3, padding=padding, dilation_rate=2)
    got, (kernel, _) = layer(x), layer.get_weights()
    before = {"valid": 0, "same": 2, "causal": 4}[padding]
    wide = np.pad(x, ((0, 0), (before, 2 if padding == "same" else 0), (0, 0)))
    steps = wide.shape[1] - 4
    near(got, sum(wide[:, 2 * k : 2 * k + steps] @ kernel[k] for k in range(3)))
    first = layers.Conv1D.from_config({**layer.get_config(), "data_format": "channels_first"})
    first(swapped(x))
    first.set_weights(layer.get_weights())
    near(first(swapped(x)), swapped(got))


@pytest.mark.parametrize("kind", ["Max", "Average"])
def test_pooling_sees_no_padding(kind):
    """With padding "same" the border counts only what is there: constants stay constants."""
    x = np.full((1, 5, 7, 3), -2.5)
    layer = getattr(layers, f"{kind}Pooling2D")(3, strides=2, padding="same")
    near(layer(x), np.full((1, 3, 4, 3), -2.5))
    reduce = np.max if kind == "Max" else np.mean
    got = getattr(layers, f"{kind}Pooling2D")((2, 3))(IMAGES)
    blocks = IMAGES[:, :6, :9].reshape(2, 3, 2, 3, 3, 4)
    near(got, reduce(blocks, axis=(2, 4)))
    first = getattr(layers, f"{kind}Pooling2D")((2, 3), data_format="channels_first")
    near(first(swapped(IMAGES)), swapped(got))
    line = getattr(layers, f"{kind}Pooling1D")(3)(IMAGES[:, 0])
    near(line, reduce(IMAGES[:, 0, :9].reshape(2, 3, 3, 4), axis=2))
    near(getattr(layers, f"Global{kind}Pooling2D")()(IMAGES), reduce(IMAGES, axis=(1, 2)))
    near(getattr(layers, f"Global{kind}Pooling1D")()(IMAGES[:, 0]), reduce(IMAGES[:, 0], axis=1))


def test_max_pooling_of_nan_and_ties():
    x = np.array([[1.0, np.nan], [3.0, 3.0]]).reshape(1, 2, 2, 1)
    assert np.isnan(layers.MaxPooling2D()(x)).all()
    tape = _core.Tape()
    leaf = tape.leaf(x)
    (dx,) = tape.gradient(tape.apply("max_pool2d", (leaf,), {"size": (2, 2)}), (leaf,))
    assert dx.numpy().ravel().tolist() == [0, 1, 0, 0]  # the NaN is the largest
    model = pyact.Sequential([layers.Input((2, 2, 1)), layers.Conv2D(1, 1), layers.MaxPooling2D()])
    model.compile(pyact.optimizers.SGD(1.0), "mse")
    model.set_weights([np.zeros((1, 1, 1, 1)), np.zeros(1)])
    model.fit(np.arange(1.0, 5).reshape(1, 2, 2, 1), np.full((1, 1, 1, 1), -1.0), verbose=0)
    kernel, _ = model.get_weights()  # all four tie: the first, whose x is 1, has the gradient
    assert kernel.item() == -2


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("image", "kernel", "attrs", "window", "fused"), [
    ((5, 28, 28, 1), (5, 5, 1, 6), {"activation": "relu", "padding": (2,) * 4}, {}, True),
    ((5, 14, 14, 6), (5, 5, 6, 16), {"activation": "relu"}, {"strides": (2, 2)}, True),
    ((5, 14, 14, 6), (5, 5, 6, 16), {}, {}, True),
    ((3, 12, 36, 1), (4, 4, 1, 6), {}, {}, True),  # a row and a column that no window covers
    ((3, 12, 36, 1), (4, 4, 1, 6), {"activation": "relu"}, {}, True),
    ((3, 11, 9, 3), (3, 2, 3, 20), {}, {"size": (3, 2)}, True),
    ((3, 11, 9, 3), (3, 2, 3, 20), {"activation": "relu"}, {"size": (3, 2)}, True),
    ((3, 9, 9, 4), (3, 3, 1, 4), {"groups": 4}, {"padding": (0,) * 4}, True),
    ((3, 9, 9, 4), (3, 3, 4, 4), {"activation": "tanh"}, {}, False),
    ((3, 9, 9, 4), (3, 3, 4, 4), {}, {"strides": (1, 2)}, False),
    ((3, 9, 9, 4), (3, 3, 4, 4), {}, {"strides": (2, 1)}, False),
    ((3, 9, 9, 4), (3, 3, 4, 4), {}, {"padding": (1, 0, 0, 0)}, False),
    ((3, 13, 13, 4), (3, 3, 4, 4), {"pool": (2, 2)}, {}, False),
])  # fmt: skip
def test_pooling_in_the_convolution_s_call_changes_no_bit(
    image, kernel, attrs, window, fused, dtype, ties
):
    """A program does what the tape does in two calls in one, unless somebody else reads the
    convolution's result."""
    inputs = [normal(s, "pooled", s).astype(dtype) for s in (image, kernel, kernel[3:])]
    window = {"size": (2, 2), **window}
    if ties:  # whole numbers, and few of the kernel: many results of a window are equal
        inputs = [np.round(a) for a in inputs]
        inputs[1][1:] = inputs[1][:, 1:] = 0

    def chain(owner: Any, values: Any) -> Any:
        y = owner.apply("conv2d", values, attrs)
        return y, owner.apply("max_pool2d", (y,), window)

    tape = _core.Tape()
    leaves = tuple(tape.leaf(a) for a in inputs)
    y, pooled = chain(tape, leaves)
    seed = normal(pooled.shape, "seed").astype(dtype)
    want = [pooled.numpy(), *(g.numpy() for g in tape.gradient(pooled, leaves, seed))]

    def build(graph: Any, values: Any, both: bool) -> Any:
        y, pooled = chain(graph, values)
        loss = graph.apply("sum", (graph.apply("multiply", (pooled, graph.const(seed))),))
        return ((pooled, y) if both else (pooled,)), loss

    for both in (False, True):
        outputs, grads = program_run(partial(build, both=both), inputs, dtype)
        for got, own in zip([outputs[0], *grads], want, strict=True):
            assert got.tobytes() == own.tobytes()
        assert not both or outputs[1].tobytes() == y.numpy().tobytes()

    graph = _core.Graph()
    values = (graph.input(image, dtype), *(graph.const(a) for a in inputs[1:]))
    y, pooled = chain(graph, values)
    assert _core.Program(graph, outputs=(pooled,)).calls == (1 if fused else 2)
    assert _core.Program(graph, outputs=(pooled, y)).calls == 2


def test_pooling_stays_apart_from_a_convolution_that_is_walked_back_by_itself():
    x, kernel = normal((2, 8, 8, 3), "x"), normal((3, 3, 3, 4), "k")
    graph = _core.Graph()
    values = graph.input(x.shape, "float64"), graph.const(kernel)
    y = graph.apply("conv2d", values)
    pooled = graph.apply("max_pool2d", (y,), {"size": (2, 2)})
    [dk] = graph.gradient(y, values[1:], graph.const(np.ones(y.shape)))
    program = _core.Program(graph, outputs=(pooled, dk))
    found, gradient = _core.execute(program, (x,))
    wide = CONV(x, kernel)
    near(found, wide.reshape(2, 3, 2, 3, 2, 4).max(axis=(2, 4)))
    near(gradient, CONV_BACK(np.ones(y.shape), x, kernel)[1])


def lenet(**data_format: Any) -> pyact.Sequential:
    pyact.set_seed(3)
    shape = (1, 28, 28) if data_format else (28, 28, 1)
    model = pyact.Sequential([
        layers.Input(shape),
        layers.Conv2D(6, 5, padding="same", activation="relu", **data_format),
        layers.MaxPooling2D(**data_format),
        layers.Conv2D(16, 5, activation="relu", **data_format),
        layers.MaxPooling2D(**data_format),
        layers.GlobalAveragePooling2D(**data_format),
        layers.Dense(10),
    ])  # fmt: skip
    loss = pyact.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(pyact.optimizers.Adam(0.01), loss)
    return model


def test_both_orders_of_axes_train_alike():
    x, y = normal((40, 28, 28, 1), "x"), np.arange(40) % 10
    last, first = lenet(), lenet(data_format="channels_first")
    a = last.fit(x, y, 16, epochs=4, verbose=0).history["loss"]
    b = first.fit(swapped(x), y, 16, epochs=4, verbose=0).history["loss"]
    np.testing.assert_allclose(a, b, rtol=1e-4)
    assert a[-1] < a[0]


def test_threads_train_to_the_same_bits():
    x, y, found = normal((70, 28, 28, 1), "x"), np.arange(70) % 10, []
    before = pyact.get_num_threads()
    for threads in (1, 2, 3):
        pyact.set_num_threads(threads)
        model = lenet()
        model.fit(x, y, 35, epochs=2, verbose=0)
        found.append(b"".join(w.tobytes() for w in model.get_weights()))
    pyact.set_num_threads(before)
    assert found[0] == found[1] == found[2]


@pytest.mark.parametrize(("make", "kind", "words"), [
    (lambda: layers.Conv2D(0, 3), ValueError, "filters must be at least 1, got 0"),
    (lambda: layers.Conv2D(4, -3), ValueError, "kernel_size must be at least 1, got -3"),
    (lambda: layers.Conv2D(4, (3, 0)), ValueError, "kernel_size must be at least 1, got 0"),
    (lambda: layers.Conv2D(4, (3, 3, 3)), ValueError, "kernel_size must be an integer or 2"),
    (lambda: layers.Conv2D(4, 2.5), TypeError, "kernel_size must be an integer or 2"),
    (lambda: layers.Conv2D(4, 3, strides=0), ValueError, "strides must be at least 1"),
    (lambda: layers.Conv2D(4, 3, strides=2, dilation_rate=2), ValueError, "only one"),
    (lambda: layers.Conv2D(4, 3, groups=3), ValueError, "groups must divide filters"),
    (lambda: layers.Conv2D(4, 3, padding="sane"), ValueError, "did you mean 'same'"),
    (lambda: layers.Conv2D(4, 3, padding="causal"), ValueError, "Known: same, valid"),
    (lambda: layers.Conv2D(4, 3, data_format="NCHW"), ValueError, "channels_first"),
    (lambda: layers.Conv2D(4, 8)(IMAGES), ValueError, "larger than inputs of shape"),
    (lambda: layers.Conv2D(4, 3)(IMAGES[0]), ValueError, "(batch, height, width, channels)"),
    (lambda: layers.Conv2D(4, 3, groups=4)(IMAGES[..., :3]), ValueError, "groups must divide"),
    (lambda: layers.Conv1D(4, 3)(IMAGES), ValueError, "(batch, steps, channels)"),
    (lambda: layers.DepthwiseConv2D(3, depth_multiplier=0), ValueError, "depth_multiplier"),
    (lambda: layers.MaxPooling2D(0), ValueError, "pool_size must be at least 1, got 0"),
    (lambda: layers.MaxPooling2D(8)(IMAGES), ValueError, "larger than the image"),
    (lambda: layers.AveragePooling2D(strides=-1), ValueError, "strides must be at least 1"),
    (lambda: layers.AveragePooling1D()(IMAGES), ValueError, "(batch, steps, channels)"),
    (lambda: layers.GlobalMaxPooling2D()(IMAGES[0]), ValueError, "expected 4 axes"),
    (lambda: layers.GlobalAveragePooling2D()(IMAGES[:, :0]), ValueError, "at least one pixel"),
    (lambda: layers.GlobalMaxPooling2D()(IMAGES[:, :, :0]), ValueError, "at least one pixel"),
    (lambda: layers.GlobalAveragePooling1D()(IMAGES[0, :, :0]), ValueError, "at least one step"),
    (lambda: layers.GlobalAveragePooling1D().compute_output_shape((None, 0, 3)), ValueError,
     "at least one step"),
])  # fmt: skip
def test_what_cannot_be_is_named(make, kind, words):
    with pytest.raises(kind) as caught:
        make()
    assert words.lower() in str(caught.value).lower(), str(caught.value)


K = np.ones((3, 3, 4, 2))


@pytest.mark.parametrize(("name", "operands", "attrs", "words"), [
    ("conv2d", (IMAGES[0], K), {}, "x: got shape (7, 10, 4)"),
    ("conv2d", (IMAGES, K[0]), {}, "kernel: got shape (3, 4, 2)"),
    ("conv2d", (IMAGES, K[:0]), {}, "none of them 0"),
    ("conv2d", (IMAGES, K[:, :, :3]), {}, "expected (height, width, 4 / 1"),
    ("conv2d", (IMAGES, K), {"groups": 2}, "4 / 2"),
    ("conv2d", (IMAGES, np.ones((3, 3, 2, 3))), {"groups": 2}, "a multiple of 2"),
    ("conv2d", (IMAGES, K, np.ones(3)), {}, "bias: got shape (3,), expected (2,)"),
    ("conv2d", (IMAGES, np.ones((8, 1, 4, 2))), {}, "8 pixels high with its dilation"),
    ("conv2d", (IMAGES, K), {"dilation": (1, 5)}, "11 pixels wide with its dilation"),
    ("conv2d", (IMAGES, K), {"dilation": (1 << 30, 1)}, "the image has 7"),
    ("conv2d", (IMAGES, K), {"strides": (1,)}, "strides: got 1 numbers, expected 2"),
    ("conv2d", (IMAGES, K), {"strides": (0, 1)}, "strides"),
    ("conv2d", (IMAGES, K), {"padding": (0, 0, -1, 0)}, "padding"),
    ("conv2d", (IMAGES, K), {"padding": (1 << 30,) * 4}, "too big"),
    ("conv2d", (IMAGES, K), {"padding": (1 << 30,) * 4, "strides": (1 << 30,) * 2}, "memory"),
    ("conv2d", (IMAGES[:, :0], K), {}, "the image has 0"),
    ("conv2d", (IMAGES, K), {"pool": (2,)}, "pool: got 1 numbers, expected 2"),
    ("conv2d", (IMAGES, K), {"pool": (0, 2)}, "pool"),
    ("conv2d", (IMAGES, K), {"pool": (16, 1)}, "at most 15 x 15"),
    ("conv2d", (IMAGES, K), {"pool": (1, 16)}, "at most 15 x 15"),
    ("conv2d", (IMAGES, K), {"pool": (6, 1)}, "the result, which has 5 x 8"),
    ("conv2d", (IMAGES, K), {"pool": (1, 9)}, "the result, which has 5 x 8"),
    ("conv2d", (IMAGES, K), {"pool": (2, 2), "activation": "tanh"}, "got 'tanh'"),
    ("max_pool2d", (IMAGES,), {}, "size: got 0 numbers, expected 2"),
    ("max_pool2d", (IMAGES,), {"size": (8, 1)}, "a window of 8 pixels is larger"),
    ("max_pool2d", (IMAGES,), {"size": (2, 2), "padding": (2, 0, 0, 0)}, "less than the window"),
    ("max_pool2d", (IMAGES,), {"size": (2, 2), "padding": (0, 0, 0, 2)}, "less than the window"),
    ("max_pool2d", (IMAGES,), {"size": (1 << 30,) * 2, "padding": ((1 << 30) - 1,) * 4,
                               "strides": (1, 1)}, "too big"),
    ("avg_pool2d", (IMAGES[0],), {"size": (2, 2)}, "x: got shape (7, 10, 4)"),
    ("avg_pool2d", (IMAGES[:, :0],), {"size": (1, 1)}, "the image, which has 0"),
    ("avg_pool2d", (IMAGES,), {"size": (0, 2)}, "size"),
    ("avg_pool2d", (IMAGES,), {"size": (1 << 31, 2)}, "size"),
])  # fmt: skip
def test_operators_say_what_does_not_fit(name, operands, attrs, words):
    with pytest.raises((ValueError, MemoryError)) as caught:
        getattr(ops, name)(*operands, **attrs)
    assert words in str(caught.value), str(caught.value)


# ---- normalization ----------------------------------------------------------------------------


def standard(x: Any, axes: tuple[int, ...], epsilon: float = 1e-3) -> Any:
    mean, variance = x.mean(axes, keepdims=True), x.var(axes, keepdims=True)
    return (x - mean) / np.sqrt(variance + epsilon)


def test_normalizations_by_their_definitions():
    x = normal((4, 3, 5, 6), "norm", scale=3.0) + 2
    near(layers.LayerNormalization()(x), standard(x, (3,)))
    near(layers.LayerNormalization(axis=1)(x), standard(x, (1,)))
    both = layers.LayerNormalization(axis=[-1, 1])
    near(both(x), standard(x, (1, 3)))
    gamma = normal((3, 6), "gamma")
    both.set_weights([gamma, np.ones((3, 6))])
    near(both(x), standard(x, (1, 3)) * gamma[:, None] + 1)
    near(layers.LayerNormalization(axis=(1, 2, 3))(x), standard(x, (1, 2, 3)))
    assert layers.LayerNormalization.from_config(both.get_config()).axis == (-1, 1)
    groups = standard(x.reshape(4, 3, 5, 2, 3), (1, 2, 4)).reshape(x.shape)
    near(layers.GroupNormalization(2)(x), groups)
    near(layers.GroupNormalization(2, axis=1)(swapped(x)), swapped(groups))
    each = layers.GroupNormalization(-1)
    near(each(x), standard(x, (1, 2)))
    each.set_weights([np.arange(6.0), np.ones(6)])
    near(each(x), standard(x, (1, 2)) * np.arange(6.0) + 1)
    batch = layers.BatchNormalization(axis=1, momentum=0.75)
    near(batch(x, training=True), standard(x, (0, 2, 3)))
    near(batch.moving_mean, 0.25 * x.mean((0, 2, 3)))
    near(batch.moving_variance, 0.75 + 0.25 * x.var((0, 2, 3)))
    mean, variance = (np.asarray(w)[:, None, None] for w in batch.get_weights()[2:])
    near(batch(x), (x - mean) / np.sqrt(variance + 1e-3))


def normalized(momentum: float = 0.9) -> pyact.Sequential:
    pyact.set_seed(5)
    model = pyact.Sequential([
        layers.Input((3,)), layers.Dense(8), layers.BatchNormalization(momentum=momentum),
        layers.ReLU(), layers.Dense(1),
    ])  # fmt: skip
    model.compile(pyact.optimizers.SGD(0.1), "mse")
    return model


X, Y = normal((40, 3), "x"), normal((40, 1), "y")


def test_a_step_moves_the_statistics_of_its_own_forward_pass():
    """Before the optimizer's update: the batch seen through the weights as they were."""
    model = normalized()
    kernel, bias = (np.asarray(w, np.float64) for w in model.get_weights()[:2])
    z = X @ kernel + bias
    model.train_on_batch(X, Y)
    assert not np.array_equal(model.get_weights()[0], kernel.astype(np.float32))
    near(model.layers[1].moving_mean, 0.1 * z.mean(axis=0))
    near(model.layers[1].moving_variance, 0.9 + 0.1 * z.var(axis=0))


def test_predicting_and_freezing_leave_the_statistics_alone():
    model = normalized()
    model.fit(X, Y, 8, epochs=2, verbose=0)
    kept = [w.copy() for w in model.get_weights()[4:6]]
    model.predict(X)
    model.evaluate(X, Y, verbose=0)
    model.layers[1].trainable = False
    model.fit(X, Y, 8, epochs=1, verbose=0)
    for a, b in zip(kept, model.get_weights()[4:6], strict=True):
        assert np.array_equal(a, b)


def test_training_gradients_go_through_mean_and_variance():
    """One step of SGD against finite differences of the whole loss, in float64."""
    pyact.set_seed(7)
    model = pyact.Sequential([
        layers.Input((3,), dtype="float64"), layers.Dense(2, dtype="float64"),
        layers.BatchNormalization(dtype="float64"), layers.Dense(1, dtype="float64"),
    ])  # fmt: skip
    model.compile(pyact.optimizers.SGD(1.0), "mse")
    start = model.get_weights()

    def loss(kernel: Any) -> float:
        z = standard(X @ kernel + start[1], (0,)) * start[2] + start[3]
        return float(np.square(z @ start[6] + start[7] - Y).mean())

    model.train_on_batch(X, Y)
    got, want = start[0] - model.get_weights()[0], np.zeros((3, 2))
    for at in np.ndindex(3, 2):
        step = np.zeros((3, 2))
        step[at] = 1e-5
        want[at] = (loss(start[0] + step) - loss(start[0] - step)) / 2e-5
    np.testing.assert_allclose(got, want, rtol=1e-6, atol=1e-9)


def test_a_refused_step_leaves_the_statistics_as_they_were():
    model = normalized()
    model.train_on_batch(X, Y)
    before = b"".join(w.tobytes() for w in model.get_weights())
    with pytest.raises(ValueError, match="40 rows and y has 7"):
        model.train_on_batch(X, Y[:7])
    assert b"".join(w.tobytes() for w in model.get_weights()) == before


# ---- zeros around and copies ------------------------------------------------------------------


def test_zero_padding_and_up_sampling():
    padded = np.pad(IMAGES, ((0, 0), (1, 2), (0, 3), (0, 0)))
    layer = layers.ZeroPadding2D(((1, 2), (0, 3)))
    near(layer(IMAGES), padded)
    assert layer.compute_output_shape((None, 7, 10, 4)) == (None, *padded.shape[1:])
    first = layers.ZeroPadding2D(((1, 2), (0, 3)), data_format="channels_first")
    near(first(swapped(IMAGES)), swapped(padded))
    near(layers.ZeroPadding1D((2, 1))(IMAGES[0]), np.pad(IMAGES[0], ((0, 0), (2, 1), (0, 0))))
    large = IMAGES.repeat(2, axis=1).repeat(3, axis=2)
    layer = layers.UpSampling2D((2, 3))
    near(layer(IMAGES), large)
    assert layer.compute_output_shape((None, 7, 10, 4)) == (None, *large.shape[1:])
    first = layers.UpSampling2D((2, 3), data_format="channels_first")
    near(first(swapped(IMAGES)), swapped(large))
    line = np.array([1.0, 3.0, 2.0]).reshape(1, 3, 1, 1)
    smooth = layers.UpSampling2D((2, 1), interpolation="bilinear")
    near(smooth(line).ravel(), [1, 1.5, 2.5, 2.75, 2.25, 2])
    near(smooth(line.transpose(0, 2, 1, 3)), [[[[1.0], [3.0], [2.0]]] * 2])
    assert smooth.from_config(smooth.get_config()).interpolation == "bilinear"
    near(layers.UpSampling1D(2)(IMAGES[0]), IMAGES[0].repeat(2, axis=1))
    for made in (layers.ZeroPadding2D(2), layers.ZeroPadding1D(2), layers.UpSampling1D(3), layer):
        assert type(made).from_config(made.get_config()).get_config() == made.get_config()


@pytest.mark.parametrize(("make", "kind", "words"), [
    (lambda: layers.BatchNormalization(momentum=1.5), ValueError, "momentum"),
    (lambda: layers.BatchNormalization(axis=0)(IMAGES), ValueError, "axis 0"),
    (lambda: layers.LayerNormalization(axis=4)(IMAGES), ValueError, "axis 4"),
    (lambda: layers.LayerNormalization(axis=(1, 0))(IMAGES), ValueError, "axis (1, 0)"),
    (lambda: layers.LayerNormalization(axis=(1, -3))(IMAGES), ValueError, "an axis twice"),
    (lambda: layers.LayerNormalization(axis=()), ValueError, "got none"),
    (lambda: layers.LayerNormalization(axis=(1, "a")), TypeError, "axis must be an integer"),
    (lambda: layers.LayerNormalization(axis=None), TypeError, "axis must be an integer"),
    (lambda: layers.LayerNormalization(epsilon=0), ValueError, "epsilon"),
    (lambda: layers.GroupNormalization(3)(IMAGES), ValueError, "3 groups"),
    (lambda: layers.GroupNormalization(0), ValueError, "groups"),
    (lambda: layers.ZeroPadding2D(-1), ValueError, "padding must be at least 0, got -1"),
    (lambda: layers.ZeroPadding2D((1, 2, 3)), ValueError, "padding must be"),
    (lambda: layers.ZeroPadding1D("a"), (TypeError, ValueError), "padding"),
    (lambda: layers.UpSampling2D(0), ValueError, "size must be at least 1, got 0"),
    (lambda: layers.UpSampling2D()(IMAGES[0]), ValueError, "expected 4 axes"),
    (lambda: layers.UpSampling2D(interpolation="cubic"), ValueError, "interpolation"),
    (lambda: ops.moving_average(np.ones(3), np.ones(3)), TypeError, "only in a Program"),
])  # fmt: skip
def test_normalization_and_padding_that_cannot_be(make, kind, words):
    with pytest.raises(kind) as caught:
        make()
    assert words.lower() in str(caught.value).lower(), str(caught.value)


@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
@pytest.mark.parametrize(("strides", "dilation", "padding", "extra"), [
    (1, 1, "valid", None), (2, 1, "same", None), ((3, 2), 1, "valid", None),
    (2, 1, "same", 1), (2, 1, "valid", (1, 0)), (1, (2, 3), "same", None),
    (4, 1, "same", None),
])  # fmt: skip
def test_conv2d_transpose_is_the_gradient_of_conv2d(strides, dilation, padding, extra, data_format):
    """And of the size that Keras gives it."""
    make = {"strides": strides, "padding": padding, "dilation_rate": dilation}
    layer = layers.Conv2DTranspose(
        5, (3, 2), output_padding=extra, bias_initializer="glorot_uniform", **make
    )
    got = layer(IMAGES)
    kernel, bias = layer.get_weights()
    assert kernel.shape == (3, 2, 5, 4) and got.shape[1:] == layer.compute_output_shape(
        (None, 7, 10, 4))[1:]  # fmt: skip
    s, d = (np.broadcast_to(v, 2) for v in (strides, dilation))
    spread = (np.array([3, 2]) - 1) * d + 1
    n = np.array([7, 10])
    if extra is None:
        want = n * s if padding == "same" else n * s + np.maximum(spread - s, 0)
    else:
        want = (n - 1) * s + spread - (2 * (spread // 2) if padding == "same" else 0) + extra
    assert got.shape[1:3] == tuple(want)
    whole = np.zeros((2, *((n - 1) * s + spread + s), 5))  # all that the kernel reaches, and more
    for (i, j), (u, v) in ((a, b) for a in np.ndindex(7, 10) for b in np.ndindex(3, 2)):
        at = i * s[0] + u * d[0], j * s[1] + v * d[1]
        whole[:, at[0], at[1]] += IMAGES[:, i, j] @ kernel[u, v].astype(np.float64).T
    cut = np.maximum((n - 1) * s + spread - want, 0) // 2
    near(got, whole[:, cut[0] : cut[0] + want[0], cut[1] : cut[1] + want[1]] + bias)
    if data_format == "channels_first":
        first = layers.Conv2DTranspose.from_config(
            {**layer.get_config(), "data_format": data_format}
        )
        first(swapped(IMAGES))
        first.set_weights([kernel, bias])
        near(first(swapped(IMAGES)), swapped(got))


def test_conv1d_transpose_is_one_row_of_conv2d_transpose():
    line = layers.Conv1DTranspose(3, 4, 2, "same")
    x = normal((2, 5, 4), "line")
    got = line(x)
    assert line.kernel.shape == (4, 3, 4) and got.shape == (2, 10, 3)
    image = layers.Conv2DTranspose(3, (1, 4), (1, 2), "same", use_bias=False)
    image(x[:, None])
    image.set_weights([line.kernel[None]])
    near(image(x[:, None])[:, 0], got)


def test_separable_convolution_is_depthwise_then_pointwise():
    layer = layers.SeparableConv2D(5, 3, padding="same", depth_multiplier=2, activation="tanh")
    got = layer(IMAGES)
    depthwise, pointwise, bias = layer.get_weights()
    assert depthwise.shape == (3, 3, 4, 2) and pointwise.shape == (1, 1, 8, 5)
    first = layers.DepthwiseConv2D(3, padding="same", depth_multiplier=2, use_bias=False)
    first(IMAGES)
    first.set_weights([depthwise])
    near(got, np.tanh(first(IMAGES).astype(np.float64) @ pointwise[0, 0] + bias))


@pytest.mark.parametrize(("arguments", "attrs", "text"), [
    ((IMAGES[0], K), {"size": (9, 9)}, "x: got shape (7, 10, 4)"),
    ((IMAGES, K[:, :, :, :1]), {"size": (9, 9)}, "kernel: got shape (3, 3, 4, 1), expected"),
    ((IMAGES, K[0]), {"size": (9, 9)}, "kernel: got shape (3, 4, 2), expected"),
    ((IMAGES, np.ones((3, 0, 5, 4))), {"size": (9, 9)}, "none of them 0"),
    ((IMAGES, np.ones((3, 2, 5, 4))), {"size": (9, 9)}, "9 pixels wide belongs to x of 8"),
    ((IMAGES, np.ones((3, 2, 5, 4))), {}, "size: got 0 numbers, expected 2"),
    ((IMAGES, np.ones((3, 2, 5, 4))), {"size": (1, 1)}, "1 pixels high belongs to x of 0"),
    ((IMAGES, np.ones((3, 2, 5, 4))), {"size": (9, 11), "strides": (0, 1)}, "strides"),
    ((IMAGES, np.ones((3, 2, 5, 4))), {"size": (9, 11), "padding": (1,)}, "padding: got 1"),
])  # fmt: skip
def test_transposed_convolution_refuses(arguments, attrs, text):
    with pytest.raises(ValueError, match=re.escape(text)):
        ops.conv2d_transpose(*arguments, **attrs)


@pytest.mark.parametrize(("name", "image", "kernel", "attrs", "words"), [
    ("conv2d", (1, 2 * 10**15, 1, 1), (15 * 10**14, 1, 1, 1), {}, "1500000000000000 pixels high"),
    ("conv2d", (1, 1, 1, 1000), (1, 1, 10**16, 1), {"groups": 1000}, "expected (height, width"),
    ("conv2d_transpose", (1, 4, 4, 1), (1, 1, 1, 1), {}, "does not fit in memory"),
    ("conv2d_transpose", (1, 4, 4, 1), (1, 1, 8, 1), {}, "too big"),
])  # fmt: skip
def test_sizes_that_no_memory_holds_are_refused_before_any_is_asked_for(
    name, image, kernel, attrs, words
):
    if name == "conv2d_transpose":
        attrs = {"size": (1 << 30,) * 2, "strides": ((1 << 30) // 3,) * 2}
    graph = _core.Graph()
    with pytest.raises((ValueError, MemoryError), match=re.escape(words)):
        graph.apply(name, tuple(graph.input(s, "float32") for s in (image, kernel)), attrs)


def test_the_result_of_an_image_of_seven_gigapixels_has_a_shape():
    graph = _core.Graph()
    operands = tuple(graph.input(s, "float32") for s in ((1, 60000, 60000, 2), (3, 3, 2, 1)))
    assert graph.apply("conv2d", operands).shape == (1, 59998, 59998, 1)


@pytest.mark.parametrize(("operand", "name"), [(0, "x"), (1, "kernel")])
def test_images_are_no_whole_numbers(operand, name):
    operands = [IMAGES, np.ones((3, 2, 5, 4))]
    operands[operand] = operands[operand].astype(np.int32)
    with pytest.raises(TypeError, match=f"{name} has dtype int32"):
        _core.apply("conv2d_transpose", tuple(operands), {"size": (9, 11)})
    with pytest.raises(TypeError, match="max_pool2d: x has dtype int32"):
        _core.apply("max_pool2d", (IMAGES.astype(np.int32),), {"size": (2, 2)})


def test_transposed_layers_refuse():
    for padding in (2, (1,), -1):
        with pytest.raises(ValueError, match="output_padding"):
            layers.Conv2DTranspose(3, 3, 2, output_padding=padding)
    with pytest.raises(ValueError, match="expected 4 axes"):
        layers.Conv2DTranspose(3, 3)(np.ones((2, 5, 5)))


def linear_in_dz(dtype, attrs, arrays, mask):
    """Gradients where only a part of dz is not 0 are the difference of those of two that are
    dense, whatever way is taken; and an image that is not finite is noticed."""
    rng = np.random.default_rng(0)
    x, k, bias = (a.astype(dtype) for a in arrays)

    def gradients(dz, x=x, wanted=slice(None)):
        tape = _core.Tape()
        leaves = tuple(tape.leaf(v) for v in (x, k, bias))
        y = tape.apply("conv2d", leaves, attrs)
        return [g.numpy() for g in tape.gradient(y, leaves[wanted], dz)]

    dense = rng.normal(size=_core.apply("conv2d", (x, k, bias), attrs).shape).astype(dtype)
    few = dense * mask(rng, dense.shape)
    many = dense + few
    limit = 2e-5 if dtype == "float32" else 1e-13
    parts = gradients(few)
    for part, whole, rest in zip(parts, gradients(many), gradients(dense), strict=True):
        np.testing.assert_allclose(part, whole - rest, rtol=0, atol=limit * np.abs(whole).max())
    for i, part in enumerate(parts):  # by itself
        assert gradients(few, wanted=slice(i, i + 1))[0].tobytes() == part.tobytes()
    x[-1, 0, 0] = np.inf  # and 0 times it is not 0
    assert np.isnan(gradients(few, x)[1]).any()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    "attrs",
    [{}, {"padding": (2, 1, 0, 2)}, {"strides": (2, 1), "dilation": (2, 1)}, {"strides": (1, 2)},
     {"dilation": (2, 1)}],
)  # fmt: skip
@pytest.mark.parametrize(("image", "kernel"), [
    ((3, 15, 14, 6), (5, 5, 6, 16)),
    ((3, 15, 14, 6), (7, 3, 6, 20)),
    ((3, 15, 14, 6), (3, 6, 6, 3)),
    ((1, 5, 540, 3), (3, 2, 3, 5)),  # more pixels in a row than in a chain
    ((1, 2, 2100, 2), (1, 1, 2, 64)),  # too large a row, and too large a kernel
    ((1, 6, 6, 64), (3, 3, 64, 228)),
    ((1, 23, 23, 91), (1, 1, 91, 91)),
])  # fmt: skip
def test_gradients_where_few_places_of_dz_are_not_zero(image, kernel, attrs, dtype):
    arrays = [normal(s, "few", s) for s in (image, kernel, kernel[3:])]
    linear_in_dz(dtype, attrs, arrays, lambda rng, shape: rng.random(shape) < 0.25)


def one_of_each_window(rng, shape):
    """Of each window of 2 x 2 pixels one, for every channel its own; some windows have none."""
    b, h, w, c = (n // d for n, d in zip(shape, (1, 2, 2, 1), strict=True))
    place = rng.integers(0, 5, (b, h, 1, w, 1, c))
    pixel = np.arange(4).reshape(1, 1, 2, 1, 2, 1)
    mask = np.zeros(shape, bool)
    mask[:, : 2 * h, : 2 * w] = (place == pixel).reshape(b, 2 * h, 2 * w, c)
    return mask


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("attrs", [{}, {"padding": (2, 1, 0, 2)}])
@pytest.mark.parametrize("kernel", [(5, 5, 6, 16), (3, 3, 6, 20), (2, 1, 9, 3), (1, 4, 3, 33),
                                    (5, 5, 1, 6), (3, 8, 1, 5), (1, 3, 1, 8)])  # fmt: skip
def test_gradients_where_windows_of_dz_have_one_place(kernel, attrs, dtype):
    arrays = [normal(s, "one", s) for s in ((3, 14, 15, kernel[2]), kernel, kernel[3:])]
    linear_in_dz(dtype, attrs, arrays, one_of_each_window)


@pytest.mark.parametrize("where", ["dz", "kernel"])
def test_few_places_of_dz_beside_what_is_not_finite(where):
    """0 times infinity is NaN, and no way leaves it out."""
    x, kernel = normal((2, 9, 9, 6), "x"), normal((3, 3, 6, 8), "k")
    dz = np.zeros((2, 7, 7, 8))
    dz[0, 2, 3, 1] = dz[1, 5, 5, 7] = 2.0
    (dz if where == "dz" else kernel)[0, 1, 1, 0] = np.inf
    tape = _core.Tape()
    leaves = (tape.leaf(x), tape.leaf(kernel))
    found = tape.gradient(tape.apply("conv2d", leaves), leaves, dz)
    with np.errstate(invalid="ignore"):
        wanted = CONV_BACK(dz, x, kernel)
    for got, want in zip([g.numpy() for g in found], wanted, strict=True):
        assert np.isnan(got[np.isnan(want)]).all()
        if where == "kernel":  # which also meets the zeros around dz
            want = np.where(np.isnan(got), got, want)
        np.testing.assert_allclose(got, want, rtol=0, atol=1e-12)
    assert not np.isfinite(found[0].numpy()).all()
