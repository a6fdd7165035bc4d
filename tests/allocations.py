"""Public calls with each allocation of the C core failing in turn.

    python tests/allocations.py               # every allocation of every call, two ways
    python tests/allocations.py --registered [--every N]    # the same for all that is registered
    python tests/allocations.py --python      # the same for Python's own, in three calls
    python tests/allocations.py --core        # and in the functions of the module itself
    python tests/allocations.py --plant NAME  # with a bug in the check's subject: must fail

`shim/memory.c`, built here and preloaded, makes the n-th allocation that the extension module
makes fail: once, or from there on for good. That is tried for each n until a run comes to its
end without it. Whatever fails, the call raises MemoryError, or does without; no memory stays
allocated, what the call works on is as it was before, bit by bit, and the same call then
succeeds with the result that it has without a failure.
"""

from __future__ import annotations

import ctypes
import gc
import importlib.util
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import everything
import numpy as np

import pyact
from pyact import _core, layers, ops

HERE = Path(__file__).resolve().parent


def build(folder):
    """The preloaded library, made from its source."""
    path = os.path.join(folder, "memory.so")
    cc = os.environ.get("CC", "cc").split()
    subprocess.run([*cc, "-std=gnu11", "-O1", "-shared", "-fPIC", HERE / "shim" / "memory.c",
                    "-o", path, "-lpthread"], check=True)  # fmt: skip
    return path


def code_of(module):
    """Where the module's code is mapped: [from, to)."""
    path = os.path.realpath(module.__file__)
    maps = Path("/proc/self/maps").read_text().splitlines()
    lines = [line.split() for line in maps if line.endswith(path)]
    spans = [[int(x, 16) for x in fields[0].split("-")] for fields in lines if "x" in fields[1]]
    return min(a for a, _ in spans), max(b for _, b in spans)


class Shim:
    def __init__(self, path):
        self.lib = ctypes.CDLL(path)
        for name in ("disarm", "hits", "live", "lost", "hit"):
            getattr(self.lib, f"memory_{name}").restype = ctypes.c_long
        self.lib.memory_of(*map(ctypes.c_size_t, code_of(_core)))

    def run(self, call, nth, for_good):
        """What call() returned or raised with the nth allocation failing."""
        found = raised = None
        self.lib.memory_arm(ctypes.c_long(nth), for_good)
        try:
            found = call()
        except Exception as caught:
            raised = caught.with_traceback(None)
            raised.__context__ = raised.__cause__ = None
        finally:
            self.calls = self.lib.memory_disarm()
        return found, raised

    hits = property(lambda self: self.lib.memory_hits())
    live = property(lambda self: self.lib.memory_live())


# ---- what is called ----------------------------------------------------------------------------

RNG = np.random.default_rng(0)
X = RNG.standard_normal((12, 6)).astype(np.float32)
Y = RNG.standard_normal((12, 3)).astype(np.float32)
IMAGES = RNG.standard_normal((4, 8, 8, 2)).astype(np.float32)
SERIES = RNG.standard_normal((4, 5, 3)).astype(np.float32)


class Calls:
    """The methods are calls; each works on `self.model` and others of __init__."""

    def __init__(self):
        pyact.set_seed(1)
        self.model = pyact.Sequential(
            [layers.Input((6,)), layers.Dense(5, "tanh"), layers.Dropout(0.2), layers.Dense(3)]
        )
        self.model.compile("adam", "mse", ["mae"])
        self.weight = pyact.Variable(RNG.standard_normal((6, 4)).astype(np.float32) * 0 + 0.5)

    def state(self):
        """What no failing call may change."""
        optimizer = self.model.optimizer
        return [*self.model.get_weights(), self.weight.numpy(), np.int64(optimizer.iterations)]

    def ufunc(self):
        return pyact.gelu(X)

    def matmul(self):
        return ops.matmul(X, X.T)

    def softmax(self):
        return ops.softmax(X)

    def reduction(self):
        return ops.sum(X, axis=0)

    def convolution(self):
        return ops.conv2d(IMAGES, np.ones((3, 3, 2, 4), np.float32))

    def tape(self):
        with pyact.GradientTape() as tape:
            loss = ops.mean(ops.tanh(X @ self.weight) ** 2)
        return tape.gradient(loss, self.weight)

    def tape_persistent(self):
        with pyact.GradientTape(persistent=True) as tape:
            hidden = X @ self.weight
            loss = ops.sum(hidden * hidden)
        return [tape.gradient(loss, self.weight), tape.gradient(hidden, self.weight)]

    def check_grad(self):
        return pyact.check_grad(lambda a: ops.sum(ops.tanh(a)), [X[:2].astype(np.float64)])

    def value_and_grad(self):
        return pyact.value_and_grad(lambda a: ops.sum(ops.tanh(a) * a))(X)

    def value_and_grad_of_nothing(self):
        return pyact.value_and_grad(lambda a, b: ops.sum(a * a), argnums=(0, 1))(X, Y)

    def function(self):
        return pyact.function(lambda a: ops.relu(a @ np.ones((6, 2), np.float32)))(X)

    def call(self):
        return self.model(X)

    def predict(self):
        return self.model.predict(X, 5, verbose=0)

    def evaluate(self):
        return self.model.evaluate(X, Y, 5, verbose=0)

    def fit(self):
        self.model.fit(X, Y, 5, 2, verbose=0)
        return self.model.get_weights()

    def train_on_batch(self):
        self.model.train_on_batch(X, Y)
        return self.model.get_weights()

    def compile_inference(self):
        fn = self.model.compile_inference()
        return [fn(X), fn(X[:1])]

    def compile_inference_of_a_batch(self):
        rows = np.repeat(X, 2, axis=0)
        return self.model.compile_inference(len(rows))(rows)

    def recurrent(self):
        pyact.set_seed(2)
        model = pyact.Sequential([layers.Bidirectional(layers.LSTM(4)), layers.Dense(1)])
        model.compile("rmsprop", "mse")
        model.fit(SERIES, Y[:4, :1], 2, 1, verbose=0)
        return model.predict(SERIES, verbose=0)

    def images(self):
        pyact.set_seed(2)
        model = pyact.Sequential([
            layers.Conv2D(3, 3, activation="relu", padding="same"), layers.BatchNormalization(),
            layers.MaxPooling2D(), layers.Flatten(), layers.Dense(2),
        ])  # fmt: skip
        optimizer = pyact.optimizers.SGD(0.01, momentum=0.9, clipnorm=1.0)
        model.compile(optimizer, pyact.losses.SparseCategoricalCrossentropy(from_logits=True))
        model.fit(IMAGES, np.arange(4) % 2, 2, 1, verbose=0)
        return model.predict(IMAGES, verbose=0)

    def feedback(self):
        pyact.set_seed(2)
        model = pyact.Sequential([layers.Feedback(layers.Dense(3), return_sequences=True)])
        model.compile("sgd", "mse")
        model.fit(SERIES, SERIES, 2, 1, verbose=0)
        return model.predict(SERIES, verbose=0)

    def fixed_point(self):
        pyact.set_seed(2)
        loop = layers.Feedback(layers.Dense(3, "tanh"), "sum", passes=9, tolerance=1e-2)
        model = pyact.Sequential([layers.Dense(3), loop])
        model.compile("sgd", "mse")
        model.fit(Y, Y, 6, 1, verbose=0)
        with pyact.GradientTape() as tape:
            loss = ops.sum(loop(Y))
        return [*tape.gradient(loss, loop.trainable_weights), *model.get_weights()]

    def save_and_load(self):
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "m.safetensors")
            self.model.save(path)
            return pyact.load_model(path).get_weights()

    def copy(self):
        import copy

        return copy.deepcopy(self.model).get_weights()


NAMES = [name for name in vars(Calls) if name[0] != "_" and name != "state"]


def flat(x):
    """Whatever a call returns, as bytes."""
    if isinstance(x, dict):
        x = list(x.values())
    if isinstance(x, list | tuple):
        return b"|".join(map(flat, x))
    return np.asarray(x).tobytes()


# ---- the check ---------------------------------------------------------------------------------


class Registered:
    """One of everything that is registered, as an object like Calls."""

    def __init__(self, name):
        self.entry = everything.ENTRIES[name]()

    def state(self):
        return self.entry.state()

    def run(self):
        return self.entry.ok()


def new(name):
    return Registered(name) if name in everything.ENTRIES else Calls()


def call_of(one, name):
    return one.run if isinstance(one, Registered) else getattr(one, name)


def attempt(shim, name, nth, for_good):
    """One call with one failure: what is wrong with it, and whether there was a failure."""
    one = new(name)
    before = flat(one.state())
    gc.collect()
    live = shim.live
    found, raised = shim.run(call_of(one, name), nth, for_good)
    hits = shim.hits
    wrong = []
    if raised is not None and not (hits and isinstance(raised, MemoryError)):
        wrong.append(f"raised {raised!r}")
    if raised is not None and flat(one.state()) != before:
        wrong.append("the model is not as it was")
    again = found if raised is None else call_of(one, name)()
    if flat(again) != WANTED[name]:
        wrong.append("the result is another one")
    del found, again, raised, one
    gc.collect()
    if shim.live > live - MODEL[name]:
        wrong.append(f"{shim.live - live + MODEL[name]} allocations are left")
    return wrong, hits


WANTED, MODEL = {}, {}


def prepare(shim, name):
    """The result without a failure, what stays cached, and the size of Calls() itself."""
    for _ in range(3):
        one = new(name)
        WANTED[name] = flat(call_of(one, name)())
        del one
    gc.collect()
    live = shim.live
    one = new(name)
    one.state()
    gc.collect()
    MODEL[name] = shim.live - live
    del one


def sweep(shim, names=NAMES):
    """Complaints, and the number of runs in which an allocation failed."""
    complaints, runs = [], 0
    for name in names:
        prepare(shim, name)
        for for_good in (False, True):
            nth = 0
            while True:
                wrong, hits = attempt(shim, name, nth, for_good)
                site = f"+{shim.lib.memory_hit():#x}"
                complaints += [
                    f"{name}, allocation {nth} ({site}) {'for good' * for_good}: {w}" for w in wrong
                ]
                runs += bool(hits)
                if not hits or len(complaints) > 50:
                    break
                nth += 1
    return complaints, runs


# ---- Python's own allocations ------------------------------------------------------------------


def attempt_in_python(fail, name, nth):
    """The same with Python's nth allocation failing, wherever it is: (complaints, raised).

    NumPy and the interpreter turn some of these into SystemError. A step may be over, and whole,
    when what it returns cannot be made.
    """
    one = Calls()
    before, raised, found = flat(one.state()), None, None
    gc.collect()
    try:
        fail.set_nomemory(nth, nth + 1)
        found = getattr(one, name)()
    except (MemoryError, SystemError) as caught:
        raised = caught
    finally:
        fail.remove_mem_hooks()
    if raised is None:
        return ["the result is another one"] * (flat(found) != WANTED[name]), False
    if flat(one.state()) not in (before, AFTER[name]):
        return ["the model is neither as it was nor a step further"], True
    if flat(one.state()) == before and flat(getattr(one, name)()) != WANTED[name]:
        return ["the next result is another one"], True
    return [], True


AFTER = {}


def sweep_python(names=("matmul", "predict", "train_on_batch")):
    """Complaints, and the number of runs in which an allocation failed."""
    import _testcapi

    complaints, runs = [], 0
    for name in names:
        for _ in range(3):
            one = Calls()
            WANTED[name], AFTER[name] = flat(getattr(one, name)()), flat(one.state())
        nth, passed = 1, 0
        while passed < 20:  # some are dealt with: 20 in a row are the end
            wrong, raised = attempt_in_python(_testcapi, name, nth)
            complaints += [f"{name}, Python's allocation {nth}: {w}" for w in wrong]
            runs, passed = runs + raised, 0 if raised else passed + 1
            nth += 1
    return complaints, runs


# ---- the module's own functions ----------------------------------------------------------------

TALL = RNG.standard_normal((300, 3)).astype(np.float32)  # more than Python's small numbers
WIDE = TALL.astype(np.float64)


def core_import():
    """A second copy of the module, made and run."""
    spec = importlib.util.spec_from_file_location(_core.__name__, _core.__file__)
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    return [made.gelu(TALL), made.apply("tanh", (TALL,))]


def core_names():
    found = [_core.isa(), _core.tables(), _core.op_names(), _core.get_num_threads()]
    infos = [_core.op_info(name) for name in ("conv2d", "lstm", "add")]
    return repr([*found, *infos]).encode()


def core_ufuncs():
    return sorted(_core.ufuncs("base"))


def core_block():
    block = _core.Block("float32", 1000)
    block.view(4, (300, 3))[:] = 1
    _core.OptimizerState("opt_adam").slot(block, 1)
    return [block.view(0, 1000), block.size, str(block.dtype)]


def core_shuffle():
    order = np.empty(300, np.int64)
    _core.shuffle(order, 1, 2)
    return order


def core_apply():
    mixed = _core.apply("add", (TALL, WIDE))
    halves = _core.apply("multiply", (TALL.astype(np.float16), 2.5))
    summed = _core.apply("sum", (TALL.tolist(),), {"axis": (0, 1), "keepdims": True})
    weights = np.ones((3, 8), np.float32), np.ones((2, 8), np.float32), np.ones(8, np.float32)
    return [mixed, halves, summed, *_core.apply("lstm", (SERIES, *weights))][:4]


def core_keyword():
    elu = _core.KeywordUfunc(_core.elu, _core.defaults["elu"], "alpha")
    elu.note = repr(elu)
    name = "".join(["al", "pha"])
    return [elu(TALL), elu(TALL, alpha=2.0), elu(TALL, dtype=TALL.dtype, **{name: 2})]


WEIGHT = pyact.Variable(TALL)


def core_weight():
    graph = _core.Graph()
    y, moving = graph.apply("settle", (WEIGHT, graph.apply("tanh", (WEIGHT,))))
    program = _core.Program(graph, outputs=(y, moving))
    return [*_core.execute(program, ()), _core.apply("tanh", (WEIGHT,)), repr(y.shape).encode()]


def core_graph(clip="global_norm"):
    """Recording, compiling, and running."""
    block, graph = _core.Block("float32", 4 * 16), _core.Graph()
    block.view(0, 64)[:] = 0.5
    x = graph.input((4, 3), "float32")
    kernel = graph.param(block, 0, (3, 4), True)
    bias = graph.param(block, 32, (4,), True)
    y = graph.apply("dense", (x, kernel, bias), {"activation": "tanh"})
    y = graph.apply("add", (y, np.ones(4)))
    y = graph.apply("multiply", (y, 0.5))
    z = graph.apply("dropout", (y,), {"rate": 0.5})
    loss = graph.apply("sum", (graph.apply("square", (z,)),), {"axis": (0, 1)})
    notes = [graph.node(k) for k in range(graph.nodes)]
    y.tag["note"] = [repr(v) for v in (graph.value(y.id), y.shape, y.ndim, y.dtype)]
    state = _core.OptimizerState("opt_adam", {"beta_1": 0.5}, clip, 1.0)
    train = _core.Program(graph, loss=loss, optimizer=state, outputs=(y,), wrt=(x, kernel))
    found = [_core.execute(train, (TALL[:4],), 1, 0, 0.1)]
    out, done, squares = np.empty((8, 4), np.float32), np.zeros(1, np.int64), np.zeros(3)
    state.slot(block, 0)
    watch = ((state.grad(block).view(0, (64,)),), 1, squares)
    _core.run_loop(train, None, (("x", TALL, 0, False),), 8, 2 * 2, np.arange(8), 0, 2, 1, 0,
                   np.full(2, 0.1), np.zeros(2), (None,) * 3, (out, None, None), done, None,
                   True, watch, np.zeros(1, np.int64))  # fmt: skip
    frozen = _core.Block("float32", 4 * 16)
    frozen.view(0, (64,))[:] = block.view(0, (64,))
    graph.freeze({block: frozen}, True)
    predict = _core.Program(graph, outputs=(y,))
    fn = _core.Inference((1, 3), "float32", lambda rows: predict, np.asarray, lambda: 0)
    text = repr([notes, y.tag, train.bytes > 0, train.flops, train.calls]).encode()
    return [*found[0], out, squares, fn(TALL[:4]), fn(TALL[:4].copy(), out=out[:4]), text]


def core_graph_each():
    return core_graph("norm")


def core_graph_value():
    return core_graph("value")


def core_tape():
    tape = _core.Tape(3)
    tape.recording = True
    a, b = tape.leaf(TALL), tape.leaf(TALL.tolist())
    c = tape.apply("cast", (b,), {"dtype": 0})
    y = tape.apply("sum", (tape.apply("multiply", (a, c)),), {"axis": (1,)})
    y = _core.apply("add", (y, _core.apply("logsumexp", (a,), {"axis": 1})))
    d = tape.apply("dropout", (a,), {"rate": 0.5})
    z = tape.apply("reshape", (a,), {"shape": (900,)})
    back = tape.gradient(y, (a, b, d), np.full(300, 2))
    back += tape.gradient(z, (a,)) + tape.gradient(d, (a, b))
    notes = repr([tape.node(k) for k in range(tape.nodes)]).encode()
    held = [v.numpy() for v in back if v is not None]
    tape.detach()
    return [notes, *held, y.numpy(), _core.apply("tanh", (z,))]


# NumPy's constructor of ufuncs does not survive each failure of its own allocations: these are
# tried in children, of which some die, and only each 5th allocation after the first hundred.
FRAGILE = ("import", "ufuncs")


def in_child(run, call, nth):
    """Whether run() ended in a child in a way that it may not (None: no), and if it failed."""
    child = os.fork()
    if child == 0:
        _, raised, failed = run(call, nth, False)
        LIBC.exit(0 if not failed else 1 if isinstance(raised, ALLOWED) else 2)
    status = os.waitpid(child, 0)[1]
    code = os.waitstatus_to_exitcode(status)
    wrong = RuntimeError(f"exit code {code}")
    return wrong if code not in (0, 1, -signal.SIGSEGV) else None, code != 0


LIBC = ctypes.CDLL(None)
CORE = {name[5:]: call for name, call in vars().copy().items() if name.startswith("core_")}


def sweep_core(run, kind, names=CORE):
    """Complaints, and the number of runs in which an allocation failed.

    run(call, nth, for_good): what was found and raised, and whether an allocation failed.
    """
    complaints, runs = [], 0
    gc.freeze()  # a full collection empties Python's free lists, and is quick after this
    for name in names:
        call = CORE[name]
        wanted = flat([call(), call()][1])
        for for_good in kind:
            nth, passed = 0, 0
            while passed < 20:
                gc.collect()
                if run is run_in_python and name in FRAGILE:
                    raised, failed = in_child(run, call, nth)
                    found, step = None, 1 if nth < 100 else 5
                    same = True
                else:
                    found, raised, failed = run(call, nth, for_good)
                    step = 1
                    same = flat(call() if raised is not None else found) == wanted
                if raised is not None and not (failed and isinstance(raised, ALLOWED)):
                    complaints.append(f"{name}, allocation {nth}: raised {raised!r}")
                if not same:
                    complaints.append(f"{name}, allocation {nth}: the result is another one")
                runs, passed = runs + failed, 0 if failed else passed + 1
                nth += step
    return complaints, runs


# NumPy and the interpreter turn some failures into these.
ALLOWED = (MemoryError, SystemError, ImportError)


def run_in_python(call, nth, for_good):
    import _testcapi

    found = raised = None
    try:
        _testcapi.set_nomemory(nth + 1, nth + 2)
        found = call()
    except Exception as caught:
        raised = caught.with_traceback(None)
    finally:
        _testcapi.remove_mem_hooks()
    return found, raised, raised is not None


def run_with(shim):
    def run(call, nth, for_good):
        found, raised = shim.run(call, nth, for_good)
        return found, raised, bool(shim.hits)

    return run


# ---- planted bugs ------------------------------------------------------------------------------


def leak():
    """A tape that nobody frees when a call has failed."""
    plain, kept = pyact.GradientTape.gradient, []

    def gradient(self, *args):
        try:
            return plain(self, *args)
        except MemoryError:
            kept.append((self, *args))
            raise

    pyact.GradientTape.gradient = gradient


def half_a_step():
    """A failing step that has changed a weight."""
    plain = Calls.train_on_batch

    def train_on_batch(self):
        try:
            return plain(self)
        except MemoryError:
            self.model.set_weights([w + 1 for w in self.model.get_weights()])
            raise

    Calls.train_on_batch = train_on_batch


def swallowed():
    """A failure that is taken for a result."""
    plain = Calls.predict

    def predict(self):
        try:
            return plain(self)
        except MemoryError:
            return np.zeros(3)

    Calls.predict = predict


def swallowed_in_core():
    """The same in a function of the module."""

    def apply():
        try:
            return plain()
        except MemoryError:
            return np.zeros(3)

    plain, CORE["apply"] = CORE["apply"], apply


PLANTS = {"leak": (leak, "tape"), "half": (half_a_step, "train_on_batch"),
          "swallowed": (swallowed, "predict")}  # fmt: skip


def main():
    if "--python" in sys.argv or "--core" in sys.argv:
        names = CORE
        if "--plant" in sys.argv:
            half_a_step()
            swallowed_in_core()
            names = ["apply"]
        pyact.set_num_threads(1)
        core = "--core" in sys.argv
        complaints, runs = sweep_core(run_in_python, [False], names) if core else sweep_python()
        print(f"{runs} runs, {len(complaints)} complaints")
        print(*complaints[:40], sep="\n")
        return bool(complaints)
    if "LD_PRELOAD" not in os.environ:
        with tempfile.TemporaryDirectory() as folder:
            environment = {**os.environ, "LD_PRELOAD": build(folder)}
            return subprocess.run([sys.executable, *sys.argv], env=environment).returncode
    shim = Shim(os.environ["LD_PRELOAD"])
    names = NAMES
    if "--registered" in sys.argv:
        step = int(sys.argv[sys.argv.index("--every") + 1]) if "--every" in sys.argv else 1
        names = list(everything.ENTRIES)[::step]
    if "--plant" in sys.argv:
        bug, name = PLANTS[sys.argv[sys.argv.index("--plant") + 1]]
        bug()
        names = [name]
    pyact.set_num_threads(1)
    start = time.perf_counter()
    complaints, runs = sweep(shim, names)
    if names is NAMES:
        more, more_runs = sweep_core(run_with(shim), (False, True))
        complaints, runs, names = complaints + more, runs + more_runs, [*names, *CORE]
    print(f"{runs} runs of {len(names)} calls, {shim.lib.memory_sites()} places that failed, "
          f"{len(complaints)} complaints, {time.perf_counter() - start:.0f} s")  # fmt: skip
    print(*complaints[:40], sep="\n")
    return bool(complaints or shim.lib.memory_lost())


if __name__ == "__main__":
    sys.exit(main())
