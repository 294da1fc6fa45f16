"""A compiler, make, git and a database at work in a directory of the host, through virtiofs.

The directory is a user's without rights, and in the end the host's own git and compiler judge what is there.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from account import User
from session import Session

from benchmarks.userland import PACKAGES, add_tree, unpack_packages
from ringfence.image.cpio import CpioWriter
from ringfence.image.debian import Guest

pytestmark = pytest.mark.nightly

INSTALLED = f"{PACKAGES['gcc']} {PACKAGES['as']} libc6 libgcc-s1 zlib1g libzstd1 make git libpcre2-8-0 "
DATABASE = "sqlite3 libsqlite3-0 libreadline8 libtinfo6"
PARTS = 12
MAKEFILE = """
parts = $(patsubst %.c,%.o,$(wildcard part*.c))
all: main
main: main.o libparts.a
\tgcc -o $@ $^
libparts.a: $(parts)
\tar rcs $@ $^
%.o: %.c parts.h
\tgcc -O1 -g -pipe -c -o $@ $<
clean:
\trm -f *.o *.a main
"""
#: As a person types; what git says of itself is not read.
GIT = """
git init -q -b main . ; git add . ; git commit -q -m first
git checkout -q -b branch ; sed -i s/return/return\\ 1000+/ part3.c ; git commit -q -a -m second
git mv part4.c moved.c ; git rm -q part5.c ; git commit -q -m third
git checkout -q main ; git merge -q --no-edit branch ; git repack -a -d -q ; git gc -q --prune=now
git clone -q . /mnt/work/clone ; git -C /mnt/work/clone checkout -q HEAD~1 ; git stash list
"""


@pytest.fixture(scope="module")
def work(owner: User) -> Path:
    """On the host: a program of several files."""
    folder = owner.new_folder("shared")
    (folder / "Makefile").write_text(MAKEFILE)
    (folder / "parts.h").write_text("".join(f"int part{n}(void);\n" for n in range(PARTS)))
    calls = "".join(f'  printf("%d\\n", part{n}());\n' for n in range(PARTS))
    (folder / "main.c").write_text(f'#include <stdio.h>\n#include "parts.h"\nint main(void) {{\n{calls}}}\n')
    for n in range(PARTS):
        (folder / f"part{n}.c").write_text(f'#include "parts.h"\nint part{n}(void) {{ return {n}; }}\n')
    return owner.account.give(folder)


@pytest.fixture(scope="module")
def guest(
    debian: Guest, owner: User, work: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Session]:
    root = tmp_path_factory.mktemp("root")
    unpack_packages((INSTALLED + DATABASE).split(), root)
    archive = CpioWriter()
    add_tree(archive, root)
    kernel = owner.new_file("kernel", debian.kernel.read_bytes())
    initrd = owner.new_file("initrd", debian.initrd.read_bytes() + archive.finish())
    session = Session(
        *("--kernel", kernel, "--initrd", initrd, "--append", "console=ttyS0 quiet", "--memory", "2G"),
        *("-v", f"{work}:/mnt/work"),
        user=owner,
    )
    try:
        session.boot()
        session.run("export PATH=/usr/bin:/bin LC_ALL=C HOME=/tmp; cd /mnt/work")
        session.run("git config --global user.name me; git config --global user.email me@test")
        yield session
    finally:
        session.kill()


def lines(numbers: list[int]) -> list[str]:
    return [str(number) for number in numbers]


def test_make_builds_and_builds_again_what_changed(guest: Session, work: Path) -> None:
    assert guest.run("make -j3 2>&1", 300).count("gcc -O1") == PARTS + 1
    assert guest.run("./main").split() == lines(list(range(PARTS)))
    assert "up to date" in guest.run("make -q; make main")
    # on the host, as an editor saves: a new file takes the old one's place
    changed = work / "part7.c.new"
    changed.write_text('#include "parts.h"\nint part7(void) { return 77; }\n')
    changed.rename(work / "part7.c")
    assert guest.run("sleep 1.1; make -j3 2>&1", 300).count("gcc -O1") == 1
    expected = lines([77 if n == 7 else n for n in range(PARTS)])
    assert guest.run("./main").split() == expected
    host = subprocess.run([work / "main"], check=True, capture_output=True, text=True).stdout
    assert host.split() == expected
    guest.run("make -s clean")
    assert not [*work.glob("*.o"), *work.glob("main")]


def test_git_keeps_a_history_that_the_hosts_git_believes(guest: Session, work: Path) -> None:
    for line in GIT.strip().splitlines():
        guest.run(f"{{ {line} ; }} 2>&1", 300)
    guest.run("git fsck --full > /tmp/fsck 2>&1")
    assert guest.run("git status --porcelain -uno && git -C clone status --porcelain") == ""

    def host_git(folder: Path, *words: str) -> str:
        command = ["git", "-c", "safe.directory=*", "-C", str(folder), *words]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        return done.stdout + done.stderr

    for folder in (work, work / "clone"):
        assert "error" not in host_git(folder, "fsck", "--full", "--strict")
        assert host_git(folder, "diff", "--stat") == ""
    assert host_git(work, "log", "--format=%s").split() == ["third", "second", "first"]
    assert host_git(work, "show", "main:part3.c").endswith("{ return 1000+ 3; }\n")
    assert "moved.c" in host_git(work, "ls-files") and "part5.c" not in host_git(work, "ls-files")


def test_a_database_locks_and_maps_its_files(guest: Session, work: Path) -> None:
    guest.run("sqlite3 data.db 'pragma journal_mode=wal; create table t(n integer)'")
    insert = "sqlite3 -cmd '.timeout 60000' data.db 'insert into t values(1)'"
    writer = f"for i in 1 2 3 4 5 6 7 8 9 10; do {insert}; done"
    guest.run(f"({writer}) & ({writer}) & ({writer}); wait", 300)
    assert guest.run("sqlite3 data.db 'pragma integrity_check; select count(*) from t'").split() == [
        "ok",
        "30",
    ]
