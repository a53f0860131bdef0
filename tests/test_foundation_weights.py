"""Weights of sampling: parts of the greatest, and what is said of those of no use."""

import numpy as np
import pytest

from seggen_d2.foundation.errors import SegGenError
from seggen_d2.foundation.weights import relative_weights


def test_weights_become_parts_of_the_greatest_whatever_their_scale():
    parts = relative_weights([1, 0, 4], "weights", "")
    assert parts.tolist() == [0.25, 0.0, 1.0]
    np.testing.assert_array_equal(relative_weights(np.array([1, 0, 4]) * 2.0**40, "weights", ""), parts)


@pytest.mark.parametrize(("weights", "found"), [
    ([1.0, -1.0, float("nan")], r"-1.0 at position 1 \(2 such\)"), ([1.0, float("inf")], "inf at position 1"), ([0.0, 0.0], "all 0"),
    ([], "none"), (["much"], "could not convert"),
])
def test_weights_of_no_use_are_told_with_a_remedy(weights, found):
    with pytest.raises(SegGenError, match=f"the column cannot serve as weights(?s:.)*{found}(?s:.)*mend it"):
        relative_weights(weights, "the column", "mend it")
