"""Speed of the activations and their derivatives against NumPy, SciPy and, where they are
installed, PyTorch, JAX and ONNX Runtime.

    python benchmarks/bench_activations.py                 the tables
    python benchmarks/bench_activations.py --quick         a minute
    python benchmarks/bench_activations.py --plot speed.png

All contenders of a row are called in turn, round after round, so that what disturbs the
machine disturbs them alike; minimum and median over the rounds are printed, and the ratio
of each peer's minimum to pyact's: above 1, pyact is ahead. Everyone gets float32 and
writes into memory that exists (JAX cannot, ONNX Runtime through an I/O binding), and
every result is compared with pyact's before it is timed. `copy` is np.copyto: what the
memory allows. The functions come from the core's own list.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import sys
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from time import perf_counter
from typing import Any, ClassVar

import numpy as np

import pyact
from pyact import _core

SIZES = (1, 32, 1000, 100_000, 10_000_000)
PLOT_SIZES = tuple(10**k for k in range(9))
SQRT_HALF, C = np.float32(0.5**0.5), np.float32((2 / np.pi) ** 0.5)
SELU_ALPHA, SELU_SCALE = 1.6732632423543772, 1.0507009873554805

Call = Callable[[], Any]


# ---- peers: name -> function that makes a call writing f(x) into its own memory -----------


class NumPy:
    """The usual formulas, as a careful user writes them."""

    name = "numpy"

    def __init__(self, threads: int) -> None:
        f: dict[str, Callable[[Any, Any], Any]] = {
            "relu": lambda x, o: np.maximum(x, 0, out=o),
            "leaky_relu": lambda x, o: np.maximum(x, np.float32(0.01) * x, out=o),
            "elu": lambda x, o: np.copyto(o, np.where(x > 0, x, np.expm1(np.minimum(x, 0)))),
            "selu": lambda x, o: np.multiply(
                np.where(x > 0, x, np.float32(SELU_ALPHA) * np.expm1(np.minimum(x, 0))),
                np.float32(SELU_SCALE),
                out=o,
            ),
            "sigmoid": lambda x, o: np.divide(1, 1 + np.exp(-x), out=o),
            "hard_sigmoid": lambda x, o: np.clip(x / 6 + np.float32(0.5), 0, 1, out=o),
            "tanh": lambda x, o: np.tanh(x, out=o),
            "silu": lambda x, o: np.divide(x, 1 + np.exp(-x), out=o),
            "gelu_tanh": lambda x, o: np.multiply(
                x / 2, 1 + np.tanh(C * (x + np.float32(0.044715) * x * x * x)), out=o
            ),
            "softplus": lambda x, o: np.logaddexp(x, np.float32(0), out=o),
            "softsign": lambda x, o: np.divide(x, 1 + np.abs(x), out=o),
            "mish": lambda x, o: np.multiply(x, np.tanh(np.logaddexp(x, np.float32(0))), out=o),
            "exp": lambda x, o: np.exp(x, out=o),
            "log": lambda x, o: np.log(x, out=o),
            "sqrt": lambda x, o: np.sqrt(x, out=o),
            "square": lambda x, o: np.square(x, out=o),
            "abs": lambda x, o: np.abs(x, out=o),
            "negative": lambda x, o: np.negative(x, out=o),
            "relu_grad": lambda x, o: np.copyto(o, x > 0),
            "sigmoid_grad": lambda x, o: sigmoid_grad(x, o),
            "tanh_grad": lambda x, o: np.subtract(1, np.tanh(x) ** 2, out=o),
            "softplus_grad": lambda x, o: np.divide(1, 1 + np.exp(-x), out=o),
            "silu_grad": lambda x, o: silu_grad(x, o),
            "softmax": lambda x, o: np.copyto(o, softmax(x)),
            "log_softmax": lambda x, o: np.copyto(o, log_softmax(x)),
        }
        self.functions = f

    def make(self, op: str, x: Any) -> tuple[Call, Any] | None:
        f = self.functions.get(op)
        if f is None:
            return None
        out = np.empty_like(x)
        return lambda: f(x, out), lambda: out


def sigmoid_grad(x: Any, o: Any) -> Any:
    s = 1 / (1 + np.exp(-x))
    return np.multiply(s, 1 - s, out=o)


def silu_grad(x: Any, o: Any) -> Any:
    s = 1 / (1 + np.exp(-x))
    return np.multiply(s, 1 + x * (1 - s), out=o)


def softmax(x: Any) -> Any:
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def log_softmax(x: Any) -> Any:
    z = x - x.max(axis=-1, keepdims=True)
    return z - np.log(np.exp(z).sum(axis=-1, keepdims=True))


class SciPy(NumPy):
    name = "scipy"

    def __init__(self, threads: int) -> None:
        from scipy import special

        self.functions = {
            "sigmoid": lambda x, o: special.expit(x, out=o),
            "gelu": lambda x, o: np.multiply(x / 2, 1 + special.erf(x * SQRT_HALF), out=o),
            "log_softmax": lambda x, o: np.copyto(o, special.log_softmax(x, axis=-1)),
            "softmax": lambda x, o: np.copyto(o, special.softmax(x, axis=-1)),
        }


class Torch:
    name = "torch"

    def __init__(self, threads: int) -> None:
        import torch

        torch.set_num_threads(threads)
        torch.set_grad_enabled(False)
        self.torch, a = torch, torch.ops.aten
        self.functions: dict[str, Callable[[Any, Any], Any]] = {
            "relu": lambda x, o: a.relu.out(x, out=o),
            "leaky_relu": lambda x, o: a.leaky_relu.out(x, 0.01, out=o),
            "elu": lambda x, o: a.elu.out(x, out=o),
            "selu": lambda x, o: a.elu.out(x, SELU_ALPHA, SELU_SCALE, 1, out=o),
            "sigmoid": lambda x, o: torch.sigmoid(x, out=o),
            "hard_sigmoid": lambda x, o: a.hardsigmoid.out(x, out=o),
            "tanh": lambda x, o: torch.tanh(x, out=o),
            "silu": lambda x, o: a.silu.out(x, out=o),
            "gelu": lambda x, o: a.gelu.out(x, out=o),
            "gelu_tanh": lambda x, o: a.gelu.out(x, approximate="tanh", out=o),
            "softplus": lambda x, o: a.softplus.out(x, out=o),
            "mish": lambda x, o: a.mish.out(x, out=o),
            "exp": lambda x, o: torch.exp(x, out=o),
            "log": lambda x, o: torch.log(x, out=o),
            "sqrt": lambda x, o: torch.sqrt(x, out=o),
            "square": lambda x, o: torch.square(x, out=o),
            "abs": lambda x, o: torch.abs(x, out=o),
            "negative": lambda x, o: torch.neg(x, out=o),
            "softmax": lambda x, o: a._softmax.out(x, -1, False, out=o),
            "log_softmax": lambda x, o: a._log_softmax.out(x, -1, False, out=o),
        }
        # what backward runs: (dy, x or y) -> dx, with dy = 1
        self.backward: dict[str, Callable[[Any, Any, Any], Any]] = {
            "relu": lambda g, x, o: a.threshold_backward.grad_input(g, x, 0, grad_input=o),
            "leaky_relu": lambda g, x, o: a.leaky_relu_backward.grad_input(
                g, x, 0.01, False, grad_input=o
            ),
            "elu": lambda g, x, o: a.elu_backward.grad_input(g, 1, 1, 1, False, x, grad_input=o),
            "selu": lambda g, x, o: a.elu_backward.grad_input(
                g, SELU_ALPHA, SELU_SCALE, 1, False, x, grad_input=o
            ),
            "hard_sigmoid": lambda g, x, o: a.hardsigmoid_backward.grad_input(g, x, grad_input=o),
            "silu": lambda g, x, o: a.silu_backward.grad_input(g, x, grad_input=o),
            "gelu": lambda g, x, o: a.gelu_backward.grad_input(g, x, grad_input=o),
            "gelu_tanh": lambda g, x, o: a.gelu_backward.grad_input(
                g, x, approximate="tanh", grad_input=o
            ),
            "softplus": lambda g, x, o: a.softplus_backward.grad_input(g, x, 1, 20, grad_input=o),
            "mish": lambda g, x, o: o.copy_(a.mish_backward(g, x)),
            "sigmoid": lambda g, y, o: a.sigmoid_backward.grad_input(g, y, grad_input=o),
            "tanh": lambda g, y, o: a.tanh_backward.grad_input(g, y, grad_input=o),
        }
        self.reads_y = {"sigmoid", "tanh"}  # cheaper: y was kept from the forward pass

    def make(self, op: str, x: Any) -> tuple[Call, Any] | None:
        t = self.torch.from_numpy(x)
        out = self.torch.empty_like(t)
        if op.endswith("_grad"):
            key = op.removesuffix("_grad")
            g = self.backward.get(key)
            if g is None:
                return None
            ones = self.torch.ones_like(t)
            kept = getattr(self.torch, key)(t) if key in self.reads_y else t
            return lambda: g(ones, kept, out), lambda: out.numpy()
        f = self.functions.get(op)
        if f is None:
            return None
        return lambda: f(t, out), lambda: out.numpy()


class Jax:
    """XLA's threads follow the process's cores: one thread means one core."""

    name = "jax"

    def __init__(self, threads: int) -> None:
        os.environ.setdefault("JAX_PLATFORMS", "cpu")
        import jax
        import jax.numpy as jnp

        nn, self.jax = jax.nn, jax
        forward: dict[str, Callable[[Any], Any]] = {
            "relu": nn.relu,
            "leaky_relu": nn.leaky_relu,
            "elu": nn.elu,
            "selu": nn.selu,
            "sigmoid": nn.sigmoid,
            "hard_sigmoid": nn.hard_sigmoid,
            "tanh": jnp.tanh,
            "silu": nn.silu,
            "gelu": lambda x: nn.gelu(x, approximate=False),
            "gelu_tanh": lambda x: nn.gelu(x, approximate=True),
            "softplus": nn.softplus,
            "softsign": nn.soft_sign,
            "mish": nn.mish,
            "exp": jnp.exp,
            "log": jnp.log,
            "sqrt": jnp.sqrt,
            "square": jnp.square,
            "abs": jnp.abs,
            "negative": jnp.negative,
        }
        self.functions = dict(forward)
        for name, f in forward.items():
            self.functions[name + "_grad"] = self.derivative(f)
        self.functions["softmax"] = nn.softmax
        self.functions["log_softmax"] = nn.log_softmax

    def derivative(self, f: Callable[[Any], Any]) -> Callable[[Any], Any]:
        return lambda x: self.jax.grad(lambda v: f(v).sum())(x)

    def make(self, op: str, x: Any) -> tuple[Call, Any] | None:
        f = self.functions.get(op)
        if f is None:
            return None
        compiled, a = self.jax.jit(f), self.jax.numpy.asarray(x)
        compiled(a).block_until_ready()
        return lambda: compiled(a).block_until_ready(), lambda: np.asarray(compiled(a))


class OnnxRuntime:
    name = "onnxruntime"
    nodes: ClassVar[dict[str, tuple[str, dict[str, Any]]]] = {
        "relu": ("Relu", {}),
        "leaky_relu": ("LeakyRelu", {"alpha": 0.01}),
        "elu": ("Elu", {"alpha": 1.0}),
        "selu": ("Selu", {}),
        "sigmoid": ("Sigmoid", {}),
        "hard_sigmoid": ("HardSigmoid", {"alpha": 1 / 6, "beta": 0.5}),
        "tanh": ("Tanh", {}),
        "gelu": ("Gelu", {"approximate": "none"}),
        "gelu_tanh": ("Gelu", {"approximate": "tanh"}),
        "softplus": ("Softplus", {}),
        "softsign": ("Softsign", {}),
        "mish": ("Mish", {}),
        "exp": ("Exp", {}),
        "log": ("Log", {}),
        "sqrt": ("Sqrt", {}),
        "abs": ("Abs", {}),
        "negative": ("Neg", {}),
        "softmax": ("Softmax", {"axis": -1}),
        "log_softmax": ("LogSoftmax", {"axis": -1}),
    }

    def __init__(self, threads: int) -> None:
        import onnx
        import onnxruntime

        self.onnx, self.ort = onnx, onnxruntime
        self.options = onnxruntime.SessionOptions()
        self.options.intra_op_num_threads = threads
        self.options.log_severity_level = 3

    def make(self, op: str, x: Any) -> tuple[Call, Any] | None:
        if op not in self.nodes:
            return None
        kind, attrs = self.nodes[op]
        h, real = self.onnx.helper, self.onnx.TensorProto.FLOAT
        info = [h.make_tensor_value_info(n, real, list(x.shape)) for n in ("x", "y")]
        graph = h.make_graph([h.make_node(kind, ["x"], ["y"], **attrs)], op, info[:1], info[1:])
        opset = [h.make_opsetid("", 20)]
        model = h.make_model(graph, opset_imports=opset, ir_version=9)
        session = self.ort.InferenceSession(
            model.SerializeToString(), self.options, providers=["CPUExecutionProvider"]
        )
        out = np.empty_like(x)
        binding = session.io_binding()
        for bind, name, a in (
            (binding.bind_input, "x", x),
            (binding.bind_output, "y", out),
        ):
            bind(name, "cpu", 0, np.float32, a.shape, a.ctypes.data)

        def call(held: Any = (x, out)) -> Any:  # the binding holds bare addresses
            return session.run_with_iobinding(binding)

        return call, lambda: out


class Pyact:
    name = "pyact"

    def __init__(self, threads: int) -> None:
        pyact.set_num_threads(threads)

    def make(self, op: str, x: Any) -> tuple[Call, Any] | None:
        if x.ndim == 2:
            f = getattr(pyact, op)
            return lambda: f(x), lambda: f(x)
        ufunc, out = getattr(_core, op), np.empty_like(x)
        if ufunc.nin == 1:
            return lambda: ufunc(x, out), lambda: out
        f = getattr(pyact, op)  # a function around the ufunc, for the parameter's default
        return lambda: f(x, out=out), lambda: out


class Copy:
    name = "copy"

    def __init__(self, threads: int) -> None:
        pass

    def make(self, op: str, x: Any) -> tuple[Call, Any] | None:
        out = np.empty_like(x)
        return lambda: np.copyto(out, x), None


class Tanh(Copy):
    """What a call of a ufunc costs: the yardstick for one element."""

    name = "np.tanh"

    def make(self, op: str, x: Any) -> tuple[Call, Any] | None:
        out = np.empty_like(x)
        return lambda: np.tanh(x, out), None


COLOURS = {
    "pyact": "#c1272d",
    "numpy": "#4d4dff",
    "scipy": "#2ca02c",
    "torch": "#ff7f0e",
    "jax": "#9467bd",
    "onnxruntime": "#8c564b",
    "copy": "#999999",
}
PEERS = (NumPy, SciPy, Torch, Jax, OnnxRuntime)


def installed(threads: int) -> list[Any]:
    found = []
    for peer in PEERS:
        try:
            found.append(peer(threads))
        except ImportError as e:
            print(f"# {peer.name} is left out: {e}")
    return found


# ---- measuring ------------------------------------------------------------------------------


def measure(calls: dict[str, Call], seconds: float) -> dict[str, tuple[float, float]]:
    """(minimum, median) seconds per call of each, called in turn."""
    loops = {}
    for name, call in calls.items():
        call()
        begin = perf_counter()
        call()
        loops[name] = max(1, int(2e-4 / (perf_counter() - begin + 1e-9)))
    times: dict[str, list[float]] = {name: [] for name in calls}
    end = perf_counter() + seconds
    while perf_counter() < end or len(times[next(iter(times))]) < 5:
        for name, call in calls.items():
            n = loops[name]
            begin = perf_counter()
            for _ in range(n):
                call()
            times[name].append((perf_counter() - begin) / n)
    return {name: (min(t), statistics.median(t)) for name, t in times.items()}


def check(op: str, peer: str, got: Any, want: Any) -> None:
    """A peer may be less accurate, but it must do the same work."""
    got, want = np.asarray(got, np.float64), np.asarray(want, np.float64)
    wrong = ~(np.abs(got - want) <= 1e-4 + 1e-3 * np.abs(want))
    wrong &= ~(np.isnan(got) & np.isnan(want))
    if wrong.any():
        i = tuple(np.argwhere(wrong)[0])
        raise SystemExit(f"{peer} computes another {op}: got {got[i]}, want {want[i]}")


def contenders(op: str, x: Any, peers: list[Any], extra: list[Any]) -> dict[str, Call]:
    calls: dict[str, Call] = {}
    made = {p.name: p.make(op, x) for p in peers}
    if made["pyact"] is None:
        raise SystemExit(f"pyact has no {op}")
    made["pyact"][0]()
    want = np.array(made["pyact"][1]())
    for name, pair in made.items():
        if pair is None:
            continue
        pair[0]()
        check(op, name, pair[1](), want)
        calls[name] = pair[0]
    for e in extra:
        calls[e.name] = e.make(op, x)[0]
    return calls


def inputs(op: str, shape: Any) -> Any:
    x = np.random.default_rng(0).normal(0, 3, shape).astype(np.float32)
    return np.abs(x) + np.float32(1e-3) if op.startswith(("log", "sqrt")) else x


def operators(wanted: list[str] | None) -> list[str]:
    names = [n for n in _core.op_names() if _core.op_info(n)["kind"] == "map"]
    names += [n + "_grad" for n in names]
    for name in wanted or []:
        if name not in names:
            raise SystemExit(f"{name} is not one of: {', '.join(names)}")
    return wanted or names


# ---- printing ---------------------------------------------------------------------------------


def time_text(seconds: float) -> str:
    for unit, factor in (("s ", 1.0), ("ms", 1e3), ("us", 1e6)):
        if seconds * factor >= 1:
            return f"{seconds * factor:7.2f} {unit}"
    return f"{seconds * 1e9:7.1f} ns"


def print_head(title: str, names: list[str]) -> None:
    print(f"\n## {title}\n")
    cells = ["function", "pyact min", "median", "ns/el", "GB/s", "of copy"]
    cells += [f"{n} min | / pyact" for n in names]
    print("| " + " | ".join(cells) + " |")
    print("|" + "---|" * (" | ".join(cells).count("|") + 1))


def print_row(label: str, n: int, times: dict[str, tuple[float, float]], names: list[str]) -> None:
    best, median = times["pyact"]
    rate = 8 * n / best / 1e9
    share = f"{times['copy'][0] / best:.0%}" if "copy" in times else "-"
    cells = [label, time_text(best), time_text(median), f"{best / n * 1e9:.3g}"]
    cells += [f"{rate:.3g}", share]
    for name in names:
        if name in times:
            cells += [time_text(times[name][0]), f"{times[name][0] / best:.2f}"]
        else:
            cells += ["-", "-"]
    print("| " + " | ".join(cells) + " |", flush=True)


def table(ops: list[str], n: int, threads: int, seconds: float) -> None:
    peers = [Pyact(threads), *installed(threads)]
    extra = [Copy(threads)] + ([Tanh(threads)] if n <= 32 else [])
    names = [p.name for p in peers[1:]] + [e.name for e in extra[1:]]
    print_head(f"{n} float32, {threads} thread{'s' * (threads > 1)}", names)
    for op in ops:
        times = measure(contenders(op, inputs(op, n), peers, extra), seconds)
        print_row(op, n, times, names)


def softmax_table(threads: int, seconds: float) -> None:
    peers = [Pyact(threads), *installed(threads)]
    names = [p.name for p in peers[1:]]
    print_head(f"softmax over rows, float32, {threads} thread{'s' * (threads > 1)}", names)
    for shape in ((32, 10), (256, 1000)):
        for op in ("softmax", "log_softmax"):
            x = inputs("", shape)
            times = measure(contenders(op, x, peers, [Copy(threads)]), seconds)
            print_row(f"{op} {shape}", x.size, times, names)


# ---- the picture --------------------------------------------------------------------------------


def draw(ops: list[str], path: str, threads: int, seconds: float, most: int) -> None:
    """Throughput over size, one panel a function, with the peers and the copy limit."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    peers = [Pyact(threads), *installed(threads)]
    names = [p.name for p in peers] + ["copy"]
    columns = 4
    rows = -(-len(ops) // columns)
    figure, axes = plt.subplots(
        rows, columns, figsize=(4 * columns, 3 * rows), sharex=True, squeeze=False
    )
    for panel, op in zip(axes.flat, ops, strict=False):
        points: dict[str, list[tuple[int, float]]] = {name: [] for name in names}
        for n in [n for n in PLOT_SIZES if n <= most]:
            x = inputs(op, n)
            times = measure(contenders(op, x, peers, [Copy(threads)]), seconds)
            for name, (best, _) in times.items():
                points[name].append((n, n / best))
        for name, line in points.items():
            if line:
                style = {"lw": 2.2, "zorder": 3} if name == "pyact" else {"lw": 1.2}
                style = {"ls": ":", "lw": 1.5} if name == "copy" else style
                panel.loglog(*zip(*line, strict=True), color=COLOURS[name], label=name, **style)
        panel.set_title(op, fontsize=10)
        panel.grid(True, which="major", alpha=0.3)
        print(f"# drawn: {op}", flush=True)
    for panel in axes.flat[len(ops) :]:
        panel.axis("off")
    for panel in axes[-1]:
        panel.set_xlabel("elements")
    for panel in axes[:, 0]:
        panel.set_ylabel("elements per second")
    seen = {}
    for panel in axes.flat:
        for handle, label in zip(*panel.get_legend_handles_labels(), strict=True):
            seen.setdefault(label, handle)
    figure.legend(seen.values(), seen.keys(), loc="upper center", ncol=len(seen), frameon=False)
    figure.suptitle(f"float32, {threads} thread{'s' * (threads > 1)}", y=0.995, x=0.08)
    figure.tight_layout(rect=(0, 0, 1, 0.97 if rows > 2 else 0.93))
    figure.savefig(path, dpi=110)
    print(f"# written: {path}")


def machine() -> None:
    config = pyact.show_config(mode="dicts")
    model = platform.processor() or platform.machine()
    try:
        with open("/proc/cpuinfo") as f:
            model = next(line.split(":")[1].strip() for line in f if "model name" in line)
    except (OSError, StopIteration):
        pass
    print(f"# {model}, {os.cpu_count()} cores; {config['CPU']['isa']}")
    packages = ["pyact", "numpy", "scipy", "torch", "jax", "onnxruntime"]
    known = {}
    for p in packages:
        try:
            known[p] = version(p)
        except PackageNotFoundError:
            continue
    print("# " + ", ".join(f"{p} {v}" for p, v in known.items()))
    if hasattr(os, "getloadavg") and os.getloadavg()[0] > 0.5:
        print(f"# load {os.getloadavg()[0]:.1f}: others are running; trust minima only")


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("--sizes", type=int, nargs="+", default=SIZES)
    p.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    p.add_argument("--functions", nargs="+", help="default: every element-wise operator")
    p.add_argument("--seconds", type=float, default=1.0, help="for each row")
    p.add_argument("--quick", action="store_true", help="a few functions, a tenth of the time")
    p.add_argument("--plot", metavar="FILE", help="draw throughput over size instead")
    p.add_argument("--most", type=int, default=10**8, help="largest size of the picture")
    a = p.parse_args()
    quick = ["relu", "tanh", "gelu", "silu", "gelu_grad"]
    ops = operators(a.functions or (quick if a.quick else None))
    seconds = a.seconds / 10 if a.quick else a.seconds
    machine()
    np.seterr(all="ignore")
    if a.plot:
        draw(ops, a.plot, a.threads[0], seconds / 10, a.most)
        return
    for threads in a.threads:
        for n in a.sizes:
            table(ops, n, threads, seconds)
        softmax_table(threads, seconds)


if __name__ == "__main__":
    sys.exit(main())
