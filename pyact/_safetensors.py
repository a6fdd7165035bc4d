"""Files of arrays in the safetensors format: a strict reader, and a writer that never tears.

    8 bytes   n, little-endian
    n bytes   a JSON object: {"__metadata__": {text: text}, name: {"dtype", "shape",
              "data_offsets"}, ...}, padded with spaces
    the rest  the arrays, C order, little-endian, without a gap between them

The header is not given to a JSON parser but read once from left to right against this
very grammar, so nothing can be nested, and each defect is found where it stands.

A file is written to a temporary beside it, which takes its place when all is on disk. So
whatever happens, there is the old file or the new one, whole; and a program that has the
old one mapped keeps it.

Source: the format's description, github.com/huggingface/safetensors.
"""

from __future__ import annotations

import errno
import os
import re
import stat
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping
    from os import PathLike

    from numpy.typing import NDArray

__all__ = ["File", "read", "write"]

MAX_HEADER = 1 << 20  # bytes; what a header makes in memory is ten times as much
_MAX_RANK = 32
_LARGEST = 2**63 - 1
_ALIGN = 64  # bytes; where the data begin, for readers that map the file
_CHUNK = 1 << 24  # bytes at a time, so that a signal need not wait for all of them

# Not to be inherited; not to wait for the other end of what turns out to be a pipe.
_CLOEXEC = getattr(os, "O_CLOEXEC", 0)
_READ = os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_NONBLOCK", 0) | _CLOEXEC

_PLAIN = {
    "BOOL": "?", "U8": "u1", "I8": "i1", "U16": "<u2", "I16": "<i2", "U32": "<u4",
    "I32": "<i4", "U64": "<u8", "I64": "<i8", "F16": "<f2", "F32": "<f4", "F64": "<f8",
    "C64": "<c8",
}  # fmt: skip
# NumPy has no such numbers: their bits, under a name that tells what they are
_BITS = {"BF16": "<u2", "F8_E4M3": "u1", "F8_E5M2": "u1", "F8_E8M0": "u1"}

DTYPES: dict[str, np.dtype[Any]] = {
    **{name: np.dtype(code) for name, code in _PLAIN.items()},
    **{name: np.dtype([(name.lower(), code)]) for name, code in _BITS.items()},
}
_NAMES = {dtype: name for name, dtype in DTYPES.items()}


# ---- reading ------------------------------------------------------------------------------

_WS = re.compile(r"[ \t\n\r]*")
_STRING = re.compile(r'"([^"\\\x00-\x1f]*)"')
# With escapes it is read piece by piece: the work on a piece takes 40 times its memory.
_PIECE = re.compile(r'(?:[^"\\\x00-\x1f]|\\["\\/bfnrt]|\\u[0-9a-fA-F]{4}){1,4096}')
_HALF = re.compile("[\ud800-\udfff]")
_INT = re.compile(r"(0|[1-9][0-9]{0,18})(?![0-9.eE])")
# An entry as most writers write it, at one look; what differs is read part by part.
_ENTRY = re.compile(
    r'{"dtype":"([A-Z0-9_]{1,9})","shape":\[((?:N(?:,N){0,31})?)\],"data_offsets":\[(N),(N)\]}'.replace(
        "N", "(?:0|[1-9][0-9]{0,18})"
    )
)


class _Header:
    """The header's text and how far it has been read."""

    def __init__(self, text: str) -> None:
        self.text, self.at = text, 0

    def wrong(self, what: str) -> ValueError:
        near = self.text[self.at : self.at + 20]
        return ValueError(f"header, character {self.at}: {what}, got {near!r}")

    def skip(self) -> str:
        """Passes white space; the next character, or ""."""
        self.at = _WS.match(self.text, self.at).end()  # type: ignore[union-attr]
        return self.text[self.at : self.at + 1]

    def take(self, mark: str) -> bool:
        if self.skip() != mark:
            return False
        self.at += 1
        return True

    def need(self, mark: str) -> None:
        if not self.take(mark):
            raise self.wrong(f"expected {mark!r}")

    def string(self) -> str:
        self.skip()
        found = _STRING.match(self.text, self.at)
        if found is None:
            return self.escaped()
        self.at = found.end()
        return found.group(1)

    def escaped(self) -> str:
        """A string with escapes in it."""
        from json import loads

        if self.text[self.at : self.at + 1] != '"':
            raise self.wrong("expected a string")
        pieces, at = [], self.at + 1
        while found := _PIECE.match(self.text, at):
            pieces.append(loads(f'"{found.group()}"'))
            at = found.end()
        if self.text[at : at + 1] != '"':
            raise self.wrong("expected a string")
        value = "".join(pieces)
        if _HALF.search(value):
            try:  # two halves of a pair may have come in two pieces
                value = value.encode("utf-16-le", "surrogatepass").decode("utf-16-le")
            except UnicodeDecodeError:
                raise self.wrong("half of a surrogate pair in a string") from None
        self.at = at + 1
        return value

    def number(self) -> int:
        self.skip()
        found = _INT.match(self.text, self.at)
        if found is None or int(found.group()) > _LARGEST:
            raise self.wrong("expected a whole number from 0 to 2^63 - 1")
        self.at = found.end()
        return int(found.group())

    def numbers(self, most: int) -> tuple[int, ...]:
        self.need("[")
        found: list[int] = []
        if self.take("]"):
            return ()
        while True:
            if len(found) == most:
                raise self.wrong(f"more than {most} numbers in a list")
            found.append(self.number())
            if self.take("]"):
                return tuple(found)
            self.need(",")

    def keys(self, what: str) -> Any:
        """The keys of an object, one by one; the caller reads each value in between."""
        self.need("{")
        if self.take("}"):
            return
        seen: set[str] = set()
        while True:
            before = self.at
            key = self.string()
            if key in seen:
                self.at = before
                raise self.wrong(f"{what} {key[:60]!r} is there twice")
            seen.add(key)
            self.need(":")
            yield key
            if self.take("}"):
                return
            self.need(",")

    def entry(self, name: str) -> tuple[str, tuple[int, ...], int, int]:
        """What the header says about one array: dtype, shape, begin, end."""
        found = _ENTRY.match(self.text, self.at)
        if found is None:
            return self._entry(name)
        dtype, dims, *span = found.groups()
        shape = tuple(map(int, dims.split(","))) if dims else ()
        begin, end = map(int, span)
        if dtype not in DTYPES or max(*shape, begin, end) > _LARGEST:
            return self._entry(name)  # which names the defect
        self.at = found.end()
        return dtype, shape, begin, end

    def _entry(self, name: str) -> tuple[str, tuple[int, ...], int, int]:
        dtype, shape, span = "", None, None
        for key in self.keys(f"in array {name[:60]!r}: key"):
            if key == "dtype":
                dtype = self.string()
                if dtype not in DTYPES:
                    raise self.wrong(
                        f"array {name[:60]!r} has dtype {dtype[:20]!r}, expected one of "
                        f"{', '.join(DTYPES)}"
                    )
            elif key == "shape":
                shape = self.numbers(_MAX_RANK)
            elif key == "data_offsets":
                span = self.numbers(2)
            else:
                raise self.wrong(f"array {name[:60]!r}: key {key[:60]!r} is unknown")
        if not dtype or shape is None or span is None or len(span) != 2:
            raise self.wrong(
                f"array {name[:60]!r} lacks one of dtype, shape, and data_offsets [begin, end]"
            )
        return next(d for d in DTYPES if d == dtype), shape, span[0], span[1]


def _bytes_of(shape: tuple[int, ...], itemsize: int, name: str) -> int:
    """Size of an array; even without its zeros the product must be a size."""
    size, empty = itemsize, False
    for n in shape:
        empty = empty or n == 0
        size *= n or 1
        if size > _LARGEST:
            raise ValueError(f"header: array {name[:60]!r} of shape {shape} is too large")
    return 0 if empty else size


def _parse(text: str, space: int) -> tuple[dict[str, Any], dict[str, str]]:
    """Entries (dtype, shape, begin, end) by name, and the metadata; `space`: bytes of data."""
    header = _Header(text)
    entries: dict[str, Any] = {}
    metadata: dict[str, str] = {}
    for name in header.keys("name"):
        if name == "__metadata__":
            for key in header.keys("metadata key"):
                metadata[key] = header.string()
        else:
            entries[name] = header.entry(name)
    if header.skip():
        raise header.wrong("expected the end of the header")
    at = 0
    for name, (dtype, shape, begin, end) in sorted(entries.items(), key=lambda e: e[1][2:]):
        size = _bytes_of(shape, DTYPES[dtype].itemsize, name)
        if end - begin != size:
            raise ValueError(
                f"header: array {name[:60]!r} of {dtype} and shape {shape} needs {size} bytes, "
                f"but has the data [{begin}, {end})"
            )
        if begin != at:
            what = "overlaps the array before it" if begin < at else f"leaves a hole from {at} on"
            raise ValueError(f"header: array {name[:60]!r} at [{begin}, {end}) {what}")
        at = end
    if at != space:
        what = "cut off" if at > space else "bytes after the last array"
        raise ValueError(f"{what}: the arrays take {at} bytes, the file has {space} for them")
    return entries, metadata


def _read_into(fd: int, view: memoryview, at: int) -> int:
    """Reads at most len(view) bytes from place `at` of a file; how many there were."""
    if hasattr(os, "preadv"):
        return os.preadv(fd, [view], at)
    os.lseek(fd, at, os.SEEK_SET)
    data = os.read(fd, len(view))
    view[: len(data)] = data
    return len(data)


class File:
    """An open file whose header has been read and checked against its size.

    path: to read from. Raises OSError when it cannot be read and ValueError, naming the
    defect, when it is not a file of this format. To be used in a `with` statement.

    metadata: its texts by key. entries: (dtype, shape, begin, end) of each array by name.
    """

    def __init__(self, path: str | PathLike[str]) -> None:
        self.path = os.fspath(path)
        self._fd = os.open(self.path, _READ)
        try:
            self._open()
        except BaseException:
            self.close()
            raise

    def _open(self) -> None:
        status = os.fstat(self._fd)
        if not stat.S_ISREG(status.st_mode):
            raise ValueError(f"{self.path}: not a file of arrays but a folder, pipe or device")
        try:
            if status.st_size < 8:
                raise ValueError(f"{status.st_size} bytes are no file in the safetensors format")
            n = int.from_bytes(self._read(8, 0), "little")
            if n > status.st_size - 8:
                raise ValueError(
                    f"cut off: the header should have {n} bytes, the file has {status.st_size - 8}"
                )
            if n > MAX_HEADER:
                raise ValueError(f"the header has {n} bytes, expected at most {MAX_HEADER}")
            raw = self._read(n, 8)
            if raw[:1] != b"{":
                raise ValueError(f"header: got {raw[:1]!r} first, expected '{{'")
            try:
                text = raw.decode("utf-8")
            except UnicodeDecodeError as error:
                raise ValueError(f"header, byte {error.start}: not UTF-8") from None
            self._begin = 8 + n
            self.entries, self.metadata = _parse(text, status.st_size - self._begin)
        except ValueError as error:
            raise ValueError(f"{self.path}: {error}") from None

    def _read(self, n: int, begin: int) -> bytes:
        data = bytearray(n)
        self._fill(memoryview(data), begin)
        return bytes(data)

    def _fill(self, view: memoryview, begin: int) -> None:
        at = 0
        while at < len(view):
            got = _read_into(self._fd, view[at : at + _CHUNK], begin + at)
            if got == 0:
                raise ValueError(f"{self.path}: cut off while it was read")
            at += got

    def into(self, name: str, array: NDArray[Any]) -> None:
        """Reads array `name` into a C-contiguous array of its dtype and shape."""
        dtype, shape, begin, _ = self.entries[name]
        if array.shape != shape or array.dtype != DTYPES[dtype] or not array.flags.c_contiguous:
            raise ValueError(
                f"{self.path}: array {name!r}: got one of {array.dtype} and shape {array.shape} "
                f"to fill, expected {DTYPES[dtype]} and {shape}, contiguous"
            )
        if array.size:
            self._fill(array.reshape(-1).view(np.uint8).data, self._begin + begin)
            if dtype == "BOOL" and (array.view(np.uint8) > 1).any():
                raise ValueError(f"{self.path}: array {name!r}: a bool that is neither 0 nor 1")

    def array(self, name: str) -> NDArray[Any]:
        """A new array with the values of array `name`."""
        dtype, shape, _, _ = self.entries[name]
        array = np.empty(shape, DTYPES[dtype])
        self.into(name, array)
        return array

    def close(self) -> None:
        """Closes the file."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    def __enter__(self) -> File:
        return self

    def __exit__(self, *unused: object) -> None:
        self.close()


def read(path: str | PathLike[str]) -> tuple[dict[str, NDArray[Any]], dict[str, str]]:
    """All arrays by name, and the metadata, of a file in the safetensors format.

    bfloat16 and the float8 types, which NumPy does not have, come as their bits, in a
    structured dtype of one field that has their name.

    Raises OSError when the file cannot be read, ValueError, naming the defect, when it is
    not one of this format.
    """
    with File(path) as file:
        return {name: file.array(name) for name in file.entries}, file.metadata


# ---- writing ------------------------------------------------------------------------------


def _storable(name: str, value: Any) -> tuple[str, NDArray[Any]]:
    """The dtype's name in files, and the array as it lies there."""
    array = np.asarray(value)
    dtype = array.dtype.newbyteorder("<") if array.dtype.names is None else array.dtype
    if dtype not in _NAMES:
        raise ValueError(f"array {name!r}: dtype {array.dtype} cannot be saved")
    return _NAMES[dtype], np.ascontiguousarray(array, dtype).reshape(array.shape)


def _header(arrays: Mapping[str, Any], metadata: Mapping[str, str]) -> tuple[bytes, list[Any]]:
    import json

    parts = []
    for name, value in arrays.items():
        if name == "__metadata__":
            raise ValueError("no array can have the name '__metadata__'")
        parts.append((name, *_storable(name, value)))
    parts.sort(key=lambda part: -part[2].itemsize)  # so that each is aligned
    table: dict[str, Any] = {"__metadata__": dict(metadata)} if metadata else {}
    at = 0
    for name, dtype, array in parts:
        table[name] = {
            "dtype": dtype,
            "shape": list(array.shape),
            "data_offsets": [at, at + array.nbytes],
        }
        at += array.nbytes
    text = json.dumps(table, separators=(",", ":"), ensure_ascii=False)
    try:
        raw = text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise ValueError(f"half of a surrogate pair in a name: {error.object[:60]!r}") from None
    raw += b" " * (-(8 + len(raw)) % _ALIGN)
    if len(raw) > MAX_HEADER:
        raise ValueError(
            f"{len(arrays)} arrays and their metadata need a header of {len(raw)} bytes; "
            f"expected at most {MAX_HEADER}"
        )
    return len(raw).to_bytes(8, "little") + raw, [
        array.reshape(-1).view(np.uint8) for _, _, array in parts if array.size
    ]


def _write_all(fd: int, data: Any) -> None:
    view = memoryview(data)
    at = 0
    while at < len(view):
        n = os.write(fd, view[at : at + _CHUNK])
        if n == 0:
            raise OSError(errno.EIO, "the disk takes no more bytes and says no reason")
        at += n


def _lock(fd: int, wait: bool) -> bool:
    """Marks a temporary as being written; the mark goes with the process."""
    try:
        from fcntl import LOCK_EX, LOCK_NB, flock
    except ImportError:  # no such thing on this system: nothing is ever called stale
        return wait
    try:
        flock(fd, LOCK_EX if wait else LOCK_EX | LOCK_NB)
    except OSError:
        return wait  # a file system without locks; others find the same
    return True


def _clean(folder: str, prefix: str) -> None:
    """Removes the temporaries of this file whose writers are gone."""
    try:
        names = os.listdir(folder)
    except PermissionError:
        return  # one may write there, but not look
    for name in names:
        if not (name.startswith(prefix) and name.endswith(".tmp")):
            continue
        stale = os.path.join(folder, name)
        try:
            fd = os.open(stale, _READ)
        except OSError:
            continue  # gone, or not ours
        try:
            if _lock(fd, wait=False):
                os.unlink(stale)
        except OSError:
            pass  # a temporary that stays is no reason not to save
        finally:
            os.close(fd)


def _temporary(folder: str, prefix: str) -> tuple[int, str]:
    """A new file with the writer's mark on it."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0) | _CLOEXEC
    while True:
        path = os.path.join(folder, f"{prefix}{os.urandom(6).hex()}.tmp")
        fd = os.open(path, flags, 0o666)
        try:
            _lock(fd, wait=True)
            if os.fstat(fd).st_nlink:  # else it was cleaned away before it had its mark
                return fd, path
        except BaseException:
            _remove(path)
            os.close(fd)
            raise
        os.close(fd)


def _open_folder(folder: str) -> int:
    """A descriptor to sync the folder by, -1 where there is no such thing."""
    if os.name != "posix":
        return -1
    try:
        return os.open(folder, os.O_RDONLY | getattr(os, "O_DIRECTORY", 0) | _CLOEXEC)
    except PermissionError:
        return -1  # one may write there, but not look


def _sync_folder(fd: int) -> None:
    try:
        if fd >= 0:
            os.fsync(fd)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # not on this file system
            raise


def _target(path: str) -> tuple[str, int | None]:
    """Where the links at a path lead to, and the rights of the file there; None: no file."""
    try:
        target = os.path.realpath(path, strict=True)
        mode = os.stat(target).st_mode
    except FileNotFoundError:
        return os.path.realpath(path), None
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(f"{path!r} is a folder, expected the name of a file")
    if not stat.S_ISREG(mode):
        raise OSError(f"{path!r} is a pipe or a device, expected the name of a file")
    return target, mode & 0o777


def write(
    path: str | PathLike[str], arrays: Mapping[str, Any], metadata: Mapping[str, str] | None = None
) -> None:
    """Writes arrays by name and texts by key as a file in the safetensors format.

    When it returns, the file is on disk. When it raises, or the process or the machine
    stops, the path has what it had before, or all that is new.

    Raises ValueError for what the format cannot hold, before anything is written; OSError
    when writing fails.
    """
    head, parts = _header(arrays, metadata or {})
    target, mode = _target(os.fsdecode(path))
    folder, name = os.path.split(target)
    prefix = f".{name[:48]}.pyact-"  # at most 48 * 4 bytes of UTF-8: a name may have 255
    _clean(folder, prefix)
    folder_fd = _open_folder(folder)  # before: with too few descriptors nothing is changed
    try:
        _replace(target, mode, folder, prefix, [head, *parts])
        _sync_folder(folder_fd)
    finally:
        if folder_fd >= 0:
            os.close(folder_fd)


def _replace(target: str, mode: int | None, folder: str, prefix: str, parts: list[Any]) -> None:
    """Writes a temporary and lets it take the target's place."""
    fd, temporary = _temporary(folder, prefix)
    try:
        try:
            for part in parts:
                _write_all(fd, part)
            if mode is not None and hasattr(os, "fchmod"):
                os.fchmod(fd, mode)
            os.fsync(fd)
            os.replace(temporary, target)  # while it is open: the mark keeps it from cleaners
        except BaseException:
            _remove(temporary)
            raise
    finally:
        os.close(fd)


def _remove(path: str) -> None:
    with suppress(OSError):  # it was renamed already, or cannot be: the first error counts
        os.unlink(path)
