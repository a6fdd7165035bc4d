"""The suite under ASan and UBSan, and a proof that an access beyond an array would be seen."""

from __future__ import annotations

import sys

import pytest
import sanitizers
from builds import compile_with, copy

pytestmark = pytest.mark.skipif(
    not sys.platform.startswith("linux") or sanitizers.libraries() is None,
    reason="needs Linux and gcc with libasan and libubsan",
)


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    tree = tmp_path_factory.mktemp("sanitizers")
    copy(tree)
    compile_with(tree, sanitizers.FLAGS)
    return tree


@pytest.fixture(scope="module")
def runs(tree, request):
    """Only of the files that are asked for."""
    asked = {item.callspec.params["name"] for item in request.session.items
             if item.fspath == request.fspath and hasattr(item, "callspec")}  # fmt: skip
    names = [name for name in sanitizers.names() if name in asked]
    return sanitizers.run_all(tree, names, "--deselect=tests/test_ops.py::test_other_instruction")


@pytest.mark.parametrize("name", sanitizers.names())
def test_nothing_is_reported(runs, name):
    done = runs[name].result()
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-5000:]


def test_a_read_beyond_an_array_is_reported(tree):
    """In the last test of the file: it spoils the tree."""
    path = tree / "csrc" / "ops" / "metric_saturated.c"
    text = path.read_text()
    wrong = text.replace("n == VR_N)", "n >= 1)")  # whole vectors where the row has ended
    assert wrong != text
    path.write_text(wrong)
    compile_with(tree, sanitizers.FLAGS)
    done = sanitizers.run_file(tree, "ops", "-k", "saturated")
    assert done.returncode != 0
    assert "ERROR: AddressSanitizer" in done.stderr, done.stderr[-3000:]
