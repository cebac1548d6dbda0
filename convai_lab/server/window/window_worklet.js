// What runs on the audio thread for the microphone: any rate in, 16 kHz out, in frames of 20 ms.

const TO_HZ = 16000;
const FRAME_SAMPLES = (TO_HZ * 20) / 1000; // whoever interrupts waits for a frame; the socket is of this machine
const LOBES = 16; // of the filter, to each side

/** Changes the rate of a stream: a windowed sinc, cut off below half of the lower rate, so that nothing folds back. */
class Resampler {
  constructor(fromHz, toHz) {
    this.step = fromHz / toHz;
    this.cutoff = 0.92 * Math.min(1, toHz / fromHz);
    this.reach = Math.ceil(LOBES / this.cutoff);
    this.samples = new Float32Array(this.reach).fill(0);
    this.at = this.reach; // where the next sample is taken, in `samples`
  }

  feed(heard) {
    const joined = new Float32Array(this.samples.length + heard.length);
    joined.set(this.samples);
    joined.set(heard, this.samples.length);
    const made = [];
    for (; this.at + this.reach < joined.length; this.at += this.step) made.push(this.sample(joined));
    const done = Math.max(0, Math.floor(this.at) - this.reach);
    this.samples = joined.slice(done);
    this.at -= done;
    return made;
  }

  sample(joined) {
    let sum = 0;
    const middle = Math.floor(this.at);
    for (let i = middle - this.reach + 1; i <= middle + this.reach; i++) sum += (joined[i] ?? 0) * this.weight(i - this.at);
    return sum;
  }

  weight(distance) {
    const share = distance / this.reach;
    if (Math.abs(share) >= 1) return 0;
    const x = Math.PI * distance * this.cutoff;
    const sinc = x === 0 ? 1 : Math.sin(x) / x;
    return this.cutoff * sinc * (0.5 + 0.5 * Math.cos(Math.PI * share));
  }
}

class WindowMicrophone extends AudioWorkletProcessor {
  constructor() {
    super();
    this.resampler = new Resampler(sampleRate, TO_HZ);
    this.frame = new Int16Array(FRAME_SAMPLES);
    this.filled = 0;
  }

  process(inputs) {
    const heard = inputs[0][0];
    if (heard) this.resampler.feed(heard).forEach((value) => this.add(value));
    return true;
  }

  add(value) {
    this.frame[this.filled++] = Math.max(-1, Math.min(1, value)) * 32767;
    if (this.filled < this.frame.length) return;
    this.port.postMessage(this.frame.buffer, [this.frame.buffer]);
    this.frame = new Int16Array(FRAME_SAMPLES);
    this.filled = 0;
  }
}

registerProcessor("convai-window-microphone", WindowMicrophone);
