from __future__ import annotations

import os

from portico.processes.ipc.notices import ALIVE, FAILING, SERVING, Notices


def test_notices_arrive_in_order() -> None:
    notices = Notices()
    notices.say(SERVING)
    notices.say(ALIVE)
    assert list(notices.received()) == [(os.getpid(), SERVING, ""), (os.getpid(), ALIVE, "")]
    assert list(notices.received()) == []


def test_nobody_waits_for_a_supervisor_that_stands_still() -> None:
    notices = Notices()
    for _ in range(20_000):
        notices.say(ALIVE)
    assert {word for _, word, _ in notices.received()} == {ALIVE}
    notices.say(SERVING)
    assert list(notices.received()) == [(os.getpid(), SERVING, "")]


def test_a_reason_is_one_line_of_bounded_length() -> None:
    notices = Notices()
    notices.say(FAILING, "it broke:\nIndexError('\ud800')")
    notices.say(FAILING, "x" * 100_000)
    broken, long = notices.received()
    assert broken == (os.getpid(), FAILING, "it broke: IndexError('\\ud800')")
    assert len(long[2]) < 400
