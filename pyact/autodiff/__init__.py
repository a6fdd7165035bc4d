"""Automatic differentiation: tapes over operators that run at once, and traced functions.

    w = pyact.Variable(np.zeros((3, 1)))
    with pyact.GradientTape() as tape:
        loss = np.mean((x @ w - y) ** 2)
    gradient = tape.gradient(loss, w)

Inside a tape Python's operators, NumPy's functions, `pyact.ops`, layers, models and
losses are recorded as they run; the same operators with the same backward passes as in
`fit`, so the same bits.
"""

from .functional import check_grad, value_and_grad
from .rules import twice_differentiable
from .tape import GradientTape
from .tracing import function

__all__ = ["GradientTape", "check_grad", "function", "twice_differentiable", "value_and_grad"]
