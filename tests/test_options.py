"""Fields that came later leave the fingerprints of earlier runs alone."""

from __future__ import annotations

from dataclasses import dataclass, make_dataclass

from semiseg_lib.options import added, plain
from semiseg_lib.runs import fingerprint


@dataclass(frozen=True)
class Inner:
    rate: float = 1
    shape: str = added("straight")


@dataclass(frozen=True)
class Outer:
    steps: int = 3
    inner: Inner = Inner()
    several: tuple[Inner, ...] = (Inner(),)
    twice: bool = added(False)


def test_a_field_that_came_later_is_left_out_while_it_says_what_was_so_before():
    assert plain(Outer()) == {"steps": 3, "inner": {"rate": 1.0}, "several": [{"rate": 1.0}]}
    changed = Outer(inner=Inner(shape="curved"), twice=True)
    assert plain(changed)["inner"] == {"rate": 1.0, "shape": "curved"}
    assert plain(changed)["twice"] is True


def test_the_fingerprint_is_that_of_the_configuration_before_the_field_existed():
    before = make_dataclass("Before", [("steps", int), ("rate", float)], frozen=True)
    after = make_dataclass(
        "After", [("steps", int), ("rate", float), ("more", int, added(0))], frozen=True
    )
    assert fingerprint(before(3, 0.1)) == fingerprint(after(3, 0.1))
    assert fingerprint(after(3, 0.1, more=1)) != fingerprint(after(3, 0.1))


def test_whole_numbers_in_place_of_fractions_change_nothing():
    assert fingerprint(Inner(rate=1)) == fingerprint(Inner(rate=1.0))
