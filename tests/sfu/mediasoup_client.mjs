// The real mediasoup-client over its own fake handler, as an independent judge of our negotiation.
// Standard input: {routerRtpCapabilities, consume: [{kind, rtpParameters}]}.
// Standard output: {rtpCapabilities, produced: {audio, camera}, consumed: [codec's mimeType]}.
import { createRequire } from 'node:module';
import { json } from 'node:stream/consumers';

const require = createRequire(import.meta.url);
const { Device } = require('mediasoup-client');
const { FakeHandler } = require('mediasoup-client/handlers/FakeHandler');
const fakeParameters = require('mediasoup-client/fakeParameters');
const { FakeMediaStreamTrack } = require('fake-mediastreamtrack');

const { routerRtpCapabilities, consume } = await json(process.stdin);
const device = new Device({ handlerFactory: FakeHandler.createFactory(fakeParameters) });
await device.load({ routerRtpCapabilities });
if (!device.canProduce('audio') || !device.canProduce('video')) throw new Error('the device cannot produce');

const sending = device.createSendTransport(fakeParameters.generateTransportRemoteParameters());
const produced = {};
let name = '';
sending.on('connect', (_parameters, done) => done());
sending.on('produce', ({ rtpParameters }, done) => {
	produced[name] = rtpParameters;
	done({ id: name });
});
name = 'audio';
await sending.produce({ track: new FakeMediaStreamTrack({ kind: 'audio' }) });
name = 'camera';
await sending.produce({
	track: new FakeMediaStreamTrack({ kind: 'video' }),
	encodings: [{ maxBitrate: 100_000 }, { maxBitrate: 300_000 }, { maxBitrate: 900_000, scalabilityMode: 'L1T3' }],
});

const receiving = device.createRecvTransport(fakeParameters.generateTransportRemoteParameters());
receiving.on('connect', (_parameters, done) => done());
const consumed = [];
for (const [index, { kind, rtpParameters }] of consume.entries()) {
	const consumer = await receiving.consume({ id: `c${index}`, producerId: `p${index}`, kind, rtpParameters });
	consumed.push(consumer.rtpParameters.codecs[0].mimeType);
}
process.stdout.write(JSON.stringify({ rtpCapabilities: device.recvRtpCapabilities, produced, consumed }));
process.exit(0);
