import json
import operator
import os
import signal
import time
from collections.abc import Iterator

import pytest

from model_compression.children import Child, DeathError


@pytest.fixture
def child() -> Iterator[Child]:
    with Child(GREETING="hello") as made:
        yield made


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_calls_are_answered_by_one_other_process_in_its_own_environment(child: Child) -> None:
    first = child.call(os.getpid)
    assert first != os.getpid()
    assert child.call(os.getpid) == first
    assert child.call(os.getenv, "GREETING") == "hello"
    assert os.getenv("GREETING") is None


def test_what_a_call_raises_is_raised_here_and_the_next_is_answered(child: Child) -> None:
    with pytest.raises(ZeroDivisionError, match="division by zero"):
        child.call(operator.truediv, 1, 0)
    # a class that this process may lack, here json's, is left behind
    with pytest.raises(RuntimeError, match="Expecting value: line 1 column 1"):
        child.call(json.loads, "no json")
    assert child.call(operator.add, 1, 2) == 3


def test_a_death_is_told_with_its_status_and_followed_by_another_process(child: Child) -> None:
    first = child.call(os.getpid)
    with pytest.raises(DeathError, match=r"^broke off \(status 7\)$") as died:
        child.call(os._exit, 7)
    assert died.value.status == 7
    with pytest.raises(DeathError) as died:
        child.call(signal.raise_signal, signal.SIGKILL)
    assert died.value.status == -signal.SIGKILL
    assert child.call(os.getpid) != first


def test_what_takes_too_long_is_ended(child: Child) -> None:
    slow = child.call(os.getpid)
    with pytest.raises(DeathError, match=r"^takes longer than 0 s$"):
        child.call(time.sleep, 60, seconds=0.1)
    assert not is_running(slow)
    assert child.call(operator.add, 1, 2) == 3


def test_an_interrupted_call_leaves_no_answer_to_the_next(
    child: Child, monkeypatch: pytest.MonkeyPatch
) -> None:
    child.call(os.getpid)

    def interrupt(seconds: float | None) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(child._connection, "poll", interrupt)
    with pytest.raises(KeyboardInterrupt):
        child.call(operator.add, 1, 1)
    monkeypatch.undo()
    assert child.call(operator.add, 1, 2) == 3


def test_ctrl_c_is_for_who_asks(child: Child) -> None:
    pid = child.call(os.getpid)
    os.kill(pid, signal.SIGINT)
    assert child.call(os.getpid) == pid


def test_process_ends_with_its_block_and_with_what_holds_it() -> None:
    with Child() as child:
        pid = child.call(os.getpid)
        assert is_running(pid)
    assert not is_running(pid)
    pid = child.call(os.getpid)
    del child
    assert not is_running(pid)
