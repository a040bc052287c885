"""Arrays whose headers declare too much, or that are damaged, end in one line that begins with the file."""

import struct
import tracemalloc
import zipfile

import numpy as np
import pytest

from mapping.reading.arrays import read_npy, read_npz


class BadFileError(ValueError):
    """What the caller of a reader raises."""


@pytest.fixture
def stored(tmp_path):
    path = tmp_path / "a.npz"
    np.savez_compressed(path, depth=np.arange(12, dtype=np.float32).reshape(3, 4), label=np.asfortranarray(np.eye(3)))
    return path


def test_arrays_are_read_as_numpy_reads_them(stored, tmp_path):
    with np.load(stored) as expected:
        found = read_npz(stored, BadFileError)
        assert list(found) == expected.files
        for name, array in found.items():
            np.testing.assert_array_equal(array, expected[name])
            assert array.flags.writeable
    for version in ((1, 0), (2, 0), (3, 0)):
        with (tmp_path / "b.npy").open("wb") as file:
            np.lib.format.write_array(file, np.arange(6).reshape(2, 3), version=version)
        np.testing.assert_array_equal(read_npy(tmp_path / "b.npy", BadFileError), np.arange(6).reshape(2, 3))


@pytest.mark.parametrize("dtype", [">u2", ">f4", "<u2", "<f8"])
def test_arrays_have_the_order_of_bytes_of_this_machine(tmp_path, dtype):
    array = np.array([[1, 256], [65535, 7]], dtype)
    np.save(tmp_path / "a.npy", array)
    found = read_npy(tmp_path / "a.npy", BadFileError)
    assert found.dtype == np.dtype(dtype).newbyteorder("=")
    np.testing.assert_array_equal(found, array)


def zeros(path, count):
    """A member that declares, and when unpacked has, `count` bytes of zeros."""
    with (
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("depth.npy", "w", force_zip64=True) as file,
    ):
        np.lib.format.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": (count,)})
        for _ in range(count >> 24):
            file.write(bytes(1 << 24))
    return path


def test_zeros_in_an_archive_are_not_unpacked(tmp_path):
    path = zeros(tmp_path / "a.npz", 1 << 26)
    tracemalloc.start()
    with pytest.raises(BadFileError, match=r"a\.npz: is too large: 1 arrays of 67108\d+ bytes, at most 1048576"):
        read_npz(path, BadFileError, most=1 << 20)
    assert tracemalloc.get_traced_memory()[1] < 1 << 22
    tracemalloc.stop()


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((1 << 40,), "is too large"),
        ((1 << 62, 1 << 62), "is too large"),
        ((100,), "is truncated"),
        ((-1,), "is not a shape"),
    ],
)
def test_declared_shapes_are_compared_with_the_file(tmp_path, shape, message):
    path = tmp_path / "a.npy"
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "<f4", "fortran_order": False, "shape": shape})
        file.write(bytes(16))
    with pytest.raises(BadFileError, match=rf"a\.npy: .*{message}"):
        read_npy(path, BadFileError)


def test_objects_are_not_read(tmp_path):
    np.save(tmp_path / "a.npy", np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(BadFileError, match="Python objects"):
        read_npy(tmp_path / "a.npy", BadFileError)


def with_field(data, signature, offset, value):
    """The archive with a 16-bit field of its last header of a kind replaced."""
    at = data.rfind(signature) + offset
    return data[:at] + struct.pack("<H", value) + data[at + 2 :]


CENTRAL, LOCAL = b"PK\x01\x02", b"PK\x03\x04"


@pytest.mark.parametrize(
    ("signature", "offset", "value"),
    [
        (CENTRAL, 6, 99),  # version
        (CENTRAL, 8, 1),  # encrypted
        (CENTRAL, 8, 0x20),  # a patch
        (CENTRAL, 8, 0x40),  # strongly encrypted
        (CENTRAL, 10, 99),  # method
        (CENTRAL, 10, 14),  # LZMA
        (CENTRAL, 10, 12),  # bzip2
        (CENTRAL, 20, 7),  # compressed size
        (CENTRAL, 24, 7),  # size
        (CENTRAL, 42, 9),  # where it begins
        (LOCAL, 0, 0),  # signature
        (LOCAL, 26, 60000),  # length of the name
    ],
)
def test_damaged_headers(stored, signature, offset, value):
    stored.write_bytes(with_field(stored.read_bytes(), signature, offset, value))
    with pytest.raises(BadFileError) as caught:
        read_npz(stored, BadFileError)
    assert str(caught.value).startswith(f"{stored}: ")


def test_every_flipped_byte_is_noticed_or_harmless(stored):
    """The checksum covers the arrays; what it does not cover either is refused or does not change them."""
    data, expected = stored.read_bytes(), read_npz(stored, BadFileError)
    refused = 0
    for at in range(len(data)):
        stored.write_bytes(data[:at] + bytes([data[at] ^ 0x55]) + data[at + 1 :])
        try:
            found = read_npz(stored, BadFileError)
        except BadFileError:
            refused += 1
        else:
            assert [array.tobytes() for array in found.values()] == [array.tobytes() for array in expected.values()]
    assert refused > len(data) / 2
    for length in range(len(data)):
        stored.write_bytes(data[:length])
        with pytest.raises(BadFileError):
            read_npz(stored, BadFileError)


def test_an_end_that_hides_all_arrays(stored):
    """It says that there are no members, in a directory of no bytes."""
    data = stored.read_bytes()
    at = data.rfind(b"PK\5\6")
    stored.write_bytes(data[: at + 8] + bytes(8) + data[at + 16 :])
    with pytest.raises(BadFileError, match="its directory is damaged"):
        read_npz(stored, BadFileError)
    np.savez(stored)
    assert read_npz(stored, BadFileError) == {}


def test_unknown_names_are_refused(stored):
    with pytest.raises(BadFileError, match="unknown array 'label'; known are depth"):
        read_npz(stored, BadFileError, names=("depth",))
