"""The default guest's user space: busybox and a few kernel modules in an initial RAM filesystem."""

from __future__ import annotations

from collections.abc import Mapping

from ringfence.errors import ImageError
from ringfence.image import modules
from ringfence.image.cpio import CpioWriter

#: Drivers for the devices that a board can have, and the file systems of shares and of people's disks.
MODULES = (
    "virtio_pci", "virtio_blk", "virtio_net", "virtio_rng", "virtio_console", "virtiofs", "9p",
    "9pnet_virtio", "ext4", "evdev", "button",
)  # fmt: skip

# Process 1. It stays a shell: it starts the user's shell with the console as controlling terminal (for job
# control), starts it again when it ends, and turns busybox's signals for power-off, halt and reboot into
# the act itself, at once, where an init would spend seconds in asking processes to leave. A shell's
# background child ignores SIGINT, and all below it would: login gives Ctrl-C back.
INIT = """\
#!/bin/sh
export PATH=/bin HOME=/root TERM="${TERM:-linux}"
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev 2>/dev/null
mkdir -p /dev/pts
mount -t devpts devpts /dev/pts
mount -t tmpfs tmp /tmp
echo ringfence > /proc/sys/kernel/hostname

trap 'sync; poweroff -f' USR2
trap 'sync; halt -f' USR1
trap 'sync; reboot -f' TERM

# Drivers of the virtio devices that are there: first their bus, then what it found.
for bus in pci virtio; do
    for modalias in /sys/bus/$bus/devices/*/modalias; do
        [ -r "$modalias" ] && read -r alias < "$modalias" || continue
        case $alias in pci:v00001AF4*|virtio:*) modprobe -q "$alias";; esac
        case $alias in virtio:d00000003v*) has_ports=yes;; esac
    done
done

# Shares of the host: ringfence.mount=TAG:PATH[:ro] on the kernel's command line.
mount_share() {
    mkdir -p "$2"
    mount -t virtiofs -o "${3:-rw}" "$1" "$2" 2>/dev/null ||
        mount -t 9p -o "${3:-rw},trans=virtio,version=9p2000.L,msize=262144" "$1" "$2"
}
set -f
for word in $(cat /proc/cmdline); do
    case $word in ringfence.mount=*) IFS=:; set -- ${word#*=}; unset IFS; mount_share "$@";; esac
done
set +f

ip link set lo up
if [ -e /sys/class/net/eth0 ]; then
    ip link set eth0 up
    # For three seconds, then in the background until there is a lease: who answers may be busy.
    udhcpc -i eth0 -b -q -O mtu -t 3 -T 1 -A 5 -S -s /etc/udhcpc.script > /dev/null 2>&1
fi

# The agent last: what it runs finds all of the above done.
[ -n "$has_ports" ] && [ -x /bin/ringfence-agent ] && ringfence-agent &

read -r _ _ release _ < /proc/version
echo
echo "Debian's kernel $release with busybox, on Ringfence. 'poweroff' turns the machine off."
cd /root
while :; do
    setsid cttyhack login -f root &
    wait $!
done
"""

# What busybox's DHCP client calls when it has an address.
DHCP_SCRIPT = """\
#!/bin/sh
[ "$1" = bound ] || [ "$1" = renew ] || exit 0
ip addr flush dev "$interface" scope global
[ -z "$mtu" ] || ip link set dev "$interface" mtu "$mtu"
ip addr add "$ip/$mask" dev "$interface"
ip route add default via "${router%% *}"
for server in $dns; do echo "nameserver $server"; done > /etc/resolv.conf
echo "search $domain" >> /etc/resolv.conf
[ -z "$hostname" ] || echo "$hostname" > /proc/sys/kernel/hostname
"""

PROFILE = """\
export PATH=/bin HOME=/root
PS1='ringfence:\\w# '
"""


def build(busybox: bytes, kernel_release: str, kernel_modules: Mapping[str, bytes], agent: bytes) -> bytes:
    """The archive.

    ``agent`` is ringfence-agent for the guest's processor. ``kernel_modules`` maps paths below
    ``lib/modules/<release>`` to modules, complete with all that they depend on.

    Raises:
        ImageError: this is not a busybox.
    """
    cpio = CpioWriter()
    for name in ("dev", "proc", "sys", "tmp", "root", "mnt", "etc", "run", "var"):
        cpio.directory(name)
    # Process 1 gets its standard streams before it can mount anything.
    cpio.character_device("dev/console", 5, 1)
    cpio.character_device("dev/null", 1, 3, 0o666)
    cpio.file("init", INIT.encode(), 0o755)
    cpio.file("etc/profile", PROFILE.encode())
    cpio.file("etc/udhcpc.script", DHCP_SCRIPT.encode(), 0o755)
    cpio.file("etc/hosts", b"127.0.0.1 localhost\n::1 localhost\n")
    cpio.file("etc/passwd", b"root::0:0:root:/root:/bin/sh\n")
    cpio.file("etc/group", b"root:x:0:\n")
    cpio.file("bin/busybox", busybox, 0o755)
    cpio.file("bin/ringfence-agent", agent, 0o755)
    for applet in applets(busybox):
        if applet != "busybox":
            cpio.symlink(f"bin/{applet}", "busybox")
    cpio.symlink("sbin", "bin")
    cpio.symlink("usr/bin", "../bin")
    cpio.symlink("usr/sbin", "../bin")
    _add_modules(cpio, f"lib/modules/{kernel_release}", kernel_modules)
    return cpio.finish()


def applets(busybox: bytes) -> list[str]:
    """The commands a busybox binary has: it keeps their names as one sorted list of C strings."""
    start = busybox.find(b"\0[\0[[\0")
    end = busybox.find(b"\0\0", start + 1)
    if not busybox.startswith(b"\x7fELF") or start < 0 or end < 0:
        raise ImageError("no list of applets in this busybox")
    return busybox[start + 1 : end].decode("ascii", "replace").split("\0")


def _add_modules(cpio: CpioWriter, folder: str, kernel_modules: Mapping[str, bytes]) -> None:
    paths = {modules.canonical(path): path for path in sorted(kernel_modules)}
    by_name = {name: kernel_modules[path] for name, path in paths.items()}
    needs = modules.closure(paths, {name: modules.depends(module) for name, module in by_name.items()})
    for name, path in paths.items():
        cpio.file(f"{folder}/{path}", by_name[name])
    cpio.file(f"{folder}/modules.dep", modules.dependency_file(needs, paths).encode())
    cpio.file(f"{folder}/modules.alias", modules.alias_file(by_name).encode())
