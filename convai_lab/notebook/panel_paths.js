// The paths that sound can take in a page: the microphone, the browser's call, the notebook's channel, clips.
//
// A widget is one module: `panel_measures.js` is put before this file, and `panel_media.js`, which chooses between the
// paths, behind it.

const FRAME_MS = 60;
const BUFFER_TARGET_MS = 20;
const PACKET_MS = 20; // a word's end waits until its packet is full, half of that on average

const GONE = ["restarting", "autorestarting", "dead", "terminating"];

/** Call `react` once the kernel is restarted or gone; returns what ends that. Front ends that do not tell stay silent. */
function whenKernelGone(manager, react) {
  const changes = manager?.kernel?.statusChanged;
  if (typeof changes?.connect !== "function") return () => {};
  const changed = (_, status) => GONE.includes(status) && react();
  changes.connect(changed);
  return () => changes.disconnect(changed);
}

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
    const camera = (this.camera = await this.widget("camera"));
    this.hasExtension = typeof camera?.captureStream === "function";
    try {
      this.stream = await (this.hasExtension ? camera.captureStream() : this.capture());
    } catch (error) {
      if (camera) camera.cameraStream = null; // it remembers a refusal for ever
      throw new Problem(MICROPHONE_ERRORS[error.name] ?? "microphone", `${error.name}: ${error.message}`);
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
    if (this.hasExtension) camera.set("constraints", constraints);
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
    if (this.camera) this.camera.cameraStream = null; // else it gives the stopped one away, for ever
  }
}

/** How long sound waited in the browser's buffer, in seconds, over about the last second. */
class Waited {
  constructor() {
    this.counts = [];
  }

  add(sum, played) {
    const now = performance.now();
    this.counts = this.counts.filter(({ at }) => now - at < 1100);
    const [oldest] = this.counts;
    this.counts.push({ at: now, sum, played });
    return oldest && played > oldest.played ? (sum - oldest.sum) / (played - oldest.played) : null;
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
    this.waited = new Waited();
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

  /** The platform says that no call can be made, or that it broke off. */
  refuse(reason) {
    this.ring();
    this.reject(new Problem("no_call", reason));
    this.lost?.();
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
    else if (receiver && "playoutDelayHint" in receiver) receiver.playoutDelayHint = BUFFER_TARGET_MS / 1000;
    const stream = new MediaStream([track]);
    this.sink.srcObject = stream;
    this.sink.play().catch(() => {}); // silent until the first click in the page
    this.heard(stream);
  }

  /** Let it be heard so loud, from 0 to 1. */
  setVolume(volume) {
    this.sink.muted = volume === 0;
    this.sink.volume = volume || 1;
  }

  /** Return how long sound takes each way just now, in milliseconds; null: not known yet. */
  async takes() {
    const report = [...(await this.pc.getStats()).values()];
    const sound = report.find((entry) => entry.type === "inbound-rtp" && entry.kind === "audio");
    const pair = report.find((entry) => entry.type === "candidate-pair" && entry.nominated);
    const way = pair?.currentRoundTripTime === undefined ? null : (1000 * pair.currentRoundTripTime) / 2;
    const waited = sound && this.waited.add(sound.jitterBufferDelay, sound.jitterBufferEmittedCount);
    const microphone = 1000 * (this.sender?.track?.getSettings().latency ?? 0);
    return { toAgent: way === null ? null : way + microphone + PACKET_MS / 2, toUser: way === null || typeof waited !== "number" ? null : way + 1000 * waited };
  }

  get sender() {
    return this.pc?.getSenders().find((s) => s.track?.kind === "audio");
  }

  replace(stream) {
    return this.sender?.replaceTrack(stream.getAudioTracks()[0]);
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
    this.volume = new GainNode(this.context);
    this.player.connect(this.volume).connect(this.context.destination);
  }

  /** Let it be heard so loud, from 0 to 1. */
  setVolume(volume) {
    this.volume.gain.value = volume;
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
    this.volume?.disconnect();
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
