"""Optimizers under Keras's names and defaults.

An optimizer here says which operator updates the parameters, with which attributes and
learning rate; the state arrays live in C beside the parameters. g is the gradient of a
parameter p, r the learning rate of the step, and every formula is element by element.

All of them take

    weight_decay     w: p is multiplied by 1 - r w before the update (decoupled; None: 0)
    clipnorm         each gradient array is scaled down to this Euclidean norm
    clipvalue        each gradient number is cut to [-clipvalue, clipvalue]
    global_clipnorm  all gradients together are scaled down to this Euclidean norm

of which at most one clipping may be given; and `learning_rate`: a number >= 0, a schedule
of `pyact.optimizers.schedules`, or any function of the step. A learning rate given as a
number may be set at any time, also by a callback while training.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from . import _core, _recording, ops, schedules
from ._locks import Exclusive
from ._names import real, resolve
from .variables import Weight

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    LearningRate = float | schedules.LearningRateSchedule | Callable[[int], float]

__all__ = [
    "SGD",
    "Adagrad",
    "Adam",
    "AdamW",
    "Optimizer",
    "RMSprop",
    "deserialize",
    "get",
    "schedules",
    "serialize",
]

# so that "from pyact.optimizers.schedules import CosineDecay" works as it does in Keras
sys.modules[f"{__name__}.schedules"] = schedules


def slot_arrays(state: Any, blocks: Any) -> list[tuple[Any, list[NDArray[Any]]]]:
    """Copies of an OptimizerState's arrays, with the blocks of weights they belong to."""
    found: dict[Any, list[NDArray[Any]]] = {}
    for block in blocks:
        if block not in found:
            slots = [state.slot(block, k) for k in range(state.slots)]
            found[block] = [a.view(0, (a.size,)).copy() for a in slots]
    return list(found.items())


def fill_slots(state: Any, saved: list[tuple[Any, list[NDArray[Any]]]]) -> None:
    """Writes what `slot_arrays` gave."""
    for block, arrays in saved:
        for k, array in enumerate(arrays):
            state.slot(block, k).view(0, array.shape)[...] = array


class Optimizer:
    """Base class of the optimizers.

    op: name of the operator that updates a parameter. iterations: updates done so far.
    """

    op: ClassVar[str] = ""
    _fields: ClassVar[tuple[str, ...]] = ()  # arguments that the operator takes as they are

    def __init__(
        self,
        learning_rate: LearningRate,
        weight_decay: float | None = None,
        clipnorm: float | None = None,
        clipvalue: float | None = None,
        global_clipnorm: float | None = None,
        name: str | None = None,
    ) -> None:
        self._rate: float | Callable[[Any], Any] = 0.0
        # counted by the C loop in the step itself: nothing can come between the two
        self._updates = np.zeros(1, np.int64)
        self._state: Any = None  # of apply_gradients; a compiled model has its own
        self._programs: dict[Any, Any] = {}
        self.alone = Exclusive()  # held by the thread that trains
        self.learning_rate = learning_rate
        self.weight_decay = _optional("weight_decay", weight_decay, low=0)
        self.clipnorm = _optional("clipnorm", clipnorm, above=0)
        self.clipvalue = _optional("clipvalue", clipvalue, above=0)
        self.global_clipnorm = _optional("global_clipnorm", global_clipnorm, above=0)
        clips = {
            k: getattr(self, k)
            for k in ("clipnorm", "clipvalue", "global_clipnorm")
            if getattr(self, k) is not None
        }
        if len(clips) > 1:
            raise ValueError(f"at most one kind of clipping can be given, got {clips}")
        self.name = name or type(self).__name__.lower()

    @property
    def iterations(self) -> int:
        """Updates done so far."""
        return int(self._updates[0])

    @iterations.setter
    def iterations(self, count: int) -> None:
        self._updates[0] = count

    # ---- learning rate ----

    @property
    def learning_rate(self) -> float:
        """The learning rate of the next step.

        May be set to a number or a schedule. Raises TypeError when a number is set while
        a schedule is in charge, since the schedule would overrule it.
        """
        if callable(self._rate):
            return float(self.lr_at(np.array([self.iterations]))[0])
        return self._rate

    @learning_rate.setter
    def learning_rate(self, value: LearningRate) -> None:
        if isinstance(value, dict):
            value = schedules.get(value)
        if isinstance(value, type) or not callable(value):
            value = real("learning_rate", value, 0)
            if callable(self._rate):
                raise TypeError(
                    "the learning rate of this optimizer comes from a schedule "
                    f"({self._rate!r}), so a number cannot be set; make the optimizer with "
                    "a number instead"
                )
        self._rate = value

    @property
    def schedule(self) -> Callable[[Any], Any] | None:
        """The schedule in charge of the learning rate, or None for a plain number."""
        return self._rate if callable(self._rate) else None

    def lr_at(self, steps: Any) -> NDArray[np.float64]:
        """The learning rates at an array of steps (n,), float64 (n,).

        Raises ValueError when a schedule gives anything but finite numbers >= 0.

        >>> SGD(0.5).lr_at(np.arange(3))
        array([0.5, 0.5, 0.5])
        """
        if callable(self._rate):
            return schedules.evaluate(self._rate, steps)
        return np.full(np.shape(steps), self._rate)

    # ---- what the engine reads ----

    def rates(self, first: int, count: int) -> NDArray[np.float64]:
        """`lr_at` the steps from `first` on, (count,)."""
        if callable(self._rate):
            return np.ascontiguousarray(self.lr_at(np.arange(first, first + count)))
        found = np.empty(count)
        found.fill(self._rate)
        return found

    def attrs(self) -> dict[str, Any]:
        """Attributes of the operator."""
        own = {name: getattr(self, name) for name in self._fields}
        return {**own, "weight_decay": self.weight_decay or 0.0}

    @property
    def clip(self) -> tuple[str, float] | None:
        """The clipping as (kind, bound), kind being "value", "norm" or "global_norm"."""
        for kind, bound in (
            ("norm", self.clipnorm),
            ("value", self.clipvalue),
            ("global_norm", self.global_clipnorm),
        ):
            if bound is not None:
                return kind, bound
        return None

    # ---- steps of one's own ----

    def apply_gradients(self, grads_and_vars: Any) -> None:
        """One step: updates variables by gradients from a GradientTape.

        grads_and_vars: pairs (gradient, variable), as from zip(grads, variables). Pairs
        whose gradient is None are left out. Clipping and update run in C on the variables'
        own memory; moments are kept from call to call.

        Raises ValueError when no gradient is there, one has another shape than its
        variable, or a variable comes twice; TypeError for what is no variable.

        >>> from pyact.variables import Variable
        >>> v = Variable(1.0)
        >>> SGD(0.5).apply_gradients([(1.0, v)]); float(v)
        0.5
        """
        pairs = [(g, v) for g, v in grads_and_vars if g is not None]
        if not pairs:
            raise ValueError("apply_gradients: no variable has a gradient; do they take part in "
                             "the loss, and is the tape entered before they are used?")  # fmt: skip
        arrays: list[Any] = []
        variables: list[Any] = []
        for g, v in pairs:
            if not isinstance(v, Weight) or v.block is None:
                raise TypeError(f"apply_gradients: got {type(v).__name__}, expected a variable")
            array = np.asarray(g.numpy() if isinstance(g, _core.Value) else g)
            if array.shape != v.shape:
                raise ValueError(f"apply_gradients: the gradient of {v.name!r} has shape "
                                 f"{array.shape}, expected {v.shape}")  # fmt: skip
            arrays.append(array)
            variables.append(v)
        with self.alone.held():
            program = self._step_program(variables)
            lr = float(self.lr_at(np.array([self.iterations]))[0])
            record = _recording.current()
            _core.execute(program, tuple(arrays), 0, self.iterations, lr)
            if record is not None:
                for v in variables:
                    record.forget(v)
            self.iterations += 1

    def _step_program(self, variables: list[Any]) -> Any:
        """The update as a program: the loss sum(v g) has the gradient g in v."""
        key = tuple((id(v.block), v.offset, v.shape) for v in variables)
        if len(set(key)) < len(key):
            raise ValueError("apply_gradients: a variable comes twice; add its gradients up first")
        if self._state is None:
            self._state = self.new_state()
        known = self._programs.get(key)
        if known is None:
            graph = _core.Graph()
            total: Any = None
            for v in variables:
                value = graph.param(v.block, v.offset, v.shape, True)
                part = ops.sum(value * graph.input(v.shape, v.dtype))
                part = part if v.dtype == np.float64 else ops.cast(part, dtype=np.float64)
                total = part if total is None else total + part
            # the blocks are held, so that their ids stay theirs
            known = (_core.Program(graph, loss=total, optimizer=self._state),
                     [v.block for v in variables])  # fmt: skip
            self._programs[key] = known
        return known[0]

    def __getstate__(self) -> dict[str, Any]:
        """For pickle and copy: programs are made anew, the moments go along."""
        kept = {**vars(self), "_state": None, "_programs": {}}
        blocks = [b for _, held in self._programs.values() for b in held]
        return {**kept, "slots": slot_arrays(self._state, blocks)}

    def __setstate__(self, kept: dict[str, Any]) -> None:
        slots = kept.pop("slots")
        vars(self).update(kept)
        self._updates = self._updates.copy()
        if slots:
            self._state = self.new_state()
            fill_slots(self._state, slots)

    def new_state(self) -> Any:
        """Memory in the core for this optimizer's moments, empty."""
        kind, at = self.clip or ("none", 0.0)
        return _core.OptimizerState(self.op, self.attrs(), clip=kind, clip_at=at)

    # ---- configuration ----

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments; a schedule as {"class_name", "config"}."""
        rate: Any = self._rate
        if isinstance(rate, schedules.LearningRateSchedule):
            rate = schedules.serialize(rate)
        elif callable(rate):
            raise ValueError(
                f"{self.name}: a learning rate that is a plain function cannot be saved; "
                "make it a LearningRateSchedule with get_config"
            )
        return {
            "learning_rate": rate,
            **{name: getattr(self, name) for name in self._fields},
            "weight_decay": self.weight_decay,
            "clipnorm": self.clipnorm,
            "clipvalue": self.clipvalue,
            "global_clipnorm": self.global_clipnorm,
            "name": self.name,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Optimizer:
        """The optimizer that `get_config` describes; its state is new."""
        return cls(**config)

    def __repr__(self) -> str:
        shown = {"learning_rate": self._rate}
        shown |= {name: getattr(self, name) for name in self._fields}
        shown |= {"weight_decay": self.weight_decay} if self.weight_decay else {}
        shown |= {f"clip_{self.clip[0]}": self.clip[1]} if self.clip else {}
        return f"{type(self).__name__}({', '.join(f'{k}={v!r}' for k, v in shown.items())})"


def _optional(name: str, value: Any, **bounds: float) -> float | None:
    return None if value is None else real(name, value, **bounds)


class SGD(Optimizer):
    """Stochastic gradient descent: p -= r g; with momentum m, v = m v - r g, p += v, or
    with Nesterov's look-ahead p += m v - r g.

    learning_rate: .01. momentum: in [0, 1]. nesterov: needs momentum > 0 to matter.

    Raises ValueError for numbers outside of these ranges, TypeError for other types.

    Source: Sutskever, Martens, Dahl and Hinton, ICML 2013.

    >>> SGD(0.1, momentum=0.9)
    SGD(learning_rate=0.1, momentum=0.9, nesterov=False)
    """

    op = "opt_sgd"
    _fields = ("momentum", "nesterov")

    def __init__(
        self,
        learning_rate: LearningRate = 0.01,
        momentum: float = 0.0,
        nesterov: bool = False,
        weight_decay: float | None = None,
        clipnorm: float | None = None,
        clipvalue: float | None = None,
        global_clipnorm: float | None = None,
        name: str | None = None,
    ) -> None:
        super().__init__(learning_rate, weight_decay, clipnorm, clipvalue, global_clipnorm, name)
        self.momentum = real("momentum", momentum, 0, 1)
        self.nesterov = bool(nesterov)


class Adagrad(Optimizer):
    """a += g^2, p -= r g / sqrt(a + epsilon), a starting at initial_accumulator_value.

    Source: Duchi, Hazan and Singer, JMLR 12, 2011.
    """

    op = "opt_adagrad"
    _fields = ("initial_accumulator_value", "epsilon")

    def __init__(
        self,
        learning_rate: LearningRate = 0.001,
        initial_accumulator_value: float = 0.1,
        epsilon: float = 1e-7,
        weight_decay: float | None = None,
        clipnorm: float | None = None,
        clipvalue: float | None = None,
        global_clipnorm: float | None = None,
        name: str | None = None,
    ) -> None:
        super().__init__(learning_rate, weight_decay, clipnorm, clipvalue, global_clipnorm, name)
        self.initial_accumulator_value = real(
            "initial_accumulator_value", initial_accumulator_value, 0
        )
        self.epsilon = real("epsilon", epsilon, 0)


class RMSprop(Optimizer):
    """a = rho a + (1 - rho) g^2, p -= r g / sqrt(a + epsilon).

    centered: the squared running mean of g is taken from a under the root. momentum m:
    v = m v + r g / sqrt(...), p -= v.

    Source: Tieleman and Hinton, Coursera lecture 6.5, 2012.
    """

    op = "opt_rmsprop"
    _fields = ("rho", "momentum", "epsilon", "centered")

    def __init__(
        self,
        learning_rate: LearningRate = 0.001,
        rho: float = 0.9,
        momentum: float = 0.0,
        epsilon: float = 1e-7,
        centered: bool = False,
        weight_decay: float | None = None,
        clipnorm: float | None = None,
        clipvalue: float | None = None,
        global_clipnorm: float | None = None,
        name: str | None = None,
    ) -> None:
        super().__init__(learning_rate, weight_decay, clipnorm, clipvalue, global_clipnorm, name)
        self.rho = real("rho", rho, 0, 1)
        self.momentum = real("momentum", momentum, 0, 1)
        self.epsilon = real("epsilon", epsilon, 0)
        self.centered = bool(centered)


class Adam(Optimizer):
    """m = b1 m + (1 - b1) g, v = b2 v + (1 - b2) g^2, and at update t = 1, 2, ...
    p -= r sqrt(1 - b2^t) / (1 - b1^t) m / (sqrt(v) + epsilon).

    amsgrad: the largest v so far takes v's place under the root.

    Source: Kingma and Ba, ICLR 2015 (with epsilon as before its section 2.1); Reddi, Kale
    and Kumar, ICLR 2018.
    """

    op = "opt_adam"
    _fields = ("beta_1", "beta_2", "epsilon", "amsgrad")

    def __init__(
        self,
        learning_rate: LearningRate = 0.001,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-7,
        amsgrad: bool = False,
        weight_decay: float | None = None,
        clipnorm: float | None = None,
        clipvalue: float | None = None,
        global_clipnorm: float | None = None,
        name: str | None = None,
    ) -> None:
        super().__init__(learning_rate, weight_decay, clipnorm, clipvalue, global_clipnorm, name)
        self.beta_1 = real("beta_1", beta_1, 0, below=1)
        self.beta_2 = real("beta_2", beta_2, 0, below=1)
        self.epsilon = real("epsilon", epsilon, 0)
        self.amsgrad = bool(amsgrad)


class AdamW(Adam):
    """Adam with decoupled weight decay: p *= 1 - r weight_decay, then Adam's update.

    Source: Loshchilov and Hutter, ICLR 2019.
    """

    def __init__(
        self,
        learning_rate: LearningRate = 0.001,
        weight_decay: float | None = 0.004,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-7,
        amsgrad: bool = False,
        clipnorm: float | None = None,
        clipvalue: float | None = None,
        global_clipnorm: float | None = None,
        name: str | None = None,
    ) -> None:
        if weight_decay is None:
            raise ValueError("AdamW needs a weight_decay; got None (use Adam for none)")
        super().__init__(
            learning_rate,
            beta_1,
            beta_2,
            epsilon,
            amsgrad,
            weight_decay,
            clipnorm,
            clipvalue,
            global_clipnorm,
            name,
        )


_CLASSES: tuple[type[Optimizer], ...] = (SGD, Adagrad, Adam, AdamW, RMSprop)
_TABLE: dict[str, type[Optimizer]] = {
    **{c.__name__: c for c in _CLASSES},
    **{c.__name__.lower(): c for c in _CLASSES},
}


def get(identifier: Any) -> Optimizer:
    """An optimizer from a name, class, instance or config dict.

    Raises ValueError for an unknown name (the nearest right one is suggested), TypeError
    for anything else.

    >>> get("sgd")
    SGD(learning_rate=0.01, momentum=0.0, nesterov=False)
    """
    return resolve("optimizer", identifier, Optimizer, _TABLE)


def serialize(optimizer: Optimizer) -> dict[str, Any]:
    """{"class_name": ..., "config": ...} of an optimizer."""
    return {"class_name": type(optimizer).__name__, "config": optimizer.get_config()}


def deserialize(config: dict[str, Any]) -> Optimizer:
    """The optimizer that `serialize` described; only this module's own classes."""
    return get(config)
