"""Recurrent networks against PyTorch, JAX, Keras and ONNX Runtime, interleaved on the same data.

    python benchmarks/bench_recurrent.py [--threads 1 2] [--rounds 15]
    python benchmarks/bench_recurrent.py --sums [--sequences 1000]

Training: forward, mean squared error, backward and Adam of one recurrent layer and a Dense(1)
on its last state, microseconds a step, from the same weights on the same batches; the losses
of the first epochs are compared before anything is timed. PyTorch's optimizer is the fused
one, and its second bias, which the others do not have, is frozen at 0. JAX runs the steps of
a round in one `lax.scan` under `jit`, buffers donated, time in an inner scan. Keras runs on
JAX, twice: as it is, and tuned, all steps of a round in one execution and short sequences
unrolled.

Prediction: one time step of LSTM(128) for one sequence, NumPy in, NumPy out, its state kept
from call to call; PyTorch traced and frozen. Weights are equal, and results are compared
before anything is timed.

Printed: minimum / median, and how many times pyact's minimum goes into the peer's. One
process for each number of threads, held to that many cores.

--sums: no times, but the program that learns to add ten numbers (SimpleRNN(50), Dense(1),
adam, mse, batches of 32) with ten seeds, by pyact and by Keras, each with weights and order
of batches of its own: the test MSE after 20 and after 100 epochs.

Peers: pip install pyact[bench,tensorflow]; any that is missing is left out.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

if __name__ == "__main__" and (held := os.environ.get("PYACT_BENCH_CORES")):
    cores = sorted(os.sched_getaffinity(0))[-int(held) :]
    os.sched_setaffinity(0, cores)  # before any library counts them
os.environ.setdefault("KERAS_BACKEND", "jax")

import numpy as np

import pyact
from pyact.layers import GRU, LSTM, Dense, Input, SimpleRNN

if TYPE_CHECKING:
    from collections.abc import Callable

CASES = [
    # layer, units, batch, steps, features, training steps a round
    (SimpleRNN, 50, 32, 10, 1, 100),
    (LSTM, 128, 32, 50, 32, 5),
    (GRU, 128, 32, 50, 32, 5),
]
FEATURES, UNITS, CALLS = 32, 128, 500  # of the single time step


# ---- training ------------------------------------------------------------------------------


class Case:
    """One recurrent layer and a Dense(1), with first weights and data for all."""

    def __init__(
        self, kind: Any, units: int, batch: int, steps: int, features: int, count: int
    ) -> None:
        self.kind, self.units, self.batch, self.count = kind, units, batch, count
        rng = np.random.default_rng(0)
        self.x = rng.normal(size=(batch * count, steps, features)).astype(np.float32)
        self.y = rng.normal(size=(batch * count, 1)).astype(np.float32)
        pyact.set_seed(0)
        self.model = pyact.Sequential([Input(self.x.shape[1:]), kind(units), Dense(1)])
        self.model.compile("adam", "mse")
        self.weights = [w.copy() for w in self.model.get_weights()]
        self.title = f"{kind.__name__}({units}) on ({batch}, {steps}, {features}), a step"


# A runner trains one epoch and returns the losses of its steps, or their mean.
def train_pyact(case: Case) -> Callable[[], Any]:
    def run() -> Any:
        history = case.model.fit(case.x, case.y, batch_size=case.batch, verbose=0, shuffle=False)
        return history.history["loss"]

    return run


def train_keras(case: Case, tuned: bool) -> Callable[[], Any]:
    import keras

    settings = {"unroll": case.x.shape[1] <= 16} if tuned else {}
    layer = getattr(keras.layers, case.kind.__name__)(case.units, **settings)
    model = keras.Sequential([keras.Input(case.x.shape[1:]), layer, keras.layers.Dense(1)])
    settings = {"steps_per_execution": case.count, "jit_compile": True} if tuned else {}
    model.compile("adam", "mse", **settings)
    model.set_weights(case.weights)

    def run() -> Any:
        history = model.fit(case.x, case.y, batch_size=case.batch, verbose=0, shuffle=False)
        return history.history["loss"]

    return run


def train_torch(case: Case) -> Callable[[], Any]:
    import torch

    layer = {SimpleRNN: torch.nn.RNN, LSTM: torch.nn.LSTM, GRU: torch.nn.GRU}[case.kind]
    net, head = layer(case.x.shape[2], case.units, batch_first=True), torch.nn.Linear(case.units, 1)
    kernel, recurrent, bias, *last = case.weights
    order = (1, 0, 2) if case.kind is GRU else tuple(range(case.kind.gates))  # r z n
    both = bias if case.kind is GRU else (bias, np.zeros_like(bias))
    first = [in_order(w, order) for w in (kernel, recurrent)]
    first += [in_order(b[None], order)[:, 0] for b in both]
    with torch.no_grad():
        for to, w in zip((*net.parameters(), *head.parameters()),
                         (*first, last[0].T, last[1]), strict=True):  # fmt: skip
            to.copy_(torch.from_numpy(np.ascontiguousarray(w)))
    if case.kind is not GRU:
        net.bias_hh_l0.requires_grad_(False)
    weights = [w for w in (*net.parameters(), *head.parameters()) if w.requires_grad]
    adam = torch.optim.Adam(weights, eps=1e-7, fused=True)
    parts = list(zip(torch.from_numpy(case.x).split(case.batch),
                     torch.from_numpy(case.y).split(case.batch), strict=True))  # fmt: skip

    def run() -> Any:
        losses = []
        for part, target in parts:
            adam.zero_grad()
            out, _ = net(part)
            loss = torch.nn.functional.mse_loss(head(out[:, -1]), target)
            loss.backward()
            adam.step()
            losses.append(loss.detach())
        return losses

    return run


def jax_cell(kind: Any) -> Callable[..., Any]:
    """(weights, (h, c), what the inputs bring) -> (h, c)."""
    import jax
    import jax.numpy as jnp

    def simple(w: Any, state: Any, z: Any) -> Any:
        return (jnp.tanh(z + state[0] @ w["r"]), state[1])

    def lstm(w: Any, state: Any, z: Any) -> Any:
        i, f, g, o = jnp.split(z + state[0] @ w["r"], 4, axis=1)
        c = jax.nn.sigmoid(f) * state[1] + jax.nn.sigmoid(i) * jnp.tanh(g)
        return (jax.nn.sigmoid(o) * jnp.tanh(c), c)

    def gru(w: Any, state: Any, z: Any) -> Any:
        (zu, zr, zh), (u, r, g) = (
            jnp.split(a, 3, axis=1) for a in (z, state[0] @ w["r"] + w["rb"])
        )
        update, reset = jax.nn.sigmoid(zu + u), jax.nn.sigmoid(zr + r)
        return (update * state[0] + (1 - update) * jnp.tanh(zh + reset * g), state[1])

    return {SimpleRNN: simple, LSTM: lstm, GRU: gru}[kind]


def train_jax(case: Case) -> Callable[[], Any]:
    import jax
    import jax.numpy as jnp

    units, cell = case.units, jax_cell(case.kind)
    w = dict(zip(("k", "r", "b", "head", "hb"), map(jnp.asarray, case.weights), strict=True))
    if case.kind is GRU:
        w["b"], w["rb"] = w["b"]

    def loss(w: Any, x: Any, y: Any) -> Any:
        z = jnp.swapaxes(x @ w["k"] + w["b"], 0, 1)
        zero = jnp.zeros((x.shape[0], units), x.dtype)
        (h, _), _ = jax.lax.scan(lambda s, zt: (cell(w, s, zt), None), (zero, zero), z)
        return jnp.mean((h @ w["head"] + w["hb"] - y) ** 2)

    def step(carry: Any, data: Any) -> Any:
        w, m, v, t = carry
        value, g = jax.value_and_grad(loss)(w, *data)
        t = t + 1
        m = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, m, g)
        v = jax.tree.map(lambda v, g: 0.999 * v + 0.001 * g * g, v, g)
        rate = 0.001 * jnp.sqrt(1 - 0.999**t) / (1 - 0.9**t)
        w = jax.tree.map(lambda w, m, v: w - rate * m / (jnp.sqrt(v) + 1e-7), w, m, v)
        return (w, m, v, t), value

    epoch = jax.jit(lambda carry, x, y: jax.lax.scan(step, carry, (x, y)), donate_argnums=0)
    zeros = jax.tree.map(jnp.zeros_like, w)
    state = [(w, zeros, jax.tree.map(jnp.zeros_like, w), jnp.float32(0))]
    xs = jnp.asarray(case.x.reshape(-1, case.batch, *case.x.shape[1:]))
    ys = jnp.asarray(case.y.reshape(-1, case.batch, 1))

    def run() -> Any:
        state[0], values = epoch(state[0], xs, ys)
        return values.block_until_ready()

    return run


# ---- one time step -------------------------------------------------------------------------


def lstm_weights() -> list[Any]:
    rng = np.random.default_rng(4)
    return [rng.normal(size=(n, 4 * UNITS)).astype(np.float32) / n**0.5 for n in (FEATURES, UNITS)]


def step_pyact() -> Callable[[Any], Any]:
    model = pyact.Sequential([Input((1, FEATURES)), LSTM(UNITS, stateful=True, batch_size=1)])
    model.set_weights([*lstm_weights(), np.zeros(4 * UNITS, np.float32),
                       *(np.zeros((1, UNITS), np.float32),) * 2])  # fmt: skip
    return model.compile_inference()


def in_order(w: Any, order: tuple[int, ...]) -> Any:
    """Gates in another order, transposed to (gates units, n)."""
    return np.concatenate([np.split(w, len(order), axis=1)[k].T for k in order])


def step_torch() -> Callable[[Any], Any]:
    import torch

    class Net(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.lstm = torch.nn.LSTM(FEATURES, UNITS, batch_first=True)

        def forward(self, x: Any, h: Any, c: Any) -> Any:
            _, (h, c) = self.lstm(x, (h, c))
            return h, c

    net = Net().eval()
    kernel, recurrent = (torch.from_numpy(in_order(w, (0, 1, 2, 3))) for w in lstm_weights())
    with torch.no_grad():
        net.lstm.weight_ih_l0.copy_(kernel)
        net.lstm.weight_hh_l0.copy_(recurrent)
        net.lstm.bias_ih_l0.zero_()
        net.lstm.bias_hh_l0.zero_()
        zero = torch.zeros(1, 1, UNITS)
        traced = torch.jit.freeze(torch.jit.trace(net, (torch.zeros(1, 1, FEATURES), zero, zero)))
    state = [(zero, zero)]

    def run(x: Any) -> Any:
        with torch.inference_mode():
            state[0] = traced(torch.from_numpy(x), *state[0])
        return state[0][0][0].numpy()

    return run


def step_onnx(threads: int) -> Callable[[Any], Any]:
    import onnxruntime
    from onnx import TensorProto, helper, numpy_helper

    kernel, recurrent = (in_order(w, (0, 3, 1, 2))[None] for w in lstm_weights())
    node = helper.make_node("LSTM", ["x", "w", "r", "", "", "h", "c"], ["", "h2", "c2"],
                            hidden_size=UNITS)  # fmt: skip
    info = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 1, n])
            for name, n in (("x", FEATURES), ("h", UNITS), ("c", UNITS), ("h2", UNITS),
                            ("c2", UNITS))]  # fmt: skip
    weights = [numpy_helper.from_array(kernel, "w"), numpy_helper.from_array(recurrent, "r")]
    graph = helper.make_graph([node], "lstm", info[:3], info[3:], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    zero = np.zeros((1, 1, UNITS), np.float32)
    state = [zero, zero]

    def run(x: Any) -> Any:
        state[:] = session.run(None, {"x": x, "h": state[0], "c": state[1]})
        return state[0][0]

    return run


# ---- the table -----------------------------------------------------------------------------


def contenders(makers: dict[str, Callable[[], Any]]) -> dict[str, Any]:
    found = {}
    for name, make in makers.items():
        try:
            found[name] = make()
        except ImportError:
            print(f"({name} is not installed)")
    return found


def row(title: str, runners: dict[str, Callable[[], Any]], count: int, rounds: int) -> None:
    times: dict[str, list[float]] = {name: [] for name in runners}
    for k in range(rounds + 2):
        for name, run in runners.items():
            begin = time.perf_counter()
            run()
            if k >= 2:
                times[name].append((time.perf_counter() - begin) / count * 1e6)
    ours, cells = min(times["pyact"]), []
    for name, t in times.items():
        ratio = "" if name == "pyact" else f" ({min(t) / ours:.2f}x)"
        cells.append(f"{name} {min(t):.4g} / {statistics.median(t):.4g}{ratio}")
    print(f"{title}: {', '.join(cells)}", flush=True)


def compare(title: str, runners: dict[str, Callable[[], Any]], epochs: int = 4) -> None:
    """Raises SystemExit unless all of them learn the same: roundings differ and grow."""
    curves = {n: [np.mean([float(v) for v in run()]) for _ in range(epochs)]
              for n, run in runners.items()}  # fmt: skip
    for name, curve in curves.items():
        if not np.allclose(curve, curves["pyact"], rtol=1e-3):
            raise SystemExit(f"{title}: {name} does other work: losses {curve}, pyact "
                             f"{curves['pyact']}")  # fmt: skip


def measure(threads: int, rounds: int) -> None:
    pyact.set_num_threads(threads)
    try:
        import torch
    except ImportError:
        pass
    else:
        torch.set_num_threads(threads)
    print(f"{threads} threads, microseconds, minimum / median (peer / pyact)", flush=True)
    for settings in CASES:
        case = Case(*settings)
        runners = contenders({
            "pyact": lambda c=case: train_pyact(c),
            "PyTorch": lambda c=case: train_torch(c),
            "JAX": lambda c=case: train_jax(c),
            "Keras": lambda c=case: train_keras(c, False),
            "Keras tuned": lambda c=case: train_keras(c, True),
        })  # fmt: skip
        compare(case.title, runners)
        row(case.title, runners, case.count, rounds)
    one = np.random.default_rng(0).normal(size=(CALLS, 1, 1, FEATURES)).astype(np.float32)
    steppers = contenders({
        "pyact": step_pyact, "PyTorch": step_torch, "ONNX Runtime": lambda: step_onnx(threads),
    })  # fmt: skip
    ends = {name: [step(x) for x in one[:20]][-1] for name, step in steppers.items()}
    for name, end in ends.items():
        assert np.abs(end - ends["pyact"]).max() < 1e-5, f"{name} differs"
    calls = {n: lambda s=s: [s(x) for x in one] for n, s in steppers.items()}
    title = f"one time step of LSTM({UNITS}), {FEATURES} features, batch 1"
    row(title, calls, CALLS, rounds)


# ---- the program that adds ten numbers -----------------------------------------------------------


def sums(name: str, sequences: int, seeds: int) -> None:
    library: Any = pyact
    seed = pyact.set_seed
    if name == "Keras":
        import keras as library

        seed = library.utils.set_random_seed
    found: dict[int, list[float]] = {20: [], 100: []}
    for k in range(seeds):
        seed(k)
        x = np.random.default_rng(1000 + k).random((sequences + 250, 10, 1))
        y = x.sum(axis=1)
        layers = library.layers
        model = library.Sequential([
            layers.Input((10, 1)), layers.SimpleRNN(50, activation="tanh"), layers.Dense(1),
        ])  # fmt: skip
        model.compile(optimizer="adam", loss="mse")
        done = 0
        for epochs, errors in found.items():
            model.fit(x[:-250], y[:-250], epochs=epochs - done, batch_size=32, verbose=0)
            errors.append(float(model.evaluate(x[-250:], y[-250:], verbose=0)))
            done = epochs
    for epochs, errors in found.items():
        print(f"{name}, {sequences} sequences, {epochs} epochs, {seeds} seeds: test MSE least "
              f"{min(errors):.5f}, median {statistics.median(errors):.5f}, largest "
              f"{max(errors):.5f}, at most .001: {sum(e <= 1e-3 for e in errors)}",
              flush=True)  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--sums", action="store_true", help="what is learned instead of times")
    parser.add_argument("--sequences", type=int, default=1000, help="of --sums, to learn from")
    parser.add_argument("--seeds", type=int, default=10, help="of --sums")
    given = parser.parse_args()
    if given.sums:
        for name in ("pyact", "Keras"):
            try:
                sums(name, given.sequences, given.seeds)
            except ImportError:
                print(f"({name} is not installed)")
    elif "PYACT_BENCH_CORES" in os.environ:
        measure(int(os.environ["PYACT_BENCH_CORES"]), given.rounds)
    else:
        for threads in given.threads:
            cores = {"PYACT_BENCH_CORES": str(threads), "OMP_NUM_THREADS": str(threads)}
            subprocess.run([sys.executable, *sys.argv], env={**os.environ, **cores}, check=True)


if __name__ == "__main__":
    main()
