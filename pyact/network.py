"""A network: layers in an order in which each comes behind those that feed it.

`pyact.Model` makes it of symbolic tensors, `Sequential` of its list. Values are numbered:
the inputs first, then what each call gives. So a network holds no symbolic tensors: it is
as flat to copy and to save as it is to run.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from ._names import unknown
from ._trees import leaves, map_tree
from .layers.base import InputLayer, Layer, allocate_planned
from .layers.symbolic import Symbol, connect

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from .layers.base import Shape
    from .layers.symbolic import Call

__all__ = ["Network", "Ref", "Spec", "parts_of"]


class Ref(int):
    """The number of a value."""

    __slots__ = ()


class Spec(NamedTuple):
    """An input or output: how users name it, its shape with the batch (None), its dtype."""

    name: str
    shape: Shape
    dtype: str


def parts_of(data: Any, form: Any, specs: Sequence[Spec], what: str) -> list[Any]:
    """One part of `data` for each of the inputs or outputs, whose nesting is `form`: data
    itself, a list, or a dict by names. Parts that a dict leaves out are None.

    Raises ValueError for another number and for unknown names, TypeError for an array
    where several are wanted.
    """
    names = [spec.name for spec in specs]
    if isinstance(data, dict):
        for key in data:
            if key not in names:
                raise unknown(f"{what}: name", key, names)
        return [data.get(name) for name in names]
    if not isinstance(form, (list, tuple, dict)):
        return [data]
    said = ", ".join(map(repr, names))
    if not isinstance(data, (list, tuple)):
        if len(specs) == 1:
            return [data]
        raise TypeError(
            f"{what}: got {type(data).__name__}, expected a list or dict of {len(specs)} arrays: "
            f"{said}"
        )
    if len(data) != len(specs):
        raise ValueError(f"{what}: got {len(data)} arrays, expected {len(specs)}: {said}")
    return list(data)


def _tensors(tree: Any, what: str) -> list[Symbol]:
    """The symbolic tensors of a model's inputs or outputs."""
    items = tree.values() if isinstance(tree, dict) else tree
    items = list(items) if isinstance(tree, (dict, list, tuple)) else [tree]
    if not items:
        raise ValueError(f"Model: {what}: got none, expected at least one symbolic tensor")
    for item in items:
        if not isinstance(item, Symbol):
            raise TypeError(
                f"Model: {what}: got {type(item).__name__}, expected symbolic tensors: an Input, "
                "or what layers give when they are called on one"
            )
    return items


def _names_for(tree: Any, tensors: list[Symbol], whole_name: Callable[[Symbol], str]) -> list[str]:
    """Keys of a dict; else the tensors' names, made unique by a number."""
    if isinstance(tree, dict):
        return [str(key) for key in tree]
    found: list[str] = []
    for tensor in tensors:
        name = unique = whole_name(tensor)
        again = 0
        while unique in found:
            again += 1
            unique = f"{name}_{again}"
        found.append(unique)
    return found


def _in_order(outputs: list[Symbol], inputs: list[Symbol], whose: str) -> list[Call]:
    """The calls that the outputs need, each behind those that it needs itself."""
    given = {id(s) for s in inputs}
    order: list[Call] = []
    seen: set[int] = set()
    stack: list[tuple[Call, Iterator[Symbol]]] = []

    def enter(symbol: Symbol) -> None:
        call = symbol.call
        if id(symbol) in given or id(call) in seen:
            return
        if isinstance(call.layer, InputLayer):
            names = ", ".join(repr(s.name) for s in inputs)
            raise ValueError(
                f"{whose}: disconnected: an output depends on input {symbol.name!r}, which is not "
                f"among the model's inputs ({names}); add it to them"
            )
        seen.add(id(call))
        stack.append((call, iter(call.operands)))

    for output in outputs:
        enter(output)
        while stack:
            call, operands = stack[-1]
            for symbol in operands:
                depth = len(stack)
                enter(symbol)
                if len(stack) > depth:
                    break
            else:
                order.append(call)
                stack.pop()
    return order


class Network:
    """See the module. calls: (layer, form of x, forms of keywords) in order, a form being a
    nesting of Refs. inputs, outputs: their Specs."""

    def __init__(self, inputs: Any, outputs: Any, whose: str) -> None:
        given, wanted = _tensors(inputs, "inputs"), _tensors(outputs, "outputs")
        number: dict[int, Ref] = {}
        for symbol in given:
            if id(symbol) in number:
                raise ValueError(f"{whose}: input {symbol.name!r} is there twice")
            number[id(symbol)] = Ref(len(number))
        self.input_layers: list[Layer] = [s.call.layer for s in given]
        self.calls: list[tuple[Layer, Any, Any]] = []
        self.counts: list[int] = []  # how many values each call gives
        values = len(given)
        used: set[int] = {number[id(s)] for s in wanted if id(s) in number}

        def refer(leaf: Any) -> Any:
            if not isinstance(leaf, Symbol):
                return leaf
            ref = number[id(leaf)]
            used.add(ref)
            return ref

        for call in _in_order(wanted, given, whose):
            x, keywords = map_tree(refer, call.x), map_tree(refer, call.keywords)
            self.calls.append((call.layer, x, keywords))
            self.counts.append(len(call.outputs))
            for symbol in call.outputs:
                number.setdefault(id(symbol), Ref(values))  # an input may be a layer's result
                values += 1
        for symbol in given:
            if number[id(symbol)] not in used:
                raise ValueError(
                    f"{whose}: disconnected: input {symbol.name!r} leads to none of the outputs"
                )
        self.input_form = map_tree(lambda s: number[id(s)], inputs)
        self.output_form = map_tree(lambda s: number[id(s)], outputs)
        self.inputs = [
            Spec(name, s.shape, s.dtype)
            for name, s in zip(_names_for(inputs, given, lambda s: s.name), given, strict=True)
        ]
        self.outputs = [
            Spec(name, s.shape, s.dtype)
            for name, s in zip(
                _names_for(outputs, wanted, lambda s: s.call.layer.name), wanted, strict=True
            )
        ]
        allocate_planned(self.layers)

    @property
    def layers(self) -> list[Layer]:
        """The layers, each once, in the order of their first call."""
        found = {id(layer): layer for layer, *_ in self.calls}
        return list(found.values())

    def feeders(self) -> dict[int, list[str]]:
        """By the identity of each layer the names of those that it was called on."""
        maker: list[Layer] = list(self.input_layers)
        found: dict[int, list[str]] = {}
        for (layer, x, keywords), count in zip(self.calls, self.counts, strict=True):
            refs = [r for r in leaves([x, keywords]) if isinstance(r, Ref)]
            known = found.setdefault(id(layer), [])
            known += [maker[r].name for r in refs if maker[r].name not in known]
            maker += [layer] * count
        return found

    def named_apart(self, whose: str) -> None:
        """Raises ValueError when two layers have one name."""
        found: dict[str, Layer] = {}
        for layer in [*self.input_layers, *self.layers]:
            if found.setdefault(layer.name, layer) is not layer:
                raise ValueError(
                    f"{whose}: two layers have the name {layer.name!r}; names must differ"
                )

    def run(self, given: Sequence[Any], training: bool, see: Any = None) -> list[Any]:
        """The outputs for these inputs. see(layer, values): is shown every call's results."""
        found = list(given)

        def value(ref: Any) -> Any:
            return found[ref] if isinstance(ref, Ref) else ref

        for layer, x, keywords in self.calls:
            y = layer(map_tree(value, x), training=training, **map_tree(value, keywords))
            made = leaves(y)
            if see is not None:
                see(layer, made)
            found += made
        return [found[ref] for ref in leaves(self.output_form)]

    def symbols(self) -> tuple[Any, Any]:
        """The model's inputs and outputs as symbolic tensors, made anew: the layers' own
        `input` and `output` are theirs."""
        found: list[Any] = []
        for layer, spec in zip(self.input_layers, self.inputs, strict=True):
            sizes: Any = spec.shape[1:]
            known = isinstance(layer, InputLayer)
            source = layer if known else InputLayer(sizes, name=spec.name, dtype=spec.dtype)
            found.append(source.symbol())  # type: ignore[attr-defined]

        def value(ref: Any) -> Any:
            return found[ref] if isinstance(ref, Ref) else ref

        for layer, x, keywords in self.calls:
            found += leaves(connect(layer, map_tree(value, x), map_tree(value, keywords)))
        return map_tree(value, self.input_form), map_tree(value, self.output_form)

    def checks(self) -> list[tuple[int, Any]]:
        """(number of an input, check(array)) for inputs that layers want to see before a
        program does, which cannot refuse a number: Embedding's."""
        found = []
        for layer, x, _ in self.calls:
            check = getattr(layer, "check_input", None)
            inner = getattr(layer, "network", None)
            refs = leaves(x)
            if check is not None and isinstance(x, Ref) and x < len(self.inputs):
                found.append((int(x), check))
            elif inner is not None:
                found += [
                    (int(refs[k]), c) for k, c in inner.checks() if refs[k] < len(self.inputs)
                ]
        return found

    # ---- as a description: lists, dicts, numbers ----

    def get_config(self) -> dict[str, Any]:
        """The layers' descriptions, and how they are connected."""
        layers = self.layers
        place = {id(layer): k for k, layer in enumerate(layers)}
        return {
            "inputs": [
                {"name": s.name, "shape": list(s.shape[1:]), "dtype": s.dtype,
                 "layer": layer.name if isinstance(layer, InputLayer) else s.name}
                for layer, s in zip(self.input_layers, self.inputs, strict=True)
            ],
            "layers": [
                {"class_name": type(layer).__name__, "config": layer.get_config()}
                for layer in layers
            ],
            "calls": [
                {"layer": place[id(layer)], "x": _plain(x), "keywords": _plain(keywords)}
                for layer, x, keywords in self.calls
            ],
            "input_form": _plain(self.input_form),
            "output_form": _plain(self.output_form),
        }  # fmt: skip


def symbols_of(config: dict[str, Any], make: Callable[[Any], Layer]) -> tuple[Any, Any]:
    """Inputs and outputs, symbolically, from `Network.get_config`'s dict, over new layers."""
    found: list[Any] = [
        InputLayer(item["shape"], name=item["layer"], dtype=item["dtype"]).symbol()
        for item in config["inputs"]
    ]
    layers = [make(item) for item in config["layers"]]

    def value(ref: Any) -> Any:
        if not isinstance(ref, Ref):
            return ref
        if ref >= len(found):
            raise ValueError(f"value {int(ref)} is used before it is made")
        return found[ref]

    for item in config["calls"]:
        if type(item["layer"]) is not int or not 0 <= item["layer"] < len(layers):
            raise ValueError(f"there is no layer {item['layer']!r}")
        x, keywords = (map_tree(value, _formed(item[k])) for k in ("x", "keywords"))
        found += leaves(connect(layers[item["layer"]], x, keywords))
    return tuple(map_tree(value, _formed(config[k])) for k in ("input_form", "output_form"))  # type: ignore[return-value]


def _plain(form: Any) -> Any:
    """A nesting of values' numbers and constants for JSON."""
    if isinstance(form, Ref):
        return {"value": int(form)}
    if isinstance(form, dict):
        return {"dict": [[str(key), _plain(item)] for key, item in form.items()]}
    if isinstance(form, (list, tuple)):
        return [_plain(item) for item in form]
    if form is None or isinstance(form, (bool, int, float, str)):
        return form
    raise TypeError(f"a call's argument of type {type(form).__name__} cannot be described")


def _formed(plain: Any) -> Any:
    if isinstance(plain, list):
        return [_formed(item) for item in plain]
    if isinstance(plain, dict):
        ((kind, item),) = plain.items()
        if kind == "dict":
            return {str(key): _formed(part) for key, part in item}
        if kind != "value" or type(item) is not int or item < 0:
            raise ValueError(f"expected the number of a value, got {plain!r}")
        return Ref(item)
    return plain
