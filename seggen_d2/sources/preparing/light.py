"""A dataset's photos in another light, with its own labels: a domain that a segmenter has not seen."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from seggen_d2.foundation.errors import SegGenError, check_choice
from seggen_d2.foundation.files import write_aside
from seggen_d2.foundation.seeds import derive_seed

from ..dataset_file import load_dataset, read_dataset_file
from ..records import open_image
from ..splits import write_list
from .derived import NAME, below, derived_spec, need_own_folder
from .prepared import Prepared, Split, begin, prepare
from .relabel import convert_all
from .relight import LIGHTS, relight

FORMATS = {".jpg": "JPEG", ".jpeg": "JPEG", ".png": "PNG", ".webp": "WEBP", ".bmp": "BMP", ".tif": "TIFF", ".tiff": "TIFF"}
SAVING = {"JPEG": {"quality": 95, "subsampling": 0}, "WEBP": {"lossless": True}}


def prepare_light(dataset: str | os.PathLike, light: str, output: str | os.PathLike, *, workers: int = 1) -> Prepared:
    """Write ``output/images`` and ``output/dataset.yaml``: the photos of ``dataset`` in another light, its masks where they are.

    The new dataset is called ``NAME_LIGHT``. Photos keep their names and formats (JPEG: quality 95). After a stop the same
    call goes on.

    Args:
        dataset: a dataset YAML of any task.
        light: one of :data:`~seggen_d2.sources.preparing.relight.LIGHTS`.
        output: a folder of its own.
        workers: processes.

    Raises:
        SegGenError: the light is not known, the dataset or a photo cannot be read, or ``output`` was begun with other options
            or holds what is given.
    """
    check_choice("light", light, LIGHTS)
    path, output = Path(dataset), Path(output)
    source, spec = load_dataset(path), read_dataset_file(path)
    need_own_folder(spec, path, output)
    records = source.records()
    photos = [_photo(record["file_name"], path.parent / spec.images, output / "images") for record in records]
    options = {"dataset": str(path.resolve()), "light": light, "values": asdict(LIGHTS[light])}
    begin(output, options)
    convert_all(Relight(light), photos, workers, f"photos, {light}", "photos")
    keys = {**derived_spec(spec, path, output), "name": f"{spec.name}_{light}", "images": "images"}
    if spec.task == "semantic":  # the folder's photos by name; COCO's formats have a list, their JSON
        keys.pop("limit", None)
        write_list(output / "files.txt", [record["image_id"] for record in records])
        keys["files"] = "files.txt"
    return prepare(output, [Split(NAME, keys, sources=[str(path)])], None, options, workers=workers)


@dataclass(frozen=True)
class Photo:
    """A photo's file, where it goes, and its name: the path below the folder of photos, without ending."""

    file: str
    output: str
    name: str


def _photo(file: str, images: Path, output: Path) -> Photo:
    name = below(file, images)
    if name.suffix.lower() not in FORMATS:
        raise SegGenError(f"photo {file} is of a format that is not written", expected=", ".join(FORMATS), found=name.suffix or "no ending")
    return Photo(file, str(output / name), name.with_suffix("").as_posix())


@dataclass(frozen=True)
class Relight:
    """``relight(photo)`` writes one photo and tells what was wrong with it, or "". One that bears its origin's time is left."""

    light: str

    def __call__(self, photo: Photo) -> str:
        try:
            times, output = os.stat(photo.file), Path(photo.output)
            if not output.is_file() or output.stat().st_mtime_ns != times.st_mtime_ns:
                self._write(photo)
                os.utime(output, ns=(times.st_atime_ns, times.st_mtime_ns))
        except SegGenError as error:
            return str(error)
        return ""

    def _write(self, photo: Photo) -> None:
        image = open_image(photo.file)
        rng = np.random.default_rng(derive_seed("light", self.light, photo.name))
        made = Image.fromarray(relight(np.asarray(image), LIGHTS[self.light], rng))
        kind = FORMATS[Path(photo.output).suffix.lower()]
        with write_aside(photo.output) as aside:
            made.save(aside, kind, exif=image.info.get("exif", b""), **SAVING.get(kind, {}))
