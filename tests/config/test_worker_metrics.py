"""What a real media worker with real peers counts is found again under the operator's names."""

from __future__ import annotations

from pathlib import Path

import msgspec
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from config.metrics import worker_metrics
from meetings import metrics
from sfu import protocol as p
from sfu.core.reports import middle
from sfu.core.rtcp import Nack, PictureLossIndication, ReceiverReport, ReportBlock, SenderReport
from tests.sfu.peer import PeerTransport
from tests.sfu.senders import Vp8Sender, receiver_capabilities
from tests.sfu.worker import LoopWorker, Speaker, loop_worker
from tests.waiting import until


def published(worker: LoopWorker) -> dict[str, float]:
    """`name{labels}` and value of each sample, the worker's own label left out, through the heartbeat's JSON."""
    beat = msgspec.json.decode(msgspec.json.encode(worker.worker.heartbeat()), type=p.Heartbeat)

    class Collector:
        def collect(self):
            return worker_metrics([beat])

    registry = CollectorRegistry()
    registry.register(Collector())
    samples = {}
    for family in text_string_to_metric_families(generate_latest(registry).decode()):
        for sample in family.samples:
            labels = {key: value for key, value in sample.labels.items() if key != "worker"}
            assert sample.labels["worker"] == "sfu-test"
            samples[sample.name + "".join(f" {key}={value}" for key, value in labels.items())] = sample.value
    return samples


async def test_what_a_lossy_receiver_reports_is_published(tmp_path: Path) -> None:
    async with loop_worker(tmp_path) as worker:
        client = await worker.client()
        await client.request(p.OpenRoom(room="algebra"))
        tina = Speaker(client, "algebra", "tina")
        up = await tina.connect()
        await tina.produce(camera=1111)
        sam = {"room": "algebra", "peer": "sam"}
        await client.request(p.OpenPeer(**sam))
        made = await client.request(p.CreateTransport(**sam, direction="recv"))
        down = PeerTransport(made)
        await client.request(
            p.ConnectTransport(**sam, transport_id=made.transport_id, dtls_parameters=down.dtls_parameters)
        )
        await down.connect()
        consumer = await client.request(
            p.CreateConsumer(
                **sam,
                transport_id=made.transport_id,
                producer_id=tina.producers["camera"],
                rtp_capabilities=receiver_capabilities(),
            )
        )
        await client.request(p.ResumeConsumer(**sam, consumer_id=consumer.consumer_id))
        ssrc = consumer.rtp_parameters["encodings"][0]["ssrc"]

        sender = Vp8Sender(1111)
        packets = sender.frame(10, key=True)
        for packet in (*packets[:3], *packets[5:]):  # two are lost on their way up
            up.send_rtp(packet)
        up.send_rtcp(SenderReport(ssrc=1111, ntp_timestamp=1 << 40, rtp_timestamp=sender.timestamp))
        await down.packets(8)
        await up.until(lambda: any(isinstance(packet, Nack) for packet in up.rtcp))
        down.send_rtcp(PictureLossIndication(5, ssrc))
        down.send_rtcp(Nack(5, ssrc, [down.headers(ssrc)[1].sequence_number]))
        await down.until(lambda: len(down.headers(ssrc + 1)) == 1)
        await down.until(lambda: any(isinstance(packet, SenderReport) for packet in down.rtcp))
        report = next(packet for packet in down.rtcp if isinstance(packet, SenderReport))
        block = ReportBlock(ssrc=ssrc, fraction_lost=64, jitter=2250, last_sr=middle(report.ntp_timestamp))
        down.send_rtcp(ReceiverReport(5, [block]))
        await until(lambda: published(worker)["lectern_rtt_seconds_count"] == 1)

        samples = published(worker)
        assert samples["lectern_packet_total"] == 8
        assert samples["lectern_nack_total direction=in"] == 1
        assert samples["lectern_nack_total direction=out"] >= 2
        assert samples["lectern_pli_total direction=in"] == 1
        assert samples["lectern_pli_total direction=out"] >= 1
        assert samples["lectern_retransmission_total"] == 1
        assert samples["lectern_packet_loss_percent_sum"] == 25
        assert samples["lectern_packet_loss_percent_bucket le=20.0"] == 0
        assert samples["lectern_packet_loss_percent_bucket le=50.0"] == 1
        assert samples["lectern_jitter_seconds_sum"] == 0.025
        assert 0 < samples["lectern_rtt_seconds_sum"] < 2
        assert samples["lectern_ice_selected_total transport=udp"] == 2
        assert samples["lectern_sfu_worker_restarts_total"] == 0
        assert samples["lectern_forward_latency_seconds_count"] >= 1
        assert 0 < samples["lectern_forward_latency_seconds_sum"] < 1
        await down.close()
        await up.close()


def test_the_beat_of_a_worker_that_counts_none_of_it_yet_does_no_harm() -> None:
    beat = p.Heartbeat("sfu-0", "e", "127.0.0.1:1", [], "local", 0.25, 2, draining=False)
    assert {metric.name for metric in worker_metrics([beat])} >= {"lectern_nack", "lectern_rtt_seconds"}


def test_each_name_that_an_operators_dashboard_was_promised_is_there() -> None:
    """Of the media and the classrooms, as the specification names them."""
    beat = p.Heartbeat("sfu-0", "e", "127.0.0.1:1", [], "local", 0.25, 2, draining=False)
    counted_here = [metric for metric in vars(metrics).values() if isinstance(metric, Counter | Gauge | Histogram)]
    families = [*worker_metrics([beat]), *(family for metric in counted_here for family in metric.collect())]
    found = {family.name + ("_total" if family.type == "counter" else "") for family in families}
    promised = """
        packet_total packet_bytes_total nack_total pli_total packet_loss_percent jitter_seconds rtt_seconds
        forward_latency_seconds sfu_worker_restarts_total sfu_packets_dropped_total ice_selected_total
        track_published_total session_join_latency_seconds ws_connections chat_delivery_seconds
        channel_layer_overflow_total authz_denied_total quality_score path_selected_total
    """
    assert {f"lectern_{name}" for name in promised.split()} <= found
    labels = {label for family in families for sample in family.samples for label in sample.labels}
    assert not labels & {"user", "participant", "room", "peer", "consumer", "producer", "name"}
