"""Pictures: learning curves and pages of images. matplotlib is imported only here."""

from __future__ import annotations

from math import ceil
from typing import TYPE_CHECKING, Any

import numpy as np

from ._names import unknown, whole

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from os import PathLike

    from .callbacks import History, NeuronHealth

__all__ = ["plot_health", "plot_history", "plot_images", "plot_misread"]


def _pyplot() -> Any:
    try:
        import matplotlib.pyplot as plt
    except ImportError:
        raise ModuleNotFoundError(
            "drawing needs matplotlib, which is not installed: pip install matplotlib"
        ) from None
    return plt


def _finish(figure: Any, path: str | PathLike[str] | None) -> None:
    if path is not None:
        figure.savefig(path, dpi=150, bbox_inches="tight")


def plot_history(
    history: History,
    names: Iterable[str] | None = None,
    *,
    log: bool | None = None,
    title: str | None = None,
    path: str | PathLike[str] | None = None,
) -> Any:
    """Learning curves: one panel a name, training and validation together.

    names: which of history.history to draw (without val_); default all, loss first.
    log: logarithmic vertical axis; None means for panels whose values are positive and
    span more than a factor of 20. path: also save the picture there (.png, .svg, .pdf).

    Returns the panels, an array of matplotlib Axes (k,); the picture is axes[0].figure.

    Raises ValueError for an unknown name or an empty history, ModuleNotFoundError when
    matplotlib is missing.
    """
    table = history.history
    known = [n for n in table if not n.startswith("val_")]
    curves = [n for n in known if "/" not in n]  # NeuronHealth's have a picture of their own
    known += [n[4:] for n in table if n.startswith("val_") and n[4:] not in known]
    curves += [n for n in known if n not in table]
    chosen = sorted(curves, key=lambda n: n != "loss") if names is None else list(names)
    for name in chosen:
        if name not in known:
            raise unknown("name in the history", name, known)
    if not chosen:
        raise ValueError("the history is empty: nothing to draw")
    plt = _pyplot()
    figure, grid = plt.subplots(
        1, len(chosen), figsize=(4.5 * len(chosen), 3.4), squeeze=False, layout="constrained"
    )
    epochs = np.asarray(history.epoch) + 1
    for axes, name in zip(grid[0], chosen, strict=True):
        seen = []
        for key, label, style in (
            (name, "training", "o-"),
            (f"val_{name}", "validation", "s--"),
        ):
            if key in table:
                y = np.asarray(table[key], float)
                seen.append(y.ravel())
                x = epochs[-len(y) :]  # a name that first came in a later epoch
                axes.plot(x, y, style, markersize=3, linewidth=1.2, label=label)
        values = np.concatenate(seen)
        values = values[np.isfinite(values)]
        wide = values.size > 0 and values.min() > 0 and values.max() > 20 * values.min()
        if wide if log is None else log:
            axes.set_yscale("log")
        axes.set_xlabel("epoch")
        axes.set_ylabel(name)
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.grid(alpha=0.3)
        if len(seen) > 1:
            axes.legend()
    if title:
        figure.suptitle(title)
    _finish(figure, path)
    return grid[0]


def plot_health(
    health: NeuronHealth, *, title: str | None = None, path: str | PathLike[str] | None = None
) -> Any:
    """Saturated values, dead units and gradient norms over the epochs, one line a layer,
    from the first layer (dark) to the last (light). path: also save the picture there.

    Returns the three panels, an array of matplotlib Axes (3,).

    Raises ValueError before the first epoch, ModuleNotFoundError when matplotlib is missing.
    """
    if not health.gradient_norm:
        raise ValueError("nothing has been measured yet: give it to fit's callbacks first")
    plt = _pyplot()
    figure, (panels,) = plt.subplots(1, 3, figsize=(13.5, 3.6), squeeze=False, layout="constrained")
    order = list(health.gradient_norm)
    order += [name for name in health.saturated if name not in order]
    colors = plt.get_cmap("viridis")(np.linspace(0, 0.9, len(order)))
    tables = (
        ("saturated values", health.saturated),
        ("dead units", health.dead),
        ("gradient norm", health.gradient_norm),
    )
    for axes, (label, table) in zip(panels, tables, strict=True):
        for name, color in zip(order, colors, strict=True):
            if name in table:
                epochs = np.arange(1, len(table[name]) + 1)
                axes.plot(epochs, table[name], "o-", ms=2.5, lw=1.2, color=color, label=name)
        axes.set_xlabel("epoch")
        axes.set_ylabel(label)
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.grid(alpha=0.3)
        if table is not health.gradient_norm:
            axes.set_ylim(-0.03, 1.03)
    if all(v > 0 for values in health.gradient_norm.values() for v in values):
        panels[2].set_yscale("log")
    if len(order) <= 12:
        panels[2].legend(fontsize=7)
    if title:
        figure.suptitle(title)
    _finish(figure, path)
    return panels


def plot_images(
    images: Any,
    labels: Any = None,
    predictions: Any = None,
    *,
    columns: int = 10,
    names: Sequence[str] | None = None,
    title: str | None = None,
    path: str | PathLike[str] | None = None,
) -> Any:
    """A page of grey images with their labels, and predictions beside them.

    images: (n, h, w), (n, h, w, 1), or (n, side * side). labels, predictions: (n,) class
    numbers; predictions may be (n, classes) scores. A wrong prediction is written in red
    as "label → prediction". names: what to write for each class number. path: also save the
    picture there.

    Returns the matplotlib Axes as an array (rows, columns).

    Raises ValueError for shapes that do not fit, ModuleNotFoundError when matplotlib is
    missing.
    """
    pictures = _pictures(images)
    n = len(pictures)
    true = _classes(labels, n, "labels")
    got = _classes(predictions, n, "predictions")
    columns = min(whole("columns", columns, 1), max(n, 1))
    rows = max(1, ceil(n / columns))
    plt = _pyplot()
    figure, grid = plt.subplots(
        rows,
        columns,
        figsize=(0.8 * columns, rows * (1.0 if labels is not None else 0.8) + 0.3),
        squeeze=False,
        layout="constrained",
    )

    def said(k: int) -> str:
        return str(k) if names is None else names[k]

    for i, axes in enumerate(grid.ravel()):
        axes.axis("off")
        if i >= n:
            continue
        axes.imshow(pictures[i], cmap="gray_r", interpolation="nearest")
        text, color = "", "black"
        if true is not None:
            text = said(true[i])
        if got is not None and (true is None or got[i] != true[i]):
            text = f"{text} → {said(got[i])}" if text else said(got[i])
            color = "black" if true is None else "firebrick"
        if text:
            axes.set_title(text, fontsize=8, color=color, pad=2)
    if title:
        figure.suptitle(title, fontsize=10)
    _finish(figure, path)
    return grid


def plot_misread(
    images: Any, labels: Any, predictions: Any, *, limit: int = 50, **options: Any
) -> Any:
    """A page of the images whose prediction is wrong, at most `limit`, the most confident
    mistakes first when predictions are scores (n, classes). Options as for `plot_images`.

    Returns the matplotlib Axes as an array (rows, columns).
    """
    pictures = _pictures(images)
    true = _classes(labels, len(pictures), "labels")
    got = _classes(predictions, len(pictures), "predictions")
    if true is None or got is None:
        raise ValueError("plot_misread needs labels and predictions")
    wrong = np.flatnonzero(true != got)
    scores = np.asarray(predictions)
    if scores.ndim == 2:
        margin = scores[wrong, got[wrong]] - scores[wrong, true[wrong]]
        wrong = wrong[np.argsort(-margin, kind="stable")]
    shown = wrong[: whole("limit", limit, 1)]
    options.setdefault("title", f"{len(wrong)} of {len(true)} misread: label → prediction")
    return plot_images(pictures[shown], true[shown], got[shown], **options)


def _pictures(images: Any) -> Any:
    pictures = np.asarray(images)
    if pictures.ndim == 4 and pictures.shape[-1] == 1:
        pictures = pictures[..., 0]
    if pictures.ndim == 2:
        side = round(pictures.shape[1] ** 0.5)
        if side * side == pictures.shape[1]:
            pictures = pictures.reshape(-1, side, side)
    if pictures.ndim != 3:
        raise ValueError(
            f"images must be (n, h, w), (n, h, w, 1) or (n, side*side), got shape {pictures.shape}"
        )
    return pictures


def _classes(values: Any, n: int, what: str) -> Any:
    if values is None:
        return None
    array = np.asarray(values)
    if array.ndim == 2 and array.shape[1] > 1:
        array = array.argmax(axis=1)
    array = array.reshape(-1)
    if len(array) != n:
        raise ValueError(f"{what} has {len(array)} items for {n} images")
    return array.astype(int)
