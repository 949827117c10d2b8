"""The room's timer: asked for only when it must ring earlier."""

from __future__ import annotations

import pytest

from collabkernel.room.alarm import Alarm
from collabkernel.room.effects import WakeAt

pytestmark = pytest.mark.core


def test_the_first_time_is_asked_for_once():
    alarm = Alarm()

    assert alarm.set(None, 30, 20) == [WakeAt(20)]
    assert alarm.set(20, 25) == []
    assert alarm.set(10) == [WakeAt(10)]


def test_after_it_rang_it_is_set_anew():
    alarm = Alarm()
    alarm.set(10)

    alarm.rang()

    assert alarm.set(None) == []
    assert alarm.set(20) == [WakeAt(20)]
