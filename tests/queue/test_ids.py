"""The ids of runs: new ones stand behind older ones, and none can be guessed from another."""

from penstock.queue.ids import new_run_id

NOW_MS = 1_800_000_000_000


def test_ids_stand_in_the_order_of_their_times() -> None:
    times = [0, 1, NOW_MS, NOW_MS + 1, NOW_MS + 16, 16**11 - 1]
    ids = [new_run_id(now_ms) for now_ms in times]
    assert ids == sorted(ids)
    assert len({len(one) for one in ids}) == 1


def test_ids_of_one_moment_share_nothing_but_the_time() -> None:
    ids = [new_run_id(NOW_MS) for _ in range(1000)]
    assert len(set(ids)) == 1000
    assert all(len({one[place] for one in ids}) == 36 for place in range(-17, 0))
    assert all(one.removeprefix("run_").isalnum() for one in ids)
