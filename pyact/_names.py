"""Look-ups by name and checks of numbers, with messages that say what to do.

Everything a user may give by name (an activation, a loss, a callback hook) is looked up
here, so that a misspelt name is always answered with the nearest right one. `difflib` is
imported only when there is something to complain about.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

T = TypeVar("T")

__all__ = ["nearest", "real", "resolve", "snake", "suggestion", "unknown", "whole"]


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name most like `name`, or None when nothing is close.

    >>> nearest("gleu", ["relu", "gelu", "tanh"])
    'gelu'
    """
    import difflib

    table = {k.lower(): k for k in sorted(known)}  # gelu rather than GELU
    found = difflib.get_close_matches(str(name).lower(), table, 1, 0.5)
    return table[found[0]] if found else None


def suggestion(name: object, known: Iterable[str]) -> str:
    """What to add to a message about an unknown name; "" when nothing is close.

    >>> suggestion("gleu", ["gelu", "relu"])
    ": did you mean 'gelu'?"
    """
    guess = nearest(str(name), known)
    return f": did you mean {guess!r}?" if guess else ""


def unknown(kind: str, name: object, known: Iterable[str]) -> ValueError:
    """The error for an unknown name: what was got, the nearest right name, all names.

    >>> print(unknown("activation", "gleu", ["gelu", "relu"]))
    activation 'gleu' is unknown: did you mean 'gelu'? Known: gelu, relu
    """
    known = sorted(known)
    hint = suggestion(name, known)
    return ValueError(f"{kind} {name!r} is unknown{hint or '.'} Known: {', '.join(known)}")


def snake(name: str) -> str:
    """The snake_case form of a class name, as Keras derives it.

    >>> snake("GlorotUniform"), snake("TopKCategoricalAccuracy"), snake("AUC")
    ('glorot_uniform', 'top_k_categorical_accuracy', 'auc')
    """
    out = name[:1]
    for before, c, after in zip(name, name[1:], name[2:] + " ", strict=False):
        starts_word = c.isupper() and (before.islower() or after.islower())
        out += "_" + c if starts_word else c
    return out.lower()


def resolve(kind: str, identifier: object, base: type[T], table: Mapping[str, type[T]]) -> T:
    """The object that `identifier` stands for.

    `identifier` is an instance of `base` (returned as it is), a subclass of it (called
    without arguments), a name in `table` (class name or snake_case), or a dict
    {"class_name": name, "config": {...}} as `get_config` makes them.

    Raises ValueError for an unknown name, TypeError for anything else.
    """
    if isinstance(identifier, base):
        return identifier
    if isinstance(identifier, type) and issubclass(identifier, base):
        return identifier()
    if isinstance(identifier, str):
        found = table.get(identifier) or table.get(identifier.lower())
        if found is None:
            raise unknown(kind, identifier, [k for k in table if k.islower()] or table)
        return found()
    if isinstance(identifier, dict):
        name = identifier.get("class_name")
        config = identifier.get("config", {})
        extra = set(identifier) - {"class_name", "config"}
        if not isinstance(name, str) or not isinstance(config, dict) or extra:
            raise ValueError(
                f"{kind}: a dict must be {{'class_name': name, 'config': {{...}}}}, "
                f"got keys {sorted(map(str, identifier))}"
            )
        found = table.get(name)
        if found is None:
            raise unknown(kind, name, table)
        make: Any = getattr(found, "from_config", None)
        made: T = make(config) if make is not None else found(**config)
        return made
    raise TypeError(
        f"{kind} must be a name, a {base.__name__} or its config dict, "
        f"got {type(identifier).__name__}"
    )


def real(
    name: str,
    value: Any,
    low: float | None = None,
    high: float | None = None,
    *,
    above: float | None = None,
    below: float | None = None,
) -> float:
    """`value` as a finite float, checked: low <= value <= high, above < value < below.

    >>> real("momentum", 1.5, 0, 1)
    Traceback (most recent call last):
        ...
    ValueError: momentum must be at least 0 and at most 1, got 1.5
    """
    if isinstance(value, (bool, str, bytes, complex)) or value is None:
        raise TypeError(f"{name} must be a number, got {value!r}")
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise TypeError(f"{name} must be a number, got {type(value).__name__}") from None
    ok = number - number == 0  # neither NaN nor infinite
    ok = ok and (low is None or number >= low) and (high is None or number <= high)
    ok = ok and (above is None or number > above) and (below is None or number < below)
    if not ok:
        bounds = [(low, "at least"), (above, "above"), (high, "at most"), (below, "below")]
        said = " and ".join(f"{text} {bound:g}" for bound, text in bounds if bound is not None)
        raise ValueError(f"{name} must be {said or 'finite'}, got {number!r}")
    return number


def whole(name: str, value: Any, low: int | None = None) -> int:
    """`value` as an int, at least `low`.

    >>> whole("batch_size", 0, 1)
    Traceback (most recent call last):
        ...
    ValueError: batch_size must be at least 1, got 0
    """
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        raise TypeError(f"{name} must be an integer, got {value!r}")
    number: int = value.__index__()
    if low is not None and number < low:
        raise ValueError(f"{name} must be at least {low}, got {number}")
    return number
