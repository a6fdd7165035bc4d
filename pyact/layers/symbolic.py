"""Symbolic tensors: what layers are connected by before there are numbers.

`Input(shape)` gives the first ones; a layer called on symbolic tensors gives further ones.
They know the shape that will come, and the call that will give them. `pyact.Model` makes a
network of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn

from .._trees import leaves, map_shapes, map_tree

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .base import Layer, Shape

__all__ = ["Call", "Symbol", "connect", "has_symbols"]


class Call:
    """One use of a layer: what it was called on, and the symbolic tensors that it gives."""

    def __init__(self, layer: Layer, x: Any, keywords: dict[str, Any]) -> None:
        self.layer, self.x, self.keywords = layer, x, keywords
        self.outputs: list[Symbol] = []

    @property
    def operands(self) -> Iterator[Symbol]:
        """The symbolic tensors that it was called on."""
        return (s for s in leaves([self.x, self.keywords]) if isinstance(s, Symbol))


class Symbol:
    """A tensor without numbers: `shape`, its first entry, the batch, being None, `dtype`,
    `name`, and the `call` of a layer that gives it."""

    def __init__(self, call: Call, shape: Shape, dtype: str, name: str) -> None:
        self.call, self.shape, self.dtype, self.name = call, tuple(shape), dtype, name

    @property
    def ndim(self) -> int:
        """Number of axes, the batch included."""
        return len(self.shape)

    def _refuse(self, *unused: Any, **keywords: Any) -> NoReturn:
        raise TypeError(
            f"{self!r} is symbolic and has no numbers: give it to a layer; a computation of your "
            "own goes into the call of a Layer subclass"
        )

    __array__ = __array_function__ = __iter__ = __bool__ = __float__ = __int__ = _refuse
    __len__ = __getitem__ = __array_ufunc__ = _refuse

    def _merged(self, kind: str, other: Any) -> Any:
        if not isinstance(other, Symbol):
            self._refuse()
        from . import merging

        return getattr(merging, kind)()([self, other])

    def __add__(self, other: Any) -> Any:
        return self._merged("Add", other)

    def __sub__(self, other: Any) -> Any:
        return self._merged("Subtract", other)

    def __mul__(self, other: Any) -> Any:
        return self._merged("Multiply", other)

    def __repr__(self) -> str:
        return f"<symbolic tensor {self.name!r} {self.shape}>"


def has_symbols(tree: Any) -> bool:
    """Is a leaf of the nesting a symbolic tensor?"""
    return any(isinstance(leaf, Symbol) for leaf in leaves(tree))


def _shape_of(layer: Layer, leaf: Any) -> Shape:
    if not isinstance(leaf, Symbol):
        raise TypeError(
            f"layer {layer.name!r}: got {type(leaf).__name__} among symbolic tensors; expected "
            "symbolic tensors alone (Input and the results of layers)"
        )
    return leaf.shape


def connect(layer: Layer, x: Any, keywords: dict[str, Any]) -> Any:
    """What the layer will give for x, symbolically; the layer learns its input's shape.

    Raises ValueError for shapes that the layer cannot take, TypeError for arrays in x.
    """
    shapes = map_tree(lambda leaf: _shape_of(layer, leaf), x)
    layer.plan(shapes)
    given = layer.compute_output_shape(shapes)
    if layer.input_shape is None or layer.output_shape is None:
        layer.input_shape, layer.output_shape = shapes, given
    call = Call(layer, x, keywords)
    dtypes = iter(layer.output_dtypes())

    def symbol(shape: Shape) -> Symbol:
        n = len(call.outputs)
        made = Symbol(
            call, shape, next(dtypes, layer.dtype), f"{layer.name}_{n}" if n else layer.name
        )
        call.outputs.append(made)
        return made

    y = map_shapes(symbol, given)
    layer._calls = [(x, y)]
    return y
