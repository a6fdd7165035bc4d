"""What pyact must leave as it found it: rounding and denormal mode, floating-point flags apart,
signal handlers, the locale; and that results do not depend on them."""

from __future__ import annotations

import ctypes
import locale
import platform
import signal
import sys

import numpy as np
import pytest
from conftest import python

import pyact
from pyact import layers

x86 = platform.machine() in ("x86_64", "AMD64")
linux = sys.platform.startswith("linux")
modes = pytest.mark.skipif(not (linux and x86), reason="reads MXCSR by glibc's fegetenv")

ROUNDING, DENORMAL = 0x6000, 0x8040  # of MXCSR: bits 13-14; flush to zero, denormals are zero
CONTROL = 0xFFC0  # all of MXCSR but the flags


def mxcsr(new=None):
    """This thread's MXCSR; sets it when a new value is given."""
    libm = ctypes.CDLL("libm.so.6")
    env = (ctypes.c_uint32 * 8)()
    libm.fegetenv(env)
    if new is not None:
        old = env[7]
        env[7] = new
        libm.fesetenv(env)
        return old
    return env[7]


def everything(folder):
    """One call of each kind; returns the bits of what it gives."""
    found = []
    x = np.linspace(-2, 2, 70_000, dtype=np.float32)
    for f in (pyact.tanh, pyact.gelu, pyact.sigmoid_grad, pyact.softmax):
        found += [f(x), f(x[::3]), f(x.astype(np.float64))]
    pyact.set_seed(1)
    model = pyact.Sequential([layers.Dense(32, "tanh"), layers.Dropout(0.2), layers.Dense(2)])
    model.compile("adam", "mse")
    rows = x[: 16 * 256].reshape(256, 16)
    model.fit(rows, rows[:, :2], epochs=2, verbose=0)
    model.evaluate(rows, rows[:, :2], verbose=0)
    found += [model.predict(rows), model.compile_inference()(rows), *model.get_weights()]
    w = pyact.Variable(np.ones((2, 2), np.float32))
    with pyact.GradientTape() as tape:
        loss = np.sum(pyact.ops.matmul(w, w))
    found.append(tape.gradient(loss, w))
    model.save(folder / "m.safetensors")
    found += pyact.load_model(folder / "m.safetensors").get_weights()
    return [np.asarray(a).tobytes() for a in found]


def handlers():
    return {s: signal.getsignal(s) for s in signal.valid_signals()}


@modes
def test_modes_and_handlers_are_as_before(tmp_path):
    before, seen = mxcsr() & CONTROL, handlers()
    everything(tmp_path)
    assert mxcsr() & CONTROL == before
    assert handlers() == seen


@modes
@pytest.mark.parametrize("bits", [0, 0x2000, 0x4000, 0x6000, DENORMAL, DENORMAL | 0x2000])
def test_the_caller_s_mode_stays_his(bits, tmp_path):
    """Training and prediction run in it or in pyact's own; either way it is there afterwards."""
    old = mxcsr()
    asked = (old & ~(ROUNDING | DENORMAL)) | bits
    x = np.linspace(-2, 2, 70_000, dtype=np.float32)
    try:
        mxcsr(asked)
        pyact.tanh(x)
        after_ufunc = mxcsr() & CONTROL
        everything(tmp_path)
        after = mxcsr() & CONTROL
        with pytest.raises(ValueError):
            pyact.ops.matmul(np.ones((2, 3)), np.ones((2, 3)))
        after_error = mxcsr() & CONTROL
    finally:
        mxcsr(old)
    assert after_ufunc == after == after_error == asked & CONTROL


@modes
def test_a_changed_mode_is_noticed():
    old = mxcsr()
    mxcsr(old | DENORMAL)
    try:
        assert mxcsr() & CONTROL != old & CONTROL
    finally:
        mxcsr(old)


@modes
def test_import_changes_nothing():
    print(
        python(
            """
import ctypes, locale, os, signal, sys, threading
import numpy as np
from test_environment import mxcsr, CONTROL
libc = ctypes.CDLL(None)


def state():
    actions = []
    for number in range(1, 32):
        action = (ctypes.c_char * 256)()
        libc.sigaction(number, None, action)
        actions.append(action.raw[:16] + action.raw[136:140])  # handler, mask, flags
    return (mxcsr() & CONTROL, actions, locale.setlocale(locale.LC_ALL), os.getcwd(),
            threading.active_count(), dict(os.environ), np.geterr(), sys.getswitchinterval())


""".replace("from test_environment import mxcsr, CONTROL", SOURCE)
            + """
before = state()
import pyact
for a, b in zip(before, state()):
    assert a == b, (a, b)
pyact.tanh(np.linspace(-1, 1, 500_000))
assert state() == before
signal.signal(signal.SIGINT, signal.SIG_DFL)
assert state() != before  # it can fail
"""
        )
    )


SOURCE = """
CONTROL = 0xFFC0


def mxcsr():
    env = (ctypes.c_uint32 * 8)()
    ctypes.CDLL("libm.so.6").fegetenv(env)
    return env[7]
"""


def test_files_and_texts_do_not_depend_on_the_locale(tmp_path):
    """In a locale with a decimal comma: the same files, the same numbers."""
    here = locale.setlocale(locale.LC_ALL)
    commas = None
    for name in ("de_DE.UTF-8", "de_DE.utf8", "fr_FR.UTF-8", "German_Germany"):
        try:
            commas = locale.setlocale(locale.LC_ALL, name)
            break
        except locale.Error:
            continue
    locale.setlocale(locale.LC_ALL, here)
    if commas is None:
        pytest.skip("no locale with a decimal comma is installed")
    plain = everything(tmp_path)
    file = (tmp_path / "m.safetensors").read_bytes()
    locale.setlocale(locale.LC_ALL, commas)
    try:
        assert everything(tmp_path) == plain
        assert (tmp_path / "m.safetensors").read_bytes() == file
    finally:
        locale.setlocale(locale.LC_ALL, here)
