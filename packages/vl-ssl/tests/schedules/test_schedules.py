"""Schedules against the counts that define them, and their order as a function of seed, epoch and position."""

from __future__ import annotations

from collections import Counter

import pytest
from torch.utils.data import DataLoader
from vl_ssl.schedules.chunks import Accumulate, Continual, LastK, MultiEpoch
from vl_ssl.schedules.hybrid import Hybrid
from vl_ssl.schedules.schedule import Scheduled

SIZE, EPOCHS = 13, 5  # chunks of 2, 3, 2, 3 and 3 samples


def schedules(seed=0):
    """One of each kind, always made anew."""
    return {
        "multi-epoch": MultiEpoch(SIZE, EPOCHS, seed=seed),
        "continual": Continual(SIZE, EPOCHS, seed=seed),
        "accumulate": Accumulate(SIZE, EPOCHS, seed=seed),
        "last two": LastK(SIZE, EPOCHS, k=2, seed=seed),
        "last fifth": LastK(SIZE, EPOCHS, k=2, moving=False, chunks=10, seed=seed),
        "hybrid": hybrid(30, seed=seed),
    }


def hybrid(switch_at, *, seed=0):
    return Hybrid(Continual(SIZE, EPOCHS, seed=seed), MultiEpoch(SIZE, EPOCHS, seed=seed), switch_at=switch_at)


KINDS = sorted(schedules())


def epochs_of(schedule):
    """Samples by epoch."""
    run = [schedule.index(position) for position in range(schedule.positions)]
    return [run[start : start + schedule.size] for start in range(0, len(run), schedule.size)]


def chunks_of(continual):
    return [set(epoch) for epoch in epochs_of(continual)]


@pytest.mark.parametrize("kind", KINDS)
def test_order_is_a_function_of_seed_and_position_alone(kind):
    forward = [schedules()[kind].index(position) for position in range(SIZE * EPOCHS)]
    again = schedules()[kind]
    assert [again.index(position) for position in reversed(range(SIZE * EPOCHS))] == forward[::-1]
    assert list(schedules()[kind]) == forward
    assert [schedules(seed=1)[kind].index(position) for position in range(SIZE * EPOCHS)] != forward
    assert set(forward) <= set(range(SIZE))


def test_order_is_that_of_the_first_release():
    assert list(Continual(SIZE, EPOCHS))[:15] == [7, 5, 7, 5, 5, 7, 5, 7, 7, 5, 5, 7, 5, 6, 0]
    assert list(Continual(SIZE, EPOCHS, seed=1))[-4:] == [0, 10, 7, 10]


def test_each_epoch_of_all_data_is_a_permutation_of_its_own():
    epochs = epochs_of(MultiEpoch(SIZE, EPOCHS))
    assert all(sorted(epoch) == list(range(SIZE)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == EPOCHS


def test_continual_shows_each_chunk_in_its_epoch_and_in_no_other():
    chunks = chunks_of(Continual(SIZE, EPOCHS))
    assert [len(chunk) for chunk in chunks] == [2, 3, 2, 3, 3]
    assert sorted(index for chunk in chunks for index in chunk) == list(range(SIZE))


def test_continual_repeats_a_hundredth_of_the_data_a_hundred_times_as_the_paper_does():
    epochs = epochs_of(Continual(1000, 100))
    assert all(set(Counter(epoch).values()) == {100} and len(set(epoch)) == 10 for epoch in epochs)
    assert len(set().union(*epochs)) == 1000


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "hybrid"])
def test_what_an_epoch_shows_comes_equally_often_up_to_one_and_newly_shuffled_each_turn(kind):
    for epoch in epochs_of(schedules()[kind]):
        counts = Counter(epoch).values()
        assert max(counts) - min(counts) <= 1
        shown = len(set(epoch))
        turns = [epoch[start : start + shown] for start in range(0, SIZE, shown)]
        assert all(len(set(turn)) == len(turn) for turn in turns)
    repeated = epochs_of(Continual(100, 2))[0]
    assert repeated[:50] != repeated[50:]


def test_accumulate_adds_a_chunk_an_epoch_and_the_window_keeps_the_last():
    chunks = chunks_of(Continual(SIZE, EPOCHS))
    for epoch, shown in enumerate(epochs_of(Accumulate(SIZE, EPOCHS))):
        assert set(shown) == set().union(*chunks[: epoch + 1])
    for epoch, shown in enumerate(epochs_of(LastK(SIZE, EPOCHS, k=2))):
        assert set(shown) == set().union(*chunks[max(0, epoch - 1) : epoch + 1])


def test_a_window_that_stands_shows_the_same_share_every_epoch():
    epochs = epochs_of(LastK(1000, 3, k=20, moving=False, chunks=100))
    assert len({frozenset(epoch) for epoch in epochs}) == 1
    assert len(set(epochs[0])) == 200
    assert set(Counter(epochs[0]).values()) == {5}


def test_fewer_chunks_than_epochs_each_last_equally_long():
    chunks = chunks_of(Continual(SIZE, 6, chunks=3))
    assert chunks[0] == chunks[1] != chunks[2] == chunks[3] != chunks[4] == chunks[5]
    assert [Accumulate(SIZE, 6, chunks=3).chunk_of(epoch) for epoch in range(6)] == [0, 0, 1, 1, 2, 2]


@pytest.mark.parametrize("switch_at", [0, 17, 26, SIZE * EPOCHS])
def test_hybrid_is_the_first_before_the_switch_and_the_second_from_it_on(switch_at):
    first, second = Continual(SIZE, EPOCHS, seed=3), MultiEpoch(SIZE, EPOCHS, seed=4)
    expected = [(second if at >= switch_at else first).index(at) for at in range(SIZE * EPOCHS)]
    assert list(Hybrid(first, second, switch_at=switch_at)) == expected
    triggered = Hybrid(first, second)
    assert [next(iter(triggered)) for _ in range(switch_at)] == expected[:switch_at]
    assert triggered.switch(switch_at)
    assert list(triggered) == expected[switch_at:]


def test_a_reset_forgets_position_and_triggered_switch():
    for given in (None, 30):
        schedule = Hybrid(Continual(SIZE, EPOCHS), MultiEpoch(SIZE, EPOCHS), switch_at=given)
        fresh = schedule.state_dict()
        schedule.position = 20
        schedule.switch(21)
        schedule.reset()
        assert schedule.state_dict() == fresh


def test_hybrid_never_goes_back():
    schedule = Hybrid(Continual(SIZE, EPOCHS), MultiEpoch(SIZE, EPOCHS), switch_at=30)
    assert not schedule.switch(30)
    assert not schedule.switch(50)
    assert schedule.switch(20)
    assert (schedule.switched_at, schedule.switch(25)) == (20, False)
    schedule.position = 40
    with pytest.raises(ValueError, match=r"position must not be behind the run's, 40, got 39"):
        schedule.switch(39)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("stop", [0, 1, 20, 64, 65])
def test_a_state_resumes_in_the_middle_of_an_epoch(kind, stop):
    whole, interrupted, resumed = list(schedules()[kind]), schedules()[kind], schedules()[kind]
    seen = [index for index, _ in zip(interrupted, range(stop), strict=False)]
    interrupted.position = stop  # `zip` asks for one more
    state = interrupted.state_dict()
    assert all(type(value) is int for value in state.values())
    resumed.load_state_dict(state)
    assert len(resumed) == SIZE * EPOCHS - stop
    assert seen + list(resumed) == whole


def test_a_switch_that_was_triggered_belongs_to_the_state():
    switched = schedules()["hybrid"]
    switched.position = 20
    switched.switch(22)
    resumed = schedules()["hybrid"]
    resumed.load_state_dict(switched.state_dict())
    assert resumed.switched_at == 22
    assert list(resumed) == list(switched)
    assert schedules()["hybrid"].describe() == switched.describe()


@pytest.mark.parametrize("inside_first", [True, False])
def test_switches_of_nested_hybrids_belong_to_the_state(inside_first):
    def nested():
        inner, outer = Hybrid(Continual(SIZE, EPOCHS), MultiEpoch(SIZE, EPOCHS)), LastK(SIZE, EPOCHS, k=1)
        return Hybrid(*((inner, outer) if inside_first else (outer, inner)))

    schedule, resumed = nested(), nested()
    inner = schedule.first if inside_first else schedule.second
    fresh, parts = schedule.state_dict(), [inner, schedule]
    for part, at in zip(parts, (22, 40) if inside_first else (45, 30), strict=True):
        assert part.switch(at)
        resumed.load_state_dict(schedule.state_dict())
        assert resumed.state_dict() == schedule.state_dict()
    assert list(resumed) == list(schedule)
    schedule.reset()
    assert schedule.state_dict() == fresh


@pytest.mark.parametrize("workers", [0, 2])
def test_a_schedule_is_a_sampler_of_any_loader(workers):
    schedule = Continual(SIZE, EPOCHS)
    loader = DataLoader(range(SIZE), batch_size=4, sampler=schedule, num_workers=workers)
    trained = next(iter(loader)).tolist()
    assert schedule.position >= 4  # workers ask ahead
    schedule.position = 4
    assert len(loader) == 16  # 61 that are left, in fours
    assert trained + [index for batch in loader for index in batch.tolist()] == list(Continual(SIZE, EPOCHS))


def test_a_scheduled_data_set_has_a_sample_at_every_position():
    schedule = Accumulate(3, 3)
    scheduled = Scheduled("abc", schedule)
    assert [scheduled[position] for position in range(9)] == ["abc"[index] for index in Accumulate(3, 3)]
    assert schedule.position == 0


def test_descriptions_tell_schedules_apart():
    described = [str(schedule.describe()) for seed in (0, 1) for schedule in schedules(seed).values()]
    assert len(set(described)) == len(described)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: MultiEpoch(0, 1), r"size must be at least 1, got 0"),
        (lambda: MultiEpoch(1, 0), r"epochs must be at least 1, got 0"),
        (lambda: Continual(3, 4), r"chunks must lie in 1\.\.3, one sample each at the least, got 4"),
        (lambda: Continual(9, 2, chunks=3), r"chunks must be at most epochs, .* got 3 chunks in 2 epochs"),
        (lambda: Accumulate(9, 2, chunks=3), r"got 3 chunks in 2 epochs"),
        (lambda: LastK(9, 2, k=1, chunks=3), r"got 3 chunks in 2 epochs"),
        (lambda: LastK(9, 3, k=4), r"k must lie in 1\.\.3, the number of chunks, got 4"),
        (
            lambda: Hybrid(MultiEpoch(3, 2), MultiEpoch(3, 3)),
            r"the same size, epochs and length, got 3 samples in 2 epochs of 3 and",
        ),
        (lambda: Hybrid(MultiEpoch(3, 2), MultiEpoch(3, 2), switch_at=7), r"switch_at must lie in 0\.\.6, .* got 7"),
        (lambda: Hybrid(MultiEpoch(3, 2), MultiEpoch(3, 2)).switch(-1), r"position must lie in 0\.\.6, .* got -1"),
        (lambda: setattr(MultiEpoch(3, 2), "position", 7), r"position must lie in 0\.\.6, .* got 7"),
        (lambda: Scheduled("ab", MultiEpoch(3, 2)), r"for the 2 samples of the data set, got one for 3"),
        (
            lambda: MultiEpoch(3, 2).load_state_dict(MultiEpoch(3, 2, seed=5).state_dict()),
            r"a schedule with seed 5, here 0; make this one with the same arguments",
        ),
        (lambda: hybrid(30).load_state_dict(hybrid(31).state_dict()), r"a schedule with switch_at 31, here 30; make"),
        (lambda: hybrid(30).load_state_dict(hybrid(None).state_dict()), r"switch_at -1, here 30"),
        (lambda: hybrid(None).load_state_dict(hybrid(30).state_dict()), r"switch_at 30, here -1"),
        (
            lambda: MultiEpoch(3, 2).load_state_dict(Continual(3, 2).state_dict()),
            r"state must hold .* another kind of schedule",
        ),
    ],
)
def test_errors_say_what_was_expected_and_what_came(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize("position", [-1, 6])
def test_a_position_outside_the_run_is_an_index_error(position):
    with pytest.raises(IndexError, match=r"position must lie in 0\.\.5 in a run of 2 epochs of 3, got"):
        MultiEpoch(3, 2).index(position)


def test_an_epoch_may_have_another_length_than_the_data():
    every = MultiEpoch(6, epochs=4, length=9)
    seen = list(every)
    assert len(seen) == 36
    assert [seen.count(index) for index in range(6)] == [6] * 6
    parts = Continual(6, epochs=3, length=4)
    assert [len({parts.index(4 * epoch + offset) for offset in range(4)}) for epoch in range(3)] == [2, 2, 2]
    short = Continual(12, epochs=2, length=3)
    assert len({short.index(position) for position in range(6)}) == 6
    with pytest.raises(ValueError, match="length 4, here 3"):
        Continual(6, epochs=3, length=3).load_state_dict(parts.state_dict())
    with pytest.raises(ValueError, match="length must be at least 1"):
        MultiEpoch(6, epochs=4, length=0)
