"""docs/design.md says what is so."""

from tests.docs import rooms


def test_the_picture_of_the_rooms_is_up_to_date() -> None:
    assert rooms.PICTURE.read_text() == rooms.draw(), "draw it again: python -m tests.docs.rooms"


def test_a_room_that_is_too_wide_for_its_row_goes_to_the_next() -> None:
    row = [rooms.Room("polls", "lifecycle")] * 20
    parts = list(rooms.fitting(row))
    assert len(parts) > 1
    assert [room for part in parts for room in part] == row
