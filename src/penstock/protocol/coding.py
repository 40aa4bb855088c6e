"""Which content coding a reader and we have in common (RFC 9110, section 12.5.3)."""

import re
from collections.abc import Sequence

__all__ = ["choose_coding"]

_WEIGHT = re.compile(r"q=(0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?)", re.ASCII | re.IGNORECASE)


def choose_coding(accepted: str | None, ours: Sequence[str]) -> str | None:
    """The one of `ours` that the `Accept-Encoding` header likes best, the first of equals; None for no coding.

    One that the reader likes less than none at all is not taken, nor is any where the header can't be read. `*` is
    taken for the first of ours only, the one that everybody knows: who sends it has mostly not thought of others.
    """
    if not accepted:
        return None
    weights: dict[str, float] = {}
    for part in accepted.split(","):
        name, _, weight = (text.strip() for text in part.partition(";"))
        match = _WEIGHT.fullmatch(weight) if weight else None
        if weight and match is None:
            return None
        weights[name.lower()] = float(match[1]) if match else 1.0
    others, plain = weights.get("*", 0.0), weights.get("identity", 0.0)
    liked = {name: weights.get(name, others if name == ours[0] else 0.0) for name in ours}
    best = max(ours, key=liked.__getitem__)
    return best if liked[best] > plain or liked[best] == 1.0 else None
