"""Saving and loading with each system call failing (tests/syscalls.py), and proof that the
check can fail; paths of all kinds."""

from __future__ import annotations

import os
import subprocess
import sys
from functools import partial

import numpy as np
import pytest
import syscalls
from conftest import ROOT, compiler, python, search_path
from test_saving import faulty

from pyact import _safetensors

linux = pytest.mark.skipif(
    not sys.platform.startswith("linux") or os.uname().machine != "x86_64",
    reason="the shim is for Linux on x86-64",
)


@pytest.fixture(scope="module")
def shim(tmp_path_factory):
    compiler()
    return syscalls.build(tmp_path_factory.mktemp("shim"))


def under(shim, *args):
    return subprocess.run(
        [sys.executable, ROOT / "tests" / "syscalls.py", *args], capture_output=True, text=True,
        timeout=300, env={**os.environ, "LD_PRELOAD": shim, "PYTHONPATH": search_path()},
        check=False,
    )  # fmt: skip


@linux
def test_every_system_call_may_fail(shim):
    done = under(shim)
    assert done.returncode == 0, done.stderr + done.stdout
    assert int(done.stdout.split()[0]) > 1000, done.stdout


@linux
@pytest.mark.parametrize("bug", syscalls.PLANTS)
def test_a_planted_bug_is_found(shim, bug):
    done = under(shim, "--plant", bug)
    assert done.returncode == 1 and "complaints" in done.stdout, done.stderr + done.stdout


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs pipes")
def test_pipes_and_devices_are_no_files(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ValueError, match="not a file of arrays"):
        _safetensors.read(tmp_path / "pipe")  # and does not wait for a writer
    with pytest.raises(OSError, match="a pipe or a device"):
        _safetensors.write(tmp_path / "pipe", {"a": np.zeros(2)})
    with pytest.raises(OSError, match="a pipe or a device"):
        _safetensors.write("/dev/null", {"a": np.zeros(2)})
    assert os.listdir(tmp_path) == ["pipe"]


@pytest.mark.parametrize("name", ["plain", "é ü 漢字 😀", "x" * 250, "漢" * 80, " ", "a\nb"])
@pytest.mark.parametrize("kind", [str, os.fsencode, None], ids=["text", "bytes", "path"])
def test_paths_of_all_kinds(tmp_path, name, kind):
    path = tmp_path / name
    given = kind(str(path)) if kind else path
    for version in (1, 2):
        _safetensors.write(given, {"a": np.full(3, version)})
        assert _safetensors.read(given)[0]["a"].tolist() == [version] * 3
    assert os.listdir(tmp_path) == [name]


@pytest.mark.skipif(os.name != "posix", reason="needs a umask")
def test_a_new_file_has_the_rights_of_the_umask(tmp_path):
    for mask in (0o022, 0o077, 0o002):
        before = os.umask(mask)
        try:
            _safetensors.write(tmp_path / f"{mask}", {})
        finally:
            os.umask(before)
        assert (tmp_path / f"{mask}").stat().st_mode & 0o777 == 0o666 & ~mask


@pytest.mark.skipif(os.name != "posix", reason="needs symbolic links")
def test_links_to_links_to_nothing_and_in_circles(tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("folder/c")
    _safetensors.write(tmp_path / "a", {"a": np.zeros(2)})
    assert (tmp_path / "folder" / "c").is_file() and (tmp_path / "b").is_symlink()
    (tmp_path / "p").symlink_to("q")
    (tmp_path / "q").symlink_to("p")
    with pytest.raises(OSError):
        _safetensors.write(tmp_path / "p", {"a": np.zeros(2)})
    with pytest.raises(FileNotFoundError):
        _safetensors.write(tmp_path / "none" / "c", {"a": np.zeros(2)})
    assert sorted(os.listdir(tmp_path)) == ["a", "b", "folder", "p", "q"]


@pytest.mark.parametrize("check, change", [
    (test_a_new_file_has_the_rights_of_the_umask, ("_temporary", "0o666", "0o600")),
    (partial(test_paths_of_all_kinds, name="x" * 250, kind=str), ("write", "name[:48]", "name")),
    (test_links_to_links_to_nothing_and_in_circles,
     ("_target", "os.path.realpath(path), None", "path, None")),
    (test_pipes_and_devices_are_no_files,
     ("_target", "if not stat.S_ISREG(mode):", "if stat.S_ISBLK(mode):")),
], ids=["a umask", "a long name", "a link to nothing", "a pipe"])  # fmt: skip
def test_a_fault_of_paths_and_rights_is_found(tmp_path, monkeypatch, check, change):
    faulty(monkeypatch, *change)
    with pytest.raises((AssertionError, OSError, pytest.fail.Exception)):
        check(tmp_path)


LOCKED = """
import json  # now: others than the owner may not be allowed to read it
import os, sys
import numpy as np
from pyact import _safetensors
folder = {folder!r}
if os.getuid() == 0:
    os.setgid(65534), os.setuid(65534)
try:
    _safetensors.write(folder + "/shut/a", {{"a": np.zeros(2)}})
    print("written")
except PermissionError:
    print("refused")
_safetensors.write(folder + "/unseen/a", {{"a": np.zeros(2)}})
print(_safetensors.read(folder + "/unseen/a")[0]["a"].size)
"""


@pytest.mark.skipif(os.name != "posix", reason="needs rights of folders")
def test_folders_that_may_not_be_written_or_not_be_looked_into(tmp_path):
    import tempfile

    with tempfile.TemporaryDirectory(dir="/tmp") as folder:  # pytest's are their owner's alone
        os.chmod(folder, 0o755)
        for name, mode in (("shut", 0o555), ("unseen", 0o333)):
            os.mkdir(os.path.join(folder, name))
            _safetensors.write(os.path.join(folder, "shut", "a"), {"a": np.ones(3)})
            os.chmod(os.path.join(folder, name), mode)
        assert python(LOCKED.format(folder=folder)).split() == ["refused", "2"]
        assert os.listdir(os.path.join(folder, "shut")) == ["a"]
        assert _safetensors.read(os.path.join(folder, "shut", "a"))[0]["a"].size == 3
        os.chmod(os.path.join(folder, "shut"), 0o755)
        os.chmod(os.path.join(folder, "unseen"), 0o755)
