"""Feedback: a network whose output re-enters it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from .. import _core, _recording
from .._core import Value
from .._names import real, unknown, whole
from .base import Layer
from .recurrent import constant
from .sequence import Wrapper, _inner_config, _inner_from

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from .base import Shape

__all__ = ["Feedback"]

_COMBINE = ("affine", "sum", "concatenate", "gate")


def _side_by_side(values: list[Any]) -> Any:
    """The values along axis 1; an operator takes at most 16."""
    while len(values) > 1:
        values = [_core.apply("concatenate", tuple(values[k : k + 16]), {"axis": 1})
                  for k in range(0, len(values), 16)]  # fmt: skip
    return values[0]


def _schedule(given: Any) -> tuple[float, float, int]:
    """(begin, end, steps) of the probability of teacher forcing."""
    if isinstance(given, (int, float)):
        given = (given, given, 0)
    if not isinstance(given, (list, tuple)) or len(given) != 3:
        raise ValueError(
            f"teacher_forcing: got {given!r}, expected a probability or (begin, end, steps)"
        )
    begin, end = (real("teacher_forcing", p, 0) for p in given[:2])
    if max(begin, end) > 1:
        raise ValueError(f"teacher_forcing: got {given!r}, expected probabilities from 0 to 1")
    return begin, end, whole("teacher_forcing: steps", given[2], 0)


_MOST_PASSES = 10_000


class Feedback(Wrapper):
    """A closed loop: what the body gave at earlier steps enters it again,

        z_t = combine(x_t, f_(t-1)),   y_t = body(z_t).

    body: a layer, or a list of layers that run one behind the other, each keeping the
    shape (batch, features). tap: number of the body's layer whose result is fed back:
    -1, its output (a Jordan network), or a hidden one (Elman). delays: f_(t-1) holds the
    results of so many steps before, side by side (NARX); (1,) is the last one. combine:

        "affine"       x_t + f kernel + bias, learned
        "sum"          x_t + f (the sum over delays)
        "concatenate"  x_t and f side by side
        "gate"         x_t + s (f kernel), s = sigmoid(x_t gate + f gate_kernel + bias)

    x (batch, steps, features) gives all y_t, (batch, steps, units), or the last one with
    return_sequences=False. With passes=T, x is (batch, features), the same at each of T
    steps, and the last answer comes out. The loop begins with zeros. Gradients flow
    through all of it.

    With a `tolerance` as well, the passes look for the fixed point f = F(f) of the loop: a
    row of the batch none of whose features moves by more than that is at rest and stays, and
    when all of them rest the loop ends: `passes` is only the most that it takes, and costs
    nothing. The gradient is that of the fixed point, by the implicit function theorem: v dF/dw
    with v = dL/df + v J, J = dF/df. The adjoint v is iterated at the fixed point, instead of
    going back along the way there, and stops likewise: when it moves by no more than the
    tolerance times the largest |dL/df| of the row. It holds where F contracts.

    Teacher forcing: `loop(x, teacher=truth)`, truth (batch, steps, features that are fed
    back) being what the tapped layer should give at each step (in a functional model an
    Input of its own). In training the truth is then fed back instead of the loop's own
    result, for each sequence and step with the probability `teacher_forcing`: a number, or
    (begin, end, steps) for one that goes from begin to end on a straight line over so many
    steps of the optimizer. Outside training the loop is always its own.

    Raises ValueError for arguments that cannot be, and for a body whose result does not
    fit what it is combined with.

    Sources: Jordan, ICS report 8604, 1986; Elman, Cognitive Science 14, 1990; Lin et al.,
    IEEE Trans. Neural Networks 7, 1996 (NARX); Bengio et al., NIPS 2015 (falling teacher
    forcing).

    >>> from pyact.layers import Dense
    >>> Feedback([Dense(8, "tanh"), Dense(1)], tap=0)(np.ones((2, 5, 3))).shape
    (2, 5, 1)
    """

    def __init__(
        self,
        body: Layer | Sequence[Layer],
        combine: str = "affine",
        delays: int | Sequence[int] = (1,),
        tap: int = -1,
        passes: int | None = None,
        return_sequences: bool = True,
        teacher_forcing: float | Sequence[float] = 1.0,
        tolerance: float | None = None,
        **keywords: Any,
    ) -> None:
        stack = [body] if isinstance(body, Layer) else list(body)
        if not stack:
            raise ValueError("Feedback: the body is empty; give it at least one layer")
        super().__init__(*stack, **keywords)
        if combine not in _COMBINE:
            raise unknown("combine", combine, _COMBINE)
        self.combine = combine
        given = (delays,) if isinstance(delays, int) else delays
        self.delays = tuple(whole("delays", d, 1) for d in given)
        if not self.delays or len(set(self.delays)) != len(self.delays):
            raise ValueError(f"delays: got {self.delays}, expected different steps, at least one")
        self.tap = whole("tap", tap, -len(stack))
        if self.tap >= len(stack):
            raise ValueError(f"tap: got {tap}, but the body has {len(stack)} layers")
        self.passes = None if passes is None else whole("passes", passes, 1)
        most = _MOST_PASSES if tolerance is None else 2**31 - 1
        if self.passes is not None and self.passes > most:
            why = ": each is recorded; a fixed point is had sooner by tolerance="
            raise ValueError(
                f"passes must be at most {most}, got {passes}{why if tolerance is None else ''}"
            )
        self.return_sequences = bool(return_sequences)
        self.teacher_forcing = _schedule(teacher_forcing)
        self.tolerance = None if tolerance is None else real("tolerance", tolerance, 0)
        if self.tolerance is not None and (self.passes is None or self.delays != (1,)):
            raise ValueError(
                "tolerance: a fixed point is looked for by passes=, with delays=1; got "
                f"passes={passes}, delays={self.delays}"
            )

    # ---- weights ----

    def _sizes(self, input_shape: Shape) -> tuple[int, int]:
        """Features of one step of x, and of the body's input."""
        axes = 3 if self.passes is None else 2
        if len(input_shape) != axes or input_shape[-1] is None:
            want = "(batch, steps, features)" if axes == 3 else "(batch, features)"
            raise ValueError(f"layer {self.name!r}: got shape {input_shape}, expected {want}")
        if axes == 3 and (input_shape[1] is None or input_shape[1] < 1):
            raise ValueError(
                f"layer {self.name!r}: got shape {input_shape}, expected at least one step"
            )
        return input_shape[-1], input_shape[-1]

    def _width(self, features: int) -> int:
        """Features that are fed back, for a body whose input has so many."""
        shape: Shape = (None, features)
        width = 0
        for k, layer in enumerate(self._inner):
            shape = layer.compute_output_shape(shape)
            if len(shape) != 2 or shape[1] is None:
                raise ValueError(
                    f"layer {self.name!r}: {layer.name!r} gives shape {shape}, expected (batch, "
                    "features)"
                )
            if k == self.tap % len(self._inner):
                width = shape[1]
        return width

    def build(self, input_shape: Shape) -> None:
        features, _ = self._sizes(input_shape)
        inside = features
        if self.combine == "concatenate":  # the body's width must be known to know its input's
            tapped: Any = self._inner[self.tap]
            units = getattr(tapped, "units", None)
            if units is None:
                raise ValueError(
                    f"layer {self.name!r}: combine='concatenate' needs a tap on a layer with units"
                )
            inside += units * len(self.delays)
        shape: Shape = (None, inside)
        for layer in self._inner:
            self._build_inner(layer, shape)
            shape = layer.compute_output_shape(shape)
        width = self._width(inside)
        if self.combine == "sum" and width != features:
            raise ValueError(
                f"layer {self.name!r}: combine='sum' adds {width} features that are fed back to "
                f"{features} of x; expected equal numbers (combine='affine' fits them)"
            )
        if self.combine in ("affine", "gate"):
            fed = width * len(self.delays)
            self.add_weight("feedback_kernel", (fed, features))
            self.add_weight("feedback_bias", (features,), "zeros")
        if self.combine == "gate":
            self.add_weight("gate", (features, features))
            self.add_weight("gate_kernel", (fed, features))
        self._fed = width

    # ---- the loop ----

    def _combined(self, x: Any, fed: list[Any]) -> Any:
        apply = _core.apply
        if self.combine == "sum":
            for f in fed:
                x = apply("add", (x, f))
            return x
        f = _side_by_side(fed)
        if self.combine == "concatenate":
            return _side_by_side([x, f])
        if self.combine == "affine":
            return apply("add", (x, apply("dense", (f, self.feedback_kernel, self.feedback_bias))))
        s = apply("dense", (f, self.gate_kernel, self.feedback_bias))
        s = apply("sigmoid", (apply("add", (s, apply("matmul", (x, self.gate)))),))
        return apply("add", (x, apply("multiply", (s, apply("matmul", (f, self.feedback_kernel))))))

    def _step(self, x: Any, past: list[Any], training: bool) -> Any:
        """(what comes out, what is fed back); past: what was fed back, the latest last."""
        fed = [past[-d] for d in self.delays]
        y, tapped = self._combined(x, fed), None
        for k, layer in enumerate(self._inner):
            y = layer(y, training=training)
            if k == self.tap % len(self._inner):
                tapped = y
        return y, tapped

    def _rest(self, x: Any, zeros: Any, training: bool) -> Any:
        """The fixed point. Recorded, the loop is one round between two operators, which runs
        until all is at rest; its gradient is that of the fixed point."""
        limit = {"rounds": self.passes, "tolerance": self.tolerance}
        owner: Any = _recording.active() or (x.owner if isinstance(x, Value) else None)
        if owner is None:
            f, moving = zeros, 1.0
            limit["rounds"] = 1
            for _ in range(self.passes or 0):
                f, moving = _core.apply("settle", (f, self._step(x, [f], training)[1]), limit)
                if not moving > 0:
                    break
            return f
        if not isinstance(zeros, Value):  # x is a plain array: its zeros are, too
            zeros = owner.const(zeros) if hasattr(owner, "const") else owner.leaf(zeros)
        f = _core.apply("reenter", (zeros,))
        return _core.apply("settle", (f, self._step(x, [f], training)[1]), limit)[0]

    def _forced(self, own: Any, teacher: Any, t: int) -> Any:
        """What step t feeds back: the teacher's word or its own."""
        begin, end, steps = self.teacher_forcing
        word = self._at(teacher, t)
        return _core.apply("teacher_forcing", (own, word), {"begin": begin, "end": end,
                                                            "steps": steps})  # fmt: skip

    @staticmethod
    def _at(x: Any, t: int) -> Any:
        """Step t of x (batch, steps, features)."""
        now = _core.apply("slice", (x,), {"begin": (0, t, 0), "size": (-1, 1, -1)})
        return _core.apply("reshape", (now,), {"shape": (x.shape[0], x.shape[2])})

    def _check_teacher(self, x: Any, teacher: Any) -> None:
        want = (*x.shape[:2], self._fed)
        if self.passes is not None:
            raise ValueError(f"layer {self.name!r}: teacher: passes have no teacher")
        if tuple(teacher.shape) != want:
            raise ValueError(
                f"layer {self.name!r}: teacher: got shape {tuple(teacher.shape)}, expected {want}: "
                "what is to be fed back at each step"
            )

    def call(self, x: Any, training: bool = False, teacher: Any = None) -> Any:
        self._sizes((None, *x.shape[1:]))
        if teacher is not None:
            self._check_teacher(x, teacher)
        apply = _core.apply
        batch = x.shape[0]
        zeros: Any = np.zeros((batch, self._fed), self.dtype)
        zeros = constant(zeros, x)
        past = [zeros] * max(self.delays)
        steps = x.shape[1] if self.passes is None else self.passes
        if self.tolerance is not None:
            past, steps = [self._rest(x, zeros, training)], 1
        seen = []
        for t in range(steps):
            now = x if self.passes is not None else self._at(x, t)
            y, tapped = self._step(now, past, training)
            if teacher is not None and training:
                tapped = self._forced(tapped, teacher, t)
            past = [*past[1:], tapped]
            seen.append(y)
        if self.passes is not None or not self.return_sequences:
            return seen[-1]
        return _side_by_side([apply("reshape", (y,), {"shape": (batch, 1, y.shape[1])})
                              for y in seen])  # fmt: skip

    def generate(self, x: Any, steps: int) -> NDArray[Any]:
        """Runs through x (batch, steps, features) and then goes on by itself: its own output
        is its next input. Gives the `steps` outputs after x, (batch, steps, features).

        Raises ValueError unless the body's output has as many features as x.
        """
        x = np.asarray(x, self.dtype)
        steps = whole("steps", steps, 1)
        self.ensure_built((None, *x.shape[1:]))
        self._sizes((None, *x.shape[1:]))
        zeros = np.zeros((len(x), self._fed), self.dtype)
        past, found = [zeros] * max(self.delays), []
        y: Any = None
        for t in range(x.shape[1] + steps - 1):
            y, tapped = self._step(x[:, t] if t < x.shape[1] else y, past, False)
            if y.shape[1] != x.shape[2]:
                raise ValueError(
                    f"layer {self.name!r}: generate: the output has {y.shape[1]} features and the "
                    f"input {x.shape[2]}; expected equal numbers"
                )
            past = [*past[1:], tapped]
            if t >= x.shape[1] - 1:
                found.append(y)
        return np.stack(found, axis=1)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        self.ensure_built(input_shape)
        inside, _ = self._sizes(input_shape)
        if self.combine == "concatenate":
            inside += self._fed * len(self.delays)
        shape: Shape = (None, inside)
        for layer in self._inner:
            shape = layer.compute_output_shape(shape)
        if self.passes is not None or not self.return_sequences:
            return (input_shape[0], shape[1])
        return (*input_shape[:2], shape[1])

    def get_config(self) -> dict[str, Any]:
        return {
            "body": [_inner_config(layer) for layer in self._inner],
            "combine": self.combine,
            "delays": list(self.delays),
            "tap": self.tap,
            "passes": self.passes,
            "return_sequences": self.return_sequences,
            "teacher_forcing": list(self.teacher_forcing),
            "tolerance": self.tolerance,
            **super().get_config(),
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Feedback:
        return cls(**{**config, "body": [_inner_from(layer) for layer in config["body"]]})
