"""MaskSyn and ImgSyn as deterministic jobs: a plan, mask makers, a quality filter, local workers."""
