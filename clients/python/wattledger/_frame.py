"""Tables of rows, for those who have pandas."""

from __future__ import annotations

import importlib
from typing import Any, Iterable, Mapping


def frame(rows: Iterable[Mapping[str, Any]]) -> Any:
    """Return a pandas DataFrame with a column for each field, nested ones as a.b."""
    try:
        pandas = importlib.import_module("pandas")
    except ImportError as missing:
        raise ImportError("frame() needs pandas: pip install 'wattledger[pandas]'") from missing
    return pandas.json_normalize([dict(row) for row in rows])
