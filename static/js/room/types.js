// @ts-check
/**
 * The shapes that pass between the classroom's modules; on the wire they are as docs/protocol.md has them.
 *
 * @typedef {'microphone' | 'camera' | 'screen' | 'screen_audio'} Source
 * @typedef {'audio' | 'video'} Kind
 * @typedef {'host' | 'co-host' | 'presenter' | 'attendee' | 'guest'} Role
 *
 * @typedef {object} ProducerInfo a stream that somebody sends
 * @property {string} producer_id
 * @property {string} participant_id
 * @property {Kind} kind
 * @property {Source} source
 * @property {boolean} paused
 * @property {boolean} [former] its id is of a worker that is gone, and it still comes past the worker
 *
 * @typedef {object} Participant
 * @property {string} participant_id
 * @property {string} name
 * @property {Role} role
 * @property {boolean} connected false while a person reconnects
 * @property {boolean} [consent] has agreed to be recorded
 * @property {boolean} [records_here] records the class on a device of their own
 *
 * @typedef {object} ChatMessage
 * @property {string} message_id
 * @property {string} participant_id
 * @property {string} [name]
 * @property {Role} [role]
 * @property {string} message
 * @property {string} [type]
 * @property {string} sent_at ISO 8601
 * @property {string | null} [client_id] the sender's own key
 *
 * @typedef {object} Recording
 * @property {string} [recording_id]
 * @property {string} [started_at] ISO 8601
 * @property {'recording' | 'stopped' | string} status
 * @property {number} [progress] 0 to 100
 * @property {number} [elapsed] seconds recorded, at the moment `since`
 * @property {number} [since] ms
 * @property {'all' | 'teachers'} [who]
 * @property {string} [error]
 *
 * @typedef {object} Stream the class as it is shown outside
 * @property {string} stream_id
 * @property {string} url of its page
 * @property {'hls' | 'rtmp'} target
 * @property {'public' | 'course'} access
 * @property {string} status
 *
 * @typedef {object} LiveMedia what of our media the worker still has after a reconnect
 * @property {string | null} epoch differs for each start of a worker: ids of another epoch are void
 * @property {{transport_id: string}[]} transports
 * @property {{producer_id: string}[]} producers
 * @property {{consumer_id: string}[]} consumers
 *
 * @typedef {object} JoinAnswer
 * @property {string} session
 * @property {boolean} resumed true: the missed events follow; false: this is the whole snapshot
 * @property {{participant_id: string, role: Role, [key: string]: any}} you
 * @property {any[]} [participants]
 * @property {string | null} [participants_next] a large room's people come in pages: ask for those after this one
 * @property {any} [chat]
 * @property {any} [recording]
 * @property {Stream | null} [stream]
 * @property {string | null} [consent_asked] the recording that one has not agreed to yet
 * @property {{encrypted: boolean, [key: string]: any}} [settings]
 * @property {import('./media/direct.js').Pair | null} [p2p]
 * @property {number} [last_seq]
 * @property {import('mediasoup-client').types.RtpCapabilities | null} [rtp_capabilities]
 * @property {RTCIceServer[]} [ice_servers]
 * @property {LiveMedia | null} [media]
 *
 * @typedef {object} Boot what the server writes into the page
 * @property {string} code
 * @property {string} title
 * @property {string} socket_url
 * @property {string | null} token
 * @property {string} name
 * @property {Role} role
 * @property {string} csrf
 * @property {string[]} can
 * @property {boolean} encrypted end to end
 * @property {Record<string, string>} unavailable what nobody can do in this class, by permission, and why
 * @property {string | null} lesson_url
 * @property {Record<string, string>} recording how the lesson wants to be recorded
 * @property {Record<string, number>} limits
 *
 * @typedef {(event: string, data?: object, options?: {timeout?: number}) => Promise<any>} Request
 */
export {};
