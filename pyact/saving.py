"""Models, weights and training states as files: what `Model.save`, `load_model` and
`fit(resume_from=...)` stand on.

A file is one of the safetensors format (`pyact._safetensors`): the arrays are the weights,
the optimizer's state and what callbacks keep; the metadata has one entry, "pyact", a JSON
object that describes layers, loss, metrics, optimizer and the position of the training.

    0.kernel, 0.bias, 2.0.kernel    weights: place in the model, place in a model inside, name
    optimizer/1/0.kernel            second slot (moment, accumulator) of that weight
    training/...                    numbers of the unfinished epoch and of callbacks

Whatever a file names is looked up in the tables of pyact's own layers, losses, metrics,
optimizers, initializers and activations, and made by its constructor. Nothing in a file
can import a module, evaluate code, open another file or set an attribute.
"""

from __future__ import annotations

import os
import re
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from . import losses, metrics, models, optimizers
from ._safetensors import DTYPES, File, write
from .layers.base import make_layer
from .variables import zeros_within

if TYPE_CHECKING:
    from collections.abc import Callable
    from os import PathLike

    from numpy.typing import NDArray

    from .models import Model
    from .variables import Weight

    Array = NDArray[Any]
    Path = str | PathLike[str]

__all__ = [
    "Checkpoint",
    "load_model",
    "load_weights",
    "save_checkpoint",
    "save_model",
    "save_weights",
]

_FORMAT = 1
_MAX_DEPTH = 64
_MAX_CONTAINERS = 1 << 14
_FLOATS = ("F16", "F32", "F64")


# ---- JSON, within bounds -----------------------------------------------------------------


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} cannot be written to a file")


def _dumps(value: Any) -> str:
    import json

    return json.dumps(value, separators=(",", ":"), allow_nan=False, default=_plain)


_ESCAPES, _TEXTS = re.compile(r"\\.", re.DOTALL), re.compile(r'"[^"]*"')


def _loads(text: str) -> Any:
    """The value of a JSON text that is neither deep nor of very many parts."""
    import json

    depth = count = 0
    for mark in re.finditer(r"[\[\]{}]", _TEXTS.sub("", _ESCAPES.sub("", text))):
        opens = mark.group() in "[{"
        depth += 1 if opens else -1
        count += opens
        if depth > _MAX_DEPTH:
            raise ValueError(f"JSON nested over {_MAX_DEPTH} deep")
    if count > _MAX_CONTAINERS:
        raise ValueError(f"JSON with over {_MAX_CONTAINERS} lists and objects")

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) != len(pairs):
            raise ValueError("JSON with a key that is there twice")
        return found

    def constant(name: str) -> Any:
        raise ValueError(f"JSON with {name}, which is no number")

    return json.loads(text, object_pairs_hook=unique, parse_constant=constant)


# ---- what a model is made of ---------------------------------------------------------------


def _named(model: Model) -> dict[str, Weight]:
    """All weights by the names that they have in files."""
    model._require_built("its weights")
    found: dict[str, Weight] = {}
    seen: set[int] = set()

    def walk(inside: Model, prefix: str) -> None:
        for k, layer in enumerate(inside.layers):
            if isinstance(layer, models.Model):
                walk(layer, f"{prefix}{k}.")
                continue
            for weight in layer.weights:
                if id(weight) in seen:
                    continue  # a layer used twice has its weights once
                seen.add(id(weight))
                name = unique = f"{prefix}{k}.{weight.name}"
                again = 1
                while unique in found:
                    unique, again = f"{name}_{again}", again + 1
                found[unique] = weight

    walk(model, "")
    return found


def _slots(model: Model) -> dict[str, Array]:
    """The optimizer's arrays for each weight, as views of its memory."""
    engine = model._engine
    if engine is None or engine.state is None:
        return {}
    found = {}
    for name, weight in _named(model).items():
        for k in range(engine.state.slots):
            assert weight.block is not None
            block = engine.state.slot(weight.block, k)
            found[f"optimizer/{k}/{name}"] = block.view(weight.offset, weight.shape)
    return found


def _describe(what: str, make: Callable[[], Any]) -> Any:
    """What `make` gives, or, for what is no part of pyact, why it cannot be written."""
    try:
        found = make()
        _dumps(found)
    except (TypeError, ValueError, NotImplementedError) as error:
        return {"unknown": f"{what}: {error}"}
    return found


def _known(thing: Any, table: Any, serialize: Callable[[Any], Any]) -> Any:
    if table.get(type(thing).__name__) is not type(thing):
        name = getattr(thing, "name", type(thing).__name__)
        raise ValueError(f"{name!r} is not one of pyact's own")
    return serialize(thing)


def _metric(identifier: Any) -> Any:
    if isinstance(identifier, (str, dict)):
        return identifier
    return _known(metrics.get(identifier), metrics._TABLE, metrics.serialize)


def _compiled(model: Model) -> Any:
    engine = model._engine
    if engine is None or (engine.loss is None and engine.optimizer is None):
        return None
    opt = engine.optimizer
    found = [
        None if loss is None else
        _describe("the loss", partial(_known, loss, losses._TABLE, losses.serialize))
        for loss in engine.losses
    ]  # fmt: skip
    loss = found[0] if len(found) == 1 else found
    make_optimizer = partial(_known, opt, optimizers._TABLE, optimizers.serialize)
    return {
        "loss": loss,
        **({} if set(engine.loss_weights) == {1.0} else {"loss_weights": engine.loss_weights}),
        "optimizer": None if opt is None else _describe("the optimizer", make_optimizer),
        "metrics": [
            [_describe("a metric", partial(_metric, m)), heeds, k]
            for m, heeds, k in engine._metric_ids
        ],
        "iterations": 0 if opt is None else opt.iterations,
        "rate": None if opt is None or opt.schedule is not None else opt.learning_rate,
        "epochs_seen": engine.epochs_seen,
    }


def _unknown(described: Any) -> str | None:
    """Why this cannot be made again, or None."""
    return described.get("unknown") if isinstance(described, dict) else None


def _state(model: Model, with_optimizer: bool) -> tuple[dict[str, Array], dict[str, Any]]:
    """A model as arrays and a description."""
    arrays: dict[str, Array] = {name: np.asarray(w) for name, w in _named(model).items()}

    def architecture() -> dict[str, Any]:
        return {"class_name": type(model).__name__, "config": model.get_config()}

    item = _describe("the architecture", architecture)
    info: dict[str, Any] = {"format": _FORMAT, "model": item, "seed": model._seed}
    if with_optimizer:
        info["compile"] = compiled = _compiled(model)
        if compiled is not None and compiled["iterations"]:
            arrays.update(_slots(model))
    return arrays, info


def _store(path: Path, arrays: dict[str, Array], info: dict[str, Any], overwrite: bool) -> None:
    if not overwrite and os.path.lexists(path):
        raise FileExistsError(f"{os.fspath(path)!r} is there already; overwrite=True replaces it")
    write(path, arrays, {"pyact": _dumps(info)})


def save_model(
    model: Model, path: Path, overwrite: bool = True, include_optimizer: bool = True
) -> None:
    """See `Model.save`."""
    arrays, info = _state(model, include_optimizer)
    why = _unknown(info["model"])
    if why is not None:
        import warnings

        warnings.warn(
            f"{why}. The file can be given to load_weights and resume_from of a model made by "
            "the same code, but not to load_model",
            stacklevel=3,
        )
    _store(path, arrays, info, overwrite)


def save_weights(model: Model, path: Path, overwrite: bool = True) -> None:
    """See `Model.save_weights`."""
    _store(path, {n: np.asarray(w) for n, w in _named(model).items()}, {"format": _FORMAT},
           overwrite)  # fmt: skip


# ---- reading -------------------------------------------------------------------------------


def _info(file: File) -> dict[str, Any]:
    """The description in a file, as far as it can be checked without a model."""
    try:
        text = file.metadata.get("pyact")
        if text is None:
            raise ValueError("no model of pyact: the metadata has no entry 'pyact'")
        info = _loads(text)
        if not isinstance(info, dict):
            raise ValueError("the description is not a JSON object")
        if info.get("format") != _FORMAT:
            raise ValueError(
                f"format {info.get('format')!r}, expected {_FORMAT}; a newer pyact wrote it?"
            )
        seed = info.get("seed", 0)
        if type(seed) is not int or not 0 <= seed < 2**64:
            raise ValueError("the seed is not a whole number of 64 bits")
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{file.path}: {error}") from None
    return info


def _is_weight(name: str) -> bool:
    return not name.startswith(("optimizer/", "training/"))


def _check(file: File, wanted: dict[str, Any], kind: str) -> None:
    """Has the file these arrays, of these shapes, and floating-point?"""
    for name, array in wanted.items():
        if name not in file.entries:
            raise ValueError(
                f"{file.path}: {kind} {name!r} of shape {array.shape} is not in the file; was it "
                "saved from another model?"
            )
        dtype, shape, _, _ = file.entries[name]
        if shape != array.shape:
            raise ValueError(
                f"{file.path}: {kind} {name!r}: the file has shape {shape}, the model {array.shape}"
            )
        if dtype not in _FLOATS:
            raise ValueError(f"{file.path}: {kind} {name!r} is of {dtype}, expected a float")


def _fill(file: File, wanted: dict[str, Any]) -> None:
    for name, array in wanted.items():
        if DTYPES[file.entries[name][0]] == array.dtype:
            file.into(name, np.asarray(array))
        else:
            np.asarray(array)[...] = file.array(name)


def _check_weights(file: File, model: Model) -> dict[str, Any]:
    wanted: dict[str, Any] = dict(_named(model))
    _check(file, wanted, "weight")
    extra = [name for name in file.entries if _is_weight(name) and name not in wanted]
    if extra:
        raise ValueError(
            f"{file.path}: weight {extra[0]!r} is in the file but not in model {model.name!r}; "
            f"{len(extra)} such in all"
        )
    return wanted


def load_weights(model: Model, path: Path) -> None:
    """See `Model.load_weights`."""
    with File(path) as file:
        wanted = _check_weights(file, model)
        found = {name: file.array(name) for name in wanted}  # all is read before one is changed
    for name, weight in wanted.items():
        np.asarray(weight)[...] = found[name]


def _make(file: File, make: Callable[[], Any], what: str) -> Any:
    """make(), whose every complaint is one about the file, but for those of the system."""
    try:
        return make()
    except (MemoryError, OSError):
        raise
    except Exception as error:
        raise ValueError(f"{file.path}: {what}: {error or type(error).__name__}") from None


def _model_of(file: File, info: dict[str, Any]) -> Model:
    item = info.get("model")
    why = _unknown(item)
    if why is not None:
        raise ValueError(f"{file.path}: only weights can be read from this file, since {why}")
    if item is None:
        raise ValueError(f"{file.path}: has weights alone; use model.load_weights(path)")
    elements = sum(
        int(np.prod(shape, dtype=object))
        for name, (_, shape, _, _) in file.entries.items()
        if _is_weight(name)
    )
    with zeros_within(elements):
        model = _make(file, lambda: make_layer(item), "the model cannot be made")
    if not isinstance(model, models.Model):
        raise ValueError(f"{file.path}: holds a layer, not a model")
    return model


def _restore_compiled(file: File, model: Model, compiled: Any) -> None:
    """compile() as it was, and the optimizer's state."""
    loss = compiled["loss"]
    each = loss if isinstance(loss, list) else [loss]
    parts = [*each, compiled["optimizer"], *(m[0] for m in compiled["metrics"])]
    why = next((w for w in map(_unknown, parts) if w is not None), None)
    if why is not None:
        import warnings

        warnings.warn(
            f"{file.path}: the model comes without compile(), since {why}. Compile it; "
            "fit(resume_from=path) then reads the optimizer's state",
            stacklevel=4,
        )
        return

    def chosen(heeding: bool) -> Any:
        ids = [
            [m for m, heeds, *at in compiled["metrics"] if heeds == heeding and (at or [0]) == [k]]
            for k in range(len(each))
        ]
        return ids if len(each) > 1 else ids[0]

    model.compile(
        compiled["optimizer"], loss if not isinstance(loss, list) or any(loss) else None,
        chosen(False), chosen(True), loss_weights=compiled.get("loss_weights"),
    )  # fmt: skip
    _restore_optimizer(file, model, compiled)


def _restore_optimizer(file: File, model: Model, compiled: Any) -> None:
    engine = model.engine
    iterations, seen, rate = (compiled[k] for k in ("iterations", "epochs_seen", "rate"))
    if type(iterations) is not int or type(seen) is not int or min(iterations, seen) < 0:
        raise ValueError("iterations and epochs_seen must be whole numbers")
    if engine.optimizer is not None:
        slots = _slots(model) if iterations else {}
        _check(file, slots, "optimizer state")
        if rate is not None and engine.optimizer.schedule is None:
            engine.optimizer.learning_rate = rate
        _fill(file, slots)
        engine.optimizer.iterations = iterations
    engine.epochs_seen = seen


def load_model(path: Path, compile: bool = True) -> Model:
    """See `pyact.load_model`."""
    with File(path) as file:
        info = _info(file)
        model = _model_of(file, info)
        wanted = _check_weights(file, model) if model.built else {}
        _fill(file, wanted)
        model._seed = info.get("seed", 0)
        compiled = info.get("compile")
        if compile and compiled is not None:
            _make(file, lambda: _restore_compiled(file, model, compiled), "compile")
    return model


# ---- training states -----------------------------------------------------------------------


def _pack(value: Any, name: str, arrays: dict[str, Array]) -> Any:
    """A callback's state for JSON; arrays, and long or unusual floats, go into `arrays`."""
    if isinstance(value, dict):
        pairs = [[str(k), _pack(v, f"{name}/{k}", arrays)] for k, v in value.items()]
        return {"dict": pairs}
    if isinstance(value, (list, tuple)):
        if value and all(isinstance(v, float) for v in value):
            arrays[name] = np.array(value, np.float64)
            return {"floats": name}
        return [_pack(v, f"{name}/{k}", arrays) for k, v in enumerate(value)]
    if isinstance(value, (np.ndarray, np.generic)) and not isinstance(value, float):
        arrays[name] = np.asarray(value)
        return {"array": name}
    if isinstance(value, float):
        arrays[name] = np.array(value, np.float64)
        return {"float": name}
    if value is None or isinstance(value, (bool, int, str)):
        return value
    raise ValueError(f"{name}: {type(value).__name__} cannot be part of a training state")


def _unpack(value: Any, file: File) -> Any:
    if isinstance(value, list):
        return [_unpack(v, file) for v in value]
    if isinstance(value, dict):
        ((kind, what),) = value.items()
        if kind == "dict":
            return {str(k): _unpack(v, file) for k, v in what}
        array = file.array(what)
        if kind == "array":
            return array
        return array.tolist() if kind in ("float", "floats") else None
    return value


def save_checkpoint(model: Model, path: Path, position: dict[str, Any], states: list[Any]) -> None:
    """A file of `save_model` with the position in a run and its callbacks' states."""
    arrays, info = _state(model, True)
    for what in ("position", "callbacks"):
        value = position if what == "position" else states
        info[what] = _pack(value, f"training/{what}", arrays)
    _store(path, arrays, info, True)


class Checkpoint:
    """A training state read from a file, to be put into a model that is compiled alike.

    epoch: the epoch to go on with. batches: how many of its batches are done; 0: it has
    not begun. position: everything that the engine noted. callbacks: their states.

    Raises OSError when the file cannot be read, ValueError, naming the defect, when it is
    damaged or holds no training state.
    """

    def __init__(self, path: Path, model: Model) -> None:
        with File(path) as file:
            info = _info(file)
            if "position" not in info:
                raise ValueError(
                    f"{file.path}: no position of a training is in it; resume_from takes the "
                    "files of ModelCheckpoint(save_training_state=True)"
                )
            _make(file, lambda: self._read(file, info, model), "training state")

    def _read(self, file: File, info: dict[str, Any], model: Model) -> None:
        if not model.built:
            model.build((None, *info["model"]["config"]["input_shape"]))
        self.position = _unpack(info["position"], file)
        self.callbacks = _unpack(info["callbacks"], file)
        self.epoch, self.batches = self.position["epoch"], self.position["batches"]
        compiled = info["compile"]
        self._numbers = [info["seed"], compiled["iterations"], compiled["epochs_seen"]]
        numbers = [self.epoch, self.batches, *self.position["source"], *self._numbers]
        if any(type(n) is not int or n < 0 for n in numbers):
            raise ValueError("its counts must be whole numbers")
        self._rate = compiled["rate"]
        theirs = compiled["optimizer"]
        ours = type(model.optimizer).__name__
        if _unknown(theirs) is None and theirs["class_name"] != ours:
            raise ValueError(f"the optimizer was {theirs['class_name']}, the model has {ours}")
        wanted = {**_check_weights(file, model), **(_slots(model) if self._numbers[1] else {})}
        _check(file, wanted, "array")
        self._arrays = {name: file.array(name) for name in wanted}

    def apply(self, model: Model) -> None:
        """Weights, optimizer and random state of the file, into the model."""
        wanted = {**_named(model), **_slots(model)}
        for name, array in self._arrays.items():
            np.asarray(wanted[name])[...] = array
        model._seed, model.optimizer.iterations, model.engine.epochs_seen = self._numbers
        if self._rate is not None and model.optimizer.schedule is None:
            model.optimizer.learning_rate = self._rate
