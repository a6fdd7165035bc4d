"""Every public call with arguments that nobody should pass: an exception or a result, never a
signal, a hang or a SystemError.

    python tests/hostile.py                # all of it, in worker processes
    python tests/hostile.py --every 25     # each 25th case, as the tests do
    python tests/hostile.py --plant hang   # a case that hangs (or: crash, system)

One argument at a time is replaced by each hostile value, the others being valid. A worker that
dies or hangs is named with its case, and the next goes on behind it.
"""

from __future__ import annotations

import argparse
import ctypes
import faulthandler
import gc
import inspect
import itertools
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
import warnings
from functools import partial

import numpy as np
from reference import ROWS

import pyact
from pyact import (
    _core,
    _recording,
    callbacks,
    data,
    initializers,
    layers,
    losses,
    metrics,
    ops,
    optimizers,
)
from pyact import schedules as learning_rates

SECONDS = 20  # for one case; most take less than a millisecond
MEMORY = 4 << 30  # address space beyond what the worker starts with

# ---- the values -------------------------------------------------------------------------------


def lying(**methods):
    """An object with these special methods."""

    def method(f):
        return lambda self, *args: f(*args)

    return type("Lying", (), {name: method(f) for name, f in methods.items()})()


def raising(*args):
    raise RuntimeError("no")


class Shapeless(np.ndarray):
    """An array that lies about its shape."""

    shape = property(lambda self: (1 << 40, -1))
    ndim = property(lambda self: 77)
    size = property(lambda self: -5)


class Unequal(str):
    __hash__ = str.__hash__

    def __eq__(self, other):
        raise RuntimeError("no")


def nested(depth):
    found = []
    for _ in range(depth):
        found = [found]
    return found


def itself():
    found = []
    found.append(found)
    return found


def element(i):
    """Of a sequence that says another length than it has."""
    if i >= 100:
        raise IndexError(i)
    return 1.0


def changing():
    n = itertools.count(-2)
    return lying(__index__=lambda: next(n), __int__=lambda: next(n), __float__=lambda: 1.5)


def plain(n=16):
    return np.linspace(-1, 1, n, dtype=np.float32)


def interface(**changes):
    """An object whose __array_interface__ is that of an array but for the changes."""
    a = plain()
    lie = lying()
    lie.kept, lie.__array_interface__ = a, {**a.__array_interface__, **changes}
    return lie


VALUES = {
    "None": lambda: None,
    "object": object,
    "a type": lambda: int,
    "a module": lambda: sys,
    "True": lambda: True,
    "0": lambda: 0,
    "-1": lambda: -1,
    "7": lambda: 7,
    "2^31": lambda: 1 << 31,
    "-2^63": lambda: -(1 << 63),
    "2^64": lambda: 1 << 64,
    "10^400": lambda: 10**400,
    "nan": lambda: float("nan"),
    "inf": lambda: float("inf"),
    "1e-320": lambda: 1e-320,
    "complex": lambda: 1j,
    "int64": lambda: np.int64(-3),
    "no text": lambda: "",
    "text": lambda: "tanh",
    "text with NUL": lambda: "a\0b",
    "surrogate": lambda: "\udc80",
    "long text": lambda: "x" * 100_000,
    "format": lambda: "%s%n{0}",
    "text without ==": lambda: Unequal("relu"),
    "bytes": lambda: b"\xff\0",
    "bytearray": lambda: bytearray(b"1"),
    "no list": list,
    "no tuple": tuple,
    "no dict": dict,
    "list of None": lambda: [None, None],
    "ragged": lambda: [[1.0], [1.0, 2.0]],
    "list with itself": itself,
    "deep": lambda: nested(100_000),
    "wide tuple": lambda: (1,) * 100,
    "tuple of huge": lambda: (1 << 40, 1 << 40),
    "negative tuple": lambda: (-1, -(1 << 62)),
    "dict": lambda: {"a": 1, 3: None},
    "set": lambda: {1, 2},
    "generator": lambda: (i for i in range(3)),
    "generator that raises": lambda: (raising() for _ in range(3)),
    "function": lambda: lambda *a, **k: None,
    "function that raises": lambda: raising,
    "class": lambda: type("C", (), {}),
    "no elements": lambda: np.empty(0, np.float32),
    "no rows": lambda: np.empty((0, 4), np.float32),
    "0-d": lambda: np.array(1.5),
    "objects": lambda: np.array([None, "a", 1j], object),
    "complex array": lambda: np.ones((16, 4), complex),
    "long double": lambda: np.ones((16, 4), np.longdouble),
    "texts": lambda: np.array(["a", "b"]),
    "dates": lambda: np.zeros(16, "datetime64[s]"),
    "records": lambda: np.zeros(16, [("a", "f4"), ("b", "i1")]),
    "voids": lambda: np.zeros(16, "V3"),
    "big-endian": lambda: np.ones((16, 4), ">f4"),
    "float16": lambda: np.ones((16, 4), np.float16),
    "int64 array": lambda: np.full((16, 4), 1 << 62),
    "uint64": lambda: np.full((16, 4), (1 << 64) - 1, np.uint64),
    "negative ints": lambda: np.full((16, 4), -(1 << 31), np.int32),
    "bools": lambda: np.ones((16, 4), bool),
    "nans": lambda: np.full((16, 4), np.nan, np.float32),
    "backwards": lambda: np.ones((16, 4), np.float32)[::-1, ::-2],
    "broadcast": lambda: np.broadcast_to(np.float32(1), (16, 4)),
    "huge broadcast": lambda: np.broadcast_to(np.float32(1), (1 << 40, 4)),
    "huge of nothing": lambda: np.broadcast_to(np.float32(1), (1 << 62, 0)),
    "read-only": lambda: (lambda a: (a.setflags(write=False), a)[1])(np.ones((16, 4), np.float32)),
    "unaligned": lambda: np.frombuffer(bytearray(257), np.float32, 64, 1).reshape(16, 4),
    "32 axes": lambda: np.ones((1,) * 32, np.float32),
    "64 axes": lambda: np.ones((1,) * 64, np.float32) if np.lib.NumpyVersion(
        np.__version__) >= "2.0.0" else np.ones((1,) * 32, np.float32),
    "masked": lambda: np.ma.masked_array(np.ones((16, 4)), mask=np.eye(16, 4)),
    "matrix": lambda: np.asmatrix(np.ones((16, 4))),
    "lying shape": lambda: np.ones((16, 4), np.float32).view(Shapeless),
    "no __array_ufunc__": lambda: type("N", (np.ndarray,), {"__array_ufunc__": None})((4, 4)),
    "finalize raises": lambda: _raising_subclass(),
    "__len__ -1": lambda: lying(__len__=lambda: -1, __getitem__=element),
    "__len__ 2^62": lambda: lying(__len__=lambda: 1 << 62, __getitem__=element),
    "__len__ raises": lambda: lying(__len__=raising, __getitem__=raising, __iter__=raising),
    "__index__ changes": changing,
    "__index__ raises": lambda: lying(__index__=raising, __float__=raising),
    "__index__ text": lambda: lying(__index__=lambda: "3", __float__=lambda: "3"),
    "__bool__ raises": lambda: lying(__bool__=raising, __eq__=raising),
    "__array__ text": lambda: lying(__array__=lambda *a, **k: "text"),
    "__array__ raises": lambda: lying(__array__=raising),
    "__array__ objects": lambda: lying(__array__=lambda *a, **k: np.array([object()])),
    "interface, shape": lambda: interface(shape=(-4,)),
    "interface, wide": lambda: interface(shape=(1 << 61, 1 << 61)),
    "interface, type": lambda: interface(typestr="<z9"),
    "interface, no data": lambda: interface(data=(0, False)),
    "interface, nothing": lambda: type("I", (), {"__array_interface__": {}})(),
    "struct": lambda: type("S", (), {"__array_struct__": 5})(),
    "a layer": lambda: layers.Dense(2),
    "a model": lambda: small(),
    "a variable": lambda: pyact.Variable(np.ones((16, 4), np.float32)),
    "a symbol": lambda: pyact.Input((4,)),
    "a block": lambda: _core.Block(np.dtype(np.float32), 3),
    "a bare value": lambda: bare(_core.Value),
    "a bare graph": lambda: bare(_core.Graph),
}  # fmt: skip


def _raising_subclass():
    made = type("F", (np.ndarray,), {})
    a = np.ones((16, 4), np.float32).view(made)
    made.__array_finalize__ = raising
    return a


def bare(kind):
    """An object of a C type that nobody has initialized, where Python lets one make it."""
    return kind.__new__(kind)


# ---- the calls --------------------------------------------------------------------------------

X = np.linspace(-1, 1, 64, dtype=np.float32).reshape(16, 4)
Y = X[:, :2].copy()
UFUNCS = [n for n in dir(_core) if isinstance(getattr(_core, n), (np.ufunc, _core.KeywordUfunc))]
FOREVER = {"epochs", "initial_epoch"}  # 2^31 epochs are what was asked for


def small():
    model = pyact.Sequential([layers.Dense(3, "tanh"), layers.Dense(2)])
    model.compile("adam", "mse")
    model.build((None, 4))
    return model


def parameters(f):
    try:
        found = inspect.signature(f).parameters.values()
    except (TypeError, ValueError):
        return []
    return [p.name for p in found if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]


def smallest(name):
    """Valid inputs and attributes of an operator, from the tests' table."""
    if not hasattr(ROWS[name], "cases"):  # what changes its inputs: only programs run it
        return (X,) * _core.op_info(name)["min_in"], {}
    cases = [c for c in ROWS[name].cases() if all(x.size for x in c.inputs)] or ROWS[name].cases()
    case = min(cases, key=lambda c: sum(x.size for x in c.inputs))
    return case.of("float32"), case.attrs


def positional(f, given, attrs, extra=()):
    """(label, call(value)) for each argument of f(*given, **attrs) and each extra keyword."""
    for k in range(len(given)):
        yield f"argument {k}", lambda v, k=k: f(*given[:k], v, *given[k + 1 :], **attrs)
    for name in dict.fromkeys((*attrs, *extra)):
        yield name, lambda v, n=name: f(*given, **{**attrs, n: v})
    yield "one more", lambda v: f(*given, v, **attrs)


def keywords(f, valid, use=lambda made: made):
    """The same for the named parameters of f, which is called with `valid` and one of them."""
    for name in parameters(f):
        yield name, lambda v, n=name: use(f(**{**valid, n: v}))


def layer_inputs(layer):
    for x in (X, X.reshape(1, 4, 4, 4), X.reshape(4, 4, 4)):
        try:
            layer(x)
            return
        except ValueError:
            continue


NEEDED = {
    "units": 2, "filters": 2, "kernel_size": 2, "rate": 0.5, "target_shape": (2, 2), "size": 2,
    "padding": 1, "input_dim": 5, "output_dim": 3, "shape": (4,), "axes": 1, "groups": 2,
    "activation": "relu", "value": 1.0, "initial_learning_rate": 0.1, "decay_steps": 10,
    "decay_rate": 0.5, "first_decay_steps": 10, "boundaries": [5], "values": [0.1, 0.2],
    "filename": os.devnull, "filepath": os.devnull, "schedule": lambda epoch: 0.1, "name": "n",
}  # fmt: skip


def valid_for(kind):
    found = {}
    for p in inspect.signature(kind).parameters.values():
        if p.default is p.empty and p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY):
            if p.name == "layer":
                found[p.name] = layers.LSTM(2) if kind is layers.Bidirectional else layers.Dense(2)
            elif p.name == "body":
                found[p.name] = layers.Dense(2)
            else:
                found[p.name] = NEEDED.get(p.name, 1)
    if kind in (layers.ZeroPadding1D, layers.ZeroPadding2D):
        found["padding"] = 1
    return found


def classes():
    for module, use in (
        (layers, layer_inputs), (losses, lambda o: o(Y, Y)), (metrics, lambda o: o.get_config()),
        (optimizers, lambda o: small().compile(o, "mse")),
        (initializers, lambda o: o((4, 4))), (learning_rates, lambda o: o(3)),
        (callbacks, lambda o: small().fit(X, Y, verbose=0, callbacks=[o])),
    ):  # fmt: skip
        for name in module.__all__:
            kind = getattr(module, name)
            if inspect.isclass(kind) and name not in ("Layer", "Loss", "Metric", "Optimizer"):
                valid = valid_for(kind)
                for label, call in keywords(kind, valid, use):
                    yield f"{module.__name__}.{name}({label})", call


def functions(folder):
    model = small()
    fast = model.compile_inference()
    path = os.path.join(folder, "m")
    model.save(path)
    w = pyact.Variable(np.ones((2, 2), np.float32))

    def taped(target=None, sources=None, **more):
        with pyact.GradientTape() as tape:
            loss = np.sum(w * w)
        return tape.gradient(loss if target is None else target, w if sources is None else sources,
                             **more)  # fmt: skip

    def watched(v):
        with pyact.GradientTape() as tape:
            tape.watch(v)

    one = {
        "model()": model, "compile_inference()()": fast, "tape.watch": watched,
        "set_weights": model.set_weights, "save": model.save, "load_model": pyact.load_model,
        "load_weights": model.load_weights, "save_weights": model.save_weights,
        "get_layer": model.get_layer, "set_seed": pyact.set_seed, "Variable": pyact.Variable,
        "set_floatx": lambda v: (pyact.set_floatx(v), pyact.set_floatx("float32")),
        "constant": pyact.constant, "function": lambda v: pyact.function(v)(X),
        "function()": pyact.function(lambda v: v * 2.0), "value_and_grad": pyact.value_and_grad,
        "value_and_grad()": lambda v: pyact.value_and_grad(lambda u: np.sum(u * u))(v),
        "check_grad": lambda v: pyact.check_grad(lambda u: u * u, v), "Model.build": lambda v:
        pyact.Sequential([layers.Dense(2)]).build(v), "Sequential": pyact.Sequential,
        "add": lambda v: pyact.Sequential().add(v), "from_config": pyact.Sequential.from_config,
        "trainable": lambda v: setattr(model, "trainable", v), "losses.get": losses.get,
        "metrics.get": metrics.get, "optimizers.get": optimizers.get,
        "initializers.get": initializers.get, "activations.get": pyact.activations.get,
        "apply_gradients": optimizers.SGD().apply_gradients, "read_idx": data.read_idx,
        "set_num_threads": lambda v: (pyact.set_num_threads(v), pyact.set_num_threads(2)),
        "learning_rate": lambda v: setattr(model.optimizer, "learning_rate", v),
        "DataLoader": lambda v: list(itertools.islice(data.DataLoader(v), 3)),
        "assign": w.assign,
    }  # fmt: skip
    for name, f in one.items():
        yield name, f
    many = {
        "fit": (small().fit, {"x": X, "y": Y, "verbose": 0}),
        "evaluate": (model.evaluate, {"x": X, "y": Y, "verbose": 0}),
        "predict": (model.predict, {"x": X}),
        "train_on_batch": (small().train_on_batch, {"x": X, "y": Y}),
        "compile": (small().compile, {"optimizer": "sgd", "loss": "mse"}),
        "compile_inference": (model.compile_inference, {}),
        "gradient": (taped, {}),
        "Model": (pyact.Model, {"inputs": pyact.Input((4,)), "outputs": pyact.Input((4,))}),
        "Input": (pyact.Input, {"shape": (4,)}),
    }
    for name, (f, valid) in many.items():
        names = parameters(f) if f is not taped else ["target", "sources", "output_gradients",
                                                     "unconnected_gradients"]  # fmt: skip
        for p in names:
            yield f"{name}({p})", lambda v, f=f, valid=valid, p=p: f(**{**valid, p: v})
    yield "compile_inference()(out)", lambda v: fast(X, out=v)


SPECIAL = ("__setstate__", "__reduce_ex__", "__getitem__", "__setattr__", "__array__")


def core():
    """The C types and functions themselves, which Python code of the package calls."""
    program = _core.Graph()
    x = program.input((16, 4), np.float32)
    twice = _core.apply("add", (x, x))
    program = _core.Program(program, outputs=(twice,))
    for name in ("apply", "op_info", "shuffle", "execute", "run_loop", "set_recorder"):
        f = getattr(_core, name)
        yield f"_core.{name}", f
        for given in (("tanh",), (program,), ("add", (X, X)), (program, (X,))):
            yield f"_core.{name} behind {len(given)}", partial(f, *given)
    yield "recorder off", lambda v: recorder()
    for kind in (_core.Block, _core.Graph, _core.Program, _core.Tape, _core.Value, _core.Inference,
                 _core.OptimizerState, _core.KeywordUfunc):  # fmt: skip
        yield f"{kind.__name__}()", kind
        yield f"{kind.__name__}(, 3)", lambda v, k=kind: k(v, 3)
        yield f"{kind.__name__}(float32, )", lambda v, k=kind: k(np.float32, v)
        for method in dir(kind):
            if method in ("__init_subclass__", "__subclasshook__", "__class__", "__sizeof__"):
                continue
            yield (f"bare {kind.__name__}.{method}",
                   lambda v, k=kind, m=method: use_bare(bare(k), m, v))  # fmt: skip
    block = _core.Block(np.dtype(np.float32), 8)
    graph = _core.Graph()
    value = graph.input((16, 4), np.float32)
    for name, real in (("block", block), ("graph", graph), ("value", value), ("program", program),
                       ("tape", _core.Tape(0))):  # fmt: skip
        for method in dir(real):
            if method.startswith("__") and method not in SPECIAL:
                continue
            yield f"{name}.{method}", lambda v, o=real, m=method: getattr(o, m)(v)
            yield f"{name}.{method}(0, )", lambda v, o=real, m=method: getattr(o, m)(0, v)


def recorder():
    """What a hostile call of set_recorder has taken away."""
    _core.set_recorder(_recording.active, _recording._adopt)


def use_bare(thing, method, value):
    got = getattr(thing, method)
    if callable(got):
        try:
            got()
        except TypeError:
            got(value)


def calls(folder):
    for name in UFUNCS:
        f = getattr(pyact, name)
        for label, call in positional(f, (X,), {}, ("out", "where", "axis", "dtype", "casting",
                                                    "order", "alpha", "beta")):  # fmt: skip
            yield f"{name}({label})", call
    for name in ("softmax", "log_softmax", "logsumexp"):
        for label, call in positional(getattr(pyact, name), (X,), {}, ("axis", "out")):
            yield f"{name}({label})", call
    for name in ops.__all__:
        inputs, attrs = smallest(name)
        extra = [a[0] for a in _core.op_info(name)["attrs"]]
        for label, call in positional(getattr(ops, name), inputs, attrs, extra):
            yield f"ops.{name}({label})", call
    yield from classes()
    yield from functions(folder)
    yield from core()


def all_cases(folder):
    """(label, call of no argument); the order is the same in every process."""
    for label, call in calls(folder):
        forever = any(f"({name})" in label for name in FOREVER)
        for value, make in VALUES.items():
            if not (forever and value in ("2^31", "2^64", "10^400", "inf")):
                yield f"{label} = {value}", lambda call=call, make=make: call(make())


# ---- the workers ------------------------------------------------------------------------------

PLANTS = {
    "crash": lambda: ctypes.string_at(8),
    "hang": lambda: [time.sleep(1) for _ in range(1000)],
    "system": lambda: (_ for _ in ()).throw(SystemError("returned a result with an exception set")),
}


def work(first, step, plant):
    """Runs the cases from `first` on; says the number of each before it starts."""
    faulthandler.enable()
    faulthandler.register(signal.SIGALRM, chain=True)
    warnings.simplefilter("ignore")
    with open("/proc/self/statm") as f:
        size = int(f.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (size + MEMORY, -1))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.chdir(tempfile.mkdtemp(dir=os.environ["HOSTILE_FOLDER"]))
    seconds = 2 if plant else SECONDS
    found = itertools.islice(all_cases(os.getcwd()), first, None, step)
    if plant:
        found = [("planted", PLANTS[plant])] if first == 0 else []
    for k, (label, call) in enumerate(found):
        os.write(1, f"{first + k * step}\t{label}\n".encode("utf-8", "replace"))
        signal.setitimer(signal.ITIMER_REAL, seconds)
        try:
            with np.errstate(all="ignore"):
                call()
        except SystemError as error:
            os.write(1, f"!\t{label}: SystemError: {error}\n".encode("utf-8", "replace"))
        except Exception:
            pass
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            recorder()
        if k % 500 == 499:
            gc.collect()
    signal.setitimer(signal.ITIMER_REAL, seconds)
    gc.collect()
    os.write(1, b"end\n")


def run(step, offset=0, plant="", show=print):
    """Runs all workers; returns the number of cases and the complaints."""
    complaints, count, first = [], 0, offset
    with tempfile.TemporaryDirectory() as folder:
        while True:
            done = subprocess.run(
                [sys.executable, __file__, "--worker", str(first), "--every", str(step),
                 "--plant", plant],
                capture_output=True, stdin=subprocess.DEVNULL, check=False,
                env={**os.environ, "HOSTILE_FOLDER": folder},
            )  # fmt: skip
            lines = done.stdout.decode().splitlines()
            marks = [line for line in lines if "\t" in line and line[0].isdigit()]
            complaints += [line[2:] for line in lines if line.startswith("!\t")]
            count += len(marks)
            if "end" in lines[-1:]:
                return count, complaints
            at, label = marks[-1].split("\t", 1) if marks else (first, "the first case")
            text = done.stderr.decode(errors="replace")[-1500:]
            complaints.append(f"{label}: the process ended with {done.returncode}\n{text}")
            show(complaints[-1])
            if not marks:
                return count, complaints
            first = int(at) + step


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--every", type=int, default=1)
    parser.add_argument("--offset", type=int, default=0)
    parser.add_argument("--plant", default="", choices=["", *PLANTS])
    parser.add_argument("--worker", type=int)
    asked = parser.parse_args()
    if asked.worker is not None:
        work(asked.worker, asked.every, asked.plant)
        raise SystemExit(0)
    number, wrong = run(asked.every, asked.offset, asked.plant)
    for line in wrong:
        print(line)
    print(f"{number} calls, {len(wrong)} complaints")
    raise SystemExit(bool(wrong))
