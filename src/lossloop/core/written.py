"""Values as people write them in a policy: the type says how the text is read."""

from __future__ import annotations

from typing import Annotated

Share = Annotated[float, "share"]
"""A share of 1, written ``5%`` or ``0.05``."""
