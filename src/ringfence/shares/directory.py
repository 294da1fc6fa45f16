"""A directory of the host as a guest may use it: every operation stays below it.

A guest names a file by a node and one component. ``/`` and ``..`` are not among the names it may use, no
symbolic link is ever followed, and nothing but a regular file or a directory is opened. What the host's user
may not do is refused by the host. Set-user-ID bits are not for a guest to give, and device nodes not to make.

Every method raises OSError where the host, or the rules here, refuse: the file servers answer with it.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator

from ringfence.errors import UserError
from ringfence.shares import syscalls
from ringfence.shares.node import Node, NodeTable, failure, key_of

NAME_BYTES_MAX = 255
#: Of a guest's flags of open(2), what is passed on. O_APPEND is done by each write.
_OPEN_FLAGS = os.O_ACCMODE | os.O_TRUNC | os.O_SYNC | os.O_DSYNC
_CREATE_FLAGS = _OPEN_FLAGS | os.O_EXCL
_MODES = 0o1777
_FALLOCATE_MODES = 0x01 | 0x02 | 0x10


class Directory:
    """A confined directory. ``is_read_only``: nothing in it changes.

    Raises:
        UserError: it can't be opened, or is not a directory.
    """

    def __init__(self, path: str | os.PathLike[str], is_read_only: bool = False) -> None:
        self.path = os.fspath(path)
        self.is_read_only = is_read_only
        try:
            fd = os.open(self.path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise UserError(f"can't share {self.path!r}: {error.strerror}") from error
        self.nodes = NodeTable(fd)
        self._user, self._group = os.geteuid(), os.getegid()

    def close(self) -> None:
        """Close all that is open for the guest. Closing twice does no harm."""
        root = self.nodes.root
        if root.fd >= 0:
            self.nodes.clear()
            os.close(root.fd)
            root.fd = -1

    def guest_owner(self, status: os.stat_result) -> tuple[int, int]:
        """User and group as the guest sees them: its root is the host's user, everybody else is nobody."""
        nobody = 65534
        user = 0 if status.st_uid == self._user else nobody
        return user, 0 if status.st_gid == self._group else nobody

    # -- finding --

    def lookup(self, parent: Node, name: bytes) -> tuple[Node, os.stat_result]:
        """The file of that name, with one more reference."""
        status = self.status_of(parent, name)
        return self.nodes.refer(parent, name, status), status

    def status_of(self, parent: Node, name: bytes) -> os.stat_result:
        _check(name)
        return os.stat(name, dir_fd=self.nodes.fd(parent), follow_symlinks=False)

    def status(self, node: Node) -> os.stat_result:
        if node.fd >= 0:
            return os.fstat(node.fd)
        directory, name = self.nodes.place(node)
        status = os.stat(name, dir_fd=directory, follow_symlinks=False)
        if key_of(status) != node.key:
            raise failure(errno.ESTALE)
        return status

    def read_link(self, node: Node) -> bytes:
        directory, name = self._verified_place(node)
        return os.readlink(name, dir_fd=directory)

    def read_directory(self, fd: int, offset: int, n_bytes: int) -> Iterator[syscalls.DirectoryEntry]:
        """Entries of an open directory; see `syscalls.read_directory`."""
        return syscalls.read_directory(fd, offset, n_bytes)

    def file_system(self) -> os.statvfs_result:
        return os.fstatvfs(self.nodes.root.fd)

    # -- opening --

    def open(self, node: Node, flags: int) -> int:
        """A descriptor of a regular file, or of a directory with O_DIRECTORY."""
        is_directory = bool(flags & os.O_DIRECTORY)
        flags &= _OPEN_FLAGS
        if flags & (os.O_ACCMODE | os.O_TRUNC):
            self._need_writable()
        self._need_kind(self.status(node), is_directory)
        if is_directory:
            fd = syscalls.open_beneath(self.nodes.fd(node), b".", os.O_RDONLY | os.O_DIRECTORY)
        elif node.is_removed:
            fd = os.open(syscalls.path_of(self.nodes.fd(node)), flags | os.O_CLOEXEC)
        else:
            directory, name = self.nodes.place(node)
            # Should a fifo have taken its place in this moment, opening it does not wait.
            fd = syscalls.open_beneath(directory, name, flags | os.O_NONBLOCK | os.O_NOCTTY)
        try:
            status = os.fstat(fd)
            self._need_kind(status, is_directory)
            if key_of(status) != node.key:
                raise failure(errno.ESTALE)
        except BaseException:
            os.close(fd)
            raise
        return fd

    def create(self, parent: Node, name: bytes, flags: int, mode: int) -> tuple[Node, os.stat_result, int]:
        """Create or open a regular file: its node, with one more reference, its status and a descriptor."""
        self._need_writable()
        _check(name)
        flags = flags & _CREATE_FLAGS | os.O_CREAT | os.O_NONBLOCK | os.O_NOCTTY
        if not flags & os.O_EXCL:
            self._need_regular_or_absent(parent, name)
        fd = syscalls.open_beneath(self.nodes.fd(parent), name, flags, mode & _MODES)
        try:
            status = os.fstat(fd)
            self._need_kind(status, False)
            return self.nodes.refer(parent, name, status), status, fd
        except BaseException:
            os.close(fd)
            raise

    # -- making and removing names --

    def make_directory(self, parent: Node, name: bytes, mode: int) -> None:
        os.mkdir(name, mode & _MODES, dir_fd=self._writable(parent, name))

    def make_node(self, parent: Node, name: bytes, mode: int) -> None:
        """An empty file, a fifo or a socket; a device is refused."""
        kind = stat.S_IFMT(mode) or stat.S_IFREG
        if kind not in (stat.S_IFREG, stat.S_IFIFO, stat.S_IFSOCK):
            raise failure(errno.EPERM)
        os.mknod(name, kind | mode & _MODES, dir_fd=self._writable(parent, name))

    def make_link(self, parent: Node, name: bytes, target: bytes) -> None:
        """A symbolic link. Its target is a text to us, whatever it says."""
        if not target or b"\0" in target:
            raise failure(errno.EINVAL)
        os.symlink(target, name, dir_fd=self._writable(parent, name))

    def link(self, node: Node, parent: Node, name: bytes) -> None:
        """A second name for a file."""
        to_fd = self._writable(parent, name)
        directory, old_name = self._verified_place(node)
        os.link(old_name, name, src_dir_fd=directory, dst_dir_fd=to_fd, follow_symlinks=False)

    def unlink(self, parent: Node, name: bytes) -> None:
        self._writable(parent, name)
        node = self._held(parent, name)
        os.unlink(name, dir_fd=self.nodes.fd(parent))
        self._lose(node)

    def remove_directory(self, parent: Node, name: bytes) -> None:
        self._writable(parent, name)
        node = self._held(parent, name)
        os.rmdir(name, dir_fd=self.nodes.fd(parent))
        self._lose(node)

    def rename(self, parent: Node, name: bytes, new_parent: Node, new_name: bytes, flags: int = 0) -> None:
        if flags & ~(syscalls.RENAME_NOREPLACE | syscalls.RENAME_EXCHANGE):
            raise failure(errno.EINVAL)
        self._writable(parent, name)
        self._writable(new_parent, new_name)
        moved = self.nodes.find(self.status_of(parent, name))
        replaced = self._held(new_parent, new_name)
        from_fd, to_fd = self.nodes.fd(parent), self.nodes.fd(new_parent)
        if flags:
            syscalls.rename(from_fd, name, to_fd, new_name, flags)
        else:
            os.rename(name, new_name, src_dir_fd=from_fd, dst_dir_fd=to_fd)
        if replaced is moved:
            return  # two names of one file: rename(2) leaves both
        if moved is not None:
            self.nodes.move(moved, new_parent, new_name)
        if flags & syscalls.RENAME_EXCHANGE and replaced is not None:
            self.nodes.move(replaced, parent, name)
        else:
            self._lose(replaced)

    # -- changing --

    def set_mode(self, node: Node, mode: int) -> None:
        self._need_writable()
        # By way of /proc: chmod(2) itself has no means not to follow a link.
        os.chmod(syscalls.path_of(self.nodes.fd(node)), mode & _MODES)

    def set_size(self, node: Node, size: int) -> None:
        fd = self.open(node, os.O_WRONLY)
        try:
            os.ftruncate(fd, size)
        finally:
            os.close(fd)

    def set_owner(self, node: Node, user: int | None, group: int | None) -> None:
        """To whom it belongs already, and to nobody else."""
        self._need_writable()
        present = self.guest_owner(self.status(node))
        if user not in (None, present[0]) or group not in (None, present[1]):
            raise failure(errno.EPERM)

    def set_times(self, node: Node, accessed: syscalls.Times, modified: syscalls.Times) -> None:
        self._need_writable()
        if node.fd >= 0:
            syscalls.set_times(node.fd, accessed, modified)
        else:
            directory, name = self._verified_place(node)
            syscalls.set_times_of(directory, name, accessed, modified)

    def allocate(self, fd: int, mode: int, offset: int, n: int) -> None:
        self._need_writable()
        if mode & ~_FALLOCATE_MODES:
            raise failure(errno.EOPNOTSUPP)
        syscalls.allocate(fd, mode, offset, n)

    # -- rules --

    def _need_writable(self) -> None:
        if self.is_read_only:
            raise failure(errno.EROFS)

    def _writable(self, parent: Node, name: bytes) -> int:
        """The descriptor of a directory, where ``name`` is to be made, changed or removed."""
        self._need_writable()
        _check(name)
        return self.nodes.fd(parent)

    def _need_kind(self, status: os.stat_result, is_directory: bool) -> None:
        if is_directory:
            if not stat.S_ISDIR(status.st_mode):
                raise failure(errno.ENOTDIR)
        elif not stat.S_ISREG(status.st_mode):
            raise failure(errno.EISDIR if stat.S_ISDIR(status.st_mode) else errno.EACCES)

    def _need_regular_or_absent(self, parent: Node, name: bytes) -> None:
        try:
            self._need_kind(self.status_of(parent, name), False)
        except FileNotFoundError:
            return

    def _verified_place(self, node: Node) -> tuple[int, bytes]:
        self.status(node)
        return self.nodes.place(node)

    def _held(self, parent: Node, name: bytes) -> Node | None:
        """Before a name goes: open the file, if the guest knows it."""
        try:
            node = self.nodes.find(self.status_of(parent, name))
        except FileNotFoundError:
            return None
        if node is not None:
            self.nodes.fd(node)
        return node

    def _lose(self, node: Node | None) -> None:
        if node is not None:
            self.nodes.keep_removed(node)


def _check(name: bytes) -> None:
    """A name is one component, and leads down."""
    if not name or name in (b".", b"..") or b"/" in name or b"\0" in name:
        raise failure(errno.EINVAL)
    if len(name) > NAME_BYTES_MAX:
        raise failure(errno.ENAMETOOLONG)


def time_to_set(is_set: object, is_now: object, seconds: int, ns: int) -> syscalls.Times:
    """A time as requests have it, seconds before 1970 as 64 bits: for `Directory.set_times`."""
    if not is_set:
        return 0, syscalls.UTIME_OMIT
    if is_now:
        return 0, syscalls.UTIME_NOW
    if ns >= 1_000_000_000:
        raise failure(errno.EINVAL)
    return seconds - (1 << 64) if seconds >> 63 else seconds, ns
