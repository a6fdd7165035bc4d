"""Tapes, traced functions and steps of one's own."""

from __future__ import annotations

import gc
import weakref

import numpy as np
import pytest

import pyact
from pyact import (
    GradientTape,
    Sequential,
    Variable,
    _core,
    autodiff,
    constant,
    layers,
    losses,
    ops,
    optimizers,
)


def rng(seed=0):
    return np.random.default_rng(seed)


def watched(*arrays):
    found = [constant(np.asarray(a, np.float64)) for a in arrays]
    tape = GradientTape(persistent=True)
    tape.__enter__()
    tape.watch(found)
    return tape, found


# ---- what a tape promises ---------------------------------------------------------------------


def test_gradient_of_a_square():
    x = constant(3.0)
    with GradientTape() as tape:
        tape.watch(x)
        y = x * x
    assert tape.gradient(y, x) == 6


def test_gradients_follow_the_structure_of_the_sources():
    a, b = Variable(2.0), Variable([1.0, 3.0])
    with GradientTape(persistent=True) as tape:
        y = a * np.sum(b)
    found = tape.gradient(y, {"a": a, "more": [b, (a,)]})
    assert found["a"] == 4 and found["more"][0].tolist() == [2, 2] and found["more"][1] == (4,)


def test_what_is_not_connected_gives_none_or_zeros():
    a, b = Variable(2.0), Variable([1.0, 3.0])
    with GradientTape(persistent=True) as tape:
        y = a * 2.0
    assert tape.gradient(y, b) is None
    assert tape.gradient(y, b, unconnected_gradients="zero").tolist() == [0, 0]
    with pytest.raises(ValueError, match="unconnected_gradients"):
        tape.gradient(y, b, unconnected_gradients="nan")


def test_constants_are_watched_only_when_told_to():
    x, frozen = constant(2.0), Variable(2.0, trainable=False)
    with GradientTape(persistent=True) as tape:
        y = x * frozen
    assert tape.gradient(y, [x, frozen]) == [None, None]
    with GradientTape(watch_accessed_variables=False) as tape:
        v = Variable(3.0)
        y = v * v
    assert tape.gradient(y, v) is None


def test_a_tape_gives_its_gradients_once_unless_it_is_persistent():
    v = Variable(2.0)
    with GradientTape() as tape:
        y = v * v
    tape.gradient(y, v)
    with pytest.raises(RuntimeError, match="persistent=True"):
        tape.gradient(y, v)
    with pytest.raises(RuntimeError, match="not recorded"):
        GradientTape().gradient(y, v)


def test_output_gradients_and_several_targets():
    v = Variable([1.0, 2.0])
    with GradientTape(persistent=True) as tape:
        y, z = v * v, 3.0 * v
    assert tape.gradient(y, v, output_gradients=np.array([10.0, 1.0])).tolist() == [20, 4]
    assert tape.gradient([y, z], v).tolist() == [5, 7]
    with pytest.raises(ValueError, match="output_gradients"):
        tape.gradient(y, v, output_gradients=np.ones(3))
    with pytest.raises(TypeError, match="source"):
        tape.gradient(y, 3.0)


def test_a_constant_is_followed_from_where_it_is_watched():
    x = constant(3.0)
    with GradientTape() as tape:
        y = x * x
        tape.watch(x)
        z = x * x * x + y
    assert tape.gradient(z, x) == 27  # y was computed before


def test_jacobians():
    x, w = constant([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]), Variable([[1.0, -1.0], [2.0, 0.5]])
    with GradientTape(persistent=True) as tape:
        tape.watch(x)
        y = np.tanh(0.1 * (x @ w))
        alone = Variable(1.0)
    slope = 0.1 * (1 - y.numpy() ** 2)
    found = tape.jacobian(y, {"x": x, "w": [w, alone]})
    want = np.einsum("bi,bc,ji->bijc", slope, np.eye(3), np.asarray(w))
    np.testing.assert_allclose(found["x"], np.moveaxis(want, 2, 3), atol=1e-6)
    want = np.einsum("bi,bj,ik->bijk", slope, np.asarray(x), np.eye(2))
    np.testing.assert_allclose(found["w"][0], want, atol=1e-6)
    assert found["w"][1] is None
    assert tape.jacobian(y, alone, unconnected_gradients="zero").shape == (3, 2)
    each = tape.batch_jacobian(y, x)
    np.testing.assert_allclose(each, np.einsum("bi,ji->bij", slope, np.asarray(w)), atol=1e-6)
    with pytest.raises(ValueError, match="equal batches"):
        tape.batch_jacobian(y, w)


def test_a_hessian_is_the_jacobian_of_a_gradient():
    v = Variable([1.0, 2.0, 3.0])
    with GradientTape() as outer:
        with GradientTape() as inner:
            y = np.prod(v)
        g = inner.gradient(y, v)
    assert outer.jacobian(g, v).tolist() == [[0, 3, 2], [3, 0, 1], [2, 1, 0]]
    with pytest.raises(RuntimeError, match="persistent=True"):
        outer.jacobian(g, v)


def test_values_in_the_middle_are_sources():
    v = Variable(2.0)
    with GradientTape() as tape:
        y = v * v
        z = np.exp(y)
    assert tape.gradient(z, y) == np.float32(np.exp(np.float32(4)))


def test_a_variable_that_is_assigned_to_between_its_uses():
    v = Variable(2.0)
    with GradientTape() as tape:
        y = v * v  # 2 v = 4
        v.assign(10.0)
        z = v * v  # 2 v = 20
        total = y + z
    assert float(total) == 104 and tape.gradient(total, v) == 24


def test_what_was_recorded_keeps_the_numbers_of_then():
    v = Variable(2.0)
    with GradientTape() as tape:
        y = v * v
    v.assign(100.0)
    assert tape.gradient(y, v) == 4


def test_an_inner_tape_sees_what_it_has_recorded_itself():
    v = Variable(3.0)
    with GradientTape() as outer:
        y = v * v
        with GradientTape() as inner:
            z = y * v
        inside = inner.gradient(z, v)  # y counts as given: 9
    assert float(inside) == 9 and outer.gradient(z, v) == 27


def test_nothing_is_recorded_while_paused_or_after():
    v = Variable(3.0)
    with GradientTape(persistent=True) as tape:
        y = v * v
        with tape.stop_recording():
            z = v * v
    assert isinstance(z, np.floating) and tape.gradient(z * 1.0 if False else y, v) == 6
    after = y * 2.0
    assert not isinstance(after, _core.Value) and after == 18


def test_values_of_a_tape_that_has_ended_are_constants_for_another():
    v = Variable(3.0)
    with GradientTape() as tape:
        state = v * 2.0
    with GradientTape() as tape2:
        y = state * v
    assert tape2.gradient(y, v) == 6
    with GradientTape() as tape3:
        tape3.watch(state)
        y = v * state
    assert tape3.gradient(y, state) == 3
    assert tape.gradient(state, v) == 2


def test_a_kept_loss_does_not_keep_its_tape():
    v = Variable(np.ones(1000))
    with GradientTape() as tape:
        y = np.sum(v * v)
    core = y.owner
    assert core is not None
    tape.gradient(y, v)
    assert y.owner is None and float(y) == 1000
    record = weakref.ref(tape)
    del tape, core
    gc.collect()
    assert record() is None and float(y) == 1000


def test_more_than_sixteen_sources():
    many = [Variable(float(k)) for k in range(40)]
    with GradientTape() as tape:
        y = sum((v * v for v in many), 0.0)
    assert [float(g) for g in tape.gradient(y, many)] == [2.0 * k for k in range(40)]


# ---- operators and NumPy's functions ----------------------------------------------------------

A = rng(1).normal(size=(3, 4))
B = rng(2).normal(size=(4, 2))
FUNCTIONS = {
    "arithmetic": (lambda a: (2 * a + 1 - a / 3) * -(a**2.0) + 1 / (a * a + 2), A),
    "matmul": (lambda a, b: a @ b, A, B),
    "matmul of vectors": (lambda a, b: a @ b, A[0], B),
    "dot of vectors": (np.dot, A[0], B[:, 0]),
    "ufuncs": (lambda a: np.exp(a) + np.log(a * a + 1) + np.sqrt(np.square(a) + 1) + np.tanh(a), A),
    "maximum": (lambda a: np.maximum(a, 0.1) + np.minimum(a, np.abs(a) - 1), A),
    "activations": (lambda a: pyact.gelu(a) + pyact.softplus(a) + pyact.elu(a, alpha=0.5), A),
    "sum": (lambda a: np.sum(a, axis=0) + a.mean() + a.sum(axis=1, keepdims=True), A),
    "extremes": (lambda a: np.max(a, axis=1) + np.min(a), A),
    "variance": (lambda a: np.var(a, axis=0) + np.std(a, ddof=1), A),
    "shapes": (lambda a: np.reshape(a, (4, 3)) @ a.T.reshape(4, 3).transpose(1, 0), A),
    "axes": (lambda a: np.squeeze(np.expand_dims(a, 1), 1) + np.swapaxes(a, 0, 1).T, A),
    "joined": (lambda a: np.concatenate([a, 2 * a], axis=1) + np.stack([a, a])[0, 0, 0], A),
    "indexing": (lambda a: a[1:, ::-2] * a[0, -1] + a[..., None, 2][:2], A),
    "clip": (lambda a: np.clip(a, -0.5, 0.5), A),
    "iteration": (lambda a: sum(row * row for row in a), A),
    "broadcast": (lambda a: np.broadcast_to(a[0], (5, 4)) * a[0, 0], A),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_and_their_gradients(name):
    f, *inputs = FUNCTIONS[name]
    tape, values = watched(*inputs)
    try:
        y = f(*values)
    finally:
        tape.__exit__()
    np.testing.assert_allclose(y.numpy(), f(*inputs), rtol=1e-12, atol=1e-14)
    assert pyact.check_grad(f, list(inputs)) < 1e-7


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_traced_give_the_same(name):
    f, *inputs = FUNCTIONS[name]
    traced = pyact.function(f)
    for _ in range(2):
        np.testing.assert_allclose(traced(*inputs), f(*inputs), rtol=1e-12, atol=1e-14)
    assert traced.traces == 1


def test_python_decides_by_numbers():
    v = Variable(3.0)
    with GradientTape() as tape:
        y = v * v if v * 1.0 > 2 else v
        while y < 100:
            y = y * v
    assert tape.gradient(y, v) == 5 * 81


def test_what_cannot_be_recorded_is_refused_and_names_the_line():
    v = Variable([1.0, 2.0])
    with GradientTape(), pytest.raises(TypeError, match=r"test_autodiff.py, line \d+: np.sin"):
        np.sin(v)
    with GradientTape(), pytest.raises(TypeError, match=r"test_autodiff.py, line \d+: np.cov"):
        np.cov(v * 2)
    with GradientTape(), pytest.raises(TypeError, match="in place"):
        v += 1.0
    assert np.sin(v).shape == (2,) and np.cumsum(v).tolist() == [1, 3]


def test_watch_refuses_what_it_cannot_follow():
    with GradientTape() as tape, pytest.raises(TypeError, match=r"pyact\.constant"):
        tape.watch(np.ones(3))


# ---- gradients of gradients -------------------------------------------------------------------

SECOND = {
    "power": lambda a: np.sum(a**3.0),
    "square": lambda a: np.sum(np.square(a) * a),
    "exp": lambda a: np.sum(np.exp(a) * a / (1 + a * a)),
    "log": lambda a: np.sum(np.log(a * a + 1)),
    "tanh of matmul": lambda a: np.mean(np.tanh(a @ B) ** 2.0),
    "sigmoid": lambda a: np.sum(pyact.sigmoid(a) * a[::-1, 1:2]),
    "gelu": lambda a: np.sum(pyact.gelu(a)),
    "silu": lambda a: np.sum(pyact.silu(a, beta=1.5)),
    "softplus": lambda a: np.sum(pyact.softplus(a) * a),
    "elu": lambda a: np.sum(pyact.elu(a, alpha=0.7) * a) + np.sum(pyact.selu(a) * a),
    "softmax": lambda a: np.sum(ops.softmax(a) * ops.log_softmax(2 * a)),
    "logsumexp": lambda a: np.sum(ops.logsumexp(a, axis=1) ** 2.0),
    "dense": lambda a: np.sum(ops.dense(a, B, activation="tanh") ** 2.0),
    "joined": lambda a: np.sum(np.concatenate([a, a * a], axis=1)[:, 1:6:2] ** 3.0),
    "loss": lambda a: ops.loss_mse(np.tanh(a), A + 1),
    "var": lambda a: np.var(np.transpose(a), axis=0).sum() * np.maximum(a, 0).sum(),
}


@pytest.mark.parametrize("name", SECOND)
def test_gradients_of_gradients(name):
    f = SECOND[name]
    weights = rng(5).normal(size=A.shape)

    def slope(x):
        with GradientTape() as tape:
            tape.watch(x)
            y = f(x)
        return np.sum(tape.gradient(y, x) * weights)

    x = constant(A)
    with GradientTape() as outer:
        outer.watch(x)
        value = slope(x)
    second = outer.gradient(value, x)
    h = 1e-5
    for at in np.ndindex(A.shape):
        moved = []
        for sign in (h, -h):
            other = A.copy()
            other[at] += sign
            moved.append(float(slope(constant(other))))
        numeric = (moved[0] - moved[1]) / (2 * h)
        assert abs(second[at] - numeric) < 1e-6 * max(1, abs(numeric)), (name, at)


def test_a_third_gradient():
    x = constant(2.0, "float64")
    with GradientTape() as t1:
        t1.watch(x)
        with GradientTape() as t2:
            t2.watch(x)
            with GradientTape() as t3:
                t3.watch(x)
                y = x * x * x * x
            first = t3.gradient(y, x)
        second = t2.gradient(first, x)
    third = t1.gradient(second, x)
    assert (float(first), float(second), float(third)) == (32, 48, 48)


def test_a_second_gradient_without_a_rule_is_refused_not_wrong():
    v = Variable([1.0, 2.0])
    with GradientTape() as outer:
        with GradientTape() as inner:
            y = np.sum(pyact.mish(v) * np.max(v))
        first = inner.gradient(y, v)
        z = np.sum(first * first)
    assert first.shape == (2,)
    with pytest.raises(NotImplementedError, match="gradient of a gradient"):
        outer.gradient(z, v)


# ---- layers, models, losses, optimizers -------------------------------------------------------


def small_model(seed=3):
    pyact.set_seed(seed)
    model = pyact.Sequential(
        [layers.Input((4,)), layers.Dense(6, "tanh"), layers.Dense(3, "sigmoid"), layers.Dense(1)]
    )
    return model


@pytest.mark.parametrize("make", [
    lambda: optimizers.SGD(0.1, momentum=0.9), lambda: optimizers.Adam(0.01),
    lambda: optimizers.Adam(0.01, clipnorm=0.1), lambda: optimizers.SGD(0.1, global_clipnorm=0.05),
    lambda: optimizers.RMSprop(0.01, weight_decay=0.01),
])  # fmt: skip
def test_steps_by_a_tape_give_the_bits_of_fit(make):
    x = rng(1).normal(size=(8, 4)).astype(np.float32)
    y = np.sin(x.sum(axis=1, keepdims=True))
    by_fit, by_tape = small_model(), small_model()
    by_tape.set_weights(by_fit.get_weights())
    by_fit.compile(make(), "mse")
    opt, loss = make(), losses.MeanSquaredError()
    for _ in range(5):
        by_fit.train_on_batch(x, y)
        with GradientTape() as tape:
            value = loss(y, by_tape(x, training=True))
        grads = tape.gradient(value, by_tape.trainable_weights)
        opt.apply_gradients(zip(grads, by_tape.trainable_weights, strict=True))
    for a, b in zip(by_fit.get_weights(), by_tape.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    assert opt.iterations == 5


def test_gradients_in_the_input_of_a_model():
    model = small_model()
    x = constant(rng(1).normal(size=(2, 4)).astype(np.float32))
    with GradientTape() as tape:
        tape.watch(x)
        y = np.sum(model(x))
    grad = tape.gradient(y, x)
    h = 1e-2
    moved = np.array(x)
    moved[0, 1] += h
    other = np.array(x)
    other[0, 1] -= h
    numeric = (model(moved).sum() - model(other).sum()) / (2 * h)
    assert abs(grad[0, 1] - numeric) < 1e-3


def test_losses_under_a_tape_are_those_of_arrays():
    model = small_model()
    x, t = rng(1).normal(size=(5, 4)).astype("f"), rng(2).normal(size=(5, 1))
    for loss in (losses.MeanSquaredError(), losses.Huber(), losses.mean_absolute_error):
        with GradientTape():
            value = loss(t, model(x))
        np.testing.assert_allclose(
            np.mean(value.numpy()), np.mean(loss(t, model(x))), rtol=1e-6
        )  # fmt: skip
    labels = np.array([0, 2, 1, 1, 0])
    logits = Variable(rng(3).normal(size=(5, 3)))
    loss = losses.SparseCategoricalCrossentropy(from_logits=True)
    with GradientTape() as tape:
        value = loss(labels, logits * 1.0)
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(tape.gradient(value, logits), (p - np.eye(3)[labels]) / 5, atol=1e-6)
    with GradientTape(), pytest.raises(ValueError, match="class label"):
        loss(labels + 2, logits * 1.0)


def test_apply_gradients_refuses_what_does_not_fit():
    v, opt = Variable([1.0, 2.0]), optimizers.SGD(0.1)
    for pairs, error, text in (
        ([(None, v)], ValueError, "no variable has a gradient"),
        ([(np.ones(3), v)], ValueError, "shape"),
        ([(np.ones(2), v), (np.ones(2), v)], ValueError, "twice"),
        ([(np.ones(2), np.ones(2))], TypeError, "variable"),
    ):
        with pytest.raises(error, match=text):
            opt.apply_gradients(pairs)
    assert v.tolist() == [1, 2] and opt.iterations == 0


def test_a_variable_is_an_array():
    v = Variable([[1, 2], [3, 4]], name="v")
    assert v.dtype == np.float32 and v.name == "v" and (v + 1).tolist() == [[2, 3], [4, 5]]
    assert type(v + 1) is np.ndarray and "Variable 'v'" in repr(v)
    v.assign_sub(np.ones((2, 2)))
    assert v.tolist() == [[0, 1], [2, 3]]
    with pytest.raises(ValueError, match="shape"):
        v.assign(np.ones(2))
    with pytest.raises(TypeError, match="real numbers"):
        Variable("text")


# ---- value_and_grad and check_grad ------------------------------------------------------------


def test_value_and_grad():
    f = pyact.value_and_grad(lambda p, x: np.sum((p["w"] * x + p["b"]) ** 2.0))
    value, grad = f({"w": np.ones(2), "b": 1.0}, np.array([1.0, 2.0]))
    assert value == 13 and grad["w"].tolist() == [4, 12] and grad["b"] == 10
    both = pyact.value_and_grad(lambda a, b: np.sum(a * b), argnums=(0, 1))
    assert both(np.array(2.0), np.array(3.0))[1] == (3, 2)
    with pytest.raises(ValueError, match="one number"):
        pyact.value_and_grad(lambda x: x * 2)(np.ones(2))
    assert pyact.value_and_grad(lambda x: 1.0)(np.ones(2))[1].tolist() == [0, 0]
    with pytest.raises(IndexError, match="argument 1, but 1"):
        pyact.value_and_grad(np.sum, argnums=(0, 1))(np.ones(2))
    with pytest.raises(TypeError, match="expected a function"):
        pyact.value_and_grad(3.0)
    with pytest.raises(TypeError, match="argnums"):
        pyact.value_and_grad(np.sum, argnums="x")


def test_value_and_grad_with_more_than_a_value():
    f = pyact.value_and_grad(lambda w, x: (np.sum((w * x) ** 2.0), {"y": w * x}), has_aux=True)
    (value, aux), grad = f(np.array([1.0, 2.0]), np.array([3.0, 1.0]))
    assert value == 13 and grad.tolist() == [18, 4]
    assert type(aux["y"]) is np.ndarray and aux["y"].tolist() == [3, 2]
    with pytest.raises(TypeError, match="has_aux"):
        pyact.value_and_grad(lambda x: np.sum(x), has_aux=True)(np.ones(2))


def test_check_grad_finds_a_wrong_gradient():
    def wrong(x):  # its value moves with x, its gradient does not know
        return np.sum(x * x) + np.sum(ops.stop_gradient(x))

    with pytest.raises(AssertionError, match="input 0, element"):
        pyact.check_grad(wrong, np.array([1.0, 2.0]))


# ---- traced functions -------------------------------------------------------------------------


def test_a_function_is_recorded_once_for_each_shape():
    runs = []

    @pyact.function
    def f(x, k=2):
        runs.append(x.shape)
        return {"y": x * k, "same": x, "text": "as it is"}

    a, b = np.arange(3.0), np.arange(4.0)
    assert f(a)["y"].tolist() == [0, 2, 4] and f(a + 1)["y"].tolist() == [2, 4, 6]
    assert f(a)["text"] == "as it is" and f(a)["same"].tolist() == [0, 1, 2]
    f(b), f(b.astype("f")), f(a, k=3)
    assert runs == [(3,), (4,), (4,), (3,)] and f.traces == 4


def test_what_a_function_returns_is_written_where_it_stays():
    """Results are computed into the caller's arrays: each has its own, also where several are
    one value in other shapes, and the next call leaves them alone."""

    @pyact.function
    def f(x):
        y = np.square(x)
        z = y + 1
        return y, y, np.reshape(y, (2, 3)), z, x, np.sum(z)

    x = np.arange(6.0)
    first = f(x)
    kept = [np.array(r) for r in first]
    second = f(x + 1)
    for a, b, c, power in zip(first, kept, second, (2, 2, 2), strict=False):
        assert np.array_equal(a, b)
        assert np.array_equal(np.ravel(c), (x + 1) ** power)
    assert np.array_equal(first[3], x**2 + 1) and np.array_equal(second[3], (x + 1) ** 2 + 1)
    assert np.array_equal(first[4], x) and float(second[5]) == ((x + 1) ** 2 + 1).sum()
    arrays = [r for r in (*first, *second) if isinstance(r, np.ndarray) and r.ndim]
    for i, a in enumerate(arrays):
        assert not any(np.shares_memory(a, b) for b in arrays[:i])


def test_a_function_sees_variables_as_they_are():
    v = Variable([1.0, 2.0])

    @pyact.function
    def f(x):
        return np.sum(np.square(v)) + x  # an operator on weights alone is recorded, too

    assert f(np.float32(1)) == 6
    v.assign([3.0, 4.0])
    assert f(np.float32(1)) == 26


def settled():
    body = Sequential([layers.Dense(3, activation="tanh")])
    return layers.Feedback(body, combine="affine", passes=50, tolerance=1e-6)


TRAINED = {
    "dense": lambda: (small_model(), (5, 4)),
    "images": lambda: (Sequential([
        layers.Conv2D(3, 3, activation="relu"), layers.MaxPooling2D(), layers.BatchNormalization(),
        layers.Flatten(), layers.Dense(2)]), (4, 8, 8, 2)),
    "branches": lambda: (Sequential([
        layers.Conv2D(3, 3), layers.Conv2DTranspose(2, 2, strides=2), layers.Flatten()]),
        (2, 5, 5, 1)),
    "sequence": lambda: (Sequential([
        layers.Bidirectional(layers.LSTM(3, return_sequences=True)), layers.GRU(3),
        layers.Dense(1)]), (3, 6, 2)),
    "words": lambda: (Sequential([layers.Embedding(7, 3), layers.SimpleRNN(4)]), (4, 5)),
    "settled": lambda: (Sequential([settled()]), (4, 3)),
}  # fmt: skip


@pytest.mark.parametrize("kind", TRAINED)
def test_a_training_step_in_a_function_gives_the_gradients_of_the_tape_to_the_bit(kind):
    pyact.set_seed(3)
    model, shape = TRAINED[kind]()
    x = rng(1).normal(size=shape).astype("f")
    if kind == "words":
        x = rng(1).integers(0, 7, shape).astype("i")
    t = rng(2).normal(size=model(x).shape).astype("f")

    def step(x, t):
        with GradientTape() as tape:
            loss = losses.MeanSquaredError()(t, model(x, training=True))
        return loss, tape.gradient(loss, model.trainable_weights)

    loss, grads = step(x, t)
    again, traced = pyact.function(step)(x, t)
    assert float(again) == float(loss)
    for a, b in zip(grads, traced, strict=True):
        assert np.any(a != 0) and np.array_equal(a, b)


def test_a_tape_in_a_function_walks_back_as_often_and_from_where_it_is_told():
    conv = layers.Conv2D(2, 3)
    x = rng(1).normal(size=(2, 5, 5, 1)).astype("f")
    seed = rng(2).normal(size=conv(x).shape).astype("f")

    def step(x, seed):
        with GradientTape(persistent=True) as tape:
            tape.watch(x)
            y = conv(x)
            z = np.maximum(y, 0.0)
        return (tape.gradient(y, [x, conv.kernel], output_gradients=seed),
                tape.gradient([y, z], conv.bias), tape.gradient(y, conv.bias))  # fmt: skip

    watched = pyact.constant(x)
    eager, traced = step(watched, seed), pyact.function(step)(x, seed)
    for a, b in zip(eager[0] + list(eager[1:]), traced[0] + list(traced[1:]), strict=True):
        assert np.array_equal(a, b)
    assert traced[2].tolist() == [18, 18]


def test_a_second_gradient_in_a_function_needs_rules():
    conv, dense = layers.Conv2D(2, 3), layers.Dense(2, activation="tanh")
    image, row = np.ones((1, 4, 4, 1), np.float32), np.ones((1, 3), np.float32)
    conv(image), dense(row)

    def penalty(layer):
        def of(x):
            with GradientTape() as outer:
                with GradientTape() as inner:
                    inner.watch(x)
                    y = np.sum(layer(x))
                slope = np.sum(np.square(inner.gradient(y, x)))
            return outer.gradient(slope, layer.kernel)

        return of

    expected = penalty(dense)(pyact.constant(row))
    np.testing.assert_allclose(pyact.function(penalty(dense))(row), expected, rtol=1e-5)
    with pytest.raises(NotImplementedError, match=r"gradient through 'conv2d' has no rule.*dense"):
        pyact.function(penalty(conv))(image)


@pytest.mark.parametrize("kind", ["dense", "conv", "constant"])
def test_a_loss_that_takes_gradients_is_trained_where_they_have_rules(kind):
    """The gradient of a recorded backward pass is refused by name, not taken for 0."""
    pyact.set_seed(0)
    layer = layers.Dense(1) if kind == "dense" else layers.Conv2D(1, (1, 3))
    x = rng(1).normal(size=(8, 3) if kind == "dense" else (8, 1, 3, 1)).astype("f")

    def loss(t, y):
        with GradientTape() as tape:
            z = np.sum(np.square(layer(x)))
        size = tape.gradient(z, layer.kernel)
        size = np.sum(np.square(size))
        return np.mean(np.square(t - y)) + (ops.stop_gradient(size) if kind == "constant" else size)

    model = Sequential([layer])
    model.compile(optimizer=pyact.optimizers.SGD(1e-4), loss=loss)
    if kind == "conv":
        with pytest.raises(ValueError, match="gradient of a gradient through 'conv2d' has no rule"):
            model.fit(x, np.zeros_like(model(x)), epochs=1, verbose=0)
    else:
        done = model.fit(x, np.zeros_like(model(x)), epochs=9, verbose=0).history["loss"]
        assert done[-1] < done[0]


def test_what_cannot_be_traced_is_refused_and_names_the_line():
    v = Variable(1.0)

    def decides(x):
        return x if np.sum(x) > 0 else -x

    def leaves(x):
        return np.fft.fft(x)

    def assigns(x):
        v.assign(2.0)
        return x * v

    for f, text in ((decides, "symbolic"), (leaves, "np.fft"), (assigns, "assigned")):
        with pytest.raises(TypeError, match=text) as caught:
            pyact.function(f)(np.ones(3))
        if f is not assigns:
            assert f"test_autodiff.py, line {f.__code__.co_firstlineno + 1}" in str(caught.value)


def test_functions_of_methods_and_inside_tapes():
    class Affine:
        def __init__(self, k):
            self.w = Variable(k)

        @pyact.function
        def __call__(self, x):
            return x * self.w

    two, three = Affine(2.0), Affine(3.0)
    x = np.ones(2, np.float32)
    assert two(x).tolist() == [2, 2] and three(x).tolist() == [3, 3]
    with GradientTape() as tape:
        y = np.sum(two(x) * three(x))
    assert [float(g) for g in tape.gradient(y, [two.w, three.w])] == [6, 4]


# ---- layers and losses of one's own, traced by fit --------------------------------------------


class Scaled(layers.Layer):
    traced = 0

    def build(self, input_shape):
        self.scale = self.add_weight("scale", input_shape[-1:], "ones")

    def call(self, x, training=False):
        type(self).traced += 1
        norm = np.sqrt(np.sum(np.square(self.scale)))  # on the weight alone
        return np.tanh(x) * self.scale / norm


def robust(y_true, y_pred):
    e = y_pred - y_true
    return np.mean(np.sqrt(e * e + 1.0), axis=-1)


def test_layers_and_losses_of_ones_own_are_traced_once_in_fit():
    x = rng(1).normal(size=(64, 4)).astype("f")
    y = np.tanh(x) @ np.array([[1.0], [0.5], [-1.0], [2.0]], "f")
    model = pyact.Sequential([layers.Input((4,)), Scaled(), layers.Dense(1)])
    Scaled.traced = 0
    model.compile(optimizers.Adam(0.05), robust)
    history = model.fit(x, y, batch_size=16, epochs=30, verbose=0)
    assert Scaled.traced == 1, "once for one batch size, whatever the number of batches"
    assert history.history["loss"][-1] < 1.05 < history.history["loss"][0]
    scale = model.layers[0].scale
    assert np.ptp(np.asarray(scale)) > 0.01, "the weight has learned through its norm"


def test_a_layer_that_cannot_be_traced_names_its_line():
    class Looks(layers.Layer):
        def call(self, x, training=False):
            return x if np.mean(x) > 0 else -x

    model = pyact.Sequential([layers.Input((4,)), layers.Dense(2)])
    with pytest.raises(TypeError, match=r"test_autodiff.py, line \d+: .*symbolic"):
        model.add(Looks())


def test_every_element_wise_operator_has_its_derivative_as_an_operator():
    x = rng(7).normal(size=50)
    for name in (n for n in ops.__all__ if _core.op_info(n)["kind"] == "map"):
        at = np.abs(x) if name in ("log", "sqrt") else x
        np.testing.assert_array_equal(
            ops.derivative(at, of=name), getattr(pyact.activations, f"{name}_grad")(at)
        )
    with pytest.raises(ValueError, match="element-wise"):
        ops.derivative(x, of="softmax")
    with pytest.raises(ValueError, match="element-wise"):
        ops.derivative(x)


def test_twice_differentiable_names_operators():
    assert set(autodiff.twice_differentiable()) <= set(ops.__all__)
