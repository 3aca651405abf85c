// @ts-check
/** Two short notes, made here: to try the speaker, and, softly, to tell a teacher that a hand went up. */

/**
 * @param {string} [speaker] device id
 * @param {'plain' | 'soft'} [how]
 */
export async function playTestSound(speaker, how = "plain") {
  const context = new AudioContext();
  const routed = /** @type {AudioContext & {setSinkId?: (id: string) => Promise<void>}} */ (context);
  if (speaker) await routed.setSinkId?.(speaker).catch(() => {});
  const notes = how === "soft" ? [659] : [523, 784];
  const loudness = how === "soft" ? 0.06 : 0.25;
  notes.forEach((frequency, place) => {
    const begin = context.currentTime + place * 0.28;
    const tone = context.createOscillator();
    const gain = context.createGain();
    tone.frequency.value = frequency;
    gain.gain.setValueAtTime(0, begin);
    gain.gain.linearRampToValueAtTime(loudness, begin + 0.03);
    gain.gain.exponentialRampToValueAtTime(0.001, begin + 0.5);
    tone.connect(gain).connect(context.destination);
    tone.start(begin);
    tone.stop(begin + 0.55);
    if (place === notes.length - 1) tone.onended = () => void context.close();
  });
}
