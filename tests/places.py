"""Where tests find things that are not theirs."""

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
CACHE = Path(os.environ.get("MULTIMODAL_CACHE") or ROOT / "data" / ".cache")
"""Downloaded wheels, shared with ``make run`` unless MULTIMODAL_CACHE names another folder."""
