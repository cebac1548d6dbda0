// Which path does the sound take? The browser's call to the platform, else the notebook's own channel, else clips.
//
// This widget is never displayed. It says what happens on its model, and only there, for the panel to show:
// `line` is {phase, kind}, `levels` {user, agent}, `devices` [{id, label}], `test` {phase, heard}.

const CONNECT_WITHIN_MS = 3000; // from the moment at which the platform rings
const RING_WITHIN_MS = 15000; // a cold platform has to start first
const FRAME_MS = 60;
const METER_EVERY_MS = 80;
const DELAY_EVERY = 25; // measurements of loudness
const TEST_MS = 4000;
const HEARD_LEVEL = 0.4; // -36 dBFS: a voice at arm's length, not a fan
const HEARD_TIMES = 4;
const BUFFER_TARGET_MS = 20;

const PROBLEMS = {
  NotAllowedError: "refused",
  SecurityError: "refused",
  NotFoundError: "no_device",
  OverconstrainedError: "no_device",
  NotReadableError: "device_busy",
  AbortError: "device_busy",
};

const after = (ms) => new Promise((done) => setTimeout(done, ms));

class Problem extends Error {
  constructor(code, detail) {
    super(detail || code);
    this.code = code;
  }
}

/** The microphone: ipywebrtc's CameraStream owns it; without that extension, the page itself does. */
class Microphone {
  constructor(model) {
    this.model = model;
    this.isMuted = false;
    this.stream = null;
  }

  async open() {
    if (!window.isSecureContext || !navigator.mediaDevices?.getUserMedia) throw new Problem("insecure");
    const camera = await this.widget("camera");
    this.hasExtension = typeof camera?.captureStream === "function";
    try {
      this.stream = await (this.hasExtension ? camera.captureStream() : this.capture());
    } catch (error) {
      if (camera) camera.cameraStream = null; // it remembers a refusal for ever
      throw new Problem(PROBLEMS[error.name] ?? "microphone", `${error.name}: ${error.message}`);
    }
    this.mute(this.isMuted);
    return this.stream;
  }

  async widget(name) {
    try {
      return await this.model.widget_manager.get_model(this.model.get(name).replace("IPY_MODEL_", ""));
    } catch {
      return null;
    }
  }

  capture() {
    return navigator.mediaDevices.getUserMedia(this.model.get("constraints"));
  }

  async use(deviceId) {
    const constraints = structuredClone(this.model.get("constraints"));
    constraints.audio.deviceId = { exact: deviceId };
    this.model.set("constraints", constraints);
    const camera = await this.widget("camera");
    this.close();
    if (this.hasExtension) {
      camera.set("constraints", constraints);
      camera.cameraStream = null;
    }
    return this.open();
  }

  mute(on) {
    this.isMuted = on;
    this.stream?.getAudioTracks().forEach((track) => (track.enabled = !on));
  }

  async devices() {
    const found = await navigator.mediaDevices.enumerateDevices();
    return found.filter((d) => d.kind === "audioinput").map((d, i) => ({ id: d.deviceId, label: d.label || `microphone ${i + 1}` }));
  }

  close() {
    this.stream?.getTracks().forEach((track) => track.stop());
    this.stream = null;
  }
}

/** The browser's own call: ipywebrtc's room and peer, with signalling through the kernel to the platform. */
class Call {
  constructor(room, send, heard) {
    this.room = room;
    this.heard = heard;
    this.sink = new Audio();
    this.sink.autoplay = true;
    this.members = new Set();
    room.room_msg_send = (message) => send({ event: "signal", message: JSON.parse(JSON.stringify(message)) });
    this.rang = new Promise((done) => (this.ring = done));
    this.connected = new Promise((done, fail) => {
      this.accept = done;
      this.reject = fail;
    });
    this.connected.catch(() => {}); // whoever waits hears of it; nobody may wait any more
  }

  async take(message) {
    if (message.type === "join") this.begin(message.room_id);
    this.room.on_room_msg(message);
    if (message.type === "join") await this.follow(message.room_id);
  }

  begin(member) {
    this.members.add(member);
    this.ring(); // whoever waits for the platform may now wait for the call
  }

  async follow(member) {
    const peer = await this.room.peers[member];
    const pc = (this.pc = peer.pc);
    pc.addEventListener("track", ({ track }) => track.kind === "audio" && this.play(track));
    pc.addEventListener("connectionstatechange", () => {
      if (pc.connectionState === "connected") this.accept();
      if (["failed", "closed"].includes(pc.connectionState)) this.lost?.();
      if (pc.connectionState === "failed") this.reject(new Problem("no_call"));
    });
  }

  /** A sink must be there at once: without one the browser piles up a second of sound. */
  play(track) {
    const receiver = this.pc.getReceivers().find((r) => r.track === track);
    if (receiver && "jitterBufferTarget" in receiver) receiver.jitterBufferTarget = BUFFER_TARGET_MS;
    const stream = new MediaStream([track]);
    this.sink.srcObject = stream;
    this.sink.play().catch(() => {}); // silent until the first click in the page
    this.heard(stream);
  }

  /** Return how long sound waits between the platform and the loudspeaker, in milliseconds, of late; null: unknown. */
  async delay() {
    const report = [...(await this.pc.getStats()).values()];
    const sound = report.find((entry) => entry.type === "inbound-rtp" && entry.kind === "audio");
    const pair = report.find((entry) => entry.type === "candidate-pair" && entry.nominated);
    const { jitterBufferDelay: waited = 0, jitterBufferEmittedCount: played = 0 } = sound ?? {};
    const before = this.played ?? { waited: 0, played: 0 };
    this.played = { waited, played };
    if (played <= before.played) return null;
    const buffered = (waited - before.waited) / (played - before.played);
    return 1000 * (buffered + (pair?.currentRoundTripTime ?? 0));
  }

  replace(stream) {
    const sender = this.pc?.getSenders().find((s) => s.track?.kind === "audio");
    return sender?.replaceTrack(stream.getAudioTracks()[0]);
  }

  /** Return the ids of the widgets that ipywebrtc made for the call, which the kernel is to close; silence them. */
  async made() {
    const isHeard = this.sink.srcObject !== null; // then ipywebrtc makes a stream too, sooner or later
    const peers = (await Promise.all([...this.members].map((member) => this.room.peers[member]))).filter(Boolean);
    for (let i = 0; i < 20 && isHeard && peers.some((peer) => !peer.get("stream_remote")); i++) await after(25);
    const widgets = peers.flatMap((peer) => [peer, peer.get("stream_remote")]).filter(Boolean);
    const isHere = (widget) => typeof widget !== "string"; // what came back from the kernel is a name only
    [this.room, ...widgets].filter(isHere).forEach((widget) => (widget.save_changes = () => {}));
    return widgets.map((widget) => (isHere(widget) ? widget.model_id : widget.replace("IPY_MODEL_", "")));
  }

  close() {
    this.lost = null;
    this.room.room_msg_send = () => {};
    this.pc?.close();
    this.reject(new Problem("closed"));
    this.sink.pause();
    this.sink.srcObject = null;
  }
}

/** The notebook's own channel: frames of 60 ms up, a queue down; nothing but the audio thread touches the sound. */
class Channel {
  constructor(context, worklet, send) {
    Object.assign(this, { context, worklet, send, flushed: -1 });
  }

  async open() {
    const url = URL.createObjectURL(new Blob([this.worklet], { type: "text/javascript" }));
    await this.context.audioWorklet.addModule(url).finally(() => URL.revokeObjectURL(url));
    this.player = new AudioWorkletNode(this.context, "convai-player", { outputChannelCount: [1] });
    this.player.connect(this.context.destination);
  }

  record(stream) {
    this.stopRecording();
    const rate = this.context.sampleRate;
    const processorOptions = { samples: Math.round((rate * FRAME_MS) / 1000) };
    this.microphone = new AudioWorkletNode(this.context, "convai-microphone", { processorOptions });
    this.microphone.port.onmessage = ({ data }) => this.send({ event: "pcm", rate }, [data]);
    this.source = this.context.createMediaStreamSource(stream);
    this.source.connect(this.microphone);
  }

  stopRecording() {
    this.source?.disconnect();
    if (this.microphone) this.microphone.port.onmessage = null;
    this.source = this.microphone = null;
  }

  play(message, bytes) {
    if (message.event_id <= this.flushed) return;
    const pcm = bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength);
    this.player?.port.postMessage({ pcm, rate: message.rate }, [pcm]);
  }

  flush(eventId) {
    this.flushed = Math.max(this.flushed, eventId);
    this.player?.port.postMessage("flush");
  }

  close() {
    this.stopRecording();
    this.player?.disconnect();
    this.player = null;
  }
}

/** Push-to-talk: ipywebrtc's AudioRecorder takes a clip, and its bytes go to the kernel by themselves. */
class Clips {
  constructor(recorder) {
    this.recorder = recorder;
  }

  async begin() {
    if (!MediaRecorder.isTypeSupported("audio/webm")) this.recorder.set("format", "mp4");
    this.recorder.mediaRecorder = null;
    this.recorder.set("recording", true);
    for (let i = 0; i < 50 && this.recorder.mediaRecorder?.state !== "recording"; i++) await after(20);
  }

  finish() {
    if (this.recorder.mediaRecorder?.state === "recording") this.recorder.set("recording", false);
  }
}

/** How loud a stream (or a node) is, from 0 to 1. */
class Meter {
  constructor(context, source) {
    this.source = source instanceof AudioNode ? source : context.createMediaStreamSource(source);
    this.analyser = new AnalyserNode(context, { fftSize: 1024 });
    this.source.connect(this.analyser);
    this.samples = new Float32Array(this.analyser.fftSize);
  }

  read() {
    this.analyser.getFloatTimeDomainData(this.samples);
    const power = this.samples.reduce((sum, value) => sum + value * value, 0) / this.samples.length;
    const decibels = 10 * Math.log10(power + 1e-12);
    return Math.min(1, Math.max(0, (decibels + 60) / 60));
  }

  close() {
    this.source.disconnect(this.analyser);
  }
}

/** The whole line: opens what the session needs, falls back by itself, and closes everything. */
class SoundLine {
  constructor(model) {
    this.model = model;
    this.microphone = new Microphone(model);
    this.meters = {};
    this.made = [];
    this.measured = 0;
    this.send = (content, buffers) => model.send(content, undefined, buffers);
    this.orders = {
      start: ({ kind }) => this.start(kind),
      mute: ({ on }) => this.microphone.mute(on),
      device: ({ id }) => this.changeDevice(id),
      test: () => this.test(),
      clip: ({ on }) => this.clip(on),
      signal: ({ message }) => this.call?.take(message),
      audio: (message, [bytes]) => this.channel?.play(message, bytes),
      flush: ({ event_id }) => this.channel?.flush(event_id),
      close: () => this.leave(),
    };
  }

  async obey(order, buffers) {
    try {
      await this.orders[order.do]?.(order, buffers);
    } catch (error) {
      this.fail(error);
    }
  }

  fail(error) {
    if (error.code === "closed") return;
    this.set("line", { phase: "failed", kind: "" });
    this.send({ event: "problem", code: error.code ?? "page", detail: String(error.message ?? error) });
  }

  set(name, value) {
    this.model.set(name, value);
  }

  async start(kind) {
    if (this.isStarting) return;
    this.isStarting = true;
    try {
      await this.openContext();
      await this.openPath(kind);
    } finally {
      this.isStarting = false;
    }
  }

  async openContext() {
    if (this.context && this.context.state !== "closed") return;
    this.context = new AudioContext({ latencyHint: "interactive" });
    this.context.resume().catch(() => {});
    try {
      this.channel = new Channel(this.context, this.model.get("worklet"), this.send);
      await this.channel.open();
    } catch {
      this.channel = null; // an old browser, or a page that forbids it: the call needs none
    }
  }

  async openPath(kind) {
    this.set("line", { phase: "microphone", kind });
    if (kind === "text") return this.use("text");
    const stream = await this.microphone.open();
    this.meter("user", stream);
    this.set("devices", await this.microphone.devices());
    if (!this.microphone.hasExtension) this.send({ event: "problem", code: "extension", detail: "" });
    if (["auto", "webrtc"].includes(kind) && this.microphone.hasExtension && (await this.dial())) return this.use("webrtc");
    if (kind !== "push_to_talk" && this.listen(stream)) return this.use("comm");
    return this.use("push_to_talk");
  }

  async dial() {
    this.set("line", { phase: "calling", kind: "webrtc" });
    const room = await this.microphone.widget("room");
    if (!room || typeof room.on_room_msg !== "function" || !window.RTCPeerConnection) return false;
    this.call = new Call(room, this.send, (stream) => this.meter("agent", stream));
    this.send({ event: "choose", kind: "webrtc" });
    await Promise.race([this.call.rang, after(RING_WITHIN_MS)]);
    const connected = this.call.connected.then(() => true, () => false);
    const isConnected = await Promise.race([connected, after(CONNECT_WITHIN_MS).then(() => false)]);
    if (isConnected) this.call.lost = () => this.redial();
    else this.hangUp();
    return isConnected;
  }

  /** The call broke off: the conversation goes on over the notebook's channel. */
  redial() {
    this.hangUp();
    this.use(this.listen(this.microphone.stream) ? "comm" : "push_to_talk");
  }

  hangUp() {
    if (!this.call) return;
    this.made.push(this.call.made());
    this.call.close();
    this.call = null;
  }

  listen(stream) {
    if (!this.channel || !stream) return false;
    this.channel.record(stream);
    return true;
  }

  use(kind) {
    if (kind !== "comm") this.channel?.stopRecording();
    if (kind !== "webrtc") this.send({ event: "choose", kind });
    if (kind !== "webrtc" && this.channel) this.meter("agent", this.channel.player);
    this.set("line", { phase: "open", kind });
    this.send({ event: "open", kind });
  }

  async changeDevice(id) {
    const stream = await this.microphone.use(id);
    this.meter("user", stream);
    await this.call?.replace(stream);
    if (this.model.get("line").kind === "comm") this.listen(stream);
  }

  async test() {
    await this.openContext();
    this.set("test", { phase: "listening", heard: false });
    try {
      this.meter("user", this.microphone.stream ?? (await this.microphone.open()));
      this.set("devices", await this.microphone.devices());
    } catch (error) {
      this.set("test", { phase: "", heard: false });
      throw error;
    }
    const until = performance.now() + TEST_MS;
    let heard = 0;
    while (performance.now() < until && heard < HEARD_TIMES) {
      await after(METER_EVERY_MS);
      heard += (this.model.get("levels").user ?? 0) > HEARD_LEVEL ? 1 : 0;
    }
    this.set("test", { phase: "done", heard: heard >= HEARD_TIMES });
  }

  async clip(on) {
    if (on) {
      this.clips = new Clips(await this.microphone.widget("recorder"));
      await this.clips.begin();
    } else this.clips?.finish();
    this.set("line", { ...this.model.get("line"), recording: on });
  }

  meter(side, source) {
    this.meters[side]?.close();
    try {
      this.meters[side] = new Meter(this.context, source);
    } catch {
      delete this.meters[side]; // no meter is no reason to be silent
    }
    this.metering ??= setInterval(() => this.measure(), METER_EVERY_MS);
  }

  measure() {
    const read = (side) => this.meters[side]?.read() ?? 0;
    this.set("levels", { user: this.microphone.isMuted ? 0 : read("user"), agent: read("agent") });
    if (this.call?.pc && ++this.measured % DELAY_EVERY === 0) this.call.delay().then((delay) => this.set("delay", delay));
  }

  async leave() {
    this.close();
    this.send({ event: "closed", made: (await Promise.all(this.made)).flat() });
  }

  close() {
    clearInterval(this.metering);
    this.metering = null;
    this.hangUp();
    this.channel?.close();
    this.microphone.close();
    Object.values(this.meters).forEach((meter) => meter.close());
    this.meters = {};
    if (this.context?.state !== "closed") this.context?.close();
    this.context = this.channel = null;
    this.set("line", { phase: "closed", kind: "" });
    this.set("levels", { user: 0, agent: 0 });
  }
}

export default {
  initialize({ model }) {
    const line = new SoundLine(model);
    model.set("line", { phase: "ready", kind: "" });
    model.set("levels", { user: 0, agent: 0 });
    model.on("order", (order) => line.obey(order, [])); // from the panel's view, in this page
    model.on("msg:custom", (order, buffers) => line.obey(order, buffers)); // from the kernel
    model.send({ event: "ready" });
    return () => line.close();
  },
};
