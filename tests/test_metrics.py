"""Metrics against the numbers in Keras's documentation and against scikit-learn-free
NumPy formulas."""

import numpy as np
import pytest

from pyact import metrics as mt

HOT, SCORES = [[0, 0, 1], [0, 1, 0]], [[0.1, 0.9, 0.8], [0.05, 0.95, 0]]

# (metric, y_true, y_pred, weights, result, weighted result): Keras's documentation
KERAS = [
    (mt.BinaryAccuracy, [[1], [1], [0], [0]], [[0.98], [1], [0], [0.6]], [1, 0, 0, 1], 0.75, 0.5),
    (mt.CategoricalAccuracy, HOT, SCORES, [0.7, 0.3], 0.5, 0.3),
    (
        mt.SparseCategoricalAccuracy,
        [2, 1],
        [[0.1, 0.6, 0.3], [0.05, 0.95, 0]],
        [0.7, 0.3],
        0.5,
        0.3,
    ),
    (lambda: mt.TopKCategoricalAccuracy(k=1), HOT, SCORES, [0.7, 0.3], 0.5, 0.3),
    (lambda: mt.SparseTopKCategoricalAccuracy(k=1), [2, 1], SCORES, [0.7, 0.3], 0.5, 0.3),
    (mt.MeanSquaredError, [[0, 1], [0, 0]], [[1, 1], [0, 0]], [1, 0], 0.25, 0.5),
    (mt.MeanAbsoluteError, [[0, 1], [0, 0]], [[1, 1], [0, 0]], [1, 0], 0.25, 0.5),
    (mt.RootMeanSquaredError, [[0, 1], [0, 0]], [[1, 1], [0, 0]], [1, 0], 0.5, 0.5**0.5),
    (mt.Precision, [0, 1, 1, 1], [1, 0, 1, 1], [0, 0, 1, 0], 2 / 3, 1.0),
    (mt.Recall, [0, 1, 1, 1], [1, 0, 1, 1], [0, 0, 1, 0], 2 / 3, 1.0),
    (lambda: mt.AUC(num_thresholds=3), [0, 0, 1, 1], [0, 0.5, 0.3, 0.9], [1, 0, 0, 1], 0.75, 1.0),
]


@pytest.mark.parametrize(
    ("make", "t", "p", "w", "plain", "weighted"), KERAS, ids=[k[0]().name for k in KERAS]
)
def test_the_numbers_of_keras(make, t, p, w, plain, weighted):
    metric = make()
    metric.update_state(t, p)
    assert metric.result() == pytest.approx(plain, abs=1e-6)
    metric.reset_state()
    metric.update_state(t, p, sample_weight=w)
    assert metric.result() == pytest.approx(weighted, abs=1e-6)


@pytest.mark.parametrize("make", [k[0] for k in KERAS], ids=[k[0]().name for k in KERAS])
@pytest.mark.parametrize("weighted", [False, True])
def test_batches_add_up_to_the_whole(make, weighted):
    rng = np.random.default_rng(2)
    n, c = 57, 6
    t = rng.integers(0, c, n) if make().target == "index" else np.eye(c)[rng.integers(0, c, n)]
    p, w = rng.uniform(size=(n, c)), rng.uniform(size=n) if weighted else None
    whole, parts = make(), make()
    if isinstance(whole, mt.TopKCategoricalAccuracy):
        whole.k = parts.k = 3
    whole.update_state(t, p, w)
    for cut in np.array_split(np.arange(n), 5):
        parts.update_state(t[cut], p[cut], None if w is None else w[cut])
    assert parts.result() == pytest.approx(whole.result(), rel=1e-5)


@pytest.mark.parametrize("k", [1, 2, 5, 6, 9])
def test_top_k_counts_those_above(k):
    rng = np.random.default_rng(3)
    p, t = rng.uniform(size=(200, 6)), rng.integers(0, 6, 200)
    want = np.mean([(p[i] > p[i, t[i]]).sum() < k for i in range(200)])
    assert mt.SparseTopKCategoricalAccuracy(k)(t, p) == pytest.approx(want)
    assert mt.TopKCategoricalAccuracy(k)(np.eye(6)[t], p) == pytest.approx(want)


def thresholds(n):
    return np.array([-1e-7, *[(i + 1) / (n - 1) for i in range(n - 2)], 1 + 1e-7])


def counts(t, p, w, n):
    rows = []
    for h in thresholds(n):
        yes = p > h
        rows.append([w[yes & t].sum(), w[yes & ~t].sum(), w[~yes & t].sum(), w[~yes & ~t].sum()])
    return np.array(rows).T


@pytest.mark.parametrize("method", ["interpolation", "minoring", "majoring"])
@pytest.mark.parametrize("curve", ["ROC", "PR"])
def test_auc_follows_the_points_of_the_curve(curve, method):
    rng = np.random.default_rng(5)
    t = rng.uniform(size=300) < 0.4
    p = np.clip(t * 0.2 + rng.uniform(size=300) * 0.8, 0, 1).astype(np.float32)
    w = rng.uniform(size=300)
    n = 50
    tp, fp, fn, tn = counts(t, p, w, n)
    area = 0.0
    for i in range(n - 1):
        if curve == "PR" and method == "interpolation":
            # precision integrated over recall along the true curve, by many small steps
            u = np.linspace(0, 1, 4001)
            a = tp[i + 1] + u * (tp[i] - tp[i + 1])
            b = fp[i + 1] + u * (fp[i] - fp[i + 1])
            precision = np.divide(a, a + b, out=np.zeros_like(a), where=a + b > 0)
            middle = (precision[1:] + precision[:-1]) / 2
            area += (middle * np.diff(a)).sum() / (tp[i + 1] + fn[i + 1])
            continue
        recall = tp[i : i + 2] / (tp[i : i + 2] + fn[i : i + 2])
        if curve == "ROC":
            x, y = fp[i : i + 2] / (fp[i : i + 2] + tn[i : i + 2]), recall
        else:
            both = tp[i : i + 2] + fp[i : i + 2]
            x = recall
            y = np.divide(tp[i : i + 2], both, out=np.zeros(2), where=both > 0)
        height = {"interpolation": y.mean(), "minoring": y.min(), "majoring": y.max()}[method]
        area += (x[0] - x[1]) * height
    metric = mt.AUC(n, curve, method)
    assert metric(t, p, w) == pytest.approx(area, abs=2e-4 if curve == "PR" else 1e-6)


def test_auc_approaches_the_share_of_ordered_pairs():
    rng = np.random.default_rng(6)
    t = rng.uniform(size=400) < 0.5
    p = np.clip(0.3 * t + 0.7 * rng.uniform(size=400), 0, 1)
    pairs = (p[t][:, None] > p[~t][None]).mean()
    assert mt.AUC(2000)(t, p) == pytest.approx(pairs, abs=1e-3)
    assert mt.AUC()(t, t.astype(float)) == pytest.approx(1.0)
    assert mt.AUC()(t, 1.0 - t) == pytest.approx(0.0, abs=1e-12)
    assert mt.AUC(curve="PR")(t, t.astype(float)) == pytest.approx(1.0)


def test_precision_and_recall_at_several_thresholds():
    t, p = [0, 0, 1, 1], [0.0, 0.5, 0.3, 0.9]
    np.testing.assert_allclose(mt.Precision([0.2, 0.5])(t, p), [2 / 3, 1.0])
    np.testing.assert_allclose(mt.Recall([0.2, 0.5])(t, p), [1.0, 0.5])
    assert mt.Precision(0.95)(t, p) == 0.0  # nothing predicted: 0, not NaN


def test_nothing_seen_is_zero_and_no_weight_is_nan():
    metric = mt.MeanSquaredError()
    assert metric.result() == 0.0
    metric.update_state([1.0], [2.0], [0.0])
    assert np.isnan(metric.result())


def test_mean_of_values():
    metric = mt.Mean()
    metric.update_state([1, 3, 5, 7])
    metric.update_state(4.0, sample_weight=2)
    assert metric.result() == pytest.approx(24 / 6)
    with pytest.raises(TypeError, match="compile cannot use it"):
        metric.emit(None, None)


@pytest.mark.parametrize(
    ("true", "pred", "kind"),
    [
        ((32,), (32, 1), mt.BinaryAccuracy),
        ((32, 1), (32, 1), mt.BinaryAccuracy),
        ((32,), (32, 10), mt.SparseCategoricalAccuracy),
        ((32, 1), (32, 10), mt.SparseCategoricalAccuracy),
        ((32, 10), (32, 10), mt.CategoricalAccuracy),
        ((32, 7), (32, 7, 5), mt.SparseCategoricalAccuracy),
    ],
)
@pytest.mark.parametrize("name", ["accuracy", "acc"])
def test_accuracy_is_resolved_by_shapes(name, true, pred, kind):
    metric = mt.for_shapes(name, true, pred)
    assert type(metric) is kind
    assert metric.name == name


def test_a_metric_given_by_name_reports_under_that_name():
    assert mt.for_shapes("mse", (3, 1), (3, 1)).name == "mse"
    assert mt.for_shapes("mean_squared_error", (3, 1), (3, 1)).name == "mean_squared_error"
    assert mt.for_shapes(mt.MeanSquaredError(), (3, 1), (3, 1)).name == "mean_squared_error"
    assert mt.for_shapes(mt.AUC(name="area"), (3, 1), (3, 1)).name == "area"


def test_functions_become_metrics():
    def worst(y_true, y_pred):
        return np.abs(y_pred - y_true).max(-1)

    metric = mt.get(worst)
    assert metric.name == "worst"
    metric.update_state([[0.0, 0.0]], [[1.0, 2.0]])
    metric.update_state([[0.0, 0.0], [0.0, 0.0]], [[1.0, 5.0], [2.0, 0.0]])
    assert metric.result() == pytest.approx(3.0)
    metric.reset_state()
    metric.update_state([[0.0], [0.0]], [[1.0], [5.0]], [1.0, 3.0])
    assert metric.result() == pytest.approx(4.0)


@pytest.mark.parametrize("cls", mt._CLASSES)
def test_config_rebuilds_the_metric(cls):
    first = cls(name="mine")
    again = mt.deserialize(mt.serialize(first))
    assert type(again) is cls
    assert again.get_config() == first.get_config()


@pytest.mark.parametrize(
    ("make", "error", "text"),
    [
        (lambda: mt.get("binary_accurracy"), ValueError, "did you mean 'binary_accuracy'"),
        (lambda: mt.get("acuracy"), ValueError, "did you mean 'accuracy'"),
        (lambda: mt.get("accuracy"), ValueError, "depends on the shapes"),
        (lambda: mt.get(3), TypeError, "must be a name"),
        (lambda: mt.BinaryAccuracy(threshold=1), ValueError, "threshold must be above 0"),
        (lambda: mt.TopKCategoricalAccuracy(0), ValueError, "k must be at least 1"),
        (lambda: mt.Precision(thresholds=[]), ValueError, "must not be empty"),
        (lambda: mt.Precision(thresholds=1.5), ValueError, "thresholds must be"),
        (lambda: mt.AUC(1), ValueError, "num_thresholds must be at least 2"),
        (lambda: mt.AUC(curve="RC"), ValueError, "did you mean 'ROC'"),
        (lambda: mt.AUC(summation_method="x"), ValueError, "summation_method"),
        (lambda: mt.MeanSquaredError()([1.0], [[1.0, 2.0]]), ValueError, "never broadcast"),
        (lambda: mt.SparseCategoricalAccuracy()([5], [[1.0, 2.0]]), ValueError, "label 5"),
    ],
)
def test_bad_arguments(make, error, text):
    with pytest.raises(error, match=text):
        make()


# ---- in a graph -----------------------------------------------------------------------------


def fitted(units, activation, t, metrics, weighted=None, weights=None):
    import pyact

    pyact.set_seed(5)
    x = np.random.default_rng(3).normal(size=(len(t), 4)).astype("float32")
    model = pyact.Sequential([pyact.layers.Dense(units, activation, input_shape=(4,))])
    model.compile(None, "mse", metrics=metrics, weighted_metrics=weighted)
    y = np.eye(units)[t] if units > 1 else t
    logs = model.evaluate(x, y, batch_size=8, sample_weight=weights, verbose=0, return_dict=True)
    return logs, y, model.predict(x)


@pytest.mark.parametrize("weighted", [False, True])
def test_evaluate_and_arrays_agree(weighted):
    t = np.random.default_rng(1).integers(0, 4, 29)
    w = np.random.default_rng(2).uniform(size=29).astype("float32") if weighted else None

    def worst(y_true, y_pred):
        from pyact import ops

        return ops.max(ops.abs(ops.subtract(y_pred, y_true)), axis=-1)

    made = [
        mt.CategoricalAccuracy(),
        mt.TopKCategoricalAccuracy(2),
        mt.BinaryAccuracy(threshold=0.25),
        mt.MeanSquaredError(),
        mt.MeanAbsoluteError(),
        mt.RootMeanSquaredError(),
        mt.Precision(0.2),
        mt.Recall([0.1, 0.2, 0.3], name="recalls"),
        mt.AUC(num_thresholds=50),
        mt.AUC(curve="PR", name="pr"),
        worst,
    ]
    options = {"metrics": None, "weighted": made} if weighted else {"metrics": made}
    logs, y, p = fitted(4, "softmax", t, weights=w, **options)
    for metric in made:
        eager = mt.get(metric)
        eager.reset_state()
        want = eager(y, p, w)
        np.testing.assert_allclose(logs[eager.name], want, rtol=1e-6, err_msg=eager.name)


def test_sparse_metrics_in_a_graph():
    import pyact

    rng = np.random.default_rng(4)
    x, t = rng.normal(size=(29, 4)).astype("float32"), rng.integers(0, 6, 29)
    model = pyact.Sequential([pyact.layers.Dense(6, "softmax", input_shape=(4,))])
    top = mt.SparseTopKCategoricalAccuracy(3)
    model.compile(None, "sparse_categorical_crossentropy", metrics=["accuracy", top])
    logs = model.evaluate(x, t, batch_size=8, verbose=0, return_dict=True)
    p = model.predict(x)
    assert logs["accuracy"] == pytest.approx(np.mean(p.argmax(1) == t))
    assert logs[top.name] == pytest.approx(top(t, p))


def test_plain_metrics_do_not_heed_the_weights():
    t = np.random.default_rng(1).integers(0, 2, 29)
    w = np.random.default_rng(2).uniform(size=29).astype("float32")
    logs, y, p = fitted(1, "sigmoid", t, ["acc"], ["accuracy"], w)
    right = (p[:, 0] > 0.5) == y
    assert logs["acc"] == pytest.approx(right.mean())
    assert logs["accuracy"] == pytest.approx((right * w).sum() / w.sum())


def test_a_metric_of_one_number_for_the_batch():
    from pyact import ops

    def spread(y_true, y_pred):
        return ops.max(y_pred)

    t = np.random.default_rng(1).integers(0, 4, 16)
    logs, _, p = fitted(4, "softmax", t, [spread])
    assert logs["spread"] == pytest.approx((p[:8].max() + p[8:].max()) / 2)
