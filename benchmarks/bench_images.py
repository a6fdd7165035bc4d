"""Images against PyTorch, TensorFlow and JAX: LeNet-5's training step, and single convolutions.

    python benchmarks/bench_images.py [--cases lenet layers] [--threads 1 2]

lenet: LeNet-5, batch 64, Adam. Everyone starts from the same weights and sees the same
batches in the same order; their loss curves are compared before anything is timed. Each
peer is measured in its several ways (PyTorch: both orders of axes, plain and fused Adam;
TensorFlow: a step and a whole epoch in one `tf.function`, with and without XLA, NHWC, the
fused update that Keras used; JAX: a step under `jit` and an epoch in one `lax.scan`, buffers
donated) and the fastest of all counts.

layers: one convolution, batch 16, forward, and forward with the gradients of image, kernel
and bias; pyact eager (the op, the tape) and compiled (`pyact.function`), PyTorch with both
orders of axes. Results and gradients are compared before anything is timed.

A round times each contender once, in turn, so that all meet the same moods of the machine.
Printed: median and quartiles over the rounds. One process for each number of threads, held
to that many cores.

Peers: pip install pyact[bench,tensorflow]
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from time import perf_counter
from typing import TYPE_CHECKING, Any

if __name__ == "__main__" and (held := os.environ.get("PYACT_BENCH_CORES")):
    cores = sorted(os.sched_getaffinity(0))[-int(held) :]
    os.sched_setaffinity(0, cores)  # before any library counts them
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np

import pyact
from pyact import layers, losses, ops, optimizers

if TYPE_CHECKING:
    from collections.abc import Callable

    Run = Callable[[], Any]

STEPS = 40  # compared and timed at a stretch
RATE, EPSILON = 1e-3, 1e-14  # epsilon is added in different places: here it must not matter


# ---- LeNet-5: each gives {name: a call that trains STEPS steps and returns their losses} ---------


def ours(batch: int) -> Any:
    pyact.set_seed(0)
    model = pyact.Sequential([
        layers.Input((28, 28, 1)),
        layers.Conv2D(6, 5, padding="same", activation="relu"), layers.MaxPooling2D(),
        layers.Conv2D(16, 5, activation="relu"), layers.MaxPooling2D(), layers.Flatten(),
        layers.Dense(120, activation="relu"), layers.Dense(84, activation="relu"),
        layers.Dense(10),
    ])  # fmt: skip
    loss = losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizers.Adam(RATE, epsilon=EPSILON), loss)
    return model


def torch_lenet(weights: Any, x: Any, y: Any, threads: int) -> dict[str, Run]:
    import torch
    from torch import nn

    torch.set_num_threads(threads)

    def make(channels_last: bool, fused: bool) -> Run:
        net = nn.Sequential(
            nn.Conv2d(1, 6, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 16, 5),
            nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(400, 120), nn.ReLU(),
            nn.Linear(120, 84), nn.ReLU(), nn.Linear(84, 10),
        )  # fmt: skip
        with torch.no_grad():
            for p, w in zip(net.parameters(), weights, strict=True):
                if w.ndim == 4:
                    w = w.transpose(3, 2, 0, 1)
                elif w.shape == (400, 120):  # behind Flatten the channels come first
                    w = w.reshape(5, 5, 16, 120).transpose(3, 2, 0, 1).reshape(120, 400)
                elif w.ndim == 2:
                    w = w.T
                p.copy_(torch.from_numpy(np.ascontiguousarray(w)))
        form = torch.channels_last if channels_last else torch.contiguous_format
        net = net.to(memory_format=form)
        optimizer = torch.optim.Adam(net.parameters(), RATE, eps=EPSILON, fused=fused)
        criterion = nn.CrossEntropyLoss()
        batches = [
            (torch.from_numpy(np.ascontiguousarray(a.transpose(0, 3, 1, 2)))
             .contiguous(memory_format=form), torch.from_numpy(b.astype(np.int64)))
            for a, b in zip(x, y, strict=True)
        ]  # fmt: skip

        def run() -> Any:
            found = []
            for a, b in batches:
                optimizer.zero_grad()
                loss = criterion(net(a), b)
                loss.backward()
                optimizer.step()
                found.append(loss.detach())
            return [float(v) for v in found]

        return run

    return {
        f"PyTorch {'NHWC' if form else 'NCHW'}{', fused Adam' if fused else ''}": make(form, fused)
        for form in (False, True)
        for fused in (False, True)
    }


def tensorflow_lenet(weights: Any, x: Any, y: Any, threads: int) -> dict[str, Run]:
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    xs, ys = tf.constant(x), tf.constant(y)

    def logits(w: Any, a: Any) -> Any:
        for kernel, bias, padding in ((w[0], w[1], "SAME"), (w[2], w[3], "VALID")):
            a = tf.nn.relu(tf.nn.bias_add(tf.nn.conv2d(a, kernel, 1, padding), bias))
            a = tf.nn.max_pool2d(a, 2, 2, "VALID")
        a = tf.reshape(a, (a.shape[0], 400))
        a = tf.nn.relu(a @ w[4] + w[5])
        a = tf.nn.relu(a @ w[6] + w[7])
        return a @ w[8] + w[9]

    def make(epoch: bool, jit: bool) -> Run:
        w = [tf.Variable(a) for a in weights]
        slots = [(tf.Variable(tf.zeros_like(v)), tf.Variable(tf.zeros_like(v))) for v in w]
        steps, zero = tf.Variable(tf.zeros((), tf.float64)), tf.zeros(())

        def step(a: Any, b: Any) -> Any:
            with tf.GradientTape() as tape:
                loss = tf.reduce_mean(
                    tf.nn.sparse_softmax_cross_entropy_with_logits(b, logits(w, a))
                )
            grads = tape.gradient(loss, w)
            steps.assign_add(1)  # float64, as the others: 1 - .999^t loses digits
            rate = RATE * tf.sqrt(1 - 0.999**steps) / (1 - 0.9**steps)
            for v, (m, s), g in zip(w, slots, grads, strict=True):
                tf.raw_ops.ResourceApplyAdam(
                    var=v.handle, m=m.handle, v=s.handle, beta1_power=zero, beta2_power=zero,
                    lr=tf.cast(rate, tf.float32), beta1=0.9, beta2=0.999, epsilon=EPSILON, grad=g,
                )  # fmt: skip
            return loss

        if not epoch:
            compiled = tf.function(step, jit_compile=jit)
            pairs = list(zip(tf.unstack(xs), tf.unstack(ys), strict=True))
            return lambda: [float(v) for v in [compiled(a, b) for a, b in pairs]]

        @tf.function(jit_compile=jit)
        def whole() -> Any:
            found = tf.TensorArray(tf.float32, STEPS, element_shape=())
            for i in tf.range(STEPS):
                found = found.write(i, step(xs[i], ys[i]))
            return found.stack()

        return lambda: whole().numpy()

    return {
        f"TensorFlow, {'epoch' if epoch else 'step'}{', XLA' if jit else ''}": make(epoch, jit)
        for epoch, jit in ((False, False), (False, True), (True, False))  # both: 40 ms a step
    }


def jax_lenet(weights: Any, x: Any, y: Any, threads: int) -> dict[str, Run]:
    import jax
    import jax.numpy as jnp
    from jax import lax

    def loss(w: Any, a: Any, b: Any) -> Any:
        for kernel, bias, padding in ((w[0], w[1], "SAME"), (w[2], w[3], "VALID")):
            z = lax.conv_general_dilated(
                a, kernel, (1, 1), padding, dimension_numbers=("NHWC", "HWIO", "NHWC")
            )
            a = jnp.maximum(z + bias, 0)
            a = lax.reduce_window(a, -jnp.inf, lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID")
        a = a.reshape(len(a), 400)
        a = jnp.maximum(a @ w[4] + w[5], 0)
        a = jnp.maximum(a @ w[6] + w[7], 0)
        z = jax.nn.log_softmax(a @ w[8] + w[9])
        return -jnp.mean(jnp.take_along_axis(z, b[:, None], 1))

    def step(carry: Any, data: Any) -> Any:
        w, m, v, t = carry
        value, g = jax.value_and_grad(loss)(w, *data)
        t = t + 1
        m = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, m, g)
        v = jax.tree.map(lambda v, g: 0.999 * v + 0.001 * g * g, v, g)
        rate = RATE * jnp.sqrt(1 - 0.999**t) / (1 - 0.9**t)
        w = jax.tree.map(lambda w, m, v: w - rate * m / (jnp.sqrt(v) + EPSILON), w, m, v)
        return (w, m, v, t), value

    def start() -> Any:
        w = [jnp.array(a) for a in weights]
        return [(w, *([jnp.zeros_like(a) for a in w] for _ in range(2)), jnp.float32(0))]

    xs, ys = jnp.asarray(x), jnp.asarray(y)
    whole = jax.jit(lambda carry, x, y: lax.scan(step, carry, (x, y)), donate_argnums=0)
    each = jax.jit(step, donate_argnums=0)
    states = start(), start()

    def epoch() -> Any:
        states[0][0], values = whole(states[0][0], xs, ys)
        return np.asarray(values)

    def steps() -> Any:
        found = []
        for data in pairs:
            states[1][0], value = each(states[1][0], data)
            found.append(value)
        return [float(v) for v in found]

    pairs = [(xs[i], ys[i]) for i in range(STEPS)]
    del threads  # the cores that the process is held to
    return {"JAX, step": steps, "JAX, epoch": epoch}


def lenet(peers: list[str], batch: int, threads: int, rounds: int) -> None:
    rng = np.random.default_rng(0)
    n = STEPS * batch
    y = rng.integers(0, 10, n).astype(np.int32)
    x = (rng.normal(size=(n, 28, 28, 1)) + rng.normal(size=(10, 28, 28, 1))[y]).astype(np.float32)
    xs, ys = x.reshape(STEPS, batch, 28, 28, 1), y.reshape(STEPS, batch)
    model, runs = ours(batch), {}
    weights = model.get_weights()
    makers = {"torch": torch_lenet, "tensorflow": tensorflow_lenet, "jax": jax_lenet}
    for name in peers:
        try:
            runs.update(makers[name](weights, xs, ys, threads))
        except ImportError as e:
            print(f"# {name} is left out: {e}")
    curve = [model.train_on_batch(a, b) for a, b in zip(xs, ys, strict=True)]
    for name, run in runs.items():
        gap = np.abs(np.array(run()) - np.array(curve, float))
        print(f"# {name}: losses differ by at most {gap[:5].max():.1e} over 5 steps, "
              f"{gap.max():.1e} over {STEPS}")  # fmt: skip
        # roundings differ, and grow where Adam divides a gradient of nearly 0 by its own size
        assert gap[:5].max() < 1e-5 and gap.max() < 2e-2, "they do not compute the same"

    def fit() -> None:
        model.fit(x, y, batch_size=batch, epochs=1, shuffle=False, verbose=0)

    print(f"LeNet-5, batch {batch}, Adam, ms a step")
    report({"pyact": fit, **runs}, STEPS, rounds, threads)


# ---- single convolutions -------------------------------------------------------------------------

# image, kernel, strides, padding, groups
CONVOLUTIONS = [
    ("3x3, 32 to 32 channels", (32, 32, 32), (3, 3, 32, 32), 1, 1, 1),
    ("3x3, 64 to 64", (16, 16, 64), (3, 3, 64, 64), 1, 1, 1),
    ("3x3, 32 to 64, strides 2", (32, 32, 32), (3, 3, 32, 64), 2, 1, 1),
    ("1x1, 64 to 128", (16, 16, 64), (1, 1, 64, 128), 1, 0, 1),
    ("7x7, 3 to 32, strides 2", (64, 64, 3), (7, 7, 3, 32), 2, 3, 1),
    ("3x3, 64 to 64, 4 groups", (16, 16, 64), (3, 3, 16, 64), 1, 1, 4),
    ("3x3, depthwise, 64", (32, 32, 64), (3, 3, 1, 64), 1, 1, 64),
]
BATCH, CALLS = 16, 3


def pyact_layer(
    arrays: Any, seed: Any, stride: int, padding: int, groups: int, threads: int
) -> Any:
    attrs = {"strides": (stride,) * 2, "padding": (padding,) * 4, "groups": groups}

    def forward(x: Any, k: Any, b: Any) -> Any:
        return ops.conv2d(x, k, b, **attrs)

    def weighted(x: Any, k: Any, b: Any) -> Any:
        return (forward(x, k, b) * seed).sum()

    del threads
    both = pyact.value_and_grad(weighted, argnums=(0, 1, 2))
    compiled = pyact.function(forward)
    return {
        "pyact": (lambda: forward(*arrays), lambda: both(*arrays)[1]),
        "pyact, compiled": (lambda: compiled(*arrays), None),
    }


def torch_layer(
    arrays: Any, seed: Any, stride: int, padding: int, groups: int, threads: int
) -> Any:
    import torch

    torch.set_num_threads(threads)

    def make(form: Any) -> Any:
        def image(a: Any) -> Any:
            a = torch.from_numpy(np.ascontiguousarray(np.moveaxis(a, -1, 1)))
            return a.contiguous(memory_format=form)

        x, k, b = arrays
        x = image(x).requires_grad_()
        k = torch.from_numpy(np.ascontiguousarray(k.transpose(3, 2, 0, 1)))
        k = k.contiguous(memory_format=form).requires_grad_()
        bias, dy = torch.from_numpy(b).requires_grad_(), image(seed)

        def call() -> Any:
            return torch.nn.functional.conv2d(x, k, bias, stride, padding, groups=groups)

        def forward() -> Any:
            with torch.inference_mode():
                return call().movedim(1, -1)

        def backward() -> Any:
            dx, dk, db = torch.autograd.grad((call() * dy).sum(), (x, k, bias))
            return dx.movedim(1, -1), dk.permute(2, 3, 1, 0), db

        return forward, backward

    return {
        "PyTorch NCHW": make(torch.contiguous_format),
        "PyTorch NHWC": make(torch.channels_last),
    }


def convolutions(threads: int, rounds: int) -> None:
    rng = np.random.default_rng(0)
    for title, image, kernel, stride, padding, groups in CONVOLUTIONS:
        arrays = [rng.normal(size=s).astype(np.float32) for s in ((BATCH, *image), kernel)]
        arrays[1] /= np.float32(np.prod(kernel[:3]) ** 0.5)
        arrays.append(rng.normal(size=kernel[3:]).astype(np.float32))
        out = [(n + 2 * padding - k) // stride + 1 for n, k in zip(image, kernel[:2], strict=False)]
        seed = rng.normal(size=(BATCH, *out, kernel[3])).astype(np.float32)
        found: dict[str, Any] = {}
        for make in (pyact_layer, torch_layer):
            try:
                found.update(make(arrays, seed, stride, padding, groups, threads))
            except ImportError as e:
                print(f"# PyTorch is left out: {e}")
        want = [found["pyact"][0](), *found["pyact"][1]()]
        for name, (forward, backward) in found.items():
            got_all = [forward(), *(backward() if backward else want[1:])]
            for got, own in zip(got_all, want, strict=True):
                np.testing.assert_allclose(got, own, rtol=0, atol=1e-4 * np.abs(own).max(),
                                           err_msg=name)  # fmt: skip
        for k, what in enumerate(("forward", "forward and backward")):
            print(f"{title}, on {BATCH} images of {image[0]} x {image[1]}, {what}, ms")
            runs = {n: repeat(calls[k]) for n, calls in found.items() if calls[k]}
            report(runs, CALLS, rounds, threads)


def repeat(call: Run) -> Run:
    def run() -> None:
        for _ in range(CALLS):
            call()

    return run


# ---- the table -----------------------------------------------------------------------------------


def report(runs: dict[str, Run], count: int, rounds: int, threads: int) -> None:
    """With several threads each has a pause and a call that is not counted first: idle threads
    of the contender before it spin for a while and would hold its cores."""
    times: dict[str, list[float]] = {name: [] for name in runs}
    for k in range(rounds + 1):
        for name, run in runs.items():
            if threads > 1:
                time.sleep(0.1)
                run()
            begun = perf_counter()
            run()
            if k:
                times[name].append((perf_counter() - begun) / count * 1e3)
    for name, t in times.items():
        low, middle, high = np.percentile(t, (25, 50, 75))
        print(f"    {name:26s} {middle:8.3f} ({low:.3f} to {high:.3f})")
    peers = {n: float(np.median(t)) for n, t in times.items() if not n.startswith("pyact")}
    if peers:
        best = min(peers, key=lambda n: peers[n])
        ratios = [f"{n} {peers[best] / np.median(t):.2f}" for n, t in times.items()
                  if n.startswith("pyact")]  # fmt: skip
        print(f"    times as fast as {best}: {'; '.join(ratios)}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", nargs="+", choices=["lenet", "layers"],
                        default=["lenet", "layers"])  # fmt: skip
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--peers", nargs="+", choices=["torch", "tensorflow", "jax"],
                        default=["torch", "tensorflow", "jax"])  # fmt: skip
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--batch", type=int, default=64)
    options = parser.parse_args()
    if "PYACT_BENCH_CORES" not in os.environ:
        for threads in options.threads:
            held = {"PYACT_BENCH_CORES": str(threads), "OMP_NUM_THREADS": str(threads)}
            subprocess.run([sys.executable, *sys.argv], env={**os.environ, **held}, check=True)
        return
    threads = int(os.environ["PYACT_BENCH_CORES"])
    pyact.set_num_threads(threads)
    print(f"# {threads} thread{'s' * (threads > 1)}")
    if "lenet" in options.cases:
        lenet(options.peers, options.batch, threads, options.rounds)
    if "layers" in options.cases:
        convolutions(threads, options.rounds)


if __name__ == "__main__":
    main()
