"""Curves over seeds that were recorded at different steps."""

import pytest
from vl_rl.training.comparison import curve_of


def test_values_between_recorded_steps_are_interpolated_within_the_common_range():
    curve = curve_of("sac", {0: {0: 0.0, 10: 10.0, 20: 0.0}, 1: {5: 1.0, 15: 3.0, 25: 9.0}})
    assert curve.steps == [5, 10, 15, 20]
    assert curve.seeds == {0: [5.0, 10.0, 5.0, 0.0], 1: [1.0, 2.0, 3.0, 6.0]}


def test_equal_steps_keep_their_values_and_one_common_step_is_enough():
    values = {0: 0.1, 3: 0.3, 7: 0.7}
    assert curve_of("sac", {0: values, 1: values}).seeds[1] == list(values.values())
    curve = curve_of("sac", {0: {0: 1.0, 10: 2.0}, 1: {10: 4.0}})
    assert (curve.steps, curve.middle) == ([10], [3.0])


def test_seeds_without_a_common_range_are_refused():
    with pytest.raises(ValueError, match="the runs of sac must have a range of steps in common, but one ends at 5"):
        curve_of("sac", {0: {0: 1.0, 5: 1.0}, 1: {6: 1.0}})
