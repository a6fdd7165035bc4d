"""pyact._core refuses by name whatever does not fit, also from callers other than pyact, and
from operands whose own code runs in the middle of the call."""

from __future__ import annotations

import copy
import gc
import importlib.util
import pickle
import signal
import threading
import weakref

import numpy as np
import pytest

from pyact import _core, _recording, ops

F32 = np.float32
ONES = np.ones((4, 3), F32)


def tape():
    """A Tape, a leaf of it, and the leaf's sum."""
    t = _core.Tape()
    t.recording = True
    leaf = t.leaf(ONES)
    return t, leaf, t.apply("sum", (leaf,))


def graph():
    """A Graph and an input of it."""
    g = _core.Graph()
    return g, g.input((4, 3), "float32")


def program(outputs=1, rows=4, dtype=F32):
    g = _core.Graph()
    x = g.input((rows, 3), dtype)
    return _core.Program(g, outputs=tuple(g.apply("tanh", (x,)) for _ in range(outputs)))


def frozen(made=lambda rows: program(rows=rows), shape=(1, 3)):
    return _core.Inference(shape, "float32", made, np.asarray, lambda: (int, ()))


class Bad:
    """What no conversion takes."""

    def __float__(self, *args, **kwargs):
        raise ZeroDivisionError

    __index__ = __array__ = __float__


BAD = Bad()


# ---- operands with code of their own ---------------------------------------------------------


class Meanwhile:
    """An operand that does something else while it is made an array."""

    def __init__(self, do, shape=()):
        self.do, self.shape = do, shape

    def __array__(self, dtype=None, copy=None):
        self.do()
        return np.ones(self.shape, F32)


def test_a_list_of_numbers_that_empties_itself():
    class Number:
        def __index__(self):
            numbers.clear()
            return 4

    numbers = [Number(), 3]
    assert ops.reshape(np.arange(12.0), shape=numbers).shape == (4, 3)
    numbers = [Number(), *range(2, 7)]
    with pytest.raises(ValueError, match="reshape"):
        _core.apply("reshape", (ONES,), {"shape": numbers})


@pytest.mark.parametrize("call", [
    lambda t, leaf, y, x: t.apply("add", (y, x)),
    lambda t, leaf, y, x: t.leaf(x),
    lambda t, leaf, y, x: _core.apply("add", (y, x)),
    lambda t, leaf, y, x: t.gradient(y, (leaf,), x),
])  # fmt: skip
def test_a_tape_that_ends_while_an_operand_is_converted(call):
    t, leaf, y = tape()
    with pytest.raises(ValueError, match="let go of its values"):
        call(t, leaf, y, Meanwhile(t.detach))
    assert y.numpy() == 12 and y.owner is None


def test_a_tape_that_grows_while_an_operand_is_converted():
    t, leaf, y = tape()

    def grow():
        for _ in range(100):
            t.apply("tanh", (leaf,))

    [found] = t.gradient(y, (leaf,), Meanwhile(grow))
    assert np.array_equal(found.numpy(), ONES)
    assert t.apply("add", (y, Meanwhile(grow))).numpy() == 13


def test_a_tape_that_has_let_go():
    t, leaf, y = tape()
    t.detach()
    t.detach()
    calls = [lambda: t.apply("tanh", (leaf,)), lambda: t.apply("add", ()),
             lambda: t.leaf(ONES), lambda: t.node(0),
             lambda: t.value(0), lambda: t.nodes]  # fmt: skip
    for call in calls:
        with pytest.raises(ValueError, match="let go of its values"):
            call()
    with pytest.raises(ValueError, match="another tape"):
        t.gradient(y, (leaf,))
    assert _core.apply("tanh", (y,)) == np.tanh(F32(12))


# ---- what is refused -------------------------------------------------------------------------

LISTS = [
    (lambda: _core.Graph().input(BAD, "float32"), ZeroDivisionError, ""),
    (lambda: _core.Graph().input(3.5, "float32"), TypeError, ""),
    (lambda: _core.Graph().input((2,) * 9, "float32"), ValueError, "9 numbers"),
    (lambda: _core.Graph().input((2, "x"), "float32"), TypeError, ""),
    (lambda: _core.Graph().input((2,), "no dtype"), TypeError, ""),
    (lambda: _core.Graph().input((2,), "int16"), TypeError, "expected float32"),
    (lambda: _core.Graph().input((2,)), TypeError, ""),
    (lambda: _core.Graph().input((-2,), "float32"), ValueError, ""),
    (lambda: _core.Graph(3), TypeError, ""),
    (lambda: _core.Tape("seed"), TypeError, ""),
    (lambda: _core.Block("float32"), TypeError, ""),
    (lambda: _core.Block("int8", 3), TypeError, "dtype"),
    (lambda: _core.Block("float32", -1), ValueError, "size"),
    (lambda: _core.Block("float32", 2**61), MemoryError, ""),
    (lambda: _core.Block("float32", 2**62 - 1), MemoryError, ""),  # its head no longer fits
    (lambda: _core.Block("float32", 8).view(0), TypeError, ""),
    (lambda: _core.Block("float32", 8).view(0, "x"), TypeError, ""),
    (lambda: _core.Block("float32", 8).view(0, (-1,)), ValueError, ""),
    (lambda: _core.Block("float32", 8).view(-1, (2,)), ValueError, "8"),
    (lambda: _core.Block("float32", 8).view(9, (0,)), ValueError, "8"),
    (lambda: _core.Block("float32", 8).view(4, (5,)), ValueError, "8"),
]
APPLIES = [
    (lambda: _core.apply("tanh"), TypeError, ""),
    (lambda: _core.apply("tanh", (ONES,) * 17), TypeError, "at most 16"),
    (lambda: _core.apply("\ud800", (ONES,)), UnicodeEncodeError, ""),
    (lambda: _core.apply("tanh", (BAD,)), ZeroDivisionError, ""),
    (lambda: _core.apply("tanh", (np.ones(2, complex),)), TypeError, "real numbers"),
    (lambda: _core.apply("tanh", (np.ones((1,) * 9),)), ValueError, "9 dimensions"),
    (lambda: _core.apply("tanh", (ONES,), 3), TypeError, "expected a dict"),
    (lambda: _core.apply("tanh", (ONES,), {"a": 3}), TypeError, "unknown argument"),
    (lambda: _core.apply("elu", (ONES,), {"a": 3}), TypeError, "known: alpha"),
    (lambda: _core.apply("elu", (ONES,), {3: 3}), TypeError, ""),
    (lambda: _core.apply("elu", (ONES,), dict.fromkeys([*"bcdefghijkl", "alpha"], 1)), TypeError,
     "unknown argument 'b'"),
    (lambda: _core.apply("elu", (ONES,), {"alpha": BAD}), ZeroDivisionError, ""),
    (lambda: _core.apply("elu", (ONES,), {"alpha": "1"}), TypeError, "expected a number"),
    (lambda: _core.apply("elu", (ONES,), {"alpha": float("nan")}), ValueError, "alpha"),
    (lambda: _core.apply("dense", (ONES, ONES.T), {"activation": 3}), TypeError, ""),
    (lambda: _core.apply("dense", (ONES, ONES.T), {"activation": "x"}), ValueError, "x"),
    (lambda: _core.apply("dense", (ONES, ONES.T), {"activation": "add"}), ValueError, "add"),
    (lambda: _core.apply("sum", (ONES,), {"keepdims": 0.5}), ValueError, "whole"),
    (lambda: _core.apply("sum", (ONES,), {"axis": (0,) * 9}), ValueError, "9 numbers"),
    (lambda: _core.apply("opt_sgd", (ONES, ONES)), TypeError, "only in a Program"),
    (lambda: _core.apply("assign", (ONES, ONES)), TypeError, "only in a Program"),
    (lambda: _core.apply("tanh", (graph()[1],), {"a": 1}), TypeError, "unknown argument"),
    (lambda: _core.apply("no", (graph()[1],)), ValueError, "unknown operator"),
    (lambda: _core.apply("tanh", (graph()[1],), 3), TypeError, "dict"),
    (lambda: graph()[0].apply("add", [graph()[1]]), TypeError, "tuple"),
    (lambda: graph()[0].apply("add", (ONES,) * 17), TypeError, "at most 16"),
    (lambda: graph()[0].apply("add"), TypeError, ""),
    (lambda: graph()[0].apply("add", (graph()[1], 1.0)), ValueError, "another graph"),
    (lambda: graph()[0].apply("tanh", (BAD,)), ZeroDivisionError, ""),
    (lambda: graph()[0].apply("add", (ONES, 1 << 2000)), OverflowError, ""),
    (lambda: tape()[0].apply("tanh", (BAD,)), ZeroDivisionError, ""),
    (lambda: graph()[0].const(BAD), ZeroDivisionError, ""),
    (lambda: np.asarray(graph()[1].numpy()), TypeError, "symbolic"),
    (lambda: _core.op_info("no"), ValueError, "unknown operator"),
    (lambda: _core.op_info("\ud800"), UnicodeEncodeError, ""),
    (lambda: _core.set_recorder(1), TypeError, ""),
    (lambda: _core.shuffle(ONES), TypeError, ""),
    (lambda: _core.shuffle(ONES, 1, 1), TypeError, "int64"),
    (lambda: _core.shuffle(np.arange(8)[::2], 1, 1), TypeError, "contiguous"),
    (lambda: _core.shuffle(np.arange(8, dtype=">i8"), 1, 1), TypeError, "contiguous"),
    (lambda: _core.ufuncs(3), TypeError, ""),
    (lambda: _core.ufuncs("base\0"), ValueError, "null"),
    (lambda: _core.ufuncs("no"), ValueError, "ISA"),
    (lambda: _core.set_num_threads(True), TypeError, "bool"),
    (lambda: _core.set_num_threads(2.0), TypeError, "float"),
    (lambda: _core.set_num_threads(BAD), ZeroDivisionError, ""),
    (lambda: _core.set_num_threads(0), ValueError, "0"),
    (lambda: _core.set_num_threads(-1), ValueError, "-1"),
    (lambda: _core.set_num_threads(1 << 80), ValueError, "1 to 1024"),
]
BLOCK, OTHER = _core.Block("float32", 8), _core.Block("float64", 8)
RECORDERS = [
    (lambda: graph()[0].param(3, 0, (2,), True), TypeError, ""),
    (lambda: graph()[0].param(BLOCK, 0, "x", True), TypeError, ""),
    (lambda: graph()[0].param(BLOCK, -1, (2,), True), ValueError, "offset"),
    (lambda: graph()[0].param(BLOCK, 9, (0,), True), ValueError, "8"),
    (lambda: graph()[0].param(BLOCK, 4, (5,), True), ValueError, "8"),
    (lambda: graph()[0].param(BLOCK, 4, (-5,), True), ValueError, ""),
    (lambda: graph()[0].freeze(), TypeError, ""),
    (lambda: graph()[0].freeze(3), TypeError, "dict"),
    (lambda: graph()[0].freeze({3: BLOCK}), TypeError, "dict"),
    (lambda: graph()[0].freeze({BLOCK: 3}), TypeError, "dict"),
    (lambda: graph()[0].freeze({BLOCK: OTHER}), ValueError, "dtype or size"),
    (lambda: graph()[0].freeze({BLOCK: _core.Block("float32", 9)}), ValueError, "size"),
    (lambda: tape()[0].gradient(3, ()), TypeError, ""),
    (lambda: tape()[0].gradient(tape()[2], ()), ValueError, "another tape"),
    (lambda: (lambda t, a, y: t.gradient(y, (3,)))(*tape()), ValueError, "source 0"),
    (lambda: (lambda t, a, y: t.gradient(y, (a, tape()[1])))(*tape()), ValueError, "source 1"),
    (lambda: (lambda t, a, y: t.gradient(y, (a,), BAD))(*tape()), ZeroDivisionError, ""),
    (lambda: (lambda t, a, y: t.gradient(y, (a,), ONES))(*tape()), ValueError, "seed"),
    (lambda: (lambda t, a: t.gradient(t.leaf(np.arange(3, dtype="int32")), (a,)))(*tape()[:2]),
     ValueError, "floating-point"),
    (lambda: graph()[0].node(0), IndexError, "0 to -1"),
    (lambda: tape()[0].node(-2), IndexError, "-2"),
    (lambda: tape()[0].node(-1), IndexError, "-1"),
    (lambda: tape()[0].node("x"), TypeError, ""),
    (lambda: tape()[0].value("x"), TypeError, ""),
    (lambda: tape()[0].value(-1), IndexError, "-1"),
    (lambda: tape()[0].value(-2), IndexError, "-2"),
    (lambda: tape()[0].value(99), IndexError, "99"),
    (lambda: _core.OptimizerState(), TypeError, ""),
    (lambda: _core.OptimizerState("opt_sgd", None, "no"), ValueError, "clip"),
    (lambda: _core.OptimizerState("opt_sgd", {"x": 1}), TypeError, "unknown argument"),
    (lambda: _core.OptimizerState("opt_sgd", 1), TypeError, "dict"),
    (lambda: _core.OptimizerState("no"), ValueError, "unknown operator"),
    (lambda: _core.OptimizerState("tanh"), ValueError, "not an optimizer"),
    (lambda: _core.OptimizerState("opt_sgd", None, "norm", 0.0), ValueError, "over 0"),
    (lambda: _core.OptimizerState("opt_adam").slot(BLOCK), TypeError, ""),
    (lambda: _core.OptimizerState("opt_adam").slot(BLOCK, -1), IndexError, "-1"),
    (lambda: _core.OptimizerState("opt_adam").slot(BLOCK, 4), IndexError, "4"),
    (lambda: _core.OptimizerState("opt_adam").grad(3), TypeError, "Block"),
]  # fmt: skip
PROGRAMS = [
    (lambda: _core.Program(3), TypeError, ""),
    (lambda: _core.Program(graph()[0], loss=3), ValueError, "loss 0"),
    (lambda: _core.Program(graph()[0], loss=graph()[1]), ValueError, "loss 0"),
    (lambda: _core.Program(graph()[0], optimizer=3), TypeError, "OptimizerState"),
    (lambda: _core.Program(graph()[0], outputs=[]), TypeError, "outputs"),
    (lambda: _core.Program(graph()[0], wrt=(3,)), ValueError, "wrt 0"),
    (lambda: _core.Program(graph()[0], outputs=(3,) * 999), TypeError, "at most"),
    (lambda: (lambda g, x: _core.Program(g, loss=x))(*graph()), ValueError, ""),
    (lambda: (lambda g, x: _core.Program(g, wrt=(x,)))(*graph()), ValueError, ""),
    (lambda: _core.execute(3, ()), TypeError, ""),
    (lambda: _core.execute(program(), ()), ValueError, "expected 1"),
    (lambda: _core.execute(program(), (BAD,)), ZeroDivisionError, ""),
    (lambda: _core.execute(program(), (ONES[0],)), ValueError, r"\(4, 3\)"),
    (lambda: _core.execute(program(), (ONES[:2],)), ValueError, r"\(4, 3\)"),
    (lambda: _core.execute(program(), (ONES[:, :2],)), ValueError, r"\(4, 3\)"),
    (lambda: _core.Inference(), TypeError, ""),
    (lambda: frozen(shape="x"), TypeError, ""),
    (lambda: frozen(shape=()), ValueError, "rows first"),
    (lambda: _core.Inference((1,), "int8", 1, 2, 3), TypeError, "dtype"),
    (lambda: frozen()(), TypeError, "expected fn"),
    (lambda: frozen()(ONES, None, None), TypeError, "expected fn"),
    (lambda: frozen()(ONES, ONES, out=ONES), TypeError, "expected fn"),
    (lambda: frozen()(ONES, out=ONES, to=ONES), TypeError, "expected fn"),
    (lambda: frozen()(ONES, to=ONES), TypeError, "unknown argument 'to'"),
    (lambda: frozen()(BAD), ZeroDivisionError, ""),
    (lambda: frozen()([1.0]), TypeError, "does not fit"),
    (lambda: frozen()(ONES[:, :2]), TypeError, "does not fit"),
    (lambda: frozen()(ONES[:, :2].copy()), TypeError, "does not fit"),
    (lambda: frozen()(ONES[0]), TypeError, "does not fit"),
    (lambda: frozen()(ONES, 3), ValueError, "out"),
    (lambda: frozen()(ONES, np.ones((4, 3))), ValueError, "out"),
    (lambda: frozen()(ONES, np.ones((4, 6), F32)[:, ::2]), ValueError, "out"),
    (lambda: frozen()(ONES, np.ones((4, 3), ">f4")), ValueError, "out"),
    (lambda: frozen()(ONES, np.ones(12, F32)), ValueError, "out"),
    (lambda: frozen()(ONES, np.ones((3, 4), F32)), ValueError, "out"),
    (lambda: frozen(lambda rows: 1 // 0)(ONES), ZeroDivisionError, ""),
    (lambda: frozen(lambda rows: rows)(ONES), TypeError, "Program"),
    (lambda: frozen(lambda rows: program(0))(ONES), TypeError, "Program"),
    (lambda: frozen(lambda rows: many_inputs())(ONES), TypeError, "one input"),
    (lambda: _core.KeywordUfunc(_core.elu, _core.elu), TypeError, ""),
    (lambda: _core.KeywordUfunc(_core.elu, _core.elu, keyword="a"), TypeError, "keyword"),
    (lambda: _core.KeywordUfunc(1, _core.elu, "a"), TypeError, ""),
    (lambda: elu(), TypeError, "0 positional"),
    (lambda: elu(ONES, 1), TypeError, "2 positional"),
    (lambda: elu(ONES, alpha=1, **dict.fromkeys(map(str, range(20)))), TypeError, "21 keyword"),
    (lambda: elu(ONES, alpha=1, beta=2), TypeError, ""),
]
elu = _core.KeywordUfunc(_core.elu, _core.defaults["elu"], "alpha")


@pytest.mark.parametrize("call, error, words", LISTS + APPLIES + RECORDERS + PROGRAMS)
def test_what_is_refused(call, error, words):
    with pytest.raises(error, match=words or None):
        call()


# ---- run_loop ----------------------------------------------------------------------------------


def loop(outputs=1, **changes):
    """One run over four rows in batches of two, with some arguments replaced."""
    args = {
        "full": program(outputs, 2), "rest": None,
        "feeds": (("x", ONES, 0, False),), "rows": 4, "batch": 2, "order": None, "first": 0,
        "last": 2, "seed": 0, "step": 0, "lr": None, "losses": None, "sums": (None,) * outputs,
        "results": (np.empty((4, 3), F32),) * outputs, "done": np.zeros(1, np.int64),
        "progress": None, "check_finite": False, "watch": None, "updates": None, "look": None,
    }  # fmt: skip
    args |= changes
    assert _core.run_loop(*args.values()) is None
    return args


def test_a_loop_runs():
    assert np.array_equal(loop()["results"][0], _core.tanh(ONES))
    assert loop(progress=lambda: None, step=3)["done"] == 2
    found = loop(rest=program(rows=1), rows=3, order=np.array([2, 1, 0]))["results"][0]
    assert np.array_equal(found[:3], _core.tanh(ONES[:3]))
    found = loop(full=None, rest=program(rows=1), rows=1, last=1)["results"][0]
    assert np.array_equal(found[:1], _core.tanh(ONES[:1]))
    assert loop(first=2, last=2)["done"] == 0


@pytest.mark.parametrize("to", [F32, np.float64])
@pytest.mark.parametrize("dtype", "?bBhHiIqQefd")
def test_a_loop_converts_rows(dtype, to):
    data = np.array([[0, 1, 1], [1, 0, 1], [1, 1, 0], [0, 0, 1]]).astype(dtype)
    wanted = _core.tanh(data.astype(to))

    def run(data, order):
        out = np.empty((4, 3), to)
        loop(full=program(rows=2, dtype=to), results=(out,), order=order, **one(data))
        return out

    assert np.array_equal(run(data, None), wanted)
    assert np.array_equal(run(data[::-1], np.arange(4)), wanted[::-1])


def one(array):
    return {"feeds": (("x", array, 0, False),)}


def many_inputs():
    g = _core.Graph()
    xs = [g.input((2, 3), "float32") for _ in range(33)]
    return _core.Program(g, outputs=(g.apply("add", (xs[0], xs[1])),))


def many_feeds():
    return {"feeds": (("x", ONES, 0, False),) * 33}


LOOPS = [
    ({"rows": -1}, ValueError, "fit together"),
    ({"rows": "x"}, TypeError, ""),
    ({"batch": 0}, ValueError, "fit together"),
    ({"full": None}, ValueError, "fit together"),
    ({"full": 3}, ValueError, "fit together"),
    ({"rest": 3}, ValueError, "fit together"),
    ({"first": -1}, ValueError, "fit together"),
    ({"first": 3}, ValueError, "fit together"),
    ({"last": 3}, ValueError, "fit together"),
    ({"rows": 3}, ValueError, "fit together"),
    ({"full": None, "rest": program(rows=1), "rows": 3}, ValueError, "fit together"),
    ({"feeds": ()}, ValueError, "0 feeds"),
    ({"feeds": (3,)}, (SystemError, TypeError), ""),
    ({"feeds": (("x", 3, 0, False),)}, TypeError, ""),
    (one(ONES.astype(complex)), TypeError, "x: expected"),
    (one(ONES.astype(np.longdouble)), TypeError, "x: expected"),
    (one(ONES.astype(">f4")), TypeError, "x: expected"),
    (one(np.array(3.0)), TypeError, "x: expected"),
    (one(np.ones((4, 6), F32)[:, ::2]), TypeError, "contiguous rows"),
    (one(ONES[:3]), ValueError, "3 rows"),
    (one(ONES[:, :2].copy()), ValueError, "2 elements"),
    ({"order": [0, 1, 2, 3]}, ValueError, "order"),
    ({"order": np.zeros(4)}, ValueError, "order"),
    ({"order": np.zeros(3, np.int64)}, ValueError, "order"),
    ({"order": np.zeros(8, np.int64)[::2]}, ValueError, "order"),
    ({"order": np.zeros(4, ">i8")}, ValueError, "order"),
    ({"order": np.zeros(33, np.int8)[1:].view(np.int64)}, ValueError, "order"),
    ({"order": np.array([0, 1, 2, 4])}, IndexError, r"order\[3\] is 4"),
    ({"order": np.array([0, -1, 2, 3])}, IndexError, r"order\[1\] is -1"),
    ({"lr": np.zeros(1)}, ValueError, "lr"),
    ({"losses": np.zeros(1)}, ValueError, "losses"),
    ({"losses": np.broadcast_to(0.0, 2)}, ValueError, "losses"),
    ({"losses": np.frombuffer(bytes(16))}, ValueError, "losses"),
    ({"done": np.zeros(0, np.int64)}, ValueError, "done"),
    ({"updates": np.zeros(0, np.int64)}, ValueError, "updates"),
    ({"sums": ()}, ValueError, "one item per output"),
    ({"results": ()}, ValueError, "one item per output"),
    ({"sums": (None, None)}, ValueError, "one item per output"),
    ({"results": (None, None)}, ValueError, "one item per output"),
    ({"sums": (np.zeros(6),)}, TypeError, "cannot be summed"),
    ({"results": (np.zeros((4, 3)),)}, ValueError, "results"),
    ({"results": (np.zeros((3, 3), F32),)}, ValueError, "results"),
    ({"full": 3, "rest": 3}, ValueError, "fit together"),
    ({"full": program(rows=0)}, ValueError, "rows of 0"),
    ({"feeds": (("x", np.array([[1, 1, 1]] * 2 + [[1, np.nan, 1]] * 2, F32), 0, True),)},
     ValueError, "x: row 2 holds NaN"),
    ({"full": many_inputs(), **many_feeds()}, ValueError, "at most 32"),
    ({"full": program(rows=2, dtype=np.float64), "sums": (np.zeros(6, F32),)}, ValueError, "sums"),
    ({"full": program(rows=2, dtype=np.float64), "sums": (np.zeros(5),)}, ValueError, "sums"),
    ({"watch": 3}, (SystemError, TypeError), ""),
    ({"watch": ((), 0, np.zeros(1))}, ValueError, "every"),
    ({"watch": ((), 1, None)}, (SystemError, ValueError), ""),
    ({"watch": ((ONES,), 1, np.zeros(1))}, ValueError, "watch"),
    ({"watch": ((3,), 1, np.zeros(3))}, ValueError, "0 elements"),
    ({"watch": ((np.zeros((4, 4))[:, 1],), 1, np.zeros(3))}, ValueError, "0 elements"),
    (dict.fromkeys(("full", "look"), program(rows=2)), RuntimeError, "running in another thread"),
]


@pytest.mark.parametrize("changes, error, words", LOOPS)
def test_what_a_loop_refuses(changes, error, words):
    with pytest.raises(error, match=words or None):
        loop(**changes)


def test_a_loop_refuses_programs_of_other_outputs():
    g = _core.Graph()
    x = g.input((1, 3), "float32")
    fewer = _core.Program(g, outputs=(g.apply("sum", (x,)),))
    double = _core.Program(g, outputs=(g.apply("cast", (x,), {"dtype": 1}),))
    wider = _core.Program(g, outputs=(g.apply("concatenate", (x, x), {"axis": 1}),))
    for rest in (fewer, double, wider, program(0, 1)):
        with pytest.raises(ValueError, match="one row for each row"):
            loop(rest=rest, rows=3)
    with pytest.raises(ValueError, match="one row for each row"):
        loop(look=program())


def test_a_finite_state_without_an_optimizer():
    block = _core.Block("float32", 6)
    g = _core.Graph()
    x = g.input((2, 3), "float32")
    g.apply("assign", (g.param(block, 0, (2, 3), False), x))
    p = _core.Program(g, outputs=(g.apply("tanh", (x,)),))
    loop(full=p, check_finite=True)
    assert np.array_equal(block.view(0, 6), np.ones(6))


def test_weights_of_two_dtypes_are_updated_together():
    narrow, wide = _core.Block("float32", 3), _core.Block("float64", 3)
    g = _core.Graph()
    x = g.input((2, 3), "float32")
    parts = []
    for block in (narrow, wide):
        block.view(0, 3)[:] = 1
        square = g.apply("square", (g.param(block, 0, (3,), True),))
        parts.append(g.apply("cast", (g.apply("sum", (square,)),), {"dtype": 1}))
    p = _core.Program(g, loss=g.apply("add", tuple(parts)), outputs=(g.apply("tanh", (x,)),),
                      optimizer=_core.OptimizerState("opt_sgd"))  # fmt: skip
    loop(full=p, check_finite=True, lr=np.full(2, 0.25))
    for block in (narrow, wide):
        assert block.view(0, 3).tolist() == [0.25] * 3  # halved twice


def test_a_loop_watches_what_it_is_given():
    squares = np.zeros(5)
    arrays = (np.full(3, 2.0), np.full(3, 2, F32), None)
    loop(watch=(arrays, 1, squares))
    assert squares.tolist() == [24, 24, 0, 2, 4]  # two steps, four rows


class StopError(Exception):
    pass


def test_a_program_that_runs_is_left_alone():
    """What progress() calls from the middle of a run: the program is refused, other ones run,
    and what progress() raises ends the run."""
    rows, running, seen = 1 << 22, program(rows=1), []

    def progress():
        calls = [lambda: loop(full=running, batch=1, rows=1, last=1),
                 lambda: loop(rest=running, rows=3),
                 lambda: _core.execute(running, (ONES[:1],))]  # fmt: skip
        for call in calls:
            with pytest.raises(RuntimeError, match="running in another thread"):
                call()
        seen.append(fn(ONES[:1]))
        raise StopError

    fn = frozen(lambda rows: running if not seen and not made.append(1) else program(rows=rows))
    made = []
    fn(ONES[:1])
    with pytest.raises(StopError):
        for _ in range(50):
            loop(full=running, rows=rows, batch=1, last=rows, order=np.zeros(rows, np.int64),
                 results=(None,), progress=progress, **one(ONES[:1]))  # fmt: skip
    assert np.array_equal(seen[0], _core.tanh(ONES[:1])) and len(made) == 2


def handled(handler, call):
    """call() with a signal after 20 ms, which finds it at work: call() looks up every 50 ms."""
    before = signal.signal(signal.SIGALRM, lambda *_: handler())
    signal.setitimer(signal.ITIMER_REAL, 0.02)
    try:
        call()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="Windows has no such clock")
def test_a_signal_s_handler_meets_a_call_at_work():
    def stop():
        raise StopError

    _core.set_num_threads(1)
    a = np.ones((3600, 3600), F32)  # some looks long on any processor
    g = _core.Graph()
    x = g.input(a.shape, F32)
    p = _core.Program(g, outputs=(g.apply("matmul", (x, x)),))
    rows = np.broadcast_to(np.ones(200_000, np.float16), (1000, 200_000))[:, ::2]
    for call in (lambda: _core.apply("matmul", (a, a)), lambda: _core.execute(p, (a,)),
                 lambda: _core.gelu(rows)):  # fmt: skip
        for _ in range(2):  # what was stopped runs again
            with pytest.raises(StopError):
                handled(stop, call)
    t = _core.Tape()
    leaf = t.leaf(a)
    with pytest.raises(RuntimeError, match="computing in another thread"):
        handled(t.detach, lambda: t.apply("matmul", (leaf, leaf)))


def test_large_work_in_another_thread_than_the_main_one():
    def work():
        a = np.ones((200, 200), F32)
        t = _core.Tape()
        leaf = t.leaf(a)
        y = t.apply("matmul", (leaf, leaf))
        g = _core.Graph()
        x = g.input((200, 200), "float32")
        p = _core.Program(g, outputs=(g.apply("matmul", (x, x)),))
        found.extend([y.numpy(), _core.execute(p, (a,))[0], _core.apply("matmul", (a, a))])
        found.append(_core.Inference((1, 200), "float32", lambda rows: p, np.asarray, None)(a))
        _core.tanh(np.ones(1 << 21, F32))

    found = []
    for run in (work, lambda: in_thread(work)):
        run()
    assert all(np.array_equal(x, np.full((200, 200), 200, F32)) for x in found) and len(found) == 8


def in_thread(work):
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()


def test_nothing_runs_on_no_elements():
    g = _core.Graph()
    x = g.input((0, 3), "float32")
    p = _core.Program(g, outputs=(g.apply("tanh", (x,)),))
    assert _core.execute(p, (ONES[:0],))[0].shape == (0, 3)
    assert loop(full=program(rows=2), first=1, last=1, check_finite=True)["done"] == 0
    assert loop(check_finite=True)["done"] == 2


@pytest.fixture
def recorder():
    """set_recorder, undone after the test."""
    yield _core.set_recorder
    _core.set_recorder(_recording.active, _recording._adopt)


def test_a_recorder_that_answers_nonsense(recorder):
    t, leaf, _ = tape()
    other = tape()[1]

    def fail(*args):
        raise StopError

    recorder(lambda: 3, lambda *a: 3)
    weight = ONES.view(Claims)
    assert np.array_equal(_core.apply("tanh", (weight,)), _core.tanh(ONES))
    with pytest.raises(TypeError, match="adopt"):
        t.apply("add", (leaf, weight))
    recorder(lambda: t, lambda *a: other)
    with pytest.raises(TypeError, match="adopt"):
        _core.apply("tanh", (weight,))
    recorder(fail, fail)
    with pytest.raises(StopError):
        _core.apply("tanh", (weight,))
    with pytest.raises(StopError):
        t.apply("add", (leaf, weight))


def test_without_a_recorder_a_weight_is_an_array():
    spec = importlib.util.spec_from_file_location(_core.__name__, _core.__file__)
    bare = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(bare)
    t, other, weight = bare.Tape(), bare.Tape(), ONES.view(Claims)
    t.recording = other.recording = True
    leaf, foreign = t.leaf(ONES), other.leaf(ONES)
    assert np.array_equal(bare.apply("tanh", (weight,)), _core.tanh(ONES))
    for beside in (weight, foreign):
        assert np.array_equal(t.apply("add", (leaf, beside)).numpy(), 2 * ONES)


class Claims(np.ndarray):
    """An array that says where in a block it lies."""

    block, offset, trainable = _core.Block("float32", 12), 0, True


@pytest.mark.parametrize("changes, error", [
    ({"offset": "x"}, TypeError), ({"offset": -1}, ValueError), ({"offset": 1}, ValueError),
    ({"offset": 1 << 80}, OverflowError), ({"trainable": np.ones(2)}, ValueError),
    ({"block": property(lambda self: 1 // 0)}, ZeroDivisionError),
    ({"offset": property(lambda self: 1 // 0)}, ZeroDivisionError),
    ({"trainable": property(lambda self: 1 // 0)}, ZeroDivisionError),
])  # fmt: skip
def test_an_array_that_lies_about_its_place(changes, error):
    x = ONES.view(type("Lies", (Claims,), changes))
    with pytest.raises(error):
        graph()[0].apply("tanh", (x,))
    if "block" in changes:
        with pytest.raises(error):
            _core.apply("tanh", (x,))


def test_an_array_that_lies_in_no_block():
    x = ONES.view(type("Lies", (Claims,), {"block": 3}))
    g = _core.Graph()
    y = g.apply("tanh", (x,))
    p = _core.Program(g, outputs=(y,))
    assert np.array_equal(_core.execute(p, ())[0], _core.tanh(ONES))
    y = _core.Graph().apply("tanh", (ONES.view(Claims),))
    assert y.shape == (4, 3)


# ---- the rest ------------------------------------------------------------------------------------


def test_what_an_operator_returns_and_how_it_was_called():
    t, leaf, _ = tape()
    made = t.apply("settle", (leaf, leaf), None) if "settle" in _core.op_names() else None
    assert made is not None
    for name in _core.op_names():
        assert isinstance(_core.op_info(name)["attrs"], list)
    g, x = graph()
    y = g.apply("concatenate", (x, ONES), {"axis": 1})
    g.apply("sum", (y,), {"axis": (0, 1), "keepdims": True})
    g.apply("dense", (x, ONES.T), {"activation": "relu"})
    g.apply("dense", (x, ONES.T), {"activation": None})
    assert [g.node(k)[0] for k in range(g.nodes)] == ["concatenate", "sum", "dense", "dense"]
    assert g.node(1)[3] == {"axis": (0, 1), "keepdims": True}
    assert [g.node(k)[3]["activation"] for k in (2, 3)] == ["relu", None]
    assert repr(g.value(x.id)) == "<Value 0: float32 (4, 3)>" and x.ndim == 2


def test_a_recorded_gradient_names_what_it_is_of():
    g, x = graph()
    other, seed = g.input((4, 3), "float32"), g.const(ONES)
    y = g.apply("multiply", (x, other))
    [dx] = g.gradient(y, (x,), seed)  # and none of the other factor
    name, read, made, attrs = g.node(g.nodes - 1)
    assert (name, made, attrs) == ("gradient", (dx.id,), {"of": "multiply"})
    assert set(read) == {seed.id, x.id, other.id}
    for output, want in (dx, 2 * ONES), (y, 6 * ONES):
        found = _core.execute(_core.Program(g, outputs=(output,)), (3 * ONES, 2 * ONES))
        assert np.array_equal(found[0], want)
    with pytest.raises(ValueError, match="through 'multiply' has no rule"):
        g.gradient(dx, (other,), seed)
    for bad in (3, graph()[1]):
        with pytest.raises(TypeError, match="the seed is not a value of this graph"):
            g.gradient(y, (x,), bad)


def test_numbers_beside_values_take_their_dtype():
    for dtype in (F32, np.float64):
        g = _core.Graph()
        x = g.input((2,), dtype)
        assert g.apply("add", (x, 1)).dtype == g.apply("add", (2.5, x)).dtype == dtype
        assert g.apply("add", (np.ones(2, dtype), 1.0)).dtype == dtype
    t, leaf, _ = tape()
    assert not t.apply("add", (leaf, -1)).numpy().any()
    assert t.apply("add", (leaf, np.ones(3))).dtype == F32
    assert _core.apply("add", (ONES, 1)).dtype == F32
    assert _core.apply("add", (ONES.astype(np.float16), True)).dtype == F32
    assert _core.apply("tanh", (np.arange(3),)).dtype == np.float64
    assert _core.apply("add", (ONES, np.ones(3))).dtype == np.float64
    with pytest.raises(ValueError, match="bias"):  # a float64, as the kernel is: its shape is wrong
        _core.apply("dense", (ONES, np.ones((3, 2)), 1.0))


def test_another_dtype_order_or_owner_goes_through_convert():
    calls = []

    def convert(x):
        calls.append(x)
        return np.ascontiguousarray(x, F32)

    f = _core.Inference((1, 3), "float32", lambda rows: program(rows=rows), convert, None)
    wide = np.ones((4, 6), F32)
    for x in (ONES.astype("d"), wide[:, ::2], ONES.astype(">f4"), [[1.0] * 3],
              ONES.view(np.ma.MaskedArray)):  # fmt: skip
        assert np.array_equal(f(x), _core.tanh(np.asarray(x, F32)))
    assert len(calls) == 5
    out = np.empty((4, 3), F32)
    assert f(ONES, out) is out and f(ONES, out=out) is out and f(ONES, out=None) is not out
    for rows in [*range(1, 20), 1, 19, 2]:
        assert f(np.ones((rows, 3), F32)).shape == (rows, 3)


def test_every_reference_is_known_to_the_collector():
    """gc.get_referrers stops each tp_traverse at the reference that it looks for."""
    made, converted, reduced = (lambda rows: None), (lambda x: x), (lambda: (int, ()))
    f = _core.Inference((1, 3), "float32", made, converted, reduced)
    for one_ in (made, converted, reduced, _core.Inference):
        assert any(r is f for r in gc.get_referrers(one_))
    f.__reduce__()
    k = _core.KeywordUfunc(_core.elu, _core.defaults["elu"], "alpha")
    k.note = note = {"a": [1]}
    for one_ in (_core.elu, _core.defaults["elu"], _core.KeywordUfunc):
        assert any(r is k for r in gc.get_referrers(one_))
    assert any(note in gc.get_referents(r) for r in gc.get_referents(k) if type(r) is dict)
    v = graph()[1]
    for one_ in (v.owner, v.tag, type(v)):
        assert any(r is v for r in gc.get_referrers(one_))
    for type_ in (type(v), _core.Graph, _core.Block, _core.Program):
        gc.get_referrers(type_)


def test_cycles_through_the_core_are_collected():
    def cycle(kind):
        if kind == "inference":
            x = frozen(lambda rows: x)
        elif kind == "keyword":
            x = _core.KeywordUfunc(_core.elu, _core.defaults["elu"], "alpha")
            x.me = x
        else:
            x = graph()[1]
            x.tag["me"] = x
        gone.append(weakref.ref(x)) if kind == "keyword" else None

    gone = []
    for kind in ("inference", "keyword", "value"):
        cycle(kind)
    gc.collect()
    assert gone[0]() is None
    alone = _core.KeywordUfunc(_core.elu, _core.defaults["elu"], "alpha")
    seen = weakref.ref(alone)
    del alone
    assert seen() is None


def test_a_keyword_ufunc_finds_its_keyword_however_it_is_written():
    name = "".join(["al", "pha"])  # not interned
    assert elu(-1.0, **{name: 2.0}) == _core.elu(-1.0, 2.0)
    assert elu(-1.0, dtype=F32, alpha=2.0).dtype == F32
    assert elu(-1.0, **{"".join(["dty", "pe"]): F32}).dtype == F32
    assert "alpha" in repr(elu)
    none = {}
    assert _core.KeywordUfunc(_core.elu, _core.defaults["elu"], "alpha", **none)(-1) == elu(-1.0)
    elu.__qualname__ = "elu"
    assert elu.__reduce__() == "elu"


@pytest.mark.parametrize("back", [False, True])
def test_a_dense_layer_has_no_memory_but_its_results_and_slopes(back):
    g, whole = _core.Graph(), 64 * 64 * 4
    x, kernel = g.input((64, 16), F32), g.input((16, 64), F32)
    y = g.apply("dense", (x, kernel), {"activation": "tanh"})
    if back:  # dy where y was, dz where the slopes were
        p = _core.Program(g, g.apply("sum", (y,)), wrt=(kernel,))
        assert p.bytes < 2 * whole + 3 * 64 * 16 * 4 + 1000
    else:
        p = _core.Program(g, outputs=(y,))
        assert p.bytes == whole + 2 * 64 * 16 * 4


def test_blocks_and_states_know_their_size():
    b = _core.Block("float64", 5)
    assert (b.size, b.dtype) == (5, np.dtype("float64"))
    state = _core.OptimizerState("opt_adam", {"beta_1": 0.5}, "value", 1.0)
    assert state.grad(b).size == state.slot(b, 0).size == 5
    assert state.slots == 2
    p = program()
    assert p.bytes > 0 and p.flops >= 0 and p.calls == 1
    for x in (state, p, graph()[0], tape()[0]):
        with pytest.raises(TypeError):
            pickle.dumps(x)
        with pytest.raises(TypeError):
            copy.copy(x)
