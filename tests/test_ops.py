"""Every operator of the registry, in both dtypes, on every instruction set.

What is tried comes from `reference.py`; an operator without a row there fails. The
instruction set is chosen when the core is loaded, so the others run this same file in
processes of their own.
"""

from __future__ import annotations

import itertools
import os
import subprocess
import sys

import numpy as np
import oracle
import pytest
from conftest import ROOT, search_path
from oracle import DTYPES, LD, Case, Row, compare, same_bits, without_denormals
from reference import PARAMETER, ROWS
from reference_training import Clip, Update

from pyact import _core

ONE_ISA = "PYACT_TEST_ONE_ISA" in os.environ  # set for the processes started below
INFO = {name: _core.op_info(name) for name in _core.op_names()}
UPDATES = [name for name in INFO if isinstance(ROWS.get(name), Update)]
CLIPS = [name for name in INFO if isinstance(ROWS.get(name), Clip)]
PURE = [name for name in INFO if isinstance(ROWS.get(name), Row)]
SMOOTH = [name for name in PURE if INFO[name]["differentiable"]]
MAPS = [name for name in PURE if INFO[name]["kind"] == "map"]
IN_PLACE = [name for name in SMOOTH if INFO[name]["in_place"]]

ops = pytest.mark.parametrize("name", PURE)
smooth = pytest.mark.parametrize("name", SMOOTH)
dtypes = pytest.mark.parametrize("dtype", DTYPES)


def test_every_operator_has_a_row():
    assert sorted(INFO) == sorted(ROWS), "csrc/ops/ops.def and tests/reference.py differ"


# ---- running one operator: at once, on a tape, in a program -----------------------------------


def apply(name, inputs, attrs):
    found = _core.apply(name, tuple(inputs), attrs)
    if isinstance(found, tuple):
        return np.concatenate([part.ravel() for part in found])
    return found if isinstance(found, np.ndarray) else np.asarray(found)


def record(owner, name, values, attrs):
    """The operator on a tape or in a graph; several results are joined into a flat one."""
    found = owner.apply(name, values, attrs)
    if not isinstance(found, tuple):
        return found
    flat = tuple(owner.apply("reshape", (part,), {"shape": (-1,)} if 0 not in part.shape
                             else {"shape": (0,)}) for part in found)  # fmt: skip
    return owner.apply("concatenate", flat, {"axis": 0})


def wanted(name, inputs):
    """The numbers of the inputs that have a gradient."""
    return [
        i for i, x in enumerate(inputs)
        if x.dtype.kind == "f" and not INFO[name]["no_din"] >> i & 1
    ]  # fmt: skip


def tape_run(name, inputs, attrs, seed=None):
    """The result and its gradients in all inputs that have one, on a tape."""
    tape = _core.Tape()
    leaves = tuple(tape.leaf(x) for x in inputs)
    y = record(tape, name, leaves, attrs)
    sources = tuple(leaves[i] for i in wanted(name, inputs))
    grads = tape.gradient(y, sources, seed) if sources and name in SMOOTH else ()
    return y.numpy(), [None if g is None else g.numpy() for g in grads]


def seed_for(y):
    return oracle.normal(y.shape, "seed").astype(y.dtype)


def seeded_run(name, inputs, attrs):
    """(seed, tape_run with it), the seed being of the result's shape."""
    seed = seed_for(tape_run(name, inputs, attrs)[0])
    return seed, tape_run(name, inputs, attrs, seed)


def chain(owner, name, values, attrs, seed):
    """seed * op(-x, ...) with a loss over all: `owner` is a tape or a graph.

    The negation in front and the products behind give the operator neighbours whose
    memory the program may reuse for it.
    """
    first = owner.apply("negative", (owner.apply("negative", values[:1]),))
    y = record(owner, name, (first, *values[1:]), attrs)
    scaled = owner.apply("multiply", (y, owner.apply("negative", (seed,))))
    return y, scaled, owner.apply("sum", (scaled,))


def program_run(build, inputs, dtype):
    """Runs build(graph, values) -> (outputs, loss) as a program: outputs and gradients of
    the floating inputs. Batches have one row, which holds a whole input."""
    graph = _core.Graph()
    values, fed, feeds = [], [], []
    for x in inputs:
        if x.dtype.kind == "f":
            flat = graph.input((1, x.size), dtype)
            fed.append(flat)
            feeds.append((f"x{len(fed)}", x.reshape(1, -1), 0, False))
            values.append(graph.apply("reshape", (flat,), {"shape": x.shape}))
        else:
            values.append(graph.const(x))
    outputs, loss = build(graph, tuple(values))
    shapes = [o.shape for o in outputs]
    flat = tuple(graph.apply("reshape", (o,), {"shape": (1, -1)}) for o in outputs)
    wrt = tuple(fed) if loss is not None else ()
    program = _core.Program(graph, loss=loss, outputs=flat, wrt=wrt)
    results = [np.empty(v.shape, v.dtype) for v in (*flat, *wrt)]
    _core.run_loop(
        program, None, tuple(feeds), 1, 1, None, 0, 1, 0, 0, None, None,
        (None,) * len(results), tuple(results), None, None,
    )  # fmt: skip
    outs = [r.reshape(s) for r, s in zip(results, shapes, strict=False)]
    fed_shapes = [x.shape for x in inputs if x.dtype.kind == "f"]
    grads = [r.reshape(s) for r, s in zip(results[len(flat) :], fed_shapes, strict=False)]
    return outs, grads


# ---- forward ----------------------------------------------------------------------------------


def wide(inputs):
    return tuple(x.astype(LD) if x.dtype.kind == "f" else x for x in inputs)


def rounded(name, dtype, attrs):
    """An activation's parameter as it reaches the kernel: a number of the dtype."""
    key, of = {"dense": ("param", attrs.get("activation"))}.get(name, (PARAMETER.get(name), name))
    if of not in PARAMETER:
        return attrs
    default = INFO[of]["attrs"][0][2]
    return {**attrs, key: float(np.dtype(dtype).type(attrs.get(key, default)))}


def check_forward(name, dtype, case):
    row = ROWS[name]
    inputs, attrs = case.of(dtype), rounded(name, dtype, case.attrs)
    got = apply(name, inputs, case.attrs)
    given = [got] if row.given else []
    want = row.forward(*given, *wide(inputs), **attrs)
    size = row.size(*wide(inputs), **attrs) if callable(row.size) else row.size
    compare(f"{name}: {case}", got, want, row.ulps[dtype == "float64"], size, inputs)


@ops
@dtypes
def test_forward(name, dtype):
    for case in ROWS[name].cases():
        check_forward(name, dtype, case)


@pytest.mark.parametrize("name", MAPS)
@dtypes
def test_limits(name, dtype):
    """Signed zeros, infinities and NaN."""
    for x, (want, slope) in [*ROWS[name].limits.items(), (float("nan"), (np.nan, np.nan))]:
        at = np.full(3, x, dtype)
        y, (grad,) = tape_run(name, (at,), {}, np.ones(3, dtype))
        for what, got, expected in (("", y, want), ("_grad", grad, slope)):
            compare(f"{name}{what}({x})", got, np.full(3, expected, LD), 2)
            if what == "" and not np.isnan(expected):
                sign = bool(np.signbit(expected))
                assert all(np.signbit(got) == sign), f"{name}({x}): got {got}, want {expected}"


# ---- gradients --------------------------------------------------------------------------------


def check_formula(name, case):
    """The row's own gradient against finite differences of its formula."""
    row = ROWS[name]
    y = np.asarray(row.forward(*wide(case.inputs), **case.attrs))
    seed = oracle.normal(y.shape, "seed").astype(LD)
    grads = row.vjp(seed, *wide(case.inputs), **case.attrs)
    for k in wanted(name, case.inputs):
        compare_slopes(name, case, k, np.asarray(grads[k], LD), seed)


def compare_slopes(name, case, k, grad, seed, head=()):
    row = ROWS[name]
    x = case.inputs[k]
    if INFO[name]["kind"] == "map":
        want = seed * oracle.map_slope(lambda v: row.forward(v, **case.attrs), wide((x,))[0])
    elif sum(v.size for v in case.inputs) <= 300 and row.smooth(case):
        want = oracle.slopes(
            lambda *v: np.asarray(row.forward(*head, *v, **case.attrs)), wide(case.inputs), k, seed
        )
    else:
        return
    smooth = np.isfinite(want.astype(np.float64))
    for kink in row.kinks:
        smooth &= np.abs(x - kink) > 4 * oracle.STEP
    error = np.abs(np.where(smooth, grad - want, 0))
    limit = 1e-8 * (1 + np.abs(np.where(smooth, want, 0)).max(initial=0))
    bad = error > limit
    assert not bad.any(), (
        f"{name}: {case}: gradient in input {k} at {np.argwhere(bad)[0]}: x = {x[bad][0]!r}, "
        f"got {np.asarray(grad)[bad][0]!r}, finite differences give {want[bad][0]!r}"
    )


@smooth
def test_gradient_against_finite_differences(name):
    """In float64: the operator's gradient where its row has none, else the row's own."""
    row = ROWS[name]
    for case in row.cases():
        if row.vjp is not None:
            if not ONE_ISA:  # a formula is the same on every instruction set
                check_formula(name, case)
            continue
        seed, (y, grads) = seeded_run(name, case.of("float64"), case.attrs)
        head = (y,) if row.given else ()
        for k, grad in zip(wanted(name, case.inputs), grads, strict=True):
            compare_slopes(name, case, k, grad.astype(LD), seed.astype(LD), head)


def check_gradient(name, dtype, case):
    row = ROWS[name]
    inputs, attrs = case.of(dtype), rounded(name, dtype, case.attrs)
    seed, (_, grads) = seeded_run(name, inputs, case.attrs)
    known = (seed.astype(LD), *wide(inputs))
    size = row.grad_size
    if row.vjp is not None:
        want = row.vjp(*known, **attrs)
        size = size(*known, **attrs) if callable(size) else size
    elif dtype == "float32":  # without a formula: against float64, which was checked above
        _, there = tape_run(name, case.of("float64"), case.attrs, seed.astype(np.float64))
        want = dict(zip(wanted(name, inputs), there, strict=True))
    else:
        return
    for k, grad in zip(wanted(name, inputs), grads, strict=True):
        what = f"{name}: gradient in input {k}: {case}"
        assert grad is not None, f"{what}: there is none"
        of = size[k] if isinstance(size, (tuple, list)) else size
        compare(what, grad, want[k], row.grad_ulps[dtype == "float64"], of,
                (seed, inputs[k]), flushed=True)  # fmt: skip


@smooth
@dtypes
def test_gradient(name, dtype):
    for case in ROWS[name].cases():
        check_gradient(name, dtype, case)


@pytest.mark.parametrize("name", [n for n in SMOOTH if not INFO[n]["needs_in"]])
@dtypes
def test_backward_reads_no_input_unless_it_says_so(name, dtype):
    """Else a program has other values in that memory by then. A tape's leaves are the arrays
    that they were made of."""
    for case in ROWS[name].cases():
        inputs = case.of(dtype)
        seed, (_, want) = seeded_run(name, inputs, case.attrs)
        given = [np.array(x) for x in inputs]
        tape = _core.Tape()
        leaves = tuple(tape.leaf(x) for x in given)
        y = record(tape, name, leaves, case.attrs)
        for x in given:
            x[...] = 0 if x.dtype.kind == "i" else np.nan
        got = tape.gradient(y, tuple(leaves[i] for i in wanted(name, inputs)), seed)
        for k, (a, b) in enumerate(zip(got, want, strict=True)):
            same_bits(f"{name}: gradient {k}: {case}", a.numpy(), b)


SEVERAL = [
    name for name in SMOOTH if any(len(wanted(name, c.inputs)) > 1 for c in ROWS[name].cases())
]


@pytest.mark.parametrize("name", SEVERAL)
def test_a_gradient_by_itself_is_the_one_among_others(name):
    """What nobody asks for is not computed, and what is left comes to the same."""
    for case in ROWS[name].cases():
        tape = _core.Tape()
        inputs = case.of("float32")
        leaves = tuple(tape.leaf(x) for x in inputs)
        y = record(tape, name, leaves, case.attrs)
        seed, sources = seed_for(y.numpy()), tuple(leaves[i] for i in wanted(name, inputs))
        for k, among in enumerate(tape.gradient(y, sources, seed)):
            [alone] = tape.gradient(y, (sources[k],), seed)
            same_bits(f"{name}: {case}: gradient {k}", alone.numpy(), among.numpy())


# ---- the same bits on every way ---------------------------------------------------------------


@pytest.mark.parametrize("name", [n for n in PURE if not ROWS[n].given])
@dtypes
def test_tape_and_program_give_the_same_bits(name, dtype):
    for case in ROWS[name].cases():
        inputs = case.of(dtype)
        seed, (y, want) = seeded_run(name, inputs, case.attrs)

        def build(graph, values, attrs=case.attrs, seed=seed):
            y = record(graph, name, values, attrs)
            if name not in SMOOTH:
                return (y,), None
            scaled = graph.apply("multiply", (y, graph.const(seed)))
            return (y,), graph.apply("sum", (scaled,))

        (got,), grads = program_run(build, inputs, dtype)
        same_bits(f"{name}: {case}: tape and program", got, y, inputs)
        at_once = without_denormals(apply(name, inputs, case.attrs))
        if name in ("dense", "conv2d") and case.attrs.get("activation") == "tanh":
            np.testing.assert_array_max_ulp(at_once, y, 2)  # simd/gate.h: quicker in training
        else:
            same_bits(f"{name}: {case}: at once and tape", at_once, y, inputs)
        for k, g in zip(wanted(name, inputs), want, strict=False):
            at = sum(x.dtype.kind == "f" for x in inputs[:k])
            same_bits(f"{name}: {case}: gradient in input {k}, tape and program", grads[at], g)


@pytest.mark.parametrize("name", [n for n in IN_PLACE if not ROWS[n].given])
@dtypes
def test_in_place_gives_the_same_bits(name, dtype):
    """A program lets the operator overwrite its input and the gradient of its output; a
    tape never does."""
    for case in ROWS[name].cases():
        inputs = case.of(dtype)
        seed = seed_for(apply(name, inputs, case.attrs))
        tape = _core.Tape()
        leaves = tuple(tape.leaf(x) for x in inputs)
        _, scaled, loss = chain(tape, name, leaves, case.attrs, tape.leaf(seed))
        sources = tuple(leaves[i] for i in wanted(name, inputs))
        want = tape.gradient(loss, sources)

        def build(graph, values, attrs=case.attrs, seed=seed):
            _, scaled, loss = chain(graph, name, values, attrs, graph.const(seed))
            return (scaled,), loss

        (got,), grads = program_run(build, inputs, dtype)
        same_bits(f"{name}: {case}: in a chain", got, scaled.numpy(), inputs)
        for k, (g, w) in enumerate(zip(grads, want, strict=False)):
            same_bits(f"{name}: {case}: in a chain, gradient {k}", g, w.numpy())


@pytest.mark.parametrize("name", [n for n in PURE if ROWS[n].big])
@dtypes
def test_threads_give_the_same_bits(name, dtype):
    """The big case is above the sizes from which threads share one call."""
    case = ROWS[name].big()
    inputs = case.of(dtype)
    found = []
    for threads in (1, 2, 3):
        _core.set_num_threads(threads)
        y = apply(name, inputs, case.attrs)
        grads = tape_run(name, inputs, case.attrs, seed_for(y))[1] if name in SMOOTH else []
        found.append([y, *grads])
    check_forward(name, dtype, case)
    for threads, other in ((2, found[1]), (3, found[2])):
        for k, (a, b) in enumerate(zip(found[0], other, strict=True)):
            what = "result" if k == 0 else f"gradient {k - 1}"
            same_bits(f"{name}: {case}: {what} with 1 and {threads} threads", b, a)


# ---- layouts ----------------------------------------------------------------------------------


def layouts(x):
    """The same numbers as other arrays: (what, array)."""
    twice = np.empty((2 * x.shape[0], *x.shape[1:]), x.dtype) if x.ndim else None
    if twice is not None:
        twice[::2] = x
        yield "stride 2", twice[::2]
        yield "negative stride", np.ascontiguousarray(x[::-1])[::-1]
        yield "Fortran order", np.asfortranarray(x)
        yield "broadcast view", np.broadcast_to(x, (2, *x.shape))[1]
    yield "other byte order", x.astype(x.dtype.newbyteorder())
    bytes_ = np.zeros(x.nbytes + 1, np.uint8)
    odd = bytes_[1:].view(x.dtype).reshape(x.shape)
    odd[...] = x
    yield "misaligned", odd
    locked = x.copy()
    locked.flags.writeable = False
    yield "read-only", locked


@ops
@dtypes
def test_layouts_give_the_same_bits(name, dtype):
    cases = [c for c in ROWS[name].cases() if all(0 < x.size < 2000 for x in c.inputs)][-4:]
    for case in cases:
        inputs = case.of(dtype)
        want = apply(name, inputs, case.attrs)
        for k, x in enumerate(inputs):
            for what, other in layouts(x):
                mixed = (*inputs[:k], other, *inputs[k + 1 :])
                got = apply(name, mixed, case.attrs)
                same_bits(f"{name}: {case}: input {k} {what}", got, want, inputs)
                assert np.array_equal(other, x, equal_nan=True), f"{name} changed its input {k}"


# ---- what the shared checks cannot see --------------------------------------------------------


@dtypes
def test_cast_to_int32_truncates_and_saturates(dtype):
    x = np.array([0.0, -0.75, 1.75, -1.75, 3e9, -3e9, np.inf, -np.inf, np.nan], dtype)
    top, low = 2**31 - 1, -(2**31)
    got = _core.apply("cast", (x,), {"dtype": 2})
    assert got.dtype == np.int32 and got.tolist() == [0, 0, 1, -1, top, low, top, low, 0]


@dtypes
def test_dropout_keeps_the_right_share_and_its_gradient_the_same_mask(dtype):
    x, n = np.ones(200000, dtype), 200000
    for rate in (0.1, 0.5, 0.9):
        y, (grad,) = tape_run("dropout", (x,), {"rate": rate}, x)
        share = np.count_nonzero(y) / n
        spread = 5 * np.sqrt(rate * (1 - rate) / n)
        assert abs(share - (1 - rate)) < spread, f"dropout({rate}) kept {share}"
        pairs = np.count_nonzero((y[:-1] != 0) & (y[1:] != 0)) / n  # neighbours: independent
        assert abs(pairs - (1 - rate) ** 2) < spread, f"dropout({rate}): neighbours {pairs}"
        same_bits(f"dropout({rate}): gradient of ones", grad, y)
    again = _core.apply("dropout", (x,), {"rate": 0.5}, 1)
    assert not np.array_equal(again, _core.apply("dropout", (x,), {"rate": 0.5}, 2))
    same_bits("dropout with one seed", again, _core.apply("dropout", (x,), {"rate": 0.5}, 1))


# ---- optimizers and clipping: inside a program ------------------------------------------------


def trainer(dtype, shapes, op, attrs, kind="none", bound=0.0):
    """A program whose parameters have the gradients that it is fed.

    Returns (parameters, state, step): step(number, learning rate, gradients).
    """
    graph, sizes = _core.Graph(), [int(np.prod(s)) for s in shapes]
    block = _core.Block(dtype, sum(sizes))
    at = np.cumsum([0, *sizes]).tolist()
    fed = graph.input((1, sum(sizes)), dtype)
    parts = []
    for begin, size, shape in zip(at, sizes, shapes, strict=False):
        p = graph.param(block, begin, shape, True)
        cut = graph.apply("slice", (fed,), {"begin": (0, begin), "size": (1, size)})
        g = graph.apply("reshape", (cut,), {"shape": shape})
        parts.append(graph.apply("sum", (graph.apply("multiply", (p, g)),)))
    loss = parts[0]
    for part in parts[1:]:
        loss = graph.apply("add", (loss, part))
    state = _core.OptimizerState(op, attrs, kind, bound)
    program = _core.Program(graph, loss=loss, optimizer=state)

    def step(number, lr, gradients):
        feed = ("g", np.concatenate([g.ravel() for g in gradients])[None], 0, False)
        _core.run_loop(program, None, (feed,), 1, 1, None, 0, 1, 0, number, np.array([lr]), None,
                       (), (), None, None)  # fmt: skip

    views = [block.view(b, s) for b, s in zip(at, shapes, strict=False)]
    return views, block, state, step


@pytest.mark.parametrize("name", UPDATES)
@dtypes
def test_optimizer(name, dtype):
    """Each step against the formula in longdouble, from where the step before arrived."""
    row = ROWS[name]
    for attrs in row.tries:
        shapes = [(5, 7), (), (31,), (1, 1)]
        params, block, state, step = trainer(dtype, shapes, name, attrs)
        slots = [state.slot(block, i) for i in range(state.slots)]
        start = row.start(**attrs)
        assert len(slots) == len(start), f"{name} {attrs}: {len(slots)} slots"
        for slot, value in zip(slots, start, strict=True):
            assert (slot.view(0, (slot.size,)) == np.dtype(dtype).type(value)).all()
        for k, p in enumerate(params):
            p[...] = oracle.normal(p.shape, name, k)
        flat = block.view(0, (block.size,))
        exact = {k: LD(v) if isinstance(v, float) else v for k, v in attrs.items()}
        for number, lr in enumerate((0.125, 0.5, 0.125, 0.03125)):
            g = oracle.normal((block.size,), name, number).astype(dtype)
            before = flat.astype(LD), [s.view(0, (s.size,)).astype(LD) for s in slots]
            want, after = row.step(before[0], g.astype(LD), before[1], LD(lr), number + 1, **exact)
            step(number, lr, [g])
            size = np.abs(before[0]) + np.abs(want - before[0])
            what = f"{name} {attrs}, step {number}"
            compare(what, flat, want, 16, size, (before[0].astype(dtype), g))
            for i, (slot, w) in enumerate(zip(slots, after, strict=True)):
                size = np.abs(before[1][i]) + np.abs(g) + np.square(g.astype(LD))
                compare(f"{what}, slot {i}", slot.view(0, (slot.size,)), w, 4, size, (g,))


@pytest.mark.parametrize("name", UPDATES)
@dtypes
def test_optimizer_with_threads(name, dtype):
    for attrs in ROWS[name].tries:
        found = []
        for threads in (1, 2, 3):
            _core.set_num_threads(threads)
            params, _, _, step = trainer(dtype, [(70001,)], name, attrs)
            for number in range(2):
                step(number, 0.1, [oracle.normal((70001,), number).astype(dtype)])
            found.append(params[0])
        same_bits(f"{name} {attrs} with 2 threads", found[1], found[0])
        same_bits(f"{name} {attrs} with 3 threads", found[2], found[0])


@pytest.mark.parametrize("name", CLIPS)
@dtypes
def test_clipping(name, dtype):
    """SGD with rate 1 from 0 leaves minus the clipped gradient."""
    for shapes in ([(5, 7), (), (31,)], [(3,)], [(200003,), (2, 3)]):
        for bound in (0.25, 3.0, 1e6):
            params, _, _, step = trainer(dtype, shapes, "opt_sgd", {}, ROWS[name].kind, bound)
            g = [oracle.normal(s, name, k).astype(dtype) for k, s in enumerate(shapes)]
            step(0, 1.0, g)
            want = ROWS[name].clip([x.astype(LD) for x in g], bound)
            for k, (p, w) in enumerate(zip(params, want, strict=True)):
                compare(f"{name} {bound}, gradient {k} of {shapes}", -p, w, 1.51, None, (g[k],))


# ---- every instruction set --------------------------------------------------------------------


@pytest.mark.parametrize("name", MAPS)
def test_instruction_sets_give_the_same_float32(name):
    tables = {isa: _core.ufuncs(isa) for isa in _core.tables()}
    for case in [*ROWS[name].cases(), ROWS[name].big()]:
        (x,) = case.of("float32")
        for which in (name, f"{name}_grad"):
            more = (np.float32(0.75),) if tables[_core.isa()][which].nin == 2 else ()
            want = tables[_core.isa()][which](x, *more)
            for isa, table in tables.items():
                same_bits(f"{which} on {isa}", table[which](x, *more), want, (x,))


@pytest.fixture(scope="module", autouse=True)
def other_isas():
    """Processes that run this file for the other instruction sets, beside this one."""
    command = [
        sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "-c", os.devnull,
        "--rootdir", ROOT / "tests", ROOT / "tests" / "test_ops.py",
    ]  # fmt: skip
    env = {"PYTHONPATH": search_path(), "PYTHONSAFEPATH": "1", "PYACT_TEST_ONE_ISA": "1"}
    others = () if ONE_ISA else [isa for isa in _core.tables() if isa != _core.isa()]
    started = {
        isa: subprocess.Popen(
            [str(part) for part in command], env={**os.environ, **env, "PYACT_ISA": isa},
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=ROOT / "tests",
        ) for isa in others
    }  # fmt: skip
    yield started
    for process in started.values():
        process.kill()
        process.communicate()


@pytest.mark.skipif(ONE_ISA, reason="started for one instruction set alone")
@pytest.mark.parametrize("isa", [i for i in _core.tables() if i != _core.isa()])
def test_other_instruction_sets(isa, other_isas):
    text, _ = other_isas[isa].communicate(timeout=280)
    assert other_isas[isa].returncode == 0, f"on {isa}:\n{text}"
    assert " passed" in text, text


def test_a_case_says_what_it_is():
    assert "(2,)" in str(Case((np.zeros(2),), {"axis": 0}))


# ---- the ends of the range ----------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["metric_categorical_accuracy", "metric_sparse_categorical_accuracy"]
)
def test_the_largest_of_a_row_is_numpys_also_with_nan(name):
    row = [-1.0, 1.0, np.nan]
    pred = np.array(list(itertools.product(row, repeat=3)))
    for label in range(3):
        target = np.full(27, label, np.int32)
        hot = np.eye(3)[target] if "sparse" not in name else target
        right = (pred.argmax(axis=1) == label).sum()
        assert _core.apply(name, (pred, hot)).tolist() == [right, 27]


def test_a_target_that_is_not_finite_is_among_no_top():
    for bad in (np.nan, np.inf):
        pred = np.array([[bad, 1.0, 2.0], [0.0, 1.0, 2.0]])
        for name, target in (("metric_sparse_top_k", np.zeros(2, np.int32)),
                             ("metric_top_k", np.eye(3)[[0, 0]])):  # fmt: skip
            assert _core.apply(name, (pred, target), {"k": 3}).tolist() == [1, 2]


def test_an_index_of_no_row_gives_nan_and_no_gradient():
    table = np.arange(6.0).reshape(3, 2)
    index = np.array([0, -1, 3, 0.5, np.nan, 2])
    t = _core.Tape()
    leaf, at = t.leaf(table), t.leaf(index)
    y = t.apply("embedding", (leaf, at))
    wanted = np.full((6, 2), np.nan)
    wanted[[0, 5]] = table[[0, 2]]
    assert np.array_equal(y.numpy(), wanted, equal_nan=True)
    [grad] = t.gradient(y, (leaf,))
    assert grad.numpy().tolist() == [[1, 1], [0, 0], [1, 1]]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_powers_of_and_to_zero(dtype):
    a = np.array([0, 0, 0, 2, 2, -2, -2, 3], dtype)
    b = np.array([0, 1, 2, 0, 3, 2, 3, 2], dtype)
    t = _core.Tape()
    x, y = t.leaf(a), t.leaf(b)
    z = t.apply("power", (x, y))
    dx, dy = t.gradient(z, (x, y))
    assert np.array_equal(z.numpy(), a**b)
    assert np.allclose(dx.numpy(), [0, 1, 0, 0, 12, -4, 12, 6])
    log = np.log(np.where(a > 0, a, 1))
    assert np.allclose(dy.numpy(), np.where(a > 0, a**b * log, 0))


def test_products_of_nothing():
    for a, b in (
        ((3, 0), (0, 4)),
        ((2, 3, 0), (2, 0, 4)),
        ((0, 3, 2), (0, 2, 4)),
        ((0, 2), (2, 3)),
        ((3, 2), (0, 2, 4)),
    ):
        t = _core.Tape()
        x, y = t.leaf(np.ones(a)), t.leaf(np.ones(b))
        z = t.apply("matmul", (x, y))
        assert np.array_equal(z.numpy(), np.ones(a) @ np.ones(b))
        dx, dy = t.gradient(z, (x, y))
        assert dx.shape == a and dy.shape == b and not dy.numpy().any()
        [dy] = t.gradient(z, (y,))
        [dx] = t.gradient(z, (x,))
        assert dx.shape == a and dy.shape == b


@pytest.mark.parametrize("step, size", [
    (0, 1), (-(2**62), 1), (2**62, 1), (1, 9), (1, -2), (-1, 9), (2, 3),
])  # fmt: skip
def test_slices_of_any_step(step, size):
    x, attrs = np.arange(5.0), {"begin": (1,), "size": (size,), "step": (step,)}
    most = len(x[1::step]) if step else 0
    if step == 0 or not -1 <= size <= most:
        with pytest.raises(ValueError, match="slice"):
            _core.apply("slice", (x,), attrs)
    else:
        assert np.array_equal(_core.apply("slice", (x,), attrs), x[1::step][:size])


@pytest.mark.parametrize("shape, axes", [
    ((3, 300, 300), (0, 2, 1)), ((80, 70, 3), (2, 0, 1)), ((20, 40, 3), (2, 1, 0)),
])  # fmt: skip
def test_axes_of_large_arrays_change_places(shape, axes):
    """In squares, and in chunks of one outermost index."""
    x = oracle.normal(shape, "axes").astype(np.float32)
    t = _core.Tape()
    leaf = t.leaf(x)
    y = t.apply("transpose", (leaf,), {"perm": axes})
    assert np.array_equal(y.numpy(), x.transpose(axes))
    (dx,) = t.gradient(y, (leaf,), x.transpose(axes).copy())
    assert np.array_equal(dx.numpy(), x)


def test_a_slice_backwards_from_the_end_is_empty():
    found = _core.apply("slice", (np.arange(5.0),), {"begin": (5,), "size": (-1,), "step": (-1,)})
    assert found.shape == (0,)


def test_nothing_per_row():
    """Rows of no numbers, and no rows."""
    t = _core.Tape()
    x, kernel, bias = t.leaf(np.ones((4, 3))), t.leaf(np.ones((3, 0))), t.leaf(np.ones(0))
    y = t.apply("dense", (x, kernel, bias))
    dx, dk, db = t.gradient(y, (x, kernel, bias))
    assert y.shape == (4, 0) and dk.shape == (3, 0) and db.shape == (0,)
    assert dx.shape == (4, 3) and not dx.numpy().any()
    assert _core.apply("metric_saturated", (np.ones((4, 0)),)).shape == (0,)
    rows, columns = np.ones((0, 3)), np.ones((3, 0))
    for name in ("metric_mse", "metric_categorical_accuracy"):
        assert _core.apply(name, (rows, rows)).tolist() == [0, 0]
        found = _core.apply(name, (columns, columns)).tolist()
        assert np.isnan(found[0]) and found[1] == 3, "the mean of nothing, as in NumPy"
    assert not _core.apply("metric_confusion_at_thresholds", (rows, rows)).any()
    for none in (rows, columns):
        with pytest.raises(ValueError, match="the mean over nothing"):
            _core.apply("loss_mse", (none, none))
    assert _core.apply("teacher_forcing", (columns, columns)).shape == (3, 0)


def test_more_rows_than_float32_can_count():
    rows = (1 << 23) + 5
    y = np.ones((rows, 1), np.float32)
    assert _core.apply("metric_saturated", (y,), {"high": 0.5}).tolist() == [rows]


def test_whole_numbers_are_cast():
    x = np.array([-3, 0, 1 << 24], np.int32)
    for k, dtype in enumerate(("float32", "float64", "int32")):
        found = _core.apply("cast", (x,), {"dtype": k})
        assert found.dtype == dtype and np.array_equal(found, x)


def test_log_softmax_at_the_ends_of_double():
    low = np.array([0.0, -1e305])
    assert np.array_equal(_core.apply("log_softmax", (low,)), low)
    for bad in (np.nan, np.inf):
        assert np.isnan(_core.apply("log_softmax", (np.array([bad, 1.0]),))).all()


def test_dropout_at_its_largest_rate_leaves_nothing():
    x = np.ones(1000)
    assert not _core.apply("dropout", (x,), {"rate": np.nextafter(1, 0)}).any()


@pytest.mark.parametrize("op", ["maximum", "minimum"])
def test_nan_wins_on_either_side(op):
    a, b = np.array([1, np.nan, np.nan, 2.0]), np.array([np.nan, 1, np.nan, 1.0])
    assert np.array_equal(_core.apply(op, (a, b)), getattr(np, op)(a, b), equal_nan=True)
