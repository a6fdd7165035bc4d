"""Schedules against scalar formulas written out here, over arrays and single steps."""

from math import ceil, cos, floor, pi

import numpy as np
import pytest

from pyact import schedules

S = schedules


def restarts(step, lr=0.1, first=10, t=2.0, m=0.5, alpha=0.1):
    """Walks from period to period instead of using logarithms."""
    begin, length, height = 0.0, float(first), 1.0
    while step >= begin + length:
        begin, length, height = begin + length, length * t, height * m
    wave = 0.5 * height * (1 + cos(pi * (step - begin) / length))
    return lr * ((1 - alpha) * wave + alpha)


def warm(step, lr=0.01, target=0.1, steps=20, warmup=5, alpha=0.2):
    if step < warmup:
        return lr + (target - lr) * step / warmup
    p = min(step - warmup, steps) / steps
    return target * ((1 - alpha) * 0.5 * (1 + cos(pi * p)) + alpha)


def cycle(step, lr=0.1, n=10, end=0.01, power=2.0):
    length = n * max(1, ceil(step / n))
    return (lr - end) * (1 - step / length) ** power + end


CASES = [
    (S.ExponentialDecay(0.1, 30, 0.9), lambda s: 0.1 * 0.9 ** (s / 30)),
    (S.ExponentialDecay(0.1, 30, 0.9, staircase=True), lambda s: 0.1 * 0.9 ** floor(s / 30)),
    (S.InverseTimeDecay(0.1, 30, 0.5), lambda s: 0.1 / (1 + 0.5 * s / 30)),
    (S.InverseTimeDecay(0.1, 30, 0.5, staircase=True), lambda s: 0.1 / (1 + 0.5 * (s // 30))),
    (
        S.PiecewiseConstantDecay([10, 25], [0.1, 0.02, 0.3]),
        lambda s: 0.1 if s <= 10 else 0.02 if s <= 25 else 0.3,
    ),
    (
        S.PolynomialDecay(0.1, 40, 0.01, power=2.0),
        lambda s: 0.09 * (1 - min(s, 40) / 40) ** 2 + 0.01,
    ),
    (S.PolynomialDecay(0.1, 10, 0.01, power=2.0, cycle=True), cycle),
    (
        S.CosineDecay(0.1, 40, alpha=0.1),
        lambda s: 0.1 * (0.9 * 0.5 * (1 + cos(pi * min(s, 40) / 40)) + 0.1),
    ),
    (S.CosineDecay(0.01, 20, alpha=0.2, warmup_target=0.1, warmup_steps=5), warm),
    (S.CosineDecayRestarts(0.1, 10, 2.0, 0.5, 0.1), restarts),
    (S.CosineDecayRestarts(0.1, 7, 1.5, 0.9), lambda s: restarts(s, 0.1, 7, 1.5, 0.9, 0.0)),
    (S.CosineDecayRestarts(0.1, 10, 1.0, 0.5), lambda s: restarts(s, 0.1, 10, 1.0, 0.5, 0.0)),
]


@pytest.mark.parametrize(("schedule", "formula"), CASES, ids=lambda c: getattr(c, "name", ""))
def test_arrays_and_single_steps_follow_the_formula(schedule, formula):
    steps = np.arange(0, 400)
    want = [formula(int(s)) for s in steps]
    got = S.evaluate(schedule, steps)
    assert got.dtype == np.float64
    np.testing.assert_allclose(got, want, rtol=1e-12, atol=1e-17)
    assert all(type(schedule(int(s))) is float for s in (0, 13))
    np.testing.assert_array_equal([schedule(int(s)) for s in steps], got)


@pytest.mark.parametrize("t_mul", [1.1, 1.5, 2.0, 3.0, 10.0])
def test_restarts_begin_at_the_top(t_mul):
    schedule = S.CosineDecayRestarts(1.0, 1.0, t_mul=t_mul)
    begins = np.array([(t_mul**i - 1) / (t_mul - 1) for i in range(1, 12)])
    np.testing.assert_allclose(schedule._rate(begins), 1.0)


@pytest.mark.parametrize(("schedule", "formula"), CASES, ids=lambda c: getattr(c, "name", ""))
def test_config_rebuilds_the_schedule(schedule, formula):
    again = S.deserialize(S.serialize(schedule))
    assert type(again) is type(schedule)
    assert again.get_config() == schedule.get_config()


def test_plain_functions_and_subclasses_get_python_ints():
    seen = []

    def function(step):
        seen.append(type(step))
        return 0.1 if step < 2 else 0.01

    assert S.evaluate(function, np.arange(4)).tolist() == [0.1, 0.1, 0.01, 0.01]
    assert set(seen) == {int}

    class Own(S.LearningRateSchedule):
        def __call__(self, step):
            return 1.0 / (1 + step)

    assert S.evaluate(Own(), np.array([0, 1, 3])).tolist() == [1.0, 0.5, 0.25]

    class Vector(Own):
        vectorized = True

    assert S.evaluate(Vector(), np.array([0, 1, 3])).tolist() == [1.0, 0.5, 0.25]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (-0.1, "gave learning rate -0.1 at step 0"),
        (float("nan"), "gave learning rate nan"),
        (float("inf"), "gave learning rate inf"),
        (None, "expected one number"),
        ("fast", "expected one number"),
        ([1, 2], "expected one number"),
    ],
)
def test_a_schedule_that_gives_nonsense_is_named(value, text):
    def wrong(step):
        return value

    with pytest.raises(ValueError, match=text) as error:
        S.evaluate(wrong, np.arange(3))
    assert "wrong" in str(error.value)


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: S.ExponentialDecay(-1, 1, 0.9), "initial_learning_rate must be at least 0"),
        (lambda: S.ExponentialDecay(1, 0, 0.9), "decay_steps must be above 0"),
        (lambda: S.PiecewiseConstantDecay([1], [1]), "one item more"),
        (lambda: S.PiecewiseConstantDecay([2, 1], [1, 1, 1]), "must increase"),
        (lambda: S.CosineDecayRestarts(1, 1, t_mul=0.5), "t_mul must be at least 1"),
        (lambda: S.get({"class_name": "CosineDecy", "config": {}}), "mean 'CosineDecay'"),
    ],
)
def test_bad_arguments(make, text):
    with pytest.raises(ValueError, match=text):
        make()


def test_the_module_is_found_where_keras_has_it():
    from pyact.optimizers.schedules import CosineDecay

    import pyact.optimizers

    assert CosineDecay is S.CosineDecay
    assert pyact.optimizers.schedules is S
