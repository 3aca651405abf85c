"""Transport-wide feedback: every packet is reported once, lost ones too, with the times at which they came."""

from hypothesis import given
from hypothesis import strategies as st

from sfu.core.feedback import BACK_WINDOW, INTERVAL, MAX_LEAP, MAX_STATUSES, TransportFeedbackRecorder
from sfu.core.rtcp import parse_compound
from sfu.core.transport_feedback import REFERENCE_TICKS, TICK, TransportFeedback
from tests.sfu.network import FakeNetwork
from tests.sfu.senders import Vp8Sender, vp8_parameters

MTU = 1200


def drain(recorder: TransportFeedbackRecorder, now: float) -> list[TransportFeedback]:
    """The reports that are due, as a browser reads them."""
    reports: list[TransportFeedback] = []
    for report in recorder.due(now):
        data = report.serialize()
        assert len(data) <= MTU
        [read] = parse_compound(data)
        assert isinstance(read, TransportFeedback)
        assert read.count == report.count
        reports.append(read)
    return reports


def arrivals(report: TransportFeedback) -> dict[int, float]:
    at = report.reference_time * REFERENCE_TICKS
    times = {}
    for sequence, delta in report.received:
        at += delta
        times[sequence & 0xFFFF] = at * TICK
    return times


def statuses(report: TransportFeedback) -> list[int]:
    return [number & 0xFFFF for number in range(report.base_sequence, report.base_sequence + report.count)]


def test_nothing_is_reported_before_anything_arrived():
    recorder = TransportFeedbackRecorder(1)
    assert recorder.empty
    assert recorder.next_at() is None
    assert recorder.due(now=10.0) == []


def test_a_report_is_due_a_tenth_of_a_second_after_the_first_arrival():
    recorder = TransportFeedbackRecorder(sender_ssrc=1, media_ssrc=2)
    recorder.received(5, now=10.0)
    recorder.received(6, now=10.09)
    assert recorder.next_at() == 10.0 + INTERVAL
    assert recorder.due(now=10.099) == []
    [report] = drain(recorder, now=10.0 + INTERVAL)
    assert (report.sender_ssrc, report.media_ssrc) == (1, 2)
    assert statuses(report) == [5, 6]
    assert recorder.empty


def test_arrival_times_are_told_within_a_tick():
    recorder = TransportFeedbackRecorder(1)
    came = {100: 10.0, 101: 10.0013, 102: 10.0509, 103: 10.0509, 104: 10.1801}
    for sequence, now in came.items():
        recorder.received(sequence, now)
    [report] = drain(recorder, now=10.2)
    told = arrivals(report)
    assert told.keys() == came.keys()
    assert all(abs(told[sequence] - came[sequence]) <= TICK for sequence in came)


def test_lost_packets_are_reported_as_such_also_between_two_reports():
    recorder = TransportFeedbackRecorder(1)
    recorder.received(10, 0.0)
    recorder.received(13, 0.01)
    [first] = drain(recorder, now=0.2)
    assert (statuses(first), list(arrivals(first))) == ([10, 11, 12, 13], [10, 13])
    recorder.received(16, 0.21)
    [second] = drain(recorder, now=0.4)
    assert (statuses(second), list(arrivals(second))) == ([14, 15, 16], [16])


def test_numbers_wrap():
    recorder = TransportFeedbackRecorder(1)
    for sequence in (65534, 65535, 1):
        recorder.received(sequence, 0.0)
    [report] = drain(recorder, now=0.2)
    assert (statuses(report), list(arrivals(report))) == ([65534, 65535, 0, 1], [65534, 65535, 1])


def test_reordered_packets_have_their_own_times():
    recorder = TransportFeedbackRecorder(1)
    for sequence, now in ((10, 0.0), (12, 0.010), (11, 0.030)):
        recorder.received(sequence, now)
    [report] = drain(recorder, now=0.2)
    assert arrivals(report)[11] > arrivals(report)[12]


def test_a_late_packet_is_reported_together_with_those_around_it():
    recorder = TransportFeedbackRecorder(1)
    for sequence in (10, 12, 13):
        recorder.received(sequence, 0.0)
    drain(recorder, now=0.1)
    recorder.received(11, 0.15)
    recorder.received(14, 0.16)
    [report] = drain(recorder, now=0.3)
    assert list(arrivals(report)) == [11, 12, 13, 14]


def test_a_repeated_packet_keeps_its_first_time():
    recorder = TransportFeedbackRecorder(1)
    recorder.received(10, 1.0)
    recorder.received(10, 1.05)
    [report] = drain(recorder, now=1.2)
    assert arrivals(report) == {10: 1.0}


def test_reports_are_numbered_round_and_round():
    recorder = TransportFeedbackRecorder(1)
    numbers = []
    for index in range(300):
        recorder.received(index, index * 1.0)
        numbers += [report.feedback_count for report in drain(recorder, now=index + 0.5)]
    assert numbers == [index & 0xFF for index in range(300)]


def test_a_flood_makes_several_reports_without_a_gap_between_them():
    recorder = TransportFeedbackRecorder(1)
    for sequence in range(0, 3 * MAX_STATUSES, 2):
        recorder.received(sequence, sequence * 0.0001)
    reports = drain(recorder, now=1.0)
    assert len(reports) >= 3
    told = [number for report in reports for number in statuses(report)]
    assert told == list(range(3 * MAX_STATUSES - 1))


def test_a_long_silence_makes_a_new_report_since_no_difference_can_express_it():
    recorder = TransportFeedbackRecorder(1)
    recorder.received(10, 0.0)
    recorder.received(11, 60.0)
    first, second = drain(recorder, now=60.1)
    assert arrivals(first) == {10: 0.0}
    assert arrivals(second) == {11: 60.0}


def test_a_leap_in_the_numbers_begins_anew():
    recorder = TransportFeedbackRecorder(1)
    recorder.received(10, 0.0)
    recorder.received(11 + MAX_LEAP, 0.01)
    [report] = drain(recorder, now=0.2)
    assert statuses(report) == [11 + MAX_LEAP]


def test_of_what_was_sent_to_another_address_nothing_is_told():
    recorder = TransportFeedbackRecorder(sender_ssrc=1)
    recorder.received(7, 1.0)
    recorder.restart()
    assert drain(recorder, 2.0) == []
    recorder.received(107, 3.0)
    [report] = drain(recorder, 3.1)
    assert (report.base_sequence, report.count) == (107, 1)


def test_the_clock_may_be_of_any_size():
    recorder = TransportFeedbackRecorder(1)
    recorder.received(10, 40_000_000.0)
    [report] = drain(recorder, now=40_000_001.0)
    assert list(arrivals(report)) == [10]


def test_memory_holds_half_a_second_of_arrivals():
    recorder = TransportFeedbackRecorder(1)
    for index in range(10_000):
        recorder.received(index & 0xFFFF, index * 0.001)
        recorder.due(index * 0.001)
    assert len(recorder._arrivals) <= (BACK_WINDOW + 2 * INTERVAL) * 1000


@given(
    st.integers(0, 0xFFFF),
    st.lists(st.tuples(st.integers(-50, 50) | st.integers(0, 0xFFFF), st.floats(0, 20)), max_size=80),
)
def test_whatever_arrives_each_report_can_be_read_and_never_tells_a_number_twice(first, steps):
    recorder = TransportFeedbackRecorder(1)
    now, sequence = 0.0, first
    for step, wait in steps:
        sequence = sequence + step & 0xFFFF
        now += wait
        recorder.received(sequence, now)
        told = [number for report in drain(recorder, now) for number in statuses(report)]
        assert len(told) == len(set(told))
    drain(recorder, now + 1)
    assert recorder.empty


def test_a_transport_reports_when_packets_came_and_not_when_it_had_time_for_them():
    network = FakeNetwork()
    tina = network.join("tina", "send")
    network.produce(tina, "video", vp8_parameters(1111))
    for number, packet in enumerate(Vp8Sender(1111).frame(5, key=True)):
        tina.transport.receive_rtp(packet, len(packet), network.now, network.now - 0.05 + number * 0.004)
    network.advance(0.2)
    [report] = tina.heard(TransportFeedback)
    apart = [delta * TICK for _, delta in report.received[1:]]
    assert len(apart) == 4
    assert all(abs(seconds - 0.004) <= TICK for seconds in apart), "though they were read in one instant"
