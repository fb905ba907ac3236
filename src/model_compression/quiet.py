"""Holding back what C++ libraries print past Python's streams."""

import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Silence Python's streams and file descriptors 1 and 2: TensorFlow's C++ lines pass by the former.

    What was held back is shown only when the block raises.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    with tempfile.TemporaryFile() as held:
        saved = [os.dup(1), os.dup(2)]
        try:
            for descriptor in (1, 2):
                os.dup2(held.fileno(), descriptor)
            # in a notebook Python's own streams are no file descriptors
            with (
                open(held.fileno(), "w", encoding="utf-8", closefd=False) as words,
                contextlib.redirect_stdout(words),
                contextlib.redirect_stderr(words),
            ):
                yield
        except BaseException:
            held.seek(0)
            os.write(saved[1], held.read())
            raise
        finally:
            for descriptor, copy in zip((1, 2), saved, strict=True):
                os.dup2(copy, descriptor)
                os.close(copy)
