"""Files of models and weights: the format to the bit, damage named, nothing torn or lost."""

from __future__ import annotations

import copy
import inspect
import json
import os
import subprocess
import sys
from functools import partial

import numpy as np
import pytest
from conftest import ROOT
from crashes import Recorder, check

import pyact
from pyact import _safetensors, losses, metrics, optimizers
from pyact.layers import Activation, Dense, Dropout, Input, Layer, PReLU

# ---- the format ------------------------------------------------------------------------------


def arrays_of_every_dtype():
    rng = np.random.default_rng(0)
    found = {
        name: np.frombuffer(rng.bytes(6 * dtype.itemsize), dtype).reshape(2, 3)
        for name, dtype in _safetensors.DTYPES.items()
    }
    found["BOOL"] = rng.random((2, 3)) > 0.5
    found["f32 specials"] = np.array([np.nan, -np.nan, np.inf, -0.0, 1e-45], np.float32)
    return {**found, "one number": np.float64(3), "none": np.zeros((0, 4), np.float32),
            'ü " \\ \n 😀': np.arange(3)}  # fmt: skip


def test_every_dtype_to_the_bit_through_save_load_save(tmp_path):
    first, second = tmp_path / "a", tmp_path / "b"
    arrays = arrays_of_every_dtype()
    _safetensors.write(first, arrays, {"key": "value\n😀"})
    found, metadata = _safetensors.read(first)
    assert metadata == {"key": "value\n😀"} and set(found) == set(arrays)
    for name, array in arrays.items():
        assert found[name].shape == np.shape(array)
        assert found[name].tobytes() == np.asarray(array).tobytes(), name
    _safetensors.write(second, found, metadata)
    assert first.read_bytes() == second.read_bytes()


def test_big_endian_and_strided_arrays_are_stored_right(tmp_path):
    arrays = {"big": np.arange(4, dtype=">f4"), "cut": np.arange(12.0).reshape(3, 4)[:, ::2]}
    _safetensors.write(tmp_path / "a", arrays)
    found, _ = _safetensors.read(tmp_path / "a")
    assert found["big"].tolist() == [0, 1, 2, 3] and (found["cut"] == arrays["cut"]).all()


def test_the_safetensors_package_reads_our_files_and_we_read_its(tmp_path):
    package = pytest.importorskip("safetensors")
    numpy = pytest.importorskip("safetensors.numpy")
    ours, its = tmp_path / "a", tmp_path / "b"
    arrays = arrays_of_every_dtype()
    _safetensors.write(ours, arrays, {"key": "value\n😀"})
    found = dict(package.deserialize(ours.read_bytes()))
    assert set(found) == set(arrays)
    for name, entry in found.items():
        assert bytes(entry["data"]) == np.asarray(arrays[name]).tobytes()
        assert tuple(entry["shape"]) == np.shape(arrays[name])
    plain = {n: a for n, a in arrays.items() if np.ndim(a) and a.dtype.names is None}
    numpy.save_file(plain, its, {"key": "value\n😀"})
    found, metadata = _safetensors.read(its)
    assert metadata == {"key": "value\n😀"} and set(found) == set(plain)
    assert all(found[n].tobytes() == plain[n].tobytes() for n in plain)


def file_of(header, data=b"", size=None):
    raw = header if isinstance(header, bytes) else header.encode("utf-8", "surrogatepass")
    return (len(raw) if size is None else size).to_bytes(8, "little") + raw + data


def entry(shape="[2]", offsets="[0,8]", dtype="F32"):
    return f'{{"dtype":"{dtype}","shape":{shape},"data_offsets":{offsets}}}'


EIGHT = bytes(8)
DAMAGED = {
    "no bytes": (b"", "0 bytes are no file"),
    "7 bytes": (bytes(7), "7 bytes are no file"),
    "header beyond the end": (file_of("{}", size=3), "cut off: the header should have 3 bytes"),
    "header of 2^64 - 1": (b"\xff" * 8 + b"{}", "cut off: the header"),
    "huge header": (file_of("{" + " " * (1 << 20) + "}"), "the header has 1048578 bytes"),
    "deep header": (file_of("{" + '"a":{' * 1000 + "}" * 1001), "key 'a' is unknown"),
    "deep list": (file_of('{"a":' + "[" * 100000), "expected '{'"),
    "not an object": (file_of("[]"), "got b'\\['"),
    "space first": (file_of(" {}"), "got b' ' first"),
    "empty header": (file_of(""), "got b'' first"),
    "two objects": (file_of("{}{}"), "expected the end of the header"),
    "not UTF-8": (file_of(b'{"\xff":1}'), "byte 2: not UTF-8"),
    "half a pair": (file_of('{"\\ud800":' + entry() + "}", EIGHT), "surrogate pair"),
    "comma at the end": (file_of('{"a":' + entry() + ",}", EIGHT), "expected a string"),
    "control character": (file_of('{"a\n":' + entry() + "}", EIGHT), "expected a string"),
    "a name twice": (file_of('{"a":' + entry() + ',"a":' + entry() + "}", EIGHT), "there twice"),
    "a name twice, escaped": (
        file_of('{"a":' + entry() + ',"\\u0061":' + entry() + "}", EIGHT), "name 'a' is there twice"
    ),
    "metadata twice": (file_of('{"__metadata__":{},"__metadata__":{}}'), "there twice"),
    "metadata key twice": (file_of('{"__metadata__":{"k":"","k":""}}'), "metadata key 'k'"),
    "metadata of numbers": (file_of('{"__metadata__":{"k":1}}'), "expected a string"),
    "metadata as text": (file_of('{"__metadata__":"k"}'), "expected '{'"),
    "dtype twice": (
        file_of('{"a":{"dtype":"F32","dtype":"F32","shape":[2],"data_offsets":[0,8]}}', EIGHT),
        "key 'dtype' is there twice",
    ),
    "unknown dtype": (file_of('{"a":' + entry(dtype="F31") + "}", EIGHT), "has dtype 'F31'"),
    "unknown key": (file_of('{"a":{"code":"x"}}'), "key 'code' is unknown"),
    "no shape": (file_of('{"a":{"dtype":"F32","data_offsets":[0,8]}}', EIGHT), "lacks one of"),
    "one offset": (file_of('{"a":' + entry(offsets="[0]") + "}", EIGHT), "lacks one of"),
    "three offsets": (file_of('{"a":' + entry(offsets="[0,8,8]") + "}", EIGHT), "more than 2"),
    "too many axes": (file_of('{"a":' + entry("[" + "1," * 32 + "2]") + "}", EIGHT), "than 32"),
    "negative": (file_of('{"a":' + entry("[-2]") + "}", EIGHT), "expected a whole number"),
    "fraction": (file_of('{"a":' + entry("[2.0]") + "}", EIGHT), "expected a whole number"),
    "exponent": (file_of('{"a":' + entry("[2e0]") + "}", EIGHT), "expected a whole number"),
    "leading zero": (file_of('{"a":' + entry("[02]") + "}", EIGHT), "expected a whole number"),
    "over 2^63": (file_of('{"a":' + entry("[9223372036854775808]") + "}", EIGHT), "2\\^63"),
    "product over 2^63": (
        file_of('{"a":' + entry("[4294967296,4294967296]") + "}", EIGHT), "is too large"
    ),
    "product wraps to 8": (
        file_of('{"a":' + entry("[2147483649,8589934592,2]") + "}", EIGHT), "is too large"
    ),
    "zero times huge": (
        file_of('{"a":' + entry("[0,4294967296,4294967296]", "[0,0]") + "}"), "is too large"
    ),
    "shape and offsets": (file_of('{"a":' + entry("[3]") + "}", EIGHT), "needs 12 bytes"),
    "end before begin": (file_of('{"a":' + entry("[2]", "[8,0]") + "}", EIGHT), "needs 8 bytes"),
    "hole first": (file_of('{"a":' + entry("[1]", "[4,8]") + "}", EIGHT), "leaves a hole from 0"),
    "hole": (
        file_of(f'{{"a":{entry("[1]", "[0,4]")},"b":{entry("[1]", "[8,12]")}}}', bytes(12)),
        "'b' at \\[8, 12\\) leaves a hole from 4",
    ),
    "overlap": (
        file_of('{"a":' + entry() + ',"b":' + entry("[1]", "[4,8]") + "}", EIGHT),
        "'b' at \\[4, 8\\) overlaps",
    ),
    "data cut off": (file_of('{"a":' + entry() + "}", bytes(7)), "cut off: the arrays take 8"),
    "trailing bytes": (file_of('{"a":' + entry() + "}", bytes(9)), "bytes after the last array"),
    "a bool of 2": (file_of('{"a":' + entry("[1]", "[0,1]", "BOOL") + "}", b"\2"), "neither 0 nor"),
}  # fmt: skip


@pytest.mark.parametrize("kind", DAMAGED)
def test_damage_is_refused_by_name(tmp_path, kind):
    raw, text = DAMAGED[kind]
    path = tmp_path / "a"
    path.write_bytes(raw)
    with pytest.raises(ValueError, match=text):
        _safetensors.read(path)


def test_the_damaged_files_are_right_when_nothing_is_damaged(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(file_of('{ "a" :\n' + entry("[ 2 ]", "[ 0 , 8 ]") + "}  \n", EIGHT))
    assert _safetensors.read(path)[0]["a"].tolist() == [0, 0]


def test_every_prefix_of_a_file_is_refused(tmp_path):
    whole, part = tmp_path / "a", tmp_path / "b"
    small().save(whole)
    raw = whole.read_bytes()
    for n in range(0, len(raw), 7):
        part.write_bytes(raw[:n])
        with pytest.raises(ValueError):
            pyact.load_model(part)


def test_what_is_no_file_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError):
        pyact.load_model(tmp_path / "none")
    with pytest.raises((ValueError, OSError)):
        pyact.load_model(tmp_path)
    with pytest.raises(IsADirectoryError):
        _safetensors.write(tmp_path, {})
    for bad in ({"a": np.array(["x"])}, {"a": np.zeros(1, np.complex128)}, {"__metadata__": 1.0},
                {"\ud800": 1.0}, {f"{i:0200}": 1.0 for i in range(6000)}):  # fmt: skip
        with pytest.raises(ValueError):
            _safetensors.write(tmp_path / "a", bad)
    assert os.listdir(tmp_path) == []


# ---- never torn, never lost ------------------------------------------------------------------


def record(monkeypatch, path, save):
    """The trace of save(path) by `_safetensors.write` or a changed copy of it."""
    recorder = Recorder()
    monkeypatch.setattr(_safetensors, "os", recorder)
    save(path, {"a": np.arange(5.0), "b": np.arange(3)})
    monkeypatch.undo()
    return recorder.trace


def mutated(*changes):
    """`write`, with lines of its source and of what it calls replaced."""
    parts = (_safetensors._replace, _safetensors._write_all, _safetensors.write)
    source = "\n".join(map(inspect.getsource, parts))
    for old, new in changes:
        assert source.count(old) == 1
        source = source.replace(old, new)
    space = dict(vars(_safetensors), os=None)

    def call(*args):
        space["os"] = _safetensors.os
        exec(source, space)
        return space["write"](*args)

    return call


PLANTED = {
    "no fsync": [("os.fsync(fd)", "pass")],
    "rename before fsync": [
        ("os.fsync(fd)", "os.replace(temporary, target)"),
        ("os.replace(temporary, target)  # while", "os.fsync(fd)  # while"),
    ],
    "write in place": [
        ("fd, temporary = _temporary(folder, prefix)",
         "fd, temporary = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), target"),
    ],
    "folder not synced": [("_sync_folder(folder_fd)", "pass")],
}  # fmt: skip


@pytest.mark.parametrize("before", [None, "old"])
def test_after_a_crash_anywhere_there_is_a_whole_file(tmp_path, monkeypatch, before):
    path = tmp_path / "model"
    old = None
    if before:
        _safetensors.write(path, {"a": np.zeros(7)})
        old = path.read_bytes()
    trace = record(monkeypatch, path, _safetensors.write)
    assert [step[0] for step in trace] == [
        "create", "write", "write", "write", "sync", "rename", "sync folder"
    ]  # fmt: skip
    assert check(trace, str(path), old, path.read_bytes()) == []


@pytest.mark.parametrize("fault", PLANTED)
def test_the_crash_test_finds(tmp_path, monkeypatch, fault):
    path = tmp_path / "model"
    _safetensors.write(path, {"a": np.zeros(7)})
    old = path.read_bytes()
    trace = record(monkeypatch, path, mutated(*PLANTED[fault]))
    assert check(trace, str(path), old, path.read_bytes())


def kills(*args):
    return subprocess.run(
        [sys.executable, ROOT / "tests" / "kills.py", *args], capture_output=True, text=True,
        timeout=300, env={**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)},
        check=False,
    )  # fmt: skip


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_killed_while_it_saves():
    done = kills("100")
    assert done.returncode == 0, done.stderr
    assert "nothing torn" in done.stdout
    assert kills("100", "--plant").returncode != 0


def test_stale_temporaries_go_and_those_in_use_stay(tmp_path):
    path = tmp_path / "model"
    stale = tmp_path / ".model.pyact-0123456789ab.tmp"
    other = tmp_path / ".other.pyact-0123456789ab.tmp"
    stale.write_bytes(b"")
    other.write_bytes(b"")
    fd, used = _safetensors._temporary(str(tmp_path), ".model.pyact-")
    _safetensors.write(path, {"a": np.zeros(3)})
    assert not stale.exists() and other.exists() and os.path.exists(used)
    os.close(fd)
    _safetensors.write(path, {"a": np.zeros(3)})
    assert sorted(os.listdir(tmp_path)) == sorted([path.name, other.name])


def test_saving_over_a_mapped_file(tmp_path):
    path = tmp_path / "model"
    _safetensors.write(path, {"a": np.arange(1000.0)})
    mapped = np.memmap(path, np.uint8, "r")
    before = bytes(mapped)
    _safetensors.write(path, {"a": np.zeros(3)})
    assert bytes(mapped) == before
    assert _safetensors.read(path)[0]["a"].tolist() == [0, 0, 0]


def test_links_are_followed_and_rights_kept(tmp_path):
    (tmp_path / "real").write_bytes(b"")
    (tmp_path / "real").chmod(0o640)
    (tmp_path / "link").symlink_to("real")
    _safetensors.write(tmp_path / "link", {"a": np.zeros(3)})
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").stat().st_mode & 0o777 == 0o640
    assert _safetensors.read(tmp_path / "real")[0]["a"].size == 3


# ---- the checks above find what they are for --------------------------------------------------


def faulty(monkeypatch, where, old, new):
    """Changes a function of `_safetensors` until the test is over."""
    source = inspect.getsource(getattr(_safetensors, where))
    assert source.count(old) == 1
    monkeypatch.setattr(_safetensors, where, None)  # which remembers what to put back
    space = vars(_safetensors)
    exec("from __future__ import annotations\n" + source.replace(old, new), space)


FAULTS = {
    "the sign of every byte is lost": (
        test_every_dtype_to_the_bit_through_save_load_save,
        "_header", ".view(np.uint8) for", ".view(np.uint8) & 127 for",
    ),
    "big-endian numbers as they are": (
        test_big_endian_and_strided_arrays_are_stored_right,
        "_storable", "np.ascontiguousarray(array, dtype)", "np.ascontiguousarray(array)",
    ),
    "stale temporaries stay": (
        test_stale_temporaries_go_and_those_in_use_stay, "_clean", "os.unlink(stale)", "pass",
    ),
    "those in use go": (
        test_stale_temporaries_go_and_those_in_use_stay,
        "_clean", "if _lock(fd, wait=False):", "if True:",
    ),
    "those of other files go": (
        test_stale_temporaries_go_and_those_in_use_stay,
        "_clean", "name.startswith(prefix) and name", "name",
    ),
    "a mapped file is written": (
        test_saving_over_a_mapped_file,
        "_replace", "_temporary(folder, prefix)", "os.open(target, os.O_RDWR | os.O_CREAT), target",
    ),
    "a link is replaced": (
        test_links_are_followed_and_rights_kept,
        "_target", "os.path.realpath(path, strict=True)", "os.path.abspath(path)",
    ),
    "rights are lost": (
        test_links_are_followed_and_rights_kept, "_replace", "os.fchmod(fd, mode)", "pass",
    ),
    **{
        f"damage is not seen: {kind}": (partial(test_damage_is_refused_by_name, kind=kind), *change)
        for kind, change in {
            "hole": ("_parse", "if begin != at:", "if begin < at:"),
            "overlap": ("_parse", "if begin != at:", "if begin > at:"),
            "trailing bytes": ("_parse", "if at != space:", "if at > space:"),
            "shape and offsets": ("_parse", "if end - begin != size:", "if False:"),
            "product wraps to 8": ("_bytes_of", "if size > _LARGEST:", "if False:"),
        }.items()
    },
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_found(tmp_path, monkeypatch, fault):
    check, *change = FAULTS[fault]
    faulty(monkeypatch, *change)
    with pytest.raises((AssertionError, pytest.fail.Exception)):
        check(tmp_path)


# ---- models ----------------------------------------------------------------------------------


def data(rows=100, dtype=np.float32):
    x = np.random.default_rng(0).normal(size=(rows, 7)).astype(dtype)
    return x, (x[:, :1] > 0).astype(dtype)


def small(dtype="float32", optimizer=None, **compiled):
    pyact.set_seed(1)
    inner = pyact.Sequential([Dense(8, "gelu", dtype=dtype), PReLU(dtype=dtype)])
    model = pyact.Sequential([
        Input((7,), dtype=dtype), Dense(16, "relu", dtype=dtype), Dropout(0.3, dtype=dtype), inner,
        Dense(1, "sigmoid", dtype=dtype, trainable=False, kernel_initializer="he_normal"),
    ])  # fmt: skip
    options = {"loss": "bce", "metrics": ["accuracy", metrics.AUC(num_thresholds=20)], **compiled}
    model.compile(copy.deepcopy(optimizer) or optimizers.Adam(0.01, amsgrad=True), **options)
    return model


def bits(model):
    return [w.tobytes() for w in model.get_weights()]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("optimizer", [
    "sgd", "adagrad", optimizers.RMSprop(centered=True, momentum=0.9),
    optimizers.AdamW(clipnorm=1.0),
    optimizers.SGD(optimizers.schedules.CosineDecay(0.1, 20), momentum=0.9, global_clipnorm=1.0),
], ids=["sgd", "adagrad", "rmsprop", "adamw", "schedule"])  # fmt: skip
def test_a_loaded_model_goes_on_to_the_same_bits(tmp_path, dtype, optimizer):
    model = small(dtype, optimizer)
    x, y = data(dtype=dtype)
    model.fit(x, y, epochs=2, verbose=0)
    model.save(tmp_path / "a")
    loaded = pyact.load_model(tmp_path / "a")
    assert bits(loaded) == bits(model) and loaded.get_config() == model.get_config()
    loaded.save(tmp_path / "b")
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    model.fit(x, y, epochs=2, verbose=0)
    loaded.fit(x, y, epochs=2, verbose=0)
    assert bits(loaded) == bits(model)
    assert loaded.history.history == model.history.history
    assert not loaded.layers[-1].trainable


def test_without_the_optimizer(tmp_path):
    model = small()
    model.fit(*data(), verbose=0)
    model.save(tmp_path / "a", include_optimizer=False)
    for loaded in (pyact.load_model(tmp_path / "a"), pyact.load_model(tmp_path / "a", False)):
        assert bits(loaded) == bits(model)
        with pytest.raises(RuntimeError, match="not been compiled"):
            loaded.fit(*data())
    with pytest.raises(FileExistsError, match="overwrite=True"):
        model.save(tmp_path / "a", overwrite=False)


def test_weights_alone(tmp_path):
    model, other = small(), small()
    model.fit(*data(), verbose=0)
    model.save_weights(tmp_path / "w")
    other.load_weights(tmp_path / "w")
    assert bits(other) == bits(model)
    model.save(tmp_path / "m")
    third = small()
    third.load_weights(tmp_path / "m")
    assert bits(third) == bits(model)
    wide = small("float64")
    wide.load_weights(tmp_path / "w")  # converted, as by set_weights
    assert all((a == b).all() for a, b in zip(wide.weights, model.weights, strict=True))
    with pytest.raises(ValueError, match="has weights alone"):
        pyact.load_model(tmp_path / "w")


def test_weights_of_another_model_are_refused_and_nothing_is_written(tmp_path):
    small().save_weights(tmp_path / "w")
    for layers, text in (
        ([Dense(16), Dense(3), Dense(8)], "weight '1.kernel' of shape"),
        ([Dense(15)], r"'0.kernel': the file has shape \(7, 16\), the model \(7, 15\)"),
        ([Dense(16)], "is in the file but not in model"),
    ):
        model = pyact.Sequential([Input((7,)), *layers])
        before = bits(model)
        with pytest.raises(ValueError, match=text):
            model.load_weights(tmp_path / "w")
        assert bits(model) == before
    with pytest.raises(ValueError, match="does not know its input"):
        pyact.Sequential([Dense(3)]).load_weights(tmp_path / "w")


class Scale(Layer):
    def build(self, input_shape):
        self.scale = self.add_weight("scale", input_shape[-1:], "ones")

    def call(self, x, training=False):
        return x * self.scale


def mine(y_true, y_pred):
    return losses.mean_squared_error(y_true, y_pred)


def test_what_is_not_of_pyact_is_named(tmp_path):
    model = small(loss=mine)
    model.fit(*data(), verbose=0)
    model.save(tmp_path / "a")
    with pytest.warns(UserWarning, match="the loss: 'mine' is not one of pyact's own"):
        loaded = pyact.load_model(tmp_path / "a")
    assert bits(loaded) == bits(model)
    model = pyact.Sequential([Input((3,)), Scale()])
    model.save(tmp_path / "b")
    with pytest.raises(ValueError, match="layer class 'Scale' is unknown"):
        pyact.load_model(tmp_path / "b")
    model.load_weights(tmp_path / "b")
    model = pyact.Sequential([Input((3,)), Activation(lambda x: x * 2)])
    with pytest.warns(UserWarning, match="not to load_model"):
        model.save(tmp_path / "c")
    with pytest.raises(ValueError, match="only weights can be read"):
        pyact.load_model(tmp_path / "c")


# ---- hostile descriptions --------------------------------------------------------------------


def with_info(path, change):
    """Rewrites the description in the file."""
    arrays, metadata = _safetensors.read(path)
    info = json.loads(metadata["pyact"])
    text = change(info)
    _safetensors.write(path, arrays, {"pyact": text if isinstance(text, str) else json.dumps(info)})


def first_layer(info):
    return info["model"]["config"]["layers"][1]


HOSTILE = {
    "another class": lambda i: first_layer(i).update(class_name="os.system"),
    "a class of no layer": lambda i: first_layer(i).update(class_name="Input"),
    "a base class": lambda i: first_layer(i).update(class_name="Layer"),
    "an attribute": lambda i: first_layer(i)["config"].update(call="x"),
    "a dunder": lambda i: first_layer(i)["config"].update(__class__="x"),
    "a function": lambda i: first_layer(i)["config"].update(activation="get"),
    "a million units": lambda i: first_layer(i)["config"].update(units=10**6),
    "10^18 units": lambda i: first_layer(i)["config"].update(units=10**18),
    "10^30 units": lambda i: first_layer(i)["config"].update(units=10**30),
    "an initializer": lambda i: first_layer(i)["config"].update(
        kernel_initializer={"class_name": "eval", "config": {}}
    ),
    "no layers": lambda i: i["model"]["config"].pop("layers"),
    "layers as text": lambda i: i["model"]["config"].update(layers="abc"),
    "the model as a list": lambda i: i.update(model=[]),
    "a layer as model": lambda i: i.update(model=first_layer(i)),
    "a loss": lambda i: i["compile"].update(loss="__import__"),
    "an optimizer": lambda i: i["compile"]["optimizer"].update(class_name="Optimizer2"),
    "iterations": lambda i: i["compile"].update(iterations=-1),
    "no metrics": lambda i: i["compile"].pop("metrics"),
    "compile as a number": lambda i: i.update(compile=3),
    "a seed": lambda i: i.update(seed=2**64),
    "a format": lambda i: i.update(format=2),
    "a key twice": lambda i: '{"format":1,"format":1}',
    "NaN": lambda i: '{"format":NaN}',
    "deep": lambda i: "[" * 100000,
    "wide": lambda i: "[" + "[]," * 100000 + "[]]",
    "a number of 5000 digits": lambda i: '{"format":' + "9" * 5000 + "}",
    "no JSON": lambda i: "import os",
    "no object": lambda i: "[]",
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile_descriptions_are_value_errors(tmp_path, kind):
    path = tmp_path / "a"
    model = small()
    model.fit(*data(), verbose=0)
    model.save(path)
    with_info(path, HOSTILE[kind])
    with pytest.raises(ValueError, match=r"(?s)a: .+"):
        pyact.load_model(path)


def test_the_description_alone_is_no_model(tmp_path):
    _safetensors.write(tmp_path / "a", {"x": np.zeros(3)})
    with pytest.raises(ValueError, match="no entry 'pyact'"):
        pyact.load_model(tmp_path / "a")
