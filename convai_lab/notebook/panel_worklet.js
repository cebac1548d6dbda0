// What runs on the browser's audio thread: the microphone cut into frames, and a queue that plays the agent.

class Microphone extends AudioWorkletProcessor {
  constructor(options) {
    super();
    this.frame = new Int16Array(options.processorOptions.samples);
    this.filled = 0;
  }

  process(inputs) {
    const heard = inputs[0][0];
    for (let i = 0; heard && i < heard.length; i++) {
      this.frame[this.filled++] = Math.max(-1, Math.min(1, heard[i])) * 32767;
      if (this.filled === this.frame.length) this.send();
    }
    return true;
  }

  send() {
    const full = this.frame;
    this.frame = new Int16Array(full.length);
    this.filled = 0;
    this.port.postMessage(full.buffer, [full.buffer]);
  }
}

class Player extends AudioWorkletProcessor {
  constructor() {
    super();
    this.queue = [];
    this.at = 0; // position in the first piece of the queue, in its own samples
    this.port.onmessage = ({ data }) => {
      if (data === "flush") {
        this.queue = [];
        this.at = 0;
      } else this.queue.push({ samples: new Int16Array(data.pcm), step: data.rate / sampleRate });
    };
  }

  process(_inputs, outputs) {
    const out = outputs[0][0];
    for (let i = 0; i < out.length; i++) out[i] = this.next();
    return true;
  }

  next() {
    while (this.queue.length && this.at >= this.queue[0].samples.length) this.at -= this.queue.shift().samples.length;
    const piece = this.queue[0];
    if (!piece) {
      this.at = 0;
      return 0;
    }
    const index = Math.floor(this.at);
    const here = piece.samples[index];
    const after = index + 1 < piece.samples.length ? piece.samples[index + 1] : (this.queue[1]?.samples[0] ?? here);
    const value = here + (after - here) * (this.at - index);
    this.at += piece.step;
    return value / 32768;
  }
}

registerProcessor("convai-microphone", Microphone);
registerProcessor("convai-player", Player);
