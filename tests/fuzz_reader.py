"""Hostile model files, made by one who knows the format.

    python tests/fuzz_reader.py 10000000   # files of arrays; every fourth hundredth a model
    python tests/fuzz_reader.py 20000 --plant NAME     # with a bug in the reader: must fail
    python tests/fuzz_reader.py 100000 --keep tests/corpus

Files are made of headers whose texts (names, dtypes, shapes, offsets) are bent one by one,
put in another order, doubled, left out, nested, and then of bytes that are changed, cut
off, added or moved. Whatever comes, the reader answers with arrays or ValueError, within a
second, with no more memory than the file has and 16 MiB. What it accepts

- the safetensors package accepts too, with the same values, where that is installed;
- comes out the same when it is written and read again.

For models the description is bent: wrong types, unknown classes and keys, sizes without
measure, depth. The answer is a model or ValueError, and nothing is imported, compiled,
executed, or opened but the file itself (an audit hook looks on).

Work is shared among processes (--jobs); the seed (--seed) says which inputs are made.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import copy
import functools
import hashlib
import inspect
import json
import os
import random
import re
import signal
import sys
import tempfile
import textwrap
import time
import tracemalloc
import warnings
from pathlib import Path

import pyact
from pyact import _safetensors

try:
    import safetensors
except ImportError:
    safetensors = None

SECONDS, MEMORY = 1.0, 16 << 20
PER_MODEL = 400  # one description for so many files of arrays
AT_ONCE = 250_000  # inputs of one process

NUMBERS = ["0", "1", "2", "3", "4", "8", "7", "-1", "-0", "00", "01", "1.0", "1e3", "1E400", "0.5",
           "2147483647", "2147483648", "4294967295", "4294967296", "4294967297",
           "9223372036854775807", "9223372036854775808", "18446744073709551615",
           "18446744073709551616", "18446744073709551617", "9" * 19, "9" * 30, "9" * 5000, "NaN",
           "Infinity", "null", "true", '"1"', "[]", "[1]", "{}", "", " ", "0x10", "+1", "1_0",
           "\u0661", "\uff11"]  # fmt: skip
STRINGS = ['"a"', '"b"', '""', '"\\u0061"', '"\\u0000"', '"\\ud800"', '"\\udc00\\ud800"',
           '"\\ud83d\\ude00"', '"\u00e9"', '"\U0001f600"', '"\\x41"', '"\\', '"a', "a", "'a'",
           '"\n"', '"\x00"', '"\x7f"', '"__metadata__"', '"dtype"', '"shape"', '"data_offsets"',
           '"' + "a" * 3000 + '"', "null", "1", "{}", '"\\/\\b\\f\\n\\r\\t\\\\\\""', '"../a"',
           '"\ufeff"', '"\u2028"', '"\\u00e"', '"\\uD83D"']  # fmt: skip
NAMES = list(_safetensors.DTYPES)
DTYPES = [f'"{d}"' for d in NAMES] + [
    '"F31"',
    '"f32"',
    '"F4"',
    '"F6_E2M3"',
    '"F64 "',
    '"<f4"',
    '"O"',
    '"BOOL\\u0000"',
    '"\\u0046\\u0033\\u0032"',
]
SPACES = ["", "", "", " ", "\n", "\t\r\n ", "\u00a0", "\x0b", "//x\n", "/**/", "\x00"]
DEEP = ["[" * 3000, '{"a":' * 3000, "[[[[]]]]", '{"a":{"b":{}}}', "[" * 3000 + "]" * 3000]


class Maker:
    """Makes files from a random state."""

    def __init__(self, seed):
        self.rng = random.Random(seed)
        self.before = b""

    def sound(self):
        """A sound file in parts: [name, dtype, shape, offsets] of each array; data."""
        rng, at, entries = self.rng, 0, []
        for k in range(rng.choice((0, 1, 1, 1, 2, 2, 3, 5))):
            dtype = rng.choice(NAMES)
            shape = [rng.choice((0, 1, 1, 2, 3, 4)) for _ in range(rng.choice((0, 1, 1, 2, 2, 3)))]
            size = _safetensors.DTYPES[dtype].itemsize
            for n in shape:
                size *= n
            texts = [str(n) for n in shape]
            entries.append([f'"{"abcdefgh"[k]}"', f'"{dtype}"', texts, [str(at), str(at + size)]])
            at += size
        data = rng.randbytes(at)
        if any(e[1] == '"BOOL"' for e in entries):
            data = bytes(b & 1 for b in data)
        return entries, data

    def bend(self, entries):
        """Changes one text, or which entries there are, or their order."""
        rng = self.rng
        if not entries:
            return
        entry, what = rng.choice(entries), rng.randrange(13)
        if what == 0:
            entry[0] = rng.choice(STRINGS)
        elif what == 1:
            entry[1] = rng.choice(DTYPES)
        elif what == 2 and entry[2]:
            entry[2][rng.randrange(len(entry[2]))] = rng.choice(NUMBERS)
        elif what == 3:
            entry[2].insert(rng.randrange(len(entry[2]) + 1), rng.choice(NUMBERS))
        elif what == 4 and entry[3]:
            entry[3][rng.randrange(len(entry[3]))] = rng.choice(NUMBERS)
        elif what == 5:
            entry[3] = [str(int(n) + rng.choice((-8, -4, -1, 1, 4, 8))) if n.isdecimal()
                        and len(n) < 20 else n for n in entry[3]]  # fmt: skip
        elif what == 6:
            entry[rng.randrange(2, 4)] = [rng.choice(NUMBERS)] * rng.choice((0, 1, 2, 3, 31, 33))
        elif what == 7:
            entries.append(copy.deepcopy(entry))
        elif what == 8:
            entries.remove(entry)
        elif what == 9:
            entry.append(rng.choice(["dtype", "shape", "data_offsets", "code", "a" * 300]))
        elif what == 10:
            entry[rng.randrange(2)] = rng.choice(DEEP)
        elif what == 11:
            entry[2] = ["1"] * rng.choice((30, 31, 32, 33, 60))
        else:  # of a size that is 0 in 64 bits
            end = max((e[3][-1] for e in entries if e[3]), default="0", key=len)
            end = end if rng.random() < 0.2 else str(rng.choice((0, 0, 4, 8)))
            shape = rng.choice(
                (
                    ["4294967296"] * 2,
                    ["9223372036854775807", "2", "2"],
                    ["4611686018427387904", "8"],
                    ["0", *["4294967296"] * 3],
                )
            )
            entries.append(['"w"', '"U8"', list(shape), [end, end]])  # fmt: skip

    def text(self, entries, plain):
        """The header; unless `plain`, with white space, in any order, with metadata."""
        rng, items = self.rng, []
        for name, dtype, shape, span, *more in entries:
            parts = [f'"dtype":{dtype}', f'"shape":[{",".join(shape)}]',
                     f'"data_offsets":[{",".join(span)}]']  # fmt: skip
            parts += [f'"{key}":1' if key == "code" else parts[0] for key in more]
            if not plain and rng.random() < 0.3:
                rng.shuffle(parts)
            if not plain and rng.random() < 0.05:
                parts.pop()
            items.append(f"{name}:{{{','.join(parts)}}}")
        if not plain:
            if rng.random() < 0.3:
                key, value = rng.choice(STRINGS), rng.choice(STRINGS)
                items.insert(0, f'"__metadata__":{{{key}:{value}}}')
            if rng.random() < 0.2:
                rng.shuffle(items)
            if rng.random() < 0.2:
                space = rng.choice(SPACES)
                mark = rng.choice(",:{}[]")
                return "{" + ",".join(items).replace(mark, space + mark + space) + "}"
        return "{" + ",".join(items) + "}" + " " * rng.choice((0, 0, 1, 7))

    def scratch(self, raw):
        """Changes bytes."""
        rng, data = self.rng, bytearray(raw)
        for _ in range(rng.choice((1, 1, 1, 2, 4))):
            at, what = rng.randrange(len(data) + 1), rng.randrange(8)
            if what == 0 and at < len(data):
                data[at] ^= 1 << rng.randrange(8)
            elif what == 1:
                data[at:at] = rng.randbytes(rng.choice((1, 2, 8)))
            elif what == 2:
                del data[at : at + rng.choice((1, 2, 8, 100))]
            elif what == 3:
                del data[at:]
            elif what == 4:
                data[at:at] = data[at : at + rng.choice((1, 8, 40))]
            elif what == 5:
                data[at : at + 1] = rng.choice(b'{}[],:"\\0919 \n\xff\xc0\xed\xf4').to_bytes(
                    1, "big"
                )
            elif what == 6 and self.before:
                cut = rng.randrange(len(self.before))
                data[at:] = self.before[cut:]
            elif what == 7:
                n = rng.choice((0, 1, 2**20, 2**20 + 1, 2**31, 2**32, 2**63 - 1, 2**63, 2**64 - 1,
                                len(data), max(len(data) - 8, 0)))  # fmt: skip
                data[:8] = n.to_bytes(8, "little")
        return bytes(data)

    def file(self):
        entries, data = self.sound()
        kind = self.rng.random()
        if kind > 0.15:
            for _ in range(self.rng.choice((0, 1, 1, 1, 2, 3))):
                self.bend(entries)
        raw = self.text(entries, kind < 0.05).encode("utf-8", "surrogatepass")
        if self.rng.random() < 0.05:
            data += b"\0" * self.rng.choice((1, 4, 8))
        raw = len(raw).to_bytes(8, "little") + raw + data
        if kind > 0.6:
            raw = self.scratch(raw)
        self.before = raw
        return raw

    def large(self):
        """A header of up to a mebibyte, of the kind that costs most."""
        rng, n = self.rng, 1 << rng_size(self.rng)
        kind = rng.randrange(8)
        if kind == 6:
            text = json.dumps({"__metadata__": {"pyact": json.dumps(list(range(n // 20)))}})
        elif kind == 7:
            text = '{"__metadata__":{"a":"' + rng.choice(
                ["\\n", "\\ud83d\\ude00", "a", "\u00e9"]
            ) * (n // 14)
            text += rng.choice(['"}}', "", "\\"])
        elif kind == 0:
            text = "{" + ",".join(f'"{k}":{{"dtype":"U8","shape":[0],"data_offsets":[0,0]}}'
                                  for k in range(n // 60)) + "}"  # fmt: skip
        elif kind == 1:
            text = '{"__metadata__":{' + ",".join(f'"{k}":""' for k in range(n // 11)) + "}}"
        elif kind == 2:
            text = '{"__metadata__":{"a":"' + "\\u00e9" * (n // 6) + '"}}'
        elif kind == 3:
            text = '{"a":' + rng.choice("[{") * n
        elif kind == 4:
            text = "{" + rng.choice(" \n\t") * n + "}"
        else:
            text = '{"a":{"dtype":"U8","shape":[' + "1," * (n // 2) + '1],"data_offsets":[0,1]}}'
        raw = text.encode()
        return len(raw).to_bytes(8, "little") + raw


def rng_size(rng):
    return rng.randrange(10, 21)


# ---- descriptions of models --------------------------------------------------------------------

ODD = [None, True, False, 0, 1, -1, 2, 3, 7, 2**31, 2**32 + 1, 2**40, 2**62, 2**63 - 1, 2**63,
       2**64, -(2**63), 10**30, 0.5, -0.0, 1e308, 1e-320, "", "a", "os.system", "__class__",
       "__init__", "relu", "softmax", "mse", "adam", "float16", "float64", "int32", "complex64",
       "same", "valid", "/etc/passwd", "\x00", "\U0001f600", "a" * 2000, [], [0], [-1], [1, 2],
       [2**40, 2**40], [None], [[]], {}, {"class_name": "Dense"}, {"class_name": "eval",
       "config": {}}, {"config": {}}, {"unknown": "x"}, [1] * 40]  # fmt: skip


def places(tree, found):
    """Every (container, key) of a JSON value."""
    pairs = tree.items() if isinstance(tree, dict) else enumerate(tree)
    for key, value in pairs:
        found.append((tree, key))
        if isinstance(value, (dict, list)):
            places(value, found)
    return found


def distort(info, rng, classes):
    """Changes a description in place; its text may be changed as well."""
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        found = places(info, [])
        if not found:
            break
        box, key = rng.choice(found)
        what = rng.randrange(8)
        if what <= 2:
            box[key] = copy.deepcopy(rng.choice(ODD))
        elif what == 3:
            del box[key]
        elif what == 4 and isinstance(box, dict):
            box[rng.choice(["call", "__class__", "build", "name", "x", "units", "dtype",
                            "input_shape", "layers", "trainable"])] = rng.choice(ODD)  # fmt: skip
        elif what == 5:
            other, place = rng.choice(found)
            box[key] = copy.deepcopy(other[place])
        elif what == 6:
            named = [f for f in found if f[1] == "class_name"]
            if named:
                box, key = rng.choice(named)
                box[key] = rng.choice(classes)
        else:
            deep = []
            for _ in range(rng.choice((10, 70, 200))):
                deep = [deep]
            box[key] = deep
    text = json.dumps(info)
    if rng.random() < 0.1:
        at = rng.randrange(len(text))
        text = text[:at] + rng.choice(["", "}", "[", '"', "NaN", "9" * 400, ","]) + text[at + 1 :]
    return text


def models():
    """Small models that together have most layers, compiled, as (arrays, description)."""
    import difflib  # noqa: F401  # imported when a name is unknown, for its like

    from pyact import layers, optimizers

    def known(*names):
        return [getattr(layers, n) for n in names if hasattr(layers, n)]

    made = [
        pyact.Sequential([layers.Input((3,)), layers.Dense(4, "gelu"), layers.Dropout(0.2),
                          layers.PReLU(), pyact.Sequential([layers.Dense(2)])]),
    ]  # fmt: skip
    for cls in known("LSTM", "GRU", "SimpleRNN"):
        made.append(pyact.Sequential([layers.Input((5, 2)), cls(3), layers.Dense(2)]))
    for cls in known("Conv2D"):
        middle = [c() for c in known("BatchNormalization", "MaxPooling2D", "Flatten")]
        made.append(pyact.Sequential([layers.Input((6, 6, 1)), cls(2, 3), *middle,
                                      layers.Dense(2)]))  # fmt: skip
    for cls in known("Embedding"):
        made.append(pyact.Sequential([layers.Input((4,)), cls(5, 3)]))
    found = []
    with tempfile.TemporaryDirectory() as folder:
        for k, model in enumerate(made):
            model.compile(optimizers.Adam(0.01, clipnorm=1.0) if k % 2 else "sgd", "mse", ["mae"])
            path = os.path.join(folder, "m")
            model.save(path)
            arrays, metadata = _safetensors.read(path)
            found.append((arrays, json.loads(metadata["pyact"])))
            pyact.load_model(path)  # imports what loading needs
    return found


# ---- what is looked at -------------------------------------------------------------------------


class WrongError(Exception):
    """What must not be."""


def memory_file():
    if hasattr(os, "memfd_create"):
        fd = os.memfd_create("fuzz")
        return fd, f"/proc/self/fd/{fd}"
    fd, path = tempfile.mkstemp()
    return fd, path


class Judge:
    def __init__(self, keep=False):
        self.fd, self.path = memory_file()
        self.kinds = collections.Counter()
        self.kept = {} if keep else None
        self.slowest, self.most, self.watching, self.seen = 0.0, 0, False, ""
        self.events = []
        sys.addaudithook(self.audit)

    def audit(self, event, args):
        if self.watching and (
            event
            in ("import", "compile", "exec", "os.system", "subprocess.Popen", "socket.connect")
            or (event == "open" and args[0] != self.path)
        ):
            self.events.append((event, args[:1]))

    def put(self, raw):
        os.pwrite(self.fd, raw, 0)
        os.ftruncate(self.fd, len(raw))

    def note(self, raw, kind, error):
        self.kinds[kind] += 1
        if self.kept is not None and error is not None:
            name = re.sub(r"'.*?'|\d+|\(.*?\)|b'.*", "#", str(error).split(": ", 1)[-1])[:60]
            name = kind + " " + name
            if len(raw) < min(len(self.kept.get(name, b"." * 9000)), 9000):
                self.kept[name] = raw

    def weighed(self, call, size):
        """The same, with a look at the most memory that Python and NumPy had."""
        tracemalloc.start()
        try:
            return call()
        finally:
            most = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
            self.most = max(self.most, most - size)
            if most > size + MEMORY:
                raise WrongError(f"took {most} bytes of memory for a file of {size}")

    def timed(self, call):
        begin = time.perf_counter()
        signal.setitimer(signal.ITIMER_REAL, 20 * SECONDS)
        try:
            return call()
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            spent = time.perf_counter() - begin
            self.slowest = max(self.slowest, spent)
            # a stop of the machine is none of the reader's: once more
            if spent > SECONDS:
                begin = time.process_time()
                with contextlib.suppress(Exception):
                    call()
                if time.process_time() - begin > SECONDS:
                    raise WrongError(f"took {spent:.1f} s")

    def arrays(self, raw, thorough):
        """Reads `raw`; raises WrongError for what must not be."""
        self.put(raw)
        try:
            read = functools.partial(_safetensors.read, self.path)
            if thorough:
                with contextlib.suppress(ValueError):
                    self.weighed(read, len(raw))
            arrays, metadata = self.timed(read)
        except ValueError as error:
            self.note(raw, "refused", error)
            return
        self.note(raw, "accepted", "")
        if safetensors is not None:
            try:
                theirs = dict(safetensors.deserialize(raw))
            except Exception as error:
                raise WrongError(f"the safetensors package refuses it: {error}") from None
            if {n: (tuple(t["shape"]), bytes(t["data"])) for n, t in theirs.items()} != {
                n: (a.shape, a.tobytes()) for n, a in arrays.items()
            }:
                raise WrongError("the safetensors package reads other arrays")
        if thorough:
            head, parts = _safetensors._header(arrays, metadata)
            self.put(head + b"".join(p.tobytes() for p in parts))
            again, texts = _safetensors.read(self.path)
            if texts != metadata or {n: (a.dtype, a.shape, a.tobytes()) for n, a in again.items()} \
                    != {n: (a.dtype, a.shape, a.tobytes()) for n, a in arrays.items()}:  # fmt: skip
                raise WrongError("written and read again it is not the same")

    def model(self, arrays, text):
        head, parts = _safetensors._header(arrays, {"pyact": text})
        raw = head + b"".join(p.tobytes() for p in parts)
        self.model_file(raw)
        return raw

    def model_file(self, raw):
        self.put(raw)
        self.events.clear()

        def load():
            self.watching = True
            try:
                return pyact.load_model(self.path)
            finally:
                self.watching = False

        try:
            model = self.timed(functools.partial(self.weighed, load, len(raw)))
            if not isinstance(model, pyact.models.Model):
                raise WrongError(f"made {type(model)}")
            self.note(raw, "model", "")
        except ValueError as error:
            self.note(raw, "no model", error)
        if self.events:
            raise WrongError(f"reading a file did {self.events[0]}")


def limit_memory():
    """From here on at most 256 MiB more of address space: MemoryError tells of more."""
    try:
        import resource

        pages = int(Path("/proc/self/statm").read_text().split()[0])
    except (ImportError, OSError):
        return
    if "asan" not in os.environ.get("LD_PRELOAD", ""):  # whose own is without measure
        most = pages * resource.getpagesize() + (256 << 20)
        resource.setrlimit(resource.RLIMIT_AS, (most, resource.RLIM_INFINITY))


def work(seed, inputs, keep=False):
    """Makes and judges so many inputs: the judge, complaints."""
    maker, judge, wrong = Maker(seed), Judge(keep), []
    bases = models()
    classes = sorted({b[k] for _, i in bases for b, k in places(i, []) if k == "class_name"}
                     | {"Layer", "Model", "Sequential", "Input", "eval", "Variable"})  # fmt: skip
    rng = random.Random(f"model {seed}")
    warnings.simplefilter("ignore")
    judge.arrays(maker.file(), True)
    limit_memory()
    for k in range(inputs):
        large = k % 5000 == 2
        if k % PER_MODEL == 1:
            arrays, info = rng.choice(bases)
            judge.seen = text = distort(copy.deepcopy(info), rng, classes)
            call = functools.partial(judge.model, arrays, text)
        else:
            judge.seen = raw = maker.large() if large else maker.file()
            call = functools.partial(judge.arrays, raw, large or k % 32 == 0)
        try:
            call()
        except Exception as error:
            wrong.append(f"input {k} of seed {seed}: {type(error).__name__}: {error}\n"
                         f"    {judge.seen[:600]!r}")  # fmt: skip
            if len(wrong) > 5 or "took" in wrong[-1]:
                break
    return judge, wrong


def deal(inputs, seed, jobs, keep):
    """The same in several processes: [(kinds, slowest, wrong, memory, kept)]. None makes more
    than AT_ONCE inputs: the safetensors package ends a process whose memory is in pieces."""
    from multiprocessing import Pool

    parts = max(jobs, -(-inputs // AT_ONCE))
    shares = [(f"{seed} {j}", inputs // parts + (j < inputs % parts), keep) for j in range(parts)]
    with Pool(jobs, maxtasksperchild=1) as pool:
        return pool.map(share, shares, chunksize=1)


def share(args):
    judge, wrong = work(*args)
    return judge.kinds, judge.slowest, wrong, judge.most, judge.kept or {}


# ---- planted bugs ------------------------------------------------------------------------------

PLANTS = {
    "a name may be there twice": ("_Header.keys", "if key in seen", "if False"),
    "holes": ("_parse", "if begin != at", "if begin < at"),
    "overlaps": ("_parse", "if begin != at", "if begin > at"),
    "trailing bytes": ("_parse", "if at != space", "if at > space"),
    "half pairs": ("_Header.escaped", "if _HALF.search(value)", "if False"),
    "memory before the check": ("File._open", "if n > status", "if bytes(n) and n > status"),
    "slow": ("_Header.wrong", "near =", "spin()\n    near ="),
    "any class": ("models", "", ""),
}  # fmt: skip


def spin():
    end = time.process_time() + 1.2 * SECONDS
    while time.process_time() < end:
        pass


def plant(name):
    if name == "any class":
        from pyact import models as real

        def layer(item, old=real.make_layer):
            __import__("wave")  # what a reader that looks up names anywhere would do
            sys.modules.pop("wave")
            return old(item)

        real.make_layer = layer
        return
    where, old, new = PLANTS[name]
    owner, _, where = where.rpartition(".")
    owner = getattr(_safetensors, owner) if owner else _safetensors
    source = textwrap.dedent(inspect.getsource(getattr(owner, where)))
    assert source.count(old) == 1, (name, source)
    source = source.replace(old, new)
    space = vars(_safetensors)
    space["spin"] = spin
    exec("from __future__ import annotations\n" + source, space)
    if owner is not _safetensors:
        setattr(owner, where, space.pop(where))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("inputs", type=int)
    parser.add_argument("--seed", default="0")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--keep")
    parser.add_argument("--plant", choices=PLANTS)
    args = parser.parse_args()
    begin = time.perf_counter()
    if args.plant:
        plant(args.plant)
    if args.jobs > 1:
        results = deal(args.inputs, args.seed, args.jobs, bool(args.keep))
    else:
        results = [share((args.seed, args.inputs, bool(args.keep)))]
    kinds = sum((r[0] for r in results), collections.Counter())
    wrong = [line for r in results for line in r[2]]
    for line in wrong:
        print(line, file=sys.stderr)
    if args.keep:
        kept = {}
        for r in results:
            for name, raw in r[4].items():
                if len(raw) < len(kept.get(name, b"." * 9001)):
                    kept[name] = raw
        for name, raw in kept.items():
            kind = "model" if "model" in name.split(" ")[:2] else "arrays"
            path = Path(args.keep) / f"{kind}-{hashlib.sha256(raw).hexdigest()[:12]}"
            path.write_bytes(raw)
    found = ", ".join(f"{n} {k}" for k, n in sorted(kinds.items()))
    slowest, most = max(r[1] for r in results), max(r[3] for r in results) / 2**20
    beside = "compared with" if safetensors else "without"
    print(
        f"{sum(kinds.values())} inputs in {time.perf_counter() - begin:.0f} s: {found}; slowest "
        f"{slowest:.3f} s, at most {most:.1f} MiB beside the file, {beside} the safetensors "
        f"package; {len(wrong)} complaints"
    )
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
