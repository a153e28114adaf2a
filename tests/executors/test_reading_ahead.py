"""Reading ahead on a thread of its own."""

from fastgmm.executors.reading_ahead import Room


def test_a_room_that_a_signal_kept_from_being_made_goes_quietly(monkeypatch):
    complaints = []
    monkeypatch.setattr("sys.unraisablehook", complaints.append)
    room = Room.__new__(Room)
    del room
    assert complaints == []
