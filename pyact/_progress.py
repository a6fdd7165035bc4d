"""Progress of an epoch: a tqdm bar when tqdm is installed, else lines of text.

On a terminal and in a notebook the line moves; into a file or a pipe only the finished
line of each epoch is written, so logs stay clean.
"""

from __future__ import annotations

import sys
from time import monotonic
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import TextIO

__all__ = ["PlainBar", "SilentBar", "TqdmBar", "format_logs", "format_pace", "open_bar"]

_WIDTH = 20  # characters of the plain bar, as in Keras


def format_logs(logs: Mapping[str, Any]) -> str:
    """ " - accuracy: 0.9312 - loss: 2.5000e-04", in alphabetical order, val_* last.

    >>> format_logs({"loss": 0.00025, "val_loss": 1, "accuracy": 0.93123})
    ' - accuracy: 0.9312 - loss: 2.5000e-04 - val_loss: 1.0000'
    """
    names = sorted(logs, key=lambda n: (n.startswith("val_"), n))
    return "".join(f" - {name}: {_number(logs[name])}" for name in names)


def _number(value: Any) -> str:
    if getattr(value, "ndim", 0) or isinstance(value, (list, tuple)):
        return "[" + ", ".join(_number(v) for v in value) + "]"
    if not hasattr(value, "__float__"):
        return str(value)
    value = float(value)
    return f"{value:.4e}" if 0 < abs(value) < 1e-3 else f"{value:.4f}"


def format_pace(seconds: float, steps: int) -> str:
    """Time per step: "13s/step", "4ms/step", "27us/step".

    >>> format_pace(2.0, 500), format_pace(0.002, 100), format_pace(1.0, 0)
    ('4ms/step', '20us/step', '1s/step')
    """
    pace = seconds / max(steps, 1)
    for unit, scale in (("s", 1.0), ("ms", 1e-3)):
        if pace >= scale:
            return f"{pace / scale:.0f}{unit}/step"
    return f"{pace / 1e-6:.0f}us/step"


def _in_notebook() -> bool:
    shell = sys.modules.get("IPython")
    shell = shell and shell.get_ipython()
    return type(shell).__name__ == "ZMQInteractiveShell"


class PlainBar:
    """One line of text: "120/600 ━━━━──────────────── 1s 4ms/step - loss: 0.3021".

    total: number of steps, None when it is not known. moving: rewrite the line in place
    while the epoch runs. bar: draw the bar of characters (verbose=1, not 2).
    """

    def __init__(
        self, total: int | None, file: TextIO, *, moving: bool, bar: bool, title: str = ""
    ) -> None:
        self.total, self.file, self.moving, self.bar = total, file, moving, bar
        self.begun = monotonic()
        self.shown = 0  # length of the line that stands on the screen
        full, empty = "━─"
        try:
            (full + empty).encode(getattr(file, "encoding", None) or "ascii")
        except (UnicodeEncodeError, LookupError):
            full, empty = "=."
        self.characters = full, empty
        if title:
            self._write(title + "\n")

    def _write(self, text: str) -> None:
        self.file.write(text)
        self.file.flush()

    def _line(self, done: int, logs: Mapping[str, Any]) -> str:
        seconds = monotonic() - self.begun
        parts = [f"{done}/{'Unknown' if self.total is None else self.total}"]
        if self.bar:
            full, empty = self.characters
            n = _WIDTH if not self.total else min(_WIDTH, _WIDTH * done // self.total)
            parts.append(full * n + empty * (_WIDTH - n))
            parts.append(f"{seconds:.0f}s {format_pace(seconds, done)}")
        else:
            parts.append(f"- {seconds:.0f}s - {format_pace(seconds, done)}")
        return " ".join(parts) + format_logs(logs)

    def update(self, done: int, logs: Mapping[str, Any]) -> None:
        """`done` steps of the epoch are over."""
        if self.moving:
            line = self._line(done, logs)
            self._write("\r" + line + " " * (self.shown - len(line)))
            self.shown = len(line)

    def close(self, done: int, logs: Mapping[str, Any]) -> None:
        """The epoch is over: its last line."""
        line = self._line(done, logs)
        self._write(("\r" if self.shown else "") + line + " " * (self.shown - len(line)) + "\n")

    def abandon(self) -> None:
        """The run broke off: leave the cursor on a new line."""
        if self.shown:
            self._write("\n")


class TqdmBar:
    """The same by tqdm, in a terminal or a notebook."""

    def __init__(self, tqdm: Any, total: int | None, file: TextIO, title: str) -> None:
        self.tqdm = tqdm(
            total=total, desc=title, unit="step", file=file, dynamic_ncols=True, mininterval=0
        )

    def update(self, done: int, logs: Mapping[str, Any]) -> None:
        """`done` steps of the epoch are over."""
        self.tqdm.n = done
        self.tqdm.set_postfix_str(format_logs(logs)[3:], refresh=False)
        self.tqdm.refresh()

    def close(self, done: int, logs: Mapping[str, Any]) -> None:
        """The epoch is over: the bar stays as it is then."""
        if self.tqdm.total is None:
            self.tqdm.total = done
        self.update(done, logs)
        self.tqdm.close()

    def abandon(self) -> None:
        """The run broke off."""
        self.tqdm.close()


class SilentBar:
    """verbose=0."""

    def update(self, done: int, logs: Mapping[str, Any]) -> None:
        """Nothing is shown."""

    def close(self, done: int, logs: Mapping[str, Any]) -> None:
        """Nothing is shown."""

    def abandon(self) -> None:
        """Nothing is shown."""


def _tqdm(notebook: bool) -> Any:
    """tqdm's class for this place, or None when it is not installed."""
    try:
        if not notebook:
            from tqdm import tqdm  # type: ignore[import-untyped]

            return tqdm
        import warnings

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that ipywidgets is missing: text will do
            from tqdm.auto import tqdm as auto  # type: ignore[import-untyped]
        return auto
    except ImportError:
        return None


def open_bar(
    verbose: int, total: int | None, title: str = "", file: TextIO | None = None
) -> PlainBar | TqdmBar | SilentBar:
    """The bar for verbose 0 (silent), 1 (bar) or 2 (one line an epoch)."""
    if verbose == 0:
        return SilentBar()
    out = file or sys.stdout
    notebook = file is None and _in_notebook()
    moving = notebook or bool(getattr(out, "isatty", lambda: False)())
    if verbose == 1 and moving:
        tqdm = _tqdm(notebook)
        if tqdm is not None:
            return TqdmBar(tqdm, total, out, title)
    return PlainBar(total, out, moving=verbose == 1 and moving, bar=verbose == 1, title=title)
