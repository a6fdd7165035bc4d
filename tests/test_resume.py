"""A run that is killed and resumed ends with the bits of one that never was."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys

import numpy as np
import pytest

import pyact
from pyact import _safetensors, callbacks, optimizers
from pyact.data import DataLoader
from pyact.layers import Dense, Dropout, Input

ROWS, BATCH, EPOCHS = 50, 16, 3
PER_EPOCH = 4  # batches


class KilledError(Exception):
    pass


def data():
    x = np.random.default_rng(0).normal(size=(ROWS, 5)).astype(np.float32)
    return x, (x[:, 0] > 0).astype(np.int32)


def model(optimizer=None):
    net = pyact.Sequential([Input((5,)), Dense(16, "relu"), Dropout(0.4), Dense(2)])
    loss = pyact.losses.SparseCategoricalCrossentropy(from_logits=True)
    net.compile(optimizer or optimizers.Adam(0.05, amsgrad=True), loss, ["accuracy"])
    return net


def watchers():
    """Callbacks whose states decide how a run goes on."""
    return [
        callbacks.ReduceLROnPlateau("loss", factor=0.5, patience=0, min_delta=0.2),
        callbacks.EarlyStopping("val_loss", patience=5, restore_best_weights=True),
        callbacks.LearningRateScheduler(lambda epoch, rate: rate * 0.9),
    ]


def source(kind):
    x, y = data()
    if kind == "arrays":
        return {"x": x, "y": y, "batch_size": BATCH, "validation_split": 0.0,
                "validation_data": (x[:20], y[:20])}  # fmt: skip
    if kind == "held out":
        return {"x": np.concatenate([x, x]), "y": np.concatenate([y, y]), "batch_size": BATCH,
                "validation_split": 0.5}  # fmt: skip
    if kind == "loader":
        loader = DataLoader((x, y), batch_size=BATCH, shuffle=True, seed=3)
        return {"x": loader, "validation_data": (x[:20], y[:20])}

    def batches():
        k = 0
        while True:
            rows = np.random.default_rng(k).integers(0, ROWS, 10 + k % 3)
            k += 1
            yield x[rows], y[rows]

    return {"x": batches(), "steps_per_epoch": PER_EPOCH, "validation_data": (x[:20], y[:20])}


def run(path, kind="arrays", kill_at=None, resume=False, freq=1, seed=7, optimizer=None):
    """A fit that saves every `freq` batches and is killed after batch `kill_at`."""
    pyact.set_seed(seed)
    net = model(optimizer and optimizer())
    steps = iter(range(10**6))

    def kill(batch, logs):
        if next(steps) == kill_at:
            raise KilledError

    hooks = [callbacks.LambdaCallback(on_train_batch_end=kill),
             callbacks.ModelCheckpoint(path, "loss", save_freq=freq), *watchers()]  # fmt: skip
    try:
        net.fit(**source(kind), epochs=EPOCHS, verbose=0, callbacks=hooks,
                resume_from=path if resume else None)  # fmt: skip
    except KilledError:
        return None
    return net


def outcome(net):
    slots = [net.engine.state.slot(w.block, k).view(w.offset, w.shape).tobytes()
             for w in net.weights for k in range(net.engine.state.slots)]  # fmt: skip
    return ([w.tobytes() for w in net.weights], slots, net.history.history, net.history.epoch,
            net.optimizer.iterations, net.optimizer.learning_rate)  # fmt: skip


@pytest.mark.parametrize("kind", ["arrays", "held out", "loader", "generator"])
def test_killed_at_any_batch_and_resumed(tmp_path, kind):
    path = str(tmp_path / "state")
    whole = outcome(run(path, kind))
    for kill_at in range(1, EPOCHS * PER_EPOCH):
        assert run(path, kind, kill_at) is None
        other_seed = run(path, kind, resume=True, seed=1000)  # its own weights do not matter
        assert outcome(other_seed) == whole, kill_at


def test_killed_again_and_again(tmp_path):
    path = str(tmp_path / "state")
    whole = outcome(run(path))
    run(path, kill_at=1)
    while (net := run(path, kill_at=1, resume=True, seed=9)) is None:
        pass
    assert outcome(net) == whole


@pytest.mark.parametrize("freq", [2, 3, "epoch"])
def test_saved_now_and_then(tmp_path, freq):
    path = str(tmp_path / "state")
    whole = outcome(run(path, freq=freq))
    for kill_at in range(4, EPOCHS * PER_EPOCH):
        assert run(path, kill_at=kill_at, freq=freq) is None
        assert outcome(run(path, resume=True, freq=freq)) == whole, kill_at


def test_epochs_in_one_call_are_the_same_bits(tmp_path):
    """Without hooks at batches the epoch is one call into C; resumed it is the same."""
    path = str(tmp_path / "state{epoch}")

    def fit(**more):
        pyact.set_seed(7)
        net = model(optimizers.SGD(0.1, momentum=0.9, global_clipnorm=1.0))
        save = callbacks.ModelCheckpoint(path, "loss")
        net.fit(**source("arrays"), epochs=EPOCHS, verbose=0, callbacks=[save], **more)
        return outcome(net)

    whole = fit()
    assert fit(resume_from=path.format(epoch=1)) == whole
    assert fit(resume_from=path.format(epoch=3)) == whole


def test_a_stopped_run_stays_stopped(tmp_path):
    path = str(tmp_path / "state")

    def fit(**more):
        pyact.set_seed(7)
        net = model()
        stop = callbacks.EarlyStopping("loss", min_delta=10.0, restore_best_weights=True)
        hooks = [callbacks.ModelCheckpoint(path, "loss"), stop]
        net.fit(**source("arrays"), epochs=9, verbose=0, callbacks=hooks, **more)
        return outcome(net)

    whole = fit()
    assert len(whole[3]) == 2
    assert fit(resume_from=path) == whole


@pytest.mark.parametrize("part", ["order", "slots", "seed", "callbacks", "sums"])
def test_each_part_of_the_state_is_needed(tmp_path, monkeypatch, part):
    """The comparison notices when any of it is left out."""
    from pyact import saving
    from pyact.training.steps import Steps

    path = str(tmp_path / "state")
    whole = outcome(run(path))
    assert run(path, kill_at=6) is None
    apply = saving.Checkpoint.apply

    def without(self, net):
        before = net._seed
        if part == "slots":
            self._arrays = {k: v for k, v in self._arrays.items() if "optimizer/" not in k}
        if part == "callbacks":
            self.callbacks = []
        apply(self, net)
        if part == "seed":
            net._seed = before
        if part == "order":
            net.engine.epochs_seen += 1

    monkeypatch.setattr(saving.Checkpoint, "apply", without)
    if part == "sums":
        monkeypatch.setattr(Steps, "restore", lambda *args: None)
    assert outcome(run(path, resume=True, seed=11)) != whole


def test_what_cannot_be_resumed_is_named(tmp_path):
    path = str(tmp_path / "state")
    run(path, kill_at=1)
    x, y = data()
    with pytest.raises(ValueError, match="the run had 50 rows in batches of 16, this one has 50"):
        model().fit(x, y, batch_size=10, verbose=0, resume_from=path, epochs=3)
    with pytest.raises(ValueError, match="the optimizer was Adam, the model has SGD"):
        model("sgd").fit(x, y, verbose=0, resume_from=path)
    other = pyact.Sequential([Input((5,)), Dense(17), Dense(2)])
    other.compile("adam", "mse")
    with pytest.raises(ValueError, match="the file has shape"):
        other.fit(x, y, verbose=0, resume_from=path)
    with pytest.raises(FileNotFoundError):
        model().fit(x, y, verbose=0, resume_from=tmp_path / "none")
    net = model()
    net.save(tmp_path / "model")
    with pytest.raises(ValueError, match="no position of a training"):
        net.fit(x, y, verbose=0, resume_from=tmp_path / "model")
    loaded = pyact.load_model(path)  # a training state is a model as well
    assert loaded.optimizer.iterations == 1


def test_hostile_states_are_value_errors(tmp_path):
    path = tmp_path / "state"
    run(str(path), kill_at=5)
    arrays, metadata = _safetensors.read(path)
    for old, new in (
        ('"batches",', '"batche",'), ('["epoch",1]', '["epoch",-1]'), ('"callbacks":', '"x":'),
        ('["best",{"float"', '["best",{"array"'), ('["wait",', '["wait","x"],["y",'),
        ('"position":{"dict"', '"position":{"list"'),
    ):  # fmt: skip
        assert old in metadata["pyact"], old
        _safetensors.write(
            tmp_path / "b", arrays, {"pyact": metadata["pyact"].replace(old, new, 1)}
        )
        with pytest.raises(ValueError):
            run(str(tmp_path / "b"), resume=True)


CHILD = """
import sys
sys.path[:0] = {paths!r}
import test_resume
path, out = sys.argv[1:]
import os
net = test_resume.run(path, resume=os.path.exists(path), optimizer=test_resume.momentum)
with open(out, "wb") as file:
    file.write(repr(test_resume.outcome(net)).encode())
"""


def momentum():
    return optimizers.RMSprop(0.01, momentum=0.5)


@pytest.mark.skipif(os.name != "posix", reason="needs SIGKILL")
def test_a_killed_process_and_its_successor(tmp_path):
    path, out = tmp_path / "state", tmp_path / "out"
    whole = repr(outcome(run(str(tmp_path / "whole"), optimizer=momentum))).encode()
    code = CHILD.format(paths=[p for p in sys.path if p] + [os.path.dirname(__file__)])
    rng, kills = random.Random(0), 0
    while not out.exists():
        child = subprocess.Popen([sys.executable, "-c", code, str(path), str(out)])
        try:
            child.wait(rng.uniform(0.2, 0.6) * (1 + kills / 4))
        except subprocess.TimeoutExpired:
            kills += 1
            child.send_signal(signal.SIGKILL)
        child.wait()
    assert out.read_bytes() == whole
