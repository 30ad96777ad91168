"""docs/design.md says what is so."""

from tests.docs import packages


def test_the_picture_of_the_packages_is_up_to_date() -> None:
    assert packages.PICTURE.read_text() == packages.draw(), "draw it again: python -m tests.docs.packages"


def test_a_room_that_is_too_wide_for_its_row_goes_to_the_next() -> None:
    row = [packages.Package("polls", "lifecycle")] * 20
    parts = list(packages.fitting(row))
    assert len(parts) > 1
    assert [package for part in parts for package in part] == row
