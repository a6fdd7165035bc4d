"""Layers over sequences: SimpleRNN, LSTM, GRU.

x is (batch, steps, features); each layer is one operator that walks through all of time,
forward and back. Weights and the order of gates are Keras's: kernel (features, gates *
units), recurrent_kernel (units, gates * units), bias; LSTM's gates are i, f, c, o, GRU's
z, r, h with reset_after.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from .. import _core, activations, initializers, ops
from .._core import Value
from .._names import real, whole
from ..variables import WeightSpec
from .activation import MAP_OPS, operator_of
from .base import Layer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..variables import Weight
    from .base import Shape

__all__ = ["GRU", "LSTM", "SimpleRNN"]


def _fused(what: str, activation: Any) -> str | None:
    """The operator that a recurrent operator runs inside."""
    function = activations.get(activation)
    if function is activations.linear:
        return None
    name = operator_of(function)
    if name not in MAP_OPS:
        raise ValueError(
            f"{what}: got {activation!r}, expected one of pyact's element-wise activations "
            f"({', '.join(sorted(MAP_OPS))}) or None"
        )
    return name


def mask_of(x: Any) -> Any:
    """The mask that an earlier layer (Masking, Embedding) put on a value, or None."""
    return x.tag.get("mask") if isinstance(x, Value) else None


def with_mask(x: Any, mask: Any) -> Any:
    """x, with a note of which steps of it count."""
    if mask is not None and isinstance(x, Value):
        x.tag["mask"] = mask
    return x


def counting(mask: Any, shape: tuple[int, ...]) -> Any:
    """1 where a step counts and 0 where the mask is 0, as (batch, steps) or another shape."""
    size = _core.apply("multiply", (_core.apply("abs", (mask,)), 1e30))
    flags = _core.apply("stop_gradient", (_core.apply("minimum", (size, 1.0)),))
    return _core.apply("reshape", (flags,), {"shape": shape})


def steps_of(x: Any) -> Any:
    """1 for each step of x that counts and 0 for those that its mask leaves out, (batch,
    steps) of x's dtype; None where it has no mask."""
    mask = mask_of(x)
    if mask is None:
        return None
    steps = counting(mask, mask.shape)
    return steps if steps.dtype == x.dtype else ops.cast(steps, dtype=x.dtype)


def constant(array: Any, x: Any) -> Any:
    """An array as a constant beside x, where x belongs to a graph or tape."""
    owner: Any = x.owner if isinstance(x, Value) else None
    if owner is None:
        return array
    return owner.const(array) if hasattr(owner, "const") else owner.leaf(array)


class Recurrent(Layer):
    """What SimpleRNN, LSTM and GRU share."""

    op: ClassVar[str]
    gates: ClassVar[int]
    states: ClassVar[int] = 1

    def __init__(
        self,
        units: int,
        activation: Any = "tanh",
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        recurrent_initializer: Any = "orthogonal",
        bias_initializer: Any = "zeros",
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        return_sequences: bool = False,
        return_state: bool = False,
        go_backwards: bool = False,
        stateful: bool = False,
        unroll: bool = False,
        zero_output_for_mask: bool = False,
        batch_size: int | None = None,
        **keywords: Any,
    ) -> None:
        super().__init__(**keywords)
        self.units = whole("units", units, 1)
        self.stateful = bool(stateful)
        if self.stateful and batch_size is None:
            raise ValueError(
                "stateful=True needs batch_size=, the number of sequences that go on from batch "
                "to batch"
            )
        self.batch_size = None if batch_size is None else whole("batch_size", batch_size, 1)
        self.activation = activations.get(activation)
        self._activation = _fused("activation", activation)
        self.use_bias = bool(use_bias)
        self.kernel_initializer = initializers.get(kernel_initializer)
        self.recurrent_initializer = initializers.get(recurrent_initializer)
        self.bias_initializer = initializers.get(bias_initializer)
        self.dropout = real("dropout", dropout, 0, below=1)
        self.recurrent_dropout = real("recurrent_dropout", recurrent_dropout, 0, below=1)
        self.return_sequences = bool(return_sequences)
        self.return_state = bool(return_state)
        self.go_backwards = bool(go_backwards)
        self.unroll = bool(unroll)
        self.zero_output_for_mask = bool(zero_output_for_mask)

    # ---- weights ----

    def _features(self, input_shape: Shape) -> int:
        if len(input_shape) != 3 or input_shape[2] is None:
            raise ValueError(
                f"layer {self.name!r}: got inputs of shape {input_shape}, expected three axes, "
                "(batch, steps, features), with a known number of features"
            )
        if input_shape[1] == 0:
            raise ValueError(
                f"layer {self.name!r}: got inputs of shape {input_shape}: a sequence of length 0; "
                "expected at least one step"
            )
        return input_shape[2]

    def _bias_shape(self) -> tuple[int, ...]:
        return (self.gates * self.units,)

    def _bias_initializer(self) -> Any:
        return self.bias_initializer

    def weight_specs(self, input_shape: Shape) -> list[WeightSpec]:
        features, columns = self._features(input_shape), self.gates * self.units
        specs = [
            WeightSpec("kernel", (features, columns), self.kernel_initializer),
            WeightSpec("recurrent_kernel", (self.units, columns), self.recurrent_initializer),
        ]
        if self.use_bias:
            specs.append(WeightSpec("bias", self._bias_shape(), self._bias_initializer()))
        if self.stateful:
            shape, zeros = (self.batch_size or 1, self.units), initializers.get("zeros")
            names = ("state_h", "state_c")[: self.states]
            specs += [WeightSpec(name, shape, zeros, False) for name in names]
        return specs

    def _stored(self) -> list[Any]:
        """The states that last from batch to batch."""
        names = ("state_h", "state_c")[: self.states]
        return [getattr(self, name) for name in names] if self.stateful else []

    def reset_states(self) -> None:
        """Sets the states of a stateful layer to 0."""
        for state in self._stored():
            state[...] = 0

    def _learns(self, weight: Weight) -> bool:
        return not self.built or all(weight is not state for state in self._stored())

    # ---- calling ----

    def _attrs(self) -> dict[str, Any]:
        attrs: dict[str, Any] = {"go_backwards": self.go_backwards}
        if self._activation is not None:
            attrs["activation"] = self._activation
        return attrs

    def _operand(self, value: Any, what: str, shape: tuple[int, ...]) -> Any:
        """A state or mask as an operand, of the shape that the sequence asks for."""
        if not isinstance(value, Value):
            value = np.asarray(value, self.dtype)
        if tuple(value.shape) != shape:
            raise ValueError(
                f"layer {self.name!r}: {what}: got shape {tuple(value.shape)}, expected {shape}"
            )
        return value

    def _initial(self, batch: int, given: Any) -> list[Any]:
        """The first states, or an empty list for zeros."""
        if given is None:
            stored = self._stored()
            if stored and batch != self.batch_size:
                raise ValueError(
                    f"layer {self.name!r}: got a batch of {batch}, expected {self.batch_size}, the "
                    "batch_size that its states were made for"
                )
            return stored
        states = list(given) if isinstance(given, (list, tuple)) else [given]
        if len(states) != self.states:
            raise ValueError(
                f"layer {self.name!r}: initial_state: got {len(states)} arrays, expected "
                f"{self.states}"
            )
        return [self._operand(s, "initial_state", (batch, self.units)) for s in states]

    def call(
        self, x: Any, training: bool = False, mask: Any = None, initial_state: Any = None
    ) -> Any:
        """The states of all steps (return_sequences) or the last one; with return_state a
        tuple of that and the last states. mask: (batch, steps), 0 where a step is left
        out; default: that of a Masking layer before. initial_state: an array (batch,
        units), for LSTM two of them."""
        self._features((None, *x.shape[1:]))
        batch, steps, features = x.shape
        if mask is None:
            mask = mask_of(x)
        if mask is not None:
            mask = self._operand(mask, "mask", (batch, steps))
        if training and self.dropout:
            ones = np.ones((batch, 1, features), self.dtype)
            x = _core.apply("multiply", (x, self._drop(x, ones, self.dropout)))
        states = self._initial(batch, initial_state)
        operands = [x, self.kernel, self.recurrent_kernel]
        operands.append(self.bias if self.use_bias else np.zeros(self._bias_shape(), self.dtype))
        drops = training and self.recurrent_dropout > 0
        zeros = [np.zeros((batch, self.units), self.dtype)] * self.states
        operands += states or (zeros if mask is not None or drops else [])
        if mask is not None:
            operands.append(mask)
        elif drops:
            operands.append(np.ones((batch, steps), self.dtype))
        if drops:
            ones = np.ones((batch, self.units), self.dtype)
            operands.append(self._drop(x, ones, self.recurrent_dropout))
        sequence, *last = self._run(operands)
        for stored, new in zip(self._stored(), last, strict=False):
            if isinstance(new, Value):
                _core.apply("assign", (stored, new))
            else:
                stored[...] = new
        if mask is not None and self.zero_output_for_mask and self.return_sequences:
            counts = counting(mask, (batch, steps, 1))
            if self.go_backwards:  # results are in the order of computation
                turn = {"begin": (0, -1, 0), "size": (-1, -1, -1), "step": (1, -1, 1)}
                counts = _core.apply("slice", (counts,), turn)
            sequence = _core.apply("multiply", (sequence, counts))
        y = with_mask(sequence, mask) if self.return_sequences else last[0]
        return (y, *last) if self.return_state else y

    def _run(self, operands: list[Any]) -> Any:
        """(all states, the last ones) of x, kernels, bias, states, mask, scale."""
        return _core.apply(self.op, tuple(operands), self._attrs())

    def _drop(self, x: Any, ones: Any, rate: float) -> Any:
        """Ones with dropout, in the graph of x: drawn anew for each step of training."""
        return _core.apply("dropout", (constant(ones, x),), {"rate": rate})

    def compute_output_shape(self, input_shape: Shape) -> Any:
        self._features(input_shape)
        last = (input_shape[0], self.units)
        shape = (*input_shape[:2], self.units) if self.return_sequences else last
        return (shape, *(last,) * self.states) if self.return_state else shape

    def get_config(self) -> dict[str, Any]:
        return {
            "units": self.units,
            "activation": activations.serialize(self.activation),
            "use_bias": self.use_bias,
            "kernel_initializer": initializers.serialize(self.kernel_initializer),
            "recurrent_initializer": initializers.serialize(self.recurrent_initializer),
            "bias_initializer": initializers.serialize(self.bias_initializer),
            "dropout": self.dropout,
            "recurrent_dropout": self.recurrent_dropout,
            "return_sequences": self.return_sequences,
            "return_state": self.return_state,
            "go_backwards": self.go_backwards,
            "stateful": self.stateful,
            "unroll": self.unroll,
            "zero_output_for_mask": self.zero_output_for_mask,
            "batch_size": self.batch_size,
            **super().get_config(),
        }


class SimpleRNN(Recurrent):
    """h_t = activation(x_t kernel + h_(t-1) recurrent_kernel + bias).

    units: features of the state. return_sequences: all states, (batch, steps, units),
    instead of the last, (batch, units). return_state: the last state as well.
    go_backwards: from the last step to the first. dropout, recurrent_dropout: share of
    the input's and of the state's features that one mask for all steps sets to 0 in
    training. stateful: each batch goes on from the last states of the batch before, which
    has batch_size rows; `reset_states` begins anew. Steps that a `Masking` layer before
    leaves out keep the state, which is also what they give with return_sequences, or 0 with
    zero_output_for_mask. unroll is taken for the sake of Keras's programs and changes
    nothing: all of time is one operator.

    Raises ValueError or TypeError for arguments that cannot be, when it is made or, for
    the shape of x, when it is first used.

    Source: Elman, Cognitive Science 14, 1990.

    >>> SimpleRNN(3, return_sequences=True)(np.ones((2, 5, 4))).shape
    (2, 5, 3)
    """

    op = "simple_rnn"
    gates = 1


class _Gated(Recurrent):
    """A layer with a second activation for its gates."""

    def __init__(
        self,
        units: int,
        activation: Any = "tanh",
        recurrent_activation: Any = "sigmoid",
        **keywords: Any,
    ) -> None:
        super().__init__(units, activation, **keywords)
        self.recurrent_activation = activations.get(recurrent_activation)
        self._gate = _fused("recurrent_activation", recurrent_activation)

    def _attrs(self) -> dict[str, Any]:
        more = {} if self._gate is None else {"recurrent_activation": self._gate}
        return {**super()._attrs(), **more}

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        gate = activations.serialize(self.recurrent_activation)
        return {"units": config.pop("units"), "activation": config.pop("activation"),
                "recurrent_activation": gate, **config}  # fmt: skip


class LSTM(_Gated):
    """Long short-term memory:

        i, f, o = recurrent_activation(...), g = activation(...) of x_t kernel +
        h_(t-1) recurrent_kernel + bias;  c_t = f c_(t-1) + i g,  h_t = o activation(c_t)

    Arguments as `SimpleRNN`'s; kernels hold i, f, g, o side by side. unit_forget_bias:
    the forget gate's bias begins at 1. return_state gives h and c.

    Source: Hochreiter and Schmidhuber, Neural Computation 9, 1997; Jozefowicz, Zaremba
    and Sutskever, ICML 2015 (the bias of 1).

    >>> y, h, c = LSTM(3, return_state=True)(np.ones((2, 5, 4)))
    >>> y.shape, bool((y == h).all()), c.shape
    ((2, 3), True, (2, 3))
    """

    op = "lstm"
    gates = 4
    states = 2

    def __init__(self, units: int, *args: Any, unit_forget_bias: bool = True, **kw: Any) -> None:
        super().__init__(units, *args, **kw)
        self.unit_forget_bias = bool(unit_forget_bias)

    def _bias_initializer(self) -> Any:
        if not self.unit_forget_bias:
            return self.bias_initializer

        def initial(shape: Sequence[int], dtype: Any = None) -> Any:
            bias = np.array(self.bias_initializer(shape, dtype))
            bias[self.units : 2 * self.units] = 1
            return bias

        return initial

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "unit_forget_bias": self.unit_forget_bias}


class GRU(_Gated):
    """Gated recurrent unit, the reset gate after the product (Keras's reset_after=True):

        z, r = recurrent_activation(x_t kernel + h_(t-1) recurrent_kernel + both biases)
        g = activation(x_t kernel + bias_0 + r (h_(t-1) recurrent_kernel + bias_1))
        h_t = z h_(t-1) + (1 - z) g

    or, with reset_after=False, before it, as in the paper:

        g = activation(x_t kernel + bias + (r h_(t-1)) recurrent_kernel)

    Arguments as `SimpleRNN`'s; kernels hold z, r, g side by side, bias is (2, 3 units), or
    (3 units,) with reset_after=False. That form is not one operator over all of time: it is
    unrolled into some operators a step, so it is slower and meant for weights that others
    have trained.

    Source: Cho et al., EMNLP 2014.

    >>> GRU(3)(np.ones((2, 5, 4))).shape
    (2, 3)
    """

    op = "gru"
    gates = 3

    def __init__(self, units: int, *args: Any, reset_after: bool = True, **keywords: Any) -> None:
        super().__init__(units, *args, **keywords)
        self.reset_after = bool(reset_after)

    def _bias_shape(self) -> tuple[int, ...]:
        return (2, 3 * self.units) if self.reset_after else (3 * self.units,)

    def _run(self, operands: list[Any]) -> Any:
        return super()._run(operands) if self.reset_after else self._unrolled(*operands)

    def _unrolled(
        self, x: Any, kernel: Any, recurrent: Any, bias: Any, h: Any = None, mask: Any = None,
        scale: Any = None,
    ) -> tuple[Any, Any]:  # fmt: skip
        """(all states, the last), the operands being those of the operator `gru`."""
        apply, units = _core.apply, self.units
        batch, steps = x.shape[:2]

        def part(v: Any, begin: tuple[int, ...], size: tuple[int, ...]) -> Any:
            return apply("slice", (v,), {"begin": begin, "size": size})

        def active(v: Any, name: str | None) -> Any:
            return v if name is None else apply(name, (v,))

        if h is None:
            h = constant(np.zeros((batch, units), self.dtype), x)
        gates = part(recurrent, (0, 0), (units, 2 * units))
        inner = part(recurrent, (0, 2 * units), (units, units))
        inputs = apply("dense", (x, kernel, bias))  # (batch, steps, 3 units), for all steps at once
        seen = []
        for t in range(steps)[:: -1 if self.go_backwards else 1]:
            now = apply("reshape", (part(inputs, (0, t, 0), (-1, 1, -1)),),
                        {"shape": (batch, 3 * units)})  # fmt: skip
            old = h if scale is None else apply("multiply", (h, scale))
            both = apply("add", (part(now, (0, 0), (-1, 2 * units)), apply("matmul", (old, gates))))
            both = active(both, self._gate)
            z, r = (part(both, (0, k * units), (-1, units)) for k in (0, 1))
            g = apply("matmul", (apply("multiply", (r, old)), inner))
            g = active(apply("add", (part(now, (0, 2 * units), (-1, units)), g)), self._activation)
            step = apply("multiply", (apply("subtract", (1.0, z)), apply("subtract", (g, h))))
            if mask is not None:  # h_t - h_(t-1) = (1 - z) (g - h_(t-1)), or 0
                counts = counting(part(mask, (0, t), (-1, 1)), (batch, 1))
                step = apply("multiply", (step, counts))
            h = apply("add", (h, step))
            seen.append(apply("reshape", (h,), {"shape": (batch, 1, units)}))
        while len(seen) > 1:  # an operator takes at most 16 values
            seen = [apply("concatenate", tuple(seen[k : k + 16]), {"axis": 1})
                    for k in range(0, len(seen), 16)]  # fmt: skip
        return seen[0], h

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "reset_after": self.reset_after}
