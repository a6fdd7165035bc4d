"""Builds pyact's C core and its extension module.

The numeric folders (csrc/kern, csrc/ops) are compiled once per variant, an (ISA, dtype)
pair; the rest of the core once; csrc/py, the only folder that sees Python, once. An
object is rebuilt when its command line or any file it includes has changed.

    pip install .                     the usual way
    pip install -e .                  for work on pyact itself
    python setup.py build_core        the plain C library: build/core/libpyact.a

Environment: CC; WERROR=1 (warnings are errors); PYACT_BUILD_JOBS (compilations at once,
default one a core); PYACT_CFLAGS, PYACT_LDFLAGS (more flags: sanitizers, coverage).
"""

import hashlib
import logging
import os
import platform
import shlex
import shutil
import sys
import sysconfig
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from setuptools import Command, Extension, setup
from setuptools.command.build_ext import build_ext
from setuptools.command.build_py import build_py
from setuptools.errors import PlatformError

ROOT = Path(__file__).resolve().parent
CSRC = Path("csrc")

# A Python for two architectures (python.org's on macOS) would compile every file for
# both, with the flags of one.
if sys.platform == "darwin":
    os.environ.setdefault("ARCHFLAGS", f"-arch {platform.machine()}")

# What runs on processors before 2013 alone is not to take a third of the library: compiled for
# size it is .27 MB less than with -O2.
SMALL = ["-Os", "-ftree-vectorize"]

# One line per ISA: architecture -> ISA -> (flags for gcc and clang, flags for MSVC).
# "base" is what every processor of the architecture can run.
ISAS = {
    "x86_64": {
        "base": (["-msse2", *SMALL], []),
        "avx2": (["-mavx2", "-mfma"], ["/arch:AVX2"]),
        "avx512": (
            [
                "-mavx512f",
                "-mavx512dq",
                "-mavx512bw",
                "-mavx512vl",
                "-mavx2",
                "-mfma",
                "-mprefer-vector-width=512",
            ],
            ["/arch:AVX512"],
        ),
    },
    "aarch64": {"base": ([], []), "neon": ([], [])},
    "other": {"base": ([], [])},
}
DTYPES = {"f32": [], "f64": [("PA_REAL_IS_DOUBLE", "1")]}
NUMERIC = ("kern", "ops")  # folders compiled once per variant
PLAIN = ("base", "graph")  # folders compiled once

# -ffp-contract=off: fused multiply-adds are written out where they are wanted, so that
# error-free transformations keep their meaning and variants differ only where they say.
# -g0: Python's own flags ask for debugging information, a quarter of the compile time.
# -fno-asynchronous-unwind-tables: 4 % of the library, which nothing in C unwinds by.
GNU_FLAGS = [
    "-std=c11",
    "-O3",
    "-g0",
    "-fvisibility=hidden",
    "-fno-math-errno",
    "-fno-trapping-math",
    "-ffp-contract=off",
    "-fno-asynchronous-unwind-tables",
    "-Wall",
    "-Wextra",
]
MSVC_FLAGS = ["/std:c11", "/O2", "/fp:precise"]


@dataclass
class Unit:
    """One compilation: a source with its own flags, macros and object folder."""

    source: Path
    folder: str
    macros: list = field(default_factory=list)
    flags: list = field(default_factory=list)
    includes: list = field(default_factory=list)


def architecture(machine=None):
    """The key of ISAS for a machine's name; None asks for what this Python runs on."""
    if machine is None:
        archflags = os.environ.get("ARCHFLAGS", "") if sys.platform == "darwin" else ""
        machine = archflags.split()[-1] if archflags else sysconfig.get_platform()
        if sys.maxsize < 2**32:
            machine = "other"  # a 32-bit Python
    machine = machine.rsplit("-", 1)[-1].lower()
    return {"amd64": "x86_64", "x86_64": "x86_64", "arm64": "aarch64", "aarch64": "aarch64"}.get(
        machine, "other"
    )


def sources(*folders):
    return sorted(p for f in folders for p in (ROOT / CSRC / f).rglob("*.c"))


def core_units(arch, msvc=False):
    """Every compilation of the plain C core."""
    isas = ISAS[arch]
    known = [(f"PA_HAVE_{isa.upper()}", "1") for isa in isas]
    units = [Unit(p, "plain", known) for p in sources(*PLAIN)]
    for isa, flags in isas.items():
        for dtype, macros in DTYPES.items():
            variant = f"{isa}_{dtype}"
            own = [("PA_ISA", isa), ("PA_VARIANT", variant), *macros]
            if isa == "base":
                own.append(("PA_SIMD_BASE", "1"))
            units += [Unit(p, variant, own, flags[1 if msvc else 0]) for p in sources(*NUMERIC)]
    return units


def compile_units(compiler, units, build_dir, jobs):
    """Compiles what is stale, in parallel, and returns all objects."""
    msvc = compiler.compiler_type == "msvc"
    common = list(MSVC_FLAGS if msvc else GNU_FLAGS)
    if os.environ.get("WERROR"):
        common.append("/WX" if msvc else "-Werror")
    last = shlex.split(os.environ.get("PYACT_CFLAGS", ""))
    compiled = []

    def build(unit):
        source = str(unit.source.relative_to(ROOT))
        out = str(Path(build_dir) / unit.folder)
        [obj] = compiler.object_filenames([source], output_dir=out)
        depfile, stamp = obj + ".d", obj + ".cmd"
        args = [*common, *unit.flags, *last]
        includes = [str(CSRC), *unit.includes]
        key = repr(
            (
                compiler.compiler_type,
                getattr(compiler, "compiler_so", None),
                args,
                unit.macros,
                includes,
            )
        )
        key = hashlib.sha256(key.encode()).hexdigest()
        if not msvc:
            args += ["-MMD", "-MF", depfile]  # no part of the key: objects may be moved
        if not fresh(obj, depfile, stamp, key):
            Path(obj).parent.mkdir(parents=True, exist_ok=True)
            started = time.time()
            compiler.compile(
                [source],
                output_dir=out,
                macros=unit.macros,
                include_dirs=includes,
                extra_postargs=args,
            )
            os.utime(obj, (started, started))  # a source saved meanwhile is newer
            Path(stamp).write_text(key)
            compiled.append(Path(obj).relative_to(build_dir).as_posix())
        return obj

    if msvc and not compiler.initialized:
        compiler.initialize()  # finds the compiler: not to be done by several threads
    begun = time.monotonic()
    with quiet(), ThreadPoolExecutor(jobs) as pool:
        objects = list(pool.map(build, units))
    names = f" ({', '.join(sorted(compiled))})" if 0 < len(compiled) <= 16 else ""
    print(
        f"pyact: compiled {len(compiled)} of {len(units)} objects{names} "
        f"in {time.monotonic() - begun:.1f} s",
        flush=True,
    )
    return objects


@contextmanager
def quiet():
    """Without it a build logs a line of 400 characters for each object."""
    logging.disable(logging.INFO)
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)


def fresh(obj, depfile, stamp, key):
    """Is the object newer than everything that its depfile names, and built by `key`?"""
    try:
        if Path(stamp).read_text() != key:
            return False
        built = os.path.getmtime(obj)
        text = Path(depfile).read_text().replace("\\\n", " ").split(":", 1)[1]
        return all(os.path.getmtime(name) <= built for name in text.split())
    except (OSError, IndexError):
        return False


def job_count():
    jobs = int(os.environ.get("PYACT_BUILD_JOBS") or 0)
    if jobs < 1 and hasattr(os, "sched_getaffinity"):
        jobs = len(os.sched_getaffinity(0))
    return jobs if jobs > 0 else os.cpu_count() or 1


def require_tools(compiler):
    """Says in one line what a fresh machine lacks."""
    include = sysconfig.get_path("include")
    missing = []
    if compiler.compiler_type == "unix" and not shutil.which(compiler.compiler_so[0]):
        missing.append(f"the C compiler {compiler.compiler_so[0]!r}")
    if not Path(include, "Python.h").is_file():
        missing.append(f"Python's C headers ({include}/Python.h)")
    if missing:
        raise PlatformError(
            f"pyact is built from C, but {' and '.join(missing)} cannot be found. On Debian "
            "and Ubuntu: apt-get install gcc python3-dev"
        )


class BuildPy(build_py):
    """build_py that leaves no module behind which has since been removed or renamed."""

    def run(self):
        if not self.editable_mode:
            shutil.rmtree(Path(self.build_lib) / "pyact", ignore_errors=True)
        super().run()


class BuildExt(build_ext):
    """build_ext that knows variants, runs in parallel and rebuilds only what changed."""

    def finalize_options(self):
        super().finalize_options()
        # pip install -e gives a temporary folder, in which nothing would be found again
        if self.editable_mode:
            self.build_temp = f"build/temp.{self.plat_name}-{sys.implementation.cache_tag}"

    def build_extension(self, ext):
        import numpy

        os.chdir(ROOT)
        require_tools(self.compiler)
        msvc = self.compiler.compiler_type == "msvc"
        python = [Unit(p, "py", includes=[numpy.get_include()]) for p in sources("py")]
        for unit in python:
            unit.includes += self.compiler.include_dirs
            unit.macros = [
                ("NPY_NO_DEPRECATED_API", "NPY_2_0_API_VERSION"),
                ("NPY_TARGET_VERSION", "NPY_2_0_API_VERSION"),
                *[(f"PA_HAVE_{isa.upper()}", "1") for isa in ISAS[architecture()]],
            ]
        objects = compile_units(
            self.compiler, core_units(architecture(), msvc) + python, self.build_temp, job_count()
        )
        target = self.get_ext_fullpath(ext.name)
        libraries = [] if msvc else ["m", "pthread"]
        extra = shlex.split(os.environ.get("PYACT_LDFLAGS", ""))
        if sys.platform == "linux" and not extra:
            extra = ["-s"]  # no symbol table: smaller
        with quiet():
            self.compiler.link_shared_object(
                objects,
                target,
                libraries=libraries,
                library_dirs=ext.library_dirs,
                export_symbols=self.get_export_symbols(ext),
                extra_postargs=extra,
                build_temp=self.build_temp,
                target_lang="c",
            )


class BuildCore(Command):
    """The core as a static library for C programs; no Python headers are seen."""

    description = "build the plain C library"
    user_options = [
        ("arch=", None, "x86_64, aarch64 or other (default: this machine)"),
        ("output=", None, "folder of libpyact.a (default: build/core)"),
        (
            "objects=",
            None,
            "folder of the objects (default: obj beside it); that of build_ext serves both",
        ),
    ]

    def initialize_options(self):
        self.arch, self.output, self.objects = None, "build/core", None

    def finalize_options(self):
        pass

    def run(self):
        # setuptools has its own distutils, and puts it there when it is imported
        from distutils.ccompiler import new_compiler
        from distutils.sysconfig import customize_compiler

        os.chdir(ROOT)
        compiler = new_compiler()
        customize_compiler(compiler)
        cc = os.environ.get("CC")
        if cc and self.arch:  # for another machine: none of the flags of this Python
            compiler.set_executables(compiler=cc, compiler_so=cc + " -fPIC")
        objects = compile_units(
            compiler,
            core_units(architecture(self.arch)),
            self.objects or Path(self.output) / "obj",
            job_count(),
        )
        with quiet():
            library = Path(self.output) / "libpyact.a"
            library.unlink(missing_ok=True)
            compiler.create_static_lib(objects, "pyact", output_dir=self.output)


setup(
    ext_modules=[Extension("pyact._core", sources=[])],
    cmdclass={"build_py": BuildPy, "build_ext": BuildExt, "build_core": BuildCore},
)
