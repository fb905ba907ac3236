"""Compress your own model: `python -m model_compression --model my.keras --data my.npz --max-drop 0.5pp`.

Ends with 0 when a form within the limits was written, 1 when nothing fits (it says what came closest), and 2
for bad input, in one line. `slim model.tflite` instead writes a smaller file of the same outputs: see
`own_model.slim`.
"""

import sys
from collections.abc import Sequence

from .own_model.request import parse


def main(arguments: Sequence[str] | None = None) -> int:
    """Carry out the command; the exit status."""
    arguments = sys.argv[1:] if arguments is None else arguments
    if arguments[:1] == ["slim"]:
        from .own_model import slim

        return slim.main(arguments[1:])
    request, parser = parse(arguments)
    # TensorFlow takes seconds to import: bad arguments are told before
    from .own_model import command

    return command.main(request, parser)


if __name__ == "__main__":
    sys.exit(main())
