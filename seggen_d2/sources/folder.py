"""Any folder of images and masks."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from seggen_d2.foundation.errors import SegGenError
from seggen_d2.segmentation import Categories

from .records import image_size

IMAGE_ENDINGS = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp")


def images_below(folder: Path) -> list[Path]:
    """The image files below ``folder`` by name; hidden ones, and those in hidden folders (notebooks' checkpoints), are none."""
    found = (p for p in folder.rglob("*") if p.suffix.lower() in IMAGE_ENDINGS)
    return sorted(p for p in found if not any(part[0] == "." for part in p.relative_to(folder).parts))


def by_id(folder: Path, files: Iterable[Path]) -> dict[str, Path]:
    """Image files by what they are called: their paths below ``folder``, without their endings.

    Raises:
        SegGenError: two are called the same, and would have one mask.
    """
    found: dict[str, Path] = {}
    for file in files:
        first = found.setdefault(file.relative_to(folder).with_suffix("").as_posix(), file)
        if first is not file:
            raise SegGenError(f"two photos in {folder} differ by their ending alone", found=f"{first.name} and {file.name}", remedy="rename one of them")
    return found


@dataclass(frozen=True)
class FolderSource:
    """A labelled dataset on disk.

    Args:
        name: the dataset's name.
        images: folder of images, read recursively.
        masks: folder of masks; ``masks/a/b.png`` belongs to ``images/a/b.jpg``.
        categories: the label space of the masks.
        attributes: per ``image_id``, words for the captioner.
        limit: use the first so many images by name; 0 for all.
        listed: the ids of the images to use; None takes the whole folder.
    """

    name: str
    images: Path
    masks: Path
    categories: Categories
    attributes: dict[str, dict[str, Any]] = field(default_factory=dict)
    limit: int = 0
    task: str = "semantic"
    listed: tuple[str, ...] | None = None

    def records(self) -> list[dict[str, Any]]:
        """All records by name; image headers were read once for their sizes.

        Raises:
            SegGenError: a folder is missing or empty, an image has no mask, or a header cannot be read.
        """
        return [dict(record) for record in self._records]

    @cached_property
    def _records(self) -> list[dict[str, Any]]:
        return [self.record(file) for file in self.files]

    @cached_property
    def files(self) -> list[Path]:
        """The images by name; each has a mask.

        Raises:
            SegGenError: a folder is missing or empty, or an image has no mask.
        """
        files = self.image_files()
        self.check_masks(files, [self.mask_of(file) for file in files])
        return files

    def check_masks(self, images: list[Path], masks: list[Path]) -> None:
        """Each image has its mask.

        Raises:
            SegGenError: some have none; the first is named.
        """
        missing = [pair for pair in zip(images, masks, strict=True) if not pair[1].is_file()]
        if missing:
            raise SegGenError(f"dataset {self.name}: {len(missing)} of {len(images)} images have no mask",
                              expected=str(missing[0][1]), found=f"no such file, for {missing[0][0]}",
                              remedy="give each image a PNG mask of the same stem, or take the image out")

    def image_files(self) -> list[Path]:
        """The images by name; hidden files are none.

        Raises:
            SegGenError: a folder is missing or empty, or two images differ by their ending alone.
        """
        for folder in (self.images, self.masks):
            if not folder.is_dir():
                raise SegGenError(f"dataset {self.name}: folder {folder} does not exist", remedy="check the paths in the dataset's YAML file")
        files = images_below(self.images)
        if not files:
            raise SegGenError(f"dataset {self.name}: folder {self.images} holds no images", expected=", ".join(IMAGE_ENDINGS), found="none")
        known = by_id(self.images, files)
        return (files if self.listed is None else self._chosen(known, self.listed))[: self.limit or None]

    def _chosen(self, known: dict[str, Path], listed: tuple[str, ...]) -> list[Path]:
        lacking = [name for name in listed if name not in known]
        if lacking or not listed:
            raise SegGenError(f"dataset {self.name}: its list of images names {len(lacking)} of {len(listed)} that are not there",
                              expected=f"ids of images in {self.images}, such as {next(iter(known))}", found=", ".join(lacking[:5]) or "an empty list",
                              remedy="mend the list (key files), or copy the images")
        return sorted(known[name] for name in set(listed))

    def image_id(self, image: Path) -> str:
        """What an image is called: its path below the folder, without its ending."""
        return image.relative_to(self.images).with_suffix("").as_posix()

    def mask_of(self, image: Path) -> Path:
        """Where the mask of one of :attr:`files` lies."""
        return (self.masks / image.relative_to(self.images)).with_suffix(".png")

    def record(self, image: Path) -> dict[str, Any]:
        """The record of one of :attr:`files`.

        Raises:
            SegGenError: the image's header cannot be read.
        """
        image_id = self.image_id(image)
        height, width = image_size(image)
        record = {"file_name": str(image), "sem_seg_file_name": str(self.mask_of(image)), "height": height, "width": width,
                  "image_id": image_id, "source_id": image_id}
        return {**record, "attributes": self.attributes[image_id]} if image_id in self.attributes else record

