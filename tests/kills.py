"""Kills a process that saves a model, at random moments, and looks at the file.

    python tests/kills.py 10000            # about four minutes
    python tests/kills.py 200 --plant      # with a save that writes in place: must fail

Each child saves version after version of a model, every weight of which is the version's
number, and says so when a save has returned. After its end the file must be whole and
hold the last version said, or the one after it.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import tempfile
import time

import numpy as np

import pyact
from pyact import _safetensors
from pyact.layers import Dense, Input


def save_in_place(path, arrays, metadata=None):
    """The planted fault."""
    head, parts = _safetensors._header(arrays, metadata or {})
    with open(path, "wb", buffering=0) as file:
        _safetensors._write_all(file.fileno(), head)
        for array in parts:
            _safetensors._write_all(file.fileno(), array)
        os.fsync(file.fileno())


def child(model, path, first, pipe):
    _safetensors._CHUNK = 4096  # many writes, so that many kills fall between them
    version = first
    while True:
        version += 1
        for weight in model.weights:
            weight[...] = version
        model.save(path)
        os.write(pipe, version.to_bytes(8, "little"))


def kill_once(model, path, first, after):
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.close(read)
            child(model, path, first, write)
        finally:
            os._exit(1)
    os.close(write)
    time.sleep(after)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    said = first
    with open(read, "rb") as pipe:
        data = pipe.read()
        if data:
            said = int.from_bytes(data[-8:], "little")
    arrays, _ = _safetensors.read(path)
    found = {float(v) for array in arrays.values() for v in np.unique(array)}
    if len(found) != 1 or not said <= min(found) <= said + 1:
        raise ValueError(f"version {said} was saved last, the file has {sorted(found)[:5]}")
    return int(found.pop())


def run(kills, seed=0):
    rng = random.Random(seed)
    model = pyact.Sequential([Input((64,)), Dense(64), Dense(64), Dense(8)])
    model.set_weights([np.zeros_like(w) for w in model.get_weights()])
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "model.safetensors")
        model.save(path)
        version, moved = 0, 0
        for _ in range(kills):
            now = kill_once(model, path, version, rng.uniform(0, 0.02))
            moved += now != version
            version = now
        model.save(path)
        left = os.listdir(folder)
        if left != ["model.safetensors"]:
            raise ValueError(f"stale temporaries are left: {left}")
    return version, moved


if __name__ == "__main__":
    if "--plant" in sys.argv:
        import pyact.saving

        pyact.saving.write = save_in_place
    begin = time.perf_counter()
    kills = int(sys.argv[1])
    versions, moved = run(kills)
    print(
        f"{kills} kills, {versions} whole saves, {moved} kills after at least one: nothing torn, "
        f"nothing lost, {time.perf_counter() - begin:.0f} s"
    )
