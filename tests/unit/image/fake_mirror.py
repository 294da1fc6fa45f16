"""A Debian mirror on disk, with packages made here."""

from __future__ import annotations

import hashlib
import io
import lzma
import tarfile
from pathlib import Path

BUSYBOX = b"\x7fELF" + bytes(60) + b"\0[\0[[\0ash\0busybox\0cat\0sh\0\0" + bytes(40)
KERNEL_RELEASE = "6.1.0-9-cloud-amd64"


def module(depends: str = "", *aliases: str) -> bytes:
    """A kernel module's .modinfo."""
    info = [f"alias={alias}" for alias in aliases] + [f"depends={depends}"]
    return b"\x7fELF" + bytes(8) + b"\0" + b"\0".join(text.encode() for text in info) + b"\0" + bytes(8)


def deb(files: dict[str, bytes], compression: str = "xz") -> bytes:
    """A Debian package with these files."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, content in files.items():
            info = tarfile.TarInfo(f"./{name}")
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    data = lzma.compress(out.getvalue()) if compression == "xz" else out.getvalue()
    suffix = f".{compression}" if compression else ""
    parts = [("debian-binary", b"2.0\n"), ("control.tar.xz", b"odd"), (f"data.tar{suffix}", data)]
    archive = b"!<arch>\n"
    for name, content in parts:
        archive += f"{name:<16}{0:<12}{0:<6}{0:<6}{100644:<8}{len(content):<10}`\n".encode()
        archive += content + b"\n" * (len(content) % 2)
    return archive


KERNEL_FILES = {
    f"boot/vmlinuz-{KERNEL_RELEASE}": b"a kernel",
    f"lib/modules/{KERNEL_RELEASE}/kernel/drivers/virtio/virtio_pci.ko": module(
        "virtio,virtio-ring", "pci:v00001AF4d*"
    ),
    f"lib/modules/{KERNEL_RELEASE}/kernel/drivers/virtio/virtio.ko": module(),
    f"lib/modules/{KERNEL_RELEASE}/kernel/drivers/virtio/virtio_ring.ko": module("virtio"),
    f"lib/modules/{KERNEL_RELEASE}/kernel/drivers/char/virtio-rng.ko": module("virtio_ring,hw_random"),
    f"lib/modules/{KERNEL_RELEASE}/kernel/sound/loud.ko": module(),
}


class Mirror:
    """``dists`` and ``pool`` in a folder, reached by a file: URL."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.packages: dict[str, tuple[str, str, bytes]] = {}
        self.add("busybox-static", "", deb({"bin/busybox": BUSYBOX, "usr/share/doc/x": b""}))
        self.add(f"linux-image-{KERNEL_RELEASE}", "", deb(KERNEL_FILES))
        self.add("linux-image-cloud-amd64", f"linux-image-{KERNEL_RELEASE} (= 6.1.9-1)", deb({}))

    @property
    def url(self) -> str:
        return self.root.as_uri()

    def add(self, name: str, depends: str, content: bytes, version: str = "1") -> None:
        path = f"pool/main/{name}_{version}_amd64.deb"
        for old in self.root.glob(f"pool/main/{name}_*"):
            old.unlink()
        (self.root / path).parent.mkdir(parents=True, exist_ok=True)
        (self.root / path).write_bytes(content)
        sha256 = hashlib.sha256(content).hexdigest()
        stanza = (
            f"Package: {name}\nVersion: {version}\nDepends: {depends}\nDescription: text\n Package: no\n"
            f"Filename: {path}\nSize: {len(content)}\nSHA256: {sha256}\n\n"
        )
        self.packages[name] = (path, stanza, content)
        self.publish()

    def publish(self) -> None:
        index = lzma.compress("".join(stanza for _, stanza, _ in self.packages.values()).encode())
        folder = self.root / "dists/bookworm/main/binary-amd64"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "Packages.xz").write_bytes(index)
        sha256 = hashlib.sha256(index).hexdigest()
        (self.root / "dists/bookworm/InRelease").write_text(
            f"Origin: Debian\nSHA256:\n {'0' * 64} 5 main/binary-i386/Packages\n"
            f" {sha256} {len(index)} main/binary-amd64/Packages.xz\n"
        )
