"""Losses against the numbers in Keras's documentation and against NumPy in float64."""

import numpy as np
import pytest

from pyact import losses
from pyact.losses import (
    BinaryCrossentropy,
    CategoricalCrossentropy,
    Huber,
    MeanAbsoluteError,
    MeanSquaredError,
    SparseCategoricalCrossentropy,
)

# y_true, y_pred, weights, then mean, weighted mean, sum, rows: from Keras's documentation
T, P = [[0.0, 1.0], [0.0, 0.0]], [[1.0, 1.0], [1.0, 0.0]]
BT, BL = [[0.0, 1.0], [0.0, 0.0]], [[-18.6, 0.51], [2.94, -12.8]]
CT, CP = [[0, 1, 0], [0, 0, 1]], [[0.05, 0.95, 0], [0.1, 0.8, 0.1]]
KERAS = [
    (MeanSquaredError, {}, T, P, [0.7, 0.3], 0.5, 0.25, 1.0, [0.5, 0.5]),
    (MeanAbsoluteError, {}, T, P, [0.7, 0.3], 0.5, 0.25, 1.0, [0.5, 0.5]),
    (Huber, {}, T, [[0.6, 0.4], [0.4, 0.6]], [1, 0], 0.155, 0.09, 0.31, [0.18, 0.13]),
    (
        BinaryCrossentropy,
        {"from_logits": True},
        BT,
        BL,
        [0.8, 0.2],
        0.865,
        0.243,
        1.730,
        [0.235, 1.496],
    ),
    (CategoricalCrossentropy, {}, CT, CP, [0.3, 0.7], 1.177, 0.814, 2.354, [0.0513, 2.303]),
    (
        SparseCategoricalCrossentropy,
        {},
        [1, 2],
        CP,
        [0.3, 0.7],
        1.177,
        0.814,
        2.354,
        [0.0513, 2.303],
    ),
]


@pytest.mark.parametrize(
    ("cls", "options", "t", "p", "w", "mean", "weighted", "total", "rows"),
    KERAS,
    ids=lambda v: v.__name__ if isinstance(v, type) else "",
)
def test_the_numbers_of_keras(cls, options, t, p, w, mean, weighted, total, rows):
    close = {"abs": 1e-3}  # they are printed with three digits, some cut and not rounded
    assert cls(**options)(t, p) == pytest.approx(mean, **close)
    assert cls(**options)(t, p, sample_weight=w) == pytest.approx(weighted, **close)
    assert cls(reduction="sum", **options)(t, p) == pytest.approx(total, **close)
    assert cls(reduction="none", **options)(t, p).tolist() == pytest.approx(rows, **close)
    assert cls(reduction="none", **options)(t, p, w).tolist() == pytest.approx(
        [a * b for a, b in zip(rows, w, strict=True)], **close
    )


def softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def make_data(kind, dtype, n=7, c=5):
    rng = np.random.default_rng(1)
    x = rng.normal(size=(n, c)) * 3
    if kind == "binary":
        t = rng.integers(0, 2, (n, c)).astype(float)
    elif kind == "categorical":
        t = softmax(rng.normal(size=(n, c)))
    elif kind == "sparse":
        return rng.integers(0, c, n), x.astype(dtype), rng.uniform(size=n)
    else:
        t = rng.normal(size=(n, c))
    return t.astype(dtype), x.astype(dtype), rng.uniform(size=n)


def ref_binary(t, x, s=0.0):
    t = t * (1 - s) + s / 2
    return (np.logaddexp(0, x) - t * x).mean(-1)


def ref_categorical(t, x, s=0.0):
    t = t * (1 - s) + s / x.shape[-1]
    return -(t * (x - np.logaddexp.reduce(x, -1, keepdims=True))).sum(-1)


def ref_huber(t, p, d):
    e = abs(p - t)
    return np.where(e <= d, e * e / 2, d * (e - d / 2)).mean(-1)


REFERENCE = [
    ("plain", MeanSquaredError(), lambda t, p: ((p - t) ** 2).mean(-1)),
    ("plain", MeanAbsoluteError(), lambda t, p: abs(p - t).mean(-1)),
    ("plain", Huber(0.7), lambda t, p: ref_huber(t, p, 0.7)),
    ("binary", BinaryCrossentropy(True), ref_binary),
    ("binary", BinaryCrossentropy(True, 0.2), lambda t, p: ref_binary(t, p, 0.2)),
    ("categorical", CategoricalCrossentropy(True), ref_categorical),
    ("categorical", CategoricalCrossentropy(True, 0.2), lambda t, p: ref_categorical(t, p, 0.2)),
    (
        "sparse",
        SparseCategoricalCrossentropy(True),
        lambda t, p: ref_categorical(np.eye(p.shape[-1])[t], p),
    ),
]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("kind", "loss", "formula"), REFERENCE, ids=lambda v: repr(v)[:40])
def test_fused_operator_and_rows_follow_the_formula(kind, loss, formula, dtype):
    t, p, w = make_data(kind, dtype)
    want = formula(np.asarray(t) if kind == "sparse" else t.astype(float), p.astype(float))
    tol = {"rel": 2e-6 if dtype == "float32" else 1e-13}
    assert loss(t, p) == pytest.approx(want.mean(), **tol)
    assert loss(t, p, w) == pytest.approx((want * w).mean(), **tol)
    assert np.asarray(loss.call(t, p)).tolist() == pytest.approx(want.tolist(), **tol)


@pytest.mark.parametrize(
    ("logits", "probabilities", "t"),
    [
        (BinaryCrossentropy(True), BinaryCrossentropy(), [[1.0], [0.0]]),
        (CategoricalCrossentropy(True), CategoricalCrossentropy(), [[1, 0, 0], [0, 0, 1]]),
        (SparseCategoricalCrossentropy(True), SparseCategoricalCrossentropy(), [0, 2]),
    ],
    ids=["binary", "categorical", "sparse"],
)
def test_logits_and_probabilities_agree(logits, probabilities, t):
    x = np.array([[0.3], [-1.2]]) if len(np.shape(t)) == 2 and len(t[0]) == 1 else None
    x = np.array([[0.3, -1.0, 2.0], [1.0, 0.1, -0.5]]) if x is None else x
    p = 1 / (1 + np.exp(-x)) if x.shape[1] == 1 else softmax(x)
    assert logits(t, x) == pytest.approx(probabilities(t, p), rel=1e-10)


@pytest.mark.parametrize("scale", [1e2, 1e4, 1e30])
def test_any_logit_gives_a_finite_exact_loss(scale):
    x = np.array([[scale, -scale]], "float64")
    assert BinaryCrossentropy(True)([[1.0, 0.0]], x) == pytest.approx(np.exp(-scale), abs=1e-40)
    assert BinaryCrossentropy(True)([[0.0, 1.0]], x) == scale
    assert SparseCategoricalCrossentropy(True)([1], x) == 2 * scale
    assert SparseCategoricalCrossentropy(True)([0], x) == pytest.approx(0, abs=1e-40)
    assert losses.binary_crossentropy([[0.0, 1.0]], x, from_logits=True).tolist() == [scale]


@pytest.mark.parametrize("x", [1.0, 5.0, 20.0, 36.0, 700.0])
def test_small_losses_keep_their_digits(x):
    close = {"rel": 1e-13, "abs": 0}  # measured: 5.4e-14 at x = 700, from exp
    want = float(np.log1p(np.exp(-x)))
    p = np.array([[x, -x]])
    assert BinaryCrossentropy(True)([[1.0, 0.0]], p) == pytest.approx(want, **close)
    rows = losses.binary_crossentropy([[1.0, 0.0]], p, from_logits=True)
    assert rows.tolist() == pytest.approx([want], **close)
    pair = np.array([[x, 0.0]])  # softmax of two is a sigmoid
    for loss, t in ((SparseCategoricalCrossentropy, [0]), (CategoricalCrossentropy, [[1, 0]])):
        assert loss(True)(t, pair) == pytest.approx(want, **close)


def test_probabilities_of_zero_and_one_stay_finite():
    worst = -np.log(1e-7)
    assert BinaryCrossentropy()([[1.0]], np.array([[0.0]])) == pytest.approx(worst)
    assert SparseCategoricalCrossentropy()([0], np.array([[0.0, 1.0]])) == pytest.approx(worst)
    assert CategoricalCrossentropy()([[1, 0]], np.array([[0.0, 1.0]])) == pytest.approx(worst)


def test_probabilities_that_do_not_add_up_are_scaled():
    assert CategoricalCrossentropy()([[1, 0]], np.array([[2.0, 6.0]])) == pytest.approx(np.log(4))


def test_nan_comes_through():
    for loss in (MeanSquaredError(), MeanAbsoluteError(), Huber(), BinaryCrossentropy(True)):
        assert np.isnan(loss([[1.0], [0.0]], [[np.nan], [0.0]]))
        assert np.isnan(loss([[0.0], [0.0]], [[np.nan], [0.0]]))
    for logits in (True, False):
        loss = CategoricalCrossentropy(logits)
        assert np.isnan(loss([[1.0, 0.0], [0.0, 1.0]], [[0.5, np.nan], [0.5, 0.5]]))


def test_shapes_that_differ_by_an_axis_of_one_mean_the_same():
    mse = MeanSquaredError()
    assert mse([1.0, 2.0], [[1.0], [4.0]]) == 2.0
    assert mse([[1.0], [2.0]], [1.0, 4.0]) == 2.0
    sparse = SparseCategoricalCrossentropy(True)
    assert sparse([[1], [0]], [[0.0, 1], [1, 0]]) == sparse([1, 0], [[0.0, 1], [1, 0]])


@pytest.mark.parametrize(
    ("loss", "t", "p", "error", "text"),
    [
        (MeanSquaredError(), np.zeros(3), np.zeros((3, 2)), ValueError, r"\(3,\).*\(3, 2\)"),
        (MeanSquaredError(), np.zeros((2, 1)), np.zeros((2, 3)), ValueError, "never broadcast"),
        (MeanSquaredError(), np.zeros(3), 1.0, ValueError, "batch axis"),
        (MeanSquaredError(), ["a"], [1.0], TypeError, "real numbers"),
        (MeanSquaredError(), [1.0], [1j], TypeError, "real numbers"),
        (SparseCategoricalCrossentropy(), [3], [[0.5, 0.5]], ValueError, "label 3 at index"),
        (SparseCategoricalCrossentropy(), [-1], [[0.5, 0.5]], ValueError, "from 0 to 1"),
        (SparseCategoricalCrossentropy(), [0.5], [[0.5, 0.5]], ValueError, "label 0.5"),
        (SparseCategoricalCrossentropy(), [np.nan], [[0.5, 0.5]], ValueError, "label nan"),
        (SparseCategoricalCrossentropy(), [[0, 1]], [[0.5, 0.5]], ValueError, "one-hot"),
        (SparseCategoricalCrossentropy(), [0, 1], [0.5, 0.5], ValueError, "n, classes"),
    ],
)
def test_bad_input(loss, t, p, error, text):
    with pytest.raises(error, match=text):
        loss(t, p)


def test_bad_weights():
    mse = MeanSquaredError()
    assert mse([1.0, 2.0], [0.0, 0.0], [[1.0], [0.0]]) == 0.5
    with pytest.raises(ValueError, match=r"sample_weight has shape \(3,\), expected \(2,\)"):
        mse([1.0, 2.0], [0.0, 0.0], [1.0, 2.0, 3.0])


def test_any_real_dtype_and_memory_layout():
    t, p, _ = make_data("plain", "float64", 6, 4)
    want = MeanSquaredError()(t, p)
    for view in (
        lambda a: np.asfortranarray(a),
        lambda a: a.astype(">f8"),
        lambda a: np.repeat(a, 2, axis=0)[::2],
        lambda a: a[::-1][::-1],
    ):
        assert MeanSquaredError()(view(t), view(p)) == want
    t.flags.writeable = False
    assert MeanSquaredError()(t, p) == want
    assert MeanSquaredError()(np.array([[1], [0]], "uint8"), np.array([[3], [0]], "int64")) == 2.0
    assert MeanSquaredError()([[True]], [[False]]) == 1.0


def test_functions_become_losses():
    def twice(y_true, y_pred):
        return 2.0 * losses.mean_squared_error(y_true, y_pred)

    loss = losses.get(twice)
    assert loss.name == "twice"
    assert loss(T, P) == pytest.approx(1.0)
    assert loss(T, P, [0.7, 0.3]) == pytest.approx(0.5)
    assert type(losses.get(losses.mean_squared_error)) is MeanSquaredError

    def one_number(y_true, y_pred):
        return np.float64(1.0)

    assert losses.get(one_number)(T, P) == 1.0
    with pytest.raises(ValueError, match="sample weights cannot"):
        losses.get(one_number)(T, P, [1, 1])


def test_subclasses_define_call():
    class Quartic(losses.Loss):
        def call(self, y_true, y_pred):
            return (y_pred - y_true) ** 4

    assert Quartic()([[0.0, 0.0]], [[1.0, 2.0]]) == pytest.approx(8.5)
    assert Quartic().name == "quartic"


@pytest.mark.parametrize(
    ("name", "cls"),
    [
        ("mse", MeanSquaredError),
        ("MSE", MeanSquaredError),
        ("mean_squared_error", MeanSquaredError),
        ("MeanSquaredError", MeanSquaredError),
        ("mae", MeanAbsoluteError),
        ("huber", Huber),
        ("bce", BinaryCrossentropy),
        ("binary_crossentropy", BinaryCrossentropy),
        ("categorical_crossentropy", CategoricalCrossentropy),
        ("sparse_categorical_crossentropy", SparseCategoricalCrossentropy),
    ],
)
def test_names(name, cls):
    assert type(losses.get(name)) is cls


@pytest.mark.parametrize("cls", losses._CLASSES)
def test_config_rebuilds_the_loss(cls):
    first = cls(reduction="sum", name="mine")
    again = losses.deserialize(losses.serialize(first))
    assert type(again) is cls
    assert again.get_config() == first.get_config()


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: losses.get("means_squared_error"), "did you mean 'mean_squared_error'"),
        (lambda: Huber(0), "delta must be above 0"),
        (lambda: BinaryCrossentropy(label_smoothing=2), "label_smoothing"),
        (lambda: MeanSquaredError(reduction="sums"), "did you mean 'sum'"),
        (lambda: MeanSquaredError(reduction="sum").emit(T, P), "works on arrays only"),
    ],
)
def test_bad_arguments(make, text):
    with pytest.raises(ValueError, match=text):
        make()


class FakeValue:
    def __init__(self, **tag):
        self.tag = tag


def test_softmax_is_never_applied_twice():
    sparse, logits = SparseCategoricalCrossentropy, FakeValue()
    softmaxed = FakeValue(activation="softmax", logits=logits)
    assert sparse()._fused(softmaxed) == (logits, {"from_logits": True})
    with pytest.warns(UserWarning, match="already ends in softmax"):
        assert sparse(from_logits=True)._fused(softmaxed) == (logits, {"from_logits": True})
    plain = FakeValue()
    assert sparse()._fused(plain) == (plain, {"from_logits": False})
    sigmoid = FakeValue(activation="sigmoid", logits=logits)
    assert sparse()._fused(sigmoid) == (sigmoid, {"from_logits": False})
    assert BinaryCrossentropy()._fused(sigmoid)[0] is logits
    assert BinaryCrossentropy()._fused(softmaxed)[0] is softmaxed


# ---- in a graph -----------------------------------------------------------------------------


def small_model(units, activation=None):
    import pyact

    pyact.set_seed(5)
    model = pyact.Sequential([pyact.layers.Dense(units, activation, input_shape=(4,))])
    return model, np.random.default_rng(3).normal(size=(21, 4)).astype("float32")


def graph_loss(loss, units, t, activation=None, weights=None):
    """The loss by `evaluate`, before any training, and on arrays by the same object."""
    model, x = small_model(units, activation)
    model.compile(None, loss)
    got = model.evaluate(x, t, batch_size=8, sample_weight=weights, verbose=0)
    return got, losses.get(loss)(t, model.predict(x), weights)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(
    ("loss", "units", "kind"),
    [
        (MeanSquaredError(), 3, "plain"),
        (MeanAbsoluteError(), 3, "plain"),
        (Huber(0.3), 3, "plain"),
        (BinaryCrossentropy(True, 0.1), 3, "binary"),
        (CategoricalCrossentropy(True, 0.1), 3, "categorical"),
        (SparseCategoricalCrossentropy(True), 3, "sparse"),
    ],
    ids=lambda v: type(v).__name__ if isinstance(v, losses.Loss) else str(v),
)
def test_evaluate_and_arrays_agree(loss, units, kind, weighted):
    t, _, w = make_data(kind, "float32", 21, units)
    got, want = graph_loss(loss, units, t, weights=w.astype("float32") if weighted else None)
    assert got == pytest.approx(want, rel=1e-6)


@pytest.mark.parametrize(
    ("loss", "activation", "kind"),
    [
        ("binary_crossentropy", "sigmoid", "binary"),
        ("categorical_crossentropy", "softmax", "categorical"),
        ("sparse_categorical_crossentropy", "softmax", "sparse"),
    ],
)
def test_the_fused_form_is_exact_where_probabilities_run_out(loss, activation, kind):
    t, _, _ = make_data(kind, "float32", 21, 3)
    model, x = small_model(3, activation)
    model.compile(None, loss)
    model.set_weights([w * 400 for w in model.get_weights()])
    logits = x.astype(float) @ model.get_weights()[0].astype(float)
    t_ref = np.eye(3)[t] if kind == "sparse" else t.astype(float)
    formula = ref_binary if kind == "binary" else ref_categorical
    want = formula(t_ref, logits).mean()
    assert want > 2 * -np.log(1e-7), "the probabilities must be far beyond the cut at 1e-7"
    assert model.evaluate(x, t, verbose=0) == pytest.approx(want, rel=1e-5)


@pytest.mark.parametrize(
    ("fused", "function", "kind"),
    [
        ("mse", losses.mean_squared_error, "plain"),
        ("mae", losses.mean_absolute_error, "plain"),
        ("huber", losses.huber, "plain"),
        ("binary_crossentropy", losses.binary_crossentropy, "binary"),
        ("categorical_crossentropy", losses.categorical_crossentropy, "categorical"),
        ("sparse_categorical_crossentropy", losses.sparse_categorical_crossentropy, "sparse"),
    ],
)
def test_a_traced_loss_trains_as_the_fused_one(fused, function, kind):
    activation = {"binary": "sigmoid", "plain": None}.get(kind, "softmax")
    t, _, w = make_data(kind, "float32", 21, 3)

    def traced(y_true, y_pred):
        return function(y_true, y_pred)

    if kind == "sparse":  # a function says by this what targets it takes
        traced.target = "index"
        w = None
    found = []
    for loss in (fused, traced):
        model, x = small_model(3, activation)
        model.compile("sgd", loss)
        model.fit(x, t, epochs=3, batch_size=8, shuffle=False, sample_weight=w, verbose=0)
        found.append([*model.get_weights(), model.evaluate(x, t, verbose=0)])
    for a, b in zip(*found, strict=True):
        np.testing.assert_allclose(a, b, rtol=2e-5, atol=1e-6)


def test_a_loss_that_cannot_be_traced_says_so():
    model, x = small_model(3)
    t = np.zeros((21, 3), "float32")
    model.compile("sgd", lambda y_true, y_pred: 1.0)
    with pytest.raises(TypeError, match=r"pyact\.ops"):
        model.fit(x, t, verbose=0)
    model.compile("sgd", MeanSquaredError(reduction="sum"))
    with pytest.raises(ValueError, match="works on arrays only"):
        model.fit(x, t, verbose=0)


def test_logits_after_softmax_are_used_once_with_a_warning():
    model, x = small_model(3, "softmax")
    t = np.arange(21) % 3
    model.compile(None, SparseCategoricalCrossentropy())
    want = model.evaluate(x, t, verbose=0)
    model.compile(None, SparseCategoricalCrossentropy(from_logits=True))
    with pytest.warns(UserWarning, match="already ends in softmax"):
        assert model.evaluate(x, t, verbose=0) == want
