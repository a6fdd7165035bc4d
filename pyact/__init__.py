"""pyact: neural networks at C speed for NumPy.

    import pyact
    y = pyact.gelu(x)                     # a NumPy ufunc, right to the last bit
    model = pyact.Sequential([pyact.layers.Dense(10, "relu"), ...])

Activations and their derivatives (`gelu`, `gelu_grad`, ...) are here at the top; the rest
is in modules with Keras's names: layers, models, losses, optimizers, metrics, callbacks,
initializers, data; and ops, every operator as a function.
"""

from __future__ import annotations

from . import (
    _tensors,  # noqa: F401  (gives values their methods)
    activations,
    autodiff,
    callbacks,
    data,
    initializers,
    layers,
    losses,
    metrics,
    models,
    ops,
    optimizers,
)
from ._config import get_num_threads, register_threadpoolctl, set_num_threads, show_config
from .activations import *  # noqa: F403
from .activations import __all__ as _activations
from .autodiff import GradientTape, check_grad, function, value_and_grad
from .config import floatx, set_floatx
from .layers import Input
from .models import Model, Sequential, load_model
from .random_state import set_seed
from .variables import Tensor, Variable, constant

__version__ = "0.1.0"

_helpers = ("get", "serialize")  # names that are too general for the top
for _name in _helpers:
    globals().pop(_name, None)

__all__ = [
    "GradientTape",
    "Input",
    "Model",
    "Sequential",
    "Tensor",
    "Variable",
    "activations",
    "autodiff",
    "callbacks",
    "check_grad",
    "constant",
    "data",
    "floatx",
    "function",
    "get_num_threads",
    "initializers",
    "layers",
    "load_model",
    "losses",
    "metrics",
    "models",
    "ops",
    "optimizers",
    "register_threadpoolctl",
    "set_floatx",
    "set_num_threads",
    "set_seed",
    "show_config",
    "value_and_grad",
    *(name for name in _activations if name not in _helpers),
]
