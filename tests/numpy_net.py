"""A second implementation of training, in NumPy: dense layers, losses, optimizers.

It shares no code with the core: formulas are the rows of `reference.py`, each of which is
itself checked against finite differences. Used by test_training.py and test_planted.py.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from oracle import LD
from reference import ROWS
from reference_training import CLIPS


def activate(name: str | None, z: Any) -> Any:
    return z if name is None else np.asarray(ROWS[name].forward(z))


def activate_back(name: str | None, dy: Any, z: Any) -> Any:
    return dy if name is None else ROWS[name].vjp(dy, z)[0]


class Net:
    """Dense layers with activations; the loss takes the last layer's result.

    A softmax or sigmoid before its own cross-entropy is left to the loss (from_logits).
    """

    def __init__(
        self, weights: list[Any], activations: list[str | None], loss: str,
        loss_attrs: dict[str, Any], op: str, op_attrs: dict[str, Any],
        clip: tuple[str, float] | None = None,
    ) -> None:  # fmt: skip
        self.weights = [np.asarray(w, LD) for w in weights]
        self.activations, self.loss, self.loss_attrs = list(activations), loss, dict(loss_attrs)
        fused = {"softmax": "categorical", "sigmoid": "binary"}.get(activations[-1] or "")
        if fused and fused in loss:
            self.activations[-1] = None
            self.loss_attrs["from_logits"] = True
        self.op, self.op_attrs, self.clip = op, op_attrs, clip
        start = ROWS[op].start(**op_attrs)
        self.slots = [[np.full(w.shape, LD(s)) for s in start] for w in self.weights]
        self.steps = 0

    def forward(self, x: Any) -> Any:
        self.inputs, self.sums = [], []
        for k, name in enumerate(self.activations):
            self.inputs.append(x)
            self.sums.append(x @ self.weights[2 * k] + self.weights[2 * k + 1])
            x = activate(name, self.sums[-1])
        return x

    def gradients(self, x: Any, y: Any, weight: Any = None) -> tuple[Any, list[Any]]:
        """The loss and the gradients in all weights."""
        args = [self.forward(np.asarray(x, LD)), y if y.dtype.kind == "i" else np.asarray(y, LD)]
        args += [] if weight is None else [np.asarray(weight, LD)]
        loss = ROWS[self.loss].forward(*args, **self.loss_attrs)
        dy = ROWS[self.loss].vjp(LD(1), *args, **self.loss_attrs)[0]
        found: list[Any] = []
        for k in reversed(range(len(self.activations))):
            dz = activate_back(self.activations[k], dy, self.sums[k])
            found = [self.inputs[k].T @ dz, dz.sum(axis=0), *found]
            dy = dz @ self.weights[2 * k].T
        return loss, found

    def step(self, x: Any, y: Any, weight: Any = None, lr: float = 0.1) -> float:
        loss, grads = self.gradients(x, y, weight)
        if self.clip is not None:
            grads = CLIPS[self.clip[0]](grads, self.clip[1])
        self.steps += 1
        for k, g in enumerate(grads):
            self.weights[k], self.slots[k] = ROWS[self.op].step(
                self.weights[k], g, self.slots[k], LD(lr), self.steps, **self.op_attrs
            )
        return float(loss)
