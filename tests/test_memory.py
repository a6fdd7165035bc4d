"""Memory: what a call takes it gives back, on success and on every error path; a process stays as
large as it was; when there is none left, MemoryError.

`python tests/test_memory.py` runs the long version: 1000 repeats of each call and of each error of
all that is registered, 10^6 predictions, 10^7 calls of `compile_inference`'s function and 10^5
fits. PYACT_TEST_BIG=1 maps files of 10 GB."""

from __future__ import annotations

import ctypes
import gc
import os
import re
import sys
import tempfile
import tracemalloc

import everything
import numpy as np
import pytest
from conftest import python, run, search_path

import pyact
from pyact import layers, ops

glibc = pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="reads glibc's malloc and /proc"
)


class Mallinfo(ctypes.Structure):
    _fields_ = [(name, ctypes.c_size_t) for name in (
        "arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks", "uordblks",
        "fordblks", "keepcost")]  # fmt: skip


def allocated():
    """Bytes that malloc has given away, and blocks that Python's allocator has."""
    libc = ctypes.CDLL(None)
    libc.mallinfo2.restype = Mallinfo
    found = libc.mallinfo2()
    return found.uordblks + found.hblkhd, sys.getallocatedblocks()


def resident():
    """Bytes of this process that are in memory."""
    with open("/proc/self/statm") as f:
        return int(f.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


# ---- the calls --------------------------------------------------------------------------------


def small():
    pyact.set_seed(1)
    model = pyact.Sequential([layers.Dense(8, "tanh"), layers.Dense(2)])
    model.compile("adam", "mse", metrics=["mae"])
    model.build((None, 4))
    return model


X = np.linspace(-1, 1, 64, dtype=np.float32).reshape(16, 4)
Y = X[:, :2].copy()


def successes(folder):
    model = small()
    fast = model.compile_inference()
    w = pyact.Variable(np.ones((3, 3), np.float32))
    path = os.path.join(folder, "m")
    model.save(path)
    square = pyact.function(lambda v: np.sum(v * v))
    out, wide = np.empty_like(X), X.astype(np.float64)
    adam = pyact.optimizers.Adam()

    def taped():
        with pyact.GradientTape() as tape:
            loss = np.sum(np.tanh(w @ w))
        adam.apply_gradients([(tape.gradient(loss, w), w)])

    return {
        "ufunc": lambda: pyact.tanh(X),
        "ufunc with out": lambda: pyact.gelu(X, out=out),
        "ufunc of float64, strided": lambda: pyact.softplus(wide[::2, ::-1]),
        "ufunc with a parameter": lambda: pyact.elu(X, alpha=0.5),
        "ufunc of a list": lambda: pyact.sigmoid([1.0, 2.0]),
        "softmax": lambda: pyact.softmax(X, axis=0),
        "operator": lambda: ops.matmul(X, X.T),
        "operator with attributes": lambda: ops.dense(X, X.T, activation="relu"),
        "call": lambda: model(X),
        "predict": lambda: model.predict(X),
        "predict in batches": lambda: model.predict(X, batch_size=5),
        "compile_inference's function": lambda: fast(X),
        "fit": lambda: model.fit(X, Y, epochs=1, verbose=0),
        "train_on_batch": lambda: model.train_on_batch(X, Y),
        "evaluate": lambda: model.evaluate(X, Y, verbose=0),
        "tape and optimizer": taped,
        "value_and_grad": lambda: pyact.value_and_grad(lambda v: np.sum(v * v))(X),
        "traced function": lambda: square(X),
        "weights": lambda: model.set_weights(model.get_weights()),
        "save": lambda: model.save(path),
        "load": lambda: pyact.load_model(path),
        "a model": lambda: small(),
        "initializer": lambda: pyact.initializers.GlorotUniform(seed=1)((4, 4)),
    }


def errors(folder):
    model = small()
    fast = model.compile_inference()
    torn = os.path.join(folder, "torn")
    with open(torn, "wb") as f:
        f.write(b"\x10\0\0\0\0\0\0\0{not json       ")
    w = pyact.Variable(np.ones(3, np.float32))

    def tape_of_an_array():
        with pyact.GradientTape() as tape:
            tape.watch(X)

    def wrong_target():
        with pyact.GradientTape() as tape:
            loss = w * 2.0
        tape.gradient(loss, X)

    def callback():
        class Stop(pyact.callbacks.Callback):
            def on_train_batch_end(self, batch, logs=None):
                raise KeyError("stop")

        model.fit(X, Y, verbose=0, callbacks=[Stop()])

    return {
        "ufunc of strings": lambda: pyact.tanh(["a"]),
        "ufunc, out of a wrong shape": lambda: pyact.tanh(X, out=np.empty(3, np.float32)),
        "ufunc, unknown keyword": lambda: pyact.elu(X, beta=1),
        "ufunc, parameter of a wrong type": lambda: pyact.elu(X, alpha="b"),
        "operator, shapes": lambda: ops.matmul(X, X),
        "operator, too few": lambda: ops.matmul(X),
        "operator, unknown attribute": lambda: ops.softmax(X, axle=1),
        "operator, wrong activation": lambda: ops.dense(X, X.T, activation="nothing"),
        "operator, wrong dtype": lambda: ops.matmul(X, np.ones((4, 2), complex)),
        "predict, shape": lambda: model.predict(X[:, :3]),
        "inference, shape": lambda: fast(X[:, :3]),
        "inference, out": lambda: fast(X, out=np.empty((1, 1), np.float32)),
        "inference, argument": lambda: fast(X, outt=None),
        "fit, rows": lambda: model.fit(X, Y[:3], verbose=0),
        "fit, targets": lambda: model.fit(X, X, verbose=0),
        "fit, not finite": lambda: model.fit(X * np.float32(np.nan), Y, verbose=0),
        "fit, in a callback": callback,
        "evaluate without data": lambda: model.evaluate(X[:0], Y[:0], verbose=0),
        "tape, watch": tape_of_an_array,
        "tape, source": wrong_target,
        "value_and_grad, shape": lambda: pyact.value_and_grad(lambda v: v * v)(X),
        "trace": lambda: pyact.function(lambda v: np.sinc(v))(X),
        "weights": lambda: model.set_weights([X]),
        "load, damaged": lambda: pyact.load_model(torn),
        "load, nowhere": lambda: pyact.load_model(os.path.join(folder, "nowhere")),
        "save, nowhere": lambda: model.save(os.path.join(folder, "nowhere", "m")),
        "layer": lambda: layers.Dense(-1),
        "optimizer": lambda: pyact.optimizers.Adam(learning_rate=-1),
    }


def fails(call):
    def one():
        try:
            call()
        except (TypeError, ValueError, OSError, KeyError, FloatingPointError):
            return
        raise AssertionError("expected an exception")

    return one


def growth(call, repeats, warm=20):
    """By how much a call leaves malloc (bytes) and Python (blocks) larger, over the repeats, and
    the reference counts of its arguments."""

    def state():
        gc.collect()
        return *allocated(), sys.getrefcount(X) + sys.getrefcount(Y)

    for _ in range(warm):
        call()
    first = state()
    for _ in range(repeats):
        call()
    return [b - a for a, b in zip(first, state(), strict=True)]


def level(call, repeats=1000, tries=3):
    """Asserts that less than 10 bytes and a sixth of a block are left for each call, and no
    reference; caches may still fill, so a call has some tries."""
    for _ in range(tries):
        size, blocks, references = growth(call, repeats)
        if size < 10 * repeats and blocks < repeats / 6 and references == 0:
            return
    raise AssertionError(
        f"{size} bytes, {blocks} blocks and {references} references are left by {repeats} calls"
    )


@glibc
@pytest.mark.parametrize("name", list(successes(tempfile.gettempdir())))
def test_a_call_leaves_nothing(name, tmp_path):
    call = successes(tmp_path)[name]
    level(call)


@glibc
@pytest.mark.parametrize("name", list(errors(tempfile.gettempdir())))
def test_a_failed_call_leaves_nothing(name, tmp_path):
    call = fails(errors(tmp_path)[name])
    level(call)


KINDS = sorted({name.split()[0] for name in everything.ENTRIES})


def left_by_everything(kind, repeats):
    """Complaints of `level` about each operator, class and function of a kind."""
    complaints = []
    for name, make in everything.ENTRIES.items():
        if name.split()[0] != kind:
            continue
        entry = make()
        for how, call in (("works", entry.ok), ("fails", fails(entry.bad))):
            try:
                level(call, repeats, tries=12)
            except AssertionError as error:
                complaints.append(f"{name}, which {how}: {error}")
    return complaints


@glibc
@pytest.mark.parametrize("kind", KINDS)
def test_nothing_that_is_registered_leaves_anything(kind):
    assert not left_by_everything(kind, 40)


@glibc
def test_a_leak_in_what_is_registered_is_found(monkeypatch):
    kept = []
    entry = everything.Entry(lambda: None, lambda: kept.append(object()) or int("x"))
    monkeypatch.setattr(everything, "ENTRIES", {"ufunc leak": lambda: entry})
    (found,) = left_by_everything("ufunc", 40)
    assert "ufunc leak, which fails" in found


@glibc
def test_a_leak_is_found():
    libc = ctypes.CDLL(None)
    libc.malloc.restype = ctypes.c_void_p
    with pytest.raises(AssertionError, match="bytes"):
        level(lambda: libc.malloc(16))
    kept = []
    with pytest.raises(AssertionError, match=r"[1-9]\d+ blocks and 0"):
        level(lambda: kept.append(object()))
    with pytest.raises(AssertionError, match="1000 references"):
        level(lambda: kept.append(X))
    with pytest.raises(AssertionError, match="expected an exception"):
        fails(lambda: None)()


# ---- a process that goes on for long -----------------------------------------------------------


def grown(count, call):
    """By how many bytes the process is larger after so many calls; the first are to warm up."""
    for _ in range(min(count, 500)):
        call()
    gc.collect()
    before = resident()
    for _ in range(count):
        call()
    gc.collect()
    return resident() - before


def goes_on(predictions, calls, fits):
    model = small()
    fast, row = model.compile_inference(), X[:1]
    result = np.empty((1, 2), np.float32)
    return [
        grown(predictions, lambda: model.predict(row)),
        grown(calls, lambda: fast(row, out=result)),
        grown(fits, lambda: model.fit(X, Y, epochs=1, batch_size=16, verbose=0)),
    ]


LITTLE = 1 << 20  # bytes


@glibc
def test_a_process_stays_as_large():
    assert max(goes_on(30_000, 30_000, 1_000)) < LITTLE


@glibc
def test_a_process_that_grows_is_found():
    kept, lost, libc = [], [], ctypes.CDLL(None)
    libc.malloc.restype = libc.memset.restype = ctypes.c_void_p
    libc.memset.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_size_t]
    libc.free.argtypes = [ctypes.c_void_p]
    large = 40 << 20  # never had from what was free already
    assert grown(3, lambda: kept.append(np.ones(large, np.uint8))) > LITTLE
    assert grown(3, lambda: lost.append(libc.memset(libc.malloc(large), 1, large))) > LITTLE
    for memory in lost:
        libc.free(memory)


TAPES = """
import resource
import numpy as np
from pyact import _core

def run(x):
    tape = _core.Tape()
    y = tape.leaf(x)
    z = tape.apply("sum", (tape.apply("multiply", (y, y)),))
    tape.gradient(z, (y,))

def now():
    usage = resource.getrusage(resource.RUSAGE_SELF)
    with open("/proc/self/statm") as f:
        return usage.ru_minflt, int(f.read().split()[1]) * resource.getpagesize() >> 20

x = np.ones(1 << 20, np.float32)
run(x)
begun = now()
for _ in range(10):
    run(x)
print(now()[0] - begun[0])
for k in range(40):
    run(np.ones((1 << 20) + 4096 * k, np.float32))
print(now()[1] - begun[1])
"""


@glibc
def test_a_tape_s_buffers_serve_the_next_and_64_mb_of_them_are_kept():
    """Each step takes three buffers of 4 MB, which the system would give page by page; and
    forty sizes of them do not add up."""
    # a threshold of one's own: else glibc, too, keeps what has been freed, now and then
    faults, grown = map(int, python(TAPES, MALLOC_MMAP_THRESHOLD_="100000").split())
    assert faults < 300  # 50 000 without
    assert grown < 100


@glibc
@pytest.mark.thread_unsafe(reason="tracemalloc counts for all threads")
def test_compiled_inference_allocates_nothing():
    """Nothing of Python's or NumPy's either; of the core's, see test_allocations.py."""
    row, out = np.ones((1, 4), np.float32), np.empty((1, 2), np.float32)
    for batch in (None, 1):
        fast = small().compile_inference(batch)

        def taken(call):
            call()
            tracemalloc.reset_peak()
            before = tracemalloc.get_traced_memory()[0]
            call()
            return tracemalloc.get_traced_memory()[1] - before

        tracemalloc.start()
        try:
            kept = bytearray(1000)  # so that tracemalloc's own numbers are objects
            base = taken(lambda kept=kept: len(kept))
            assert taken(lambda fast=fast: fast(row, out)) <= base
            assert taken(lambda fast=fast: fast(row)) > base  # the check can fail
        finally:
            tracemalloc.stop()


# ---- data in a file, larger than memory ---------------------------------------------------------

MAPPED = """
import resource, sys
import numpy as np
import pyact
from pyact import layers

path, dtype, rows, width, room = sys.argv[1:]
rows, width = int(rows), int(width)
pyact.set_num_threads(1)  # a thread's stack would count
x = np.memmap(path, dtype, "r", shape=(rows, width))
y = np.memmap(path, dtype, "r", shape=(rows, 1))
model = pyact.Sequential([layers.Input((width,)), layers.Dense(4, "relu"), layers.Dense(1)])
model.compile(pyact.optimizers.SGD(0.01), "mse")


def everything(x, y):
    model.fit(x, y, batch_size=256, epochs=1, shuffle=False, verbose=0)
    model.fit(x, y, batch_size=256, epochs=1, shuffle=True, verbose=0)
    return model.evaluate(x, y, batch_size=256, verbose=0), model.predict(x, batch_size=256)


everything(x[:1000], y[:1000])
with open("/proc/self/status") as f:
    held = int(next(line for line in f if line.startswith("VmData:")).split()[1]) << 10
resource.setrlimit(resource.RLIMIT_DATA, (held + int(room), -1))
loss, found = everything(x, y)
assert len(found) == rows and np.isfinite(loss)
try:
    np.array(x)
except MemoryError:
    print("done")
"""


@glibc
@pytest.mark.parametrize(
    "dtype", ["float32", "float64", "float16", "uint8", "int8", "int16", "int32", "int64", "bool"]
)
def test_a_mapped_file_is_read_in_place(dtype, tmp_path):
    """The process may have 16 bytes a row beside what it has, and 16 MB: room for the shuffled
    order and the predictions, but not for a seventh of the file."""
    big = os.environ.get("PYACT_TEST_BIG") == "1"
    row, size = 8192, (10 << 30 if big else 128 << 20)
    path = tmp_path / "x"
    with open(path, "wb") as f:
        f.truncate(size)  # zeros that take no room
    rows, room = size // row, 16 * (size // row) + (16 << 20)
    width = row // np.dtype(dtype).itemsize
    code = ["-c", MAPPED, path, dtype, rows, width, room]
    done = run([sys.executable, *code], 1200, PYTHONPATH=search_path())
    assert done.split() == ["done"]


# ---- no memory left ----------------------------------------------------------------------------

LIMITED = """
import resource
import numpy as np
import pyact
from pyact import layers, ops

x = np.zeros((1000, 1000), np.float32)
model = pyact.Sequential([layers.Dense(10)])
model.compile("adam", "mse")
model.build((None, 1000))
want = model.predict(x[:8])
with open("/proc/self/statm") as f:
    now = int(f.read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (now + (256 << 20), -1))


def refused(call):
    try:
        call()
    except MemoryError:
        assert np.array_equal(model.predict(x[:8]), want)
        return
    raise AssertionError("expected a MemoryError")


wide = np.broadcast_to(np.float32(1), (1 << 28,))
refused(lambda: pyact.tanh(wide))
refused(lambda: ops.matmul(np.broadcast_to(x[:, :1], (1000, 1)).repeat(20, 0), np.ones((1, 20000),
                                                                                      np.float32)))
refused(lambda: pyact.Sequential([layers.Dense(300000)]).build((None, 1000)))
deep = pyact.Sequential([layers.Dense(100000), layers.Dense(1)])
deep.compile("sgd", "mse")
deep.build((None, 8))
before = [w.copy() for w in deep.get_weights()]
rows = np.zeros((2000, 8), np.float32)
refused(lambda: deep.fit(rows, rows[:, :1], batch_size=2000, verbose=0))
assert all(np.array_equal(a, b) for a, b in zip(before, deep.get_weights()))
refused(lambda: deep.predict(rows, batch_size=2000))
deep.fit(rows[:4], rows[:4, :1], verbose=0)  # and with less it works
assert np.isfinite(deep.predict(rows[:4])).all()
print("done")
"""


@glibc
def test_no_address_space_is_a_memory_error():
    assert python(LIMITED).split() == ["done"]


@glibc
@pytest.mark.parametrize("fault, said", [
    ("pyact.tanh = lambda x: x[:0]", "expected a MemoryError"),  # a failure taken for a result
    ("pyact.Sequential.fit = lambda self, *a, **k: (self.weights[0].fill(9), fit(self, *a, **k))",
     "zip(before"),  # a changed weight
])  # fmt: skip
def test_a_fault_when_no_address_space_is_left_is_found(fault, said):
    start = "x = np.zeros((1000, 1000)"
    assert LIMITED.count(start) == 1
    kept = "fit = pyact.Sequential.fit\n"
    with pytest.raises(pytest.fail.Exception, match=re.escape(said)):
        python(LIMITED.replace(start, kept + fault + "\n" + start))


if __name__ == "__main__":
    left = [text for kind in KINDS for text in left_by_everything(kind, 1000)]
    print(f"{2 * len(everything.ENTRIES)} calls of 1000 repeats, {len(left)} complaints", *left,
          sep="\n", flush=True)  # fmt: skip
    print("bytes grown by 10^6 predict, 10^7 compile_inference calls, 10^5 fits:",
          goes_on(1_000_000, 10_000_000, 100_000))  # fmt: skip
