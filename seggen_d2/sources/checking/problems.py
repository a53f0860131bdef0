"""What can be wrong with a dataset: the kinds of problem, how grave each is, and what to do about it."""

from __future__ import annotations

from dataclasses import dataclass

ERROR, WARNING, NOTE = "error", "warning", "note"
SEVERITIES = (ERROR, WARNING, NOTE)


@dataclass(frozen=True)
class Kind:
    """A kind of problem.

    Attributes:
        severity: ``error`` (training would stop or learn from wrong labels), ``warning`` or ``note``.
        title: what is wrong; it follows a number of files.
        remedy: what to do.
    """

    severity: str
    title: str
    remedy: str = ""


@dataclass(frozen=True)
class Problem:
    """One problem of one file.

    Attributes:
        kind: a key of ``KINDS``.
        file: the file, or the dataset's own.
        detail: expected and found, in a clause.
    """

    kind: str
    file: str
    detail: str = ""


KINDS: dict[str, Kind] = {
    "structure": Kind(ERROR, "the dataset cannot be opened", "mend what is named; datasets/README.md shows the forms"),
    "missing-mask": Kind(ERROR, "photos have no mask", "give each photo a PNG mask of the same stem, or take it out"),
    "missing-photo": Kind(ERROR, "masks or annotations have no photo", "copy the photos, or take the masks out"),
    "unreadable": Kind(ERROR, "files cannot be read", "they may be cut short: copy or make them again"),
    "lossy-mask": Kind(ERROR, "masks are JPEG or WebP, whose compression blurs ids", "make them again as PNG, from the original labels"),
    "color-mask": Kind(ERROR, "masks hold colours where ids were meant", "datasets/prepare_folder.py --colors TABLE makes ids of colours"),
    "id-range": Kind(ERROR, "masks hold ids that are no category", "add the categories, or make them the ignore id: prepare_folder.py --map-id FROM=TO"),
    "size": Kind(ERROR, "photo and mask (or annotation) differ in size", "pair each photo with its own mask; never resize one alone"),
    "exif": Kind(ERROR, "photos are turned by their EXIF data, their masks are not (or the other way)",
                 "turn the pixels and take the EXIF orientation out (exiftran -ai, jhead -autorot), or turn the mask"),
    "unknown-category": Kind(ERROR, "annotations are of a category that the list lacks", "use the category list that the annotations were made with"),
    "segment": Kind(ERROR, "panoptic masks and their JSON name different segments", "masks and JSON must come from one release"),
    "geometry": Kind(ERROR, "annotations have a broken polygon, run-length mask or box", "export the annotations again"),
    "leak": Kind(ERROR, "photos of the training set are in the other set, too (the same bytes)", "take them out of one: the verdict would be flattered"),
    "shifted": Kind(ERROR, "ids look one too high: 0 seems to mean unlabelled", "prepare_folder.py --reduce-zero takes 0 as unlabelled and 1 from all others"),
    "maybe-shifted": Kind(WARNING, "no pixel of any mask is unlabelled; 0 may have meant that",
                          "where it does: prepare_folder.py --reduce-zero; where each pixel is labelled all is well"),
    "empty-mask": Kind(WARNING, "masks label no pixel", "take these photos out: nothing can be learned from them"),
    "unused-category": Kind(WARNING, "categories never occur", "check the order of the names; take out what is never seen in the training set"),
    "rare-category": Kind(WARNING, "categories occur in fewer than 3 photos", "label more, merge them with others, or expect no score there"),
    "duplicate": Kind(WARNING, "photos are the same, byte for byte", "keep one of each"),
    "duplicate-id": Kind(ERROR, "annotations share an id", "number them anew"),
    "tiny": Kind(WARNING, "photos are under 64 pixels on a side", "generators and crops enlarge them; take them out if they are thumbnails"),
    "photo-mode": Kind(WARNING, "photos are not 8-bit RGB or grey", "they are converted as they are read; 16-bit ones are refused: save them as 8-bit RGB"),
    "turned": Kind(WARNING, "photos are to be turned by their EXIF data", "pixels are used as stored; turn them if the masks were drawn on the turned photo"),
    "box": Kind(WARNING, "boxes or areas do not fit their masks", "compute them again from the masks"),
    "unannotated": Kind(WARNING, "photos have no annotation", "they count as background; take them out if they were never labelled"),
    "id-gaps": Kind(NOTE, "the category ids have gaps", "all is well: they are numbered from 0 in the list's order (COCO's have gaps, too)"),
}
GRAVEST_FIRST = sorted(KINDS, key=lambda kind: SEVERITIES.index(KINDS[kind].severity))
