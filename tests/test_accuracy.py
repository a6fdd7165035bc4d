"""Every activation and derivative is right: against an oracle that shares no code with it."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

import pyact
from pyact import _core, _oracle, accuracy

KNOWN = [f"{name}{suffix}" for name in accuracy.NAMES for suffix in ("", "_grad")]
STRIDE = 2053  # a prime: two million float32 inputs of each function, below 25 s together

# ULP, measured on 10^6 inputs each (docs/accuracy.md) and a little room. Above 0.63 are only
# results below 1e-307, which are rounded twice, and derivatives next to their roots.
FLOAT64 = 1.0


@pytest.fixture(scope="module")
def exact():
    try:
        return _oracle.Exact()
    except SystemExit as none:
        pytest.skip(str(none))


def row(name, dtype, exact, chunks, subject="pyact"):
    found = accuracy.measure(name, dtype, chunks, exact, subject)
    assert found is not None
    return found


@pytest.mark.parametrize("name", KNOWN)
def test_every_float16_is_rounded_correctly(name, exact):
    found = row(name, "float16", exact, accuracy.all_float16())
    assert found.inputs == 1 << 16
    assert found.misrounded == 0, found


@pytest.mark.parametrize("name", KNOWN)
def test_float32_is_rounded_correctly(name, exact):
    found = row(name, "float32", exact, accuracy.strided_float32(STRIDE, seed=3))
    assert found.inputs > (1 << 32) // STRIDE - 2
    assert found.misrounded == 0, found
    assert found.worst <= 0.5000001, found


@pytest.mark.parametrize("name, x", [
    ("selu_grad", [-0.26024380326271057, -0.29910051822662354, -0.33643651008605957]),
    ("softplus", [-0.2577161192893982, -0.3038734197616577, -0.3100934624671936]),
])  # fmt: skip
def test_next_to_a_tie_of_two_float32_the_nearer_is_found(name, x, exact):
    """Within 2^-20 of their distance, where float64 alone may take the wrong one."""
    found = row(name, "float32", exact, iter([np.float32(x)]))
    assert found.inputs == 3 and found.misrounded == 0, found


@pytest.mark.parametrize("name", KNOWN)
def test_float64_is_within_an_ulp(name, exact):
    found = row(name, "float64", exact, accuracy.random_float64(name, 4000, seed=3))
    assert found.worst <= FLOAT64, found


def test_one_wrong_ulp_in_one_binade_is_found(exact, monkeypatch):
    """The check can fail: results for 1/8 <= -x < 1/4, which are one ULP up, are noticed."""

    def faulty(name, x, dtype):
        y = accuracy.kernels(name, x, dtype)
        planted = (x <= -0.125) & (x > -0.25)
        return np.where(planted, np.nextafter(y, x.dtype.type(np.inf)), y)

    monkeypatch.setitem(accuracy.SUBJECTS, "faulty", faulty)
    found = row("gelu", "float32", exact, accuracy.strided_float32(STRIDE, 3), "faulty")
    assert (1 << 23) // STRIDE - 2 <= found.misrounded <= (1 << 23) // STRIDE + 2
    assert 0.5 < found.worst < 1.6 and -0.25 < found.where <= -0.125


@pytest.mark.parametrize(
    "at, wrong", [(np.nan, 0.0), (-np.inf, np.nan), (-0.0, 0.0), (3.0, np.inf)]
)
def test_wrong_limits_are_found(at, wrong, exact, monkeypatch):
    def faulty(name, x, dtype):
        return np.float32([wrong]) * np.ones_like(x)

    monkeypatch.setitem(accuracy.SUBJECTS, "faulty", faulty)
    found = row("gelu", "float32", exact, iter([np.float32([at])]), "faulty")
    assert found.misrounded == 1 and found.worst == np.inf


def test_an_oracle_beyond_its_own_bound_is_found(exact, monkeypatch):
    """A formula of the oracle that is less exact than it says stops the run."""
    right = _oracle.Quick.tanh

    def wrong(self, x):
        y, bound = right(self, x)
        return y * (1 + 2.0**-40), bound

    monkeypatch.setattr(_oracle.Quick, "tanh", wrong)
    with pytest.raises(accuracy.OracleError, match="tanh"):
        row("tanh", "float32", exact, accuracy.strided_float32(STRIDE, 3))


def test_textbook_formulas_fail_where_they_are_known_to(exact):
    x = np.float32([-5.5, -6.0])
    found = row("gelu", "float32", exact, iter([x]), "scipy")
    assert found.misrounded == 2 and found.worst > 1e5
    found = row("sigmoid_grad", "float32", exact, iter([np.float32([18.0])]), "numpy")
    assert found.worst > 1e5


def test_oracle_at_values_known_from_tables(exact):
    with exact.context:
        form = _oracle.FORMATS["float64"]
        known = {  # Abramowitz and Stegun, tables 26.1 and 4.4, to the digits given there
            ("gelu", 1.0): 0.841344746068543, ("gelu_grad", 0.0): 0.5,
            ("softplus", 0.0): 0.693147180559945, ("tanh", 0.5): 0.462117157260010,
            ("mish_grad", 0.0): 0.6, ("exp", 1.0): 2.718281828459045,
        }  # fmt: skip
        for (name, x), want in known.items():
            assert float(exact(name, x, form)) == pytest.approx(want, abs=5e-16)


@pytest.mark.parametrize("name", KNOWN)
def test_float32_has_the_same_bits_on_every_isa(name):
    tables = {isa: _core.ufuncs(isa)[name] for isa in _core.tables()}
    first = next(iter(tables))
    more = (np.float32(0.75),) if tables[first].nin == 2 else ()
    for x in accuracy.strided_float32(9973, seed=7):
        with np.errstate(all="ignore"):
            results = {isa: f(x, *more) for isa, f in tables.items()}
        for isa, y in results.items():
            same = (y.view(np.uint32) == results[first].view(np.uint32)) | np.isnan(y)
            at = x[np.argmin(same)]
            assert same.all(), f"{name}({at!r}) is not the same on {isa} and {first}"


QUIET = np.array(
    [
        0,
        -0.0,
        1e-3,
        -1,
        5,
        -30,
        90,
        -90,
        1000,
        -1000,
        1e30,
        -1e30,
        3e38,
        -3e38,
        np.inf,
        -np.inf,
        np.nan,
    ],
    np.float32,
)


@pytest.mark.parametrize("name, dtype", list(itertools.product(KNOWN, [np.float32, np.float64])))
def test_no_warnings_that_ieee_does_not_call_for(name, dtype):
    """Overflow, invalid and divide are raised by no activation; NumPy would warn."""
    x = QUIET.astype(dtype)
    if name.removesuffix("_grad") in ("log", "sqrt"):
        x = np.abs(x[x != 0])
    if name.startswith("exp"):
        x = x[~(x > 80) | np.isinf(x)]
    if name == "selu" and dtype == np.float32:
        x = x[~(x == np.float32(3e38))]
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        getattr(pyact, name)(x)
        getattr(pyact, name)(x[::-1])


def test_command_line_prints_the_table(capsys):
    assert accuracy.main(["silu", "--stride", "4000037", "--points", "50"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split()[:2] == ["function", "dtype"]
    assert [line.split()[:2] for line in lines[1:4]] == [
        ["silu", dtype] for dtype in ("float16", "float32", "float64")
    ]
    with pytest.raises(SystemExit):
        accuracy.main(["swoosh"])
    assert "unknown function 'swoosh'" in capsys.readouterr().err


def quick(name, x):
    """What training computes of x: (values, derivatives or None), x: (n,) float32."""
    column = np.ascontiguousarray(x[:, None])
    one, none = np.ones((1, 1), np.float32), np.zeros((len(x), 1), np.float32)
    if name == "dense tanh":
        with pyact.GradientTape() as tape:
            z = pyact.Variable(column)
            y = pyact.ops.dense(z, one, activation="tanh")
            total = pyact.ops.sum(y)
        return np.asarray(y)[:, 0], np.asarray(tape.gradient(total, z))[:, 0]
    if name == "gru tanh":  # the gate z shut: h = tanh(x)
        kernel, bias, state = [[0, 0, 1]], [[-1000, 0, 0], [0, 0, 0]], none
    else:  # nothing new, an old state of 1: h = z = sigmoid(x)
        kernel, bias, state = [[1, 0, 0]], np.zeros((2, 3)), none + 1
    kernel, bias = np.array(kernel, np.float32), np.array(bias, np.float32)
    recurrent = np.zeros((1, 3), np.float32)
    h = pyact.ops.gru(column[:, None], kernel, recurrent, bias, state, activation="tanh",
                      recurrent_activation="sigmoid")[0]  # fmt: skip
    return np.asarray(h).reshape(-1), None


@pytest.mark.parametrize("name", ["dense tanh", "gru tanh", "gru sigmoid"])
def test_what_training_computes_is_within_two_ulps(name):
    bits = np.arange(0x00800000, 0x422E0000, 1009, dtype=np.uint32)  # the normals up to 43.5
    for sign in (0, 1 << 31):
        x = (bits | np.uint32(sign)).view(np.float32)
        y, slope = quick(name, x)
        wide = x.astype(np.float64)
        e = np.exp(-np.abs(wide if "sigmoid" in name else 2 * wide))
        right = np.tanh(wide) if "tanh" in name else np.where(wide < 0, e, 1) / (1 + e)
        assert (np.abs(y - right) / np.spacing(np.float32(np.abs(right)))).max() < 2
        if slope is not None:
            right = 4 * e / (1 + e) ** 2
            assert (np.abs(slope - right) / np.spacing(np.float32(right))).max() < 2
