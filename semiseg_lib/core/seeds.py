"""Seeds: the numbers that every draw starts from."""

from __future__ import annotations

LARGEST = 2**63 - 1


def check_seed(seed: int) -> None:
    """Raise ValueError if numpy or torch would not take a seed."""
    if not 0 <= seed <= LARGEST:
        raise ValueError(f"seed is {seed}; it must be in [0, 2^63 - 1].")
