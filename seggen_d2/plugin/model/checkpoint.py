"""Detectron2's checkpointer for files from anywhere: nothing in them runs, and what does not fit is an error."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from detectron2.checkpoint import DetectionCheckpointer

from seggen_d2.foundation.errors import SegGenError
from seggen_d2.modeling.mismatch import Mismatch, brief, compare
from seggen_d2.modeling.upstream_checkpoint import check_architecture, class_head, read_checkpoint
from seggen_d2.modeling.upstream_names import modern_name, to_upstream

_BACKBONE = "backbone_only"  # marks what has no weights beside the backbone's
TRANSFORMERS = "model.safetensors"  # in a folder that the transformers engine, or transformers itself, wrote


def check_weights(weights: str) -> None:
    """A file or folder that ``MODEL.WEIGHTS`` names is there; an address is not asked for.

    Raises:
        SegGenError: it is not.
    """
    path = Path(weights.partition("?")[0])
    if weights and "://" not in weights and not path.is_file() and not (path / TRANSFORMERS).is_file():
        raise SegGenError(
            f"MODEL.WEIGHTS: there is no checkpoint at {weights}",
            expected=f"a .pth or .pkl file, a folder with {TRANSFORMERS}, or an address",
            found="a folder without it" if path.is_dir() else "no such file",
            remedy="check the path (of a stage: START_WEIGHTS), or leave it out",
        )


class SafeCheckpointer(DetectionCheckpointer):
    """``DetectionCheckpointer`` for any model, with differences.

    ``.pkl`` files are read by a reader that builds arrays and tensors only, ``.pth`` files with weights only. Folders
    that transformers wrote are read too, such as the transformers engine's ``model_final``. A class head of another
    number of categories is left as it was drawn, and the log says so. A checkpoint of another architecture raises
    ``SegGenError``, where Detectron2 logs a warning and trains on.
    """

    def load(self, path: str, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """As Detectron2's.

        Raises:
            SegGenError: there is no file at ``path``, it cannot be read safely, or it is of another architecture.
        """
        if path and os.path.isfile(whole := os.path.join(path, TRANSFORMERS)):
            path = whole
        check_weights(path or "")
        return super().load(path, *args, **kwargs)

    def _load_file(self, filename: str) -> dict[str, Any]:
        self._source = filename
        if filename.endswith(".pyth"):
            raise SegGenError(f"checkpoint {filename} is of a kind that is not read", expected=".pth or .pkl", found=".pyth",
                              remedy="save its 'model_state' as a .pth file")
        if filename.endswith(".safetensors"):
            return self._from_transformers(filename)
        loaded = _content(filename) if filename.endswith(".pkl") else super()._load_file(filename)
        weights = loaded["model"]
        if not isinstance(weights, Mapping) or not all(isinstance(name, str) for name in weights):
            raise SegGenError(f"checkpoint {filename} holds no weights", expected="tensors by name, maybe under 'model'",
                              found=f"{weights!r:.80}", remedy="check the path")
        return loaded

    def _from_transformers(self, filename: str) -> dict[str, Any]:
        """Through transformers, which writes some names (Swin's) as earlier releases had them; of a segmenter, or of a backbone."""
        from safetensors import SafetensorError
        from transformers import Mask2FormerForUniversalSegmentation

        from seggen_d2.modeling.backbone_weights import backbone_state, holds_backbone

        counters = any(name.endswith("num_batches_tracked") for name in self.model.state_dict())
        if holds_backbone(folder := os.path.dirname(filename)):
            return {"model": to_upstream(backbone_state(folder), counters=counters), _BACKBONE: True}
        try:
            network = Mask2FormerForUniversalSegmentation.from_pretrained(folder, local_files_only=True)
        except (OSError, ValueError, RuntimeError, TypeError, SafetensorError) as error:
            raise SegGenError(f"transformers cannot read the folder of {filename}", expected="a Mask2Former with config.json",
                              found=str(error).splitlines()[0], remedy="check MODEL.WEIGHTS") from error
        return {"model": to_upstream(network.state_dict(), counters=counters)}

    def _torch_load(self, f: str) -> dict[str, Any]:
        return read_checkpoint(f)

    def _load_model(self, checkpoint: dict[str, Any]) -> Any:
        if checkpoint.get("matching_heuristics", False):
            return self._load_backbone(checkpoint)
        if checkpoint.pop(_BACKBONE, False):
            return self._load_named_backbone(checkpoint)
        own, state = self.model.state_dict(), checkpoint["model"]
        names = {self._name_in(own, name): name for name in state}
        mismatch = compare(own, {known: state[name] for known, name in names.items()})
        check_architecture(mismatch, self._source, backbone_only=False)
        head = class_head(mismatch)
        for name in head:
            del state[names[name]]
        incompatible = super()._load_model(checkpoint)
        if head:
            self.logger.warning("%s: %s", self._source, brief("re-initialised for another number of categories", head))
            incompatible.missing_keys[:] = [name for name in incompatible.missing_keys if name not in head]
        return incompatible

    def _load_backbone(self, checkpoint: dict[str, Any]) -> Any:
        """Detectron2 matches names by their ends, and passes over what it cannot match."""
        own, state = self.model.state_dict(), {f"backbone.{name}": value for name, value in checkpoint["model"].items()}
        incompatible = super()._load_model(checkpoint)
        missing = {name for name in incompatible.missing_keys if name.startswith("backbone.")}
        shapes = compare({name: own[name] for name in missing}, state).shapes
        unexpected = tuple(sorted(f"backbone.{name}" for name in incompatible.unexpected_keys))
        missing -= shapes.keys()
        check_architecture(Mismatch(tuple(sorted(missing)), unexpected, shapes), self._source, backbone_only=True)
        return incompatible

    def _load_named_backbone(self, checkpoint: dict[str, Any]) -> Any:
        """A backbone in upstream's names; the rest of the model stays as it was drawn."""
        own = {name: value for name, value in self.model.state_dict().items() if name.startswith("backbone.")}
        state = checkpoint["model"]
        check_architecture(compare(own, state), self._source, backbone_only=True)
        for name in state.keys() - own.keys():
            del state[name]
        incompatible = super()._load_model(checkpoint)
        incompatible.missing_keys[:] = [name for name in incompatible.missing_keys if name in own]
        self.logger.info("%s: a backbone; the rest is drawn at random", self._source)
        return incompatible

    @staticmethod
    def _name_in(own: dict[str, Any], name: str) -> str:
        """A key as the model has it: without the prefix of distributed training, and of today's release."""
        name = name.removeprefix("module.")
        return name if name in own else modern_name(name)


def _content(filename: str) -> dict[str, Any]:
    """A ``.pkl`` file with its weights under ``model``; Caffe2's have names of their own, to be matched."""
    content = read_checkpoint(filename)
    if "model" in content:
        return content
    blobs = content.get("blobs", content)
    if isinstance(blobs, Mapping):
        blobs = {name: value for name, value in blobs.items() if not str(name).endswith("_momentum")}
    return {"model": blobs, "__author__": "Caffe2", "matching_heuristics": True}
