"""A training step of LeNet-5, batch 64, Adam, one thread: pyact and PyTorch, turn by turn.

    python benchmarks/bench_images.py [--rounds 30] [--batch 64]

Both start from the same weights and see the same batches in the same order; their loss curves
are compared before anything is timed. PyTorch is measured with both orders of axes and with its
fused Adam, and the fastest of them counts. A round times a few steps of each, so that both meet
the same moods of the machine; the median over the rounds is printed, with the quartiles.
"""

from __future__ import annotations

import argparse
import os
from time import perf_counter

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np

import pyact
from pyact import layers, losses, optimizers

STEPS = 40  # compared and timed at a stretch
EPSILON = 1e-14  # Keras and PyTorch add it in different places: here it must not matter


def ours(batch: int):
    pyact.set_num_threads(1)
    pyact.set_seed(0)
    model = pyact.Sequential([
        layers.Input((28, 28, 1)),
        layers.Conv2D(6, 5, padding="same", activation="relu"), layers.MaxPooling2D(),
        layers.Conv2D(16, 5, activation="relu"), layers.MaxPooling2D(), layers.Flatten(),
        layers.Dense(120, activation="relu"), layers.Dense(84, activation="relu"),
        layers.Dense(10),
    ])  # fmt: skip
    loss = losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizers.Adam(1e-3, epsilon=EPSILON), loss)
    return model


def theirs(weights, channels_last: bool, fused: bool):
    import torch
    from torch import nn

    torch.set_num_threads(1)
    net = nn.Sequential(
        nn.Conv2d(1, 6, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 16, 5), nn.ReLU(),
        nn.MaxPool2d(2), nn.Flatten(), nn.Linear(400, 120), nn.ReLU(), nn.Linear(120, 84),
        nn.ReLU(), nn.Linear(84, 10),
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
    optimizer = torch.optim.Adam(net.parameters(), 1e-3, eps=EPSILON, fused=fused)
    criterion = nn.CrossEntropyLoss()

    def run(batches):
        found = []
        for x, y in batches:
            optimizer.zero_grad()
            loss = criterion(net(x), y)
            loss.backward()
            optimizer.step()
            found.append(loss.detach())
        return [float(v) for v in found]

    def convert(x, y):
        x = torch.from_numpy(np.ascontiguousarray(x.transpose(0, 3, 1, 2)))
        return x.contiguous(memory_format=form), torch.from_numpy(y.astype(np.int64))

    return run, convert


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--batch", type=int, default=64)
    options = parser.parse_args()
    batch, rng = options.batch, np.random.default_rng(0)
    n = STEPS * batch
    y = rng.integers(0, 10, n).astype(np.int32)
    x = (rng.normal(size=(n, 28, 28, 1)) + rng.normal(size=(10, 28, 28, 1))[y]).astype(np.float32)

    model, runs = ours(batch), {}
    weights = model.get_weights()
    for form in (False, True):
        for fused in (False, True):
            name = f"PyTorch {'NHWC' if form else 'NCHW'}{', fused Adam' if fused else ''}"
            run, convert = theirs(weights, form, fused)
            parts = [slice(i, i + batch) for i in range(0, n, batch)]
            runs[name] = (run, [convert(x[p], y[p]) for p in parts])
    curve = [model.train_on_batch(x[i : i + batch], y[i : i + batch]) for i in range(0, n, batch)]
    for name, (run, batches) in runs.items():
        gap = np.abs(np.array(run(batches)) - np.array(curve, float)).max()
        print(f"{name:28s} loss curve over {STEPS} steps differs by at most {gap:.1e}")
        assert gap < 1e-4, "they do not compute the same"

    def fit(_) -> None:
        model.fit(x, y, batch_size=batch, epochs=1, shuffle=False, verbose=0)

    runs = {"pyact": (fit, None), **runs}
    times = {name: [] for name in runs}
    for _ in range(options.rounds):
        for name, (run, batches) in runs.items():
            begun = perf_counter()
            run(batches)
            times[name].append((perf_counter() - begun) / STEPS * 1e3)
    best = min(np.median(t) for name, t in times.items() if name != "pyact")
    for name, t in times.items():
        low, middle, high = np.percentile(t, (25, 50, 75))
        print(f"{name:28s} {middle:6.2f} ms a step ({low:.2f} to {high:.2f})")
    print(f"pyact is {best / np.median(times['pyact']):.2f} times as fast as the fastest of them")


if __name__ == "__main__":
    main()
