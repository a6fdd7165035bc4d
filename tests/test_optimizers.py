"""Optimizers: what they tell the engine, defaults, checks. Their arithmetic is tested
with the operators and in training."""

import numpy as np
import pytest

from pyact import optimizers
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
