# The C core: what csrc/py defines. Not public; the modules beside it are.
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, SupportsIndex, final

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray
from typing_extensions import disjoint_base

compiler: str
defaults: dict[str, np.ufunc]

def apply(
    name: str, inputs: tuple[Any, ...], attrs: Mapping[str, Any] | None = None, seed: int = 0, /
) -> Any: ...
def get_num_threads() -> int: ...
def isa() -> str: ...
def op_info(name: str, /) -> dict[str, Any]: ...
def op_names() -> list[str]: ...
def run_loop(
    full: Program | None,
    rest: Program | None,
    feeds: tuple[Any, ...],
    rows: int,
    batch: int,
    order: NDArray[np.int64] | None,
    first: int,
    last: int,
    seed: int,
    step: int,
    lr: NDArray[np.float64] | None,
    losses: NDArray[np.float64] | None,
    sums: tuple[NDArray[np.float64], ...],
    results: tuple[NDArray[Any], ...],
    done: NDArray[np.int64],
    progress: Callable[[], Any] | None,
    /,
) -> None: ...
def set_num_threads(n: SupportsIndex, /) -> None: ...
def shuffle(order: NDArray[np.int64], seed: int, epoch: int, /) -> None: ...
def tables() -> list[str]: ...
def ufuncs(isa: str, /) -> dict[str, np.ufunc]: ...

@final
class KeywordUfunc:
    def __new__(cls, ufunc: np.ufunc, at_default: np.ufunc, keyword: str, /) -> KeywordUfunc: ...
    def __call__(self, *args: Any, **kwargs: Any) -> Any: ...

@final
class Block:
    def __new__(cls, dtype: DTypeLike, size: int) -> Block: ...
    @property
    def dtype(self) -> np.dtype[Any]: ...
    @property
    def size(self) -> int: ...
    def view(self, offset: int, shape: Sequence[int], /) -> NDArray[Any]: ...

@disjoint_base
class Value:
    __array_ufunc__: ClassVar[None]
    @property
    def shape(self) -> tuple[int, ...]: ...
    @property
    def ndim(self) -> int: ...
    @property
    def dtype(self) -> np.dtype[Any]: ...
    @property
    def tag(self) -> dict[str, Any]: ...
    @property
    def owner(self) -> Graph | Tape: ...
    @property
    def id(self) -> int: ...
    def numpy(self) -> NDArray[Any]: ...
    def __add__(self, other: Any) -> Value: ...
    def __radd__(self, other: Any) -> Value: ...
    def __sub__(self, other: Any) -> Value: ...
    def __rsub__(self, other: Any) -> Value: ...
    def __mul__(self, other: Any) -> Value: ...
    def __rmul__(self, other: Any) -> Value: ...
    def __truediv__(self, other: Any) -> Value: ...
    def __rtruediv__(self, other: Any) -> Value: ...
    def __pow__(self, other: Any) -> Value: ...
    def __rpow__(self, other: Any) -> Value: ...
    def __matmul__(self, other: Any) -> Value: ...
    def __rmatmul__(self, other: Any) -> Value: ...
    def __neg__(self) -> Value: ...
    def __abs__(self) -> Value: ...

@final
class Graph:
    def __new__(cls) -> Graph: ...
    def input(self, shape: Sequence[int], dtype: DTypeLike, /) -> Value: ...
    def param(
        self, block: Block, offset: int, shape: Sequence[int], trainable: bool, /
    ) -> Value: ...
    def const(self, array: ArrayLike, /) -> Value: ...
    def freeze(self, copies: dict[Block, Block], /) -> None: ...
    def apply(
        self, name: str, inputs: Sequence[Any], attrs: Mapping[str, Any] | None = None, /
    ) -> Any: ...

@final
class Tape:
    def __new__(cls, seed: int = 0) -> Tape: ...
    def leaf(self, array: ArrayLike, /) -> Value: ...
    def apply(
        self, name: str, inputs: Sequence[Any], attrs: Mapping[str, Any] | None = None, /
    ) -> Any: ...
    def gradient(
        self, target: Value, sources: Sequence[Value], seed: ArrayLike | None = None, /
    ) -> tuple[Value | None, ...]: ...

@final
class OptimizerState:
    def __new__(
        cls,
        op: str,
        attrs: Mapping[str, Any] | None = None,
        clip: str = "none",
        clip_at: float = 0.0,
    ) -> OptimizerState: ...
    @property
    def slots(self) -> int: ...
    def slot(self, block: Block, i: int, /) -> Block: ...
    def grad(self, block: Block, /) -> Block: ...

@final
class Program:
    def __new__(
        cls,
        graph: Graph,
        loss: Value | None = None,
        optimizer: OptimizerState | None = None,
        outputs: Sequence[Value] = (),
        wrt: Sequence[Value] = (),
    ) -> Program: ...
    @property
    def bytes(self) -> int: ...
    @property
    def flops(self) -> float: ...
    @property
    def calls(self) -> int: ...

@final
class Inference:
    def __new__(
        cls,
        shape: Sequence[int],
        dtype: DTypeLike,
        compile: Callable[..., Any],
        convert: Callable[..., Any],
        reduce: Callable[..., Any],
    ) -> Inference: ...
    def __call__(self, x: Any, out: NDArray[Any] | None = None) -> NDArray[Any]: ...
    def __reduce__(self) -> Any: ...

# ---- made by tests/make_stubs.py ----
relu: np.ufunc
relu_grad: np.ufunc
leaky_relu: np.ufunc
leaky_relu_grad: np.ufunc
elu: np.ufunc
elu_grad: np.ufunc
selu: np.ufunc
selu_grad: np.ufunc
sigmoid: np.ufunc
sigmoid_grad: np.ufunc
hard_sigmoid: np.ufunc
hard_sigmoid_grad: np.ufunc
tanh: np.ufunc
tanh_grad: np.ufunc
silu: np.ufunc
silu_grad: np.ufunc
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
# ---- end ----
