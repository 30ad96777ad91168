"""docs/design.md agrees with the code."""

from tests.docs import packages


def test_the_picture_of_the_packages_is_up_to_date() -> None:
    assert packages.PICTURE.read_text() == packages.draw(), "out of date: run python -m tests.docs.packages"


def test_a_row_that_is_too_wide_for_the_picture_is_broken() -> None:
    row = [packages.Package("polls", "lifecycle")] * 20
    parts = list(packages.fitting(row))
    assert len(parts) > 1
    assert [package for part in parts for package in part] == row
