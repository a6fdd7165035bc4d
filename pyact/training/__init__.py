"""The engine behind fit, evaluate and predict: from a model to programs that run in C.

One batch, seen from here: `Compiled` (program.py) emits the model's layers, the loss, the
metrics and the optimizer into one graph and compiles it, once for each batch size.
`Steps.run` (steps.py) then makes one C call, `run_loop`, for a whole epoch of a source
(sources.py), or for a single batch, when a callback wants to look in between: gather rows,
forward, loss, backward, clip, update, sum up. `Engine` (engine.py) keeps the programs and
drives the epochs; `inference` needs none of it.
"""

from .engine import Engine
from .inference import inference

__all__ = ["Engine", "inference"]
