from demo.collector import Collector
from support import WRITE_KEY, Init, capture


def test_an_error_of_a_known_user_arrives(collector: Collector, init: Init) -> None:
    init()
    event_id = capture(id=42)
    [message] = collector.wait_for_messages(1)
    assert (message["messageId"], message["userId"]) == (event_id, "42")
    assert collector.calls[0].write_key == WRITE_KEY
