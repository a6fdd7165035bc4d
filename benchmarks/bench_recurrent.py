"""Recurrent networks against PyTorch, JAX and ONNX Runtime, all interleaved on the same data.

    python benchmarks/bench_recurrent.py [--threads 1] [--rounds 15]

Training: forward, mean squared error, backward and Adam of one recurrent layer and a Dense(1)
on its last state, microseconds a step. PyTorch's optimizer is the fused one; JAX runs the
steps of a round in one `lax.scan` under `jit`, buffers donated, time in an inner scan. The
gradients' sizes are the same, the first weights are each library's own.

Prediction: one time step of LSTM(128) for one sequence, NumPy in, NumPy out, its state kept
from call to call; PyTorch traced and frozen. Weights are equal, and results are compared
before anything is timed.

Printed: minimum / median, and how many times pyact's minimum goes into the peer's. One
process for each number of threads, held to that many cores.

Peers: pip install pyact[bench]
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from typing import TYPE_CHECKING, Any

THREADS = argparse.ArgumentParser(add_help=False)
THREADS.add_argument("--threads", type=int, default=1)
if __name__ == "__main__" and hasattr(os, "sched_setaffinity"):
    held = THREADS.parse_known_args()[0].threads
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[-held:])  # before libraries count

import numpy as np  # noqa: E402

import pyact  # noqa: E402
from pyact.layers import GRU, LSTM, Dense, Input, SimpleRNN  # noqa: E402

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


def train_pyact(kind: Any, units: int, x: Any, y: Any, batch: int) -> Callable[[], Any]:
    model = pyact.Sequential([Input(x.shape[1:]), kind(units), Dense(1)])
    model.compile("adam", "mse")
    return lambda: model.fit(x, y, batch_size=batch, verbose=0, shuffle=False)


def train_torch(kind: Any, units: int, x: Any, y: Any, batch: int) -> Callable[[], Any]:
    import torch

    layer = {SimpleRNN: torch.nn.RNN, LSTM: torch.nn.LSTM, GRU: torch.nn.GRU}[kind]
    net, head = layer(x.shape[2], units, batch_first=True), torch.nn.Linear(units, 1)
    adam = torch.optim.Adam([*net.parameters(), *head.parameters()], fused=True)
    parts = list(zip(torch.from_numpy(x).split(batch), torch.from_numpy(y).split(batch),
                     strict=True))  # fmt: skip

    def run() -> None:
        for part, target in parts:
            adam.zero_grad()
            out, _ = net(part)
            torch.nn.functional.mse_loss(head(out[:, -1]), target).backward()
            adam.step()

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


def train_jax(kind: Any, units: int, x: Any, y: Any, batch: int) -> Callable[[], Any]:
    import jax
    import jax.numpy as jnp

    gates = {SimpleRNN: 1, LSTM: 4, GRU: 3}[kind]
    rng, cell = np.random.default_rng(3), jax_cell(kind)

    def normal(*shape: int) -> Any:
        return jnp.asarray(rng.normal(size=shape) / shape[0] ** 0.5, jnp.float32)

    w = {"k": normal(x.shape[2], gates * units), "r": normal(units, gates * units),
         "b": jnp.zeros(gates * units), "head": normal(units, 1), "hb": jnp.zeros(1)}  # fmt: skip
    if kind is GRU:
        w["rb"] = jnp.zeros(gates * units)

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
    xs = jnp.asarray(x.reshape(-1, batch, *x.shape[1:]))
    ys = jnp.asarray(y.reshape(-1, batch, 1))

    def run() -> None:
        state[0], values = epoch(state[0], xs, ys)
        values.block_until_ready()

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
    """Gates i, f, g, o in another order, transposed to (4 units, n)."""
    return np.concatenate([np.split(w, 4, axis=1)[k].T for k in order])


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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], parents=[THREADS])
    parser.add_argument("--rounds", type=int, default=15)
    given = parser.parse_args()
    pyact.set_num_threads(given.threads)
    try:
        import torch
    except ImportError:
        pass
    else:
        torch.set_num_threads(given.threads)
    print(f"{given.threads} threads, microseconds, minimum / median (peer / pyact)")
    rng = np.random.default_rng(0)
    for kind, units, batch, steps, features, count in CASES:
        x = rng.normal(size=(batch * count, steps, features)).astype(np.float32)
        y = rng.normal(size=(batch * count, 1)).astype(np.float32)
        args = (kind, units, x, y, batch)
        runners = contenders({
            "pyact": lambda a=args: train_pyact(*a),
            "PyTorch": lambda a=args: train_torch(*a),
            "JAX": lambda a=args: train_jax(*a),
        })  # fmt: skip
        title = f"{kind.__name__}({units}) on ({batch}, {steps}, {features}), a step"
        row(title, runners, count, given.rounds)
    one = rng.normal(size=(CALLS, 1, 1, FEATURES)).astype(np.float32)
    steppers = contenders({
        "pyact": step_pyact, "PyTorch": step_torch,
        "ONNX Runtime": lambda: step_onnx(given.threads),
    })  # fmt: skip
    ends = {name: [step(x) for x in one[:20]][-1] for name, step in steppers.items()}
    for name, end in ends.items():
        assert np.abs(end - ends["pyact"]).max() < 1e-5, f"{name} differs"
    runners = {n: lambda s=s: [s(x) for x in one] for n, s in steppers.items()}
    title = f"one time step of LSTM({UNITS}), {FEATURES} features, batch 1"
    row(title, runners, CALLS, given.rounds)


if __name__ == "__main__":
    main()
