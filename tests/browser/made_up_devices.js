// Put in place of the browser's cameras, microphones and screens: a picture and a tone of this person's own.
// `lecternPerson` = {number, width, height, fps, tone} is defined by the test before this script.
// The picture: a plain ground in the person's colour, a frame counter of 16 bars at the bottom, and every two seconds, for
// 200 ms, a white flash in the upper half while the tone is five times as loud: lip sync can be measured by the two.
(() => {
  const devices = navigator.mediaDevices;
  if (!devices) return; // about:blank is no secure page
  const me = globalThis.lecternPerson;
  let audio;
  let gain;
  const started = performance.now();

  const draw = (canvas, colour, count) => {
    const pen = canvas.getContext("2d", { willReadFrequently: true });
    const { width, height } = canvas;
    pen.fillStyle = colour();
    pen.fillRect(0, 0, width, height);
    const bar = width / 16;
    for (let bit = 0; bit < 16; bit += 1) {
      pen.fillStyle = (count >> bit) & 1 ? "#ffffff" : "#000000";
      pen.fillRect(bit * bar, height * 0.8, bar, height * 0.2);
    }
    const phase = (performance.now() - started) % 2000;
    if (phase < 200) {
      pen.fillStyle = "#ffffff";
      pen.fillRect(width * 0.3, height * 0.1, width * 0.4, height * 0.4);
    }
    if (gain) gain.gain.value = phase < 200 ? 0.5 : 0.1;
  };

  const picture = (width, height, fps, colour) => {
    const canvas = document.createElement("canvas");
    canvas.width = width;
    canvas.height = height;
    let count = 0;
    draw(canvas, colour, 0);
    const timer = setInterval(() => draw(canvas, colour, (count += 1)), 1000 / fps);
    // Every drawing is a frame: a rate asked for here as well would drop those that come a little early.
    const [track] = canvas.captureStream().getVideoTracks();
    const stop = track.stop.bind(track);
    track.stop = () => { clearInterval(timer); stop(); };
    return track;
  };

  const tone = () => {
    audio ??= new AudioContext({ sampleRate: 48000 });
    const out = audio.createMediaStreamDestination();
    const oscillator = audio.createOscillator();
    oscillator.frequency.value = me.tone;
    gain = audio.createGain();
    gain.gain.value = 0.1;
    oscillator.connect(gain).connect(out);
    oscillator.start();
    audio.resume();
    return out.stream.getAudioTracks()[0];
  };

  const define = (name, value) => Object.defineProperty(devices, name, { value, configurable: true });
  define("getUserMedia", async (constraints) => {
    const tracks = [];
    if (constraints?.audio) tracks.push(tone());
    if (constraints?.video) tracks.push(picture(me.width, me.height, me.fps, () => me.colour));
    return new MediaStream(tracks);
  });
  define("getDisplayMedia", async () => new MediaStream([picture(1280, 720, 10, () => me.screenColour ?? "#808000")]));
  define("enumerateDevices", async () => [
    { kind: "audioinput", deviceId: "made-up-microphone", label: "Made-up microphone", groupId: "made-up", toJSON() { return this; } },
    { kind: "videoinput", deviceId: "made-up-camera", label: "Made-up camera", groupId: "made-up", toJSON() { return this; } },
  ]);
})();
