"""Makes the judges of this folder, the processor's rig and the tables' reader importable by its tests."""

from __future__ import annotations

import sys
from pathlib import Path

HERE = Path(__file__).parent
for folder in (HERE.parents[1] / "tools", HERE.parent / "unit" / "core", HERE):
    sys.path.insert(0, str(folder))
