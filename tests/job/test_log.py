import json
from pathlib import Path

import numpy as np
import pytest

from vitreous.job.log import EventLog, plain, read_events


def test_event_is_on_disk_when_the_call_returns(tmp_path):
    log = EventLog(tmp_path / "run.jsonl")
    log.event("iteration", iteration=3, resolution_A=np.float32(8.5))
    (event,) = read_events(tmp_path / "run.jsonl")
    assert (event["event"], event["iteration"], event["resolution_A"]) == ("iteration", 3, 8.5)
    assert event["time"].endswith("+00:00") and event["elapsed_s"] >= 0
    log.close()


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (np.float64("nan"), None),
        (float("inf"), None),
        (np.int32(4), 4),
        (np.bool_(True), True),
        (np.array([1.5, np.nan]), [1.5, None]),
        ({"a": (1, np.float32(2))}, {"a": [1, 2.0]}),
        (Path("x/y"), "x/y"),
        (None, None),
    ],
)
def test_plain_values_are_strict_json(value, expected):
    assert plain(value) == expected
    json.dumps(plain(value), allow_nan=False)


def test_log_survives_a_killed_writer(tmp_path):
    path = tmp_path / "run.jsonl"
    path.write_text('{"event": "start"}\n{"event": "iteration", "iter')
    log = EventLog(path)
    log.event("start", again=True)
    log.close()
    assert [event["event"] for event in read_events(path)] == ["start", "start"]
    assert [event["again"] for event in read_events(path, "start") if "again" in event] == [True]


def test_log_of_other_ranks_writes_nothing(tmp_path):
    log = EventLog(None)
    log.event("iteration", iteration=1)
    log.close()
    assert log.elapsed_s >= 0
