// mediasoup's own negotiation, without its worker, as an independent judge of `sfu.core.ortc`.
// Standard input: [{router, kind, rtpParameters, cname, receivers: [rtpCapabilities]}].
// Standard output: [{capabilities, mapping, consumable, receivers: [{canConsume, consumer}]}]; null is what it refuses.
// `router` is either a list of media codecs, of which mediasoup makes its capabilities, or capabilities as they are.
import { json } from 'node:stream/consumers';
import * as ortc from 'mediasoup/ortc';

const refusals = new Set(['TypeError', 'UnsupportedError']);

function attempt(negotiate) {
	try {
		return negotiate();
	} catch (error) {
		if (refusals.has(error.name)) return null;
		throw error;
	}
}

function judge({ router, kind, rtpParameters, cname, receivers }) {
	const capabilities = Array.isArray(router) ? ortc.generateRouterRtpCapabilities(router) : router;
	const mapping = attempt(() => {
		ortc.validateAndNormalizeRtpParameters(rtpParameters);
		// As Transport.produce() does between the two.
		if (rtpParameters.encodings.length === 0) rtpParameters.encodings = [{}];
		rtpParameters.rtcp.cname = cname;
		return ortc.getProducerRtpParametersMapping(rtpParameters, capabilities);
	});
	if (mapping === null) return { capabilities, mapping };
	const consumable = ortc.getConsumableRtpParameters(kind, rtpParameters, capabilities, mapping);
	return {
		capabilities,
		mapping,
		consumable,
		receivers: receivers.map((receiver) => ({
			canConsume: attempt(() => ortc.canConsume(consumable, structuredClone(receiver))),
			consumer: attempt(() => {
				const remoteRtpCapabilities = structuredClone(receiver);
				ortc.validateAndNormalizeRtpCapabilities(remoteRtpCapabilities);
				return ortc.getConsumerRtpParameters({
					consumableRtpParameters: structuredClone(consumable),
					remoteRtpCapabilities,
					pipe: false,
					// For voice as well: we resend it without a repair format, so its receivers may ask.
					enableRtx: true,
				});
			}),
		})),
	};
}

process.stdout.write(JSON.stringify((await json(process.stdin)).map(judge)));
