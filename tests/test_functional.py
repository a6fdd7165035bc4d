"""Models of symbolic tensors: branches, shared layers, several inputs and outputs, models in
models, and what cannot be. The numbers are those of NumPy formulas."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
from oracle import normal
from reference_images import _conv, _conv_back

import pyact
from pyact import Input, Model, Sequential, layers, optimizers
from pyact.layers import LSTM, Add, Concatenate, Conv2D, Dense, Dropout, Embedding, Flatten


def rows(n=60, features=5, what="x"):
    return normal((n, features), what).astype(np.float32)


def bits(net):
    return [w.tobytes() for w in net.weights]


# ---- one way of training --------------------------------------------------------------------


def stacks():
    kinds = [
        Dense(16, "gelu", name="a"), Dropout(0.3, name="b"), layers.BatchNormalization(name="c"),
        Dense(3, "softmax", name="d"),
    ]  # fmt: skip
    row = Sequential([Input((5,)), *kinds])
    x = y = Input((5,))
    for layer in kinds:
        y = type(layer).from_config(layer.get_config())(y)
    net = Model(x, y)
    net.set_weights(row.get_weights())
    net._seed = row._seed
    return row, net


def test_a_row_of_layers_trains_to_the_same_bits_either_way():
    row, net = stacks()
    x, y = rows(), np.arange(60) % 3
    found = []
    for model in (row, net):
        model.compile("adam", "sparse_categorical_crossentropy", ["accuracy"])
        history = model.fit(x, y, epochs=3, verbose=0, validation_split=0.2)
        found.append((history.history, model.evaluate(x, y, verbose=0), model.predict(x).tobytes()))
    assert found[0] == found[1] and bits(row) == bits(net)
    assert len({id(w.block) for w in net.weights}) == 1  # one block, so one flat update


# ---- several inputs and outputs, against NumPy -------------------------------------------------


def two_and_two(form=list):
    a, b = Input((4,), name="a"), Input((3,), name="b")
    both = Dense(6, "tanh", name="shared")
    h = Concatenate(name="join")([both(a), both(Dense(4, name="widen")(b))])
    level, kind = Dense(1, name="level")(h), Dense(3, name="kind")(h)
    outputs = {"level": level, "kind": kind}
    if form is list:
        return Model([a, b], [level, kind], name="net")
    return Model({"a": a, "b": b}, outputs, name="net")


def numpy_step(w, a, b, level, kind, weights, rate):
    """Losses and new weights of one step of plain gradient descent, in float64."""
    widen, wb, shared, sb, lw, lb, kw, kb = w
    n = len(a)
    wide = b @ widen + wb
    p, q = np.tanh(a @ shared + sb), np.tanh(wide @ shared + sb)
    h = np.concatenate([p, q], 1)
    out, logits = h @ lw + lb, h @ kw + kb
    z = logits - logits.max(1, keepdims=True)
    probs = np.exp(z) / np.exp(z).sum(1, keepdims=True)
    mse = ((out - level) ** 2).mean()
    ce = -np.log(probs[np.arange(n), kind]).mean()
    d_out = weights[0] * 2 * (out - level) / n
    d_logits = weights[1] * (probs - np.eye(3)[kind]) / n
    dh = d_out @ lw.T + d_logits @ kw.T
    dp, dq = dh[:, :6] * (1 - p * p), dh[:, 6:] * (1 - q * q)
    d_wide = dq @ shared.T
    grads = [
        b.T @ d_wide, d_wide.sum(0), a.T @ dp + wide.T @ dq, dp.sum(0) + dq.sum(0),
        h.T @ d_out, d_out.sum(0), h.T @ d_logits, d_logits.sum(0),
    ]  # fmt: skip
    correct = (logits.argmax(1) == kind).mean()
    return mse, ce, correct, [v - rate * g for v, g in zip(w, grads, strict=True)]


CE = pyact.losses.SparseCategoricalCrossentropy(from_logits=True)


@pytest.mark.parametrize("form", [list, dict])
def test_branches_and_shared_layers_train_as_numpy_says(form):
    net = two_and_two(form)
    order = ["widen", "shared", "level", "kind"]
    a, b, level, kind = rows(50, 4), rows(50, 3, "b"), rows(50, 1, "y"), np.arange(50) % 3
    losses = {"level": "mse", "kind": CE}
    net.compile(
        optimizers.SGD(0.2),
        losses if form is dict else ["mse", CE],
        {"kind": ["accuracy"], "level": "mae"},
        loss_weights=[2.0, 0.5],
    )
    w = [v.astype(np.float64) for name in order for v in net.get_layer(name).get_weights()]
    names = ["loss", "level_loss", "kind_loss", "level_mae", "kind_accuracy"]
    assert net.metrics_names == names
    given = [a, b] if form is list else {"b": b, "a": a}
    wanted = [level, kind] if form is list else {"kind": kind, "level": level}
    for _ in range(5):
        mse, ce, correct, w = numpy_step(w, a, b, level, kind, (2.0, 0.5), 0.2)
        got = net.train_on_batch(given, wanted, return_dict=True)
        assert list(got) == names
        want = [2 * mse + 0.5 * ce, mse, ce]
        np.testing.assert_allclose([got[k] for k in names[:3]], want, rtol=2e-6)
        assert got["kind_accuracy"] == pytest.approx(correct)
    for name, pair in zip(order, zip(w[::2], w[1::2], strict=True), strict=True):
        for got_w, want_w in zip(net.get_layer(name).get_weights(), pair, strict=True):
            np.testing.assert_allclose(got_w, want_w, atol=3e-6)
    # fit, with a last batch that is smaller, and every other way in
    history = net.fit(given, wanted, batch_size=32, epochs=2, verbose=0, validation_split=0.1)
    assert set(history.history) == {*names, *(f"val_{n}" for n in names)}
    assert net.evaluate(given, wanted, verbose=0)[0] == pytest.approx(
        2 * net.evaluate(given, wanted, verbose=0)[1] + 0.5 * net.evaluate(given, wanted)[2]
    )
    results = net.predict(given, batch_size=7)
    assert type(results) is form
    at = [0, 1] if form is list else ["level", "kind"]
    frozen = pickle.loads(pickle.dumps(net.compile_inference()))
    for k, width in zip(at, (1, 3), strict=True):
        assert results[k].shape == (50, width)
        for other in (net(given), net.predict({"a": a, "b": b}), frozen(given)):
            np.testing.assert_allclose(other[k], results[k], rtol=1e-6, atol=1e-6)
    stream = ((given, wanted, np.ones(50)) for _ in range(3))
    net.fit(stream, steps_per_epoch=3, verbose=0)


def test_sample_weights_of_one_output_or_of_all():
    net = two_and_two()
    net.compile("sgd", ["mse", CE])
    data = [rows(8, 4), rows(8, 3, "b")], [np.zeros((8, 1)), np.zeros(8)]
    w = np.arange(8.0)
    total, level, kind = net.test_on_batch(*data)
    _, level_w, kind_w = net.test_on_batch(*data, sample_weight={"level": w})
    assert level_w != level and kind_w == kind
    _, level_all, kind_all = net.test_on_batch(*data, sample_weight=w)
    assert level_all == level_w and kind_all != kind and total == pytest.approx(level + kind)
    out = net.predict(data[0])[0]
    assert level_w == pytest.approx(float((w[:, None] * out**2).mean()), rel=1e-5)


def test_an_output_without_a_loss_is_not_trained():
    net = two_and_two()
    net.compile("sgd", {"kind": CE})
    before = net.get_layer("level").get_weights()
    log = net.fit([rows(8, 4), rows(8, 3, "b")], {"kind": np.zeros(8)}, verbose=0).history
    assert list(log) == ["loss"]
    assert all(
        (v == w).all() for v, w in zip(before, net.get_layer("level").get_weights(), strict=True)
    )


# ---- images: a residual network ---------------------------------------------------------------


def residual():
    x = Input((8, 8, 1), name="image")
    h = Conv2D(4, 3, padding="same", activation="relu", name="stem")(x)
    r = Conv2D(4, 3, padding="same", activation="relu", name="one")(h)
    h = Add()([h, Conv2D(4, 3, padding="same", name="two")(r)])
    return Model(x, Dense(10, name="head")(Flatten()(layers.ReLU()(h))))


def numpy_residual(w, x, y, rate):
    pad = {"padding": (1, 1, 1, 1)}
    (ks, bs), (k1, b1), (k2, b2), (kh, bh) = w
    n = len(x)
    s = _conv(x, ks, bs, **pad)
    h = np.maximum(s, 0)
    one = _conv(h, k1, b1, **pad)
    r = np.maximum(one, 0)
    total = h + _conv(r, k2, b2, **pad)
    flat = np.maximum(total, 0).reshape(n, -1)
    z = flat @ kh + bh
    z = z - z.max(1, keepdims=True)
    p = np.exp(z) / np.exp(z).sum(1, keepdims=True)
    loss = -np.log(p[np.arange(n), y]).mean()
    dz = (p - np.eye(10)[y]) / n
    dt = (dz @ kh.T).reshape(total.shape) * (total > 0)
    dr, dk2, db2 = _conv_back(dt, r, k2, b2, **pad)
    dh, dk1, db1 = _conv_back(dr * (one > 0), h, k1, b1, **pad)
    _, dks, dbs = _conv_back((dh + dt) * (s > 0), x, ks, bs, **pad)
    grads = [(dks, dbs), (dk1, db1), (dk2, db2), (flat.T @ dz, dz.sum(0))]
    new = [(a - rate * da, b - rate * db) for (a, b), (da, db) in zip(w, grads, strict=True)]
    return loss, new


def digits():
    data = pytest.importorskip("sklearn.datasets").load_digits()
    return (data.images[..., None] / 16).astype(np.float32), data.target


def test_a_residual_network_has_numpy_s_losses_on_digits():
    pyact.set_seed(3)
    net, (x, y) = residual(), digits()
    net.compile(optimizers.SGD(0.1), CE)
    names = ["stem", "one", "two", "head"]
    w = [[v.astype(np.float64) for v in net.get_layer(n).get_weights()] for n in names]
    for k in range(4):
        part = slice(40 * k, 40 * (k + 1))
        want, w = numpy_residual(w, x[part].astype(np.float64), y[part], 0.1)
        assert net.train_on_batch(x[part], y[part]) == pytest.approx(float(want), rel=2e-5)


def test_a_residual_network_learns_digits():
    pyact.set_seed(3)
    net, (x, y) = residual(), digits()
    net.compile(optimizers.Adam(0.005), CE, ["accuracy"])
    net.fit(x[:1400], y[:1400], epochs=6, verbose=0)
    assert net.evaluate(x[1400:], y[1400:], verbose=0)[1] > 0.9


# ---- models in models, and parts of models ----------------------------------------------------


def test_models_are_layers():
    inner = two_and_two()
    tower = Sequential([Dense(4, "relu"), Dense(4)], name="tower")
    u, v = Input((4,), name="u"), Input((3,), name="v")
    level, kind = inner([tower(tower(u)), v])
    net = Model([u, v], Dense(2)(Concatenate()([level, kind])))
    x = [rows(9, 4), rows(9, 3, "v")]
    want = inner.predict([tower.predict(tower.predict(x[0])), x[1]])
    want = net.layers[-1](np.concatenate(want, 1))
    np.testing.assert_allclose(net.predict(x), want, rtol=1e-5, atol=1e-6)
    assert net.count_params() == inner.count_params() + tower.count_params() + 5 * 0 + 10
    before = bits(inner), bits(tower)
    net.compile("sgd", "mse")
    net.fit(x, rows(9, 2, "y"), verbose=0)
    assert bits(inner) != before[0] and bits(tower) != before[1]
    twin = Model.from_config(net.get_config())
    twin.set_weights(net.get_weights())
    assert twin.predict(x).tobytes() == net.predict(x).tobytes()


def test_what_is_inside_a_model_is_another_model():
    row = Sequential([Input((5,)), Dense(4, "tanh", name="h"), Dense(2)])
    for net in (row, copy.deepcopy(row), pickle.loads(pickle.dumps(row))):
        part = Model(net.input, [net.get_layer("h").output, net.output])
        h, y = part.predict(rows())
        np.testing.assert_allclose(y, row.predict(rows()), rtol=1e-6)
        assert h.shape == (60, 4)
        tail = Model(net.get_layer("h").output, net.output)  # from the middle on
        np.testing.assert_allclose(tail.predict(h), y, rtol=1e-6)
        assert part.layers[0] is net.layers[0]


def test_states_and_masks_go_along():
    """An encoder whose states begin a decoder; padding left out through a mask."""
    words, said = Input((6,), dtype="int32", name="words"), Input((4, 3), name="said")
    e = Embedding(10, 5, mask_zero=True, name="table")(words)
    _, h, c = LSTM(7, return_state=True, name="encoder")(e)
    y = LSTM(7, return_sequences=True, name="decoder")(said, initial_state=[h, c])
    net = Model([words, said], y)
    x = np.array([[1, 2, 3, 0, 0, 0], [4, 5, 6, 7, 8, 9]])
    s = normal((2, 4, 3), "said").astype(np.float32)
    table, encoder, decoder = net.layers
    for k, n in enumerate((3, 6)):
        _, *state = encoder(table(x[k : k + 1, :n]))
        want = decoder(s[k : k + 1], initial_state=list(state))
        np.testing.assert_allclose(net.predict([x, s])[k], want[0], atol=2e-6)
    net.compile("adam", "mse")
    before = bits(net)
    with pytest.raises(ValueError, match=r"'table': got 10 at \(1, 0\), expected whole.*0 to 9"):
        net.fit([[[0] * 6, [10] * 6], s], np.zeros((2, 4, 7)), verbose=0)
    with pytest.raises(ValueError, match="'table': got -1"):
        net.predict([-np.ones((2, 6)), s])
    assert bits(net) == before and net.optimizer.iterations == 0
    net.fit([x, s], np.zeros((2, 4, 7)), verbose=0)


@pytest.mark.parametrize("bad", [7, -1, 0.5, np.nan])
def test_embedding_names_the_number_and_itself_everywhere(bad):
    net = Sequential([Input((2,)), Embedding(7, 3, name="table"), Flatten(), Dense(1)])
    net.compile("sgd", "mse")
    x = np.ones((4, 2))
    x[2, 1] = bad
    before = bits(net)
    for run in (net.predict, net, lambda x: net.fit(x, np.zeros(4), verbose=0)):
        with pytest.raises(ValueError, match=rf"'table': got {float(bad)} at \(2, 1\)"):
            run(x)
    assert bits(net) == before


def test_operators_join_symbolic_tensors():
    a, b = Input((3,)), Input((3,))
    net = Model([a, b], (a + b) * (a - b))
    x, y = rows(5, 3), rows(5, 3, "y")
    np.testing.assert_allclose(net.predict([x, y]), (x + y) * (x - y), rtol=1e-6)


def test_a_tape_sees_through():
    net = two_and_two()
    x = [pyact.constant(rows(5, 4)), pyact.constant(rows(5, 3, "b"))]
    with pyact.GradientTape() as tape:
        level, kind = net(x)
        loss = (level * level).sum() + kind.sum()
    grads = tape.gradient(loss, net.trainable_weights)
    assert all(g is not None and np.isfinite(g).all() for g in grads)


# ---- files and copies ----------------------------------------------------------------------------


@pytest.mark.parametrize("form", [list, dict])
@pytest.mark.parametrize("how", ["save", "pickle", "deepcopy", "config"])
def test_a_copy_goes_on_to_the_same_bits(how, form, tmp_path):
    net = two_and_two(form)
    net.compile("adam", ["mse", CE], [["mae"], ["accuracy"]], loss_weights={"kind": 0.25})
    x = {"a": rows(40, 4), "b": rows(40, 3, "b")}
    y = {"level": rows(40, 1, "y"), "kind": np.arange(40) % 3}
    net.fit(x, y, epochs=2, verbose=0)
    if how == "save":
        net.save(tmp_path / "m")
        twin = pyact.load_model(tmp_path / "m")
        twin.save(tmp_path / "n")
        assert (tmp_path / "m").read_bytes() == (tmp_path / "n").read_bytes()
    elif how == "config":
        twin = Model.from_config(net.get_config())
        assert twin.get_config() == net.get_config()
        return
    else:
        twin = copy.deepcopy(net) if how == "deepcopy" else pickle.loads(pickle.dumps(net))
    histories = [m.fit(x, y, epochs=2, verbose=0).history for m in (net, twin)]
    assert histories[0] == histories[1] and bits(net) == bits(twin)
    assert twin.metrics_names == net.metrics_names


def test_deep_models_copy(tmp_path):
    x = y = Input((4,))
    for _ in range(600):
        y = Add()([y, Dense(4)(y)])
    net = Model(x, y)
    assert pickle.loads(pickle.dumps(net)).count_params() == net.count_params() == 600 * 20
    net.save(tmp_path / "m")
    assert bits(pyact.load_model(tmp_path / "m")) == bits(net)


def test_training_resumes_to_the_same_bits(tmp_path):
    x, y = [rows(40, 4), rows(40, 3, "b")], [rows(40, 1, "y"), np.arange(40) % 3]
    keep = pyact.callbacks.ModelCheckpoint(tmp_path / "{epoch}", save_training_state=True)
    nets = [two_and_two(), two_and_two()]
    nets[1].set_weights(nets[0].get_weights())
    nets[1]._seed = nets[0]._seed
    for net in nets:
        net.compile("adam", ["mse", CE], [[], ["accuracy"]])
    nets[0].fit(x, y, epochs=4, verbose=0, callbacks=[keep])
    first = sorted(tmp_path.iterdir())[1]
    history = nets[1].fit(x, y, epochs=4, verbose=0, resume_from=first)
    assert bits(nets[0]) == bits(nets[1]) and len(history.history["kind_accuracy"]) == 4


def test_summary_says_what_is_connected():
    lines: list[str] = []
    two_and_two().summary(print_fn=lines.append)
    text = lines[0]
    assert "join (Concatenate)" in text and "shared" in text and "Connected to" in text
    assert "a, widen" in text and "Total params" in text
    assert "<th>Connected to</th>" in two_and_two()._repr_html_()


# ---- what cannot be ---------------------------------------------------------------------


def wrong_models():
    a, b = Input((4,), name="a"), Input((4,), name="b")
    y = Add(name="sum")([a, b])
    return {
        "disconnected.*depends on input 'b', which is not": lambda: Model(a, y),
        "disconnected: input 'b' leads to none": lambda: Model([a, b], Dense(1)(a)),
        "input 'a' is there twice": lambda: Model([a, a, b], y),
        "outputs: got ndarray, expected symbolic": lambda: Model(a, np.ones(3)),
        "outputs: got Dense, expected symbolic": lambda: Model(a, Dense(3)),
        "inputs: got int, expected symbolic": lambda: Model(3, y),
        "outputs: got none": lambda: Model([a, b], []),
        "two layers have the name 'twin'": lambda: Model(
            a, Dense(2, name="twin")(Dense(4, name="twin")(a))
        ),
        "two layers have the name 'a'": lambda: Model([a, n := Input((4,), name="a")], a + n),
        "two layers have the name 'b'": lambda: Model(a, Dense(1, name="b")(Dense(2, name="b")(a))),
        "asks for other weights; use a layer of its own": lambda: shared_wrongly(a),
        r"cannot join shapes \(None, 4\) and \(None, 3\)": lambda: Add()([a, Dense(3)(a)]),
        "got one tensor of shape .None, 4., expected a list": lambda: Add()(a),
        "got ndarray among symbolic tensors": lambda: Add()([a, np.ones((2, 4))]),
        "is symbolic and has no numbers": lambda: np.asarray(a),
        "'a' .None, 4.> is symbolic": lambda: pyact.relu(a),
        "input 'b': got shape .None, 5., expected .None, 4.": lambda: Model([a, b], y)(
            [Input((4,)), Input((5,))]
        ),
        "got 1 arrays, expected 2: 'a', 'b'": lambda: Model([a, b], y)([Input((4,))]),
    }


def shared_wrongly(a):
    layer = Dense(3)
    layer(a)
    return layer(Input((5,)))


@pytest.mark.parametrize("text", list(wrong_models()))
def test_networks_that_cannot_be(text):
    with pytest.raises((ValueError, TypeError), match=text):
        wrong_models()[text]()


X, Y = [rows(8, 4), rows(8, 3, "b")], [np.zeros((8, 1)), np.zeros(8)]
WRONG_DATA = {
    "x: got 1 arrays, expected 2: 'a', 'b'": (X[:1], Y),
    "x: got ndarray, expected a list or dict of 2 arrays: 'a', 'b'": (X[0], Y),
    "x 'b': got shape .8, 5., expected .8, 3. because this input": ([X[0], rows(8, 5)], Y),
    "x 'a' has 8 rows and x 'b' has 7": ([X[0], X[1][:7]], Y),
    "x 'a' has 8 rows and y 'kind' has 7": (X, [Y[0], Y[1][:7]]),
    "x: name 'c' is unknown": ({"a": X[0], "c": X[1]}, Y),
    "nothing is given for input 'b'": ({"a": X[0]}, Y),
    "y 'kind' is missing": (X, {"level": Y[0]}),
    "y: name 'kid' is unknown: did you mean 'kind'": (X, {"level": Y[0], "kid": Y[1]}),
    "y 'level': got shape .8, 2.": (X, [np.zeros((8, 2)), Y[1]]),
    "y 'kind'": (X, [Y[0], np.full(8, 3)]),
}


@pytest.mark.parametrize("text", list(WRONG_DATA))
def test_data_that_do_not_fit_name_their_input(text):
    net = two_and_two()
    net.compile("sgd", ["mse", CE])
    before = bits(net)
    with pytest.raises((ValueError, TypeError), match=text):
        net.fit(*WRONG_DATA[text], verbose=0)
    assert bits(net) == before


@pytest.mark.parametrize("one", [list, tuple])
def test_a_list_of_one_array_is_that_array(one):
    """As in Keras, for a model that was made of one tensor and for a Sequential."""
    x, y = rows(8, 4), rows(8, 3, "b")
    for make in (lambda a: Model(a, Dense(3)(a)), lambda a: pyact.Sequential([a, Dense(3)])):
        found = []
        for data in ((x, y), (one([x]), one([y]))):
            pyact.set_seed(1)
            net = make(Input((4,)))
            net.compile("sgd", "mse")
            net.fit(*data, verbose=0)
            found.append([bits(net), net.evaluate(*data, verbose=0),
                          net.predict(data[0]).tobytes(), net.test_on_batch(*data)])  # fmt: skip
        assert found[0] == found[1]
        assert net.predict(one([x[0]])).shape == (1, 3)  # rows in a list are rows


def test_compile_refuses():
    net = two_and_two()
    for text, args in {
        "loss: output 'kid' is unknown": ({"kid": "mse"},),
        "loss: got .'mse'., expected a list or dict for the 2 outputs level, kind": (["mse"],),
        "metrics: got 'mae', expected a list or dict": ("mse", "mae"),
        "loss_weights": ("mse", None, None, True, [1.0]),
    }.items():
        with pytest.raises((ValueError, TypeError), match=text):
            net.compile("sgd", *args)


def test_a_file_cannot_ask_for_a_network_that_cannot_be():
    good = two_and_two().get_config()
    for change in (
        lambda c: c["calls"][0].update(layer=9),
        lambda c: c["calls"][0].update(layer=-1),
        lambda c: c["calls"][0].update(x={"value": 99}),
        lambda c: c["calls"][0].update(x={"value": -1}),
        lambda c: c["calls"][0].update(x={"import": "os"}),
        lambda c: c["layers"][0].update(class_name="Layer"),
        lambda c: c.update(output_form={"value": 0, "x": 1}),
    ):
        config = copy.deepcopy(good)
        change(config)
        with pytest.raises((ValueError, TypeError, KeyError)):
            Model.from_config(config)
