"""NumPy's functions on values: each gives NumPy's numbers and the right gradient, or refuses."""

from __future__ import annotations

import re

import numpy as np
import pytest
from conftest import ROOT

import pyact
from pyact import GradientTape, Variable, _tensors, constant, layers, losses, optimizers

A = np.random.default_rng(0).uniform(0.3, 0.9, (3, 4))
B = np.random.default_rng(1).uniform(0.3, 0.9, (4, 3))
SQUARE = np.random.default_rng(2).uniform(0.3, 0.9, (3, 3))
WEIGHTS = np.arange(1.0, 4.0)

# f(a), or f(square): by name, so that a failure says which
CALLS = """
np.sum(a, 1, keepdims=True); np.mean(a, 0); np.amax(a, axis=1); np.amin(a); np.prod(a)
np.prod(a, axis=1, keepdims=True); np.prod(a, axis=(0, 1)); np.cumsum(a, axis=0); np.cumsum(a)
np.cumprod(a, axis=1); np.var(a); np.std(a, axis=0); np.median(a); np.median(a, axis=0)
np.ptp(a, axis=1); np.average(a); np.average(a, axis=0, weights=WEIGHTS)
np.average(a, axis=1, weights=A, keepdims=True); np.linalg.norm(a); np.linalg.norm(a, axis=1)
np.linalg.norm(a, ord=1, axis=1); np.linalg.norm(a[0], np.inf); np.linalg.norm(a, 'fro')
np.exp2(a); np.expm1(a); np.log2(a); np.log10(a); np.logaddexp(a, 2 * a); np.reciprocal(a)
np.deg2rad(a); np.degrees(a); 2.0 ** a; +a; abs(-a); np.add.reduce(a); np.multiply.reduce(a)
np.maximum.reduce(a, axis=1); np.minimum.reduce(a); np.add.outer(a[0], a[1])
np.multiply.outer(a[0], a[1]); np.where(a > 0.5, a, 0.0); np.where(A > 0.5, a, 2 * a)
np.where(A > 2, 1 / (a - a), a); np.concatenate([a, A], axis=None); np.stack([a, A], axis=1)
np.vstack([a, a[0]]); np.hstack([a, a]); np.hstack([a[0], a[1]]); np.dstack([a, A])
np.column_stack([a[0], a[1]]); np.append(a, a, axis=0); np.append(a, 1.0); np.moveaxis(a, 0, 1)
np.rollaxis(a, 1); np.atleast_1d(a[0, 0]); np.atleast_2d(a[0]); np.atleast_3d(a)
np.repeat(a, 2, axis=0); np.repeat(a, 2); np.tile(a, (2, 1)); np.roll(a, 1); np.roll(a, 1, axis=0)
np.flip(a); np.flip(a, axis=1); np.flipud(a); np.fliplr(a); np.rot90(a); np.split(a, 3)[0]
np.split(a, [1, 3], axis=1)[1]; np.array_split(a, 2)[0]; np.hsplit(a, 2)[0]; np.vsplit(a, 3)[0]
np.pad(a, 1); np.pad(a, ((1, 0), (0, 2)), constant_values=3.0); np.pad(a, 1, mode='reflect')
np.diff(a); np.diff(a, 2, axis=0); np.take(a, [0, 2], axis=0); np.take(a, [0, 0, 5]); a.take([1])
np.take_along_axis(a, np.argsort(A, 1), 1); np.delete(a, 0, axis=0); np.sort(a, axis=1)
np.sort(a, axis=None); np.diag(square); np.diag(a[0]); np.diag(a[0], -1); np.diagonal(square, 1)
np.trace(square); np.triu(square); np.tril(square, -1); a[[0, 1]]; a[A > 0.5]; a[:, [0, 2]]
a[np.arange(3), np.arange(3)]; a[[0, 0], 1:]; np.vdot(a[0], a[1]); np.inner(a, a)
np.outer(a[0], a[1]); np.tensordot(a, B, 1); np.tensordot(a, B, axes=([1], [0]))
np.tensordot(a, A, 2); np.einsum('ij,jk->ik', a, B); np.einsum('ij->j', a)
np.einsum('ij,ij->', a, a); np.einsum('bi,bj->bij', a, A); np.einsum('ii->i', square)
np.einsum('ii', square); np.einsum('ij,jk,kl->il', a, B, A); np.einsum('ij,kj', a, A)
np.einsum('bij,bjk->bik', a.reshape(2, 2, 3), A.reshape(2, 3, 2)); a.prod(); a.cumsum(0)
a.repeat(2); a.diagonal(); a.copy(); a.mT; a.astype('float64'); a.trace()
"""
CALLS = [call.strip() for line in CALLS.strip().splitlines() for call in line.split(";")]
NAMES = {"np": np, "A": A, "B": B, "WEIGHTS": WEIGHTS}


def function(call):
    of = "square" if "square" in call.replace("np.square", "") else "a"
    body = compile(call, "<call>", "eval")
    return (lambda x: eval(body, {**NAMES, of: x})), (SQUARE if of == "square" else A)


@pytest.mark.parametrize("call", CALLS)
def test_a_function_gives_numpys_numbers_and_its_gradient(call):
    f, x = function(call)
    with np.errstate(all="ignore"):
        want = f(x)
        with GradientTape() as tape:
            v = constant(x)
            tape.watch(v)
            y = f(v)
        assert y.shape == np.shape(want)
        np.testing.assert_allclose(y.numpy(), want, rtol=1e-12, atol=1e-14)
        if "a - a" not in call:
            assert pyact.check_grad(f, [x]) < 1e-7
        np.testing.assert_allclose(f(Variable(x)), want, rtol=1e-12, atol=1e-14)


def sorts(call):
    """Does it need the numbers?"""
    return any(word in call for word in ("sort", "median"))


@pytest.mark.parametrize("call", [c for c in CALLS if not sorts(c)])
def test_a_traced_function_gives_the_same(call):
    f, x = function(call)
    with np.errstate(all="ignore"):
        np.testing.assert_allclose(pyact.function(f)(x), f(x), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("call", [
    "np.sin(a)", "np.fft.fft(a)", "np.linalg.inv(square)", "np.linalg.det(square)", "np.cov(a)",
    "np.percentile(a, 50)", "np.interp(a, [0, 1], [0, 2])", "np.convolve(a[0], a[1])",
    "np.einsum('...j->...', a)", "np.sum(a, dtype=np.float64)", "np.linalg.norm(a, 3)",
    "np.nan_to_num(a)", "np.logaddexp.reduce(a)",
])  # fmt: skip
def test_what_has_no_operator_is_refused_and_names_the_line(call):
    f, x = function(call)
    with GradientTape(), pytest.raises(TypeError, match=r"<call>, line 1: np\."):
        f(Variable(x) * 1.0)


def test_what_is_not_chosen_has_no_say():
    """where hides a NaN that a product with 0 would let through."""
    v = Variable([-1.0, 4.0])
    with GradientTape() as tape, np.errstate(invalid="ignore"):
        y = np.where(np.asarray(v) > 0, np.sqrt(v), 0.0)
    assert y.numpy().tolist() == [0, 2]
    assert tape.gradient(y, v)[1] == 0.25


def test_comparisons_of_values():
    v, w = Variable([1.0, 2.0]), Variable([1.0, 3.0])
    with GradientTape():
        a, b = v * 1.0, w * 1.0
        assert (a == b).tolist() == [True, False] and (a != b).tolist() == [False, True]
        assert (a < b).tolist() == [False, True] and (a >= b).tolist() == [True, False]
        assert a.argmax() == 1 and a.any() and hash(a) == hash(a)
        assert (a == None) is False  # noqa: E711


@pytest.mark.parametrize("f", [
    lambda x, y: np.where(x > y, x, y), lambda x, y: np.where((x <= y) | (x > 2), y, -x),
    lambda x, y: np.where((x < y) & ~(x == y), 1.0, x * y), lambda x, y: np.sign(x - y) * x,
    lambda x, y: np.where(np.isnan(x), 0.0, x), lambda x, y: np.where(x != y, x, 5.0),
])  # fmt: skip
def test_conditions_on_values_are_part_of_a_trace(f):
    x = np.array([1.0, 2.0, 3.0, np.nan])
    y = np.array([2.0, 2.0, 2.0, 2.0])
    traced = pyact.function(f)
    for a, b in ((x, y), (y, x)):
        np.testing.assert_array_equal(traced(a, b), f(a, b))
    assert traced.traces == 1


def test_a_loss_with_a_condition_is_traced_by_fit():
    """Huber's loss, written with np.where, trains as the one that is built in."""

    def huber(t, p):
        e = np.abs(p - t)
        return np.mean(np.where(e <= 1.0, 0.5 * e * e, e - 0.5), axis=-1)

    x = np.random.default_rng(3).normal(size=(64, 3)).astype("f")
    t = (4 * x[:, :1] - 2).astype("f")
    found = []
    for loss in (huber, losses.Huber()):
        pyact.set_seed(1)
        model = pyact.Sequential([layers.Input((3,)), layers.Dense(5, "tanh"), layers.Dense(1)])
        model.compile(optimizers.SGD(0.1), loss)
        model.fit(x, t, epochs=5, verbose=0)
        found.append(model.get_weights())
    for a, b in zip(*found, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def test_the_documentation_lists_what_there_is():
    page = (ROOT / "docs" / "numpy_functions.md").read_text(encoding="utf-8")

    def listed(title):
        part = page.split(f"**{title}:**")[1].split("\n\n")[0].split(";")[0]
        return {word.strip(".").split(".")[-1] for word in re.findall(r"[\w.]+", part)}

    assert listed("Element by element") == {u.__name__ for u in _tensors._UFUNCS}
    assert listed("Functions") == {f.__name__ for f in _tensors._FUNCTIONS}
