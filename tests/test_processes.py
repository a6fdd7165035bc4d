"""Processes and threads: fork, forkserver and spawn around a pool that was used or is busy, exit
with work under way, eight threads on one object. Each case runs in a process of its own that has
`SECONDS` before it counts as hung; then every thread's stack is shown."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import textwrap

import pytest
from conftest import search_path

SECONDS = 20 * int(os.environ.get("PYACT_TEST_PATIENCE", "1"))  # a case takes about one

forks = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")

START = """
import faulthandler, os, signal, sys, threading, time


def watchdog(seconds):
    '''Ends this process by SIGALRM, with the stacks of all threads. A fork clears it.'''
    if hasattr(signal, "alarm"):
        faulthandler.register(signal.SIGALRM, chain=True)
        signal.setitimer(signal.ITIMER_REAL, seconds)


watchdog({seconds})
import numpy as np
import pyact
from pyact import _core

_core.set_num_threads(2)
x = np.linspace(-3, 3, 400_000, dtype=np.float32)
expected = pyact.tanh(x)  # the pool has been used


one_seed = threading.Lock()  # the seed is one for all threads


def net():
    with one_seed:
        pyact.set_seed(3)
        model = pyact.Sequential([pyact.layers.Dense(256, "tanh"), pyact.layers.Dense(3)])
        model.compile("adam", "mse")
        model.build((None, 256))
    return model


rows = np.random.default_rng(0).normal(size=(256, 256)).astype(np.float32)
targets = rows[:, :3].copy()


def works():
    assert np.array_equal(pyact.tanh(x), expected)
    model = net()
    model.fit(rows, targets, batch_size=64, epochs=1, verbose=0, shuffle=False)
    return model.predict(rows).tobytes()


def child(work, code=7):
    '''Forks; the child must end with `code` of its own accord.'''
    pid = os.fork()
    if pid == 0:
        try:
            watchdog({seconds} / 2)
            work()
            os._exit(code)
        except BaseException:
            import traceback

            traceback.print_exc()
            os._exit(1)
    _, status = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(status) == code, status


def busy(stop):
    '''Threads that stay inside kernels, which use the pool, until stop is set.'''
    def kernels():
        y = np.empty_like(x)
        while not stop.is_set():
            pyact.gelu(x, out=y)

    def fits():
        model = net()
        while not stop.is_set():
            model.fit(rows, targets, batch_size=64, epochs=5, verbose=0)

    threads = [threading.Thread(target=f, daemon=True) for f in (kernels, fits)]
    for thread in threads:
        thread.start()
    time.sleep(0.05)
    return threads
"""


def run_case(code, returncode=0, seconds=SECONDS):
    """Runs the code after START; nothing it started is left, however it ends."""
    whole = START.format(seconds=seconds) + textwrap.dedent(code)
    with tempfile.TemporaryFile("w+") as said:  # no pipe: what is left must not keep us waiting
        process = subprocess.Popen(
            [sys.executable, "-c", whole], stdout=said, stderr=said, start_new_session=True,
            env={**os.environ, "PYTHONPATH": search_path()},
        )  # fmt: skip
        try:
            process.wait(seconds + 10)
        finally:
            left = process_group(process.pid)
            if left:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        said.seek(0)
        text = said.read()
    assert process.returncode == returncode, f"{process.returncode}\n{text}"
    assert not left, f"processes are left\n{text}"


def process_group(leader):
    """Does a process of this group still run?"""
    if not hasattr(os, "killpg"):
        return False
    try:
        os.killpg(leader, 0)
    except (ProcessLookupError, PermissionError):
        return False
    return True


FORKS = {
    "after the pool was used": """
        bits = works()
        child(lambda: exec("assert works() == bits", globals()))
        assert works() == bits
    """,
    "before it was used": """
        pid = os.fork()
        result = works()
        if pid == 0:
            os._exit(0)
        assert os.waitpid(pid, 0)[1] == 0
    """,
    "nested": """
        bits = works()

        def inner():
            assert works() == bits

        def middle():
            assert works() == bits
            child(inner)
            assert works() == bits

        child(middle)
    """,
    "while other threads are in kernels": """
        bits = works()
        stop = threading.Event()
        threads = busy(stop)
        for _ in range(12):
            child(lambda: exec("assert works() == bits", globals()))
        stop.set()
        for thread in threads:
            thread.join()
        assert works() == bits
    """,
    "while a thread trains the model that the child trains": """
        model = net()
        stop = threading.Event()

        def fits():
            while not stop.is_set():
                model.fit(rows, targets, batch_size=64, epochs=5, verbose=0)

        thread = threading.Thread(target=fits)
        thread.start()
        for _ in range(5):
            child(lambda: model.fit(rows, targets, batch_size=64, verbose=0))
        stop.set()
        thread.join()
    """,
    "inside a callback of fit": """
        bits = works()

        class Fork(pyact.callbacks.Callback):
            def on_train_batch_end(self, batch, logs=None):
                if batch == 1:
                    child(lambda: exec("assert works() == bits", globals()))

        model = net()
        model.fit(rows, targets, batch_size=64, epochs=1, verbose=0, shuffle=False,
                  callbacks=[Fork()])
        assert model.predict(rows).tobytes() == bits
    """,
    "a server's workers, with the model of their parent": """
        model = net()
        before = model.predict(rows).tobytes()
        fast = model.compile_inference(256)
        model.fit(rows, targets, batch_size=64, epochs=1, verbose=0, shuffle=False)
        after = model.predict(rows).tobytes()

        def serve():
            assert model.predict(rows).tobytes() == after
            assert fast(rows).tobytes() == before
            model.fit(rows, targets, batch_size=64, epochs=1, verbose=0)

        for _ in range(4):
            child(serve)
        assert model.predict(rows).tobytes() == after  # no child changed it
    """,
    "another number of threads in the child": """
        bits = works()
        for n in (1, 2, 3):
            child(lambda: exec(f"_core.set_num_threads({n}); assert works() == bits", globals()))
        assert _core.get_num_threads() == 2
    """,
    "by another thread than the main one, and Ctrl-C in the child": """
        signal.signal(signal.SIGINT, signal.default_int_handler)
        numbers = np.ones(40_000_000, np.float16)
        ended = []

        def interrupted():
            _core.set_num_threads(1)
            found = np.zeros_like(numbers)
            threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGINT)).start()
            try:
                pyact.gelu(numbers, out=found)
                time.sleep(5)
            except KeyboardInterrupt:
                assert found[-1] == 0  # the call ended before it was done

        def forks():
            child(interrupted)
            ended.append("well")

        thread = threading.Thread(target=forks)
        thread.start()
        thread.join()
        assert ended
    """,
    "the child ends as Python does": """
        works()
        pid = os.fork()
        if pid == 0:
            works()
            sys.exit(5)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 5
    """,
}


@forks
@pytest.mark.parametrize("case", FORKS)
def test_fork(case):
    run_case(FORKS[case])


@pytest.mark.parametrize("method", ["fork", "forkserver", "spawn"])
def test_multiprocessing(method, tmp_path):
    import multiprocessing

    if method not in multiprocessing.get_all_start_methods():
        pytest.skip(f"no {method} here")
    (tmp_path / "pool_of_workers.py").write_text(
        START.format(seconds=60)
        + textwrap.dedent(
            f"""
            import multiprocessing


            def job(model):
                return works(), model.predict(rows).tobytes()


            if __name__ == "__main__":
                model = net()
                want = (works(), model.predict(rows).tobytes())
                with multiprocessing.get_context({method!r}).Pool(2) as pool:
                    assert pool.map(job, [model] * 4) == [want] * 4
                    pool.close()
                    pool.join()
            """
        )
    )
    done = subprocess.run(
        [sys.executable, tmp_path / "pool_of_workers.py"], capture_output=True, text=True,
        timeout=100, env={**os.environ, "PYTHONPATH": search_path()}, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


EXITS = {
    "the end of the program": ("", 0),
    "sys.exit": ("sys.exit(3)", 3),
    "os._exit": ("os._exit(4)", 4),
    "an exception": ("raise RuntimeError('the end')", 1),
    "work in atexit": ("import atexit; atexit.register(works)", 0),
}


@pytest.mark.parametrize("how", EXITS)
def test_exit_while_daemon_threads_are_in_kernels(how):
    code, returncode = EXITS[how]
    run_case(f"works(); busy(threading.Event())\n{code}\n", returncode)


@pytest.mark.skipif(os.name != "posix", reason="needs POSIX signals")
@pytest.mark.parametrize("name", ["SIGTERM", "SIGKILL"])
def test_a_signal_ends_it_while_kernels_run(name):
    number = getattr(signal, name)
    run_case(f"works(); busy(threading.Event()); os.kill(os.getpid(), {int(number)}); "
             "time.sleep(10)", -number)  # fmt: skip


@forks
def test_a_hang_and_a_wrong_end_are_found():
    with pytest.raises(AssertionError, match="Current thread"):
        run_case("lock = threading.Lock(); lock.acquire(); child(lock.acquire)", seconds=2)
    with pytest.raises(AssertionError, match="AssertionError"):
        run_case("child(lambda: exec('assert not works()', globals()))")
    with pytest.raises(AssertionError, match="processes are left"):
        run_case("os.fork() or time.sleep(30)")


# ---- threads ----------------------------------------------------------------------------------

EIGHT = """
        def eight(work):
            wrong = []
            start = threading.Barrier(8)

            def one(k):
                try:
                    start.wait()
                    for _ in range(5):
                        work(k)
                except BaseException as error:
                    wrong.append(repr(error))

            threads = [threading.Thread(target=one, args=(k,)) for k in range(8)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            assert not wrong, wrong[:3]
"""

THREADS = {
    "one ufunc": """
        def work(k):
            y = np.empty_like(x)
            pyact.tanh(x, out=y)
            assert np.array_equal(y, expected)
    """,
    "one model: predict, call, compile_inference, evaluate": """
        model = net()
        fast = model.compile_inference()
        want = {n: model.predict(rows[:n]).tobytes() for n in (1, 7, 256)}
        loss = model.evaluate(rows, targets, verbose=0)

        def work(k):
            for n, bits in want.items():
                assert model.predict(rows[:n]).tobytes() == bits
                assert np.asarray(model(rows[:n])).tobytes() == bits
                assert fast(rows[:n]).tobytes() == bits
            assert model.evaluate(rows, targets, verbose=0) == loss
    """,
    "eight models that train": """
        want = works()

        def work(k):
            assert works() == want
    """,
    "one model that trains in eight threads, one after the other": """
        model, alone = net(), net()
        for _ in range(40):
            alone.fit(rows, targets, batch_size=64, epochs=1, verbose=0, shuffle=False)
        at_once = threading.Semaphore(1)

        class Whole(pyact.callbacks.Callback):
            def on_train_begin(self, logs=None):
                assert at_once.acquire(blocking=False)

            def on_train_end(self, logs=None):
                at_once.release()

        def work(k):
            model.fit(rows, targets, batch_size=64, epochs=1, verbose=0, shuffle=False,
                      callbacks=[Whole()])
            assert np.isfinite(model.predict(rows)).all()

        def end():
            assert model.optimizer.iterations == 160
            assert model.predict(rows).tobytes() == alone.predict(rows).tobytes()
    """,
    "one model that takes single batches from eight threads": """
        model, alone = net(), net()
        for _ in range(40):
            alone.train_on_batch(rows, targets)

        def work(k):
            model.train_on_batch(rows, targets)

        def end():
            assert model.optimizer.iterations == 40
            assert model.predict(rows).tobytes() == alone.predict(rows).tobytes()
    """,
    "one optimizer in eight threads": """
        def step(v):
            adam.apply_gradients([(np.full(v.shape, 0.5, np.float32), v)])

        adam, alone = pyact.optimizers.Adam(0.01), pyact.optimizers.Adam(0.01)
        big = pyact.Variable(np.zeros((500, 500), np.float32))

        def work(k):
            step(big)

        def end():
            global adam
            assert adam.iterations == 40
            got, adam = big.numpy(), alone
            big[...] = 0
            for _ in range(40):
                step(big)
            assert got.tobytes() == big.numpy().tobytes()
    """,
    "the first call of one model in eight threads": """
        class Slow(pyact.layers.Dense):
            def weight_specs(self, input_shape):
                time.sleep(0.001)
                return super().weight_specs(input_shape)

        models = [pyact.Sequential([Slow(5, "tanh"), Slow(3)]) for _ in range(5)]
        layers = [Slow(4) for _ in range(5)]
        found = {}
        turn = threading.Barrier(8)

        def work(k):
            at = found.setdefault(k, [])
            turn.wait(3)
            here = layers[len(at)](rows[:2])
            at.append(models[len(at)].predict(rows[:9]).tobytes() + here.tobytes())

        def end():
            assert all(found[k] == found[0] for k in range(8))
            assert all(len(m.weights) == 4 for m in models)
            assert all(len(layer.weights) == 2 for layer in layers)
    """,
    "layers named in eight threads": """
        names = []

        def work(k):
            for _ in range(30):
                names.append(pyact.layers.Dense(1).name)

        def end():
            assert len(set(names)) == len(names) == 1200
    """,
    "programs of many sizes": """
        model = net()
        model.predict(rows)
        loss = {n: model.evaluate(rows[:n], targets[:n], verbose=0) for n in range(1, 40)}

        def work(k):
            for n in range(1, 40):
                assert model.evaluate(rows[:n], targets[:n], verbose=0) == loss[n]
    """,
    "eight files, and one, saved and loaded": """
        import tempfile

        model, folder = net(), tempfile.mkdtemp()
        want = model.predict(rows).tobytes()
        one = os.path.join(folder, "one.safetensors")
        model.save(one)

        def work(k):
            model.save(one)
            assert pyact.load_model(one).predict(rows).tobytes() == want

        def end():
            assert os.listdir(folder) == ["one.safetensors"]
    """,
    "predict, save and load while one trains": """
        import tempfile

        model, folder = net(), tempfile.mkdtemp()

        def work(k):
            if k == 0:
                model.fit(rows, targets, batch_size=64, epochs=3, verbose=0)
            elif k < 4:
                path = os.path.join(folder, f"{k}.safetensors")
                model.save(path)
                assert np.isfinite(pyact.load_model(path).predict(rows)).all()
            else:
                assert np.isfinite(model.predict(rows)).all()
    """,
    "a tape in each thread, a traced function in all": """
        w = [pyact.Variable(np.full((3, 2), k, np.float32)) for k in range(8)]

        @pyact.function
        def cube(v):
            return np.sum(v**3.0)

        def work(k):
            with pyact.GradientTape() as tape:
                loss = np.sum(w[k] * w[k])
            assert np.array_equal(tape.gradient(loss, w[k]), np.full((3, 2), 2 * k))
            for n in (1, 2, 3):
                assert float(cube(np.full(n, k, np.float32))) == n * k**3
    """,
    "a traced function that computes without the GIL": """
        a = np.linspace(-1, 1, 300 * 300, dtype=np.float32).reshape(300, 300)

        @pyact.function
        def product(v):
            return v @ v

        want = product(a).tobytes()

        def work(k):
            assert product(a).tobytes() == want

        def end():
            assert product.traces == 1
    """,
    "one tape in all": """
        w = pyact.Variable(np.full((200, 200), 0.5, np.float32))
        tape = _core.Tape(0)
        leaf = tape.leaf(np.full((200, 200), 0.5, np.float32))
        refused = []

        def work(k):
            for _ in range(40):
                try:
                    y = tape.apply("matmul", (leaf, leaf))
                    (g,) = tape.gradient(y, (leaf,))
                except RuntimeError as error:
                    assert "in another thread" in str(error)
                    refused.append(k)
                    continue
                assert (y.numpy() == 50).all() and (g.numpy() == 200).all()
    """,
    "the number of threads changes meanwhile": """
        def work(k):
            if k < 2:
                _core.set_num_threads(1 + k)
            else:
                assert np.array_equal(pyact.tanh(x), expected)
    """,
}


@pytest.mark.parametrize("case", THREADS)
def test_eight_threads(case):
    run_case(eight(case))


def eight(case, before=""):
    parts = (EIGHT, before, THREADS[case], "sys.setswitchinterval(1e-5)\neight(work)\n")
    return "\n".join(map(textwrap.dedent, parts)) + "if 'end' in globals(): end()\n"


RACES = {
    "one model that takes single batches from eight threads": """
        from contextlib import nullcontext
        pyact._locks.Exclusive.held = lambda self: nullcontext()
    """,
    "the first call of one model in eight threads": """
        from contextlib import nullcontext
        pyact.layers.base._building = nullcontext()
    """,
    "layers named in eight threads": """
        counts = {}

        def name(kind):
            n = counts.get(kind, 0)
            time.sleep(0)
            counts[kind] = n + 1
            return f"{kind}_{n}"

        pyact.layers.base._new_name = name
    """,
    "programs of many sizes": """
        Engine = pyact.training.engine.Engine
        plain = Engine.take

        def take(self, *args):
            free, program = plain(self, *args)
            free.append(program)  # and so another thread may take it
            return free, program

        Engine.take = take
    """,
}


@pytest.mark.parametrize("case", RACES)
def test_a_race_is_found(case):
    with pytest.raises(AssertionError, match="Error"):
        run_case(eight(case, RACES[case]))


def test_a_wrong_result_in_a_thread_is_found():
    with pytest.raises(AssertionError, match="AssertionError"):
        run_case(textwrap.dedent(EIGHT) + "\ndef work(k): assert k < 7\neight(work)\n")
