"""Training steps of recurrent networks, pyact and PyTorch interleaved on the same data.

    python benchmarks/bench_recurrent.py [--threads 1] [--rounds 15]

A step is forward, mean squared error, backward and Adam of one recurrent layer and a
Dense(1) on its last state. PyTorch's optimizer is the fused one. Times are microseconds a
step, minimum and median over the rounds.
"""

from __future__ import annotations

import argparse
import time
from typing import Any

import numpy as np

import pyact
from pyact.layers import GRU, LSTM, Dense, Input, SimpleRNN

CASES = [
    # layer, units, batch, steps, features, training steps a round
    (SimpleRNN, 50, 32, 10, 1, 100),
    (LSTM, 128, 32, 50, 32, 5),
    (GRU, 128, 32, 50, 32, 5),
]


def pyact_runner(kind: Any, units: int, x: Any, y: Any, batch: int) -> Any:
    model = pyact.Sequential([Input(x.shape[1:]), kind(units), Dense(1)])
    model.compile("adam", "mse")
    return lambda: model.fit(x, y, batch_size=batch, verbose=0, shuffle=False)


def torch_runner(torch: Any, kind: Any, units: int, x: Any, y: Any, batch: int) -> Any:
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=15)
    given = parser.parse_args()
    pyact.set_num_threads(given.threads)
    try:
        import torch
    except ImportError:
        torch = None
    else:
        torch.set_num_threads(given.threads)
    rng = np.random.default_rng(0)
    for kind, units, batch, steps, features, count in CASES:
        x = rng.normal(size=(batch * count, steps, features)).astype(np.float32)
        y = rng.normal(size=(batch * count, 1)).astype(np.float32)
        runners = {"pyact": pyact_runner(kind, units, x, y, batch)}
        if torch is not None:
            runners["torch"] = torch_runner(torch, kind, units, x, y, batch)
        times: dict[str, list[float]] = {name: [] for name in runners}
        for k in range(given.rounds + 2):
            for name, run in runners.items():
                begin = time.perf_counter()
                run()
                if k >= 2:
                    times[name].append((time.perf_counter() - begin) / count * 1e6)
        shape = f"{kind.__name__}({units}) on ({batch}, {steps}, {features})"
        text = ", ".join(f"{n} {min(t):.0f} / {np.median(t):.0f} us" for n, t in times.items())
        if torch is not None:
            text += f", {min(times['torch']) / min(times['pyact']):.2f}x"
        print(f"{shape}, {given.threads} threads: {text}", flush=True)


if __name__ == "__main__":
    main()
