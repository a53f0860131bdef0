"""Weights out of pickled files, without running what a pickle may carry. The only module that may import pickle.

Detectron2's model zoo publishes ``.pkl`` files: dicts of NumPy arrays, some written by Python 2; converted Swin
backbones are dicts of plainly pickled torch tensors. A pickle calls whatever it names. Here it may name what
``_builders`` lists, which builds arrays, tensors and dicts from bytes; any other name is refused. What it gets are
stand-ins that it cannot change, and NumPy arrays are made from their bytes here, not by NumPy's own unpickling.
"""

from __future__ import annotations

import io
import os
import pickle
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from seggen_d2.foundation.errors import SegGenError
from seggen_d2.foundation.files import read_bytes

_NUMBERS = "biufc"  # NumPy's kinds: bool, int, unsigned, float, complex


def read_pickled_weights(path: str | os.PathLike) -> Any:
    """What a ``.pkl`` file holds: dicts, lists, numbers, text, NumPy arrays and torch tensors (on the CPU).

    Raises:
        SegGenError: the file names anything that does not build arrays or tensors, or is no pickle.
    """
    data = read_bytes(path, "checkpoint")
    try:
        return _plain(_Reader(io.BytesIO(data), str(path)).load(), {})
    except SegGenError:
        raise
    except Exception as error:  # a damaged pickle may fail anywhere
        raise SegGenError(f"checkpoint {path} cannot be read", expected="a pickle of arrays or tensors",
                          found=f"{type(error).__name__}: {error}", remedy="it may be truncated: get it again") from error


class _Builder:
    """Something that a file may call, and not change."""

    __slots__ = ("_call",)

    def __init__(self, call: Callable[..., Any]):
        self._call = call

    def __call__(self, *arguments: Any) -> Any:
        return self._call(*arguments)

    def __setstate__(self, state: Any) -> None:
        raise pickle.UnpicklingError("it changes what builds arrays")


class _Held:
    """What was built for a file, which may use it and not change it."""

    __slots__ = ("value",)

    def __init__(self, value: Any):
        self.value = value

    def __setstate__(self, state: Any) -> None:
        raise pickle.UnpicklingError("it changes a tensor or its storage")


class _Dtype:
    """A NumPy number type, as a pickle spells it."""

    def __init__(self, text: Any, *_: Any):
        self.numpy = np.dtype(text if isinstance(text, str) else "O")
        if self.numpy.kind not in _NUMBERS:
            raise pickle.UnpicklingError(f"an array of {text!r}, not of numbers")

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        if state[1] in ("<", ">"):
            self.numpy = self.numpy.newbyteorder(state[1])


class _Array:
    """A NumPy array whose content comes later, in its state."""

    values: np.ndarray

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, shape, dtype, fortran, data = state
        self.values = _numbers(data, dtype).reshape(shape, order="F" if fortran else "C")


def _from_buffer(data: Any, dtype: Any, shape: tuple[int, ...], order: str) -> _Held:
    return _Held(_numbers(data, dtype).reshape(shape, order=order))


def _scalar(dtype: Any, data: Any) -> Any:
    return _numbers(data, dtype)[0]


def _numbers(data: Any, dtype: Any) -> np.ndarray:
    if not isinstance(dtype, _Dtype):
        raise pickle.UnpicklingError("an array of no number type")
    return np.frombuffer(_bytes(data), dtype.numpy)


def _bytes(data: Any) -> bytearray:
    """A copy, so that arrays can be written to; Python 2 wrote bytes as text, a character each."""
    return bytearray(data.encode("latin1") if isinstance(data, str) else memoryview(data))


def _encode(text: str, encoding: str) -> bytes:
    """``_codecs.encode``, by which old protocols write bytes."""
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"bytes encoded as {encoding!r}")
    return text.encode("latin1")


def _storage(data: bytes) -> _Held:
    """torch's own reader may hand out classes and functions as well; a storage is all that is wanted."""
    storage = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    if not isinstance(storage, torch.storage.TypedStorage):
        raise pickle.UnpicklingError("a storage that holds something else")
    return _Held(storage)


def _tensor(held: _Held, offset: int, size: tuple[int, ...], stride: tuple[int, ...], *_: Any) -> _Held:
    storage = held.value
    tensor, bytes_ = torch.empty(0, dtype=storage.dtype), storage._untyped_storage
    last = offset + sum((length - 1) * step for length, step in zip(size, stride, strict=True))
    if min((offset, *size, *stride)) < 0 or (0 not in size and last >= bytes_.nbytes() // tensor.element_size()):
        raise pickle.UnpicklingError("a tensor larger than its storage")
    return _Held(tensor.set_(bytes_, offset, size, stride))


def _builders() -> dict[tuple[str, str], Callable[..., Any]]:
    builders: dict[tuple[str, str], Callable[..., Any]] = {
        ("collections", "OrderedDict"): OrderedDict,
        ("_codecs", "encode"): _encode,
        ("numpy", "dtype"): _Dtype,
        ("numpy", "ndarray"): _Array,
        ("torch._utils", "_rebuild_tensor_v2"): _tensor,
        ("torch._utils", "_rebuild_parameter"): lambda tensor, *_: tensor,
        ("torch.storage", "_load_from_bytes"): _storage,
    }
    for builtins in ("__builtin__", "builtins"):  # in Python 2, and since
        builders[builtins, "bytes"] = lambda: b""  # old protocols write empty bytes by it
    for core in ("numpy.core", "numpy._core"):  # before and since NumPy 2
        builders[f"{core}.multiarray", "_reconstruct"] = lambda *_: _Array()
        builders[f"{core}.multiarray", "scalar"] = _scalar
        builders[f"{core}.numeric", "_frombuffer"] = _from_buffer
    return builders


class _Reader(pickle.Unpickler):
    _known = _builders()

    def __init__(self, file: io.BytesIO, path: str):
        super().__init__(file, encoding="latin1")
        self._path = path

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in self._known:
            raise SegGenError(f"checkpoint {self._path} is refused: it names {module}.{name}",
                              expected="nothing but arrays and tensors of numbers", found=f"{module}.{name}",
                              remedy="a file of weights needs no such thing; get it from a source that you trust, as a "
                                     ".pth or .safetensors file")
        return _Builder(self._known[module, name])


def _plain(value: Any, done: dict[int, Any]) -> Any:
    """Stand-ins to what they stand for, in nested dicts and lists; ``done`` holds, by id, those that were met before."""
    if isinstance(value, _Held):
        return value.value
    if isinstance(value, _Array):
        return value.values
    if not isinstance(value, (dict, list, tuple)):
        return value
    if id(value) not in done:
        if isinstance(value, dict):
            done[id(value)] = {_plain(key, done): _plain(item, done) for key, item in value.items()}
        else:
            done[id(value)] = type(value)(_plain(item, done) for item in value)
    return done[id(value)]
