"""A guest of a few bytes."""

from __future__ import annotations

#: at 0x7c00: into flat 32-bit code; mov ecx,20; again: dec ecx; jnz again; out 0xf4,al (0); then its GDT
BOOT_SECTOR = bytes.fromhex(
    "fa0f011620000f20c00c010f22c0ea137c0800" "b91400000049 75fdb000e6f4f4" "1700267c0000"
    "0000000000000000" "ffff0000009bcf00" "ffff00000093cf00"
)  # fmt: skip
