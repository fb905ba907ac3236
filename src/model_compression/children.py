"""Calls in a process of its own: what may end it, needs another environment, or has to begin anew."""

import contextlib
import os
import signal
import subprocess
import sys
import weakref
from collections.abc import Callable
from multiprocessing.connection import Connection, Pipe
from typing import IO, Any


class DeathError(RuntimeError):
    """A process ended, or was ended, before it answered; `status` is what it ended with."""

    def __init__(self, said: str, status: int | None = None) -> None:
        super().__init__(said)
        self.status = status


class Child:
    """A process that calls functions, one after the other; begun at the first call, and anew after a death.

    It ends with the block that it is used in, else with this process or with what holds it.

    Args:
        stderr: what it writes there is appended to; nowhere without.
        environment: variables that it has besides ours.
    """

    def __init__(self, stderr: IO[bytes] | None = None, **environment: str) -> None:
        self._stderr, self._environment = stderr, environment
        self._end: Callable[[], object] | None = None

    def __enter__(self) -> "Child":
        return self

    def __exit__(self, *raised: object) -> None:
        self.end()

    def end(self) -> None:
        """End the process, if there is one."""
        if self._end:
            self._end()
        self._end = None

    def call(self, function: Callable[..., Any], *given: object, seconds: float | None = None) -> Any:
        """What `function(*given)` gives there; all of it has to be picklable.

        Args:
            seconds: that it may take.
        Raises:
            DeathError: the process ended, or it took longer.
            Exception: what the function raised; a RuntimeError for classes of other packages.
        """
        if self._end is None:
            self._begin()
        try:
            self._connection.send((function, given))
            if not self._connection.poll(seconds):
                raise DeathError(f"takes longer than {seconds:.0f} s")
            good, answer = self._connection.recv()
        except (EOFError, ConnectionError) as error:
            status = self._process.wait()
            self.end()
            raise DeathError(f"broke off (status {status})", status) from error
        except BaseException:
            # an answer to this call must not be taken for one to the next
            self.end()
            raise
        if not good:
            raise answer
        return answer

    def _begin(self) -> None:
        self._connection, theirs = Pipe()
        # the child finds the package where this process found it, installed or not
        paths = {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        self._process = subprocess.Popen(
            [sys.executable, "-c", f"from {__name__} import serve; serve({theirs.fileno()})"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=self._stderr or subprocess.DEVNULL,
            pass_fds=[theirs.fileno()],
            env=os.environ | paths | self._environment,
        )
        theirs.close()
        self._end = weakref.finalize(self, _end, self._process, self._connection)


def _end(process: subprocess.Popen[bytes], connection: Connection) -> None:
    connection.close()
    process.kill()
    process.wait()


def serve(descriptor: int) -> None:
    """Call what comes through a pipe, until the other end of it is closed."""
    # whoever presses Ctrl-C means the process that asks
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    connection = Connection(descriptor)
    with contextlib.suppress(EOFError):
        while True:
            function, given = connection.recv()
            try:
                answer = True, function(*given)
            # whatever it raises is an answer; a class of another package may be one that the other end lacks
            except Exception as error:
                known = type(error).__module__.partition(".")[0] in ("builtins", __package__)
                answer = False, error if known else RuntimeError(str(error) or type(error).__name__)
            connection.send(answer)
