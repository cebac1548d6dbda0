// For the tests: what does the page hear, and a microphone into which a test can speak when it likes.

window.calls = [];
window.heard = []; // [seconds, loudness, strongest frequency] of what the newest call plays
window.refusal = null; // the name of an error with which no microphone is given
window.speaksIntoPage = true; // false: the browser's own microphone, which is a file

const sinks = []; // what the page plays calls with
window.Audio = class extends window.Audio {
  constructor(...all) {
    super(...all);
    sinks.push(this);
  }
};
const played = (loudness) => (sinks.at(-1)?.muted ? 0 : loudness * (sinks.at(-1)?.volume ?? 1));

const EVERY_MS = 25;
const seconds = () => (performance.timeOrigin + performance.now()) / 1000;

function listen(track) {
  const context = new AudioContext();
  const analyser = new AnalyserNode(context, { fftSize: 2048, smoothingTimeConstant: 0 });
  context.createMediaStreamSource(new MediaStream([track])).connect(analyser);
  const samples = new Float32Array(512);
  const bins = new Float32Array(analyser.frequencyBinCount);
  window.heard = [];
  window.marks = [];
  const timer = setInterval(() => {
    if (track.readyState === "ended") {
      clearInterval(timer);
      return context.close();
    }
    analyser.getFloatTimeDomainData(samples);
    analyser.getFloatFrequencyData(bins);
    const loudness = Math.sqrt(samples.reduce((sum, value) => sum + value * value, 0) / samples.length);
    const strongest = (bins.indexOf(Math.max(...bins)) * context.sampleRate) / analyser.fftSize;
    window.marks.push([seconds(), loudness, sinks.at(-1)?.muted, sinks.at(-1)?.volume]);
    return window.heard.push([seconds(), played(loudness), strongest]);
  }, EVERY_MS);
}

const Call = window.RTCPeerConnection;
window.RTCPeerConnection = class extends Call {
  constructor(...all) {
    super(...all);
    window.calls.push(this);
    this.addEventListener("track", ({ track }) => track.kind === "audio" && listen(track));
  }
};

window.volumes = []; // of what the page plays itself
window.GainNode = class extends GainNode {
  constructor(...all) {
    super(...all);
    window.volumes.push(this);
  }
};

window.wasHushed = false; // made softer since somebody spoke over it, if only for a moment
setInterval(() => (window.wasHushed ||= window.volumes.at(-1)?.gain.value < 0.5), EVERY_MS);

const open = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
navigator.mediaDevices.getUserMedia = async (constraints) => {
  window.asked = constraints;
  if (window.refusal) throw new DOMException("made by the test", window.refusal);
  if (!window.speaksIntoPage) return open(constraints);
  window.mouth = new AudioContext();
  window.throat = window.mouth.createMediaStreamDestination();
  const breath = new ConstantSourceNode(window.mouth, { offset: 0.0001 }); // a microphone is never without sound
  breath.connect(window.throat);
  breath.start();
  window.tracks = [...(window.tracks ?? []), ...window.throat.stream.getTracks()];
  return window.throat.stream;
};

/** Say a WAV file (base64); returns when it begins and when it ends, in seconds. */
window.speak = async (wav) => {
  const bytes = Uint8Array.from(atob(wav), (character) => character.charCodeAt(0));
  await window.mouth.resume(); // else its time, and the word, would begin whenever the browser likes
  const source = new AudioBufferSourceNode(window.mouth, { buffer: await window.mouth.decodeAudioData(bytes.buffer) });
  source.connect(window.throat);
  source.start();
  const begins = seconds();
  return [begins, begins + source.buffer.duration];
};

window.received = async () => {
  const report = await window.calls.at(-1).getStats();
  const found = [...report.values()].find((entry) => entry.type === "inbound-rtp" && entry.kind === "audio");
  return found?.packetsReceived ?? 0;
};
