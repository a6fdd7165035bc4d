"""Saves and loads with each system call failing in turn.

    python tests/syscalls.py               # every call, every error; about ten seconds
    python tests/syscalls.py --plant NAME  # with a bug in the saving: must fail

`shim/syscalls.c`, built here and preloaded, makes the n-th call of files fail: once, or
from there on for good, with EINTR, EIO, ENOSPC, EMFILE or EACCES, or by transferring a
half, or nothing. That is tried for each n until a run comes to its end without it.

Whatever fails, the call returns as if nothing had been, or raises OSError; the file is the
old one, whole, or, once it has taken its place, the new one, whole and synced before; no
descriptor is left open and no temporary stays (where removing it failed, the next save
does); a model that is read into is the old one or the new one.
"""

from __future__ import annotations

import collections
import contextlib
import ctypes
import errno
import inspect
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

import pyact
from pyact import _safetensors
from pyact.callbacks import ModelCheckpoint
from pyact.layers import Dense, Input

SHORT, ZERO = -1, -2
ONCE = {"EINTR": errno.EINTR, "EIO": errno.EIO, "ENOSPC": errno.ENOSPC, "EMFILE": errno.EMFILE,
        "EACCES": errno.EACCES, "short": SHORT, "nothing": ZERO}  # fmt: skip
FOR_GOOD = ("EIO", "ENOSPC", "EMFILE", "short", "nothing")
USED = {"open", "close", "write", "preadv", "fsync", "rename", "fstat", "fchmod", "flock"}
HERE = Path(__file__).resolve().parent


def build(folder):
    """The preloaded library, made from its source."""
    path = os.path.join(folder, "syscalls.so")
    source = HERE / "shim" / "syscalls.c"
    cc = os.environ.get("CC", "cc").split()
    subprocess.run([*cc, "-std=gnu11", "-O1", "-shared", "-fPIC", source, "-o", path, "-ldl"],
                   check=True)  # fmt: skip
    return path


def descriptors():
    return len(os.listdir("/proc/self/fd"))


class Shim:
    def __init__(self, path):
        self.lib = ctypes.CDLL(path)
        self.lib.fault_hit.restype = ctypes.c_char_p

    def run(self, call, nth, error, for_good):
        """What call() returned or raised, with the nth system call failing."""
        found = raised = None
        self.lib.fault_arm(ctypes.c_long(nth), error, for_good)
        try:
            found = call()
        except Exception as caught:
            raised = caught
        finally:
            self.calls = self.lib.fault_disarm()
            self.hit = self.lib.fault_hit().decode()
        return found, raised

    renamed = property(lambda self: self.lib.fault_renames())
    unsafe = property(lambda self: self.lib.fault_unsafe())


# ---- what is saved and read --------------------------------------------------------------------


def arrays_of(version):
    return {"a": np.full(5, version, np.float64), "b": np.full((3, 2), version, np.float32),
            "none": np.zeros((0, 2)), "c": np.full(20, version, np.int16)}  # fmt: skip


def model_of(version):
    pyact.set_seed(version)
    model = pyact.Sequential(
        [Input((3,), name="x"), Dense(4, name="a"), Dense(2, name="b")], name="m"
    )
    model.compile("adam", "mse")
    model.set_weights([np.full_like(w, version) for w in model.get_weights()])
    return model


X, Y = np.ones((4, 3), np.float32), np.ones((4, 2), np.float32)


class Saving:
    """A save over an old file: `call` is to be run, `kept` what must be there then."""

    def __init__(self, kind, folder):
        self.kind, self.folder = kind, folder
        self.path = self.real = os.path.join(folder, "model")
        if kind == "over a link":
            self.real = os.path.join(folder, "real")
            os.symlink("real", self.path)
        self.models = {v: model_of(v) for v in (0, 1)}
        self.content = {}
        for version in (1, 0):
            self.reset()
            self.save(version)
            self.content[version] = Path(self.real).read_bytes()

    def reset(self):
        """The old file and nothing else."""
        if os.path.exists(self.real):
            os.unlink(self.real)
        if self.kind != "a new file" and 0 in self.content:
            Path(self.real).write_bytes(self.content[0])
            os.chmod(self.real, 0o640)

    def save(self, version=1):
        if self.kind == "a training state":
            model = model_of(version)
            save = ModelCheckpoint(self.path, "loss")
            model.fit(X, Y, epochs=1, verbose=0, callbacks=[save])
        elif self.kind == "a model":
            self.models[version].save(self.path)
        else:
            _safetensors.write(self.path, arrays_of(version))

    call = save

    def judge(self, shim, raised):
        there = Path(self.real).read_bytes() if os.path.exists(self.real) else None
        old = None if self.kind == "a new file" else self.content[0]
        if raised is not None and not isinstance(raised, OSError):
            yield f"raised {raised!r}"
        if there != (self.content[1] if shim.renamed else old):
            yield f"torn: {None if there is None else len(there)} bytes"
        if raised is None and there != self.content[1]:
            yield "returned without having saved"
        if shim.unsafe:
            yield "took the other's place before it was on disk"
        if self.kind == "over a link" and not os.path.islink(self.path):
            yield "replaced the link"
        if old and there and os.stat(self.real).st_mode & 0o777 != 0o640:
            yield "changed the rights"
        left = set(os.listdir(self.folder)) - {"model", "real"}
        if left and shim.hit != "unlink":
            self.save()
            if set(os.listdir(self.folder)) - {"model", "real"}:
                yield f"left for good: {left}"
            if not shim.for_good:
                yield f"left: {left}"


class Loading:
    """A file is read: all of it, or OSError (ValueError for a file that ends early)."""

    def __init__(self, kind, folder):
        self.kind, self.path = kind, os.path.join(folder, "model")
        model = model_of(1)
        if kind == "arrays":
            _safetensors.write(self.path, arrays_of(1))
        elif kind == "a run resumed":
            model.fit(X, Y, epochs=1, verbose=0, callbacks=[ModelCheckpoint(self.path, "loss")])
            self.want = self.bits(self.resumed(model_of(0)))
        else:
            model.save(self.path)
        self.into = model_of(0)
        self.reset()

    @staticmethod
    def bits(model):
        return [w.tobytes() for w in model.weights]

    def resumed(self, model):
        model.fit(X, Y, epochs=2, verbose=0, resume_from=self.path)
        return model

    def reset(self):
        if self.kind == "a run resumed":
            self.into = model_of(0)
        for weight in self.into.weights:
            weight[...] = 0

    def call(self):
        if self.kind == "arrays":
            return _safetensors.read(self.path)[0]
        if self.kind == "weights":
            return self.into.load_weights(self.path)
        if self.kind == "a run resumed":
            return self.resumed(self.into)
        return pyact.load_model(self.path)

    def judge(self, shim, raised, found=None):
        early = isinstance(raised, ValueError) and "cut off" in str(raised)
        if raised is not None and not isinstance(raised, OSError) and not early:
            yield f"raised {raised!r}"
        if raised is None and self.kind == "arrays":
            if any((found[k] != v).any() for k, v in arrays_of(1).items()):
                yield "read other values"
        elif raised is None and self.kind == "a run resumed":
            if self.bits(self.into) != self.want:
                yield "went on to other bits"
        elif raised is None or self.kind in ("weights", "a run resumed"):
            model = found if self.kind == "a model" else self.into
            version = 1 if raised is None else 0
            if any((np.asarray(w) != version).any() for w in model.weights):
                yield f"the weights are not those of version {version}"


SCENES = [
    *[(Saving, k) for k in ("a new file", "over a file", "over a link", "a model",
                            "a training state")],
    *[(Loading, k) for k in ("arrays", "weights", "a model", "a run resumed")],
]  # fmt: skip


def scene(shim, make, kind, complaints, kinds):
    """Every call, every error; how many runs that were. `kinds`: of calls that failed."""
    runs = 0
    with tempfile.TemporaryDirectory() as folder:
        one = make(kind, folder)
        what = f"{make.__name__.lower()} {kind}"
        for name, error in ONCE.items():
            for for_good in (False, True)[: 1 + (name in FOR_GOOD)]:
                shim.for_good, nth = for_good, 0
                while True:
                    one.reset()
                    before = descriptors()
                    found, raised = shim.run(one.call, nth, error, for_good)
                    after = descriptors()
                    more = [found] if make is Loading else []
                    wrong = list(one.judge(shim, raised, *more))
                    if after != before:
                        wrong.append(f"{after - before} descriptors are left open")
                    if not shim.hit and raised is not None:
                        wrong.append(f"raised {raised!r} though nothing failed")
                    if name == "EINTR" and shim.hit in ("read", "readv", "preadv", "write") \
                            and raised is not None:  # fmt: skip
                        wrong.append("an interrupted call was not made again")
                    if name == "short" and raised is not None:
                        wrong.append("the rest was not transferred")
                    complaints += [
                        f"{what}, call {nth} ({shim.hit}) {name}{' for good' * for_good}: {w}"
                        for w in wrong
                    ]
                    runs += bool(shim.hit)
                    kinds[shim.hit] += 1
                    if len(complaints) > 50:
                        return runs
                    if nth >= shim.calls:
                        break
                    nth += 1
    return runs


# ---- real limits -------------------------------------------------------------------------------


def limits(complaints):
    """The same without a shim: a limit of file size at each byte, of descriptors at each."""
    import resource
    import signal

    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    runs = 0
    with tempfile.TemporaryDirectory() as folder:
        one = Saving("over a file", folder)
        size = len(one.content[1])
        tried = [(resource.RLIMIT_FSIZE, n) for n in range(0, size + 1, 3)]
        tried += [(resource.RLIMIT_NOFILE, n) for n in range(64)]
        for what, n in tried:
            one.reset()
            before, raised = descriptors(), None
            soft, hard = resource.getrlimit(what)
            resource.setrlimit(what, (n, hard))
            try:
                one.save()
            except OSError as caught:
                raised = caught
            finally:
                resource.setrlimit(what, (soft, hard))
            there = Path(one.real).read_bytes()
            if there != one.content[0 if raised else 1] or descriptors() != before:
                complaints.append(f"limit {what} of {n}: {raised!r}, {len(there)} bytes")
            if len(os.listdir(folder)) != 1:
                complaints.append(f"limit {what} of {n}: {os.listdir(folder)}")
            runs += raised is not None
    return runs


# ---- planted bugs ------------------------------------------------------------------------------

PLANTS = {
    "a short write is the end": ("_write_all", "while at < len(view)", "if at < len(view)"),
    "no fsync": ("_replace", "os.fsync(fd)", "pass"),
    "fsync may fail": ("_replace", "os.fsync(fd)", "_try(fd)"),
    "the temporary stays": ("_replace", "_remove(temporary)", "pass"),
    "the descriptor stays": ("_replace", "os.close(fd)", "pass"),
    "in place": ("_replace", "fd, temporary = _temporary(folder, prefix)",
                 "temporary = target; fd = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)"),
    "a link is a file": ("_target", "os.path.realpath(path, strict=True)", "os.path.abspath(path)"),
    "a short read is the end": ("File._fill", "while at < len(view)", "if at < len(view)"),
    "the reader's descriptor stays": ("File.__init__", "self.close()", "pass"),
}  # fmt: skip


def plant(name):
    import textwrap

    def _try(fd):
        with contextlib.suppress(OSError):
            os.fsync(fd)

    where, old, new = PLANTS[name]
    owner = _safetensors.File if "." in where else _safetensors
    where = where.split(".")[-1]
    source = textwrap.dedent(inspect.getsource(getattr(owner, where)))
    assert source.count(old) == 1, (name, source)
    space = {**vars(_safetensors), "_try": _try}
    exec("from __future__ import annotations\n" + source.replace(old, new), space)
    setattr(owner, where, space[where])


def main():
    begin, complaints = time.perf_counter(), []
    if "--plant" in sys.argv:
        plant(sys.argv[sys.argv.index("--plant") + 1])
    shim = Shim(os.environ["LD_PRELOAD"])
    kinds = collections.Counter()
    runs = sum(scene(shim, make, kind, complaints, kinds) for make, kind in SCENES)
    complaints += [f"no {call} was seen: the shim is not used" for call in USED - set(kinds)]
    limited = 0 if complaints else limits(complaints)
    for line in complaints[:20]:
        print(line, file=sys.stderr)
    print(f"{runs} failing system calls in {len(SCENES)} kinds of saving and loading, "
          f"{limited} real limits: {len(complaints)} complaints, "
          f"{time.perf_counter() - begin:.0f} s")  # fmt: skip
    return bool(complaints)


if __name__ == "__main__":
    if "LD_PRELOAD" in os.environ:
        sys.exit(main())
    with tempfile.TemporaryDirectory() as made:
        environment = {**os.environ, "LD_PRELOAD": build(made)}
        sys.exit(subprocess.run([sys.executable, *sys.argv], env=environment).returncode)
