from collections.abc import Callable
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray
from typing_extensions import TypedDict, Unpack

Activation: TypeAlias = Callable[..., Any]

class _UfuncKeywords(TypedDict, total=False):
    out: NDArray[Any] | tuple[NDArray[Any]] | None
    where: ArrayLike
    casting: Literal["no", "equiv", "safe", "same_kind", "unsafe"]
    order: Literal["K", "A", "C", "F"]
    dtype: DTypeLike | None
    subok: bool

def linear(x: Any) -> Any: ...
def softmax(x: Any, axis: int = -1) -> Any: ...
def log_softmax(x: Any, axis: int = -1) -> Any: ...
def logsumexp(x: Any, axis: int = -1, keepdims: bool = False) -> Any: ...
def get(identifier: str | Activation | None) -> Activation: ...
def serialize(activation: Activation) -> str: ...

# ---- made by tests/make_stubs.py ----
__all__ = [
    "abs",
    "abs_grad",
    "elu",
    "elu_grad",
    "exp",
    "exp_grad",
    "gelu",
    "gelu_grad",
    "gelu_tanh",
    "gelu_tanh_grad",
    "get",
    "hard_sigmoid",
    "hard_sigmoid_grad",
    "leaky_relu",
    "leaky_relu_grad",
    "linear",
    "log",
    "log_grad",
    "log_softmax",
    "logsumexp",
    "mish",
    "mish_grad",
    "negative",
    "negative_grad",
    "relu",
    "relu_grad",
    "selu",
    "selu_grad",
    "serialize",
    "sigmoid",
    "sigmoid_grad",
    "silu",
    "silu_grad",
    "softmax",
    "softplus",
    "softplus_grad",
    "softsign",
    "softsign_grad",
    "sqrt",
    "sqrt_grad",
    "square",
    "square_grad",
    "swish",
    "swish_grad",
    "tanh",
    "tanh_grad",
]

relu: np.ufunc
relu_grad: np.ufunc
selu: np.ufunc
selu_grad: np.ufunc
sigmoid: np.ufunc
sigmoid_grad: np.ufunc
hard_sigmoid: np.ufunc
hard_sigmoid_grad: np.ufunc
tanh: np.ufunc
tanh_grad: np.ufunc
gelu: np.ufunc
gelu_grad: np.ufunc
gelu_tanh: np.ufunc
gelu_tanh_grad: np.ufunc
softplus: np.ufunc
softplus_grad: np.ufunc
softsign: np.ufunc
softsign_grad: np.ufunc
mish: np.ufunc
mish_grad: np.ufunc
exp: np.ufunc
exp_grad: np.ufunc
log: np.ufunc
log_grad: np.ufunc
sqrt: np.ufunc
sqrt_grad: np.ufunc
square: np.ufunc
square_grad: np.ufunc
abs: np.ufunc
abs_grad: np.ufunc
negative: np.ufunc
negative_grad: np.ufunc

def leaky_relu(
    x: ArrayLike, /, *, alpha: ArrayLike = 0.01, **keywords: Unpack[_UfuncKeywords]
) -> Any: ...
def leaky_relu_grad(
    x: ArrayLike, /, *, alpha: ArrayLike = 0.01, **keywords: Unpack[_UfuncKeywords]
) -> Any: ...
def elu(x: ArrayLike, /, *, alpha: ArrayLike = 1.0, **keywords: Unpack[_UfuncKeywords]) -> Any: ...
def elu_grad(
    x: ArrayLike, /, *, alpha: ArrayLike = 1.0, **keywords: Unpack[_UfuncKeywords]
) -> Any: ...
def silu(x: ArrayLike, /, *, beta: ArrayLike = 1.0, **keywords: Unpack[_UfuncKeywords]) -> Any: ...
def silu_grad(
    x: ArrayLike, /, *, beta: ArrayLike = 1.0, **keywords: Unpack[_UfuncKeywords]
) -> Any: ...

swish = silu
swish_grad = silu_grad
# ---- end ----
