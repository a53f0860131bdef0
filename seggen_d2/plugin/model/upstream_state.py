"""A module whose state dict speaks upstream Mask2Former's names, whatever wraps it and whoever loads it."""

from __future__ import annotations

from typing import Any

from torch import nn

from seggen_d2.modeling import Mask2Former
from seggen_d2.modeling.upstream_names import from_upstream, to_upstream, upstream_name

_NETWORK, _BACKBONE = "model.network.", "backbone."
_ENCODER = f"{_NETWORK}model.pixel_level_module.encoder."  # where the network holds the backbone
# Upstream's modules rename old keys where a file does not say that it is of version 2.
_VERSIONS = {"sem_seg_head": {"version": 2}, "sem_seg_head.predictor": {"version": 2}}


class _Named:
    """Any name within another; stands for modules that upstream has and this package has not."""

    def __getattr__(self, name: str) -> _Named:
        return self


class UpstreamState(nn.Module):
    """Holds ``model`` and, first, its backbone under the name ``backbone``; the state dict holds each weight once.

    Args:
        model: its network's weights are the whole state.
        counters: batch norms that are trained store how many batches they saw, as upstream.
    """

    def __init__(self, model: Mask2Former, *, counters: bool = False):
        super().__init__()
        self.backbone = model.backbone  # first, so that parameters are found under this name
        self.model, self._counters = model, counters
        self.register_load_state_dict_post_hook(_tell_upstream_names)

    @property
    def criterion(self) -> nn.Module:
        """Upstream's name for it."""
        return self.model.criterion

    @property
    def sem_seg_head(self) -> _Named:
        """Detectron2's checkpointers look up what holds a weight of another shape (of a class head, say) by its name."""
        return _Named()

    def state_dict(self, *, destination: Any = None, prefix: str = "", keep_vars: bool = False) -> dict[str, Any]:
        """The state in upstream's names: stock Mask2Former loads it, and Detectron2's checkpointer matches by it."""
        state = super().state_dict(destination=destination, prefix=prefix, keep_vars=keep_vars)
        start = prefix + _NETWORK
        for name in [name for name in state if name.startswith(prefix + _BACKBONE)]:
            del state[name]
        own = {name[len(start) :]: state.pop(name) for name in list(state) if name.startswith(start)}
        state.update({prefix + name: value for name, value in to_upstream(own, counters=self._counters).items()})
        if hasattr(state, "_metadata"):
            state._metadata.update({prefix + name: dict(version) for name, version in _VERSIONS.items()})
        return state

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        """Called before the parts load theirs: upstream's names become the parts', in place."""
        named = {name[len(prefix) :]: name for name in state_dict if name.startswith(prefix)}
        theirs = {short: state_dict.pop(name) for short, name in named.items()}
        own = from_upstream(theirs)
        for name, value in self.model.network.state_dict().items():
            if _has_no_counterpart(name):
                own.setdefault(name, value)
        known = self.model.network.state_dict().keys()
        for name, value in own.items():
            state_dict[prefix + (_NETWORK if name in known else "") + name] = value
            if name in known and (whole := _NETWORK + name).startswith(_ENCODER):
                state_dict[prefix + _BACKBONE + whole[len(_ENCODER) :]] = value
        super()._load_from_state_dict(state_dict, prefix, *args)


def _has_no_counterpart(name: str) -> bool:
    """What upstream does not store keeps its value: an unread norm, and batch counters where norms were frozen."""
    return not upstream_name(name) or name.endswith("num_batches_tracked")


def _tell_upstream_names(_: nn.Module, incompatible: Any) -> None:
    """Missing keys are told by upstream's names, each once."""
    keys = incompatible.missing_keys
    told: dict[str, None] = {}
    for key in keys:
        wrapper, network, name = key.partition(_NETWORK)
        if network:
            told[wrapper + (upstream_name(name) or name)] = None
        elif not key.startswith(_BACKBONE) and f".{_BACKBONE}" not in key:  # the backbone's are in the network's
            told[key] = None
    keys[:] = told
