// @ts-check
/** What may be wrong with a microphone or camera, what a person can do about it, and what we ask devices for. */

/**
 * @typedef {'microphone' | 'camera' | 'screen'} DeviceKind
 * @typedef {'refused' | 'in_use' | 'missing' | 'insecure' | 'broken'} Problem
 * @typedef {{problem: Problem, title: string, advice: string}} Trouble
 */

/** @type {Record<string, Problem>} DOMException names of getUserMedia; older Firefox and Chrome versions included */
const PROBLEMS = {
  NotAllowedError: "refused",
  PermissionDeniedError: "refused",
  SecurityError: "insecure",
  NotFoundError: "missing",
  DevicesNotFoundError: "missing",
  OverconstrainedError: "missing",
  NotReadableError: "in_use",
  TrackStartError: "in_use",
  AbortError: "in_use",
};

/** @type {Record<Problem, (name: string) => Omit<Trouble, 'problem'>>} */
const ADVICE = {
  refused: (name) => ({
    title: `The browser may not use your ${name}`,
    advice: `Click the camera or lock symbol beside the address, allow the ${name}, then switch it on here again.`,
  }),
  in_use: (name) => ({
    title: `Your ${name} is in use elsewhere`,
    advice: `Close the other program or tab that uses the ${name}, then switch it on here again.`,
  }),
  missing: (name) => ({
    title: `No ${name} was found`,
    advice: `Plug one in, or choose another ${name} in Settings. You can take part without it.`,
  }),
  insecure: (name) => ({
    title: `The ${name} needs a secure page`,
    advice: `Browsers give a ${name} only to pages opened with https:// or on this same computer. Ask for the https link.`,
  }),
  broken: (name) => ({
    title: `Your ${name} could not be started`,
    advice: `Unplug it and plug it in again, or choose another ${name} in Settings.`,
  }),
};

/**
 * @param {unknown} error what getUserMedia threw
 * @param {DeviceKind} kind
 * @returns {Trouble}
 */
export function explainDeviceError(error, kind) {
  const name = error instanceof Error || error instanceof Object ? /** @type {{name?: string}} */ (error).name : "";
  const problem = PROBLEMS[name ?? ""] ?? "broken";
  return { problem, ...ADVICE[problem](kind) };
}

/** @param {Problem} problem @param {DeviceKind} kind @returns {Trouble} */
export function troubleWith(problem, kind) {
  return { problem, ...ADVICE[problem](kind) };
}

/** @param {string} [deviceId] @returns {MediaTrackConstraints} */
export function microphoneConstraints(deviceId) {
  return {
    ...(deviceId ? { deviceId: { ideal: deviceId } } : {}),
    echoCancellation: true, noiseSuppression: true, autoGainControl: true,
  };
}

/**
 * @param {string} [deviceId]
 * @param {boolean} [phone] a phone's battery and uplink carry 360p
 * @returns {MediaTrackConstraints}
 */
export function cameraConstraints(deviceId, phone = false) {
  return {
    ...(deviceId ? { deviceId: { ideal: deviceId } } : { facingMode: "user" }),
    width: { ideal: phone ? 640 : 1280 },
    height: { ideal: phone ? 360 : 720 },
    frameRate: phone ? { ideal: 18, max: 20 } : { ideal: 30, max: 30 },
  };
}

/**
 * The layers a camera is sent in: 180p, 360p and 720p with the bit rates of the product's table. A picture below
 * 480 lines is sent once: its halves would help nobody. Each in three temporal layers: where a line is too thin for all
 * frames, or a page wants fewer, the worker leaves out every other one, or three of four.
 * @param {number} width
 * @param {number} height
 * @returns {{scaleResolutionDownBy?: number, maxBitrate: number, scalabilityMode: string}[]} the smallest first
 */
export function cameraEncodings(width, height) {
  const lines = Math.min(width, height);
  return layersOf(lines).map((layer) => ({ ...layer, scalabilityMode: "L1T3" }));
}

/** @param {number} lines @returns {{scaleResolutionDownBy?: number, maxBitrate: number}[]} */
function layersOf(lines) {
  if (lines >= 700) {
    return [
      { scaleResolutionDownBy: 4, maxBitrate: 150_000 },
      { scaleResolutionDownBy: 2, maxBitrate: 500_000 },
      { scaleResolutionDownBy: 1, maxBitrate: 1_500_000 },
    ];
  }
  if (lines >= 480) {
    return [
      { scaleResolutionDownBy: 2, maxBitrate: 150_000 },
      { scaleResolutionDownBy: 1, maxBitrate: 800_000 },
    ];
  }
  return [{ maxBitrate: lines >= 300 ? 500_000 : 250_000 }];
}

/** One layer: text on a shared screen must stay sharp for all. */
export const SCREEN_ENCODINGS = Object.freeze([{ maxBitrate: 3_000_000 }]);
