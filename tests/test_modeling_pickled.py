# ruff: noqa: E402
"""Pickled weights: what the model zoo's files hold is read; what could run is refused, by name."""

import io
import os
import pickle
import pickletools
import subprocess
from collections import OrderedDict

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")
from seggen_d2.foundation.errors import SegGenError
from seggen_d2.modeling.pickled import read_pickled_weights

ARRAYS = {
    "float": np.arange(6, dtype=np.float32).reshape(2, 3),
    "fortran": np.asfortranarray(np.arange(6.0).reshape(3, 2)),
    "big endian": np.arange(4, dtype=">i4"),
    "empty": np.zeros((0, 3), np.float16),
    "one": np.array(7, np.int64),
    "flags": np.array([True, False]),
}


class Call:
    """Pickles to a call of anything."""

    def __init__(self, function, *arguments, state=None):
        self.reduced = (function, arguments) if state is None else (function, arguments, state)

    def __reduce__(self):
        return self.reduced


def written(folder, value, protocol=2):
    path = folder / "weights.pkl"
    path.write_bytes(value if isinstance(value, bytes) else pickle.dumps(value, protocol))
    return path


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_arrays_and_tensors_come_back(tmp_path, protocol):
    tensors = OrderedDict(w=torch.arange(6.0).view(2, 3).t(), half=torch.ones(3).half(), p=torch.nn.Parameter(torch.ones(2)))
    value = {"model": {**ARRAYS, "scalar": np.float32(3)}, "tensors": tensors, "__author__": "somebody", "n": [1, (2, None)]}
    read = read_pickled_weights(written(tmp_path, value, protocol))
    assert read["__author__"] == "somebody" and read["n"] == [1, (2, None)] and read["model"]["scalar"] == 3
    assert all(read["model"][key].dtype == array.dtype and np.array_equal(read["model"][key], array) for key, array in ARRAYS.items())
    assert all(torch.equal(read["tensors"][key], tensor) for key, tensor in tensors.items())


def test_a_file_of_python_2_is_read(tmp_path):
    """Protocol 2 with text where Python 3 has bytes, and NumPy's old module name."""
    data = np.array([1.5, -2], np.float32).tobytes()
    text = (b"\x80\x02}q\x00U\x01wcnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R(K\x01K\x02\x85"
            b"cnumpy\ndtype\nU\x02f4K\x00K\x01\x87R(K\x03U\x01<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89U"
            + bytes([len(data)]) + data + b"tbs.")
    assert read_pickled_weights(written(tmp_path, text))["w"].tolist() == [1.5, -2]


@pytest.mark.parametrize(("call", "named"), [
    (Call(os.system, "touch ran"), ".system"),
    (Call(eval, "open('ran', 'w')"), ".eval"),
    (Call(exec, "open('ran', 'w')"), ".exec"),
    (Call(subprocess.Popen, ["touch", "ran"]), ".Popen"),
    (Call(getattr, "text", "upper"), ".getattr"),
    (Call(__import__, "os"), ".__import__"),
    (Call(torch.load, "ran"), "torch.serialization.load"),
    (Call(torch.hub.load, "a/b", "c"), "torch.hub.load"),
    (Call(np.load, "ran"), "load"),
    (Call(pickle.loads, b""), "loads"),
    (Call(io.open, "ran", "w"), "open"),
    (torch.nn.Linear(1, 1), "torch.nn.modules.linear.Linear"),
    (np.random.default_rng(0), "numpy"),
])
def test_what_could_run_is_refused_by_file_and_name(tmp_path, monkeypatch, call, named):
    monkeypatch.chdir(tmp_path)
    for protocol in (2, 4):
        with pytest.raises(SegGenError, match=named.replace(".", r"\.")) as caught:
            read_pickled_weights(written(tmp_path, {"model": {"w": call}}, protocol))
        assert "weights.pkl" in str(caught.value) and not (tmp_path / "ran").exists()


def storage_of(value):
    """A tensor's bytes as a plain pickle holds them, with another value in them."""
    stream = io.BytesIO()
    torch.save(value, stream, _use_new_zipfile_serialization=False)
    return Call(torch.storage._load_from_bytes, stream.getvalue())


FLOAT, STORAGE = np.dtype("f4"), torch.ones(2).__reduce_ex__(2)[1][0]


@pytest.mark.parametrize("value", [
    storage_of(Call(os.system, "touch ran")),
    np.array([Call(os.system, "touch ran")], dtype=object),
    np.array(["text"]),
    np.zeros(2, [("a", "f4"), ("b", "i2")]),
    np.zeros(2, "M8[s]"),
    Call(np.dtype, "O"),
    Call(np.dtype, [("a", "O")]),
    Call(np.core.multiarray._reconstruct if np.__version__ < "2" else np._core.multiarray._reconstruct, np.ndarray, (0,), b"b",
         state=(1, (1000,), FLOAT, False, b"short")),
    Call(torch._utils._rebuild_tensor_v2, STORAGE, 0, (1000,), (1,), False, OrderedDict()),
    Call(torch._utils._rebuild_tensor_v2, STORAGE, -8, (1,), (1,), False, OrderedDict()),
    Call(torch._utils._rebuild_tensor_v2, "text", 0, (1,), (1,), False, OrderedDict()),
])
def test_disguised_objects_are_refused(tmp_path, monkeypatch, value):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SegGenError, match=r"weights\.pkl"):
        read_pickled_weights(written(tmp_path, {"w": value}))
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("build", [b"}U\x0c__defaults__)sb.", b"N}U\x05_callNs\x86b."])
def test_a_file_cannot_change_what_builds_arrays(tmp_path, build):
    attack = b"\x80\x02c_codecs\nencode\n" + build
    pickletools.dis(attack, out=io.StringIO())
    with pytest.raises(SegGenError, match="changes what builds"):
        read_pickled_weights(written(tmp_path, attack))
    assert read_pickled_weights(written(tmp_path, ARRAYS))["float"].shape == (2, 3)


@pytest.mark.parametrize("function", [torch._utils._rebuild_tensor_v2, torch.nn.Parameter, OrderedDict])
def test_what_torch_may_name_in_a_storage_is_out_of_reach(tmp_path, function):
    """torch's own reader hands out the classes and functions that it trusts; a file could change or call them."""
    before = getattr(function, "__defaults__", None)
    stream = io.BytesIO()
    torch.save(function, stream, _use_new_zipfile_serialization=False)
    named = pickle.dumps(Call(torch.storage._load_from_bytes, stream.getvalue()), 2)[:-1]
    for attack in (named, named + b"N}U\x0c__defaults__)s\x86b"):
        with pytest.raises(SegGenError, match="something else"):
            read_pickled_weights(written(tmp_path, attack + b"."))
    assert getattr(function, "__defaults__", None) == before


@pytest.mark.parametrize("value", [STORAGE, torch.ones(2)])
def test_a_file_cannot_change_a_tensor_or_its_storage(tmp_path, value):
    attack = pickle.dumps(value, 2)[:-1] + b"}U\x01aK\x01sb."
    with pytest.raises(SegGenError, match="changes a tensor"):
        read_pickled_weights(written(tmp_path, attack))


def test_what_stands_in_a_file_once_is_read_once(tmp_path):
    """Lists of twice the list before: a few bytes each, and 2**60 entries in all."""
    twice = [torch.ones(1)]
    for _ in range(60):
        twice = [twice, twice]
    read = read_pickled_weights(written(tmp_path, twice))
    for _ in range(60):
        read = read[0]
    assert torch.equal(read[0], torch.ones(1))


@pytest.mark.parametrize("data", [b"no pickle", pickle.dumps(ARRAYS)[:-20], b"\x80\x02Qtext.", b"\x80\x02\x95", b"\x80\x02c_codecs\nencode\n)R."])
def test_a_damaged_file_is_told(tmp_path, data):
    with pytest.raises(SegGenError, match=r"weights\.pkl"):
        read_pickled_weights(written(tmp_path, data))
    with pytest.raises(SegGenError, match="does not exist"):
        read_pickled_weights(tmp_path / "absent.pkl")
