"""Callbacks under Keras's names: what happens at the beginnings and ends of training.

Subclass `Callback` and override hooks; `self.model` and `self.params` are set before the
first. `logs` is a dict of numbers: loss and metrics, val_* after validation. Hooks that
run at every batch bring Python into every batch; when no callback has one, a whole epoch
is a single call into C.
"""

from __future__ import annotations

from math import isfinite
from os import fspath
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar

from ._names import real, suggestion, unknown, whole

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from os import PathLike
    from typing import TextIO

    Logs = dict[str, Any] | None

__all__ = [
    "CSVLogger",
    "Callback",
    "CallbackList",
    "EarlyStopping",
    "History",
    "LambdaCallback",
    "LearningRateScheduler",
    "ModelCheckpoint",
    "NeuronHealth",
    "ProgressBar",
    "ReduceLROnPlateau",
    "TerminateOnNaN",
]


class Callback:
    """Base class: every hook does nothing.

    model: the model being trained; set model.stop_training = True to stop after this
    batch or epoch. params: {"epochs", "steps", "verbose"}.

    >>> class Shout(Callback):
    ...     def on_epoch_end(self, epoch, logs=None):
    ...         print(f"epoch {epoch} done!")
    """

    model: Any = None
    params: Mapping[str, Any] = MappingProxyType({})

    def set_model(self, model: Any) -> None:
        """Called with the model before training."""
        self.model = model

    def set_params(self, params: dict[str, Any]) -> None:
        """Called with {"epochs", "steps", "verbose"} before training."""
        self.params = params

    def get_state(self) -> dict[str, Any]:
        """What a resumed run must know: numbers, texts, None, arrays, lists and dicts of
        them. Not in Keras; see `ModelCheckpoint`."""
        return {}

    def set_state(self, state: dict[str, Any]) -> None:
        """Takes back what `get_state` gave; called after on_train_begin."""

    def on_train_begin(self, logs: Logs = None) -> None:
        """Before the first epoch of fit."""

    def on_train_end(self, logs: Logs = None) -> None:
        """After the last epoch of fit; logs are those of that epoch."""

    def on_epoch_begin(self, epoch: int, logs: Logs = None) -> None:
        """Before epoch `epoch`, counted from 0."""

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        """After epoch `epoch`, its validation included."""

    def on_train_batch_begin(self, batch: int, logs: Logs = None) -> None:
        """Before each batch of fit; calls on_batch_begin."""
        self.on_batch_begin(batch, logs)

    def on_train_batch_end(self, batch: int, logs: Logs = None) -> None:
        """After each batch of fit; calls on_batch_end."""
        self.on_batch_end(batch, logs)

    def on_batch_begin(self, batch: int, logs: Logs = None) -> None:
        """The older name of on_train_batch_begin."""

    def on_batch_end(self, batch: int, logs: Logs = None) -> None:
        """The older name of on_train_batch_end."""

    def on_test_begin(self, logs: Logs = None) -> None:
        """Before evaluate and before each validation of fit."""

    def on_test_end(self, logs: Logs = None) -> None:
        """After evaluate and after each validation of fit."""

    def on_test_batch_begin(self, batch: int, logs: Logs = None) -> None:
        """Before each batch of evaluate or validation."""

    def on_test_batch_end(self, batch: int, logs: Logs = None) -> None:
        """After each batch of evaluate or validation."""

    def on_predict_begin(self, logs: Logs = None) -> None:
        """Before predict."""

    def on_predict_end(self, logs: Logs = None) -> None:
        """After predict."""

    def on_predict_batch_begin(self, batch: int, logs: Logs = None) -> None:
        """Before each batch of predict."""

    def on_predict_batch_end(self, batch: int, logs: Logs = None) -> None:
        """After each batch of predict."""

    def on_progress(self, done: int, total: int | None, logs: Logs = None) -> None:
        """About 20 times a second, from inside an epoch: `done` of `total` batches are
        over (total is None when it is not known). Not in Keras."""


_TRAIN_BATCH = ("on_train_batch_begin", "on_train_batch_end", "on_batch_begin", "on_batch_end")
_TEST_BATCH = ("on_test_batch_begin", "on_test_batch_end")
_PREDICT_BATCH = ("on_predict_batch_begin", "on_predict_batch_end")
_EPOCH = ("on_epoch_begin", "on_epoch_end")
_PLAIN = (
    "on_train_begin",
    "on_train_end",
    "on_test_begin",
    "on_test_end",
    "on_predict_begin",
    "on_predict_end",
)


_HOOKS = {
    hook: getattr(Callback, hook)
    for hook in (*_PLAIN, *_EPOCH, *_TRAIN_BATCH, *_TEST_BATCH, *_PREDICT_BATCH, "on_progress")
}


def _overridden(callback: Callback) -> list[str]:
    """The hooks in which the callback does anything."""
    own, kind = vars(callback), type(callback)
    found = [h for h, plain in _HOOKS.items() if h in own or getattr(kind, h) is not plain]
    for new, old in zip(_TRAIN_BATCH[:2], _TRAIN_BATCH[2:], strict=True):
        if old in found and new not in found:
            found.append(new)  # which calls it
    return found


class CallbackList:
    """Several callbacks called as one; what fit, evaluate and predict talk to.

    callbacks: one Callback, several, or None. verbose: 0 silent, 1 a progress bar, 2 one
    line an epoch, "auto" the same as 1. add_history: add a History when there is none.

    wants_batches, wants_test_batches, wants_predict_batches: must hooks be called at
    every batch? When not, the engine runs the epoch in one call.

    Raises TypeError for anything that is not a Callback, ValueError for verbose.
    """

    def __init__(
        self,
        callbacks: Callback | Iterable[Callback] | None = None,
        *,
        model: Any = None,
        verbose: int | str = 0,
        add_history: bool = False,
        **params: Any,
    ) -> None:
        if callbacks is None:
            callbacks = []
        elif isinstance(callbacks, (Callback, CallbackList)):
            callbacks = [callbacks] if isinstance(callbacks, Callback) else callbacks.callbacks
        self.callbacks: list[Callback] = []
        for callback in callbacks:
            if not isinstance(callback, Callback):
                what = (
                    f"the class {callback.__name__}; make an instance: {callback.__name__}()"
                    if isinstance(callback, type)
                    else type(callback).__name__
                )
                raise TypeError(f"callbacks must be Callback objects, got {what}")
            self.callbacks.append(callback)
        level = _verbosity(verbose)
        if level and not any(isinstance(c, ProgressBar) for c in self.callbacks):
            self.callbacks.append(ProgressBar())
        if add_history and not any(isinstance(c, History) for c in self.callbacks):
            self.callbacks.append(History())
        self.params = {"verbose": level, "epochs": 1, "steps": None, **params}
        self.model = model
        for callback in self.callbacks:
            callback.set_params(self.params)
            if model is not None:
                callback.set_model(model)
        self._find_hooks()

    def _find_hooks(self) -> None:
        self._hooks: dict[str, list[Callable[..., Any]]] = {hook: [] for hook in _HOOKS}
        for callback in self.callbacks:
            for hook in _overridden(callback):
                self._hooks[hook].append(getattr(callback, hook))
        self.wants_batches = any(self._hooks[h] for h in _TRAIN_BATCH)
        self.wants_test_batches = any(self._hooks[h] for h in _TEST_BATCH)
        self.wants_predict_batches = any(self._hooks[h] for h in _PREDICT_BATCH)

    @property
    def history(self) -> History | None:
        """The History among the callbacks."""
        return next((c for c in self.callbacks if isinstance(c, History)), None)

    def append(self, callback: Callback) -> None:
        """Adds one more."""
        self.callbacks.append(callback)
        callback.set_params(self.params)
        if self.model is not None:
            callback.set_model(self.model)
        self._find_hooks()

    def set_params(self, **params: Any) -> None:
        """Changes params ("steps" once it is known, say) for all callbacks."""
        self.params.update(params)

    def _call(self, hook: str, logs: Logs, *args: Any) -> None:
        logs = {} if logs is None else logs
        for function in self._hooks[hook]:
            function(*args, logs)

    def on_train_begin(self, logs: Logs = None) -> None:
        self._find_hooks()
        self._call("on_train_begin", logs)

    def on_train_end(self, logs: Logs = None) -> None:
        self._call("on_train_end", logs)

    def on_epoch_begin(self, epoch: int, logs: Logs = None) -> None:
        self._call("on_epoch_begin", logs, epoch)

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        self._call("on_epoch_end", logs, epoch)

    def on_train_batch_begin(self, batch: int, logs: Logs = None) -> None:
        self._call("on_train_batch_begin", logs, batch)

    def on_train_batch_end(self, batch: int, logs: Logs = None) -> None:
        self._call("on_train_batch_end", logs, batch)

    def on_test_begin(self, logs: Logs = None) -> None:
        self._call("on_test_begin", logs)

    def on_test_end(self, logs: Logs = None) -> None:
        self._call("on_test_end", logs)

    def on_test_batch_begin(self, batch: int, logs: Logs = None) -> None:
        self._call("on_test_batch_begin", logs, batch)

    def on_test_batch_end(self, batch: int, logs: Logs = None) -> None:
        self._call("on_test_batch_end", logs, batch)

    def on_predict_begin(self, logs: Logs = None) -> None:
        self._call("on_predict_begin", logs)

    def on_predict_end(self, logs: Logs = None) -> None:
        self._call("on_predict_end", logs)

    def on_predict_batch_begin(self, batch: int, logs: Logs = None) -> None:
        self._call("on_predict_batch_begin", logs, batch)

    def on_predict_batch_end(self, batch: int, logs: Logs = None) -> None:
        self._call("on_predict_batch_end", logs, batch)

    def on_progress(self, done: int, total: int | None, logs: Logs = None) -> None:
        self._call("on_progress", logs, done, total)

    def states(self) -> list[Any]:
        """The states of all callbacks that have one, with their classes."""
        found = [(type(c).__name__, c.get_state()) for c in self.callbacks]
        return [[name, state] for name, state in found if state]

    def set_states(self, states: Any) -> None:
        """Gives back what `states` gave, in order, class by class."""
        waiting = list(self.callbacks)
        for name, state in states:
            for callback in waiting:
                if type(callback).__name__ == name:
                    callback.set_state(state)
                    waiting.remove(callback)
                    break

    def defer_saves(self, on: bool = True) -> None:
        """From now on checkpoints only say where they want to save; see `deferred_paths`."""
        for callback in self.callbacks:
            if isinstance(callback, ModelCheckpoint) and callback.save_training_state:
                callback.deferred = [] if on else None

    def deferred_paths(self) -> list[str]:
        """Where checkpoints have wanted to save since this was called last."""
        found: list[str] = []
        for callback in self.callbacks:
            if isinstance(callback, ModelCheckpoint) and callback.deferred:
                found += callback.deferred
                callback.deferred = []
        return found

    def abandon(self) -> None:
        """The run was broken off by an exception: put the screen and files in order."""
        for callback in self.callbacks:
            if isinstance(callback, (ProgressBar, CSVLogger)):
                callback.abandon()


def _verbosity(verbose: Any) -> int:
    if verbose == "auto":
        return 1
    if verbose not in (0, 1, 2):
        raise ValueError(f"verbose must be 0, 1, 2 or 'auto', got {verbose!r}")
    return int(verbose)


# ---- records and progress ----------------------------------------------------------------


class History(Callback):
    """What `fit` returns: `history` maps each name to its values, one an epoch; `epoch`
    lists the epochs."""

    def __init__(self) -> None:
        self.history: dict[str, list[Any]] = {}
        self.epoch: list[int] = []

    def on_train_begin(self, logs: Logs = None) -> None:
        self.epoch = []
        self.history = {}

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        self.epoch.append(epoch)
        for name, value in (logs or {}).items():
            self.history.setdefault(name, []).append(value)

    def get_state(self) -> dict[str, Any]:
        return {"epoch": self.epoch, "history": self.history}

    def set_state(self, state: dict[str, Any]) -> None:
        self.epoch = [int(k) for k in state["epoch"]]
        self.history = {name: list(values) for name, values in state["history"].items()}

    def plot(self, names: Iterable[str] | None = None, **options: Any) -> Any:
        """Draws the learning curves, training and validation together; see
        `pyact._plot.plot_history`. Needs matplotlib. Returns the axes."""
        from ._plot import plot_history

        return plot_history(self, names, **options)

    def __repr__(self) -> str:
        return f"<History of {len(self.epoch)} epochs: {', '.join(self.history) or 'empty'}>"


class ProgressBar(Callback):
    """Progress by tqdm, or by plain text when tqdm is missing or nobody watches.

    fit adds it by itself unless verbose=0. file: where to write, default the standard
    output.
    """

    def __init__(self, file: TextIO | None = None) -> None:
        self.file = file
        self._bar: Any = None
        self._mode = ""  # "fit", "evaluate", "predict" or "" while nothing runs
        self._done = 0

    def _open(self, total: int | None, title: str = "") -> None:
        from ._progress import open_bar

        self._bar = open_bar(self.params.get("verbose", 1), total, title, self.file)
        self._done = 0

    def _close(self, logs: Logs) -> None:
        if self._bar is not None:
            total = self.params.get("steps")
            self._bar.close(self._done if total is None else total, logs or {})
            self._bar = None

    def on_train_begin(self, logs: Logs = None) -> None:
        self._mode = "fit"

    def on_train_end(self, logs: Logs = None) -> None:
        self._mode = ""

    def on_epoch_begin(self, epoch: int, logs: Logs = None) -> None:
        title = f"Epoch {epoch + 1}/{self.params.get('epochs', 1)}"
        self._open(self.params.get("steps"), title)

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        self._close(logs)

    def on_test_begin(self, logs: Logs = None) -> None:
        if not self._mode:  # the validations of fit go on its own line
            self._mode = "evaluate"
            self._open(self.params.get("steps"))

    def on_test_end(self, logs: Logs = None) -> None:
        if self._mode == "evaluate":
            self._close(logs)
            self._mode = ""

    def on_predict_begin(self, logs: Logs = None) -> None:
        self._mode = "predict"
        self._open(self.params.get("steps"))

    def on_predict_end(self, logs: Logs = None) -> None:
        self._close(None)
        self._mode = ""

    def on_progress(self, done: int, total: int | None, logs: Logs = None) -> None:
        if self._bar is not None:
            self._done = done
            self._bar.update(done, logs or {})

    def abandon(self) -> None:
        """The run was broken off: close the bar where it stands."""
        if self._bar is not None:
            self._bar.abandon()
        self._bar, self._mode = None, ""


class CSVLogger(Callback):
    """Writes one row an epoch into a CSV file: epoch, then the names in `logs`, sorted.

    separator: between fields. append: go on with an existing file (its header is kept).
    Each row is on disk when its epoch ends.
    """

    def __init__(
        self, filename: str | PathLike[str], separator: str = ",", append: bool = False
    ) -> None:
        self.filename = fspath(filename)  # not the number of an open file
        self.separator = separator
        self.append = append
        self._file: Any = None
        self._writer: Any = None
        self._names: list[str] | None = None

    def on_train_begin(self, logs: Logs = None) -> None:
        self._names = None
        if self.append:
            try:
                with open(self.filename, newline="", encoding="utf-8") as old:
                    header = old.readline().rstrip("\r\n")
                self._names = header.split(self.separator)[1:] if header else None
            except FileNotFoundError:
                pass
        mode = "a" if self.append else "w"
        self._file = open(self.filename, mode, newline="", encoding="utf-8")  # noqa: SIM115
        self._writer = None

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        import csv

        logs = logs or {}
        if self._writer is None:
            new = self._names is None
            names = sorted(logs) if self._names is None else self._names
            self._writer = csv.DictWriter(
                self._file,
                ["epoch", *names],
                restval="NA",
                extrasaction="ignore",
                delimiter=self.separator,
                lineterminator="\n",
            )
            if new:
                self._writer.writeheader()
        row = {name: _cell(value) for name, value in logs.items()}
        self._writer.writerow({"epoch": epoch, **row})
        self._file.flush()

    def on_train_end(self, logs: Logs = None) -> None:
        self.abandon()

    def abandon(self) -> None:
        """Closes the file."""
        if self._file is not None:
            self._file.close()
        self._file = self._writer = None


def _cell(value: Any) -> Any:
    if getattr(value, "ndim", 0):
        return " ".join(str(float(v)) for v in value)
    return float(value) if hasattr(value, "__float__") else value


class LambdaCallback(Callback):
    """A callback from functions, one for each hook, given as keywords.

    on_epoch_begin(epoch, logs), on_epoch_end(epoch, logs), on_train_begin(logs),
    on_train_end(logs), on_train_batch_begin(batch, logs), on_train_batch_end(batch, logs),
    and any other hook of `Callback` by its name.

    Raises ValueError for a name that is no hook, TypeError for what cannot be called.

    >>> show = LambdaCallback(on_epoch_end=lambda epoch, logs: print(epoch, logs))
    >>> show.on_epoch_end(0, {"loss": 0.5})
    0 {'loss': 0.5}
    """

    def __init__(
        self,
        on_epoch_begin: Callable[..., Any] | None = None,
        on_epoch_end: Callable[..., Any] | None = None,
        on_train_begin: Callable[..., Any] | None = None,
        on_train_end: Callable[..., Any] | None = None,
        on_train_batch_begin: Callable[..., Any] | None = None,
        on_train_batch_end: Callable[..., Any] | None = None,
        **others: Callable[..., Any] | None,
    ) -> None:
        hooks = {
            "on_epoch_begin": on_epoch_begin,
            "on_epoch_end": on_epoch_end,
            "on_train_begin": on_train_begin,
            "on_train_end": on_train_end,
            "on_train_batch_begin": on_train_batch_begin,
            "on_train_batch_end": on_train_batch_end,
            **others,
        }
        known = [name for name in vars(Callback) if name.startswith("on_")]
        for name, function in hooks.items():
            if name not in known:
                raise unknown("hook", name, known)
            if function is None:
                continue
            if not callable(function):
                raise TypeError(f"{name} must be a function, got {type(function).__name__}")
            setattr(self, name, function)


# ---- callbacks that watch a number -------------------------------------------------------------

_UP = ("accuracy", "acc", "auc", "precision", "recall")


class _Monitor(Callback):
    """What watching one of the logs has in common: better, and by how much."""

    def __init__(self, monitor: str, mode: str, min_delta: float) -> None:
        if mode not in ("auto", "min", "max"):
            raise unknown("mode", mode, ("auto", "min", "max"))
        self.monitor = monitor
        self.mode = mode
        self.min_delta = abs(real("min_delta", min_delta))
        self._up: bool | None = None if mode == "auto" else mode == "max"
        self._warned = False

    _kept: ClassVar[tuple[str, ...]] = ("best",)  # attributes that are its state

    def get_state(self) -> dict[str, Any]:
        found = {name: getattr(self, name) for name in self._kept}
        return {k: float(v) if k == "best" and v is not None else v for k, v in found.items()}

    def set_state(self, state: dict[str, Any]) -> None:
        for name in self._kept:
            value = state[name]
            if name != "best_weights" and not isinstance(value, (int, float, type(None))):
                raise ValueError(f"{type(self).__name__}: its state has a {name} that is no number")
            setattr(self, name, value)

    def _direction(self) -> bool:
        """Is more better? Asked once the model and its metrics are known."""
        if self._up is None:
            name = self.monitor.removeprefix("val_")
            metrics = getattr(self.model, "metrics", None) or ()
            known = {getattr(m, "name", ""): getattr(m, "direction", None) for m in metrics}.get(
                name
            )
            if known is not None:
                self._up = known == "up"
            else:
                self._up = name != "loss" and name.endswith(_UP)
        return self._up

    def _better(self, value: float, than: float | None) -> bool:
        if than is None:
            return value == value
        if self._direction():
            return value - self.min_delta > than
        return value + self.min_delta < than

    def _value(self, logs: Logs) -> float | None:
        logs = logs or {}
        if self.monitor in logs:
            return float(logs[self.monitor])
        if not self._warned:
            import warnings

            self._warned = True
            hint = suggestion(self.monitor, logs)
            warnings.warn(
                f"{type(self).__name__} watches {self.monitor!r}, which is not in the "
                f"logs{hint or '.'} Available: {', '.join(logs)}",
                stacklevel=2,
            )
        return None


class EarlyStopping(_Monitor):
    """Stops training when `monitor` has not improved for `patience` epochs.

    min_delta: smaller changes do not count. mode: "min", "max", or "auto" (accuracies,
    auc, precision and recall up, everything else down). baseline: improvements count
    only beyond this value. restore_best_weights: at the end of training put back the
    weights of the best epoch. start_from_epoch: epochs before are not looked at.

    After training: best, best_epoch, stopped_epoch (0: not stopped).
    """

    def __init__(
        self,
        monitor: str = "val_loss",
        min_delta: float = 0.0,
        patience: int = 0,
        verbose: int = 0,
        mode: str = "auto",
        baseline: float | None = None,
        restore_best_weights: bool = False,
        start_from_epoch: int = 0,
    ) -> None:
        super().__init__(monitor, mode, min_delta)
        self.patience = whole("patience", patience, 0)
        self.verbose = verbose
        self.baseline = None if baseline is None else real("baseline", baseline)
        self.restore_best_weights = restore_best_weights
        self.start_from_epoch = whole("start_from_epoch", start_from_epoch, 0)
        self.on_train_begin()

    def on_train_begin(self, logs: Logs = None) -> None:
        self.wait = 0
        self.stopped_epoch = 0
        self.best: float | None = None
        self.best_weights: list[Any] | None = None
        self.best_epoch = 0

    _kept = ("best", "wait", "stopped_epoch", "best_epoch", "best_weights")

    def _keep(self, epoch: int) -> None:
        self.best_epoch = epoch
        if self.restore_best_weights:
            self.best_weights = [w.copy() for w in self.model.get_weights()]

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        value = self._value(logs)
        if value is None or epoch < self.start_from_epoch:
            return
        if self.restore_best_weights and self.best_weights is None:
            self._keep(epoch)  # something to go back to even if nothing ever improves
        self.wait += 1
        if self._better(value, self.best):
            self.best = value
            self._keep(epoch)
            if self.baseline is None or self._better(value, self.baseline):
                self.wait = 0
            return
        if self.wait >= self.patience and epoch > 0:
            self.stopped_epoch = epoch
            self.model.stop_training = True

    def on_train_end(self, logs: Logs = None) -> None:
        if self.stopped_epoch and self.verbose:
            print(f"Epoch {self.stopped_epoch + 1}: early stopping")
        if self.restore_best_weights and self.best_weights is not None:
            if self.verbose:
                print(f"Restoring weights from the best epoch: {self.best_epoch + 1}")
            self.model.set_weights(self.best_weights)


class ReduceLROnPlateau(_Monitor):
    """Multiplies the learning rate by `factor` when `monitor` has not improved for
    `patience` epochs.

    min_delta: smaller changes do not count. cooldown: epochs to wait after a reduction.
    min_lr: the learning rate does not go below. Adds "learning_rate" to the logs.

    Raises ValueError for factor outside of (0, 1).
    """

    def __init__(
        self,
        monitor: str = "val_loss",
        factor: float = 0.1,
        patience: int = 10,
        verbose: int = 0,
        mode: str = "auto",
        min_delta: float = 1e-4,
        cooldown: int = 0,
        min_lr: float = 0.0,
    ) -> None:
        super().__init__(monitor, mode, min_delta)
        self.factor = real("factor", factor, above=0, below=1)
        self.patience = whole("patience", patience, 0)
        self.verbose = verbose
        self.cooldown = whole("cooldown", cooldown, 0)
        self.min_lr = real("min_lr", min_lr, 0)
        self.on_train_begin()

    def on_train_begin(self, logs: Logs = None) -> None:
        self.best: float | None = None
        self.wait = 0
        self.cooldown_counter = 0

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        optimizer = self.model.optimizer
        value = self._value(logs)
        if logs is not None:
            logs["learning_rate"] = float(optimizer.learning_rate)
        if value is None:
            return
        if self.cooldown_counter > 0:
            self.cooldown_counter -= 1
            self.wait = 0
        if self._better(value, self.best):
            self.best = value
            self.wait = 0
        elif self.cooldown_counter == 0:
            self.wait += 1
            if self.wait >= self.patience:
                self._reduce(epoch, optimizer)

    _kept = ("best", "wait", "cooldown_counter")

    def _reduce(self, epoch: int, optimizer: Any) -> None:
        old = float(optimizer.learning_rate)
        if old <= self.min_lr:
            return
        optimizer.learning_rate = max(old * self.factor, self.min_lr)
        self.cooldown_counter = self.cooldown
        self.wait = 0
        if self.verbose:
            rate = float(optimizer.learning_rate)
            print(f"Epoch {epoch + 1}: ReduceLROnPlateau reducing learning rate to {rate:g}")


class ModelCheckpoint(_Monitor):
    """Saves the model, or its weights, every epoch or every `save_freq` batches.

    filepath: may hold {epoch:02d} (counted from 1), {val_loss:.3f} and other logs.
    save_best_only: only when `monitor` is better than at every save before.
    save_weights_only: `model.save_weights` instead of `model.save`. save_freq: "epoch" or
    a number of batches. initial_value_threshold: what the first save must be better than.
    save_training_state: in files of the whole model, also the position in the run, its
    history and the states of its callbacks, for `fit(resume_from=...)`; such a file is
    written when all callbacks have had their hook.

    Raises ValueError for a name in filepath that is not in the logs.
    """

    def __init__(
        self,
        filepath: str | PathLike[str],
        monitor: str = "val_loss",
        verbose: int = 0,
        save_best_only: bool = False,
        save_weights_only: bool = False,
        mode: str = "auto",
        save_freq: str | int = "epoch",
        initial_value_threshold: float | None = None,
        save_training_state: bool = True,
    ) -> None:
        super().__init__(monitor, mode, 0.0)
        from os import fspath

        self.filepath = fspath(filepath)
        self.verbose = verbose
        self.save_best_only = save_best_only
        self.save_weights_only = save_weights_only
        self.best = initial_value_threshold
        self.save_freq = save_freq
        self.save_training_state = bool(save_training_state) and not save_weights_only
        self.deferred: list[str] | None = None  # paths, while `fit` runs
        self._batches = 0
        self._epoch = 0
        if save_freq != "epoch":
            if isinstance(save_freq, str):
                raise ValueError(f"save_freq must be 'epoch' or an integer, got {save_freq!r}")
            self._every = whole("save_freq", save_freq, 1)
            # set here and not defined below: otherwise every batch would call Python
            self.on_train_batch_end = self._count  # type: ignore[method-assign]

    def set_model(self, model: Any) -> None:
        super().set_model(model)
        method = "save_weights" if self.save_weights_only else "save"
        if not callable(getattr(model, method, None)):
            raise TypeError(
                f"ModelCheckpoint needs model.{method}(path), which {type(model).__name__} "
                "does not have; EarlyStopping(restore_best_weights=True) keeps the best "
                "weights in memory"
            )

    def on_train_begin(self, logs: Logs = None) -> None:
        self._batches = 0

    def on_epoch_begin(self, epoch: int, logs: Logs = None) -> None:
        self._epoch = epoch

    def _count(self, batch: int, logs: Logs = None) -> None:
        self._batches += 1
        if self._batches % self._every == 0:
            self._save(self._epoch, {"batch": batch + 1, **(logs or {})})

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        if self.save_freq == "epoch":
            self._save(epoch, logs or {})

    def _save(self, epoch: int, logs: dict[str, Any]) -> None:
        if self.save_best_only:
            value = self._value(logs)
            if value is None or not self._better(value, self.best):
                return
            self.best = value
        try:
            path = self.filepath.format(**{**logs, "epoch": epoch + 1})
        except (KeyError, IndexError) as error:
            raise ValueError(
                f"ModelCheckpoint: filepath {self.filepath!r} names {error}, which is not in "
                f"the logs. Available: epoch, {', '.join(logs)}"
            ) from None
        if self.verbose:
            print(f"Epoch {epoch + 1}: saving model to {path}")
        if self.deferred is not None:
            self.deferred.append(path)
            return
        (self.model.save_weights if self.save_weights_only else self.model.save)(path)

    _kept = ("best", "_batches")


class LearningRateScheduler(Callback):
    """Sets the learning rate before each epoch to schedule(epoch, learning_rate), or to
    schedule(epoch) if it takes one argument. Adds "learning_rate" to the logs.

    Raises ValueError when the schedule gives anything but a finite number >= 0.
    """

    def __init__(self, schedule: Callable[..., float], verbose: int = 0) -> None:
        if not callable(schedule):
            raise TypeError(f"schedule must be a function, got {type(schedule).__name__}")
        self.schedule = schedule
        self.verbose = verbose
        self._two: bool | None = None

    def _takes_two(self) -> bool:
        if self._two is None:
            import inspect

            try:
                inspect.signature(self.schedule).bind(0, 0.0)
                self._two = True
            except TypeError:
                self._two = False
            except ValueError:  # a built-in without a signature
                self._two = True
        return self._two

    def on_epoch_begin(self, epoch: int, logs: Logs = None) -> None:
        optimizer = self.model.optimizer
        old = float(optimizer.learning_rate)
        new = self.schedule(epoch, old) if self._takes_two() else self.schedule(epoch)
        if getattr(new, "shape", None) == ():  # a NumPy scalar
            new = float(new)
        optimizer.learning_rate = real(f"the learning rate of epoch {epoch}", new, 0)
        if self.verbose:
            print(f"Epoch {epoch + 1}: LearningRateScheduler setting learning rate to {new:g}")

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        if logs is not None:
            logs["learning_rate"] = float(self.model.optimizer.learning_rate)


class TerminateOnNaN(Callback):
    """Stops training at the batch whose loss is NaN or infinite."""

    def on_batch_end(self, batch: int, logs: Logs = None) -> None:
        loss = (logs or {}).get("loss")
        if loss is not None and not isfinite(float(loss)):
            print(f"Batch {batch}: Invalid loss, terminating training")
            self.model.stop_training = True


class NeuronHealth(Callback):
    """Saturated values, dead units and the gradient's norm of every layer, epoch by epoch.

    A value y = f(z) of an activation is *saturated* where f'(z) is at most a twentieth of
    f's largest slope, so that hardly any gradient passes: relu's zeros, tanh beyond
    +-0.975, sigmoid below .013 and above .987. Of gelu, swish and mish, whose slope y does
    not tell, those within [-0.001, 0] count; of leaky_relu none. A unit (of a convolution:
    a channel) is *dead* when all of its values that were looked at in an epoch were
    saturated: then it has learned next to nothing. The *gradient norm* of a layer is
    sqrt(mean of |g|^2), g the gradient in all of its weights as the optimizer sees it.
    Looked at is every `every`-th batch of an epoch, from the first on.

    Counting is a part of the compiled step and changes none of its bits. `fit`'s History
    gets `saturated/NAME`, `dead/NAME` (shares from 0 to 1) and `gradient_norm/NAME` for
    each layer NAME; here they are as dicts of lists, `saturated`, `dead` and
    `gradient_norm`. Layers inside a nested model are not looked at, those used several
    times at their first use.

    every: batches from one look to the next; 1 counts everything. Raises ValueError for every < 1.

    >>> import numpy as np, pyact
    >>> from pyact import layers
    >>> x = np.linspace(-1, 1, 64).reshape(-1, 1)
    >>> model = pyact.Sequential([layers.Dense(8, "relu", name="hidden"), layers.Dense(1)])
    >>> model.compile("sgd", "mse")
    >>> health = NeuronHealth()
    >>> history = model.fit(x, x * x, epochs=2, verbose=0, callbacks=[health])
    >>> sorted(k for k in history.history if "hidden" in k)
    ['dead/hidden', 'gradient_norm/hidden', 'saturated/hidden']
    """

    def __init__(self, every: int = 32) -> None:
        self.every = whole("every", every, 1)
        self.saturated: dict[str, list[float]] = {}
        self.dead: dict[str, list[float]] = {}
        self.gradient_norm: dict[str, list[float]] = {}

    def on_train_begin(self, logs: Logs = None) -> None:
        self.saturated, self.dead, self.gradient_norm = {}, {}, {}

    def take(self, shares: Iterable[tuple[str, Any]], norms: Iterable[tuple[str, float]]) -> None:
        """Called by `fit` at the end of an epoch: (layer, share of saturated values of each
        unit) and (layer, gradient norm)."""
        for name, share in shares:
            self.saturated.setdefault(name, []).append(float(share.mean()))
            self.dead.setdefault(name, []).append(float((share == 1).mean()))
        for name, norm in norms:
            self.gradient_norm.setdefault(name, []).append(norm)

    def _tables(self) -> dict[str, dict[str, list[float]]]:
        return {
            "saturated": self.saturated,
            "dead": self.dead,
            "gradient_norm": self.gradient_norm,
        }

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        history = getattr(self.model, "history", None)
        if history is not None:
            for kind, table in self._tables().items():
                for name, values in table.items():
                    history.history[f"{kind}/{name}"] = list(values)

    def get_state(self) -> dict[str, Any]:
        return self._tables()

    def set_state(self, state: dict[str, Any]) -> None:
        for kind, table in state.items():
            setattr(self, kind, {name: list(values) for name, values in table.items()})

    def plot(self, **options: Any) -> Any:
        """Draws the three over the epochs, one line a layer; see `pyact._plot.plot_health`.
        Needs matplotlib. Returns the axes."""
        from ._plot import plot_health

        return plot_health(self, **options)
