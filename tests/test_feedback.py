"""Feedback loops against the same loops written out in NumPy."""

from __future__ import annotations

import signal
import time

import numpy as np
import pytest

import pyact
from pyact import Sequential, _core, layers
from pyact.layers import Dense, Feedback, Input


def numbers(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


def written_out(loop, x, steps):
    """The loop with a tanh layer and a linear one as its body."""
    w = [layer.get_weights() for layer in loop._inner]
    fed = np.zeros((max(loop.delays), len(x), w[loop.tap][1].size))
    seen = []
    for t in range(steps):
        now = x[:, t] if x.ndim == 3 else x
        f = np.concatenate([fed[-d] for d in loop.delays], axis=1)
        if loop.combine == "sum":
            z = now + sum(fed[-d] for d in loop.delays)
        elif loop.combine == "concatenate":
            z = np.concatenate([now, f], axis=1)
        elif loop.combine == "affine":
            z = now + f @ loop.feedback_kernel + loop.feedback_bias
        else:
            s = 1 / (1 + np.exp(-(now @ loop.gate + f @ loop.gate_kernel + loop.feedback_bias)))
            z = now + s * (f @ loop.feedback_kernel)
        h = np.tanh(z @ w[0][0] + w[0][1])
        y = h @ w[1][0] + w[1][1]
        fed = np.concatenate([fed[1:], (h if loop.tap == 0 else y)[None]])
        seen.append(y)
    return np.stack(seen, axis=1)


def make(combine="affine", units=3, **keywords):
    return Feedback([Dense(5, "tanh", dtype="float64"), Dense(units, dtype="float64")],
                    combine, **keywords)  # fmt: skip


def check_slopes(model, weights, gradients, x, y):
    """The first and last element of each weight's gradient of the mean squared error against
    finite differences."""

    def loss(weights):
        model.set_weights(weights)
        return ((model.predict(x) - y) ** 2).mean()

    for k, w in enumerate(weights):
        for at in [(0,) * w.ndim, tuple(n - 1 for n in w.shape)]:
            up, down = ([a.copy() for a in weights] for _ in range(2))
            up[k][at] += 1e-5
            down[k][at] -= 1e-5
            slope = (loss(up) - loss(down)) / 2e-5
            assert gradients[k][at] == pytest.approx(slope, abs=1e-8), (k, at)


@pytest.mark.parametrize("combine", ["affine", "sum", "concatenate", "gate"])
@pytest.mark.parametrize("delays", [1, (1, 3), (2,), tuple(range(1, 21))])
def test_the_loop_is_the_loop_written_out(combine, delays):
    x = numbers(2, 6, 3)
    loop = make(combine, delays=delays)
    want = None
    y = loop(x)
    want = written_out(loop, x, 6)
    np.testing.assert_allclose(y, want, atol=1e-12)
    assert loop.compute_output_shape((None, 6, 3)) == (None, 6, 3)
    twin = Feedback.from_config(loop.get_config())
    twin(x)
    twin.set_weights(loop.get_weights())
    assert np.array_equal(twin(x), y)
    model = Sequential([Input((6, 3), dtype="float64"), loop])
    np.testing.assert_allclose(model.predict(x), y, atol=1e-12)


def test_a_hidden_layer_may_be_fed_back():
    loop, x = make(tap=0, units=1), numbers(2, 20, 4)
    np.testing.assert_allclose(loop(x), written_out(loop, x, 20), atol=1e-12)


def test_passes_let_the_answer_re_enter():
    loop, x = make("affine", passes=4), numbers(2, 3)
    np.testing.assert_allclose(loop(x), written_out(loop, x, 4)[:, -1], atol=1e-12)


def test_a_fixed_point_and_the_gradient_through_it():
    """Against the implicit function theorem with a solved linear system, in NumPy."""
    x, target = numbers(3, 4), numbers(3, 4, seed=1)
    loop = Feedback(Dense(4, "tanh", dtype="float64"), "sum", passes=60, tolerance=1e-13)
    model = Sequential([Input((4,), dtype="float64"), loop])
    model.compile(pyact.optimizers.SGD(1.0), "mse")
    w, b = 0.3 * numbers(4, 4, seed=2), numbers(4, seed=3)
    model.set_weights([w, b])
    y = model.predict(x)
    np.testing.assert_allclose(y, np.tanh((x + y) @ w + b), atol=1e-12)  # it is at rest
    model.train_on_batch(x, target)
    dw, db = (a - c for a, c in zip((w, b), model.get_weights(), strict=True))
    want_w, want_b = np.zeros((4, 4)), np.zeros(4)
    for row in range(3):
        slope = 1 - y[row] ** 2
        jacobian = slope[:, None] * w.T  # of y in the y that is fed back
        adjoint = np.linalg.solve(np.eye(4) - jacobian.T, 2 * (y[row] - target[row]) / 12)
        want_w += np.outer(x[row] + y[row], adjoint * slope)
        want_b += adjoint * slope
    np.testing.assert_allclose(dw, want_w, atol=1e-10)
    np.testing.assert_allclose(db, want_b, atol=1e-10)
    assert Feedback.from_config(loop.get_config()).tolerance == 1e-13


def test_a_row_at_rest_stays():
    """Halving steps: rows come to rest where they move by the tolerance, whatever follows."""
    loop = Feedback(Dense(1, dtype="float64"), "sum", passes=30, tolerance=0.1)
    x = np.array([[1.0], [8.0]])
    loop(x)
    loop.set_weights([np.full((1, 1), 0.5), np.zeros(1)])
    found = loop._rest(x, np.zeros((2, 1)), False)
    np.testing.assert_allclose(found, [[0.875], [7.875]])  # x (1 - 2^-k), the last step above .1


def settling(passes=10**9, tolerance=1e-11, batch_rows=3, combine="gate", dropout=0.0):
    """A deep contracting loop whose values a program keeps in little memory, and its data."""
    pyact.set_seed(1)
    body = [Dense(9, "tanh", dtype="float64"), layers.Dropout(dropout, dtype="float64"),
            Dense(7, "softplus", dtype="float64"), Dense(4, "tanh", dtype="float64")]  # fmt: skip
    loop = Feedback(body, combine, tap=2, passes=passes, tolerance=tolerance)
    model = Sequential([Input((5,), dtype="float64"), Dense(6, dtype="float64"), loop])
    model.compile(pyact.optimizers.SGD(1.0), "mse")
    model.set_weights([0.4 * w for w in model.get_weights()])
    return model, loop, numbers(batch_rows, 5), numbers(batch_rows, 4, seed=1)


@pytest.mark.parametrize("combine", ["affine", "gate", "concatenate"])
def test_a_fixed_point_ends_when_it_is_found(combine):
    """A thousand million passes are allowed: the loop must stop, at once, on a tape, in
    programs, forward and backward."""
    model, loop, x, y = settling(combine=combine)
    found = model.predict(x)
    h = np.asarray(model.layers[0](x))
    np.testing.assert_allclose(loop(h), found, atol=1e-9)
    once = settling(60, combine=combine)[0]
    assert np.array_equal(once.predict(x), found), "passes is a limit and nothing else"
    with pyact.GradientTape() as tape:
        loss = np.mean(np.square(model(x) - y))
    taped = tape.gradient(loss, model.trainable_weights)
    before = model.get_weights()
    model.train_on_batch(x, y)
    for a, b, g in zip(before, model.get_weights(), taped, strict=True):
        np.testing.assert_array_equal(a - g, b)
    model.set_weights(before)
    check_slopes(model, before, taped, x, y)


def test_what_a_loop_reads_lasts_through_it():
    """A value that nothing reads behind the loop must not be overwritten in its first round."""
    x, k, up, down = numbers(4, 8), numbers(8, 8), 0.2 * numbers(8, 8), 0.2 * numbers(8, 8)
    graph = _core.Graph()
    given = graph.input(x.shape, np.float64)
    before = graph.apply("matmul", (given, k))
    f = graph.apply("reenter", (graph.const(np.zeros_like(x)),))
    inside = graph.apply("add", (graph.apply("matmul", (f, up)), before))
    fresh = graph.apply("matmul", (graph.apply("tanh", (inside,)), down))
    y, moving = graph.apply("settle", (f, fresh), {"rounds": 10**6, "tolerance": 1e-13})
    program = _core.Program(graph, outputs=(y, moving))
    found, left = _core.execute(program, (x,))
    want = np.zeros_like(x)
    for _ in range(200):
        want = np.tanh(want @ up + x @ k) @ down
    np.testing.assert_allclose(found, want, atol=1e-11)
    assert left == 0


def test_what_a_row_becomes_does_not_depend_on_the_others():
    model, _, x, _ = settling(tolerance=1e-3, batch_rows=8)
    many = model.predict(x)
    for k in range(8):
        np.testing.assert_allclose(model.predict(x[k : k + 1]), many[k : k + 1], atol=1e-12)


def test_the_adjoint_rests_by_the_size_of_the_gradient():
    """A loss a million million times smaller has gradients as much smaller, no coarser."""
    _, loop, x, _ = settling(tolerance=1e-9, combine="affine")
    x = numbers(3, 6)
    loop(x)

    def gradient(scale):
        with pyact.GradientTape() as tape:
            loss = np.sum(loop(x)) * scale
        return np.asarray(tape.gradient(loss, loop.trainable_weights[0])) / scale

    np.testing.assert_allclose(gradient(1e-12), gradient(1.0), rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("way", ["at once", "tape", "program", "fit"])
def test_a_loop_that_never_rests_can_be_interrupted(way):
    """Its answer turns round and round for ever."""
    turn = Feedback(Dense(2, use_bias=False), "sum", passes=10**9, tolerance=0.0)
    model = Sequential([Input((2,)), turn])
    model.compile("sgd", "mse")
    model.set_weights([np.array([[0.0, 1.0], [-1.0, 0.0]])])
    x = np.ones((1, 2), np.float32)

    def stop(*_):
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, 0.2)
    try:
        began = time.perf_counter()
        with pytest.raises(KeyboardInterrupt):
            if way == "tape":
                with pyact.GradientTape():
                    turn(x)
            elif way == "fit":
                model.fit(x, x, verbose=0)
            else:
                (turn if way == "at once" else model.predict)(x)
        assert time.perf_counter() - began < 2
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def test_a_fixed_point_inside_a_fixed_point():
    pyact.set_seed(2)
    inner = Feedback(Dense(3, "tanh", dtype="float64"), "sum", passes=10**6, tolerance=1e-12)
    outer = Feedback([inner, Dense(3, dtype="float64")], "affine", passes=10**6, tolerance=1e-12)
    model = Sequential([Input((3,), dtype="float64"), outer])
    model.compile(pyact.optimizers.SGD(1.0), "mse")
    before = [0.3 * w for w in model.get_weights()]
    model.set_weights(before)
    x, y = numbers(4, 3), numbers(4, 3, seed=1)
    np.testing.assert_allclose(model.predict(x), outer(x), atol=1e-10)
    model.train_on_batch(x, y)
    moved = [a - b for a, b in zip(before, model.get_weights(), strict=True)]
    check_slopes(model, before, moved, x, y)


def halving(t, x, rounds, tolerance=0.0):
    """On a tape or graph: y = x + y / 2 from y = 0, which ends at 2 x; and what moved last."""
    f = t.apply("reenter", (np.zeros_like(x),))
    fresh = t.apply("add", (t.apply("multiply", (f, 0.5)), x))
    return t.apply("settle", (f, fresh), {"rounds": rounds, "tolerance": tolerance})


def recording():
    t = _core.Tape()
    t.recording = True
    return t


def test_rounds_are_a_limit():
    x = numbers(3, 2)
    for rounds, factor in (1, 1.0), (2, 1.5), (3, 1.75):
        y, moving = halving(recording(), x, rounds)
        np.testing.assert_allclose(y.numpy(), factor * x)
        assert moving.numpy() == 3
        graph = _core.Graph()
        program = _core.Program(graph, outputs=halving(graph, x, rounds))
        for _ in range(2):  # the second run counts its rounds anew
            found, left = _core.execute(program, ())
            np.testing.assert_allclose(found, factor * x)
            assert left == 3
    y, moving = halving(recording(), numbers(3, 0), 9)
    assert y.shape == (3, 0) and moving.numpy() == 0


def test_a_loop_inside_a_loop_on_a_tape():
    t, x = recording(), numbers(3, 2)
    f = t.apply("reenter", (np.zeros_like(x),))
    inner, _ = halving(t, x, 10**6, 1e-13)
    fresh = t.apply("add", (t.apply("multiply", (f, 0.5)), inner))
    y, _ = t.apply("settle", (f, fresh), {"rounds": 10**6, "tolerance": 1e-13})
    np.testing.assert_allclose(y.numpy(), 4 * x, atol=1e-11)


def test_what_changes_its_input_runs_once_for_a_loop():
    """The state of a layer inside: not once for each round."""
    t, x = recording(), numbers(3, 2)
    state = np.zeros_like(x)
    f = t.apply("reenter", (np.zeros_like(x),))
    fresh = t.apply("add", (t.apply("multiply", (f, 0.5)), x))
    assert t.apply("assign", (t.leaf(state), fresh)) is None
    y, _ = t.apply("settle", (f, fresh), {"rounds": 10**6, "tolerance": 1e-13})
    np.testing.assert_allclose(y.numpy(), 2 * x, atol=1e-11)
    np.testing.assert_array_equal(state, x)


def test_what_a_fixed_point_does_not_depend_on_has_no_gradient():
    t = recording()
    x, w = t.leaf(numbers(3, 2)), t.leaf(numbers(3, 2, seed=1))
    f = t.apply("reenter", (x,))
    y, _ = t.apply("settle", (f, t.apply("multiply", (w, 3.0))), {"rounds": 9})
    np.testing.assert_array_equal(y.numpy(), 3 * w.numpy())
    dx, dw = t.gradient(y, (x, w))  # it forgets where it began
    assert dx is None and (dw.numpy() == 3).all()
    assert t.gradient(y, (f,)) == (None,)
    z = t.apply("multiply", (w, 2.0))  # behind the loop, and without it
    assert (t.gradient(z, (w,))[0].numpy() == 2).all()
    alone, _ = t.apply("settle", (x, w))  # nothing re-enters: no loop
    assert t.gradient(alone, (x, w)) == (None, None)


def test_a_fixed_point_with_dropout_trains_to_the_same_bits_on_any_number_of_threads():
    got, before = [], pyact.get_num_threads()
    try:
        for threads in (1, 2):
            pyact.set_num_threads(threads)
            model, _, x, y = settling(dropout=0.2, batch_rows=64)
            model.fit(x, y, epochs=3, batch_size=32, verbose=0)
            got.append(model.get_weights())
    finally:
        pyact.set_num_threads(before)
    assert all(np.array_equal(a, b) for a, b in zip(*got, strict=True))


def test_gradients_flow_through_the_whole_loop():
    """One step of plain descent moves each weight by its finite difference."""
    x, y = numbers(2, 4, 3), numbers(2, 4, 3, seed=1)
    loop = make("gate", delays=(1, 2))
    model = Sequential([Input((4, 3), dtype="float64"), loop])
    model.compile(pyact.optimizers.SGD(1.0), "mse")
    before = model.get_weights()
    model.train_on_batch(x, y)
    moved = [b - a for b, a in zip(before, model.get_weights(), strict=True)]
    check_slopes(model, before, moved, x, y)


def taught(schedule, x, truth, steps=1, **keywords):
    """The weights' changes by plain descent, and the model."""
    pyact.set_seed(3)
    loop = make("concatenate", teacher_forcing=schedule, **keywords)
    data, words = (pyact.Input(a.shape[1:], dtype="float64") for a in (x, truth))
    model = pyact.Model([data, words], loop(data, teacher=words))
    model.compile(pyact.optimizers.SGD(1.0), "mse")
    before = model.get_weights()
    for _ in range(steps):
        model.train_on_batch([x, truth], truth)
    return [b - a for b, a in zip(before, model.get_weights(), strict=True)], model, loop


def test_a_taught_loop_is_a_network_that_is_told_the_truth_before():
    """Probability 1: the gradient is that of the body on (x_t, truth_(t-1))."""
    x, truth = numbers(4, 5, 3), numbers(4, 5, 3, seed=1)
    moved, model, loop = taught(1.0, x, truth)
    told = np.concatenate([x, np.concatenate([np.zeros((4, 1, 3)), truth[:, :-1]], 1)], axis=2)
    plain = Sequential([Input((6,), dtype="float64"), Dense(5, "tanh", dtype="float64"),
                        Dense(3, dtype="float64")])  # fmt: skip
    start = [a + b for a, b in zip(model.get_weights(), moved, strict=True)]
    plain.set_weights(start)
    plain.compile(pyact.optimizers.SGD(1.0), "mse")
    plain.train_on_batch(told.reshape(-1, 6), truth.reshape(-1, 3))
    for a, b in zip(model.get_weights(), plain.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-12)
    # outside training nobody is told anything
    assert np.array_equal(model.predict([x, truth]), model.predict([x, 0 * truth]))
    assert Feedback.from_config(loop.get_config()).teacher_forcing == (1.0, 1.0, 0)


def test_teaching_stops_as_its_schedule_says():
    x, truth = numbers(4, 5, 3), numbers(4, 5, 3, seed=1)
    alone, told = (taught(p, x, truth, 1)[0] for p in (0.0, 1.0))
    assert any(not np.array_equal(a, b) for a, b in zip(alone, told, strict=True))
    falling, rising = (taught(s, x, truth, 1)[0] for s in ((1.0, 0.0, 5), (0, 1, 5)))
    for a, b in zip(falling + rising, told + alone, strict=True):
        np.testing.assert_array_equal(a, b)  # the first step is that of `begin`
    later = [taught(s, x, truth, 3)[0] for s in ((1.0, 0.0, 1), (0.5, 0.5, 1), 0.5)]
    assert all(np.array_equal(a, b) for a, b in zip(later[1], later[2], strict=True))
    assert any(not np.array_equal(a, b) for a, b in zip(later[0], later[1], strict=True))


def test_generate_goes_on_by_itself():
    loop, x = make(units=3), numbers(2, 5, 3)
    y = loop.generate(x, 4)
    assert y.shape == (2, 4, 3)
    fed = np.concatenate([x, y[:, :-1]], axis=1)
    np.testing.assert_allclose(loop(fed)[:, 4:], y, atol=1e-12)


def test_a_logistic_map_is_learned_and_goes_on_by_itself():
    """x' = 3.9 x (1 - x) is chaotic: errors double every 1.4 steps."""
    pyact.set_seed(0)
    s = [0.3]
    for _ in range(1200):
        s.append(3.9 * s[-1] * (1 - s[-1]))
    s = np.array(s)
    x = np.stack([s[k : k + 10] for k in range(0, 1000, 2)])[..., None]
    y = np.stack([s[k + 1 : k + 11] for k in range(0, 1000, 2)])[..., None]
    loop = Feedback([Dense(32, "tanh"), Dense(1)], combine="concatenate")
    model = Sequential([Input((10, 1)), loop])
    model.compile(pyact.optimizers.Adam(pyact.schedules.CosineDecay(0.01, 4800)), "mse")
    model.fit(x, y, epochs=300, batch_size=32, verbose=0)
    starts = np.arange(1000, 1180)
    known = np.stack([s[k : k + 10] for k in starts])[..., None]
    ahead = loop.generate(known, 3)[..., 0]
    error = np.abs(ahead - np.stack([s[k + 10 : k + 13] for k in starts])).mean(axis=0)
    assert (error < [0.02, 0.05, 0.1]).all(), error


def test_what_cannot_be_is_refused_by_name():
    bad = [
        (lambda: Feedback([]), "empty"),
        (lambda: make("afine"), "affine"),
        (lambda: make(delays=()), "delays"),
        (lambda: make(delays=(1, 1)), "delays"),
        (lambda: make(delays=0), "delays"),
        (lambda: make(tap=2), "tap"),
        (lambda: make(passes=0), "passes"),
        (lambda: make(tolerance=0.1), "passes="),
        (lambda: make(passes=2, tolerance=-1), "tolerance"),
        (lambda: make(passes=2**31, tolerance=1), "2147483647"),
        (lambda: make(passes=20_000), "10000"),
        (lambda: make(teacher_forcing=1.5), "0 to 1"),
        (lambda: make(teacher_forcing=(1, 0)), "begin, end, steps"),
        (lambda: make()(numbers(2, 5, 3), teacher=numbers(2, 5, 2)), r"\(2, 5, 3\)"),
        (lambda: make(passes=2)(numbers(2, 3), teacher=numbers(2, 5, 2)), "passes"),
        (lambda: make()(numbers(2, 3)), "expected"),
        (lambda: make()(numbers(2, 0, 3)), "at least one step"),
        (lambda: make("sum")(numbers(2, 5, 4)), "sum"),
        (lambda: make(units=2).generate(numbers(2, 5, 3), 2), "2 features"),
    ]
    for call, words in bad:
        with pytest.raises(ValueError, match=words):
            call()
    with pytest.raises(TypeError, match="expected a layer"):
        Feedback([Dense])
    assert "Feedback" in layers.__all__


def test_a_loop_that_diverges_is_named():
    loop = Feedback(Dense(2), "sum", name="echo")
    model = Sequential([Input((400, 2)), loop])
    model.compile("sgd", "mse")
    model.set_weights([np.full((2, 2), 3.0), np.zeros(2)])
    before = model.get_weights()
    state, since = np.zeros((1, 2), np.float32), 0
    with np.errstate(all="ignore"):
        while np.isfinite(state).all():
            state, since = (np.ones(2, np.float32) + state) @ np.full((2, 2), 3.0, "f"), since + 1
    words = rf"batch 0.*layer 'echo', from its step {since - 1} on"
    with pytest.raises(FloatingPointError, match=words):
        model.fit(np.ones((4, 400, 2)), np.ones((4, 400, 2)), verbose=0)
    assert all(np.array_equal(a, b) for a, b in zip(before, model.get_weights(), strict=True))
