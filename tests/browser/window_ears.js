// For the tests: what does the page play, when was it told to be silent, and a microphone to speak into?

window.seconds = () => performance.now() / 1000;
window.heard = []; // [seconds, loudness] of what the page plays
window.flushes = [];
window.audioAfterFlush = null;
window.refusal = null; // the name of an error with which no microphone is given
window.speaksIntoPage = true; // false: the browser's own microphone, which is a file

const connect = AudioNode.prototype.connect;
AudioNode.prototype.connect = function (target, ...more) {
  if (target instanceof AudioDestinationNode && target.context !== window.mouth) listen(this);
  return connect.call(this, target, ...more);
};

function listen(node) {
  const analyser = new AnalyserNode(node.context, { fftSize: 512, smoothingTimeConstant: 0 });
  connect.call(node, analyser);
  const samples = new Float32Array(512);
  setInterval(() => {
    analyser.getFloatTimeDomainData(samples);
    const loudness = Math.sqrt(samples.reduce((sum, value) => sum + value * value, 0) / samples.length);
    window.heard.push([window.seconds(), loudness]);
  }, 20);
}

/** Resolve when so many loud moments were heard; the page forbids evaluating text, with which tests wait elsewhere. */
window.isLoudFor = (many) =>
  new Promise((done) => {
    const timer = setInterval(() => {
      if (window.heard.filter(([, loudness]) => loudness > 0.01).length < many) return;
      clearInterval(timer);
      done();
    }, 20);
  });

/** Resolve when it is so late, by `window.seconds`. */
window.secondsPass = (until) => new Promise((done) => setTimeout(done, 1000 * (until - window.seconds())));

const Socket = window.WebSocket;
window.WebSocket = class extends Socket {
  constructor(...all) {
    super(...all);
    this.addEventListener("message", ({ data }) => {
      const letter = JSON.parse(data);
      if ("flush" in letter) window.flushes.push(window.seconds());
      if (letter.audio && window.flushes.length) window.audioAfterFlush ??= window.seconds();
    });
  }
};

const open = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
navigator.mediaDevices.getUserMedia = async (constraints) => {
  if (window.refusal) throw new DOMException("made by the test", window.refusal);
  if (!window.speaksIntoPage) return open(constraints);
  window.mouth = new AudioContext();
  window.throat = window.mouth.createMediaStreamDestination();
  const breath = new ConstantSourceNode(window.mouth, { offset: 0.0001 }); // a microphone is never without sound
  connect.call(breath, window.throat);
  breath.start();
  return window.throat.stream;
};

/** Say a WAV file (base64); returns when it ends, in seconds. */
window.speak = async (wav) => {
  const bytes = Uint8Array.from(atob(wav), (character) => character.charCodeAt(0));
  await window.mouth.resume(); // else its time, and the word, would begin whenever the browser likes
  const source = new AudioBufferSourceNode(window.mouth, { buffer: await window.mouth.decodeAudioData(bytes.buffer) });
  connect.call(source, window.throat);
  source.start();
  window.spokeAt = window.seconds();
  return window.seconds() + source.buffer.duration;
};
