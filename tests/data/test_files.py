import gzip
import pickle
import re
import zipfile
from pathlib import Path

import numpy as np
import pytest
from idx_files import PIXELS, TINY, Bomb, assert_tiny, idx_file, scaled_pairs, wheel_pickle

from model_compression import store
from model_compression.data.files import (
    ARRAY_NAMES,
    InvalidDataError,
    read_idx,
    read_mnist_pickle,
    read_npz,
    write_npz,
)

# IDX


@pytest.mark.parametrize("name", ARRAY_NAMES)
def test_idx_file_is_read_back(tmp_path: Path, name: str) -> None:
    path = tmp_path / "a.gz"
    path.write_bytes(gzip.compress(idx_file(TINY[name]), mtime=0))
    np.testing.assert_array_equal(read_idx(path), TINY[name])


@pytest.mark.parametrize(
    "content",
    {
        "no gzip": idx_file(TINY["x_train"]),
        "gzip cut short": gzip.compress(idx_file(TINY["x_train"]), mtime=0)[:-10],
        "one pixel missing": gzip.compress(idx_file(TINY["x_train"])[:-1], mtime=0),
        "one pixel more": gzip.compress(idx_file(TINY["x_train"]) + b"\0", mtime=0),
        "header only": gzip.compress(idx_file(TINY["x_train"])[:4], mtime=0),
        "floats": gzip.compress(bytes([0, 0, 13, 1, 0, 0, 0, 1, 0]), mtime=0),
        "empty": b"",
    }.values(),
)
def test_file_that_is_no_idx_file_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.gz"
    path.write_bytes(content)
    with pytest.raises(InvalidDataError, match=r"^a\.gz is no whole IDX file \("):
        read_idx(path)


def test_write_leaves_the_old_file_and_nothing_else_when_it_is_interrupted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.npz"
    write_npz(path, TINY)

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(store.os, "replace", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_npz(path, {**TINY, "x_test": TINY["x_test"] + np.uint8(1)})
    assert list(tmp_path.iterdir()) == [path]
    assert_tiny(read_npz(path))


def test_npz_cut_anywhere_is_invalid_and_nothing_worse(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    write_npz(path, TINY)
    whole = path.read_bytes()
    for length in range(0, len(whole), 7):
        path.write_bytes(whole[:length])
        with pytest.raises(InvalidDataError):
            read_npz(path)


def test_npz_with_a_flipped_byte_is_right_or_invalid(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    write_npz(path, TINY)
    whole = path.read_bytes()
    for position in range(0, len(whole), 5):
        damaged = bytearray(whole)
        damaged[position] ^= 0x55
        path.write_bytes(damaged)
        try:
            assert_tiny(read_npz(path))  # the byte was one that carries no data, such as a date
        except InvalidDataError:
            continue


def test_npz_that_is_missing_or_a_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(
        InvalidDataError, match=r"missing\.npz is missing: allowed is an \.npz file: numpy\.savez"
    ):
        read_npz(tmp_path / "missing.npz")
    with pytest.raises(InvalidDataError, match=r" is a folder: allowed is an \.npz file: numpy\.savez"):
        read_npz(tmp_path)


def test_npz_without_an_array_lists_what_it_holds(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    np.savez(path, x_train=TINY["x_train"], labels=TINY["y_train"])
    message = (
        f"{path} holds x_train, labels: y_train, x_test, y_test missing; "
        "allowed is an .npz file with x_train, y_train, x_test, y_test: numpy.savez('data.npz', "
        "x_train=x[:-n], y_train=y[:-n], x_test=x[-n:], y_test=y[-n:])"
    )
    with pytest.raises(InvalidDataError, match=f"^{re.escape(message)}$"):
        read_npz(path)


def test_file_of_another_kind_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    with path.open("wb") as file:
        np.save(file, TINY["x_train"])
    with pytest.raises(InvalidDataError, match=r"is no whole \.npz file \(File is not a zip file\)"):
        read_npz(path)


def test_archive_of_something_else_under_the_right_names_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    with zipfile.ZipFile(path, "w") as archive:
        for name in ARRAY_NAMES:
            archive.writestr(name, b"no array")
    with pytest.raises(InvalidDataError, match=r"x_train is no array; allowed are arrays of numbers$"):
        read_npz(path)


def test_objects_in_an_npz_are_refused_and_never_loaded(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    np.savez(path, **{**TINY, "y_test": np.array([Bomb(tmp_path / "hit")], object)})  # type: ignore[arg-type]
    with pytest.raises(
        InvalidDataError,
        match=r"y_test cannot be read \(.*\); allowed are arrays of numbers; .* by np\.array\(y_test\.tol",
    ):
        read_npz(path)
    assert not (tmp_path / "hit").exists()


# MNIST's pickle


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
    with path.open("rb") as file, pytest.raises(InvalidDataError, match=r"^not the pickle of MNIST's arrays"):
        read_mnist_pickle(file)


@pytest.mark.parametrize(
    "content", [b"", b"no pickle", wheel_pickle()[:-100], pickle.dumps([1, 2]), pickle.dumps("abc")]
)
def test_pickle_of_something_else_is_invalid(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "mnist.pkl"
    path.write_bytes(content)
    with path.open("rb") as file, pytest.raises(InvalidDataError, match=r"^not the pickle of MNIST's arrays"):
        read_mnist_pickle(file)
