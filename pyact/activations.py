"""Activation functions and their derivatives in x.

Each of them is an element-wise operator of the C core, and this module exports all of
those: `gelu` and `gelu_grad`, `tanh` and `tanh_grad`, and so on. One without a parameter
is a NumPy ufunc. One with a parameter (`leaky_relu`, `elu`, `silu`) is a callable that
passes its keyword on as the second operand of a two-input ufunc: the parameter may be an
array and is broadcast against x, and everything that a ufunc takes as a keyword it takes.

    >>> import numpy as np
    >>> x = np.array([-2.0, 0.0, 2.0])
    >>> print(relu(x), leaky_relu(x), leaky_relu(x, alpha=[0.1, 0.2, 0.3]))
    [0. 0. 2.] [-0.02  0.    2.  ] [-0.2  0.   2. ]

float16, float32 and float64 keep their type; integers and bool are promoted as `np.tanh`
promotes them. `softmax`, `log_softmax` and `logsumexp` work along an axis and are plain
functions.
"""

from __future__ import annotations

from collections.abc import Callable
from inspect import Parameter, Signature
from typing import Any

import numpy as np

from . import _core
from ._names import unknown

Activation = Callable[..., Any]

# Where a function was proposed; the formulas stand in the operators themselves.
_SOURCES = {
    "relu": "Nair and Hinton, Rectified linear units improve restricted Boltzmann "
    "machines, ICML 2010",
    "leaky_relu": "Maas, Hannun and Ng, Rectifier nonlinearities improve neural network "
    "acoustic models, ICML 2013; with an array as alpha: He et al., arXiv:1502.01852",
    "elu": "Clevert, Unterthiner and Hochreiter, arXiv:1511.07289",
    "selu": "Klambauer et al., Self-normalizing neural networks, arXiv:1706.02515",
    "silu": "Elfwing, Uchibe and Doya, arXiv:1702.03118; with beta: Ramachandran, Zoph "
    "and Le (Swish), arXiv:1710.05941",
    "gelu": "Hendrycks and Gimpel, Gaussian error linear units, arXiv:1606.08415",
    "gelu_tanh": "Hendrycks and Gimpel, Gaussian error linear units, arXiv:1606.08415",
    "softplus": "Dugas et al., Incorporating second-order functional knowledge for better "
    "option pricing, NIPS 2000",
    "softsign": "Glorot and Bengio, Understanding the difficulty of training deep "
    "feedforward neural networks, AISTATS 2010",
    "mish": "Misra, arXiv:1908.08681",
    "hard_sigmoid": "Courbariaux, Bengio and David, BinaryConnect, arXiv:1511.00363",
}

_UFUNC_KEYWORDS = {
    "out": None,
    "where": True,
    "casting": "same_kind",
    "order": "K",
    "dtype": None,
    "subok": True,
}


def _at_home(ufunc: Any, source: str | None) -> Any:
    """Tells a ufunc its public home, so that pickles do not name a private module."""
    try:
        ufunc.__module__ = __name__
        if source:
            ufunc.__doc__ = f"{ufunc.__doc__}\nReferences\n----------\n{source}.\n"
    except AttributeError:  # NumPy before 2.2: a ufunc has no place for it
        pass
    return ufunc


def _with_keyword(ufunc: np.ufunc, attr: tuple[Any, ...], source: str | None) -> Any:
    """f(x, /, *, parameter=default, **ufunc_keywords) over ufunc(x, parameter)."""
    parameter, default, meaning = attr[0], attr[2], attr[5]
    name = ufunc.__name__
    activation: Any = _core.KeywordUfunc(ufunc, _core.defaults[name], parameter)
    formula = str(ufunc.__doc__).partition("\n\n")[2].partition("\n\nParameters")[0]
    activation.__name__ = activation.__qualname__ = name
    activation.__module__ = __name__
    activation.__signature__ = Signature(
        [
            Parameter("x", Parameter.POSITIONAL_ONLY),
            *(
                Parameter(key, Parameter.KEYWORD_ONLY, default=value)
                for key, value in {parameter: default, **_UFUNC_KEYWORDS}.items()
            ),
        ]
    )
    activation.__doc__ = f"""{formula}

    Parameters
    ----------
    x : array_like
        Of any shape; integers and bool are promoted as by np.tanh.
    {parameter} : array_like
        {meaning}. Taken in x's type, and broadcast against x.
    out, where, casting, order, dtype, subok
        As for every ufunc, and like {parameter} by keyword only.

    Returns
    -------
    y : ndarray or scalar
        Of the broadcast shape of x and {parameter}.

    Examples
    --------
    >>> from pyact.activations import {name}
    >>> bool({name}(0.5) == {name}(0.5, {parameter}={default!r}))
    True
""" + (f"\n    References\n    ----------\n    {source}.\n" if source else "")
    return activation


def _exports() -> dict[str, Activation]:
    """Every element-wise operator of the core, with its derivative."""
    found: dict[str, Activation] = {}
    for name in _core.op_names():
        info = _core.op_info(name)
        if info["kind"] != "map":
            continue
        for key in (name, f"{name}_grad"):
            ufunc = getattr(_core, key)
            source = _SOURCES.get(name)
            if ufunc.nin == 1:
                found[key] = _at_home(ufunc, source)
            else:
                found[key] = _with_keyword(ufunc, info["attrs"][0], source)
    found["swish"] = found["silu"]
    found["swish_grad"] = found["silu_grad"]
    return found


_MAPS = _exports()
globals().update(_MAPS)


def linear(x: Any) -> Any:
    """f(x) = x: no activation.

    >>> linear(3.0)
    3.0
    """
    return x


def softmax(x: Any, axis: int = -1) -> Any:
    """y_i = e^(x_i) / sum_j e^(x_j) along `axis`, for logits of any size.

    x: array of any shape with at least one axis; axis: int, may be negative.

    A row of which all entries are -inf has no softmax: it gives NaN. Raises ValueError
    for an axis that x does not have, TypeError for a dtype that is not a real number.
    Source: Bridle, Probabilistic interpretation of feedforward classification network
    outputs, 1990.

    >>> softmax([1.0, 1.0, 1000.0]).round(6).tolist()
    [0.0, 0.0, 1.0]
    """
    return _apply("softmax", x, axis=axis)


def log_softmax(x: Any, axis: int = -1) -> Any:
    """y_i = x_i - log sum_j e^(x_j) along `axis`, without the loss of digits that the log
    of a softmax has.

    x: array of any shape with at least one axis; axis: int, may be negative. Errors are
    those of `softmax`.

    >>> log_softmax([0.0, -1000.0]).tolist()
    [0.0, -1000.0]
    """
    return _apply("log_softmax", x, axis=axis)


def logsumexp(x: Any, axis: int = -1, keepdims: bool = False) -> Any:
    """y = log sum_j e^(x_j) along `axis`.

    x: array of any shape with at least one axis; axis: int, may be negative; keepdims:
    the axis stays, with size 1. Errors are those of `softmax`.

    >>> float(logsumexp([1000.0, 1000.0]).round(4))
    1000.6931
    """
    return _apply("logsumexp", x, axis=axis, keepdims=keepdims)


def _apply(op: str, x: Any, **attrs: Any) -> Any:
    if isinstance(x, _core.Value):
        return _core.apply(op, (x,), attrs)
    if type(x) is np.ndarray and x.dtype.char in "fd":
        return _core.apply(op, (x,), attrs)
    a = np.asarray(x)
    if a.dtype.kind not in "fiub" or a.dtype.itemsize > 8:
        raise TypeError(
            f"{op}: got an array of {a.dtype}, expected float16, float32, float64, integers or bool"
        )
    kept = np.result_type(a.dtype, np.float16)  # as ufuncs promote integers
    wide = np.float64 if kept == np.float64 else np.float32
    y = _core.apply(op, (a.astype(wide, copy=False),), attrs)
    return y if kept != np.float16 else y.astype(np.float16)


_BY_NAME: dict[str, Activation] = {
    **{name: f for name, f in _MAPS.items() if not name.endswith("_grad")},
    "linear": linear,
    "softmax": softmax,
    "log_softmax": log_softmax,
}


def get(identifier: str | Activation | None) -> Activation:
    """The activation that a name, a function or None (no activation) stands for.

    Raises ValueError for an unknown name and names the nearest known one; TypeError for
    what is neither a name nor callable.

    >>> get("gelu") is gelu, get(None) is linear, get(abs) is abs
    (True, True, True)
    """
    if identifier is None:
        return linear
    if isinstance(identifier, str):
        found = _BY_NAME.get(identifier)
        if found is None:
            raise unknown("activation", identifier, _BY_NAME)
        return found
    if callable(identifier):
        return identifier
    raise TypeError(
        f"activation must be a name, a function or None, got {type(identifier).__name__}"
    )


def serialize(activation: Activation) -> str:
    """The name under which `get` finds an activation again.

    Raises ValueError for a function that is not one of this module's.

    >>> serialize(gelu), serialize(linear)
    ('gelu', 'linear')
    """
    for name, known in _BY_NAME.items():
        if activation is known:
            return name
    raise ValueError(
        f"activation {activation!r} has no name: only pyact's own can be saved by name"
    )


__all__ = [*_MAPS, "get", "linear", "log_softmax", "logsumexp", "serialize", "softmax"]
