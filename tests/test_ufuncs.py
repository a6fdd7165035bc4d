"""What every activation promises as a NumPy ufunc, whatever it computes.

The functions are drawn from the core's own list, for every instruction set that the
processor runs. Values are checked elsewhere; here the oracle is the same function called
on one contiguous element at a time, or NumPy's own behaviour for np.tanh.
"""

from __future__ import annotations

import copy
import gc
import inspect
import os
import pickle
import subprocess
import sys
import threading
import warnings
import weakref

import numpy as np
import pytest

from pyact import _config, _core, activations

MAPS = [name for name in _core.op_names() if _core.op_info(name)["kind"] == "map"]
TABLES = {isa: _core.ufuncs(isa) for isa in _core.tables()}
NAMES = [name + suffix for name in MAPS for suffix in ("", "_grad")]
UNARY = [name for name in NAMES if getattr(_core, name).nin == 1]
BINARY = [name for name in NAMES if getattr(_core, name).nin == 2]
FLOATS = (np.float16, np.float32, np.float64)
SPLIT = 1 << 18  # elements from which several threads surely share a call

# Enough to reach a body, a tail and a single element on every instruction set.
SIZES = (0, 1, 2, 3, 7, 16, 17, 31, 33, 255, 256, 257, 1021)

functions = pytest.mark.parametrize("name", NAMES)
isas = pytest.mark.parametrize("isa", TABLES)


@pytest.fixture(autouse=True)
def quiet():
    with np.errstate(all="ignore"):
        yield


def sample(n, dtype, seed=0):
    """(n,) ordinary numbers with every special one among them."""
    x = np.random.default_rng(seed).normal(0, 3, n).astype(dtype)
    tiny = np.finfo(dtype).smallest_subnormal
    special = np.array([0.0, -0.0, np.inf, -np.inf, np.nan, tiny, -tiny, 60000.0], dtype)
    at = np.arange(3, n, max(n // 9, 11))[: special.size]
    x[at] = special[: at.size]
    return x


def assert_same(got, want, *where):
    """Bit for bit, but any NaN is as good as another."""
    got, want = np.asarray(got), np.asarray(want)
    assert got.dtype == want.dtype and got.shape == want.shape, (where, got.dtype, got.shape)
    bits = {2: np.uint16, 4: np.uint32, 8: np.uint64}[want.dtype.itemsize]
    a, b = np.atleast_1d(got).copy().view(bits), np.atleast_1d(want).copy().view(bits)
    bad = (a != b) & ~(np.isnan(np.atleast_1d(got)) & np.isnan(np.atleast_1d(want)))
    if bad.any():
        i = tuple(np.argwhere(bad)[0])
        pytest.fail(
            f"{where}: {bad.sum()} of {bad.size} differ, first at {i}: "
            f"got {np.atleast_1d(got)[i]!r}, want {np.atleast_1d(want)[i]!r}"
        )


def parameter(dtype):
    return np.array(0.625, dtype)  # exact in every type


def call(f, x, **keywords):
    """f(x), with a fixed parameter where f takes one."""
    if f.nin == 1:
        return f(x, **keywords)
    return f(x, parameter(np.asarray(x).dtype.newbyteorder("=")), **keywords)


def one_by_one(f, x):
    """The oracle: f of one element at a time; x is flat."""
    y = np.empty(x.shape, x.dtype.newbyteorder("="))
    for i in range(x.size):
        y[i] = call(f, y.dtype.type(x[i]))
    return y


# ---- what is there ----------------------------------------------------------------------


def test_every_map_operator_is_a_ufunc_with_a_derivative():
    assert len(MAPS) > 5
    for name in NAMES:
        f = getattr(_core, name)
        assert isinstance(f, np.ufunc) and f.__name__ == name
        each = ("e", "f", "d")
        assert f.types == [t * f.nin + "->" + t for t in each]
        exported = getattr(activations, name)
        assert exported is f if f.nin == 1 else isinstance(exported, _core.KeywordUfunc)
        assert exported.__name__ == name and callable(exported)
        assert name in activations.__all__


@functions
def test_docstrings_state_the_formula_and_their_example_runs(name):
    import doctest

    info = _core.op_info(name.removesuffix("_grad"))
    for f in (getattr(_core, name), getattr(activations, name)):
        text = inspect.getdoc(f)
        assert info["formula"] in text
        assert "Parameters" in text and "Returns" in text and "Examples" in text
        test = doctest.DocTestParser().get_doctest(text, {name: f}, name, None, 0)
        assert test.examples
        assert doctest.DocTestRunner(verbose=False).run(test).failed == 0


def test_activations_doctests_run():
    import doctest

    for module in (activations, _config):
        result = doctest.testmod(module)
        assert result.attempted > 3 and result.failed == 0


@functions
def test_pickle_finds_the_same_object(name):
    for f in (getattr(activations, name), getattr(_core, name)):
        for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
            text = pickle.dumps(f, protocol)
            assert pickle.loads(text) is f
    if hasattr(np.tanh, "__dict__"):
        assert b"pyact.activations" in pickle.dumps(getattr(activations, name))


# ---- dtypes -----------------------------------------------------------------------------

PROMOTED = ("?", "b", "B", "h", "H", "i", "I", "l", "L", "q", "Q", "e", "f", "d")


@functions
def test_integers_and_bool_are_promoted_as_by_tanh(name):
    f = getattr(_core, name)
    for code in PROMOTED:
        x = np.array([0, 1, 1], code)
        want = np.tanh(x).dtype
        y = f(x) if f.nin == 1 else f(x, x)
        assert y.dtype == want, code
        assert_same(y, call(f, x.astype(want)) if f.nin == 1 else f(*[x.astype(want)] * 2), code)
    scalar = f(1) if f.nin == 1 else f(1, 0.5)
    assert isinstance(scalar, np.float64)


@functions
@pytest.mark.parametrize(
    "x",
    [
        np.array([1 + 1j]),
        np.array([1.0], object),
        np.array([None]),
        np.array(["1.0"]),
        np.array([b"1.0"]),
        np.array(["2020-01-01"], "M8[D]"),
        np.array([3], "m8[s]"),
        np.array([(1.0,)], [("a", "f4")]),
        np.array([1.0], np.longdouble),
        "text",
        None,
        object(),
        {},
    ],
    ids=lambda x: str(getattr(x, "dtype", type(x).__name__)),
)
def test_what_is_not_a_real_number_is_a_type_error(name, x):
    f = getattr(_core, name)
    if getattr(x, "dtype", None) == np.float64:
        pytest.skip("long double is double here")
    with pytest.raises(TypeError):
        f(*[x] * f.nin)


@functions
def test_dtype_and_casting_are_numpys(name):
    f = getattr(_core, name)
    x = sample(40, np.float32)
    assert_same(call(f, x, dtype=np.float64), call(f, x.astype(np.float64)))
    assert call(f, x.astype(np.float16), dtype="f4").dtype == np.float32
    with pytest.raises(TypeError):
        call(f, x, dtype=np.float16, casting="safe")
    with pytest.raises(TypeError):
        call(f, x, dtype=np.int32)
    wide = np.zeros(40)
    assert call(f, x, out=wide) is wide
    assert_same(wide, call(f, x).astype(np.float64))
    with pytest.raises(TypeError):
        call(f, x, out=np.zeros(40, np.int64))
    with pytest.raises(TypeError):
        call(f, x.astype(np.float64), out=np.zeros(40, np.float32), casting="safe")


HALVES = np.arange(1 << 16, dtype=np.uint16).view(np.float16)


@isas
@functions
def test_float16_is_the_float64_result_rounded_once(name, isa):
    f = TABLES[isa][name]
    p = () if f.nin == 1 else (parameter(np.float16),)
    want = f(HALVES.astype(np.float64), *[q.astype(np.float64) for q in p]).astype(np.float16)
    assert_same(f(HALVES, *p), want, name, isa)


def test_float16_raises_what_ieee_asks_for():
    if "square" not in MAPS:
        pytest.skip("no operator here overflows")
    with np.errstate(all="raise"):
        with pytest.raises(FloatingPointError, match="overflow"):
            _core.square(np.float16([1, 300]))
        with pytest.raises(FloatingPointError, match="underflow"):
            _core.square(np.float16([1, 3e-5]))
        _core.square(np.float16([255, np.inf, 0, 2.0**-10, 2.0**-12]))


# ---- memory layouts ---------------------------------------------------------------------


def layouts(x, tmp_path):
    """The numbers of x (n,) as arrays of every kind that NumPy has."""
    n = x.size
    wide = np.repeat(x, 3)
    yield "strided", wide[1::3]
    yield "reversed", x[::-1].copy()[::-1]
    raw = np.zeros(n * x.itemsize + 1, np.uint8)
    shifted = raw[1:].view(x.dtype)
    shifted[:] = x
    yield "misaligned", shifted
    packed = np.zeros(n, [("pad", "u1"), ("x", x.dtype)])
    packed["x"] = x
    yield "field", packed["x"]
    yield "big-endian", x.astype(x.dtype.newbyteorder(">"))
    yield "little-endian", x.astype(x.dtype.newbyteorder("<"))
    fixed = x.copy()
    fixed.flags.writeable = False
    yield "read-only", fixed
    if n:
        path = tmp_path / "x.bin"
        x.tofile(path)
        yield "memmap", np.memmap(path, x.dtype, "r")
    if n % 4 == 0:
        yield "fortran", np.asfortranarray(x.reshape(-1, 4))
        yield "transposed", x.reshape(4, -1).T
        yield "3-d, every other", np.repeat(x.reshape(2, -1, 2), 2, axis=1)[:, ::2]
        yield "empty axis", x.reshape(-1, 4)[:, :0]


@isas
@functions
@pytest.mark.parametrize("dtype", FLOATS, ids=lambda d: d.__name__)
def test_any_size_and_layout_gives_the_bits_of_single_elements(name, isa, dtype, tmp_path):
    f = TABLES[isa][name]
    for n in SIZES:
        x = sample(n, dtype, n)
        assert_same(call(f, x), one_by_one(f, x), name, isa, n)
        for offset in range(1, min(n, 4)):
            assert_same(call(f, x[offset:]), call(f, x)[offset:], name, isa, n, offset)
    x = sample(96, dtype)
    for kind, a in layouts(x, tmp_path):
        want = one_by_one(f, np.asarray(a).ravel()).reshape(a.shape)
        assert_same(call(f, a), want, name, isa, kind)


@functions
def test_zero_dimensions_give_scalars(name):
    f = getattr(_core, name)
    for dtype in FLOATS:
        y = call(f, np.array(0.5, dtype))
        assert isinstance(y, dtype)
        out = np.empty((), dtype)
        assert call(f, np.array(0.5, dtype), out=out) is out
        assert_same(out, y)


# ---- out, where, overlap ----------------------------------------------------------------


@functions
def test_out_must_fit(name):
    f = getattr(_core, name)
    x = sample(12, np.float32)
    out = np.empty_like(x)
    assert call(f, x, out=out) is out and call(f, x, out=(out,)) is out
    assert_same(out, call(f, x))
    strided = np.full((12, 2), 7, np.float32)
    call(f, x, out=strided[:, 1])
    assert_same(strided[:, 1], out)
    assert (strided[:, 0] == 7).all()
    fixed = np.empty_like(x)
    fixed.flags.writeable = False
    for bad in (np.empty(11, np.float32), fixed):
        with pytest.raises(ValueError):
            call(f, x, out=bad)
    for bad in ([0.0] * 12, "text", 3):
        with pytest.raises(TypeError):
            call(f, x, out=bad)
    big = np.zeros(12, ">f4")
    call(f, x, out=big)
    assert_same(big.astype("=f4"), out)


@functions
def test_where_leaves_the_rest_alone(name):
    f = getattr(_core, name)
    x = sample(1000, np.float64)
    mask = np.random.default_rng(1).random(1000) < 0.5
    for m in (mask, mask & False, mask | True, np.arange(1000) % 7 == 0, np.True_):
        out = np.full(1000, 42.0)
        call(f, x, out=out, where=m)
        assert_same(out, np.where(m, call(f, x), 42.0))


def overlapping(dtype, n=700):
    """Pairs of views (x, out) of one array that share elements in every manner."""
    size = np.dtype(dtype).itemsize
    for offset in (-17, -3, -1, 0, 1, 2, 16, 300):
        for step in (1, 2, -1, -3):
            base = sample(4 * n, dtype)
            middle = base[1500:2000] if step > 0 else base[2000:1500:-1]
            begin = 1500 + offset if step > 0 else 2000 + offset
            yield middle[:: abs(step)], base[begin::step][: len(middle[:: abs(step)])]
    for in_step, out_step in ((1, 2), (2, 1), (1, -1), (-1, 1), (3, 2)):
        base = sample(4 * n, dtype)
        yield base[1400:][::in_step][:400], base[1400:][::out_step][:400]
    for shift in range(1, size, max(size // 4, 1)):  # parts of elements
        raw = sample(2 * n, dtype).view(np.uint8)
        yield raw[: n * size].view(dtype), raw[shift : n * size + shift].view(dtype)
        raw = sample(2 * n, dtype).view(np.uint8)
        yield raw[shift : n * size + shift].view(dtype), raw[: n * size].view(dtype)
    pairs = sample(2 * n, dtype)
    yield pairs[::2], pairs[1::2]
    pairs = sample(2 * n, dtype)
    yield pairs[1::2], pairs[::2]
    square = sample(30 * 30, dtype).reshape(30, 30)
    yield square, square.T
    square = sample(30 * 30, dtype).reshape(30, 30)
    yield square[1:], square[:-1]
    square = sample(30 * 30, dtype).reshape(30, 30)
    yield square[:, :-1], square[:, 1:]


@isas
@pytest.mark.parametrize("dtype", FLOATS, ids=lambda d: d.__name__)
def test_an_output_may_overlap_the_input(isa, dtype):
    for name in NAMES:
        f = TABLES[isa][name]
        for k, (x, out) in enumerate(overlapping(dtype)):
            want = call(f, x.copy())
            call(f, x, out=out)
            assert_same(out, want, name, isa, k)
        x = sample(5000, dtype)
        want = call(f, x)
        call(f, x, out=x)
        assert_same(x, want, name, isa, "in place")


@isas
def test_overlap_over_several_threads(isa):
    f = TABLES[isa][UNARY[0]]
    n = 2 * SPLIT + 77
    for shift in (-5, 5):
        base = sample(n + 20, np.float32)
        x, out = base[10 : 10 + n], base[10 + shift : 10 + shift + n]
        want = f(x.copy())
        f(x, out=out)
        assert_same(out, want, isa, shift)


@isas
@pytest.mark.parametrize("dtype", FLOATS, ids=lambda d: d.__name__)
def test_methods_of_two_input_ufuncs(isa, dtype):
    rng = np.random.default_rng(2)
    for name in BINARY:
        f = TABLES[isa][name]
        a = rng.normal(size=40).astype(dtype)
        folded = [a[0]]
        for v in a[1:]:
            folded.append(f(folded[-1], v))
        want = np.array(folded, dtype)
        assert_same(f.accumulate(a), want, name, isa)
        assert_same(f.reduce(a), want[-1], name, isa)
        assert_same(f.outer(a[:5], a[5:8]), f(a[:5, None], a[5:8]), name, isa)
        assert_same(f.reduce(a.reshape(8, 5), axis=0), fold_rows(f, a.reshape(8, 5)), name, isa)
        with pytest.raises(ValueError, match="identity"):
            f.reduce(a[:0])
        b, want = a.copy(), a.copy()
        f.at(b, [1, 1, 3], dtype(0.5))
        for i in (1, 1, 3):
            want[i] = f(want[i], dtype(0.5))
        assert_same(b, want, name, isa)
    for name in UNARY:
        f = TABLES[isa][name]
        a = rng.normal(size=40).astype(dtype)
        want = a.copy()
        f.at(a, [0, 5, 5])
        for i in (0, 5, 5):
            want[i] = f(want[i])
        assert_same(a, want, name, isa)
        with pytest.raises(ValueError):
            f.reduce(a)


def fold_rows(f, a):
    y = a[0]
    for row in a[1:]:
        y = f(y, row)
    return y


# ---- parameters -------------------------------------------------------------------------


@pytest.mark.parametrize("name", BINARY)
def test_a_parameter_is_a_keyword_and_may_be_an_array(name):
    f, ufunc = getattr(activations, name), getattr(_core, name)
    word, default = _core.op_info(name.removesuffix("_grad"))["attrs"][0][0::2][:2]
    x = sample(24, np.float32).reshape(4, 6)
    for dtype in FLOATS:  # without the keyword another ufunc runs
        for a in (x.astype(dtype), sample(SPLIT, dtype), sample(9, dtype)[::-2]):
            want = ufunc(a, dtype(default))
            assert_same(f(a), want)
            assert_same(f(a, **{word: default}), want)
        in_place = sample(300, dtype)
        want = ufunc(in_place.copy(), dtype(default))
        want_shifted = ufunc(in_place[1:].copy(), dtype(default))
        shifted = in_place.copy()
        assert f(in_place, out=in_place) is in_place
        assert_same(in_place, want)
        f(shifted[1:], out=shifted[:-1])
        assert_same(shifted[:-1], want_shifted)
    assert type(f(0.5)) is np.float64 and f(np.int8([1])).dtype == np.float16
    slopes = np.linspace(-1, 2, 6, dtype=np.float32)
    assert_same(f(x, **{word: slopes}), ufunc(x, np.tile(slopes, (4, 1))))
    assert_same(f(x, **{word: slopes[:4, None]}), ufunc(x, slopes[:4, None].repeat(6, 1)))
    assert f(x[0], **{word: np.ones((5, 1), np.float32)}).shape == (5, 6)
    assert f(x, **{word: 1}).dtype == np.float32 == f(x, **{word: 0.3}).dtype
    assert f(x, **{word: slopes.astype(np.float64)}).dtype == np.float64
    assert f(x.astype(np.float16)).dtype == np.float16
    out = np.zeros_like(x)
    assert f(x, out=out, where=x > 0, **{word: 0.5}) is out
    assert_same(out, np.where(x > 0, ufunc(x, np.float32(0.5)), np.float32(0)))
    assert f(x, dtype=np.float64).dtype == np.float64
    negative = x[x < 0]
    assert np.isnan(f(negative, **{word: np.nan})).all()
    with pytest.raises(ValueError, match="broadcast"):
        f(x, **{word: np.ones(5, np.float32)})
    with pytest.raises(TypeError):
        f(x, **{word: "steep"})
    with pytest.raises(TypeError):
        f(x, **{word: None})
    with pytest.raises(TypeError, match="gamma"):
        f(x, gamma=2)
    for args in ((), (x, 0.3), (x, x, x)):
        with pytest.raises(TypeError, match=f"{len(args)} positional arguments.* {word} is"):
            f(*args)
    with pytest.raises(TypeError, match="keyword arguments"):
        f(x, **{word: 1}, **dict.fromkeys("abcdefghijklmnopq", 0))
    assert_same(f(x, **{"".join(word): 0.5}), ufunc(x, np.float32(0.5)))  # not interned
    assert list(inspect.signature(f).parameters)[:2] == ["x", word]
    assert copy.deepcopy(f) is f and name in repr(f)
    assert weakref.ref(f)() is f
    f.note = f  # a cycle that the collector sees
    del f.note
    for bad in ((), (ufunc,), (ufunc, ufunc, 3), (f, ufunc, "p"), (ufunc, None, "p")):
        with pytest.raises(TypeError):
            _core.KeywordUfunc(*bad)
    with pytest.raises(TypeError):
        _core.KeywordUfunc(ufunc, ufunc, keyword="p")


# ---- other array types ------------------------------------------------------------------


@functions
def test_subclasses_and_overrides_are_respected(name):
    f = getattr(_core, name)

    class Tagged(np.ndarray):
        pass

    x = sample(10, np.float32)
    assert type(call(f, x.view(Tagged))) is Tagged
    assert type(call(f, x.view(Tagged), subok=False)) is np.ndarray
    masked = call(f, np.ma.array(x, mask=x > 0))
    assert isinstance(masked, np.ma.MaskedArray)
    assert_same(masked.data[x <= 0], call(f, x)[x <= 0])

    class Own:
        dtype = np.dtype(np.float32)

        def __array_ufunc__(self, ufunc, method, *inputs, **keywords):
            return ufunc, method, len(inputs), keywords

        def __array__(self, dtype=None, copy=None):
            raise AssertionError("not asked for")

    assert f(*[Own()] * f.nin, where=True) == (f, "__call__", f.nin, {"where": True})

    class Refuses:
        __array_ufunc__ = None

    with pytest.raises(TypeError):
        f(*[Refuses()] * f.nin)

    class Holds:
        def __array__(self, dtype=None, copy=None):
            return x

    assert_same(f(*[Holds()] * f.nin), f(*[x] * f.nin))
    assert_same(f(*[x.tolist()] * f.nin), f(*[x.astype(np.float64)] * f.nin))


# ---- threads ----------------------------------------------------------------------------


@pytest.fixture
def threads():
    before = _core.get_num_threads()
    yield _core.set_num_threads
    _core.set_num_threads(before)


@isas
@pytest.mark.parametrize("dtype", FLOATS, ids=lambda d: d.__name__)
def test_any_number_of_threads_gives_the_same_bits(isa, dtype, threads):
    for n in (SPLIT - 1, SPLIT, SPLIT + 1, 3 * SPLIT + 17):
        x = sample(n, dtype)
        twice = np.repeat(x, 2)[::2]
        for name in (UNARY[0], UNARY[1], BINARY[0], BINARY[1]):
            f = TABLES[isa][name]
            threads(1)
            want = call(f, x)
            for count in (2, 3, 8):
                threads(count)
                assert_same(call(f, x), want, name, isa, n, count)
                assert_same(call(f, twice), want, name, isa, n, count, "strided")
                in_place = x.copy()
                call(f, in_place, out=in_place)
                assert_same(in_place, want, name, isa, n, count, "in place")


def test_warnings_do_not_depend_on_the_thread(threads):
    if "exp" not in MAPS:
        pytest.skip("no operator here overflows")
    threads(2)
    for at in (0, 5 * SPLIT, 9 * SPLIT - 1):
        x = np.zeros(9 * SPLIT, np.float32)
        with np.errstate(all="raise"):
            _core.exp(x)
            x[at] = 1000
            with pytest.raises(FloatingPointError, match="overflow"):
                _core.exp(x)


def test_many_threads_call_one_ufunc(threads):
    threads(2)
    f = getattr(_core, UNARY[0])
    inputs = [sample(SPLIT + 1000 * k, np.float32, k) for k in range(8)]
    wants = [f(x) for x in inputs]
    wrong = []

    def work(k):
        for _ in range(10):
            if not np.array_equal(f(inputs[k]), wants[k], equal_nan=True):
                wrong.append(k)

    workers = [threading.Thread(target=work, args=(k,)) for k in range(8)]
    for w in workers:
        w.start()
    for _ in range(20):
        for n in (1, 3, 2):
            threads(n)
    for w in workers:
        w.join()
    assert not wrong


def test_other_python_threads_run_meanwhile():
    f, x = getattr(_core, UNARY[0]), np.zeros(1 << 24, np.float16)
    ticks, stop = [], threading.Event()

    def count():
        while not stop.is_set():
            ticks.append(0)
            stop.wait(1e-4)

    other = threading.Thread(target=count)
    other.start()
    interval = sys.getswitchinterval()
    sys.setswitchinterval(10)  # only a release of the GIL lets the other thread run
    try:
        before = len(ticks)
        f(x)
        during = len(ticks) - before
    finally:
        sys.setswitchinterval(interval)
        stop.set()
        other.join()
    assert during > 3


@pytest.mark.parametrize("bad", [0, -1, 1025, 2**70, -(2**70)])
def test_number_of_threads_out_of_range(bad):
    with pytest.raises(ValueError, match="expected a whole number from 1 to 1024"):
        _config.set_num_threads(bad)


@pytest.mark.parametrize("bad", [1.0, "2", None, True, [2]])
def test_number_of_threads_of_another_type(bad):
    with pytest.raises(TypeError, match="expected a whole number"):
        _config.set_num_threads(bad)


def test_threadpoolctl_limits_the_threads(threads):
    threadpoolctl = pytest.importorskip("threadpoolctl")
    threads(2)
    assert _config.register_threadpoolctl() and _config.register_threadpoolctl()
    mine = [i for i in threadpoolctl.threadpool_info() if i["internal_api"] == "pyact"]
    assert len(mine) == 1 and mine[0]["num_threads"] == 2
    with threadpoolctl.threadpool_limits(1, user_api="pyact"):
        assert _config.get_num_threads() == 1
    assert _config.get_num_threads() == 2


# ---- the environment ---------------------------------------------------------------------


def run_python(code, **env):
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), **env}
    return subprocess.run(
        [sys.executable, "-c", code], env=env, capture_output=True, text=True, timeout=60
    )


@pytest.mark.parametrize("isa", [*TABLES, ""])
def test_environment_chooses_the_instruction_set(isa):
    done = run_python("import pyact._core as c; print(c.isa())", PYACT_ISA=isa)
    assert done.stdout.strip() == (isa or _core.tables()[0]), done.stderr


def test_environment_sets_the_threads():
    code = "import pyact._core as c; print(c.get_num_threads())"
    assert run_python(code, PYACT_NUM_THREADS="3").stdout.strip() == "3"
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    assert run_python(code, PYACT_NUM_THREADS="").stdout.strip() == str(count)


@pytest.mark.parametrize(
    ("key", "value"),
    [("PYACT_ISA", v) for v in ("sse9", "AVX2 ", "x" * 500)]
    + [("PYACT_NUM_THREADS", v) for v in ("0", "-1", "two", "1.5", "2 cores", "9" * 30, "1025")],
)
def test_a_wrong_environment_is_refused_by_name(key, value):
    done = run_python("import pyact._core", **{key: value})
    assert done.returncode == 1
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith(f"ValueError: environment variable {key}: got '{value[:40]}'")
    assert "expected" in last and "unset it" in last


def test_an_unknown_table_is_refused():
    with pytest.raises(ValueError, match=r"got 'mmx', expected .*base"):
        _core.ufuncs("mmx")
    for bad in (None, 3, b"base"):
        with pytest.raises(TypeError):
            _core.ufuncs(bad)
    with pytest.raises(ValueError):
        _core.ufuncs("base\0")


def test_importing_twice_makes_two_modules():
    code = """if True:
        import sys, gc, numpy as np
        import pyact._core as first
        f = first.{0}
        del sys.modules["pyact._core"]
        import pyact; del pyact._core
        import pyact._core as second
        assert first is not second
        del first; gc.collect()
        x = np.zeros(1 << 19, np.float32)
        assert (f(x) == second.{0}(x)).all()
        del second, sys.modules["pyact._core"], pyact._core; gc.collect()
        f(x)
        print("fine")
    """.format(UNARY[0])
    done = run_python(code)
    assert done.stdout.strip() == "fine", done.stderr


def test_importing_threadpoolctl_is_left_to_others():
    done = run_python("import sys, pyact._config; print('threadpoolctl' in sys.modules)")
    assert done.stdout.strip() == "False", done.stderr


def test_show_config(capsys):
    config = _config.show_config(mode="dicts")
    assert config["CPU"]["isa"] in config["CPU"]["isas this processor runs"]
    assert config["CPU"]["threads"] == _config.get_num_threads()
    assert config["Versions"]["numpy"] == np.__version__
    assert _config.show_config() is None
    printed = capsys.readouterr().out
    assert config["CPU"]["isa"] in printed and config["Build"]["compiler"] in printed
    with pytest.raises(ValueError, match="'json'"):
        _config.show_config(mode="json")


# ---- memory ------------------------------------------------------------------------------


def test_ufuncs_keep_alive_what_they_need():
    f = _core.ufuncs(_core.tables()[-1])[UNARY[0]]
    gc.collect()
    junk = [bytearray(1 << 16) for _ in range(100)]
    assert f.__name__ == UNARY[0] and f.__doc__
    assert_same(f(np.ones(5)), getattr(_core, UNARY[0])(np.ones(5)))
    del junk


def test_nothing_is_left_behind():
    resource = pytest.importorskip("resource")
    f = getattr(_core, UNARY[0])
    x = np.ones(100)
    word = _core.op_info(BINARY[0])["attrs"][0][0]

    def errors():
        for bad in (np.array([None]), np.array([1j])):
            with pytest.raises(TypeError):
                f(bad)
        with pytest.raises(ValueError):
            f(x, out=np.ones(3))
        with pytest.raises(ValueError):
            _core.ufuncs("mmx")
        with pytest.raises(TypeError):
            _core.set_num_threads("two")
        with pytest.raises(ValueError):
            _core.set_num_threads(0)
        _core.ufuncs(_core.tables()[0])
        f(x)
        with_keyword = getattr(activations, BINARY[0])
        with_keyword(x)
        with_keyword(x, out=x, **{word: 1.0})
        with pytest.raises(TypeError):
            with_keyword(x, x)
        with pytest.raises(TypeError):
            with_keyword(x, gamma=1, **{word: 1.0})
        cycle = _core.KeywordUfunc(f, f, word)
        cycle.me = cycle
        _core.tables(), _core.isa(), _core.get_num_threads()

    for _ in range(50):
        errors()
    gc.collect()
    [lib] = [o for o in gc.get_referents(_core) if type(o).__name__ == "PyCapsule"]
    held = (f, x, _core, lib, word, getattr(_core, BINARY[0]), _core.KeywordUfunc)
    blocks, counts = sys.getallocatedblocks(), [sys.getrefcount(o) for o in held]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for _ in range(500):
        errors()
    gc.collect()
    assert [sys.getrefcount(o) for o in held] == counts
    assert sys.getallocatedblocks() - blocks < 200
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - peak < 4096  # KiB


# ---- activations by name -----------------------------------------------------------------


def test_activations_by_name():
    for name in MAPS:
        f = activations.get(name)
        assert f is getattr(activations, name) and activations.serialize(f) == name
    assert activations.get(None) is activations.linear is activations.get("linear")
    assert activations.get("swish") is activations.silu is activations.swish
    assert activations.get(np.sin) is np.sin
    for name in ("softmax", "log_softmax", "linear"):
        assert activations.serialize(activations.get(name)) == name
    with pytest.raises(ValueError, match="did you mean '" + MAPS[0]):
        activations.get(MAPS[0] + "x")
    with pytest.raises(ValueError, match="unknown"):
        activations.get("relu_grad")
    with pytest.raises(TypeError):
        activations.get(3)
    with pytest.raises(ValueError, match="no name"):
        activations.serialize(np.sin)


def test_warnings_are_not_raised_on_import():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        done = run_python("import warnings; warnings.simplefilter('error'); import pyact._core")
    assert done.returncode == 0 and not done.stderr
