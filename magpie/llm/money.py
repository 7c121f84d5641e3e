"""Money as whole nano-USD.

Belongs here: the unit and its conversions. Does not belong here: prices (`prices.py`) and caps (`ledger.py`).

A price per million tokens can be a fraction of a nano-dollar per token, so costs are computed exactly and rounded up
once, at the end: what is booked is never less than what is owed.
"""

from decimal import ROUND_CEILING, Decimal

NANO_PER_USD = 1_000_000_000


def to_nano(usd: Decimal) -> int:
    """Return USD as nano-USD, rounded up."""
    return int((usd * NANO_PER_USD).to_integral_value(rounding=ROUND_CEILING))


def to_usd(nano: int) -> Decimal:
    """Return nano-USD as USD with nine decimals."""
    return Decimal(nano).scaleb(-9)


def per_million(count: int, usd_per_million: Decimal) -> Decimal:
    """Return what `count` tokens cost in USD, not rounded."""
    return (count * usd_per_million).scaleb(-6)


def shown(nano: int) -> str:
    """For people: two decimals from a dollar on, more below, so that no spend reads as zero."""
    usd = to_usd(nano)
    if nano == 0:
        return "$0"
    if abs(usd) >= 1:
        return f"${usd:,.2f}"
    return "$" + f"{usd:.6f}".rstrip("0").rstrip(".") if abs(usd) >= Decimal("0.000001") else f"${usd:.9f}"
