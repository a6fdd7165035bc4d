"""Nested lists, tuples and dicts of something: shapes, values, arrays."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

__all__ = ["is_shape", "leaves", "map_shapes", "map_tree", "refill"]


def map_tree(function: Callable[[Any], Any], tree: Any) -> Any:
    """The same nesting with function(leaf) for each leaf.

    >>> map_tree(abs, {"a": [-1, 2], "b": (-3,)})
    {'a': [1, 2], 'b': (3,)}
    """
    if isinstance(tree, dict):
        return {key: map_tree(function, item) for key, item in tree.items()}
    if isinstance(tree, (list, tuple)):
        found = [map_tree(function, item) for item in tree]
        if hasattr(tree, "_fields"):  # a named tuple
            return type(tree)(*found)
        return found if isinstance(tree, list) else tuple(found)
    return function(tree)


def leaves(tree: Any) -> list[Any]:
    """What `map_tree` would visit, in its order.

    >>> leaves({"a": [1, 2], "b": 3})
    [1, 2, 3]
    """
    found: list[Any] = []
    map_tree(found.append, tree)
    return found


def refill(tree: Any, items: Iterable[Any]) -> Any:
    """The same nesting with the items in the place of its leaves.

    >>> refill({"a": [1, 2], "b": 3}, "xyz")
    {'a': ['x', 'y'], 'b': 'z'}
    """
    rest = iter(items)
    return map_tree(lambda _: next(rest), tree)


def is_shape(tree: Any) -> bool:
    """Is this one shape, a tuple of whole numbers and None, and no nesting of shapes?"""
    return isinstance(tree, tuple) and all(n is None or hasattr(n, "__index__") for n in tree)


def map_shapes(function: Callable[[Any], Any], tree: Any) -> Any:
    """`map_tree` for shapes, which are tuples themselves.

    >>> map_shapes(len, [(None, 3), ()])
    [2, 0]
    """
    if is_shape(tree):
        return function(tree)
    if isinstance(tree, dict):
        return {key: map_shapes(function, item) for key, item in tree.items()}
    found = [map_shapes(function, item) for item in tree]
    return found if isinstance(tree, list) else tuple(found)
