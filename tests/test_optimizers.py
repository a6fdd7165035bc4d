"""Optimizers: what they tell the engine, defaults, checks. Their arithmetic is tested
with the operators and in training."""

import numpy as np
import pytest

from pyact import Sequential, layers, optimizers
from pyact.optimizers import SGD, Adagrad, Adam, AdamW, RMSprop, schedules


@pytest.mark.parametrize(
    ("cls", "op", "rate", "attrs"),
    [
        (SGD, "opt_sgd", 0.01, {"momentum": 0.0, "nesterov": False, "weight_decay": 0.0}),
        (
            Adagrad,
            "opt_adagrad",
            0.001,
            {"initial_accumulator_value": 0.1, "epsilon": 1e-7, "weight_decay": 0.0},
        ),
        (
            RMSprop,
            "opt_rmsprop",
            0.001,
            {
                "rho": 0.9,
                "momentum": 0.0,
                "epsilon": 1e-7,
                "centered": False,
                "weight_decay": 0.0,
            },
        ),
        (
            Adam,
            "opt_adam",
            0.001,
            {
                "beta_1": 0.9,
                "beta_2": 0.999,
                "epsilon": 1e-7,
                "amsgrad": False,
                "weight_decay": 0.0,
            },
        ),
        (
            AdamW,
            "opt_adam",
            0.001,
            {
                "beta_1": 0.9,
                "beta_2": 0.999,
                "epsilon": 1e-7,
                "amsgrad": False,
                "weight_decay": 0.004,
            },
        ),
    ],
)
def test_defaults_are_keras_defaults(cls, op, rate, attrs):
    made = cls()
    assert (made.op, made.learning_rate, made.attrs()) == (op, rate, attrs)
    assert made.clip is None
    assert made.iterations == 0


def test_every_operator_knows_the_attributes():
    _core = pytest.importorskip("pyact._core")
    if not hasattr(_core, "op_info"):
        pytest.skip("no registry")
    for cls in optimizers._CLASSES:
        known = {a[0] for a in _core.op_info(cls.op)["attrs"]}
        assert set(cls().attrs()) <= known, cls.__name__


@pytest.mark.parametrize(
    ("options", "clip"),
    [
        ({"clipnorm": 1.0}, ("norm", 1.0)),
        ({"clipvalue": 0.5}, ("value", 0.5)),
        ({"global_clipnorm": 2}, ("global_norm", 2.0)),
    ],
)
def test_clipping(options, clip):
    assert Adam(**options).clip == clip


@pytest.mark.parametrize(
    ("make", "error", "text"),
    [
        (lambda: SGD(-0.1), ValueError, "learning_rate must be at least 0, got -0.1"),
        (lambda: SGD(float("nan")), ValueError, "learning_rate must be"),
        (lambda: SGD("fast"), TypeError, "learning_rate must be a number, got 'fast'"),
        (lambda: SGD(None), TypeError, "learning_rate must be a number"),
        (lambda: SGD(Adam), TypeError, "learning_rate must be a number"),
        (lambda: SGD(momentum=1.5), ValueError, "momentum must be at least 0 and at most 1"),
        (lambda: SGD(momentum=-0.1), ValueError, "momentum"),
        (lambda: Adam(beta_1=1.0), ValueError, "beta_1 must be at least 0 and below 1"),
        (lambda: Adam(epsilon=-1), ValueError, "epsilon"),
        (lambda: RMSprop(rho=2), ValueError, "rho"),
        (lambda: Adagrad(initial_accumulator_value=-1), ValueError, "initial_accumulator"),
        (lambda: Adam(weight_decay=-1), ValueError, "weight_decay"),
        (lambda: AdamW(weight_decay=None), ValueError, "AdamW needs a weight_decay"),
        (lambda: Adam(clipnorm=0), ValueError, "clipnorm must be above 0"),
        (lambda: Adam(clipnorm=1, clipvalue=1), ValueError, "at most one kind of clipping"),
        (lambda: optimizers.get("adm"), ValueError, "did you mean 'adam'"),
        (lambda: optimizers.get(3), TypeError, "must be a name"),
    ],
)
def test_bad_arguments(make, error, text):
    with pytest.raises(error, match=text):
        make()


@pytest.mark.parametrize("name", ["sgd", "SGD", "adam", "Adam", "adamw", "rmsprop", "adagrad"])
def test_names(name):
    assert type(optimizers.get(name)).__name__.lower() == name.lower()


def test_learning_rate_can_be_set_while_training():
    adam = Adam(0.1)
    adam.learning_rate = 0.01
    assert adam.learning_rate == 0.01
    assert adam.lr_at(np.arange(3)).tolist() == [0.01] * 3
    adam.learning_rate = np.float32(0.5)
    assert adam.learning_rate == 0.5


def test_a_schedule_decides_by_iterations():
    sgd = SGD(schedules.ExponentialDecay(0.1, 10, 0.5))
    assert sgd.learning_rate == 0.1
    sgd.iterations = 10
    assert sgd.learning_rate == pytest.approx(0.05)
    np.testing.assert_allclose(sgd.lr_at(np.array([0, 10, 20])), [0.1, 0.05, 0.025])
    with pytest.raises(TypeError, match="comes from a schedule"):
        sgd.learning_rate = 0.1
    sgd.learning_rate = schedules.ExponentialDecay(0.2, 10, 0.5)
    assert sgd.learning_rate == pytest.approx(0.1)


def test_a_plain_function_is_a_schedule():
    sgd = SGD(lambda step: 0.1 / (1 + step))
    assert sgd.lr_at(np.arange(2)).tolist() == [0.1, 0.05]
    with pytest.raises(ValueError, match="plain function cannot be saved"):
        sgd.get_config()


@pytest.mark.parametrize("cls", optimizers._CLASSES)
def test_config_rebuilds_the_optimizer(cls):
    first = cls(
        learning_rate=schedules.CosineDecay(0.1, 100), weight_decay=0.1, clipnorm=2, name="mine"
    )
    again = optimizers.deserialize(optimizers.serialize(first))
    assert type(again) is cls
    assert again.get_config() == first.get_config()
    assert again.learning_rate == first.learning_rate
    import json

    assert json.loads(json.dumps(first.get_config())) == first.get_config()


# ---- ten steps against NumPy ------------------------------------------------------------------


def numpy_steps(made, weights, gradient, steps):
    """The formulas of the docstrings, in float64."""
    a, w = made.attrs(), [p.copy() for p in weights]
    slots = [{} for _ in w]
    for step in range(steps):
        lr = float(made.lr_at(np.array([step]))[0])
        gs = gradient(w)
        kind, bound = made.clip or ("none", 0)
        if kind == "value":
            gs = [np.clip(g, -bound, bound) for g in gs]
        elif kind == "norm":
            gs = [g * min(1, bound / np.linalg.norm(g)) for g in gs]
        elif kind == "global_norm":
            total = np.sqrt(sum((g**2).sum() for g in gs))
            gs = [g * min(1, bound / total) for g in gs]
        for p, g, s in zip(w, gs, slots, strict=True):
            p *= 1 - lr * a["weight_decay"]
            p -= delta(made, a, lr, g, s, step + 1)
    return w


def delta(made, a, lr, g, s, t):
    if made.op == "opt_sgd":
        if not a["momentum"]:
            return lr * g
        s["v"] = a["momentum"] * s.get("v", 0) - lr * g
        return -(a["momentum"] * s["v"] - lr * g) if a["nesterov"] else -s["v"]
    if made.op == "opt_adagrad":
        s["a"] = s.get("a", a["initial_accumulator_value"]) + g**2
        return lr * g / np.sqrt(s["a"] + a["epsilon"])
    if made.op == "opt_rmsprop":
        s["a"] = a["rho"] * s.get("a", 0) + (1 - a["rho"]) * g**2
        s["c"] = a["rho"] * s.get("c", 0) + (1 - a["rho"]) * g
        d = s["a"] - (s["c"] ** 2 if a["centered"] else 0) + a["epsilon"]
        s["v"] = a["momentum"] * s.get("v", 0) + lr * g / np.sqrt(d)
        return s["v"]
    s["m"] = a["beta_1"] * s.get("m", 0) + (1 - a["beta_1"]) * g
    s["v"] = a["beta_2"] * s.get("v", 0) + (1 - a["beta_2"]) * g**2
    s["most"] = np.maximum(s.get("most", 0), s["v"])
    root = np.sqrt(s["most"] if a["amsgrad"] else s["v"])
    rate = lr * np.sqrt(1 - a["beta_2"] ** t) / (1 - a["beta_1"] ** t)
    return rate * s["m"] / (root + a["epsilon"])


MADE = [
    SGD(0.1),
    SGD(0.1, momentum=0.9),
    SGD(0.1, momentum=0.9, nesterov=True, weight_decay=0.1),
    SGD(schedules.ExponentialDecay(0.1, 3, 0.5), momentum=0.5),
    SGD(0.1, clipvalue=0.05),
    SGD(0.1, clipnorm=0.1),
    SGD(0.1, momentum=0.9, global_clipnorm=0.1),
    Adagrad(0.1),
    RMSprop(0.01),
    RMSprop(0.01, momentum=0.5),
    RMSprop(0.01, centered=True),
    RMSprop(0.01, momentum=0.5, centered=True, weight_decay=0.01),
    Adam(0.01),
    Adam(0.01, amsgrad=True),
    Adam(0.01, beta_1=0.5, beta_2=0.9, epsilon=1e-3, global_clipnorm=0.2),
    AdamW(0.01, weight_decay=0.1),
]


@pytest.mark.parametrize("made", MADE, ids=repr)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_ten_steps_are_those_of_numpy(made, dtype):
    import pyact

    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(8, 5)), rng.normal(size=(8, 3))
    model = pyact.Sequential([pyact.layers.Dense(3, input_shape=(5,), dtype=dtype)])
    weights = [rng.normal(size=(5, 3)), rng.normal(size=3)]
    model.set_weights(weights)

    def gradient(w):
        error = 2 * (x @ w[0] + w[1] - y) / y.size
        return [x.T @ error, error.sum(0)]

    want = numpy_steps(made, weights, gradient, 10)
    optimizer = optimizers.deserialize(optimizers.serialize(made))
    model.compile(optimizer, "mse")
    model.fit(x.astype(dtype), y.astype(dtype), batch_size=8, epochs=10, verbose=0)
    assert optimizer.iterations == 10
    # float32 rounds ten steps of a few operations; centered takes small differences
    tol = 1e-12 if dtype == "float64" else 5e-6
    for got, expected in zip(model.get_weights(), want, strict=True):
        np.testing.assert_allclose(got, expected, rtol=tol, atol=tol)


def test_a_rate_set_between_epochs_is_the_one_that_is_used():
    import pyact

    x, y = np.ones((4, 1), "float32"), np.zeros((4, 1), "float32")
    model = pyact.Sequential([pyact.layers.Dense(1, use_bias=False, input_shape=(1,))])
    model.set_weights([np.ones((1, 1))])
    model.compile(SGD(0.25), "mse")
    halve = pyact.callbacks.LearningRateScheduler(lambda epoch, lr: lr if epoch == 0 else 0.0)
    history = model.fit(x, y, epochs=3, batch_size=4, verbose=0, callbacks=halve)
    assert model.get_weights()[0].item() == 0.5  # one step of w -= .25 * 2 w, then none
    assert history.history["learning_rate"] == [0.25, 0.0, 0.0]


@pytest.mark.parametrize("clip", ["clipnorm", "global_clipnorm"])
def test_an_infinite_gradient_is_not_clipped_to_a_number(clip):
    model = Sequential([layers.Input((2,)), layers.Dense(1)])
    model.compile(SGD(0.1, **{clip: 1.0}), "mse", check_finite=False)
    model.train_on_batch(np.array([[np.inf, 1.0]]), np.ones((1, 1)))
    assert np.isnan(model.get_weights()[0]).all()


def test_an_epsilon_above_one():
    model = Sequential([layers.Input((1,)), layers.Dense(1, use_bias=False)])
    model.compile(Adam(0.5, epsilon=2.0), "mse")
    model.set_weights([np.array([[1.0]])])
    model.train_on_batch(np.array([[2.0]]), np.zeros((1, 1)))  # the gradient is 8
    rate, mean, root = 0.5 * 0.001**0.5 / 0.1, 0.1 * 8, (0.001 * 8**2) ** 0.5
    assert model.get_weights()[0].item() == pytest.approx(1 - rate * mean / (root + 2), rel=1e-5)
