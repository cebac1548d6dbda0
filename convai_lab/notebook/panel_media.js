// Which path does the sound take? The browser's call to the platform, else the notebook's own channel, else clips.
// The paths themselves are in `panel_paths.js`.
//
// This widget is never displayed. It says what happens on its model, and only there, for the panel to show:
// `line` is {phase, kind}, `levels` {user, agent}, `devices` [{id, label}], `test` {phase, heard}.

const CONNECT_WITHIN_MS = { auto: 3000, webrtc: 15000 }; // from the platform's ring; who wants nothing else waits for it
const RING_WITHIN_MS = 15000; // a cold platform has to start first

/** The whole line: opens what the session needs, falls back by itself, and closes everything. */
class SoundLine {
  constructor(model) {
    this.model = model;
    this.microphone = new Microphone(model);
    this.meters = new Meters(() => this.microphone.isMuted, () => this.measure());
    this.made = [];
    this.send = (content, buffers) => model.send(content, undefined, buffers);
    this.orders = {
      start: ({ kind }) => this.start(kind),
      mute: ({ on }) => this.mute(on),
      device: ({ id }) => this.changeDevice(id),
      test: ({ id }) => this.test(id),
      clip: ({ on }) => this.clip(on),
      signal: ({ message }) => this.call?.take(message),
      audio: (message, [bytes]) => this.channel?.play(message, bytes),
      refused: ({ reason }) => this.call?.refuse(reason),
      flush: ({ event_id }) => this.flush(event_id),
      timed: ({ number, at }) => this.timing?.clock.answered(number, at),
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
      await this.still(this.openContext());
      await this.openPath(kind);
    } finally {
      this.isStarting = false;
    }
  }

  mute(on) {
    this.microphone.mute(on);
    this.set("muted", on);
  }

  /** What was waited for, unless the panel was closed meanwhile: then nothing may hold the microphone. */
  async still(waiting) {
    const found = await waiting;
    if (!this.isClosed) return found;
    this.close();
    throw new Problem("closed");
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
    const stream = await this.still(this.microphone.open());
    this.meter("user", stream);
    this.set("devices", await this.still(this.microphone.devices()));
    if (!this.microphone.hasExtension) this.send({ event: "problem", code: "extension", detail: "" });
    if (["auto", "webrtc"].includes(kind) && this.microphone.hasExtension && (await this.still(this.dial(kind)))) return this.use("webrtc");
    if (kind !== "push_to_talk" && this.listen(stream)) return this.use("comm");
    return this.use("push_to_talk");
  }

  async dial(kind) {
    this.set("line", { phase: "calling", kind: "webrtc" });
    const room = await this.microphone.widget("room");
    if (!room || typeof room.on_room_msg !== "function" || !window.RTCPeerConnection) return false;
    this.call = new Call(room, this.send, (stream) => this.meter("agent", stream));
    this.hushes(this.call);
    this.send({ event: "choose", kind: "webrtc" });
    await Promise.race([this.call.rang, after(RING_WITHIN_MS)]);
    const connected = this.call.connected.then(() => true, () => false);
    const isConnected = await Promise.race([connected, after(CONNECT_WITHIN_MS[kind]).then(() => false)]);
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
    this.hush.close();
    this.hush = null;
    this.made.push(this.call.made());
    this.call.close();
    this.call = null;
  }

  listen(stream) {
    if (!this.channel || !stream) return false;
    this.channel.record(stream);
    return true;
  }

  flush(eventId) {
    if (this.call) this.hush.silence(); // the channel's own queue is empty at once
    this.channel?.flush(eventId);
  }

  /** Let the agent's sound on this path give way to the user. */
  hushes(path) {
    this.hush?.close();
    this.hush = new Hush((side) => this.meters.level(side), (volume) => path.setVolume(volume));
  }

  use(kind) {
    if (kind !== "comm") this.channel?.stopRecording();
    if (kind !== "webrtc") this.send({ event: "choose", kind });
    if (kind !== "webrtc" && this.channel) this.meter("agent", this.channel.player);
    if (kind === "comm") this.hushes(this.channel);
    this.set("line", { phase: "open", kind });
    this.send({ event: "open", kind });
  }

  async changeDevice(id) {
    const stream = await this.still(this.microphone.use(id));
    this.meter("user", stream);
    await this.call?.replace(stream);
    if (this.model.get("line").kind === "comm") this.listen(stream);
  }

  async test(id) {
    this.isClosed = false; // a microphone test gives everything back, and may be made again
    await this.still(this.openContext());
    this.set("test", { phase: "listening", heard: false });
    try {
      const opened = id ? this.microphone.use(id) : (this.microphone.stream ?? this.microphone.open());
      this.meter("user", await this.still(opened));
      this.set("devices", await this.microphone.devices());
    } catch (error) {
      this.set("test", { phase: "", heard: false });
      throw error;
    }
    const heard = await hearsAVoice(() => this.model.get("levels").user ?? 0);
    this.set("test", { phase: "done", heard });
  }

  async clip(on) {
    this.set("line", { ...this.model.get("line"), recording: on });
    if (!on) return this.clips?.finish();
    this.clips = new Clips(await this.microphone.widget("recorder"));
    await this.clips.begin();
    if (!this.model.get("line").recording) this.clips.finish(); // it was let go before the recorder ran
  }

  meter(side, source) {
    this.meters.follow(side, this.context, source);
    this.timing ??= new Timing(this);
  }

  measure() {
    this.set("levels", { user: this.meters.level("user"), agent: this.meters.level("agent") });
  }

  // What `Timing` asks and tells

  agentMeter() {
    return this.meters.sides.agent;
  }

  async ways(way) {
    const kind = this.model.get("line").kind;
    if (kind !== "webrtc" && kind !== "comm") return null;
    return (await this.call?.takes().catch(() => null)) ?? { toAgent: way, toUser: way };
  }

  out() {
    return outputMs(this.context);
  }

  tell(content) {
    this.send({ event: "takes", ...content });
  }

  show(delay) {
    this.set("delay", delay);
  }

  /** Whether the page sends the kernel nothing otherwise. */
  isQuiet() {
    return this.model.get("line").kind === "webrtc";
  }

  /** The kernel is gone: nobody hears the microphone any more, so nothing may hold it. */
  lose() {
    this.close();
    this.set("line", { phase: "lost", kind: "" });
  }

  async leave() {
    this.close();
    this.send({ event: "closed", made: (await Promise.all(this.made)).flat() });
  }

  close() {
    this.isClosed = true;
    this.timing?.close();
    this.timing = null;
    this.hangUp();
    this.hush?.close();
    this.hush = null;
    this.channel?.close();
    this.microphone.close();
    this.meters.close();
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
    model.set("muted", false);
    model.set("levels", { user: 0, agent: 0 });
    model.on("order", (order) => line.obey(order, [])); // from the panel's view, in this page
    model.on("msg:custom", (order, buffers) => line.obey(order, buffers)); // from the kernel
    model.send({ event: "ready" });
    const forget = whenKernelGone(model.widget_manager, () => line.lose());
    return () => {
      forget();
      line.close();
    };
  },
};
