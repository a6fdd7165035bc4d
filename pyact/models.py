"""Models: networks of layers, with Keras's compile, fit, evaluate and predict.

    model = Sequential([Input((784,)), Dense(500, "relu"), Dense(10)])
    model.compile("sgd", SparseCategoricalCrossentropy(from_logits=True), ["accuracy"])
    history = model.fit(x, y, batch_size=100, epochs=10)

    image = Input((8, 8, 1))
    x = Conv2D(16, 3, padding="same", activation="relu")(image)
    x = Add()([x, Conv2D(16, 3, padding="same")(x)])
    model = Model(image, Dense(10)(Flatten()(x)))

A Sequential is the network whose layers stand in a row; all else they share. This module
knows layers and weights; `training` turns them into programs and runs them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from . import _recording, random_state
from ._core import Value
from ._trees import leaves, map_tree
from .layers.base import KNOWN, InputLayer, Layer, assign_all, make_layer
from .layers.symbolic import Symbol, has_symbols
from .network import Network, parts_of, symbols_of
from .training import Engine, inference

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from os import PathLike

    from numpy.typing import NDArray

    from .callbacks import History
    from .layers.base import Shape
    from .variables import Weight

__all__ = ["Model", "Sequential", "load_model"]


class Model(Layer):
    """A network from its inputs to its outputs.

    inputs: a symbolic tensor of `Input`, or a list or dict of them. outputs: what layers
    gave when they were called on these, one, a list or a dict. Layers may be shared,
    branches joined (`Add`, `Concatenate`), and models stand inside models: a model is a
    layer itself. Any symbolic tensors may be inputs and outputs, so
    Model(model.input, model.get_layer("dense").output) shows what is inside a model.

    Data are given, and results come, in the nesting of inputs and outputs; by names, in a
    dict, in any case. An output is named after its layer, or by its key.

    Raises TypeError for what is not a symbolic tensor; ValueError for an input that is
    missing, is there twice or leads nowhere, and for layers or inputs of one name.

    >>> from pyact.layers import Add, Dense, Input
    >>> x = Input((4,))
    >>> h = Dense(8, "relu")(x)
    >>> y = Dense(1)(Add()([h, Dense(8)(h)]))
    >>> model = Model(x, y)
    >>> model.output_shape, model.count_params()
    ((None, 1), 121)
    """

    _network: Network | None = None
    _symbols: Any = None  # inputs and outputs

    def __init__(self, inputs: Any, outputs: Any, *, name: str | None = None) -> None:
        self._begin(name)
        self._connected(Network(inputs, outputs, f"model {self.name!r}"))
        self.network.named_apart(f"model {self.name!r}")
        self._symbols = (inputs, outputs)

    def _begin(self, name: str | None) -> None:
        super().__init__(name=name)
        self.stop_training = False
        self.history: History | None = None
        self._seed = random_state.seed_value()
        self._engine: Engine | None = None
        self._symbols = None

    def _connected(self, network: Network) -> None:
        """The model is this network from now on."""
        self._network = network
        self.dtype = network.inputs[0].dtype
        self.takes_many = isinstance(network.input_form, (list, tuple, dict))
        shapes = [s.shape for s in network.inputs], [s.shape for s in network.outputs]
        refs = leaves(network.output_form)
        self.input_shape = map_tree(lambda ref: shapes[0][ref], network.input_form)
        place = {int(ref): k for k, ref in enumerate(refs)}
        self.output_shape = map_tree(lambda ref: shapes[1][place[ref]], network.output_form)
        self.built = True

    @property
    def network(self) -> Network:
        """How the layers are connected.

        Raises ValueError for a Sequential that does not know its input yet.
        """
        self._require_built("its network")
        assert self._network is not None
        return self._network

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "_symbols": None}

    def _symbolic(self) -> tuple[Any, Any]:
        if self._symbols is None:
            self._symbols = self.network.symbols()
        return self._symbols  # type: ignore[no-any-return]

    @property
    def input(self) -> Any:
        """The inputs as symbolic tensors, in their nesting."""
        return self._symbolic()[0]

    @property
    def output(self) -> Any:
        """The outputs as symbolic tensors, in their nesting."""
        return self._symbolic()[1]

    @property
    def inputs(self) -> list[Any]:
        """The inputs as a list of symbolic tensors."""
        return leaves(self.input)

    @property
    def outputs(self) -> list[Any]:
        """The outputs as a list of symbolic tensors."""
        return leaves(self.output)

    @property
    def input_names(self) -> list[str]:
        """What the inputs are called in dicts of data."""
        return [spec.name for spec in self.network.inputs]

    @property
    def output_names(self) -> list[str]:
        """What the outputs are called in dicts and in logs."""
        return [spec.name for spec in self.network.outputs]

    def build(self, input_shape: Any = None) -> None:
        """Nothing is left to do: the inputs said their shapes."""

    def call(self, x: Any, training: bool = False) -> Any:
        """The outputs for x, in their nesting."""
        network = self.network
        given = parts_of(x, network.input_form, network.inputs, f"model {self.name!r}")
        if type(self) is not Sequential:
            self._check_values(given)
        found = iter(network.run(given, training))
        return map_tree(lambda ref: next(found), network.output_form)

    def _check_values(self, given: list[Any]) -> None:
        for spec, value in zip(self.network.inputs, given, strict=True):
            shape = None if value is None else tuple(value.shape)
            if shape is None or shape[1:] != spec.shape[1:]:
                raise ValueError(
                    f"model {self.name!r}: input {spec.name!r}: got "
                    f"{'nothing' if shape is None else f'shape {shape}'}, expected {spec.shape}"
                )

    def compute_output_shape(self, input_shape: Any) -> Any:
        specs = self.network.inputs
        shapes = parts_of(input_shape, self.network.input_form, specs, f"model {self.name!r}")
        for spec, shape in zip(specs, shapes, strict=True):
            if shape is None or tuple(shape[1:]) != spec.shape[1:]:
                raise ValueError(
                    f"model {self.name!r}: input {spec.name!r}: got shape {shape}, expected "
                    f"{spec.shape}"
                )
        return self.output_shape

    def output_dtypes(self) -> list[str]:
        return [spec.dtype for spec in self.network.outputs]

    def get_config(self) -> dict[str, Any]:
        """The layers' class names and configurations, and how they are connected."""
        return {"name": self.name, **self.network.get_config()}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Model:
        """A new model, with new weights, from `get_config`'s dict.

        Raises ValueError for a layer that pyact does not know, and for connections that
        cannot be.
        """
        inputs, outputs = symbols_of(config, make_layer)
        return cls(inputs, outputs, name=config.get("name"))

    # ---- training and inference: see training.Engine ----

    def compile(
        self,
        optimizer: Any = "rmsprop",
        loss: Any = None,
        metrics: Any = None,
        weighted_metrics: Any = None,
        check_finite: bool = True,
        loss_weights: Any = None,
    ) -> None:
        """Says how the model learns.

        optimizer, loss, metrics: names ("adam", "mse", "accuracy"), objects of
        `pyact.optimizers`, `losses` and `metrics`, or, for losses and metrics, functions
        of (y_true, y_pred) written with `pyact.ops`. weighted_metrics also heed the
        sample weights. check_finite: a step of `fit` whose loss or gradient is NaN or
        infinite, or whose update would make a weight or the optimizer's state so, raises
        FloatingPointError, naming the layer, and is not made; False looks at nothing.

        A model of several outputs takes a loss, a list or a dict by output name of losses
        (None: that output is not trained), and metrics in the same way, for each output
        one or a list. What is minimized is the sum of the losses times loss_weights (1);
        logs have "loss", then "<output>_loss", then "<output>_<metric>".

        Raises ValueError for unknown names (and says which is nearest), TypeError for
        other types.
        """
        self._engine = Engine(self, optimizer, loss, metrics, weighted_metrics, loss_weights)
        self._engine.check_finite = bool(check_finite)

    @property
    def engine(self) -> Engine:
        """The compiled model; raises RuntimeError before `compile`."""
        if self._engine is None:
            raise RuntimeError(
                f"model {self.name!r} has not been compiled: call "
                "model.compile(optimizer, loss, metrics) first"
            )
        return self._engine

    @property
    def optimizer(self) -> Any:
        """The optimizer given to `compile`."""
        return self.engine.optimizer

    @property
    def loss(self) -> Any:
        """The loss given to `compile`."""
        return self.engine.loss

    @property
    def metrics_names(self) -> list[str]:
        """Names of the numbers that `evaluate` returns."""
        return self.engine.names

    def fit(
        self,
        x: Any = None,
        y: Any = None,
        batch_size: int | None = None,
        epochs: int = 1,
        verbose: int | str = "auto",
        callbacks: Any = None,
        validation_split: float = 0.0,
        validation_data: Any = None,
        shuffle: bool = True,
        class_weight: dict[int, float] | None = None,
        sample_weight: Any = None,
        initial_epoch: int = 0,
        steps_per_epoch: int | None = None,
        validation_steps: int | None = None,
        validation_batch_size: int | None = None,
        resume_from: str | PathLike[str] | None = None,
    ) -> History:
        """Trains the model and returns what was measured, epoch by epoch.

        x: array (n, *input_shape) of floats or integers, memory-mapped if you like; or a
        `DataLoader`, or a generator of (x, y) or (x, y, sample_weight) batches. y: array
        of targets: the shape of the predictions, or class labels (n,) for the sparse
        losses. batch_size: rows a step, 32. verbose: 0 silent, 1 a progress bar, 2 a line
        an epoch. validation_split: this share of the rows, the last ones, is held out.
        class_weight: label to weight. sample_weight: (n,). steps_per_epoch: for
        generators without an end.

        resume_from: a file of `ModelCheckpoint(save_training_state=True)`. The run goes on
        where it was written, with weights, optimizer, order of rows, random numbers,
        callbacks and history as they were then: it ends with the same bits as a run that
        was never broken off. Model, data and other arguments must be those of that run.

        Ctrl-C ends it at a whole step; the model keeps what it has learned so far. One thread
        at a time trains: another that calls `fit` or `train_on_batch` waits until it is done.

        Raises RuntimeError before `compile`; ValueError for empty data, shapes, labels or
        lengths that do not fit; TypeError for dtypes that are not numbers.
        """
        return self.engine.fit(
            x, y, batch_size, epochs, verbose, callbacks, validation_split, validation_data,
            shuffle, class_weight, sample_weight, initial_epoch, steps_per_epoch,
            validation_steps, validation_batch_size, resume_from,
        )  # fmt: skip

    def evaluate(
        self,
        x: Any = None,
        y: Any = None,
        batch_size: int | None = None,
        verbose: int | str = "auto",
        sample_weight: Any = None,
        steps: int | None = None,
        callbacks: Any = None,
        return_dict: bool = False,
    ) -> Any:
        """Loss and metrics on data: a number, a list, or a dict (return_dict=True).

        Arguments and errors are those of `fit`.
        """
        return self.engine.evaluate(
            x, y, batch_size, verbose, sample_weight, steps, callbacks, return_dict
        )

    def predict(
        self,
        x: Any,
        batch_size: int | None = None,
        verbose: int | str = 0,
        steps: int | None = None,
        callbacks: Any = None,
    ) -> Any:
        """The model's results for all rows of x, an array (n, ...), or several of them in
        the nesting of the model's outputs.

        Works before `compile`. Raises ValueError when x does not have the input's shape.
        """
        return self._inference().predict(x, batch_size, steps, callbacks)

    def train_on_batch(
        self,
        x: Any,
        y: Any = None,
        sample_weight: Any = None,
        class_weight: dict[int, float] | None = None,
        return_dict: bool = False,
    ) -> Any:
        """One step on one batch; its loss and metrics, as from `evaluate`."""
        return self.engine.train_on_batch(x, y, sample_weight, class_weight, return_dict)

    def test_on_batch(
        self, x: Any, y: Any = None, sample_weight: Any = None, return_dict: bool = False
    ) -> Any:
        """Loss and metrics of one batch; nothing is learned."""
        return self.engine.test_on_batch(x, y, sample_weight, return_dict)

    def predict_on_batch(self, x: Any) -> Any:
        """The results for one batch."""
        return self._inference().predict(x, None)

    def compile_inference(self, batch_size: int | None = None) -> Any:
        """A frozen copy of the model as a function fn(x, out=None) with the least overhead.

        x: array (n, *input_shape) of any n, or of n = batch_size when that is given. out:
        array for the results, of the model's dtype. The function keeps the weights as they
        are now, may be called by several threads at once, allocates nothing but its result,
        and pickles. Given a batch_size of 16 or more it also lays the weights of dense
        layers out once, which takes their memory a second time and makes a call some 7 %
        faster; the results are the same bits.

        Raises ValueError when the model does not know its input yet.
        """
        return inference(self, batch_size, frozen=True)

    def _inference(self) -> Engine:
        """The engine; before `compile` one that can only predict."""
        if self._engine is None:
            self._engine = Engine(self, None, None, None, None)
        return self._engine

    def __call__(self, x: Any, training: bool = False, **more: Any) -> Any:
        """Inside another model the model is a layer; an array is predicted at once."""
        if training or _recording._local.record is not None or isinstance(x, (Value, Symbol)):
            return super().__call__(x, training=training, **more)
        if (
            type(x) is not np.ndarray
            and type(x) in (list, tuple, dict)
            and (has_symbols(x) or any(isinstance(v, Value) for v in leaves(x)))
        ):
            return super().__call__(x, training=training, **more)
        return self._inference().predict(x, None)

    # ---- weights ----

    @property
    def layers(self) -> list[Layer]:
        """The layers, each once, without the inputs."""
        return self.network.layers

    def _require_built(self, what: str) -> None:
        if not self.built:
            raise ValueError(
                f"model {self.name!r} does not know its input yet, so {what} cannot be had: "
                "start it with Input(shape), give the first layer input_shape=..., call "
                "model.build((None, ...)), or fit or call it on data"
            )

    @property
    def weights(self) -> list[Weight]:
        """All weights, as arrays that view the model's memory: writing to one changes the
        model."""
        self._require_built("weights")
        found: dict[int, Weight] = {}  # a layer used twice has its weights once
        for layer in self.layers:
            for w in layer.weights:
                found.setdefault(id(w), w)
        return list(found.values())

    @property
    def trainable_weights(self) -> list[Weight]:
        return [w for w in self.weights if w.trainable]

    @property
    def non_trainable_weights(self) -> list[Weight]:
        return [w for w in self.weights if not w.trainable]

    def get_weights(self) -> list[NDArray[Any]]:
        return [w.numpy() for w in self.weights]

    def set_weights(self, weights: Sequence[Any]) -> None:
        assign_all(self.weights, weights, f"model {self.name!r}")

    # ---- files: see saving ----

    def save(
        self, path: str | PathLike[str], overwrite: bool = True, include_optimizer: bool = True
    ) -> None:
        """Writes the model into one file: layers, weights, and, unless include_optimizer is
        False, loss, metrics, optimizer and the optimizer's state. `pyact.load_model` reads
        it; so does any reader of the safetensors format.

        When it returns, all is on disk. Whatever happens before, the path has what it had,
        or the whole new file. overwrite: may there be a file already?

        Layers, losses and metrics of your own cannot be described in a file; then their
        weights are in it all the same.

        Raises FileExistsError, OSError when writing fails, ValueError before the model
        knows its input.
        """
        from .saving import save_model

        save_model(self, path, overwrite, include_optimizer)

    def save_weights(self, path: str | PathLike[str], overwrite: bool = True) -> None:
        """Writes the weights alone, for `load_weights`; else like `save`."""
        from .saving import save_weights

        save_weights(self, path, overwrite)

    def load_weights(self, path: str | PathLike[str]) -> None:
        """Reads the weights from a file of `save` or `save_weights` of a model with the
        same layers.

        Raises ValueError, naming the weight, when names or shapes differ, or the defect
        when the file is damaged; nothing is written then. OSError when it cannot be read.
        """
        from .saving import load_weights

        load_weights(self, path)

    def count_params(self) -> int:
        return sum(w.size for w in self.weights)

    @property
    def trainable(self) -> bool:
        return self._trainable

    @trainable.setter
    def trainable(self, value: bool) -> None:
        self._trainable = bool(value)
        for layer in self.layers:
            layer.trainable = value

    def get_layer(self, name: str | None = None, index: int | None = None) -> Layer:
        """The layer of that name, or at that index."""
        if index is not None:
            return self.layers[index]
        inputs = [] if self._network is None else self._network.input_layers
        for layer in [*self.layers, *inputs]:
            if layer.name == name:
                return layer
        from ._names import unknown

        raise unknown("layer", name, [layer.name for layer in self.layers])

    # ---- what a person sees ----

    def _rows(self) -> list[tuple[str, ...]]:
        """Title and layers: name, shape, weights, and, unless they stand in a row, inputs."""
        rows: list[tuple[str, ...]] = [("Layer (type)", "Output Shape", "Param #")]
        row = isinstance(self, Sequential)
        before = {} if row else self.network.feeders()
        layers = self.layers if row else [*self.network.input_layers, *self.layers]
        for layer in layers:
            shape = str(layer.output_shape) if layer.built else "?"
            count = f"{layer.count_params():,}" if layer.built else "?"
            found = (f"{layer.name} ({type(layer).__name__})", shape, count)
            rows.append(found if row else (*found, ", ".join(before.get(id(layer), ["-"]))))
        if not row:
            rows[0] = (*rows[0], "Connected to")
        return rows

    def _totals(self) -> list[tuple[str, str]]:
        if not self.built:
            return []
        groups = {
            "Total params": self.weights,
            "Trainable params": self.trainable_weights,
            "Non-trainable params": self.non_trainable_weights,
        }
        return [
            (title, f"{sum(w.size for w in ws):,} ({_size(sum(w.nbytes for w in ws))})")
            for title, ws in groups.items()
        ]

    def summary(
        self, line_length: int | None = None, print_fn: Callable[[str], Any] | None = None
    ) -> None:
        """Prints the layers, their shapes and their numbers of weights."""
        rows = self._rows()
        width = [max(map(len, column)) for column in zip(*rows, strict=True)]
        gaps = 2 * (len(width) - 1)
        width[0] += max((line_length or 0) - sum(width) - gaps, 0)
        lines = [f'Model: "{self.name}"']
        rule = "-" * (sum(width) + gaps)
        for k, row in enumerate(rows):
            cells = [f"{c:>{w}}" if j == 2 else f"{c:<{w}}"
                     for j, (c, w) in enumerate(zip(row, width, strict=True))]  # fmt: skip
            lines.append("  ".join(cells).rstrip())
            if k == 0:
                lines.append(rule)
        lines.append(rule)
        lines += [f" {title}: {text}" for title, text in self._totals()]
        if not self.built:
            lines.append(" The model does not know its input yet; build it to see the rest.")
        (print_fn or print)("\n".join(lines))

    def _repr_html_(self) -> str:
        from html import escape

        cells = "".join(
            "<tr>" + "".join(f"<td style='text-align:left'>{escape(c)}</td>" for c in row) + "</tr>"
            for row in self._rows()[1:]
        )
        titles = "".join(f"<th>{escape(title)}</th>" for title in self._rows()[0])
        totals = "<br>".join(escape(f"{title}: {text}") for title, text in self._totals())
        return (
            f"<b>{escape(self.name)}</b><table><thead><tr>{titles}</tr></thead>"
            f"<tbody>{cells}</tbody></table>{totals}"
        )


def _size(count: float) -> str:
    for unit in ("B", "KB", "MB"):
        if count < 1024:
            return f"{count:.4g} {unit}"
        count /= 1024
    return f"{count:.4g} GB"


class Sequential(Model):
    """Layers one behind the other.

    layers: a list; more may be added with `add`. The input's shape is known from an
    `Input`, from `input_shape=` of the first layer, from `build`, or from the first data.

    >>> from pyact.layers import Dense, Input
    >>> model = Sequential([Input((4,)), Dense(8, "relu"), Dense(1)])
    >>> model.output_shape, model.count_params()
    ((None, 1), 49)
    """

    def __init__(self, layers: Sequence[Any] | None = None, *, name: str | None = None) -> None:
        self._begin(name)
        self._stack: list[Layer] = []
        if layers is not None and (isinstance(layers, Layer) or not hasattr(layers, "__iter__")):
            raise TypeError(f"Sequential: got {type(layers).__name__}, expected a list of layers")
        for layer in layers or ():
            self._append(layer)
        self._build_if_known()

    @property
    def layers(self) -> list[Layer]:
        return [layer for layer in self._stack if not isinstance(layer, InputLayer)]

    def _append(self, layer: Any) -> None:
        if isinstance(layer, Symbol) and isinstance(layer.call.layer, InputLayer):
            layer = layer.call.layer
        if not isinstance(layer, Layer):
            hint = "; write it with parentheses" if isinstance(layer, type) else ""
            raise TypeError(f"Sequential: got {layer!r}, expected a layer{hint}")
        if isinstance(layer, InputLayer) and self._stack:
            raise ValueError("Sequential: an Input can only come first")
        if any(layer is known for known in self._stack):
            raise ValueError(
                f"Sequential: layer {layer.name!r} is in the model already; make a new one"
            )
        self._stack.append(layer)

    def add(self, layer: Any) -> None:
        """Adds a layer at the end."""
        self._append(layer)
        self._changed()

    def pop(self) -> Layer:
        """Removes the last layer and returns it."""
        if not self.layers:
            raise ValueError("Sequential: there is no layer to remove")
        layer = self._stack.pop()
        self._changed()
        return layer

    def _changed(self) -> None:
        shape, self.built = self.input_shape, False
        if self._engine is not None:
            self._engine.forget()
        if shape is not None and self.layers:
            self.build(shape)
        else:
            self._build_if_known()

    def _build_if_known(self) -> None:
        first = self._stack[0] if self._stack else None
        given: Any = first._given_shape if first is not None else None
        if given is None and isinstance(first, Model) and first.built:
            given = first.input_shape[1:]  # type: ignore[index]
        if given is not None and self.layers:
            self.build((None, *given))

    def build(self, input_shape: Sequence[int | None] | None = None) -> None:
        """Makes the weights for inputs of this shape, the batch (None) first.

        All layers that have none yet get theirs in one block. Raises ValueError when a
        layer cannot take what the one before it gives.
        """
        if input_shape is None or len(tuple(input_shape)) < 1:
            raise ValueError(
                f"model {self.name!r}: build needs the input's shape, the batch (None) first"
            )
        first = self._stack[0] if self._stack else None
        sizes: Any = tuple(input_shape)[1:]
        if not isinstance(first, InputLayer) or first._given_shape != sizes:
            first = InputLayer(sizes, dtype=self.dtype if first is None else first.dtype)
        x = y = first.symbol()
        for layer in self.layers:
            if not isinstance(layer, Model):
                layer.input_shape = layer.output_shape = None
            y = layer(y)
        self._connected(Network(x, y, f"model {self.name!r}"))
        self._symbols = (x, y)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        self.ensure_built(input_shape)
        for layer in self.layers:
            input_shape = layer.compute_output_shape(input_shape)
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """The layers' class names and configurations, and the input's shape."""
        return {
            "name": self.name,
            "dtype": self.dtype,
            "layers": [
                {"class_name": type(layer).__name__, "config": layer.get_config()}
                for layer in self._stack
            ],
            "input_shape": None if self.input_shape is None else list(self.input_shape[1:]),
        }

    def __repr__(self) -> str:
        return f"<Sequential {self.name!r}: {len(self.layers)} layers>"

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Sequential:
        """A new model, with new weights, from `get_config`'s dict.

        Raises ValueError for a layer that pyact does not know.
        """
        model = cls([make_layer(item) for item in config["layers"]], name=config.get("name"))
        if not model.built and config.get("input_shape") is not None:
            model.build((None, *config["input_shape"]))
        return model


def load_model(path: str | PathLike[str], compile: bool = True) -> Model:
    """The model that `Model.save` wrote: with loss, metrics, optimizer and its state when
    the file has them (compile=False: without).

    A file can only name what pyact itself has: nothing in it is imported or evaluated.

    Raises OSError when the file cannot be read, ValueError, naming the defect, when it is
    damaged or describes what pyact does not know.
    """
    from .saving import load_model as load

    return load(path, compile)


KNOWN.update(Model=Model, Sequential=Sequential)


def restore_inference(described: dict[str, Any], weights: Sequence[Any], batch: int | None) -> Any:
    """What a pickled `compile_inference` function is loaded by."""
    model: Any = make_layer(described)
    model.set_weights(weights)
    return model.compile_inference(batch)
