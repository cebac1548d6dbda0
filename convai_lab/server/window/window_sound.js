// The sound of the page: the microphone at 16 kHz to the socket, the agent's speech from it, and how loud both are.

import { hearsAVoice, Hush, Meters, MICROPHONE_ERRORS, outputMs, Timing } from "./panel_measures.js";

const FRAME_MS = 20; // of `window_worklet.js`: a word's end waits until its frame is full, half of that on average
const MAX_CLIP_BYTES = 8 * 1024 * 1024;
const CONSTRAINTS = { echoCancellation: true, noiseSuppression: true, autoGainControl: true };

class SoundProblem extends Error {
  constructor(code, detail = "") {
    super(detail || code);
    this.code = code;
  }
}

function base64(buffer) {
  const bytes = new Uint8Array(buffer);
  let characters = "";
  for (let at = 0; at < bytes.length; at += 8192) characters += String.fromCharCode(...bytes.subarray(at, at + 8192));
  return btoa(characters);
}

function fromBase64(text) {
  return Uint8Array.from(atob(text), (character) => character.charCodeAt(0)).buffer;
}

/** The panel's `media`: it obeys the panel's orders, and `send`s what the socket is to carry. */
export class Sound {
  constructor(media, send, fail) {
    Object.assign(this, { media, send, fail, flushed: -1, isMuted: false, isOver: false });
    this.meters = new Meters(() => this.isMuted, () => this.measure());
    this.orders = {
      start: ({ kind }) => this.start(kind),
      mute: ({ on }) => this.mute(on),
      device: ({ id }) => this.change(id),
      test: () => this.test(),
      clip: ({ on }) => this.clip(on),
    };
    media.on("order", (order) => this.obey(order));
  }

  async obey(order) {
    try {
      await this.orders[order.do]?.(order);
    } catch (error) {
      this.media.set("line", { phase: "failed", kind: "" });
      this.fail(error);
    }
  }

  async start(kind) {
    if (this.isStarting || this.isOver) return;
    this.isStarting = true;
    try {
      await this.openContext(); // also who only types hears the agent
      this.media.set("line", { phase: "microphone", kind });
      if (kind === "text") return this.use("text");
      await this.openMicrophone();
      if (kind === "push_to_talk") return this.use("push_to_talk");
      this.use("comm");
      this.record();
    } catch (error) {
      this.send({ type: "live_choose", kind: "text" }); // without a microphone it goes on in writing
      throw error;
    } finally {
      this.isStarting = false;
    }
  }

  use(kind) {
    this.send({ type: "live_choose", kind });
    this.media.set("line", { phase: "open", kind });
  }

  openContext() {
    this.opening ??= this.newContext().catch((error) => {
      this.opening = null;
      throw new SoundProblem("page", String(error));
    });
    return this.opening;
  }

  async newContext() {
    this.context = new AudioContext({ latencyHint: "interactive" });
    this.context.resume().catch(() => {}); // silent until the first click in the page
    for (const name of ["panel_worklet.js", "window_worklet.js"]) await this.context.audioWorklet.addModule(`/window/${name}`);
    this.player = new AudioWorkletNode(this.context, "convai-player", { outputChannelCount: [1] });
    this.volume = new GainNode(this.context);
    this.player.connect(this.volume).connect(this.context.destination);
    this.meters.follow("agent", this.context, this.player);
    this.hush = new Hush((side) => this.meters.level(side), (volume) => (this.volume.gain.value = volume));
    this.timing = new Timing(this);
  }

  async openMicrophone(deviceId) {
    if (!window.isSecureContext || !navigator.mediaDevices?.getUserMedia) throw new SoundProblem("insecure");
    const audio = deviceId ? { ...CONSTRAINTS, deviceId: { exact: deviceId } } : CONSTRAINTS;
    this.closeMicrophone();
    try {
      this.stream = await navigator.mediaDevices.getUserMedia({ audio, video: false });
    } catch (error) {
      throw new SoundProblem(MICROPHONE_ERRORS[error.name] ?? "microphone", `${error.name}: ${error.message}`);
    }
    if (this.isOver) return this.closeMicrophone();
    this.mute(this.isMuted);
    this.source = this.context.createMediaStreamSource(this.stream);
    this.meters.follow("user", this.context, this.source);
    const found = (await navigator.mediaDevices.enumerateDevices()).filter((device) => device.kind === "audioinput");
    this.media.set("devices", found.map(({ deviceId: id, label }, i) => ({ id, label: label || `microphone ${i + 1}` })));
  }

  record() {
    if (!this.source) return;
    this.recorder = new AudioWorkletNode(this.context, "convai-window-microphone", { numberOfOutputs: 0 });
    this.recorder.port.onmessage = ({ data }) => this.send({ user_audio_chunk: base64(data) });
    this.source.connect(this.recorder);
  }

  async change(deviceId) {
    await this.openMicrophone(deviceId);
    if (this.media.get("line").kind === "comm") this.record();
  }

  mute(on) {
    this.isMuted = on;
    this.media.set("muted", on);
    this.stream?.getAudioTracks().forEach((track) => (track.enabled = !on));
  }

  async test() {
    this.media.set("test", { phase: "listening", heard: false });
    try {
      await this.openContext();
      if (!this.stream) await this.openMicrophone();
    } catch (error) {
      this.media.set("test", { phase: "", heard: false });
      throw error;
    }
    const heard = await hearsAVoice(() => this.media.get("levels").user);
    this.media.set("test", { phase: "done", heard });
  }

  /** Push to talk: what is said while the button is down goes as one clip. */
  clip(on) {
    if (on) {
      this.clips = new MediaRecorder(this.stream);
      this.clips.addEventListener("dataavailable", ({ data }) => this.sendClip(data).catch((error) => this.fail(error)));
      this.clips.start();
    } else if (this.clips?.state === "recording") this.clips.stop();
    this.media.set("line", { ...this.media.get("line"), recording: on });
  }

  async sendClip(clip) {
    if (clip.size > MAX_CLIP_BYTES) throw new SoundProblem("too_long");
    if (clip.size) this.send({ type: "live_clip", data: base64(await clip.arrayBuffer()), mime: clip.type.split(";")[0] });
  }

  play({ audio, id, rate }) {
    if (id <= this.flushed || !this.player) return;
    const pcm = fromBase64(audio);
    this.player.port.postMessage({ pcm, rate }, [pcm]);
  }

  flush(id) {
    this.flushed = Math.max(this.flushed, id);
    this.player?.port.postMessage("flush");
  }

  measure() {
    this.media.set("levels", { user: this.meters.level("user"), agent: this.meters.level("agent") });
  }

  // What `Timing` asks and tells

  agentMeter() {
    return this.meters.sides.agent;
  }

  ways(way) {
    return this.media.get("line").kind === "comm" ? { toAgent: way === null ? null : way + FRAME_MS / 2, toUser: way } : null;
  }

  out() {
    return outputMs(this.context);
  }

  tell(content) {
    this.send({ type: "live_sound_takes", ...content });
  }

  show(delay) {
    this.media.set("delay", delay);
  }

  /** A socket of our own shows nobody that it is busy. */
  isQuiet() {
    return false;
  }

  closeMicrophone() {
    this.meters.forget("user"); // first: it cannot let go of a source that has let go of everything
    if (this.recorder) this.recorder.port.onmessage = null;
    this.source?.disconnect();
    this.stream?.getTracks().forEach((track) => track.stop());
    this.recorder = this.source = this.stream = this.clips = null;
  }

  close() {
    this.isOver = true;
    this.timing?.close();
    this.hush?.close();
    this.closeMicrophone();
    this.meters.close();
    this.context?.close().catch(() => {});
    this.media.set("levels", { user: 0, agent: 0 });
    this.media.set("line", { phase: "closed", kind: "" });
  }
}
