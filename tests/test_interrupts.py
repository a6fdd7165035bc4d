"""Ctrl-C inside one ufunc, one operator, one compiled function: answered within 100 ms.

Each case is a call of a second or more, alone in a process of its own; the signal comes from
this one. Times are those that the process computes (clock.py), so that a busy machine makes no
call late. A handler that does not raise must not change a bit of the result.

    python tests/test_interrupts.py      prints the waits
"""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import clock
import numpy as np
import pytest
from conftest import search_path

import pyact
from pyact import layers, ops

pytestmark = pytest.mark.skipif(
    sys.platform == "win32", reason="SIGINT cannot be sent to one process"
)
TESTS = Path(__file__).resolve().parent

# what comes before, and the call, of about a second on one thread of a fast machine
DENSE = """
model = pyact.Sequential([layers.Input((6000,)), layers.Dense(6000)])
fn = model.compile_inference()
x = np.ones((5000, 6000), np.float32)
"""
CALLS = {
    "ufunc": ("x = np.ones(60_000_000)", "pyact.mish(x)"),
    "ufunc of float16": ("x = np.ones(80_000_000, np.float16)", "pyact.gelu(x)"),
    "ufunc of rows": ("x = np.ones((100_000, 1200))[:, ::2]", "pyact.mish(x)"),
    "ufunc, out overlaps": ("x = np.ones(60_000_001)", "pyact.mish(x[:-1], out=x[1:])"),
    "matmul": ("x = np.ones((5000, 5000), np.float32)", "ops.matmul(x, x)"),
    "conv2d": (
        "x = np.ones((64, 160, 160, 64), np.float32); k = np.ones((3, 3, 64, 64), np.float32)",
        "ops.conv2d(x, k)",
    ),
    "conv2d, one image": (
        "x = np.ones((1, 1200, 1200, 64), np.float32); k = np.ones((3, 3, 64, 64), np.float32)",
        "ops.conv2d(x, k)",
    ),
    "lstm": (
        "x = np.ones((2048, 50, 64), np.float32); layer = layers.LSTM(256); layer(x[:1])",
        "layer(x)",
    ),
    "embedding": (
        "x = np.zeros(2_000_000, np.float32); table = np.ones((9, 256), np.float32)",
        "ops.embedding(table, x)",
    ),
    "concatenate": ("x = np.ones((1000, 250_000), np.float32)", "ops.concatenate([x, x], axis=1)"),
    "metric": (
        "x = np.full((20_000_000, 1), .3, np.float32)",
        "ops.metric_confusion_at_thresholds(x, x, n=200)",
    ),
    "tape, forward": (
        "x = pyact.Variable(np.ones((5000, 5000), np.float32))",
        "with pyact.GradientTape() as tape: y = x @ x",
    ),
    "tape, backward": (
        "x = pyact.Variable(np.ones((4000, 4000), np.float32))\n"
        "with pyact.GradientTape() as tape: y = ops.sum(x @ x)",
        "tape.gradient(y, x)",
    ),
    "function": (
        "x = np.ones((5000, 5000), np.float32)\nf = pyact.function(lambda a: a @ a)",
        "f(x)",
    ),
    "compiled model": (DENSE, "fn(x)"),
    "predict, one batch": (DENSE, "model.predict(x, batch_size=5000, verbose=0)"),
    "train_on_batch": (
        "model = pyact.Sequential([layers.Input((2000,)), layers.Dense(2000)])\n"
        "model.compile('sgd', 'mse')\nx = np.ones((12_000, 2000), np.float32)\n"
        "model.train_on_batch(x[:9], x[:9])",
        "model.train_on_batch(x, x)",
    ),
}
TWO_THREADS = ("ufunc of float16", "matmul", "conv2d", "lstm", "tape, backward")
PROGRAM = """
import json, signal, sys
import clock
import numpy as np
import pyact
from pyact import layers, ops
pyact.set_num_threads({threads})
{setup}
{handler}
start = clock.of()
ended = "by itself"
try:
    print(start, flush=True)
{call}
except KeyboardInterrupt:
    ended = clock.of()
took = clock.of() - start
after = float(np.sum(pyact.tanh(np.ones(1000))))
print(json.dumps([ended, took, bool(after > 0)]))
"""


def run(setup, call, threads, handler=""):
    """When the call ended, when the signal was sent, how long the call took."""
    call = "\n".join("    " + line for line in call.splitlines())
    program = PROGRAM.format(threads=threads, setup=setup, call=call, handler=handler)
    process = subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, cwd=TESTS,
        env={**os.environ, "PYTHONPATH": search_path(), **clock.ALONE},
    )  # fmt: skip
    try:
        sent = clock.wait_until(process, float(process.stdout.readline()) + 0.1 * threads)
        process.send_signal(signal.SIGINT)
        ended, took, works = json.loads(process.communicate(timeout=120)[0])
    finally:
        process.kill()
        process.wait()
    assert works
    return ended, sent, took


def answers(setup, call, threads=1, handler="", tries=3):
    # this process may be kept from sending what it has taken the time of; a wrong look is
    # late each time
    waits = []
    for _ in range(tries):
        ended, sent, took = run(setup, call, threads, handler)
        if isinstance(ended, str) and took < 0.3 * threads:
            pytest.skip(f"over after {took:.2f} s: too fast a machine to be interrupted here")
        waits.append(ended if isinstance(ended, str) else (ended - sent) / threads)
        if isinstance(waits[-1], float) and waits[-1] < 0.1:
            return
    pytest.fail(f"seconds from the signal to the exception: {waits}")


@pytest.mark.parametrize("name, threads", [*((name, 1) for name in CALLS),
                                           *((name, 2) for name in TWO_THREADS)])  # fmt: skip
def test_ctrl_c_inside_one_call(name, threads):
    answers(*CALLS[name], threads)


def test_no_answer_is_found():
    with pytest.raises(pytest.fail.Exception, match="by itself"):
        answers(*CALLS["matmul"], 1, "signal.signal(signal.SIGINT, lambda *a: None)", tries=1)
    with pytest.raises(pytest.fail.Exception, match=r"exception: \[[\d.]+"):  # NumPy does not look
        answers("x = np.full(5_000_000, 1.5, 'g')", "np.power(x, 1.37)", tries=1)


class Timer:
    """A handler that is called 10 ms after it last returned while the body runs."""

    def __init__(self, handler):
        self.handler, self.calls = handler, 0

    def on_alarm(self, *_):
        self.calls += 1
        self.handler(self.calls)
        signal.setitimer(signal.ITIMER_REAL, 0.01)

    def __enter__(self):
        self.before = signal.signal(signal.SIGALRM, self.on_alarm)
        signal.setitimer(signal.ITIMER_REAL, 0.01)
        return self

    def __exit__(self, *_):
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, self.before)


RNG = np.random.default_rng(0)
X = RNG.standard_normal(60_000_000, np.float32).astype(np.float16)
A = RNG.standard_normal((3600, 3600), np.float32)
HERE = {"ufunc": lambda: pyact.gelu(X), "matmul": lambda: ops.matmul(A, A)}


@pytest.fixture(params=[1, 2])
def threads(request):
    before = pyact.get_num_threads()
    pyact.set_num_threads(request.param)
    yield request.param
    pyact.set_num_threads(before)


@pytest.mark.parametrize("name", HERE)
def test_a_handler_that_returns_changes_nothing(name, threads):
    """The handler itself computes, in another rounding of denormals: the call goes on."""
    want = HERE[name]()
    small = pyact.tanh(np.linspace(-3, 3, 100_000))
    seen = []

    def handler(_):
        seen.append(np.array_equal(pyact.tanh(np.linspace(-3, 3, 100_000)), small))
        seen.append(np.float32(1e-40) * np.float32(0.5) > 0)  # not flushed to zero
        seen.append(ops.matmul(A[:300], A).shape == (300, 3600))

    with Timer(handler) as timer:
        got = HERE[name]()
        looked = timer.calls
    assert looked >= 1 and all(seen)
    np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize("name", HERE)
def test_what_a_handler_raises_comes_out_unchanged(name, threads):
    error = LookupError("mine")

    def handler(calls):
        if calls == 1:
            raise error

    want = HERE[name]()
    start = time.perf_counter()
    got = None
    with pytest.raises(LookupError) as caught, Timer(handler):
        got = HERE[name]()
    assert caught.value is error and got is None
    assert time.perf_counter() - start < 10
    np.testing.assert_array_equal(HERE[name](), want)  # and the next call is whole


def test_an_interrupted_step_changes_no_weight():
    model = pyact.Sequential([layers.Input((len(A),)), layers.Dense(len(A))])
    model.compile("adam", "mse")
    model.train_on_batch(A, A)
    before, steps = model.get_weights(), model.optimizer.iterations

    def handler(calls):
        raise LookupError

    with pytest.raises(LookupError), Timer(handler):
        for _ in range(100):
            before, steps = model.get_weights(), model.optimizer.iterations
            model.train_on_batch(A, A)
    whole = model.optimizer.iterations - steps
    same = [np.array_equal(a, b) for a, b in zip(model.get_weights(), before)]
    assert (whole == 0 and all(same)) or (whole == 1 and not any(same))


def main():
    """Prints how long each call takes to answer, of how long it takes at all."""
    for name in CALLS:
        for threads in (1, 2):
            ended, sent, _ = run(*CALLS[name], threads)
            waited = "not"
            if not isinstance(ended, str):
                waited = f"{1e3 * (ended - sent) / threads:.0f} ms"
            free = run(*CALLS[name], threads, "signal.signal(signal.SIGINT, lambda *a: None)")[2]
            print(f"{name:24} {threads} threads: {waited:8} of {free / threads:.2f} s")


if __name__ == "__main__":
    main()
