# Made by tests/make_stubs.py from the core's registry: do not edit.
from collections.abc import Sequence
from typing import Any, TypeAlias

from numpy.typing import ArrayLike, DTypeLike

from ._core import Value

_Operand: TypeAlias = Value | ArrayLike

__all__ = [
    "abs",
    "add",
    "assign",
    "avg_pool2d",
    "broadcast_to",
    "cast",
    "concatenate",
    "conv2d",
    "conv2d_transpose",
    "dense",
    "derivative",
    "divide",
    "dropout",
    "elu",
    "embedding",
    "exp",
    "gelu",
    "gelu_tanh",
    "grad_clip_norm",
    "grad_clip_value",
    "grad_scale_global",
    "grad_sumsq",
    "greater_equal",
    "gru",
    "hard_sigmoid",
    "leaky_relu",
    "log",
    "log_softmax",
    "logsumexp",
    "loss_binary_crossentropy",
    "loss_categorical_crossentropy",
    "loss_huber",
    "loss_mae",
    "loss_mse",
    "loss_sparse_categorical_crossentropy",
    "lstm",
    "matmul",
    "max",
    "max_pool2d",
    "maximum",
    "mean",
    "metric_binary_accuracy",
    "metric_categorical_accuracy",
    "metric_confusion_at_thresholds",
    "metric_mae",
    "metric_mean",
    "metric_mse",
    "metric_saturated",
    "metric_sparse_categorical_accuracy",
    "metric_sparse_top_k",
    "metric_top_k",
    "minimum",
    "mish",
    "moving_average",
    "multiply",
    "negative",
    "opt_adagrad",
    "opt_adam",
    "opt_rmsprop",
    "opt_sgd",
    "power",
    "reenter",
    "relu",
    "reshape",
    "select",
    "selu",
    "settle",
    "sigmoid",
    "silu",
    "simple_rnn",
    "slice",
    "softmax",
    "softplus",
    "softsign",
    "sqrt",
    "square",
    "stop_gradient",
    "subtract",
    "sum",
    "tanh",
    "teacher_forcing",
    "transpose",
]

def relu(x: _Operand, /) -> Any: ...
def leaky_relu(x: _Operand, /, *, alpha: float = 0.01) -> Any: ...
def elu(x: _Operand, /, *, alpha: float = 1.0) -> Any: ...
def selu(x: _Operand, /) -> Any: ...
def sigmoid(x: _Operand, /) -> Any: ...
def hard_sigmoid(x: _Operand, /) -> Any: ...
def tanh(x: _Operand, /) -> Any: ...
def silu(x: _Operand, /, *, beta: float = 1.0) -> Any: ...
def gelu(x: _Operand, /) -> Any: ...
def gelu_tanh(x: _Operand, /) -> Any: ...
def softplus(x: _Operand, /) -> Any: ...
def softsign(x: _Operand, /) -> Any: ...
def mish(x: _Operand, /) -> Any: ...
def exp(x: _Operand, /) -> Any: ...
def log(x: _Operand, /) -> Any: ...
def sqrt(x: _Operand, /) -> Any: ...
def square(x: _Operand, /) -> Any: ...
def abs(x: _Operand, /) -> Any: ...
def negative(x: _Operand, /) -> Any: ...
def add(a: _Operand, b: _Operand, /) -> Any: ...
def subtract(a: _Operand, b: _Operand, /) -> Any: ...
def multiply(a: _Operand, b: _Operand, /) -> Any: ...
def divide(a: _Operand, b: _Operand, /) -> Any: ...
def maximum(a: _Operand, b: _Operand, /) -> Any: ...
def minimum(a: _Operand, b: _Operand, /) -> Any: ...
def greater_equal(a: _Operand, b: _Operand, /) -> Any: ...
def select(condition: _Operand, x: _Operand, /) -> Any: ...
def power(a: _Operand, b: _Operand, /) -> Any: ...
def sum(x: _Operand, /, *, axis: int | Sequence[int] = (), keepdims: bool = False) -> Any: ...
def mean(x: _Operand, /, *, axis: int | Sequence[int] = (), keepdims: bool = False) -> Any: ...
def max(x: _Operand, /, *, axis: int | Sequence[int] = (), keepdims: bool = False) -> Any: ...
def logsumexp(x: _Operand, /, *, axis: int | Sequence[int] = (), keepdims: bool = False) -> Any: ...
def softmax(x: _Operand, /, *, axis: int = -1) -> Any: ...
def log_softmax(x: _Operand, /, *, axis: int = -1) -> Any: ...
def opt_sgd(
    param: _Operand,
    grad: _Operand,
    velocity: _Operand = ...,
    /,
    *,
    momentum: float = 0.0,
    nesterov: bool = False,
    weight_decay: float = 0.0,
) -> Any: ...
def opt_adagrad(
    param: _Operand,
    grad: _Operand,
    accumulator: _Operand,
    /,
    *,
    initial_accumulator_value: float = 0.1,
    epsilon: float = 1e-07,
    weight_decay: float = 0.0,
) -> Any: ...
def opt_rmsprop(
    param: _Operand,
    grad: _Operand,
    velocity: _Operand,
    momentum_: _Operand = ...,
    average: _Operand = ...,
    /,
    *,
    rho: float = 0.9,
    momentum: float = 0.0,
    epsilon: float = 1e-07,
    centered: bool = False,
    weight_decay: float = 0.0,
) -> Any: ...
def opt_adam(
    param: _Operand,
    grad: _Operand,
    mean: _Operand,
    square: _Operand,
    top: _Operand = ...,
    /,
    *,
    beta_1: float = 0.9,
    beta_2: float = 0.999,
    epsilon: float = 1e-07,
    amsgrad: bool = False,
    weight_decay: float = 0.0,
) -> Any: ...
def grad_clip_value(grad: _Operand, /, *more: _Operand, clip: float = 1.0) -> Any: ...
def grad_clip_norm(grad: _Operand, /, *more: _Operand, clip: float = 1.0) -> Any: ...
def grad_sumsq(grad: _Operand, /) -> Any: ...
def grad_scale_global(
    grad: _Operand, sumsq: _Operand, /, *more: _Operand, clip: float = 1.0
) -> Any: ...
def matmul(
    a: _Operand, b: _Operand, /, *, transpose_a: bool = False, transpose_b: bool = False
) -> Any: ...
def dense(
    x: _Operand,
    kernel: _Operand,
    bias: _Operand = ...,
    /,
    *,
    activation: str | None = None,
    param: float = ...,
) -> Any: ...
def metric_binary_accuracy(
    pred: _Operand, target: _Operand, sample_weight: _Operand = ..., /, *, threshold: float = 0.5
) -> Any: ...
def metric_categorical_accuracy(
    pred: _Operand, target: _Operand, sample_weight: _Operand = ..., /
) -> Any: ...
def metric_sparse_categorical_accuracy(
    pred: _Operand, target: _Operand, sample_weight: _Operand = ..., /
) -> Any: ...
def metric_top_k(
    pred: _Operand, target: _Operand, sample_weight: _Operand = ..., /, *, k: int = 5
) -> Any: ...
def metric_sparse_top_k(
    pred: _Operand, target: _Operand, sample_weight: _Operand = ..., /, *, k: int = 5
) -> Any: ...
def metric_mse(pred: _Operand, target: _Operand, sample_weight: _Operand = ..., /) -> Any: ...
def metric_mae(pred: _Operand, target: _Operand, sample_weight: _Operand = ..., /) -> Any: ...
def metric_mean(values: _Operand, sample_weight: _Operand = ..., /) -> Any: ...
def metric_saturated(
    values: _Operand, /, *, low: float = ..., high: float = ..., between: bool = False
) -> Any: ...
def metric_confusion_at_thresholds(
    pred: _Operand,
    target: _Operand,
    sample_weight: _Operand = ...,
    /,
    *,
    n: int = 1,
    threshold: float = 0.5,
) -> Any: ...
def loss_mse(pred: _Operand, target: _Operand, sample_weight: _Operand = ..., /) -> Any: ...
def loss_mae(pred: _Operand, target: _Operand, sample_weight: _Operand = ..., /) -> Any: ...
def loss_huber(
    pred: _Operand, target: _Operand, sample_weight: _Operand = ..., /, *, delta: float = 1.0
) -> Any: ...
def loss_binary_crossentropy(
    pred: _Operand,
    target: _Operand,
    sample_weight: _Operand = ...,
    /,
    *,
    from_logits: bool = False,
    label_smoothing: float = 0.0,
) -> Any: ...
def loss_categorical_crossentropy(
    pred: _Operand,
    target: _Operand,
    sample_weight: _Operand = ...,
    /,
    *,
    from_logits: bool = False,
    label_smoothing: float = 0.0,
) -> Any: ...
def loss_sparse_categorical_crossentropy(
    pred: _Operand, target: _Operand, sample_weight: _Operand = ..., /, *, from_logits: bool = False
) -> Any: ...
def reshape(x: _Operand, /, *, shape: int | Sequence[int] = ()) -> Any: ...
def transpose(x: _Operand, /, *, perm: int | Sequence[int] = ()) -> Any: ...
def broadcast_to(x: _Operand, /, *, shape: int | Sequence[int] = ()) -> Any: ...
def slice(
    x: _Operand,
    /,
    *,
    begin: int | Sequence[int] = (),
    size: int | Sequence[int] = (),
    step: int | Sequence[int] = (),
) -> Any: ...
def concatenate(values: Sequence[_Operand], axis: int = 0) -> Any: ...
def cast(x: _Operand, /, *, dtype: DTypeLike) -> Any: ...
def stop_gradient(x: _Operand, /) -> Any: ...
def dropout(x: _Operand, /, *, rate: float = 0.5) -> Any: ...
def teacher_forcing(
    own: _Operand, truth: _Operand, /, *, begin: float = 1.0, end: float = 1.0, steps: int = 0
) -> Any: ...
def reenter(x: _Operand, /) -> Any: ...
def settle(
    old: _Operand,
    fresh: _Operand,
    scale: _Operand = ...,
    /,
    *,
    rounds: int = 1,
    tolerance: float = 1e-06,
) -> Any: ...
def conv2d(
    x: _Operand,
    kernel: _Operand,
    bias: _Operand = ...,
    /,
    *,
    activation: str | None = None,
    param: float = ...,
    strides: int | Sequence[int] = (),
    dilation: int | Sequence[int] = (),
    padding: int | Sequence[int] = (),
    groups: int = 1,
    pool: int | Sequence[int] = (),
) -> Any: ...
def conv2d_transpose(
    x: _Operand,
    kernel: _Operand,
    /,
    *,
    strides: int | Sequence[int] = (),
    dilation: int | Sequence[int] = (),
    padding: int | Sequence[int] = (),
    size: int | Sequence[int] = (),
) -> Any: ...
def max_pool2d(
    x: _Operand,
    /,
    *,
    size: int | Sequence[int] = (),
    strides: int | Sequence[int] = (),
    padding: int | Sequence[int] = (),
) -> Any: ...
def avg_pool2d(
    x: _Operand,
    /,
    *,
    size: int | Sequence[int] = (),
    strides: int | Sequence[int] = (),
    padding: int | Sequence[int] = (),
) -> Any: ...
def derivative(x: _Operand, /, *, of: str | None = None, param: float = ...) -> Any: ...
def simple_rnn(
    x: _Operand,
    kernel: _Operand,
    recurrent: _Operand,
    bias: _Operand,
    h0: _Operand = ...,
    mask: _Operand = ...,
    scale: _Operand = ...,
    /,
    *,
    activation: str | None = None,
    go_backwards: bool = False,
) -> Any: ...
def lstm(
    x: _Operand,
    kernel: _Operand,
    recurrent: _Operand,
    bias: _Operand,
    h0: _Operand = ...,
    c0: _Operand = ...,
    mask: _Operand = ...,
    scale: _Operand = ...,
    /,
    *,
    activation: str | None = None,
    go_backwards: bool = False,
    recurrent_activation: str | None = None,
) -> Any: ...
def gru(
    x: _Operand,
    kernel: _Operand,
    recurrent: _Operand,
    bias: _Operand,
    h0: _Operand = ...,
    mask: _Operand = ...,
    scale: _Operand = ...,
    /,
    *,
    activation: str | None = None,
    go_backwards: bool = False,
    recurrent_activation: str | None = None,
) -> Any: ...
def embedding(table: _Operand, indices: _Operand, /) -> Any: ...
def assign(variable: _Operand, value: _Operand, /) -> Any: ...
def moving_average(variable: _Operand, value: _Operand, /, *, momentum: float = 0.99) -> Any: ...
