"""Build rule: everything below src/ringfence/core is compiled by Cython; nothing else is.

Metadata is in pyproject.toml. The build writes ``core/_fingerprint.py``: a hash of the compiled
sources, against which the test session checks that it does not run a stale core.
"""

import hashlib
import os
from pathlib import Path

from Cython.Build import cythonize
from setuptools import Extension, setup

ROOT = Path(__file__).parent
CORE = ROOT / "src" / "ringfence" / "core"
#: plain Python below core/: views and generated data with nothing to compile
PLAIN = {"__init__.py", "exits.py", "_fingerprint.py", "fingerprint.py", "_gen_rows.py", "_gen_models.py"}

DIRECTIVES = {
    "language_level": 3,
    "boundscheck": False,
    "wraparound": False,
    "cdivision": True,
    "initializedcheck": False,
}
FLAGS = ["-O2", "-fno-strict-aliasing", "-fwrapv", "-fno-plt", "-w", "-g0"]


def sources() -> list[Path]:
    return sorted(p for p in CORE.rglob("*.py") if p.name not in PLAIN)


def fingerprint() -> str:
    digest = hashlib.sha256()
    for path in sorted([*CORE.rglob("*.py"), *CORE.rglob("*.pxd")]):
        if path.name != "_fingerprint.py":
            digest.update(path.relative_to(CORE).as_posix().encode() + path.read_bytes())
    return digest.hexdigest()


# before setup(): a wheel takes the file in
(CORE / "_fingerprint.py").write_text(f'"""Written by setup.py."""\n\nBUILT_FROM = "{fingerprint()}"\n')
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
    options={"build_ext": {"parallel": os.cpu_count() or 1}},
)
