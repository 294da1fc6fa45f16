"""Programs that check themselves, and programs whose results the host computes too, in a Debian guest."""

from __future__ import annotations

import hashlib
import re
import sqlite3
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from debian_tree import Tree
from session import Session

from ringfence.core.x86.thunk import host_has
from ringfence.image.debian import Guest

pytestmark = pytest.mark.nightly

SOURCES = Path(__file__).parent / "workloads"
MODELS = {"x86-64-v2": "sse4_2", "x86-64-v3": "avx2"}
SECONDS = 600
CC1 = "usr/lib/gcc/x86_64-linux-gnu/12/cc1"

#: For --verify; a number of operations and not a time, so that a slow host checks as much.
STRESSORS = (
    "cpu 1 --cpu-method all --cpu-ops 400",
    "vm 1 --vm-bytes 8M --vm-method all --vm-ops 4000",
    "memcpy 1 --memcpy-ops 60",
    "matrix 1 --matrix-size 64 --matrix-ops 500",
    "fp 1 --fp-ops 60",
    "vecmath 1 --vecmath-ops 1000",
    "vecfp 1 --vecfp-ops 400",
    "vecwide 1 --vecwide-ops 1000",
    "vecshuf 1 --vecshuf-ops 400",
    "atomic 1 --atomic-ops 200",
    "str 1 --str-ops 1000",
    "hash 1 --hash-ops 1000",
    "longjmp 1 --longjmp-ops 5000",
    "sigsegv 1 --sigsegv-ops 5000",
)
PYTHON_TESTS = ("test_math", "test_cmath", "test_float", "test_struct", "test_hashlib", "test_json")
DIGESTS = ("md5", "sha1", "sha256", "sha512", "sha3-256", "blake2b512", "blake2s256")
CIPHERS = (
    "aes-128-cbc", "aes-256-ctr", "aes-256-ecb", "camellia-128-cbc", "chacha20", "aria-128-cbc",
    "des-ede3-cbc",
)  # fmt: skip
SPEEDS = ("-evp sha256", "-evp aes-256-gcm", "-evp chacha20-poly1305", "rsa2048", "ecdsap256", "ed25519")


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Tree:
    return Tree(tmp_path_factory.mktemp("tree"))


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The inputs, as files of the host; the guest has them in /work."""
    folder = tmp_path_factory.mktemp("work")
    for source in SOURCES.iterdir():
        (folder / source.name).write_bytes(source.read_bytes())
    (folder / "data").write_bytes(b"".join(hashlib.sha512(b"%d" % i).digest() for i in range(20_000)))
    return folder


@pytest.fixture(scope="module")
def initrd(debian: Guest, tree: Tree, work: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    initrd = tmp_path_factory.mktemp("initrd") / "initrd"
    initrd.write_bytes(debian.initrd.read_bytes() + tree.archive("work", work))
    return initrd


@pytest.fixture(scope="module", params=MODELS)
def guest(request: pytest.FixtureRequest, debian: Guest, initrd: Path) -> Iterator[Session]:
    if not host_has(MODELS[request.param]):
        pytest.skip(f"the host lacks {MODELS[request.param]}")
    session = Session(
        "--kernel", debian.kernel, "--initrd", initrd, "--append", "console=ttyS0 quiet", "--memory", "2G",
        "--cpu", request.param,
    )  # fmt: skip
    try:
        session.boot()
        session.run("export PATH=/usr/bin:/bin LC_ALL=C; cd /tmp; ifconfig lo up")
        yield session
    finally:
        session.kill()


@pytest.mark.parametrize("stressor", STRESSORS, ids=lambda options: options.split()[0])
def test_stress_ng_verifies(guest: Session, stressor: str) -> None:
    output = guest.run(f"stress-ng --verify --{stressor} 2>&1", SECONDS)
    assert "successful run completed" in output, output
    assert "skipped" not in output and "fail" not in output, output


@pytest.mark.parametrize("flags", ("-O0", "-O2", "-O3 -static -march=native"))
def test_a_compiled_program_prints_what_it_prints_on_the_host(
    guest: Session, work: Path, tmp_path: Path, flags: str
) -> None:
    """-ffp-contract=off: with -march=native one side may have FMA, which rounds once and not twice."""
    options = f"-std=gnu11 -ffp-contract=off {flags}"
    program = tmp_path / "mixed"
    subprocess.run(["gcc", *options.split(), "-o", program, work / "mixed.c", "-lm"], check=True)
    expected = subprocess.run([program], check=True, capture_output=True, text=True).stdout
    output = guest.run(f"gcc {options} -o mixed /work/mixed.c -lm && ./mixed", SECONDS)
    assert output.splitlines() == expected.splitlines()


def test_the_compiler_writes_the_assembly_it_writes_on_the_host(
    guest: Session, work: Path, tree: Tree
) -> None:
    """The same cc1 on both: a large program that branches on everything."""
    (work / "mixed.i").write_text(guest.run("gcc -E -P /work/mixed.c | tee mixed.i", SECONDS) + "\n")
    expected = tree.native(CC1, "-quiet", "-fpreprocessed", "-O3", "-o", "-", work / "mixed.i")
    output = guest.run(f"/{CC1} -quiet -fpreprocessed -O3 -o - mixed.i", SECONDS)
    assert without_file_name(output) == without_file_name(expected)


def without_file_name(assembly: str) -> list[str]:
    return [line.strip() for line in assembly.splitlines() if ".file" not in line]


@pytest.mark.parametrize("module", PYTHON_TESTS)
def test_pythons_own_tests_pass(guest: Session, module: str) -> None:
    output = guest.run(f"python3.11 -m unittest test.{module} 2>&1", SECONDS)
    assert "\nOK" in output, output


@pytest.mark.parametrize("digest", DIGESTS)
def test_openssl_digests_as_hashlib(guest: Session, work: Path, digest: str) -> None:
    name = {"sha3-256": "sha3_256", "blake2b512": "blake2b", "blake2s256": "blake2s"}.get(digest, digest)
    expected = hashlib.new(name, (work / "data").read_bytes()).hexdigest()
    assert guest.run(f"openssl dgst -{digest} -r /work/data", SECONDS).split()[0] == expected


@pytest.mark.parametrize("cipher", CIPHERS)
def test_openssl_encrypts_as_the_host_and_back(guest: Session, work: Path, tree: Tree, cipher: str) -> None:
    options = f"enc -{cipher} -pass pass:ringfence -pbkdf2 -iter 1000 -S 0123456789abcdef -a -in"
    expected = tree.native("usr/bin/openssl", *options.split(), work / "data")
    guest.run(f"openssl {options} /work/data -out sealed", SECONDS)
    assert guest.run("sha256sum sealed").split()[0] == hashlib.sha256(expected.encode()).hexdigest()
    guest.run(f"openssl {options} sealed -d -out opened && cmp opened /work/data", SECONDS)


def test_openssl_signs_and_verifies(guest: Session) -> None:
    """What one algorithm's arithmetic signs is verified by other code of it; a bit too much is refused."""
    for algorithm in ("RSA -pkeyopt rsa_keygen_bits:2048", "EC -pkeyopt ec_paramgen_curve:P-256", "ED25519"):
        guest.run(
            f"openssl genpkey -algorithm {algorithm} -out key 2>&1; head -c 1000 /work/data > text", SECONDS
        )
        guest.run("openssl pkeyutl -sign -inkey key -rawin -in text -out signature", SECONDS)
        verify = "openssl pkeyutl -verify -inkey key -rawin -sigfile signature -in text"
        assert "Verified Successfully" in guest.run(verify, SECONDS)
        guest.run(f"echo >> text; ! {verify}", SECONDS)


@pytest.mark.parametrize("algorithm", SPEEDS)
def test_openssl_speed_runs(guest: Session, algorithm: str) -> None:
    size = "-bytes 1024" if "evp" in algorithm else ""
    output = guest.run(f"openssl speed -seconds 1 {size} {algorithm} 2>&1", SECONDS)
    assert re.search(r"Doing .*: [1-9]\d* .* in \d", output), output


def test_sqlite_under_load_answers_as_the_host(guest: Session, work: Path) -> None:
    """In a file and with its journal, so that the page cache is at work; the host's Python is the judge."""
    script = (work / "load.sql").read_text()
    connection = sqlite3.connect(":memory:", isolation_level=None)
    rows = [row for statement in script.split(";\n") for row in connection.execute(statement).fetchall()]
    expected = ["|".join(map(str, row)) for row in rows]
    assert expected[0] == "ok" and len(expected) > 100
    output = guest.run("rm -f load.db; sqlite3 load.db < /work/load.sql", SECONDS)
    assert output.splitlines() == expected


def test_the_kernel_saw_nothing_bad(guest: Session) -> None:
    """Last, after all that: no program died of what it should not, no oops."""
    log = guest.run("dmesg | grep -v stress-ng")
    for word in ("BUG:", "WARNING:", "Oops", "segfault", "traps:", "general protection", "rcu_sched"):
        assert word not in log, log
