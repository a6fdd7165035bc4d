"""Callbacks on a scripted run: what they do to the model, the optimizer and the logs."""

import io
import sys
import types

import numpy as np
import pytest

from pyact import _progress
from pyact import callbacks as cb
from pyact.optimizers import SGD, schedules


class Model:
    """Stands for a model: weights, an optimizer, saves that are written down."""

    def __init__(self, lr=0.1):
        self.optimizer = SGD(lr)
        self.stop_training = False
        self.weights = [np.zeros(2)]
        self.saved = []

    def get_weights(self):
        return self.weights

    def set_weights(self, weights):
        self.weights = [w.copy() for w in weights]

    def save(self, path):
        self.saved.append(("model", path))

    def save_weights(self, path):
        self.saved.append(("weights", path))


def run(callback, epochs, batches=2, model=None, verbose=0, **options):
    """Plays `epochs`, a list of logs, and returns the model and the epochs that ran."""
    model = model or Model()
    hooks = cb.CallbackList(
        callback, model=model, verbose=verbose, epochs=len(epochs), steps=batches, **options
    )
    hooks.on_train_begin()
    ran, logs = 0, {}
    for epoch, logs in enumerate(epochs):
        logs = dict(logs)
        hooks.on_epoch_begin(epoch)
        model.weights[0][:] = epoch + 1
        for batch in range(batches):
            hooks.on_train_batch_begin(batch)
            hooks.on_train_batch_end(batch, {"loss": logs.get("loss", 0.0)})
            hooks.on_progress(batch + 1, batches, logs)
        hooks.on_epoch_end(epoch, logs)
        ran += 1
        if model.stop_training:
            break
    hooks.on_train_end(logs)
    return types.SimpleNamespace(model=model, ran=ran, hooks=hooks, history=hooks.history)


def losses(*values, name="val_loss"):
    return [{name: v} for v in values]


HOOKS = [n for n in vars(cb.Callback) if n.startswith("on_")]


# ---- CallbackList ------------------------------------------------------------------------


def test_hooks_run_in_keras_order():
    seen = []

    class Spy(cb.Callback):
        pass

    for name in HOOKS:
        if "predict" in name or "test" in name or name in ("on_batch_begin", "on_progress"):
            continue
        setattr(Spy, name, lambda self, *args, _n=name: seen.append((_n, *args)))
    run(Spy(), [{"loss": 1.0}], batches=1)
    assert [s[0] for s in seen] == [
        "on_train_begin",
        "on_epoch_begin",
        "on_train_batch_begin",
        "on_train_batch_end",
        "on_epoch_end",
        "on_train_end",
    ]
    assert seen[1][1] == 0
    assert seen[4][1:] == (0, {"loss": 1.0})
    assert seen[5][1] == {"loss": 1.0}


@pytest.mark.parametrize("hook", HOOKS)
def test_batches_are_wanted_only_by_batch_hooks(hook):
    own = type("Own", (cb.Callback,), {hook: lambda self, *args: None})()
    hooks = cb.CallbackList(own)
    assert hooks.wants_batches == (hook.startswith(("on_train_batch", "on_batch")))
    assert hooks.wants_test_batches == hook.startswith("on_test_batch")
    assert hooks.wants_predict_batches == hook.startswith("on_predict_batch")
    lamb = cb.CallbackList(cb.LambdaCallback(**{hook: lambda *args: None}))
    assert lamb.wants_batches == hooks.wants_batches


def test_built_in_callbacks_leave_the_epoch_whole(tmp_path):
    quiet = [
        cb.History(),
        cb.ProgressBar(),
        cb.EarlyStopping(),
        cb.ReduceLROnPlateau(),
        cb.CSVLogger(tmp_path / "log.csv"),
        cb.LearningRateScheduler(lambda e: 0.1),
        cb.ModelCheckpoint("x"),
    ]
    assert not cb.CallbackList(quiet).wants_batches
    assert cb.CallbackList(cb.TerminateOnNaN()).wants_batches
    assert cb.CallbackList(cb.ModelCheckpoint("x", save_freq=3)).wants_batches


def test_the_older_batch_hooks_are_called():
    seen = []

    class Old(cb.Callback):
        def on_batch_begin(self, batch, logs=None):
            seen.append(("begin", batch))

        def on_batch_end(self, batch, logs=None):
            seen.append(("end", batch))

    run(Old(), [{}])
    assert seen == [("begin", 0), ("end", 0), ("begin", 1), ("end", 1)]


def test_history_and_progress_come_last_and_once():
    mine = cb.LambdaCallback(on_epoch_end=lambda e, logs: logs.update(seen=1.0))
    out = run(mine, [{"loss": 2.0}, {"loss": 1.0}], add_history=True)
    assert out.history.history == {"loss": [2.0, 1.0], "seen": [1.0, 1.0]}
    assert out.history.epoch == [0, 1]
    own = cb.History()
    assert cb.CallbackList([own], add_history=True).history is own


@pytest.mark.parametrize(
    ("bad", "text"),
    [(cb.History, "make an instance: History()"), (3, "int"), ("early", "str")],
)
def test_only_callbacks_are_taken(bad, text):
    with pytest.raises(TypeError) as error:
        cb.CallbackList([bad])
    assert text in str(error.value)


@pytest.mark.parametrize("verbose", [3, "yes", -1, None])
def test_bad_verbose(verbose):
    with pytest.raises(ValueError, match="verbose must be"):
        cb.CallbackList(verbose=verbose)


def test_params_are_seen_and_not_shared_between_callbacks_by_accident():
    first = cb.Callback()
    hooks = cb.CallbackList(first, epochs=3, steps=5)
    assert first.params["epochs"] == 3
    hooks.set_params(steps=7)
    assert first.params["steps"] == 7
    assert dict(cb.Callback.params) == {}


# ---- EarlyStopping --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "values", "ran"),
    [
        ({}, [3, 2, 2, 1], 3),
        ({"patience": 2}, [3, 2, 2, 2, 1], 4),
        ({"patience": 2}, [3, 2, 2, 1, 1, 1, 0], 6),
        ({"min_delta": 0.5, "patience": 1}, [3, 2.8, 2], 2),
        ({"baseline": 1.0, "patience": 2}, [3, 2, 2, 0.5], 3),
        ({"patience": 2}, [3, 2, 2, 0.5], 4),
        ({"start_from_epoch": 2, "patience": 1}, [1, 2, 3, 2, 2, 1], 5),
        ({"mode": "max"}, [1, 2, 2, 3], 3),
    ],
)
def test_early_stopping_stops_after(options, values, ran):
    stop = cb.EarlyStopping(**options)
    assert run(stop, losses(*values)).ran == ran
    if ran < len(values):
        assert stop.stopped_epoch == ran - 1


def test_early_stopping_goes_by_the_direction_of_the_name():
    for name, values, ran in [
        ("val_accuracy", [0.1, 0.2, 0.2], 3),
        ("val_accuracy", [0.2, 0.1, 0.3], 2),
        ("val_auc", [0.2, 0.1, 0.3], 2),
        ("val_mae", [0.2, 0.3, 0.1], 2),
    ]:
        assert run(cb.EarlyStopping(name), losses(*values, name=name)).ran == ran, name


def test_a_metric_says_which_way_is_better():
    model = Model()
    model.metrics = [types.SimpleNamespace(name="score", direction="up")]
    out = run(cb.EarlyStopping("val_score"), losses(1, 2, 3, name="val_score"), model=model)
    assert out.ran == 3


@pytest.mark.parametrize("values", [[3, 1, 2, 2], [3, 1, 2, 0.5]])
def test_best_weights_come_back(values):
    out = run(cb.EarlyStopping(patience=1, restore_best_weights=True), losses(*values))
    assert out.model.weights[0].tolist() == [2.0, 2.0]  # those of the second epoch


def test_best_weights_come_back_without_a_stop_and_are_copies():
    out = run(cb.EarlyStopping(patience=9, restore_best_weights=True), losses(3, 1, 2))
    assert out.ran == 3
    assert out.model.weights[0].tolist() == [2.0, 2.0]


def test_early_stopping_can_be_used_again():
    stop = cb.EarlyStopping(patience=1)
    assert run(stop, losses(3, 2, 2)).ran == 3
    assert run(stop, losses(9, 8, 8)).ran == 3


def test_nan_is_never_an_improvement():
    nan = float("nan")
    assert run(cb.EarlyStopping(patience=2), losses(nan, nan, nan, nan)).ran == 2
    stop = cb.EarlyStopping(patience=2)
    assert run(stop, losses(nan, 2.0, 1.0)).ran == 3
    assert stop.best == 1.0


def test_a_missing_name_warns_once_and_lists_what_there_is():
    with pytest.warns(UserWarning, match="did you mean 'loss'.*Available: loss, acc") as seen:
        run(cb.EarlyStopping("los"), [{"loss": 1.0, "acc": 0.0}] * 3)
    assert len(seen) == 1


# ---- learning rates ----------------------------------------------------------------------------


def test_reduce_on_plateau():
    reduce = cb.ReduceLROnPlateau(factor=0.5, patience=2, cooldown=2, min_lr=0.02, min_delta=0)
    out = run(reduce, losses(*[3] * 13), model=Model(0.1), add_history=True)
    # reduced after epochs 2, 5 and 8: as in Keras the last epoch of the cooldown counts for
    # the patience again; then held by min_lr. The log is the rate with which the epoch ran
    assert out.history.history["learning_rate"] == pytest.approx(
        [0.1] * 3 + [0.05] * 3 + [0.025] * 3 + [0.02] * 4
    )
    assert out.model.optimizer.learning_rate == pytest.approx(0.02)


def test_reduce_on_plateau_leaves_improving_runs_alone():
    out = run(cb.ReduceLROnPlateau(patience=1), losses(3, 2, 1, 0.5))
    assert out.model.optimizer.learning_rate == 0.1


@pytest.mark.parametrize(
    "schedule", [lambda epoch, lr: lr * 0.5, lambda epoch: 0.1 * 0.5 ** (epoch + 1)]
)
def test_learning_rate_scheduler(schedule):
    out = run(cb.LearningRateScheduler(schedule), [{}, {}, {}], add_history=True)
    assert out.history.history["learning_rate"] == pytest.approx([0.05, 0.025, 0.0125])


@pytest.mark.parametrize("value", [-1.0, float("nan"), None, "fast"])
def test_scheduler_checks_what_it_is_given(value):
    with pytest.raises((ValueError, TypeError), match="the learning rate of epoch 0"):
        run(cb.LearningRateScheduler(lambda epoch: value), [{}])
    with pytest.raises(TypeError, match="must be a function"):
        cb.LearningRateScheduler(0.1)


def test_a_schedule_in_the_optimizer_is_not_overruled():
    model = Model(schedules.ExponentialDecay(0.1, 10, 0.5))
    with pytest.raises(TypeError, match="comes from a schedule"):
        run(cb.LearningRateScheduler(lambda epoch: 0.1), [{}], model=model)


# ---- checkpoints, logs, others ---------------------------------------------------------------


def test_checkpoint_every_epoch_with_names_filled_in():
    out = run(cb.ModelCheckpoint("m{epoch:02d}-{val_loss:.2f}.x"), losses(3, 2))
    assert out.model.saved == [("model", "m01-3.00.x"), ("model", "m02-2.00.x")]


def test_checkpoint_of_the_best_weights_only():
    save = cb.ModelCheckpoint("m{epoch}", save_best_only=True, save_weights_only=True)
    assert run(save, losses(3, 4, 2, 2)).model.saved == [("weights", "m1"), ("weights", "m3")]
    save = cb.ModelCheckpoint("m{epoch}", save_best_only=True, initial_value_threshold=2.5)
    assert run(save, losses(3, 4, 2)).model.saved == [("model", "m3")]
    save = cb.ModelCheckpoint("m{epoch}", "val_accuracy", save_best_only=True)
    assert run(save, losses(0.1, 0.3, 0.2, name="val_accuracy")).model.saved[-1][1] == "m2"


def test_checkpoint_every_few_batches():
    out = run(cb.ModelCheckpoint("m{epoch}-{batch}", save_freq=3), [{}, {}, {}], batches=2)
    assert out.model.saved == [("model", "m2-1"), ("model", "m3-2")]


def test_checkpoint_says_what_is_missing():
    with pytest.raises(ValueError, match=r"'val_los'.*Available: epoch, val_loss"):
        run(cb.ModelCheckpoint("m{val_los}"), losses(1))
    with pytest.raises(TypeError, match=r"needs model.save\(path\)"):
        cb.CallbackList(cb.ModelCheckpoint("m"), model=types.SimpleNamespace())
    with pytest.raises(ValueError, match="save_freq"):
        cb.ModelCheckpoint("m", save_freq="batch")


def test_csv_logger(tmp_path):
    file = tmp_path / "log.csv"
    log = cb.CSVLogger(file)
    run(log, [{"loss": 2.0, "acc": np.float64(0.5)}, {"loss": 1.0}])
    assert file.read_text() == "epoch,acc,loss\n0,0.5,2.0\n1,NA,1.0\n"
    run(cb.CSVLogger(file, append=True), [{"loss": 0.5, "acc": 1.0}])
    assert file.read_text().splitlines()[-1] == "0,1.0,0.5"
    run(cb.CSVLogger(file, separator=";"), [{"loss": 0.5}])
    assert file.read_text() == "epoch;loss\n0;0.5\n"


def test_csv_rows_are_on_disk_at_the_end_of_their_epoch(tmp_path):
    file = tmp_path / "log.csv"
    lines = []
    look = cb.LambdaCallback(
        on_epoch_end=lambda e, logs: lines.append(file.read_text().count("\n"))
    )
    run([cb.CSVLogger(file), look], [{"loss": 1.0}, {"loss": 2.0}])
    assert lines == [2, 3]


def test_lambda_callback_knows_the_hooks():
    with pytest.raises(ValueError, match="did you mean 'on_epoch_end'"):
        cb.LambdaCallback(on_epoch_ends=print)
    with pytest.raises(TypeError, match="must be a function"):
        cb.LambdaCallback(on_epoch_end=3)


def test_terminate_on_nan(capsys):
    out = run(cb.TerminateOnNaN(), [{"loss": 1.0}, {"loss": float("nan")}, {"loss": 1.0}])
    assert out.ran == 2
    assert "Invalid loss" in capsys.readouterr().out


# ---- progress ------------------------------------------------------------------------------------


class Terminal(io.StringIO):
    encoding = "utf-8"

    def isatty(self):
        return True


LOGS = [{"loss": 0.5, "val_loss": 0.0004, "accuracy": 0.25}]


@pytest.fixture
def no_tqdm(monkeypatch):
    monkeypatch.setitem(sys.modules, "tqdm", None)
    monkeypatch.setitem(sys.modules, "tqdm.auto", None)


@pytest.mark.usefixtures("no_tqdm")
def test_plain_line_in_a_file_is_written_once_an_epoch():
    file = io.StringIO()
    run(cb.ProgressBar(file), LOGS * 2, verbose=1)
    lines = file.getvalue().splitlines()
    assert lines[0] == "Epoch 1/2"
    assert lines[1].startswith("2/2 " + "=" * 20 + " 0s ")
    assert lines[1].endswith("/step - accuracy: 0.2500 - loss: 0.5000 - val_loss: 4.0000e-04")
    assert lines[2] == "Epoch 2/2"
    assert len(lines) == 4
    assert "\r" not in file.getvalue()


@pytest.mark.usefixtures("no_tqdm")
def test_plain_line_on_a_terminal_moves():
    file = Terminal()
    run(cb.ProgressBar(file), LOGS, verbose=1)
    text = file.getvalue()
    assert text.count("\r") == 3
    assert "1/2 " + "━" * 10 + "─" * 10 in text
    assert text.endswith("\n")


def test_verbose_2_is_one_line_and_0_is_none():
    file = Terminal()
    run(cb.ProgressBar(file), LOGS, verbose=2)
    lines = file.getvalue().splitlines()
    assert lines[0] == "Epoch 1/1"
    assert lines[1].startswith("2/2 - 0s - ")
    assert len(lines) == 2
    file = Terminal()
    run(cb.ProgressBar(file), LOGS, verbose=0)
    assert file.getvalue() == ""


def test_tqdm_is_used_on_a_terminal():
    pytest.importorskip("tqdm")
    file = Terminal()
    run(cb.ProgressBar(file), LOGS * 2, verbose="auto")
    text = file.getvalue()
    assert "Epoch 1/2: 100%" in text
    assert "val_loss: 4.0000e-04" in text
    assert "2/2" in text


@pytest.mark.usefixtures("no_tqdm")
def test_unknown_length_and_validation_inside_fit():
    file = io.StringIO()
    bar = cb.ProgressBar(file)
    hooks = cb.CallbackList(bar, model=Model(), verbose=1, epochs=1, steps=None)
    hooks.on_train_begin()
    hooks.on_epoch_begin(0)
    hooks.on_progress(37, None, {})
    hooks.on_test_begin()
    hooks.on_test_end({"loss": 1.0})
    hooks.on_epoch_end(0, {"loss": 1.0})
    hooks.on_train_end()
    assert file.getvalue().splitlines()[1].startswith("37/Unknown ")
    assert len(file.getvalue().splitlines()) == 2


@pytest.mark.usefixtures("no_tqdm")
def test_an_abandoned_line_is_ended():
    file = Terminal()
    hooks = cb.CallbackList(cb.ProgressBar(file), model=Model(), verbose=1, epochs=1, steps=5)
    hooks.on_train_begin()
    hooks.on_epoch_begin(0)
    hooks.on_progress(2, 5, {"loss": 1.0})
    hooks.abandon()
    assert file.getvalue().endswith("\n")


@pytest.mark.parametrize(
    ("seconds", "steps", "text"),
    [(26, 2, "13s/step"), (2, 500, "4ms/step"), (0.0027, 100, "27us/step"), (0, 0, "0us/step")],
)
def test_pace(seconds, steps, text):
    assert _progress.format_pace(seconds, steps) == text


# ---- pictures ------------------------------------------------------------------------------------


@pytest.fixture
def pyplot():
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    yield plt
    plt.close("all")


def test_history_plot_draws_training_and_validation(pyplot, tmp_path):
    logs = [{"loss": 10.0**-k, "val_loss": 1.0, "acc": 0.1 * k} for k in range(4)]
    history = run(None, logs, add_history=True).history
    file = tmp_path / "curve.png"
    axes = history.plot(path=file)
    assert [a.get_ylabel() for a in axes] == ["loss", "acc"]
    assert [len(a.lines) for a in axes] == [2, 1]
    np.testing.assert_allclose(axes[0].lines[0].get_ydata(), [1, 0.1, 0.01, 0.001])
    np.testing.assert_allclose(axes[0].lines[0].get_xdata(), [1, 2, 3, 4])
    assert axes[0].get_yscale() == "log"
    assert axes[1].get_yscale() == "linear"
    assert file.read_bytes()[:4] == b"\x89PNG"
    assert len(history.plot(["acc"])) == 1
    with pytest.raises(ValueError, match="did you mean 'acc'"):
        history.plot(["ac"])
    with pytest.raises(ValueError, match="history is empty"):
        cb.History().plot()


def test_page_of_misread_digits(pyplot, tmp_path):
    from pyact._plot import plot_images, plot_misread

    images = np.random.default_rng(1).uniform(size=(12, 64))
    labels = np.arange(12) % 3
    scores = np.eye(3)[labels] * 0.5
    scores[4] = [0.9, 0.0, 0.0]  # label 1, read as 0 with margin .9
    scores[7] = [0.0, 0.1, 0.6]  # label 1, read as 2 with margin .5
    grid = plot_misread(images, labels, scores, path=tmp_path / "p.png")
    titles = [a.get_title() for a in grid.ravel()]
    assert titles == ["1 → 0", "1 → 2"]
    assert (tmp_path / "p.png").stat().st_size > 1000
    assert plot_images(images.reshape(12, 8, 8), columns=5).shape == (3, 5)
    with pytest.raises(ValueError, match="labels has 3 items for 12"):
        plot_images(images, labels[:3])
    with pytest.raises(ValueError, match="images must be"):
        plot_images(np.zeros((3, 5)))
    assert plot_misread(images, labels, labels).shape == (1, 1)  # nothing misread: an empty page


# ---- in training -------------------------------------------------------------------------


def real_model():
    import pyact

    pyact.set_seed(1)
    layers = pyact.layers
    model = pyact.Sequential([layers.Dense(6, "tanh", input_shape=(3,)), layers.Dense(1)])
    model.compile(SGD(schedules.ExponentialDecay(0.1, 5, 0.9), momentum=0.9), "mse", ["mae"])
    return model


X = np.random.default_rng(7).normal(size=(50, 3)).astype("float32")
Y = (X.sum(1) ** 2).astype("float32")


def test_watching_every_batch_changes_no_bit():
    seen = []
    watch = cb.LambdaCallback(on_train_batch_end=lambda batch, logs: seen.append(logs["loss"]))
    whole, watched = real_model(), real_model()
    a = whole.fit(X, Y, batch_size=16, epochs=3, verbose=0)
    b = watched.fit(X, Y, batch_size=16, epochs=3, verbose=0, callbacks=[watch])
    assert len(seen) == 3 * 4
    for u, v in zip(whole.get_weights(), watched.get_weights(), strict=True):
        np.testing.assert_array_equal(u, v)
    assert a.history["loss"] == pytest.approx(b.history["loss"], rel=1e-14)
    assert seen[3] == b.history["loss"][0]


def test_fit_tells_history_and_callbacks_the_same():
    model, heard = real_model(), []
    listen = cb.LambdaCallback(on_epoch_end=lambda epoch, logs: heard.append(dict(logs)))
    history = model.fit(X, Y, epochs=2, verbose=0, validation_data=(X[:9], Y[:9]), callbacks=listen)
    assert sorted(history.history) == ["loss", "mae", "val_loss", "val_mae"]
    assert [h["val_mae"] for h in heard] == history.history["val_mae"]
    assert history.epoch == [0, 1]
    loss, mae = model.evaluate(X[:9], Y[:9], verbose=0)
    assert (loss, mae) == pytest.approx((heard[-1]["val_loss"], heard[-1]["val_mae"]))


def test_early_stopping_stops_fit_and_restores():
    model, kept = real_model(), []
    keep = cb.LambdaCallback(
        on_epoch_end=lambda epoch, logs: kept.append([w.copy() for w in model.get_weights()])
    )
    stop = cb.EarlyStopping("mae", mode="max", patience=2, restore_best_weights=True)
    history = model.fit(X, Y, epochs=50, verbose=0, callbacks=[keep, stop])
    assert len(history.epoch) == stop.best_epoch + 3 < 50
    for got, want in zip(model.get_weights(), kept[stop.best_epoch], strict=True):
        np.testing.assert_array_equal(got, want)


def test_stop_training_in_a_batch_ends_the_epoch():
    model, count = real_model(), []

    class Stop(cb.Callback):
        def on_train_batch_end(self, batch, logs=None):
            count.append(batch)
            self.model.stop_training = batch == 1

    model.fit(X, Y, batch_size=10, epochs=4, verbose=0, callbacks=[Stop()])
    assert count == [0, 1]
    assert model.optimizer.iterations == 2


def test_terminate_on_nan_in_training(capsys):
    model = real_model()
    model.compile(SGD(1e20), "mse")
    history = model.fit(X, Y, batch_size=10, epochs=9, verbose=0, callbacks=[cb.TerminateOnNaN()])
    assert len(history.epoch) == 1
    assert "Invalid loss" in capsys.readouterr().out


def test_reduce_on_plateau_changes_the_steps():
    model = real_model()
    model.compile(SGD(0.5), "mse")
    reduce = cb.ReduceLROnPlateau("loss", factor=0.5, patience=1, mode="max", min_delta=100)
    history = model.fit(X[:8], Y[:8], epochs=4, verbose=0, callbacks=[reduce])
    assert history.history["learning_rate"] == [0.5, 0.5, 0.25, 0.125]


def test_evaluate_and_predict_call_their_hooks():
    seen = []
    spy = cb.LambdaCallback(
        on_test_begin=lambda logs: seen.append("test begin"),
        on_test_batch_end=lambda batch, logs: seen.append(batch),
        on_test_end=lambda logs: seen.append("test end"),
        on_predict_begin=lambda logs: seen.append("predict begin"),
        on_predict_end=lambda logs: seen.append("predict end"),
    )
    model = real_model()
    model.evaluate(X, Y, batch_size=25, verbose=0, callbacks=[spy])
    model.predict(X, callbacks=[spy])
    assert seen == ["test begin", 0, 1, "test end", "predict begin", "predict end"]


@pytest.mark.usefixtures("no_tqdm")
@pytest.mark.parametrize(("verbose", "lines"), [(0, 0), (1, 4), (2, 4), ("auto", 4)])
def test_fit_writes_its_progress(capsys, verbose, lines):
    real_model().fit(X, Y, epochs=2, verbose=verbose, validation_split=0.2)
    text = capsys.readouterr().out.splitlines()
    assert len(text) == lines
    if lines:
        assert text[0] == "Epoch 1/2"
        assert "val_loss" in text[1]


def test_an_exception_in_a_hook_comes_out_and_the_model_stays_whole():
    def fail(epoch, logs):
        raise ZeroDivisionError("from the hook")

    model = real_model()
    with pytest.raises(ZeroDivisionError, match="from the hook"):
        model.fit(X, Y, verbose=0, callbacks=[cb.LambdaCallback(on_epoch_end=fail)])
    assert np.isfinite(model.evaluate(X, Y, verbose=0)).all()
