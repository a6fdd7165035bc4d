"""The recurrent operators as NumPy loops over time; results joined into one flat array."""

from __future__ import annotations

from typing import Any

import numpy as np
from oracle import LD, Case, Row, normal


def _walk(x: Any, mask: Any, go_backwards: bool, step: Any, states: tuple[Any, ...]) -> Any:
    """step(x_t, states) -> states, the first of them being what is put out."""
    seen = []
    for t in range(x.shape[1])[:: -1 if go_backwards else 1]:
        new = step(x[:, t], states)
        if mask is not None:
            keep = mask[:, t, None] != 0
            new = tuple(np.where(keep, n, o) for n, o in zip(new, states, strict=True))
        states = new
        seen.append(new[0])
    return np.concatenate([v.ravel() for v in (np.stack(seen, 1), *states)])


def _start(x: Any, units: int, state: Any) -> Any:
    return np.zeros((x.shape[0], units), x.dtype) if state is None else state


def add_recurrent(rows: dict[str, Any]) -> None:
    def act(name: Any) -> Any:
        return (lambda z: z) if name is None else rows[name].forward

    def simple_rnn(x, kernel, recurrent, bias, h0=None, mask=None, scale=1,
                   activation=None, go_backwards=False):  # fmt: skip
        f = act(activation)

        def step(x_t, states):
            return (f(x_t @ kernel + (states[0] * scale) @ recurrent + bias),)

        return _walk(x, mask, go_backwards, step, (_start(x, len(recurrent), h0),))

    def lstm(x, kernel, recurrent, bias, h0=None, c0=None, mask=None, scale=1,
             activation=None, recurrent_activation=None, go_backwards=False):  # fmt: skip
        f, s = act(activation), act(recurrent_activation)

        def step(x_t, states):
            h, c = states
            i, forget, g, o = np.split(x_t @ kernel + (h * scale) @ recurrent + bias, 4, axis=1)
            c = s(forget) * c + s(i) * f(g)
            return s(o) * f(c), c

        start = _start(x, len(recurrent), h0), _start(x, len(recurrent), c0)
        return _walk(x, mask, go_backwards, step, start)

    def gru(x, kernel, recurrent, bias, h0=None, mask=None, scale=1,
            activation=None, recurrent_activation=None, go_backwards=False):  # fmt: skip
        f, s = act(activation), act(recurrent_activation)

        def step(x_t, states):
            (h,) = states
            xz, xr, xg = np.split(x_t @ kernel + bias[0], 3, axis=1)
            hz, hr, hg = np.split((h * scale) @ recurrent + bias[1], 3, axis=1)
            z = s(xz + hz)
            return (z * h + (1 - z) * f(xg + s(xr + hr) * hg),)

        return _walk(x, mask, go_backwards, step, (_start(x, len(recurrent), h0),))

    def cases(name: str, gates: int) -> Any:
        usual = {"activation": "tanh"}
        other = {"activation": "mish"}
        if gates > 1:
            usual["recurrent_activation"] = "sigmoid"
            other["recurrent_activation"] = "hard_sigmoid"

        def operands(b: int, t: int, f: int, u: int, more: int = 0) -> list[Any]:
            n = gates * u
            k = 1 / np.sqrt(max(f, u))
            bias = (2, n) if name == "gru" else (n,)
            found = [normal((b, t, f), name), normal((f, n), name, "k", scale=k),
                     normal((u, n), name, "r", scale=k), normal(bias, name, "b")]  # fmt: skip
            return found + [normal((b, u), name, "s", i) for i in range(more)]

        def masks(b: int, t: int, u: int) -> list[Any]:
            mask = (np.arange(b * t).reshape(b, t) * 7 % 3 != 0).astype(np.float64)
            return [mask, 2.0 * (np.arange(b * u).reshape(b, u) % 3 != 1)]

        def some() -> list[Case]:
            states = 2 if name == "lstm" else 1
            small = (2, 3, 2, 3)
            full = operands(*small, states) + masks(2, 3, 3)
            found = [Case(tuple(operands(*s)), usual) for s in
                     [(1, 1, 1, 1), small, (3, 5, 1, 2), (0, 2, 3, 2), (2, 4, 3, 17),
                      (33, 3, 2, 5), (5, 7, 11, 32), (2, 3, 0, 3)]]  # fmt: skip
            found.append(Case(tuple(operands(2, 2, 896, 120 // gates)), usual))
            found.append(Case((*operands(1, 3, 2, 3, states), *masks(1, 3, 3)), usual))
            one_step = operands(2, 1, 2, 3, states)
            found.append(Case(tuple(one_step), {**usual, "activation": "elu"}))
            for attrs in (usual, other, {}, {**usual, "go_backwards": True}):
                found += [Case(tuple(full), attrs), Case(tuple(full[:-1]), attrs)]
                found.append(Case(tuple(operands(*small, states)), attrs))
            return found

        return some, lambda: Case(tuple(operands(67, 5, 31, 40)), usual)

    for name, forward, gates in (("simple_rnn", simple_rnn, 1), ("lstm", lstm, 4), ("gru", gru, 3)):
        some, big = cases(name, gates)
        rows[name] = Row(
            lambda *inputs, f=forward, **attrs: np.asarray(f(*inputs, **attrs), LD),
            some, big=big, size="array", grad_size="array", ulps=(24, 48), grad_ulps=(48, 96),
            why="gates to 2 ULP, sums of K + U products, carried through time; slopes from "
            "values err by an ULP of 1",
            kinks=(), smooth=lambda case: case.attrs.get("recurrent_activation") != "hard_sigmoid",
        )  # fmt: skip

    def embedding(table, indices):
        return table[np.asarray(indices).astype(int)]

    def embedding_vjp(dy, table, indices):
        out = np.zeros_like(table)
        np.add.at(out, np.asarray(indices).astype(int), dy)
        return (out, None)

    def lookup(v: int, d: int, *shape: int) -> Case:
        size = int(np.prod(shape))
        return Case((normal((v, d), "e"), np.asarray((np.arange(size).reshape(shape) * 5.0) % v)))

    rows["embedding"] = Row(
        embedding, lambda: [lookup(4, 3, 5), lookup(1, 1), lookup(7, 2, 3, 4), lookup(2, 3, 0)],
        big=lambda: lookup(31, 301, 7, 97), vjp=embedding_vjp, grad_size="array", ulps=(0, 0),
        grad_ulps=(24, 24), why="rows are copied; gradients of one row are added in order",
    )  # fmt: skip
    rows["assign"] = None  # it only has an effect: test_recurrent's stateful layers
