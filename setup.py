"""Build rule: everything below src/ringfence/core is compiled by Cython, the guest's agent by the C compiler,
and nothing else is.

Metadata is in pyproject.toml. The build writes ``core/_fingerprint.py``: a hash of the compiled
sources, against which the test session checks that it does not run a stale core.
"""

import os
import sys
from pathlib import Path

from Cython.Build import cythonize
from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

ROOT = Path(__file__).resolve().parent
CORE = ROOT / "src" / "ringfence" / "core"
sys.path.insert(0, str(ROOT / "src"))
from ringfence.agent import PROGRAMS  # noqa: E402
from ringfence.agent.build import build  # noqa: E402
from ringfence.core.fingerprint import FILE, fingerprint  # noqa: E402

#: plain Python below core/: views and generated data with nothing to compile
PLAIN = {"__init__.py", "exits.py", "_fingerprint.py", "fingerprint.py", "_gen_rows.py", "_gen_models.py"}

DIRECTIVES = {
    "language_level": 3,
    "boundscheck": False,
    "wraparound": False,
    "cdivision": True,
    "initializedcheck": False,
}
FLAGS = [
    "-O2",
    "-fno-tree-vectorize",
    "-fno-tree-slp-vectorize",
    "-fno-strict-aliasing",
    "-fwrapv",
    "-fno-plt",
    "-w",
    "-g0",
]


def sources() -> list[Path]:
    return sorted(p for p in CORE.rglob("*.py") if p.name not in PLAIN)


class BuildCore(build_ext):
    """Builds, and only then says from what: a failed build leaves the old fingerprint."""

    def run(self) -> None:
        super().run()
        for arch, program in PROGRAMS.items():
            build(arch, program if self.inplace else Path(self.build_lib) / program.relative_to(ROOT / "src"))
        file = FILE if self.inplace else Path(self.build_lib) / FILE.relative_to(ROOT / "src")
        file.write_text(f'"""Written by setup.py."""\n\nBUILT_FROM = "{fingerprint()}"\n')


extensions = [
    Extension(
        ".".join(p.relative_to(ROOT / "src").with_suffix("").parts),
        [str(p.relative_to(ROOT))],
        extra_compile_args=FLAGS,
    )
    for p in sources()
]
setup(
    ext_modules=cythonize(
        extensions,
        compiler_directives=DIRECTIVES,
        include_path=["src"],
        nthreads=os.cpu_count() or 1,
    ),
    cmdclass={"build_ext": BuildCore},
    options={"build_ext": {"parallel": os.cpu_count() or 1}},
)
