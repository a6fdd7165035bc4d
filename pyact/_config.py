"""What this build is and how many threads it uses."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

from . import _core

__all__ = ["get_num_threads", "register_threadpoolctl", "set_num_threads", "show_config"]


def set_num_threads(n: int) -> None:
    """Sets how many threads one call may use, the calling one included.

    Results do not depend on it: work is cut by size alone. At import it is the
    environment variable PYACT_NUM_THREADS, or else the number of cores that the process
    may use.

    Raises TypeError for what is not a whole number, ValueError outside 1 to 1024.

    >>> before = get_num_threads()
    >>> set_num_threads(1); get_num_threads()
    1
    >>> set_num_threads(before)
    """
    _core.set_num_threads(n)
    register_threadpoolctl()


def get_num_threads() -> int:
    """How many threads one call may use, the calling one included.

    >>> get_num_threads() >= 1
    True
    """
    n: int = _core.get_num_threads()
    return n


def show_config(mode: str = "stdout") -> dict[str, Any] | None:
    """Prints the instruction set in use, threads, compiler and versions.

    mode: "stdout" prints; "dicts" returns the same as a dict instead.

    Raises ValueError for another mode.

    >>> show_config(mode="dicts")["CPU"]["isa"] in _core.tables()
    True
    """
    if mode not in ("stdout", "dicts"):
        raise ValueError(f"show_config: mode must be 'stdout' or 'dicts', got {mode!r}")
    config: dict[str, dict[str, Any]] = {
        "CPU": {
            "isa": _core.isa(),
            "isas this processor runs": _core.tables(),
            "threads": get_num_threads(),
        },
        "Build": {"compiler": _core.compiler, "file": _core.__file__},
        "Versions": {
            "pyact": _version(),
            "numpy": np.__version__,
            "python": sys.version.split()[0],
        },
        "threadpoolctl": {"registered": register_threadpoolctl()},
    }
    if mode == "dicts":
        return config
    for title, rows in config.items():
        print(f"{title}:")
        for key, value in rows.items():
            text = ", ".join(value) if isinstance(value, list) else value
            print(f"  {key}: {text}")
    return None


def register_threadpoolctl() -> bool:
    """Makes `threadpoolctl` see and limit pyact's threads; whether it does now.

    Nothing happens unless threadpoolctl has been imported: importing pyact does not pay
    for it. `import pyact`, `set_num_threads` and `show_config` call this function; a
    program that imports threadpoolctl after pyact calls it once before
    `threadpool_limits`.

    >>> register_threadpoolctl() == ("threadpoolctl" in sys.modules)
    True
    """
    threadpoolctl = sys.modules.get("threadpoolctl")
    if threadpoolctl is None or not hasattr(threadpoolctl, "register"):
        return False  # absent, half imported, or older than 3.2
    known = getattr(threadpoolctl, "_ALL_CONTROLLERS", [])
    if any(c.internal_api == "pyact" for c in known):
        return True

    class PyactController(threadpoolctl.LibController):  # type: ignore[name-defined, misc]
        """Found among the loaded libraries by its file's name and one symbol."""

        user_api = "pyact"
        internal_api = "pyact"
        filename_prefixes = ("_core",)
        check_symbols = ("pyact_core_is_loaded",)

        def get_num_threads(self) -> int:
            return get_num_threads()

        def set_num_threads(self, num_threads: int) -> None:
            _core.set_num_threads(num_threads)

        def get_version(self) -> str:
            return _version()

        def set_additional_attributes(self) -> None:
            self.isa = _core.isa()

    threadpoolctl.register(PyactController)
    return True


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("pyact")
    except PackageNotFoundError:  # run from a build folder
        return str(getattr(sys.modules.get("pyact"), "__version__", "unknown"))


register_threadpoolctl()
