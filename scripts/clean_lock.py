"""Take all that depends on this machine's package index out of Pipfile.lock. Run by `make lock`.

pipenv writes the index's address into the lock file, and lets the hash by which it compares Pipfile and
Pipfile.lock depend on it. Afterwards the file names no address, and that hash is the one that pipenv
computes where pip's settings name no index. The packages' own hashes stay.
"""

import json
import os
from pathlib import Path

LOCK = Path(__file__).resolve().parent.parent / "Pipfile.lock"

os.environ["PIP_CONFIG_FILE"] = os.devnull  # pip's settings, read by pipenv as it starts
for name in ("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL"):
    os.environ.pop(name, None)

from pipenv.project import Project  # noqa: E402 - after the settings it reads


def main() -> None:
    lock = json.loads(LOCK.read_text())
    lock["_meta"]["sources"] = []
    lock["_meta"]["hash"]["sha256"] = Project().pipfile.calculate_hash()
    for section in lock.keys() - {"_meta"}:
        for package in lock[section].values():
            package.pop("index", None)

    text = json.dumps(lock, indent=4, sort_keys=True) + "\n"
    if "://" in text:
        line = next(line for line in text.splitlines() if "://" in line)
        raise SystemExit(f"Pipfile.lock is not clean, an address is left: {line.strip()}")
    new = LOCK.with_suffix(".new")
    new.write_text(text)
    new.replace(LOCK)


if __name__ == "__main__":
    main()
