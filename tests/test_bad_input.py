"""Bad input: an exception that says what, where, got and expected, or the right answer.

Never a crash, never a wrong answer in silence; above all no silent broadcast of y.
"""

from __future__ import annotations

import warnings
from contextlib import contextmanager
from decimal import Decimal

import numpy as np
import pytest
from oracle import normal, same_bits

import pyact
from pyact import (
    _core,
    activations,
    callbacks,
    data,
    initializers,
    layers,
    losses,
    metrics,
    ops,
    optimizers,
)
from pyact.layers import Dense, Dropout, Input, Reshape


@contextmanager
def says(kind, *words):
    """The block raises `kind`, and the message holds all the words."""
    with pytest.raises(kind) as caught:
        yield
    text = str(caught.value)
    missing = [w for w in words if str(w).lower() not in text.lower()]
    assert not missing, f"the message lacks {missing}: {text}"


def regression(outputs=1):
    model = pyact.Sequential([Input((3,)), Dense(4, "tanh"), Dense(outputs)])
    model.compile("sgd", "mse")
    return model


def classifier(loss="sparse_categorical_crossentropy", classes=4):
    model = pyact.Sequential([Input((3,)), Dense(classes, "softmax")])
    model.compile("sgd", loss)
    return model


X = normal((12, 3), "x")
Y = normal((12, 1), "y")
LABELS = np.arange(12) % 4


def fit(model, x=X, y=Y, **keywords):
    return model.fit(x, y, 5, verbose=0, shuffle=False, **keywords)


# ---- y is never broadcast ---------------------------------------------------------------------


def test_targets_of_shape_n_mean_n_1():
    """Predictions (n, 1) and targets (n,): each target belongs to its row."""
    runs = []
    for y in (Y, Y[:, 0]):
        pyact.set_seed(1)
        model = regression()
        history = fit(model, y=y)
        runs.append([*model.get_weights(), np.array(history.history["loss"]),
                     np.array(model.evaluate(X, y, verbose=0))])  # fmt: skip
    for a, b in zip(*runs, strict=True):
        same_bits("targets (n,) and (n, 1)", a, b)
    model = regression()
    want = np.mean((model.predict(X).astype(np.float64) - Y) ** 2)
    assert abs(model.evaluate(X, Y[:, 0], verbose=0) - want) < 1e-6 * want


@pytest.mark.parametrize("name", ["mse", "mae", "huber", "binary_crossentropy"])
def test_losses_and_metrics_never_broadcast(name):
    loss = losses.get(name)
    p, t = np.full((4, 1), 0.25), np.array([0.0, 1.0, 0.0, 1.0])
    assert loss(t, p) == loss(t[:, None], p)
    with says(ValueError, "(4,)", "(4, 2)"):
        loss(t, np.full((4, 2), 0.25))
    with says(ValueError, "(1, 4)", "(4, 1)"):
        loss(t[None], p)
    metric = metrics.get("mae")
    with says(ValueError, "(4,)", "(4, 2)"):
        metric.update_state(t, np.full((4, 2), 0.25))


def test_two_predictions_for_one_target_are_refused():
    model = regression(outputs=2)
    for y in (Y, Y[:, 0], normal((12, 3), "y")):
        with says(ValueError, "y", y.shape, "(12, 2)"):
            fit(model, y=y)
        with says(ValueError, "y", y.shape, "(12, 2)"):
            model.evaluate(X, y, verbose=0)
        with says(ValueError, "y", y.shape, "(12, 2)"):
            model.train_on_batch(X, y)
    assert model.optimizer.iterations == 0


def test_targets_on_the_wrong_axis_are_refused():
    model = regression()
    with says(ValueError, "12", "1"):
        fit(model, y=Y.T)
    with says(ValueError, "(12, 1, 1, 1)", "(12, 1)"):
        model.fit(X, Y.reshape(12, 1, 1, 1), verbose=0)


def test_one_hot_targets_for_a_sparse_loss_are_explained():
    with says(ValueError, "(12, 4)", "labels", "categorical_crossentropy"):
        fit(classifier(), y=np.eye(4)[LABELS])
    with says(ValueError, "(12,)", "(12, 4)"):
        fit(classifier("categorical_crossentropy"), y=LABELS)


# ---- numbers that are no targets --------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.int8, np.int64, np.uint8, np.float32, np.float64])
def test_class_labels_out_of_range(dtype):
    for label, rest in ((4, LABELS), (100, LABELS), (-1, LABELS)):
        if label < 0 and np.dtype(dtype).kind == "u":
            continue
        y = rest.astype(dtype)
        y[7] = label
        for model in (classifier(), classifier(losses.SparseCategoricalCrossentropy(True))):
            before = model.get_weights()
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                with says(ValueError, "y", label, "7", "3"):
                    model.fit(X, y, 12, verbose=0)
            for a, b in zip(before, model.get_weights(), strict=True):
                same_bits("after a refused batch", b, a)
        with says(ValueError, label, "7", "3"):
            losses.SparseCategoricalCrossentropy()(y, np.full((12, 4), 0.25))
        with says(ValueError, label):
            metrics.get("sparse_categorical_accuracy").update_state(y, np.full((12, 4), 0.25))


def test_labels_that_are_no_whole_numbers():
    for bad in (0.5, np.nan, np.inf):
        y = LABELS.astype(np.float64)
        y[3] = bad
        with says(ValueError, "y", "3"):
            fit(classifier(), y=y)


def test_nan_targets_are_refused():
    model = regression()
    y = Y.copy()
    y[8] = np.nan
    with says(ValueError, "y", "nan", "8"):
        fit(model, y=y)
    with says(ValueError, "sample_weight", "nan"):
        fit(model, sample_weight=np.where(np.arange(12) == 3, np.nan, 1.0))


def test_the_operators_survive_labels_out_of_range():
    """Applied directly, where nobody looks at the labels first: NaN or 0, never a stray read."""
    p = np.full((3, 4), 0.25, np.float32)
    for label in (4, -1, 2**31 - 1, -(2**31)):
        t = np.array([0, label, 1], np.int32)
        assert np.isnan(_core.apply("loss_sparse_categorical_crossentropy", (p, t)))
        for name in ("metric_sparse_categorical_accuracy", "metric_sparse_top_k"):
            total, weight = _core.apply(name, (p, t))
            assert (np.isnan(total) or 0 <= total <= 2) and weight == 3


# ---- lengths, emptiness, arrangement ----------------------------------------------------------


def test_x_and_y_of_different_length():
    model = regression()
    for call in (fit, lambda m, x, y: m.evaluate(x, y, verbose=0),
                 lambda m, x, y: m.train_on_batch(x, y)):  # fmt: skip
        with says(ValueError, "x", "12", "y", "11"):
            call(model, X, Y[:11])
    with says(ValueError, "sample_weight", "(11,)", "(12,)"):
        fit(model, sample_weight=np.ones(11))
    with says(ValueError, "sample_weight", "(12, 2)", "(12,)"):
        fit(model, sample_weight=np.ones((12, 2)))
    with says(ValueError, "12", "11"):
        fit(model, validation_data=(X, Y[:11]))


def test_empty_data():
    model = regression()
    for call in (lambda: fit(model, X[:0], Y[:0]), lambda: model.train_on_batch(X[:0], Y[:0]),
                 lambda: model.evaluate(X[:0], Y[:0], verbose=0)):  # fmt: skip
        with says(ValueError, "no rows"):
            call()
    assert model.predict(X[:0]).shape == (0, 1)
    with says(ValueError, "no batch"):
        model.fit(iter(()), verbose=0)
    with says(ValueError, "validation_split"):
        fit(model, X[:1], Y[:1], validation_split=0.5)


def arrangements(x):
    """The same numbers in other arrays."""
    wide = np.zeros((2 * x.shape[0], *x.shape[1:]), x.dtype)
    wide[::2] = x
    yield "strided rows", wide[::2]
    yield "reversed", np.ascontiguousarray(x[::-1])[::-1]
    yield "Fortran", np.asfortranarray(x)
    columns = np.zeros((*x.shape[:-1], 2 * x.shape[-1]), x.dtype)
    columns[..., ::2] = x
    yield "strided columns", columns[..., ::2]
    yield "big-endian", x.astype(x.dtype.newbyteorder())
    locked = x.copy()
    locked.flags.writeable = False
    yield "read-only", locked
    odd = np.zeros(x.nbytes + 1, np.uint8)[1:].view(x.dtype).reshape(x.shape)
    odd[...] = x
    yield "misaligned", odd


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16])
@pytest.mark.parametrize("shuffle", [False, True])
def test_any_arrangement_of_arrays_trains_the_same(dtype, shuffle):
    x, y = X.astype(dtype), Y.astype(dtype)

    def weights(x, y):
        pyact.set_seed(1)
        model = regression()
        model.fit(x, y, 5, 2, verbose=0, shuffle=shuffle)
        return [*model.get_weights(), model.predict(x)]

    want = weights(x, y)
    for (what, other), (_, target) in zip(arrangements(x), arrangements(y), strict=True):
        before = other.copy()
        for a, b in zip(weights(other, target), want, strict=True):
            same_bits(f"fit on {what} arrays", a, b)
        assert np.array_equal(before, other), f"fit changed the {what} array"


def test_integers_and_bools_are_numbers():
    whole = np.arange(36).reshape(12, 3) % 5
    want = regression()
    for dtype in (np.int8, np.uint8, np.int16, np.uint16, np.int32, np.uint32, np.int64, np.uint64,
                  np.float16, np.longdouble):  # fmt: skip
        same_bits(f"predict on {dtype}", want.predict(whole.astype(dtype)),
                  want.predict(whole.astype(np.float32)))  # fmt: skip
    same_bits("predict on bool", want.predict(whole > 2), want.predict((whole > 2) * 1.0))
    same_bits("predict on a list", want.predict(whole.tolist()), want.predict(whole * 1.0))


# ---- what is no array of real numbers ---------------------------------------------------------

NOT_NUMBERS = [
    np.array([["a", "b", "c"]] * 12),
    np.array([[b"a", b"b", b"c"]] * 12),
    np.array([[Decimal(1), None, object()]] * 12),
    np.ones((12, 3)) * 1j,
    np.zeros((12, 3), "datetime64[s]"),
    np.zeros((12, 3), "timedelta64[s]"),
    np.zeros((12, 3), [("a", float)]),
]


@pytest.mark.parametrize("bad", NOT_NUMBERS, ids=lambda a: str(a.dtype))
def test_what_holds_no_real_numbers(bad):
    model = regression()
    for call in (lambda: fit(model, x=bad), lambda: fit(model, y=bad[:, :1]),
                 lambda: model.predict(bad), lambda: model.evaluate(bad, Y, verbose=0),
                 lambda: fit(model, sample_weight=bad[:, 0])):  # fmt: skip
        with says(TypeError, "dtype", "real numbers"):
            call()
    for call in (lambda: losses.get("mse")(bad, np.ones((12, 3))),
                 lambda: Dense(2)(bad), lambda: ops.softmax(bad),
                 lambda: model.layers[0].set_weights([bad, bad])):  # fmt: skip
        with pytest.raises((TypeError, ValueError)):
            call()
    assert model.optimizer.iterations == 0


def test_things_that_are_no_arrays():
    model = regression()
    for bad in (None, object(), {"a": 1}, "text", 3.0, [[1, 2, 3], [1, 2]], [[None] * 3] * 12):
        with pytest.raises((TypeError, ValueError)):
            fit(model, x=bad)
        with pytest.raises((TypeError, ValueError)):
            model.predict(bad)
    for bad in (object(), {"a": 1}, "text", 3.0, [[1, 2], [1]]):
        with pytest.raises((TypeError, ValueError)):
            fit(model, y=bad)
    with says(ValueError, "y is missing"):
        model.fit(X, verbose=0)


def test_masked_arrays_are_not_taken_for_whole():
    with says(TypeError, "masked"):
        fit(regression(), x=np.ma.masked_less(X, 0))


# ---- shapes -----------------------------------------------------------------------------------


def test_x_of_the_wrong_shape():
    model = regression()
    for shape in ((12, 4), (12,), (12, 3, 2), (12, 2)):
        x = np.zeros(shape)
        for call in (lambda x=x: fit(model, x=x), lambda x=x: model.predict(x),
                     lambda x=x: model.evaluate(x, Y, verbose=0)):  # fmt: skip
            with says(ValueError, "x", shape, "3"):
                call()
    same_bits("an axis of 1 at the end", model.predict(X[..., None]), model.predict(X))


def test_layers_name_themselves():
    layer = Dense(4, name="head")
    with says(ValueError, "head", "(None,)", "two axes"):
        layer(np.ones(3))
    layer(np.ones((2, 3)))
    with says(ValueError, "3", "5"):
        layer(np.ones((2, 5)))
    with says(ValueError, "reshape", "6", "(4, 2)"):
        Reshape((4, 2))(np.ones((1, 6)))
    with says(ValueError, "head", "(3, 4)", "(4, 3)"):
        layer.set_weights([np.ones((4, 3)), np.ones(4)])
    with says(ValueError, "head", "1", "2"):
        layer.set_weights([np.ones((3, 4))])


def test_operators_name_operand_and_shapes():
    a, b = np.ones((2, 3)), np.ones((4, 5))
    with says(ValueError, "matmul", "(2, 3)", "(4, 5)"):
        ops.matmul(a, b)
    with says(ValueError, "add", "(2, 3)", "(4, 5)"):
        ops.add(a, b)
    with says(ValueError, "dense", "(2, 3)", "(4, 5)"):
        ops.dense(a, b)
    with says(ValueError, "dense", "bias", "(4,)"):
        ops.dense(a, np.ones((3, 5)), np.ones(4))
    with says(ValueError, "concatenate", "(2, 3)", "(4, 5)"):
        ops.concatenate([a, b])
    with says(ValueError, "reshape", "(2, 3)"):
        ops.reshape(a, shape=(4, 2))
    with says(ValueError, "transpose", "axis"):
        ops.transpose(a, perm=(0, 0))
    with says(ValueError, "loss_mse", "(2, 3)", "(4, 5)"):
        ops.loss_mse(a, b)
    with says(ValueError, "max", "(0, 3)"):
        ops.max(np.ones((0, 3)), axis=0)


@pytest.mark.parametrize("name", ["sum", "mean", "max", "logsumexp", "softmax", "log_softmax"])
def test_axes(name):
    x, f = np.ones((2, 3)), getattr(ops, name)
    for axis in (2, -3, 7):
        with says(ValueError, name, "axis", axis, "2"):
            f(x, axis=axis)
    if name not in ("softmax", "log_softmax"):
        with says(ValueError, name, "axis"):
            f(x, axis=(1, -1))
    with pytest.raises((TypeError, ValueError)):
        f(x, axis="rows")
    with pytest.raises((TypeError, ValueError)):
        f(x, axis=0.5)


def test_operators_check_attributes_and_operands():
    x = np.ones((2, 3))
    with says(TypeError, "softmax", "axes", "axis"):
        ops.softmax(x, axes=1)
    with says(ValueError, "dropout", "rate", "1.5"):
        ops.dropout(x, rate=1.5)
    with says(ValueError, "dropout", "rate"):
        ops.dropout(x, rate=float("nan"))
    with pytest.raises((TypeError, ValueError)):
        ops.softmax()
    with pytest.raises((TypeError, ValueError)):
        ops.relu(x, x)
    with pytest.raises((TypeError, ValueError)):
        ops.dense(x, np.ones((3, 2)), activation="no such thing")
    with says(ValueError, "no_such_op"):
        _core.apply("no_such_op", (x,))
    with says(AttributeError, "sotfmax", "softmax"):
        ops.sotfmax  # noqa: B018


# ---- names ------------------------------------------------------------------------------------


def test_unknown_names_suggest_the_nearest():
    model = pyact.Sequential([Input((3,)), Dense(1)])
    for kind, call, wrong, right in [
        ("activation", lambda n: Dense(1, n), "gleu", "gelu"),
        ("activation", activations.get, "sofmax", "softmax"),
        ("optimizer", lambda n: model.compile(n, "mse"), "adm", "adam"),
        ("loss", lambda n: model.compile("sgd", n), "mean_square_error", "mean_squared_error"),
        ("metric", lambda n: model.compile("sgd", "mse", [n]), "accurcy", "accuracy"),
        ("initializer", lambda n: Dense(1, kernel_initializer=n), "he_norml", "he_normal"),
    ]:
        with says(ValueError, kind, wrong, f"'{right}'"):
            call(wrong)
    for call in (activations.get, optimizers.get, losses.get, initializers.get):
        with pytest.raises((TypeError, ValueError)):
            call(3)
    with says(ValueError, "dense_9"):
        model.get_layer("dense_9")


# ---- order of calls ---------------------------------------------------------------------------


def test_a_layer_or_model_used_before_it_knows_its_input():
    model = pyact.Sequential([Dense(3), Dense(1)])
    for call in (lambda: model.weights, model.get_weights, model.count_params,
                 lambda: model.set_weights([])):  # fmt: skip
        with says(ValueError, "input"):
            call()
    model.summary(print_fn=lambda text: None)
    assert Dense(3).weights == []
    with says(RuntimeError, "compile"):
        model.fit(X, Y)
    with says(RuntimeError, "compile"):
        model.evaluate(X, Y)
    model.predict(X)  # the data tell
    assert model.count_params() == 16
    with says(RuntimeError, "loss"):
        fit(model)
    with says(RuntimeError, "compile"):
        model.train_on_batch(X, Y)


def test_an_empty_model():
    assert np.array_equal(pyact.Sequential().predict(X), X.astype(np.float32))  # the identity
    with says(ValueError, "no layer"):
        pyact.Sequential().pop()
    with says(TypeError, "layer"):
        pyact.Sequential([Dense])
    with says(TypeError, "list of layers"):
        pyact.Sequential(3)
    with says(ValueError, "already"):
        layer = Dense(1)
        pyact.Sequential([layer, layer])


# ---- numbers out of range ---------------------------------------------------------------------


@pytest.mark.parametrize("call, words", [
    (lambda: Dense(0), ("units", "0", "at least 1")),
    (lambda: Dense(-3), ("units", "-3")),
    (lambda: Dropout(1.0), ("rate", "1.0")),
    (lambda: Dropout(-0.1), ("rate", "-0.1")),
    (lambda: Dropout(float("nan")), ("rate", "nan")),
    (lambda: Input((0,)), ("input_shape", "0")),
    (lambda: Input((-1, 3)), ("input_shape", "-1")),
    (lambda: optimizers.SGD(-1.0), ("learning_rate", "-1")),
    (lambda: optimizers.SGD(float("nan")), ("learning_rate", "nan")),
    (lambda: optimizers.SGD(0.1, momentum=1.5), ("momentum", "1.5")),
    (lambda: optimizers.Adam(beta_1=1.0), ("beta_1", "1.0")),
    (lambda: optimizers.Adam(clipnorm=0), ("clipnorm", "0")),
    (lambda: optimizers.Adam(clipnorm=1, clipvalue=1), ("clipping",)),
    (lambda: losses.Huber(0), ("delta", "0")),
    (lambda: losses.BinaryCrossentropy(label_smoothing=2), ("label_smoothing", "2")),
    (lambda: fit(regression(), epochs=-1), ("epochs", "-1")),
    (lambda: regression().fit(X, Y, 0), ("batch_size", "0")),
    (lambda: fit(regression(), validation_split=1.0), ("validation_split", "1")),
    (lambda: regression().predict(X, batch_size=-1), ("batch_size", "-1")),
    (lambda: pyact.set_num_threads(0), ("0", "1")),
])  # fmt: skip
def test_numbers_out_of_range(call, words):
    with says(ValueError, *words):
        call()


@pytest.mark.parametrize("call", [
    lambda: Dense("3"), lambda: Dense(2.5), lambda: Dense(None), lambda: Dropout("0.5"),
    lambda: optimizers.SGD("fast"), lambda: optimizers.SGD(1j), lambda: Input(("a",)),
    lambda: regression().fit(X, Y, "32"), lambda: fit(regression(), epochs=1.5),
    lambda: fit(regression(), class_weight=[1, 2]), lambda: pyact.set_num_threads(1.5),
    lambda: pyact.set_num_threads(True), lambda: layers.Layer(dtype="int32"),
    lambda: Dense(2, dtype="float16"), lambda: pyact.set_seed("x"),
])  # fmt: skip
def test_arguments_of_the_wrong_type(call):
    with pytest.raises((TypeError, ValueError)):
        call()


# ---- sizes past 2^31 --------------------------------------------------------------------------

HUGE = (2**31 - 1, 2**31, 2**31 + 1, 2**32, 2**62, 2**63 - 1)


@pytest.mark.parametrize("n", HUGE)
def test_sizes_past_2_31_are_refused_or_right(n):
    """Nothing of that size is allocated here: what does not fit is said at once."""
    one = np.ones((1, 1), np.float32)
    for call in (
        lambda: ops.broadcast_to(one, shape=(n, n)),
        lambda: ops.broadcast_to(one, shape=(n, 2**31, 2**31)),
        lambda: ops.reshape(one, shape=(n, n)),
        lambda: ops.reshape(one, shape=(n, -1)),
        lambda: _core.Graph().input((n, n), "float32"),
        lambda: _core.Graph().input((2, n, n), "float32"),
        lambda: _core.Block("float64", 2**63 - 1),
        lambda: _core.Block("float32", 8).view(n, (2,)),
        lambda: _core.Block("float32", 8).view(0, (n,)),
        lambda: _core.Block("float32", 8).view(0, (n, n, n)),
    ):
        with pytest.raises((ValueError, OverflowError, MemoryError)):
            call()
    with pytest.raises((TypeError, ValueError, OverflowError)):
        ops.broadcast_to(one, shape=(2**64, 1))


def test_views_of_huge_arrays_cost_nothing():
    """A memory of one number, seen as 2^33 rows: what is used of it is right."""
    x = np.broadcast_to(np.float32(0.5), (2**33, 3))
    model = regression()
    same_bits("predict on a slice of 2^33 rows", model.predict(x[-5:]), model.predict(x[:5]))
    with pytest.raises((MemoryError, ValueError, np._core._exceptions._ArrayMemoryError)):
        ops.relu(np.broadcast_to(np.float32(0.5), (2**45,)))


# ---- arrays that change or lie ----------------------------------------------------------------


def test_weights_take_only_their_own_shape():
    model = regression()
    kernel = model.layers[0].kernel
    with says(ValueError, "kernel", "(4, 3)", "(3, 4)"):
        kernel.assign(np.ones((4, 3)))
    with says(ValueError, "kernel", "(1, 4)"):
        kernel.assign(np.ones((1, 4)))  # would broadcast
    with pytest.raises((TypeError, ValueError)):
        kernel.assign("text")


def test_writing_a_weight_changes_the_model():
    model = regression()
    before = model.predict(X)
    model.layers[0].kernel[...] = 0
    model.layers[0].bias[...] = 0
    after = model.predict(X)
    assert not np.array_equal(before, after)
    same_bits("tanh(0) times anything plus bias", after,
              np.repeat(model.layers[1].bias[None], 12, axis=0))  # fmt: skip


def test_infinite_and_nan_inputs_are_numbers():
    """x may hold NaN: the answer is NaN in that row and right in the others."""
    model = regression()
    x = X.copy()
    want = model.predict(x)
    x[4, 1] = np.nan
    got = model.predict(x)
    assert np.isnan(got[4]).all()
    keep = np.arange(12) != 4
    same_bits("rows without NaN", got[keep], want[keep])


class Folded(layers.Layer):
    """A layer that breaks the one rule of `call`: the first axis stays the batch."""

    def __init__(self, how):
        super().__init__(name="folded")
        self.how = how

    def call(self, x, training=False):
        return self.how(x)


@pytest.mark.parametrize("features, how", [
    (3, ops.transpose), (3, ops.sum), (3, lambda x: ops.sum(x, axis=0)),
    (1, lambda x: ops.sum(x, axis=0)),  # (1,) looks right for a batch of one
    (3, lambda x: ops.reshape(x, shape=(-1, 1))), (3, lambda x: ops.concatenate([x, x])),
])  # fmt: skip
def test_a_layer_that_loses_the_batch_is_named(features, how):
    with pytest.raises(ValueError, match=r"folded|sequential") as caught:
        model = pyact.Sequential([Input((features,)), Folded(how)])
        model.predict(np.ones((300, features)))
    assert "batch" in str(caught.value)


def test_results_of_another_length_are_refused_in_c():
    """run_loop looks for itself: a result is written only where there is room."""
    graph = _core.Graph()
    x = graph.input((2, 3), "float32")
    tall = graph.apply("reshape", (x,), {"shape": (6, 1)})
    program = _core.Program(graph, outputs=(tall,))
    feeds = (("x", np.ones((4, 3), np.float32), 0, False),)
    with says(ValueError, "output 0", "row"):
        _core.run_loop(program, None, feeds, 4, 2, None, 0, 2, 0, 0, None, None, (None,),
                       (np.zeros((4, 1), np.float32),), None, None)  # fmt: skip


def test_a_number_is_no_file_name():
    """Of an open file it is one, which would be closed behind the caller's back."""
    for call in (lambda: callbacks.CSVLogger(1), lambda: data.read_idx(True)):
        with pytest.raises(TypeError, match=r"int|bool"):
            call()


def test_passes_have_a_limit():
    with pytest.raises(ValueError, match="at most 10000, got 4294967296"):
        layers.Feedback(layers.Dense(2), passes=1 << 32)
