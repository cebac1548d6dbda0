// How loud is each side, how long does sound take, and who has the floor? For the panel and the page of its own alike.

const TICK_MS = 20;
const LEVEL_SAMPLES = 1024; // 21 ms at 48 kHz
const PAST_SAMPLES = 8192; // 171 ms: less than the quiet before what begins
const AUDIBLE = 0.1; // -54 dBFS
const VOICE = 0.45; // -33 dBFS: somebody speaks into the microphone
const VOICE_TICKS = 2;
const SOFTER = 0.15; // -16 dB
const SOFTER_FOR_MS = 400; // after the voice; then it was nothing, or the platform has said so
const SOFTER_AT_MOST_TICKS = 100; // of one passage of the agent: it may not want to be interrupted
const GAP_TICKS = 5; // words are closer to each other
const SILENT_AT_MOST_MS = 1000;

const TIME_EVERY_MS = 1000;
const LOUD = 0.3; // -42 dBFS: the agent speaks
const ONSET = 0.01;
const PAUSE_TICKS = 15; // what is loud after so long a quiet begins
const ECHOES_FIRST = 3; // of messages: by then the platform's clock is known well enough

const METER_EVERY_MS = 80;
const TEST_MS = 4000;
const HEARD_LEVEL = 0.4; // -36 dBFS: a voice at arm's length, not a fan
const HEARD_TIMES = 4;

export const after = (ms) => new Promise((done) => setTimeout(done, ms));

/** How loud a stream (or a node) is, from 0 (-60 dBFS) to 1. */
export class Meter {
  constructor(context, source) {
    this.source = source instanceof AudioNode ? source : context.createMediaStreamSource(source);
    this.analyser = new AnalyserNode(context, { fftSize: PAST_SAMPLES });
    this.source.connect(this.analyser);
    this.samples = new Float32Array(PAST_SAMPLES);
    this.newest = this.samples.subarray(-LEVEL_SAMPLES);
  }

  read() {
    this.analyser.getFloatTimeDomainData(this.samples);
    const power = this.newest.reduce((sum, value) => sum + value * value, 0) / LEVEL_SAMPLES;
    const decibels = 10 * Math.log10(power + 1e-12);
    return Math.min(1, Math.max(0, (decibels + 60) / 60));
  }

  /** Return since when what was read last is as loud as this, by the page's clock. It looks back as far as a busy page
   *  may read too late. */
  since(loud) {
    const first = this.samples.findIndex((value) => Math.abs(value) >= loud);
    return performance.now() - (1000 * (this.samples.length - Math.max(0, first))) / this.analyser.context.sampleRate;
  }

  close() {
    this.source.disconnect(this.analyser);
  }
}

/** What a browser calls the ways in which it gives no microphone, and what we do. */
export const MICROPHONE_ERRORS = {
  NotAllowedError: "refused",
  SecurityError: "refused",
  NotFoundError: "no_device",
  OverconstrainedError: "no_device",
  NotReadableError: "device_busy",
  AbortError: "device_busy",
};

/** The meters of both sides; `show` is called again and again from the first one on. */
export class Meters {
  constructor(isMuted, show) {
    Object.assign(this, { isMuted, show, sides: {} });
  }

  follow(side, context, source) {
    this.forget(side);
    try {
      this.sides[side] = new Meter(context, source);
    } catch {
      // no meter is no reason to be silent
    }
    this.timer ??= setInterval(this.show, METER_EVERY_MS);
  }

  level(side) {
    return side === "user" && this.isMuted() ? 0 : (this.sides[side]?.read() ?? 0);
  }

  forget(side) {
    this.sides[side]?.close();
    delete this.sides[side];
  }

  close() {
    clearInterval(this.timer);
    this.timer = null;
    Object.keys(this.sides).forEach((side) => this.forget(side));
  }
}

/** How long sound takes from the page to the loudspeaker, in milliseconds. */
export const outputMs = (context) => 1000 * ((context?.baseLatency ?? 0) + (context?.outputLatency ?? 0));

/** Listen for a few seconds; resolves to whether a voice was heard. */
export async function hearsAVoice(level) {
  const until = performance.now() + TEST_MS;
  let heard = 0;
  while (performance.now() < until && heard < HEARD_TIMES) {
    await after(METER_EVERY_MS);
    heard += level() > HEARD_LEVEL ? 1 : 0;
  }
  return heard >= HEARD_TIMES;
}

/** Lets the user have the floor: the agent is softer as soon as a voice is heard here, which may be a cough, and
 *  silent once the platform has stopped it, until what the browser still has of the old sound has run out. */
export class Hush {
  constructor(read, setVolume) {
    Object.assign(this, { read, setVolume, voice: 0, quiet: 0, soft: 0, softUntil: 0, silentUntil: 0 });
    this.timer = setInterval(() => this.tick(performance.now()), TICK_MS);
  }

  silence() {
    if (this.quiet < GAP_TICKS) this.silentUntil = performance.now() + SILENT_AT_MOST_MS;
    this.apply(performance.now());
  }

  tick(now) {
    this.quiet = this.read("agent") > AUDIBLE ? 0 : this.quiet + 1;
    this.voice = this.read("user") > VOICE ? this.voice + 1 : 0;
    if (this.quiet >= GAP_TICKS) this.silentUntil = this.softUntil = this.soft = 0;
    else if (this.voice >= VOICE_TICKS && this.soft < SOFTER_AT_MOST_TICKS) this.softUntil = now + SOFTER_FOR_MS;
    if (now < this.softUntil) this.soft += 1;
    this.apply(now);
  }

  apply(now) {
    this.setVolume(now < this.silentUntil ? 0 : now < this.softUntil ? SOFTER : 1);
  }

  close() {
    clearInterval(this.timer);
    this.setVolume(1);
  }
}

/** What the platform's clock says, and how long messages of ours take to it: half the time until their answer is here. */
class PlatformClock {
  constructor() {
    this.sent = new Map();
    this.echoes = [];
    this.number = 0;
  }

  next() {
    this.sent = new Map([...this.sent].slice(-10));
    this.sent.set(++this.number, performance.now());
    return this.number;
  }

  answered(number, at) {
    if (!this.sent.has(number)) return;
    const [sent, now] = [this.sent.get(number), performance.now()];
    this.sent.delete(number);
    this.echoes = [...this.echoes.slice(-9), { way: (now - sent) / 2, ahead: 1000 * at - (sent + now) / 2 }];
  }

  get way() {
    return this.echoes.at(-1)?.way ?? null;
  }

  /** Return an instant of this page by the platform's clock, in seconds; the quickest answer knows best. */
  at(instant) {
    const [best] = [...this.echoes].sort((one, other) => one.way - other.way);
    return best ? (instant + best.ahead) / 1000 : null;
  }
}

/** Tells the platform how long sound takes: it is part of the wait for an answer.
 *
 *  It tells it when the agent begins to be heard, and besides as seldom as will do where the line `isQuiet`: in a
 *  notebook every message makes the sign of a busy kernel blink. The line has `agentMeter()`, `ways(way)` (milliseconds to
 *  the agent and to the user; nothing where no sound travels), `out()`, `tell(content)` and `show(delay)`. */
export class Timing {
  constructor(line) {
    Object.assign(this, { line, clock: new PlatformClock(), notLoud: 0, notHeard: 0, isUntold: true });
    this.timers = [setInterval(() => this.listen(), TICK_MS), setInterval(() => this.time(), TIME_EVERY_MS)];
  }

  /** Notice when the agent begins to be heard: that is what an answer is waited for. */
  listen() {
    const level = this.line.agentMeter()?.read() ?? 0;
    if (level > AUDIBLE && this.notHeard >= PAUSE_TICKS) this.isUntold = true;
    if (level > LOUD && this.notLoud >= PAUSE_TICKS) this.time(this.line.agentMeter().since(ONSET));
    this.notHeard = level > AUDIBLE ? 0 : this.notHeard + 1;
    this.notLoud = level > LOUD ? 0 : this.notLoud + 1;
  }

  async time(begunAt = null) {
    const ways = await this.line.ways(this.clock.way);
    if (!ways) return;
    const out = this.line.out();
    const isKnown = ways.toAgent !== null && ways.toUser !== null;
    this.line.show(isKnown ? ways.toAgent + ways.toUser + out : null);
    if (begunAt === null && this.line.isQuiet() && !this.isUntold && this.clock.echoes.length >= ECHOES_FIRST) return;
    this.isUntold &&= !isKnown;
    const took = { to_agent_ms: isKnown ? ways.toAgent : null, to_user_ms: isKnown ? ways.toUser + out : null };
    const heard = begunAt === null ? null : this.clock.at(begunAt + out);
    this.line.tell({ ...took, is_at_start: begunAt !== null, heard_at: heard, number: this.clock.next() });
  }

  close() {
    this.timers.forEach(clearInterval);
  }
}
