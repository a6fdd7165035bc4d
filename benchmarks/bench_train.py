"""Speed of training steps and of predictions against NumPy, scikit-learn and, where they are
installed, PyTorch, JAX, ONNX Runtime, Keras and TensorFlow Lite.

    python benchmarks/bench_train.py                       all cases, 1 and 2 threads
    python benchmarks/bench_train.py --cases a e           some of them
    python benchmarks/bench_train.py --plot scaling.png    time and memory over width and batch

Training: everyone starts from the same weights, sees the same batches in the same order and
must follow the same loss curve before a time is taken (float32 everywhere; scikit-learn,
which draws its own weights, must end as low). pyact runs through `Model.fit`, PyTorch with
its fused optimizers, JAX with a whole epoch in one `lax.scan` under `jit`, buffers donated.
Prediction: a NumPy array in, a NumPy array out, equal results.

All contenders of a row are called in turn, round after round, in one process, so that what
disturbs the machine disturbs them alike. Printed: minimum / median in microseconds, how many
times pyact's minimum goes into the peer's, and the share of pyact's step that is not matrix
products, which are then timed alone. One process for each number of threads, held to that
many cores.

Peers: pip install pyact[bench]; for Keras (on JAX) and TensorFlow Lite
pip install pyact[bench,tensorflow]
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import subprocess
import sys
import time
import warnings
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from itertools import pairwise
from time import perf_counter
from typing import TYPE_CHECKING, Any

if __name__ == "__main__" and (held := os.environ.get("PYACT_BENCH_CORES")):
    cores = sorted(os.sched_getaffinity(0))[-int(held) :]
    os.sched_setaffinity(0, cores)  # before any library counts them

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Case:
    title: str
    sizes: tuple[int, ...]
    activation: str
    batch: int
    steps: int
    loss: str  # "mse" or "ce"
    optimizer: str  # "adam" (.001) or "sgd" (.1, momentum .9)
    epochs: int = 1  # in each timed call

    def data(self) -> tuple[Array, Array]:
        """steps batches that can be learned: a random teacher's answers."""
        rng = np.random.default_rng(1)
        if self.title.startswith("digits"):
            return digits(self.batch * self.steps)
        x = rng.random((self.batch * self.steps, self.sizes[0]), dtype=np.float32)
        teacher = rng.normal(size=(self.sizes[0], self.sizes[-1])).astype(np.float32)
        y = (x - 0.5) @ teacher
        return (x, y) if self.loss == "mse" else (x, y.argmax(1).astype(np.int32))

    def weights(self) -> list[Array]:
        rng = np.random.default_rng(2)
        made: list[Array] = []
        for m, n in pairwise(self.sizes):
            bound = (6 / (m + n)) ** 0.5
            made += [rng.uniform(-bound, bound, (m, n)).astype(np.float32), np.zeros(n, np.float32)]
        return made


def digits(rows: int) -> tuple[Array, Array]:
    from sklearn.datasets import load_digits

    x, y = load_digits(return_X_y=True)
    return (x[:rows] / 16).astype(np.float32), y[:rows].astype(np.int32)


CASES = {
    "a": Case("4-64-64-2 tanh, batch 32, MSE, Adam",
              (4, 64, 64, 2), "tanh", 32, 100, "mse", "adam", 5),
    "b": Case("784-500-10 relu, batch 100, CE, SGD .1/.9",
              (784, 500, 10), "relu", 100, 20, "ce", "sgd"),
    "c": Case("784-512-512-10 relu, batch 128, CE, Adam",
              (784, 512, 512, 10), "relu", 128, 8, "ce", "adam"),
    "d": Case("digits 64-100-10 relu, batch 200, CE, Adam",
              (64, 100, 10), "relu", 200, 9, "ce", "adam", 10),
}  # fmt: skip
BARS = {
    "a": "2x JAX, 17x Keras, 25x PyTorch, 9x NumPy, 50x scikit-learn",
    "b": "1.35x the best (1.5x with 2 threads)",
    "c": "1.2x the best (1.28x with 2 threads)",
    "d": "4x scikit-learn, 2x NumPy",
    "e": "3.5x TFLite, 10x ONNX Runtime, 10x NumPy, 16x torch.jit, 800x Keras's call",
    "f": "1.3x ONNX Runtime",
    "g": "1.1x ONNX Runtime",
}


# ---- contenders: `epoch` trains one pass over the data and gives the mean loss --------------


class Pyact:
    name = "pyact"

    def __init__(self, case: Case, threads: int) -> None:
        import pyact
        from pyact import layers, losses, optimizers

        pyact.set_num_threads(threads)
        *hidden, last = case.sizes[1:]
        self.model = pyact.Sequential(
            [layers.Input((case.sizes[0],))]
            + [layers.Dense(n, case.activation) for n in hidden]
            + [layers.Dense(last)]
        )
        self.model.set_weights(case.weights())
        loss = (
            losses.MeanSquaredError()
            if case.loss == "mse"
            else losses.SparseCategoricalCrossentropy(from_logits=True)
        )
        opt = optimizers.Adam(0.001) if case.optimizer == "adam" else optimizers.SGD(0.1, 0.9)
        self.model.compile(opt, loss)
        self.batch = case.batch
        self.x, self.y = case.data()

    def epoch(self, count: int = 1) -> float:
        history = self.model.fit(
            self.x, self.y, batch_size=self.batch, epochs=count, shuffle=False, verbose=0
        ).history
        return float(history["loss"][-1])


class NumPy:
    """What a careful user writes: no copies that can be helped, updates in place."""

    name = "NumPy"

    def __init__(self, case: Case, threads: int) -> None:
        try:
            from threadpoolctl import threadpool_limits

            self.limit = threadpool_limits(threads)
        except ImportError:
            pass
        self.case, self.w = case, case.weights()
        self.m = [np.zeros_like(w) for w in self.w]
        self.v = [np.zeros_like(w) for w in self.w]
        self.t = 0
        self.x, self.y = case.data()

    def step(self, x: Array, y: Array) -> float:
        w, case = self.w, self.case
        a = [x]
        for i in range(0, len(w) - 2, 2):
            z = a[-1] @ w[i]
            z += w[i + 1]
            a.append(np.tanh(z, out=z) if case.activation == "tanh" else np.maximum(z, 0, out=z))
        z = a[-1] @ w[-2]
        z += w[-1]
        if case.loss == "mse":
            z -= y
            loss = float(np.vdot(z, z)) / z.size
            z *= np.float32(2 / z.size)
        else:
            z -= z.max(axis=1, keepdims=True)
            e = np.exp(z)
            s = e.sum(axis=1, keepdims=True)
            rows = np.arange(len(y))
            loss = float((np.log(s[:, 0]) - z[rows, y]).mean())
            z = e / s
            z[rows, y] -= 1
            z /= np.float32(len(y))
        grads: list[Array] = []
        for i in range(len(w) - 2, -1, -2):
            grads[:0] = [a[i // 2].T @ z, z.sum(axis=0)]
            if i:
                z = z @ w[i].T
                z *= 1 - a[i // 2] ** 2 if case.activation == "tanh" else a[i // 2] > 0
        self.update(grads)
        return loss

    def update(self, grads: list[Array]) -> None:
        self.t += 1
        f = np.float32
        if self.case.optimizer == "sgd":
            for w, m, g in zip(self.w, self.m, grads, strict=True):
                m *= f(0.9)
                g *= f(0.1)
                m -= g
                w += m
            return
        rate = f(0.001 * (1 - 0.999**self.t) ** 0.5 / (1 - 0.9**self.t))
        eps = f(1e-7 * (1 - 0.999**self.t) ** 0.5)
        for w, m, v, g in zip(self.w, self.m, self.v, grads, strict=True):
            m *= f(0.9)
            m += f(0.1) * g
            v *= f(0.999)
            g *= g
            g *= f(0.001)
            v += g
            np.sqrt(v, out=g)
            g += eps
            np.divide(m, g, out=g)
            g *= rate
            w -= g

    def epoch(self) -> float:
        n = self.case.batch
        total = [
            self.step(self.x[i : i + n], self.y[i : i + n]) * len(self.x[i : i + n])
            for i in range(0, len(self.x), n)
        ]
        return sum(total) / len(self.x)


class Torch:
    name = "PyTorch"

    def __init__(self, case: Case, threads: int) -> None:
        import torch
        from torch import nn

        torch.set_num_threads(threads)
        self.torch = torch
        parts: list[Any] = []
        for m, n in pairwise(case.sizes):
            parts += [nn.Linear(m, n), nn.Tanh() if case.activation == "tanh" else nn.ReLU()]
        self.net = nn.Sequential(*parts[:-1])
        with torch.no_grad():
            for p, w in zip(self.net.parameters(), case.weights(), strict=True):
                p.copy_(torch.from_numpy(np.ascontiguousarray(w.T)))
        self.loss = nn.MSELoss() if case.loss == "mse" else nn.CrossEntropyLoss()
        params = list(self.net.parameters())
        if case.optimizer == "adam":
            self.opt: Any = torch.optim.Adam(params, 0.001, eps=1e-7, fused=True)
        else:
            self.opt = torch.optim.SGD(params, 0.1, momentum=0.9, fused=True)
        x, y = case.data()
        self.x = torch.from_numpy(x).split(case.batch)
        self.y = torch.from_numpy(y if y.ndim == 2 else y.astype(np.int64)).split(case.batch)
        self.rows = len(x)

    def epoch(self) -> float:
        total = self.torch.zeros(())
        for x, y in zip(self.x, self.y, strict=True):
            loss = self.loss(self.net(x), y)
            self.opt.zero_grad(set_to_none=True)
            loss.backward()
            self.opt.step()
            total += loss.detach() * len(x)
        return float(total) / self.rows


class Jax:
    name = "JAX"

    def __init__(self, case: Case, threads: int) -> None:
        import jax
        import jax.numpy as jnp

        def forward(w: Any, x: Any) -> Any:
            for i in range(0, len(w) - 2, 2):
                x = x @ w[i] + w[i + 1]
                x = jnp.tanh(x) if case.activation == "tanh" else jnp.maximum(x, 0)
            return x @ w[-2] + w[-1]

        def loss(w: Any, x: Any, y: Any) -> Any:
            z = forward(w, x)
            if case.loss == "mse":
                return jnp.mean((z - y) ** 2)
            return -jnp.mean(jnp.take_along_axis(jax.nn.log_softmax(z), y[:, None], 1))

        def step(state: Any, batch: Any) -> Any:
            w, m, v, t = state
            value, g = jax.value_and_grad(loss)(w, *batch)
            t = t + 1
            if case.optimizer == "sgd":
                m = [0.9 * a - 0.1 * b for a, b in zip(m, g, strict=True)]
                return ([a + b for a, b in zip(w, m, strict=True)], m, v, t), value
            m = [0.9 * a + 0.1 * b for a, b in zip(m, g, strict=True)]
            v = [0.999 * a + 0.001 * b * b for a, b in zip(v, g, strict=True)]
            c1, c2 = 1 - 0.9**t, 1 - 0.999**t
            w = [
                a - 0.001 * (b / c1) / (jnp.sqrt(c / c2) + 1e-7)
                for a, b, c in zip(w, m, v, strict=True)
            ]
            return (w, m, v, t), value

        @jax.jit
        def run(state: Any, xs: Any, ys: Any) -> Any:
            return jax.lax.scan(step, state, (xs, ys))

        self.run = run
        x, y = case.data()
        n = len(x) // case.batch * case.batch
        shape = (n // case.batch, case.batch)
        self.xs = jnp.asarray(x[:n].reshape(*shape, -1))
        self.ys = jnp.asarray(y[:n].reshape(*shape, *y.shape[1:]))
        self.rest = (x[n:], y[n:]) if n < len(x) else None
        w = [jnp.asarray(a) for a in case.weights()]
        zeros = [jnp.zeros_like(a) for a in w]
        self.state: Any = (w, zeros, zeros, jnp.zeros(()))
        self.last = jax.jit(step)
        self.rows = len(x)
        self.batch = case.batch

    def epoch(self) -> float:
        self.state, values = self.run(self.state, self.xs, self.ys)
        total = float(values.sum()) * self.batch
        if self.rest is not None:
            self.state, value = self.last(self.state, self.rest)
            total += float(value) * len(self.rest[0])
        return total / self.rows


class ScikitLearn:
    name = "scikit-learn"
    own_start = True  # it draws its own weights

    def __init__(self, case: Case, threads: int) -> None:
        from sklearn.neural_network import MLPClassifier, MLPRegressor

        kind = MLPRegressor if case.loss == "mse" else MLPClassifier
        sgd = {"learning_rate_init": 0.1, "momentum": 0.9, "nesterovs_momentum": False}
        self.net = kind(
            hidden_layer_sizes=case.sizes[1:-1], activation=case.activation,
            solver=case.optimizer, alpha=0, batch_size=case.batch, shuffle=False,
            random_state=0, max_iter=1,
            **(sgd if case.optimizer == "sgd" else {}),
        )  # fmt: skip
        self.case = case
        self.x, self.y = case.data()
        self.classes = {} if case.loss == "mse" else {"classes": np.unique(self.y)}

    def epoch(self) -> float:
        self.net.partial_fit(self.x, self.y, **self.classes)
        return self.net.loss_ * (2 if self.case.loss == "mse" else 1)  # it halves squares


def keras_network(sizes: tuple[int, ...], activation: str, w: list[Array]) -> Any:
    os.environ.setdefault("KERAS_BACKEND", "jax")
    import keras

    net = keras.Sequential(
        [keras.layers.Input((sizes[0],))]
        + [keras.layers.Dense(n, activation) for n in sizes[1:-1]]
        + [keras.layers.Dense(sizes[-1])]
    )
    net.set_weights(w)
    return net


class Keras:
    """One compiled step after the other: the faster of `fit` and `train_on_batch`."""

    name = "Keras"
    ways = (0, 1)  # steps that `fit` compiles into one, 0 being train_on_batch

    def __init__(self, case: Case, threads: int) -> None:
        self.case = case
        self.x, self.y = case.data()
        took = {}
        for steps in self.ways:
            net = self.compiled(steps)
            for _ in range(2):  # the first compiles
                begin = perf_counter()
                self.pass_over(net, steps)
                took[steps] = perf_counter() - begin
        self.steps = min(took, key=took.__getitem__)
        self.net = self.compiled(self.steps)

    def compiled(self, steps: int) -> Any:
        case = self.case
        net = keras_network(case.sizes, case.activation, case.weights())
        import keras

        loss: Any = "mse"
        if case.loss == "ce":
            loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        sgd = keras.optimizers.SGD(0.1, momentum=0.9)
        opt = keras.optimizers.Adam(0.001) if case.optimizer == "adam" else sgd
        net.compile(opt, loss, jit_compile=True, steps_per_execution=steps or 1)
        return net

    def pass_over(self, net: Any, steps: int) -> float:
        n = self.case.batch
        if steps:
            seen = net.fit(self.x, self.y, batch_size=n, shuffle=False, verbose=0)
            return float(seen.history["loss"][-1])
        net.reset_metrics()
        for i in range(0, len(self.x), n):
            loss = net.train_on_batch(self.x[i : i + n], self.y[i : i + n])
        return float(loss)  # the mean so far

    def epoch(self) -> float:
        return self.pass_over(self.net, self.steps)


class KerasManySteps(Keras):
    """`fit` that compiles ten steps, or all of an epoch, into one call."""

    name = "Keras, steps joined"
    ways = (10, 100)


TRAINERS = (NumPy, Torch, Jax, ScikitLearn)
WARM = 5  # epochs whose losses are compared


def train(key: str, case: Case, threads: int, seconds: float) -> None:
    contenders: dict[str, Any] = {}
    curves: dict[str, list[float]] = {}
    more = (Keras, KerasManySteps) if key == "a" else ()
    for kind in (Pyact, *TRAINERS, *more):
        try:
            runner: Any = kind(case, threads)
        except ImportError as e:
            print(f"# {kind.name} is left out: {e}")
            continue
        curve = [runner.epoch() for _ in range(WARM)]
        contenders[kind.name], curves[kind.name] = runner, curve
    for name, curve in curves.items():
        # roundings differ and grow from step to step, faster with Adam and relu
        want = curves["pyact"]
        same = abs(curve[0] / want[0] - 1) < 1e-3 and np.allclose(curve, want, rtol=2e-2)
        if getattr(contenders[name], "own_start", False):
            same = curve[-1] < 2 * curves["pyact"][0]
        if not same:
            raise SystemExit(f"{name} does other work: losses {curve}, pyact {curves['pyact']}")
    calls = {n: passes(c, case.epochs) for n, c in contenders.items()}
    times = measure(calls, seconds, threads)
    steps = case.epochs * (1 if key == "d" else case.steps)  # d is stated for an epoch
    unit = "an epoch" if key == "d" else "a step"
    report(f"({key}) {case.title}", f"us {unit}", {n: (a / steps, b / steps)
                                                  for n, (a, b) in times.items()})  # fmt: skip
    pairs = pairwise(case.sizes)
    macs = sum(m * n for m, n in pairs) * 3 - case.sizes[0] * case.sizes[1]
    flops = 2.0 * case.batch * macs
    best = times["pyact"][0] / case.steps / case.epochs
    alone = products(case, seconds / 5)
    print(f"    products {flops / 1e6:.3g} MFLOP: alone {alone * 1e6:.2f} us "
          f"({flops / alone / 1e9:.0f} GFLOP/s); {1 - alone / best:.0%} of the step is not "
          f"products; loss after {WARM} epochs {curves['pyact'][-1]:.6f}; "
          f"asked: {BARS[key]}")  # fmt: skip


def products(case: Case, seconds: float) -> float:
    """Seconds that the matrix products of one step of pyact take, run alone: the same
    kernels on the same shapes in the same order, and nothing between them but what lets one
    element of each result leave, which is measured by itself and taken off."""
    from pyact import _core

    graph, repeat, seen, bare = _core.Graph(), 8, [], []
    sizes, rng = case.sizes, np.random.default_rng(4)
    shapes = [(case.batch, n) for n in sizes] + list(pairwise(sizes))
    given = [graph.input(s, np.float32) for s in shapes]
    rows, weights = given[: len(sizes)], given[len(sizes) :]

    def product(a: Any, b: Any, **transposed: bool) -> None:
        y = graph.apply("matmul", (a, b), transposed)
        for outputs, x in ((seen, y), (bare, a)):
            outputs.append(graph.apply("slice", (x,), {"begin": (0, 0), "size": (1, 1)}))

    for _ in range(repeat):
        for i, w in enumerate(weights):
            product(rows[i], w)
        for i in reversed(range(len(weights))):  # rows[i + 1] stands for its gradient
            product(rows[i], rows[i + 1], transpose_a=True)
            if i:
                product(rows[i + 1], weights[i], transpose_b=True)
    programs = [_core.Program(graph, outputs=tuple(outputs)) for outputs in (seen, bare)]
    arrays = tuple(rng.random(s, dtype=np.float32) for s in shapes)
    times: list[list[float]] = [[], []]
    end = perf_counter() + seconds
    while perf_counter() < end or len(times[0]) < 5:
        for program, taken in zip(programs, times, strict=True):
            begin = perf_counter()
            _core.execute(program, arrays)
            taken.append(perf_counter() - begin)
    return (min(times[0]) - min(times[1])) / repeat


def passes(runner: Any, epochs: int) -> Callable[[], Any]:
    """A call that trains so many epochs."""
    if isinstance(runner, Pyact):
        return lambda: runner.epoch(epochs)

    def run() -> None:
        for _ in range(epochs):
            runner.epoch()

    return run


def measure(
    calls: dict[str, Callable[[], Any]], seconds: float, threads: int = 1
) -> dict[str, tuple[float, float]]:
    """(minimum, median) seconds of each call, called in turn.

    With several threads each has a pause and a call that is not counted first: idle threads
    of the contender before it spin for a while and would hold its cores.
    """
    times: dict[str, list[float]] = {name: [] for name in calls}
    end = perf_counter() + seconds
    while perf_counter() < end or len(times["pyact"]) < 5:
        for name, call in calls.items():
            if threads > 1:
                time.sleep(0.1)
                call()
            begin = perf_counter()
            call()
            times[name].append(perf_counter() - begin)
    return {name: (min(t), statistics.median(t)) for name, t in times.items()}


def report(title: str, unit: str, times: dict[str, tuple[float, float]]) -> None:
    own = times["pyact"][0]
    print(f"{title}, {unit}")
    for name, (best, median) in times.items():
        ratio = "" if name == "pyact" else f"{best / own:8.2f}x"
        print(f"    {name:20}{best * 1e6:12.2f} /{median * 1e6:12.2f}{ratio}")
    sys.stdout.flush()


# ---- prediction ---------------------------------------------------------------------------------


def predictors(sizes: tuple[int, ...], batch: int, threads: int) -> dict[str, Callable[[], Any]]:
    import pyact
    from pyact import layers

    case = Case("", sizes, "relu", batch, 1, "mse", "adam")
    x, w = np.random.default_rng(3).random((batch, sizes[0]), dtype=np.float32), case.weights()
    pyact.set_num_threads(threads)
    model = pyact.Sequential(
        [layers.Input((sizes[0],))]
        + [layers.Dense(n, "relu") for n in sizes[1:-1]]
        + [layers.Dense(sizes[-1])]
    )
    model.set_weights(w)
    fn, out = model.compile_inference(batch), np.empty((batch, sizes[-1]), np.float32)
    calls: dict[str, Callable[[], Any]] = {"pyact": lambda: fn(x, out)}

    def plain() -> Any:
        a = x
        for i in range(0, len(w) - 2, 2):
            a = a @ w[i]
            a += w[i + 1]
            np.maximum(a, 0, out=a)
        return a @ w[-2] + w[-1]

    calls["NumPy"] = plain
    try:
        import torch

        torch.set_num_threads(threads)
        parts: list[Any] = []
        for m, n in pairwise(sizes):
            parts += [torch.nn.Linear(m, n), torch.nn.ReLU()]
        net = torch.nn.Sequential(*parts[:-1]).eval()
        with torch.no_grad():
            for p, a in zip(net.parameters(), w, strict=True):
                p.copy_(torch.from_numpy(np.ascontiguousarray(a.T)))
            traced = torch.jit.freeze(torch.jit.trace(net, torch.from_numpy(x)))

        def jit() -> Any:
            with torch.inference_mode():
                return traced(torch.from_numpy(x)).numpy()

        calls["torch.jit"] = jit
    except ImportError as e:
        print(f"# PyTorch is left out: {e}")
    try:
        calls["ONNX Runtime"] = onnx_call(sizes, batch, w, x, threads)
    except ImportError as e:
        print(f"# ONNX Runtime is left out: {e}")
    if batch == 1 and sizes[0] < 10:
        try:
            calls["TFLite"] = tflite_call(sizes, batch, w, x, threads)
            net = keras_network(sizes, "relu", w)
            calls["Keras call"] = lambda: np.asarray(net(x))
            calls["Keras predict"] = lambda: net.predict_on_batch(x)
        except ImportError as e:
            print(f"# TFLite or Keras is left out: {e}")
    for name, call in calls.items():
        np.testing.assert_allclose(call(), plain(), rtol=1e-4, atol=1e-5, err_msg=name)
    return calls


def onnx_call(
    sizes: tuple[int, ...], batch: int, w: list[Array], x: Array, threads: int
) -> Callable[[], Any]:
    import onnxruntime as ort
    from onnx import TensorProto, helper, numpy_helper

    nodes, last = [], "x"
    for i in range(0, len(w), 2):
        end = "y" if i == len(w) - 2 else f"z{i}"
        nodes.append(helper.make_node("Gemm", [last, f"w{i}", f"w{i + 1}"], [end]))
        last = end
        if end != "y":
            nodes.append(helper.make_node("Relu", [end], [f"a{i}"]))
            last = f"a{i}"
    info = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes, "mlp",
        [info("x", TensorProto.FLOAT, [batch, sizes[0]])],
        [info("y", TensorProto.FLOAT, [batch, sizes[-1]])],
        [numpy_helper.from_array(a, f"w{i}") for i, a in enumerate(w)],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    session = ort.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return lambda: session.run(None, {"x": x})[0]


def tflite_call(
    sizes: tuple[int, ...], batch: int, w: list[Array], x: Array, threads: int
) -> Callable[[], Any]:
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import tensorflow as tf

    @tf.function(input_signature=[tf.TensorSpec([batch, sizes[0]], tf.float32)])
    def run(a: Any) -> Any:
        for i in range(0, len(w) - 2, 2):
            a = tf.nn.relu(tf.matmul(a, w[i]) + w[i + 1])
        return tf.matmul(a, w[-2]) + w[-1]

    converter = tf.lite.TFLiteConverter.from_concrete_functions(
        [run.get_concrete_function()], tf.Module()
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that its package is to have another name
        lite = tf.lite.Interpreter(model_content=converter.convert(), num_threads=threads)
    lite.allocate_tensors()
    begin, end = lite.get_input_details()[0]["index"], lite.get_output_details()[0]["index"]

    def call() -> Any:
        lite.set_tensor(begin, x)
        lite.invoke()
        return lite.get_tensor(end)

    return call


def predict(key: str, sizes: tuple[int, ...], batch: int, threads: int, seconds: float) -> None:
    calls = predictors(sizes, batch, threads)

    def often(call: Callable[[], Any], n: int) -> Callable[[], None]:
        def run() -> None:
            for _ in range(n):
                call()

        return run

    loops = {"e": 1000, "f": 100, "g": 5}[key]
    rounds = {name: often(call, loops) for name, call in calls.items()}
    times = measure(rounds, seconds, threads)
    name = "-".join(map(str, sizes))
    report(f"({key}) predict {batch} through {name} relu", "us a call",
           {n: (a / loops, b / loops) for n, (a, b) in times.items()})  # fmt: skip
    print(f"    asked: {BARS[key]}")


# ---- import, size, machine ----------------------------------------------------------------------


def imports() -> None:
    """Seconds that `import X` takes beyond `import numpy`, and the installed size."""
    import importlib.util

    code = "import numpy, time; t = time.process_time(); import {0}; print(time.process_time() - t)"
    env = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    print("import after numpy (CPU seconds, minimum of 7) and installed size")
    for name in ("pyact", "sklearn.neural_network", "onnxruntime", "torch", "jax"):
        if importlib.util.find_spec(name.split(".")[0]) is None:
            continue
        took = []
        for _ in range(7 if name == "pyact" else 3):
            done = subprocess.run(
                [sys.executable, "-c", code.format(name)],
                capture_output=True, text=True, check=True, env=env,
            )  # fmt: skip
            took.append(float(done.stdout))
        place = os.path.dirname(importlib.util.find_spec(name.split(".")[0]).origin or "")
        size = sum(
            os.path.getsize(os.path.join(folder, f))
            for folder, _, files in os.walk(place)
            for f in files
            if not f.endswith(".pyc")
        )
        print(f"    {name:24}{min(took) * 1e3:9.1f} ms{size / 1e6:10.1f} MB")


def machine(threads: int) -> None:
    import pyact

    model = platform.processor() or platform.machine()
    try:
        with open("/proc/cpuinfo") as f:
            model = next(line.split(":")[1].strip() for line in f if "model name" in line)
    except (OSError, StopIteration):
        pass
    isa = pyact.show_config(mode="dicts")["CPU"]["isa"]
    print(f"# {model}; {isa}; {threads} thread{'s' * (threads > 1)}")
    known = {}
    peers = ("scikit-learn", "torch", "jax", "onnxruntime", "keras", "tensorflow-cpu")
    for p in ("pyact", "numpy", *peers):
        try:
            known[p] = version(p)
        except PackageNotFoundError:
            continue
    print("# " + ", ".join(f"{p} {v}" for p, v in known.items()))


# ---- cost as work grows ------------------------------------------------------------------------


def scaling(path: str, seconds: float) -> None:
    """One hidden layer, in = hidden = out = width: time a step and memory."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    import pyact

    widths = [4 * 4**k for k in range(6)]
    batches = [1, 16, 128, 1024, 4096]
    figure, (left, right) = plt.subplots(1, 2, figsize=(13, 5))
    peak = product_peak()
    for shade, batch in enumerate(batches):
        own: list[float] = []
        others: list[float] = []
        memory: list[int] = []
        limit: list[float] = []
        for width in widths:
            flops = 2.0 * batch * width * width * 5
            if flops > 3e10:
                break
            steps = max(1, min(50, int(1e9 / flops)))
            case = Case("", (width, width, width), "relu", batch, steps, "mse", "sgd")
            runners: dict[str, Any] = {}
            for kind in (Pyact, NumPy, Torch, Jax):
                try:
                    runners[kind.name] = kind(case, 1)
                    runners[kind.name].epoch()
                except ImportError:
                    continue
            times = measure({n: r.epoch for n, r in runners.items()}, seconds / 10)
            own.append(times["pyact"][0] / steps)
            others.append(min(t[0] for n, t in times.items() if n != "pyact") / steps)
            memory.append(case_bytes(runners["pyact"]))
            limit.append(flops / peak)
            print(f"width {width} batch {batch}: {own[-1] * 1e6:.1f} us, best peer "
                  f"{others[-1] * 1e6:.1f} us, product limit {limit[-1] * 1e6:.1f} us, "
                  f"{memory[-1] / 1e6:.2f} MB", flush=True)  # fmt: skip
        colour = plt.get_cmap("viridis")(shade / len(batches))
        n = len(own)
        left.loglog(widths[:n], own, color=colour, lw=2.2, label=f"batch {batch}")
        left.loglog(widths[:n], others, color=colour, lw=1, ls="--")
        left.loglog(widths[:n], limit, color=colour, lw=0.8, ls=":")
        right.loglog(widths[:n], memory, color=colour, lw=2.2, label=f"batch {batch}")
    left.set(xlabel="width", ylabel="seconds a step",
             title="full: pyact; dashed: best peer; dotted: fastest product's rate")  # fmt: skip
    right.set(xlabel="width", ylabel="bytes", title="memory of parameters, gradients and arena")
    for panel in (left, right):
        panel.grid(alpha=0.3)
        panel.legend(frameon=False)
    figure.suptitle(f"one hidden layer, 1 thread, pyact {pyact.__version__}")
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    print(f"# written: {path}")


def case_bytes(runner: Pyact) -> int:
    """Parameters, their gradients, the optimizer's slot, and the programs' arenas."""
    weights = sum(w.nbytes for w in runner.model.weights)
    programs = [c for many in runner.model.engine._programs.values() for c in many]
    return 3 * weights + sum(c.program.bytes for c in programs)


def product_peak() -> float:
    """FLOP/s of a product that fits the cache, the highest seen of several shapes."""
    from pyact import ops

    best = 0.0
    for n in (192, 256, 384):
        a = np.ones((n, n), np.float32)
        for _ in range(30):
            begin = perf_counter()
            ops.matmul(a, a)
            best = max(best, 2.0 * n**3 / (perf_counter() - begin))
    return best


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("--cases", nargs="+", choices=[*BARS, "import"], default=[*BARS, "import"])
    p.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    p.add_argument("--seconds", type=float, default=5.0, help="for each row")
    p.add_argument("--plot", metavar="FILE", help="draw the cost over width and batch instead")
    a = p.parse_args()
    if "PYACT_BENCH_CORES" not in os.environ:
        for threads in [1] if a.plot else a.threads:
            cores = {"PYACT_BENCH_CORES": str(threads), "OMP_NUM_THREADS": str(threads)}
            subprocess.run([sys.executable, *sys.argv], env={**os.environ, **cores}, check=True)
        return
    threads = int(os.environ["PYACT_BENCH_CORES"])
    machine(threads)
    time.sleep(0.1)
    if a.plot:
        scaling(a.plot, a.seconds)
        return
    for key in a.cases:
        if key in CASES:
            train(key, CASES[key], threads, a.seconds)
    for key, sizes, batch in (
        ("e", (4, 64, 64, 2), 1), ("f", (784, 500, 10), 1), ("g", (784, 500, 10), 100)
    ):  # fmt: skip
        if key in a.cases:
            predict(key, sizes, batch, threads, a.seconds)
    if "import" in a.cases and threads == 1:
        imports()


if __name__ == "__main__":
    sys.exit(main())
