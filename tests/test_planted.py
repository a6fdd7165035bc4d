"""Faults that the checks exist for, planted on purpose: every one must be found.

Some are planted in a copy of the C sources, which is compiled (the faulty files alone; the
other objects are those of the build) and tested by the same test files. Others are planted
in what a check is given.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from functools import partial

import numpy as np
import oracle
import pytest
import test_bad_input
import test_ops
import test_training
from conftest import ROOT, objects, run
from oracle import LD, Case, compare, same_bits
from reference import ROWS

from pyact import _core, losses, optimizers
from pyact.training import program

LANES = """
PA_INLINE vd planted(vd x{more})
{{
    double v[VD_N];
    vd_store(v, x);
    for (int i = 0; i < VD_N; i++) {{
        double z = v[i];
        v[i] = {formula};
    }}
    return vd_load(v);
}}
#include "kern/map.h"
"""


def replace_function(text, name, more, formula):
    """The operator with another f or df, whatever its own looks like."""
    body = LANES.format(more=more, formula=formula)
    plant = f"#include <math.h>\n#undef MAP_ROUND_F\n#undef MAP_ROUND_DF\n{body}"
    plant = plant.replace('#include "kern/map.h"', f'#define {name} planted\n#include "kern/map.h"')
    return replaced(text, '#include "kern/map.h"', plant)


def replaced(text, old, new):
    assert text.count(old) == 1, f"a fault cannot be planted: {old!r} is not there once"
    return text.replace(old, new)


# Faults of convolutions and pooling, of offsets, of reading twice and of the search for what is
# not finite, each there when its environment variable is: one build serves all that the tests
# are to find one by one.
#   name: (file, what is there, what is planted, test file, tests, what must fail)
LAST = """if (PLANTED) {
        x += (rows - 1) * row + (cols - 1) * pixel;
        dx += (rows - 1) * row + (cols - 1) * pixel;
        row = 0 - row;
        pixel = 0 - pixel;
    }"""
GRADIENT, FORWARD = "test_gradient", "test_forward"
WINDOWS = "test_gradients_where_windows_of_dz_have_one_place"
POOLED = "test_pooling_in_the_convolution_s_call_changes_no_bit"
SWITCHED = {
    # a gradient of the image that forgets the stride along the row
    "stride": ("kern/conv.c", "ox * g->sw + kx * g->dw", "ox * (PLANTED ? 1 : g->sw) + kx * g->dw",
               "test_ops.py", GRADIENT, "conv2d"),
    # an image that loses a column of its padding
    "padding": ("kern/conv_frame.h", "g->left * wide", "(g->left - (PLANTED && g->left)) * wide",
                "test_ops.py", FORWARD, "conv2d"),
    # a group that begins where its results do
    "group": ("kern/conv.c", "group * g->Cg + t->c", "group * (PLANTED ? g->Og : g->Cg) + t->c",
              "test_ops.py", FORWARD, "conv2d"),
    # the gradient of the image as a convolution, with a kernel that is not turned
    "turn": ("kern/conv_flip.c", "(taps - 1 - k)", "(PLANTED ? k : taps - 1 - k)",
             "test_ops.py", GRADIENT, "conv2d"),
    # the lowest pixel of a column of mostly zeros does not reach its last row
    "column": ("kern/conv_sparse.c", "oy < g->OH && o < s->O", "oy + !!PLANTED < g->OH && o < s->O",
               "test_images.py", "test_gradients_where_few_places_of_dz_are_not_zero", ""),
    # max-pooling whose gradient goes to the last of the largest: by itself, and inside a
    # convolution's call, there also to the wrong column or to what relu has made 0
    "last": ("ops/max_pool2d.c", "const vrm lost = vr_ne(top, top);",
             f"const vrm lost = vr_ne(top, top); {LAST}", "test_ops.py", GRADIENT, "max_pool2d"),
    "place": ("kern/conv_pool.h", "vr_ge(*top, v)",
              "(PLANTED ? vr_gt(*top, v) : vr_ge(*top, v))", "test_images.py", POOLED, ""),
    "plane": ("kern/conv_grey_pool.c", "{vr_even(a, b), vr_odd(a, b),",
              "{PLANTED ? vr_odd(a, b) : vr_even(a, b), PLANTED ? vr_even(a, b) : vr_odd(a, b),",
              "test_images.py", POOLED, ""),
    "relu": ("kern/conv_pool.h", "top = vr_max(vr_zero(), top);",
             "top = PLANTED ? top : vr_max(vr_zero(), top);", "test_images.py", POOLED, ""),
    # windows that take the second row's place for the first one's, and of an image with one
    # channel the right column's for the left one's
    "window": ("kern/conv_window.c", "1 - (place[i] >> 1)", "1 - (PLANTED ? 0 : place[i] >> 1)",
               "test_images.py", WINDOWS, ""),
    "mark": ("kern/conv_grey_pool.c", "vr_sel(column, next, here)",
             "(PLANTED ? here : vr_sel(column, next, here))", "test_images.py", WINDOWS, ""),
    # offsets of 20 bits: in a ufunc, a sum, the rows of a batch, the sizes in a file
    "ufunc": ("py/ufunc.c", "args[k] + at * steps[k];\n        run_piece(",
              "args[k] + (PLANTED ? at & 0xfffff : at) * steps[k];\n        run_piece(",
              "test_big.py", "test_ufunc", ""),
    "sum": ("kern/reduce.c", ": sum_run(r->x + from,",
            ": sum_run(r->x + (PLANTED ? from & 0xfffff : from),",
            "test_big.py", "test_operator", ""),
    "rows": ("graph/feed.c", "(const char *)f->data + row * f->row_step",
             "(const char *)f->data + (PLANTED ? row * f->row_step & 0xfffff : row * f->row_step)",
             "test_big.py", "test_training_and_prediction", ""),
    "file": ("../pyact/_safetensors.py", "return 0 if empty else size",
             "return 0 if empty else size & 0xfffff if os.PLANTED else size",
             "test_big.py", "test_file", ""),
    # an index that is read again after it was found in range
    "index": ("ops/embedding.c", "table + (size_t)row * D",
              "table + (PLANTED ? (size_t)((const real *)c->in[1]->data)[i] : (size_t)row) * D",
              "test_hostile.py", "test_arrays_written_during_the_call", ""),
    # a list that is asked for its numbers one by one, while they have code of their own
    "list": ("py/args.c", "PyTuple_GET_ITEM(seq, i)",
             "PLANTED && !one ? PySequence_GetItem(value, i) : PyTuple_GET_ITEM(seq, i)",
             "test_core.py", "test_a_list_of_numbers_that_empties_itself", ""),
    # a search that leaves out what does not fill its lanes
    "tail": ("kern/largest.c", "|| i == n ?", "|| i == n || PLANTED ?",
             "test_finite.py", "test_each_place_of_a_gradient_is_looked_at", ""),
    # a step that is undone but for the optimizer's slots
    "slots": ("graph/guard.c", "memcpy(g->parts[i].data, from,",
              "memcpy(PLANTED && g->parts[i].operand >= SLOT ? g->kept : g->parts[i].data, from,",
              "test_finite.py", "test_a_step_whose_update_overflows_a_weight_is_undone", ""),
    # bounds that are told less than the truth: by an optimizer, and by a product
    "rate": ("ops/opt_sgd.c", "ctx->lr * most[1]", "(PLANTED ? 1 : ctx->lr) * most[1]",
             "test_finite.py", "test_no_step_is_taken_for_finite_that_is_not", ""),
    "factor": ("ops/dense.c", "pa_largest)(x,", "pa_largest)(PLANTED ? dz : x,",
               "test_finite.py", "test_a_product_s_overflow_is_found_whatever_its_factors", ""),
}  # fmt: skip


def plant_switched(csrc):
    for name, (file, old, new, *_) in SWITCHED.items():
        pair = old, new.replace("PLANTED", f'getenv("PLANTED_{name}")')
        declared = "" if file.endswith(".py") else "char *getenv(const char *);\n"
        edited(csrc, file, lambda t, pair=pair, head=declared: head + replaced(t, *pair))


def edited(csrc, name, change):
    path = csrc / name
    path.write_text(change(path.read_text()))


def plant(csrc):
    """Writes the faults into a copy of csrc."""
    edit = partial(edited, csrc)
    swish = "1 / (1 + exp(-z)) * (1 - 1 / (1 + exp(-z)))"  # s (1 - s) alone
    edit("ops/map/silu.c",
         lambda t: replace_function(t, "df", ", vd beta", f"((void)beta, {swish})"))  # fmt: skip
    # x erf(x / sqrt 2): without its 1/2 (1 + ...)
    edit(
        "ops/map/gelu.c", lambda t: replace_function(t, "f", "", "z * erf(z * 0.7071067811865476)")
    )
    # the last element of a vector's tail is left out
    tail = (csrc / "kern/map.h").read_text()
    tail = replaced(tail, "(int)n, fixed);", "(int)(n - (n > 1)), fixed);")
    (csrc / "kern/map_planted.h").write_text(tail)
    edit("ops/map/softsign.c", lambda t: replaced(t, '"kern/map.h"', '"kern/map_planted.h"'))
    # an operator that cannot work in place says that it can
    kind = ".kind = PA_KIND_SHAPE,"
    edit("ops/transpose.c", lambda t: replaced(t, kind, kind + " .flags = PA_IN_PLACE,"))
    # an LSTM whose input and forget gates have changed places
    gate = "vr {} = pa_gate_sigmoid(pa_rnn_load(z + {}j, n));"

    def swapped(text):
        for name, here, there in (("i", "", "U + "), ("f", "U + ", "")):
            text = replaced(text, gate.format(name, here), gate.format(name, there))
        return text

    edit("ops/lstm.c", swapped)
    # a SimpleRNN whose gradient does not flow back through time
    edit("ops/simple_rnn.c", lambda t: replaced(
        t, "vr g = pa_rnn_grad(r, t, b, j, n);",
        "vr g = pa_rnn_load(r->dy + (b * r->T + t) * r->U + j, n);"))  # fmt: skip
    # a GRU that computes the steps it is told to leave out
    edit("kern/rnn_shape.c", lambda t: replaced(
        t, "r.mask = in.mask ?", "r.mask = in.mask && kind->gates != 3 ?"))  # fmt: skip
    # and whose backward reads its kernels without saying so
    edit("ops/gru.c", lambda t: replaced(t, "    .flags = PA_NEEDS_IN,\n", ""))
    # what a loop reads in every round may be overwritten in its first
    edit("graph/plan.c", lambda t: replaced(t, "it->dies = end;", "it->dies += 0;"))
    # threads share a scratch: with one thread nothing is wrong
    edit("ops/map/hard_sigmoid.c", lambda t: replaced(t, '"kern/map.h"', '"kern/map_shared.h"'))
    shared = (csrc / "kern/map.h").read_text()
    load = "    load(x, in[0]);\n    load_p(p, in[1], fixed);\n    r[0] = f("
    scratch = (
        "    static real scratch[BLOCK];\n    int sched_yield(void);\n"
        "    for (int i = 0; i < BLOCK; i++)\n        scratch[i] = in[0][i];\n"
        "    sched_yield();\n"
    )
    shared = replaced(shared, load, scratch + load.replace("in[0]", "scratch", 1))
    (csrc / "kern/map_shared.h").write_text(shared)
    # a step counts as done before it is
    step = "if ((status = pa_program_step("
    count = "        if (a->updates)\n            ++*a->updates;\n"
    edit("graph/loop.c", lambda t: replaced(replaced(t, count, ""), step, count + step))


def build_planted(tree, plant):
    """A folder with a faulty pyact."""
    for name in ("setup.py", "pyproject.toml"):
        shutil.copy2(ROOT / name, tree / name)
    for name in ("csrc", "pyact"):
        shutil.copytree(ROOT / name, tree / name, ignore=shutil.ignore_patterns("*.so", "*.pyd"))
    shutil.copytree(objects(), tree / objects().relative_to(ROOT))
    plant(tree / "csrc")
    setup = [sys.executable, tree / "setup.py", "-q", "build_ext"]
    run([*setup, "--build-temp", tree / objects().relative_to(ROOT), "--build-lib", tree / "lib"],
        600, WERROR="")  # fmt: skip
    shutil.copytree(tree / "pyact", tree / "lib" / "pyact", dirs_exist_ok=True)
    return tree / "lib"


@pytest.fixture(scope="session")
def planted(core_library, tmp_path_factory):
    return build_planted(tmp_path_factory.mktemp("planted"), plant)


@pytest.fixture(scope="session")
def switched(core_library, tmp_path_factory):
    """Its faults are there when they are switched on: none of the checks fails before."""
    built = build_planted(tmp_path_factory.mktemp("switched"), plant_switched)
    words = {}
    for name, (*_, file, _, _) in SWITCHED.items():
        words.setdefault(file, []).append(f"({words_of(name)})")
    for file, each in words.items():
        assert failures(built, file, " or ".join(each)) == {}
    return built


def words_of(name):
    *_, test, op = SWITCHED[name]
    return f"{test} and {op}" if op else test


def failures(planted, file, words, *more, **switches):
    """The tests of a file that fail on the faulty pyact, as {function: {parameters}}."""
    env = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(map(str, (planted, ROOT / "tests"))),
        "PYTHONSAFEPATH": "1",
        "PYACT_TEST_ONE_ISA": "1",
        **switches,
    }
    command = [
        sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-c", os.devnull,
        "--rootdir", ROOT / "tests", "-rfE", "--tb=no", "-k", words, *more, ROOT / "tests" / file,
    ]  # fmt: skip
    done = subprocess.run([str(c) for c in command], env=env, cwd=planted, capture_output=True,
                          text=True, timeout=280, check=False)  # fmt: skip
    assert done.returncode in (0, 1), done.stdout + done.stderr
    found = {}
    for name, parameters in re.findall(
        r"^(?:PARALLEL )?FAILED \S+::(\w+)(?:\[([^\]]*)\])?", done.stdout, re.M
    ):
        found.setdefault(name, set()).add(parameters)
    return found


@pytest.fixture(scope="session")
def failed(planted):
    words = "silu or gelu or softsign or transpose or tanh or lstm or simple_rnn or gru"
    return failures(planted, "test_ops.py", words)


@pytest.mark.parametrize("dtype", oracle.DTYPES)
def test_swish_with_the_derivative_of_sigmoid_is_found(failed, dtype):
    assert f"{dtype}-silu" in failed["test_gradient"]
    assert f"{dtype}-silu" not in failed["test_forward"]


@pytest.mark.parametrize("dtype", oracle.DTYPES)
def test_gelu_without_its_half_is_found(failed, dtype):
    assert f"{dtype}-gelu" in failed["test_forward"]
    assert f"{dtype}-gelu" in failed["test_limits"]  # and x erf(x/sqrt 2) at -inf


@pytest.mark.parametrize("dtype", oracle.DTYPES)
def test_a_tail_one_short_is_found(failed, dtype):
    assert f"{dtype}-softsign" in failed["test_forward"]


@pytest.mark.parametrize("dtype", oracle.DTYPES)
def test_a_false_claim_to_work_in_place_is_found(failed, dtype):
    assert f"{dtype}-transpose" in failed["test_in_place_gives_the_same_bits"]


@pytest.mark.parametrize("dtype", oracle.DTYPES)
def test_gates_in_the_wrong_order_are_found(failed, dtype):
    assert f"{dtype}-lstm" in failed["test_forward"]


def test_a_gradient_that_stops_at_its_own_step_is_found(failed):
    assert "simple_rnn" in failed["test_gradient_against_finite_differences"]
    assert not {"float32-simple_rnn", "float64-simple_rnn"} & failed["test_forward"]


@pytest.mark.parametrize("dtype", oracle.DTYPES)
def test_a_mask_that_is_not_heeded_is_found(failed, dtype):
    assert f"{dtype}-gru" in failed["test_forward"]


def test_nothing_else_is_found(failed):
    """The faults are in eight files; their neighbours pass every check."""
    named = [p for parameters in failed.values() for p in parameters]
    blamed = {p.split("-")[-1] for p in named}
    recurrent = {"lstm", "simple_rnn", "gru"}
    assert blamed <= {"silu", "gelu", "softsign", "transpose", "dense", *recurrent}, failed


@pytest.mark.parametrize("name", SWITCHED)
def test_a_fault_that_is_switched_on_is_found(switched, name):
    *_, file, test, op = SWITCHED[name]
    found = failures(switched, file, words_of(name), **{f"PLANTED_{name}": "1"})
    assert test in found
    assert not op or {f"float32-{op}", f"float64-{op}"} <= found[test]


def test_a_step_counted_before_it_is_done_is_found(planted):
    found = failures(planted, "test_training.py", "interrupt_inside_a_long_step")
    assert "test_an_interrupt_inside_a_long_step_undoes_it" in found


def test_a_loop_that_overwrites_what_it_reads_is_found(planted):
    found = failures(planted, "test_feedback.py", "lasts_through")
    assert "test_what_a_loop_reads_lasts_through_it" in found


@pytest.mark.parametrize("dtype", oracle.DTYPES)
def test_a_backward_that_reads_more_than_it_says_is_found(planted, dtype):
    found = failures(planted, "test_ops.py", f"reads_no_input and gru and {dtype}")
    assert found == {"test_backward_reads_no_input_unless_it_says_so": {f"{dtype}-gru"}}


def test_a_scratch_that_threads_share_is_found(planted, monkeypatch):
    pytest.importorskip("pytest_run_parallel")
    monkeypatch.setenv("PYACT_NUM_THREADS", "1")
    words = "hard_sigmoid and any_size_and_layout"
    assert not failures(planted, "test_ufuncs.py", words)
    assert failures(planted, "test_ufuncs.py", words, "--parallel-threads=8")


# ---- faults in what a check is given -------------------------------------------------------------


def softmax_twice(monkeypatch):
    """The loss takes the softmax's result for logits, and so applies another one."""
    monkeypatch.setattr(losses, "logits_of", lambda value, activation: value)


@pytest.mark.parametrize("loss, target", [
    (losses.SparseCategoricalCrossentropy(), "labels"),
    (losses.CategoricalCrossentropy(), "one_hot"),
])  # fmt: skip
def test_softmax_applied_twice_is_found(monkeypatch, loss, target):
    check = partial(test_training.check_steps, ["tanh", "softmax"], loss, target)
    check(optimizers.SGD(0.1))
    softmax_twice(monkeypatch)
    with pytest.raises(AssertionError, match=r"step 0.*got.*want"):
        check(optimizers.SGD(0.1))
    with pytest.raises(AssertionError, match=r"step 0.*got.*want"):
        check(optimizers.SGD(0.1), dtype="float32")


@pytest.mark.parametrize("name, wrong", [
    ("opt_sgd", {"momentum": 0.7499}), ("opt_adam", {"beta_2": 0.9991}),
    ("opt_rmsprop", {"rho": 0.8999}), ("opt_adagrad", {"epsilon": 1e-3}),
])  # fmt: skip
def test_an_optimizer_a_little_off_is_found(monkeypatch, name, wrong):
    row = ROWS[name]

    def step(*args, **attrs):
        return row.step(*args, **{**attrs, **{k: LD(v) for k, v in wrong.items()}})

    attrs = {"momentum": 0.75} if name == "opt_sgd" else {}
    monkeypatch.setitem(ROWS, name, type(row)(step, row.start, [attrs]))
    for dtype in oracle.DTYPES:
        with pytest.raises(AssertionError):
            test_ops.test_optimizer(name, dtype)


def test_a_wrong_formula_is_found_by_finite_differences(monkeypatch):
    """The rows themselves: Swish' as s (1 - s) cannot hide in both places."""
    case = Case((oracle.normal((31,), "x"),))
    test_ops.check_formula("silu", case)
    sigmoid = ROWS["sigmoid"].forward
    monkeypatch.setattr(ROWS["silu"], "vjp", lambda dy, x: (dy * sigmoid(x) * sigmoid(-x),))
    with pytest.raises(AssertionError, match="finite differences give"):
        test_ops.check_formula("silu", case)


def test_a_missing_row_is_found(monkeypatch):
    monkeypatch.delitem(ROWS, "gelu")
    with pytest.raises(AssertionError):
        test_ops.test_every_operator_has_a_row()


@pytest.mark.parametrize("dtype", oracle.DTYPES)
def test_an_error_of_one_ulp_is_found(dtype):
    x = np.linspace(0.5, 3, 1001).astype(dtype)
    want = np.tanh(x.astype(LD))
    got = want.astype(dtype)
    compare("tanh", got, want, 0.501)
    got[777] = np.nextafter(got[777], dtype(9) if callable(dtype) else np.dtype(dtype).type(9))
    with pytest.raises(AssertionError, match=r"worst at \(777,\).*got.*want.*ULP"):
        compare("tanh", got, want, 0.501, None, (x,))


def test_what_the_comparisons_must_not_accept():
    one = np.ones(3, np.float32)
    for other in (one.astype(np.float64), one[:2], one[None], one * np.float32(1.0000001), -one):
        with pytest.raises(AssertionError):
            same_bits("a", other, one)
    with pytest.raises(AssertionError):
        same_bits("signed zeros", np.zeros(1), -np.zeros(1))
    for got, want in ((np.nan, 1.0), (1.0, np.nan), (np.inf, 1.0), (np.inf, -np.inf), (0.0, 1e-30)):
        with pytest.raises(AssertionError):
            compare("b", np.array([got], np.float32), [want], 4)
    with pytest.raises(AssertionError, match=f"ISA {_core.isa()}, float32, shape"):
        compare("c", one, one.astype(LD) * 1.01, 4)


def test_a_gradient_of_the_wrong_input_is_found(monkeypatch):
    """dense: x' dz against dz' x, which have the same shape when the layer is square."""
    row = ROWS["dense"]

    def swapped(dy, x, kernel, bias=None, **attrs):
        found = row.vjp(dy, x, kernel, bias, **attrs)
        return [found[0], found[1].T, *found[2:]]

    case = Case((oracle.normal((5, 4), "x"), oracle.normal((4, 4), "k"), oracle.normal((4,), "b")))
    test_ops.check_gradient("dense", "float32", case)
    monkeypatch.setitem(ROWS, "dense", oracle.Row(**{**vars(row), "vjp": swapped}))
    with pytest.raises(AssertionError, match="gradient in input 1"):
        test_ops.check_gradient("dense", "float32", case)


def test_targets_broadcast_in_silence_are_found(monkeypatch):
    """What NumPy would do with (12, 2) predictions and (12,) or (12, 1) targets."""

    def broadcast(array, shape, what, because):
        if what != "y":
            return shaped(array, shape, what, because)
        rows = array.reshape(array.shape[0], -1)[:, : shape[-1]]
        return np.ascontiguousarray(np.broadcast_to(rows, (array.shape[0], *shape)))

    shaped = program.shaped
    test_bad_input.test_two_predictions_for_one_target_are_refused()
    monkeypatch.setattr(program, "shaped", broadcast)
    with pytest.raises(pytest.fail.Exception, match="DID NOT RAISE"):
        test_bad_input.test_two_predictions_for_one_target_are_refused()
