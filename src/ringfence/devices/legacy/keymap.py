"""Keys, their scan codes, and the US layout: IBM Personal System/2 keyboard reference.

One row a key: name, code in set 2 (``E0`` in front where it is extended), code in set 3. Set 1
is set 2 through the keyboard controller's translation table.
"""

from __future__ import annotations

BREAK = 0xF0
EXTENDED = 0xE0

_ROWS = """
esc 76 08  f1 05 07  f2 06 0F  f3 04 17  f4 0C 1F  f5 03 27  f6 0B 2F
f7 83 37  f8 0A 3F  f9 01 47  f10 09 4F  f11 78 56  f12 07 5E  scrolllock 7E 5F
` 0E 0E  1 16 16  2 1E 1E  3 26 26  4 25 25  5 2E 2E  6 36 36  7 3D 3D
8 3E 3E  9 46 46  0 45 45  - 4E 4E  = 55 55  backspace 66 66
tab 0D 0D  q 15 15  w 1D 1D  e 24 24  r 2D 2D  t 2C 2C  y 35 35  u 3C 3C
i 43 43  o 44 44  p 4D 4D  [ 54 54  ] 5B 5B  \\ 5D 5C
capslock 58 14  a 1C 1C  s 1B 1B  d 23 23  f 2B 2B  g 34 34  h 33 33  j 3B 3B
k 42 42  l 4B 4B  ; 4C 4C  ' 52 52  enter 5A 5A
shift 12 12  z 1A 1A  x 22 22  c 21 21  v 2A 2A  b 32 32  n 31 31  m 3A 3A
, 41 41  . 49 49  / 4A 4A  rightshift 59 59  102nd 61 13
ctrl 14 11  super E01F 8B  alt 11 19  space 29 29  rightalt E011 39
rightsuper E027 8C  menu E02F 8D  rightctrl E014 58
insert E070 67  home E06C 6E  pageup E07D 6F  delete E071 64  end E069 65  pagedown E07A 6D
up E075 63  left E06B 61  down E072 60  right E074 6A
numlock 77 76  keypad/ E04A 77  keypad* 7C 7E  keypad- 7B 84  keypad+ 79 7C
keypadenter E05A 79  keypad. 71 71  keypad0 70 70  keypad1 69 69  keypad2 72 72  keypad3 7A 7A
keypad4 6B 6B  keypad5 73 73  keypad6 74 74  keypad7 6C 6C  keypad8 75 75  keypad9 7D 7D
"""

_cells = _ROWS.split()
#: name -> (code in set 2, code in set 3)
KEYS: dict[str, tuple[int, int]] = {
    name: (int(set_2, 16), int(set_3, 16))
    for name, set_2, set_3 in zip(_cells[::3], _cells[1::3], _cells[2::3], strict=True)
}

#: Keys whose sequences follow no rule: (make, break) in set 2, and the code in set 3.
_ODD: dict[str, tuple[bytes, bytes, int]] = {
    "printscreen": (bytes.fromhex("E012E07C"), bytes.fromhex("E0F07CE0F012"), 0x57),
    "pause": (bytes.fromhex("E11477E1F014F077"), b"", 0x62),
}

_PLAIN = "`1234567890-=qwertyuiop[]\\asdfghjkl;'zxcvbnm,./"
_SHIFTED = '~!@#$%^&*()_+QWERTYUIOP{}|ASDFGHJKL:"ZXCVBNM<>?'
#: character -> (key, with shift)
CHARACTERS: dict[str, tuple[str, bool]] = {
    **{character: (character, False) for character in _PLAIN},
    **{character: (key, True) for character, key in zip(_SHIFTED, _PLAIN, strict=True)},
    **{" ": ("space", False), "\n": ("enter", False), "\r": ("enter", False), "\t": ("tab", False)},
    **{"\b": ("backspace", False), "\x7f": ("backspace", False), "\x1b": ("esc", False)},
}

#: The controller's table for bytes 00 to 7F.
_TO_SET_1 = bytes.fromhex("""
    FF 43 41 3F 3D 3B 3C 58 64 44 42 40 3E 0F 29 59
    65 38 2A 70 1D 10 02 5A 66 71 2C 1F 1E 11 03 5B
    67 2E 2D 20 12 05 04 5C 68 39 2F 21 14 13 06 5D
    69 31 30 23 22 15 07 5E 6A 72 32 24 16 08 09 5F
    6B 33 25 17 18 0B 0A 60 6C 34 35 26 27 19 0C 61
    6D 73 28 74 1A 0D 62 6E 3A 36 1C 1B 75 2B 63 76
    55 56 77 78 79 7A 0E 7B 7C 4F 7D 4B 47 7E 7F 6F
    52 53 50 4C 4D 48 01 45 57 4E 51 4A 37 49 46 54
""")


def to_set_1(code: int) -> int:
    """What the keyboard controller makes of a byte of set 2 (``BREAK`` apart)."""
    if code < len(_TO_SET_1):
        return _TO_SET_1[code]
    return {0x83: 0x41, 0x84: 0x54}.get(code, code)


def translate(sequence: bytes) -> bytes:
    """A sequence of set 2 in set 1: a break prefix becomes the top bit of the next code."""
    result = bytearray()
    top_bit = 0
    for code in sequence:
        if code == BREAK:
            top_bit = 0x80
        else:
            result.append(to_set_1(code) | top_bit)
            top_bit = 0
    return bytes(result)


def is_key(name: str) -> bool:
    return name in KEYS or name in _ODD


def encode(name: str, is_down: bool, scan_set: int) -> bytes:
    """What a keyboard sends when the key goes down or up."""
    if scan_set == 3:
        code = _ODD[name][2] if name in _ODD else KEYS[name][1]
        return bytes((code,)) if is_down else bytes((BREAK, code))
    if name in _ODD:
        sequence = _ODD[name][0] if is_down else _ODD[name][1]
    else:
        code = KEYS[name][0]
        parts = [EXTENDED] if code > 0xFF else []
        parts += [code & 0xFF] if is_down else [BREAK, code & 0xFF]
        sequence = bytes(parts)
    return translate(sequence) if scan_set == 1 else sequence
