"""SegGenMask2Former: the compiled-op-free Mask2Former behind Detectron2's interface, and its checkpoints."""
