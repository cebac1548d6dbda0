// A page in which one talks: the notebook's panel, on a websocket instead of a kernel.

import panel from "./session_panel.js";
import { Sound } from "./window_sound.js";

const GET_ANOTHER = "Run %talk AGENT --window again (or: convai talk AGENT --window), and open the new link.";
const NO_LINK = `This page was opened without its link, or loaded again, and a link works only once. ${GET_ANOTHER}`;
const KINDS = { comm: "talk freely", push_to_talk: "push to talk", text: "typing only" };
const NO_RECORDING = {
  code: "platform",
  what: "The recording could not be fetched: the platform does not answer, or it is too long ago.",
  instead: "While the platform runs, conv.audio of the conversation plays it in a notebook.",
};
const PLATFORM_GONE = "The platform does not answer any more; what was said is kept.";

/** Values that tell whoever listens that they changed: what the panel expects of a widget's model. */
class Model {
  constructor(values, obey = () => {}, parts = {}) {
    Object.assign(this, { values, listeners: new Map(), send: obey });
    this.widget_manager = { get_model: async (name) => parts[name] };
  }

  get(name) {
    return this.values[name];
  }

  set(name, value) {
    this.values[name] = value;
    this.trigger(`change:${name}`);
  }

  on(name, listener) {
    this.listeners.set(name, [...(this.listeners.get(name) ?? []), listener]);
  }

  off(name, listener) {
    this.listeners.set(name, (this.listeners.get(name) ?? []).filter((one) => one !== listener));
  }

  trigger(name, ...details) {
    (this.listeners.get(name) ?? []).forEach((listener) => listener(...details));
  }
}

/** Take the token out of the address at once, so that it is in no history, bookmark or screenshot. */
function takeToken() {
  const token = window.location.hash.slice(1);
  window.history.replaceState(null, "", window.location.pathname);
  return token;
}

/** Show a token, in a body, where it is in no address. */
function post(path, token) {
  return fetch(path, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ token }),
    credentials: "omit",
  }).catch(() => null);
}

/** Exchange the link's token for the page's own; a link that works no more is said in words. */
async function exchange(token) {
  if (!token) throw new Error(NO_LINK);
  const answer = await post("/window/open", token);
  if (!answer) throw new Error(`The platform does not answer: it was stopped. ${GET_ANOTHER}`);
  const body = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new Error(body.detail?.message ?? GET_ANOTHER);
  return body.token;
}

/** Say what ends it all before there is a panel. */
function explain(sentence) {
  const said = document.createElement("p");
  said.className = "window-over";
  said.setAttribute("role", "alert");
  said.textContent = `⚠ ${sentence}`;
  document.getElementById("window").replaceChildren(said);
}

class Page {
  constructor(token) {
    const scheme = window.location.protocol === "https:" ? "wss" : "ws";
    this.socket = new WebSocket(`${scheme}://${window.location.host}/window/socket`);
    this.socket.addEventListener("open", () => this.send({ type: "window", token }));
    this.socket.addEventListener("message", ({ data }) => this.take(JSON.parse(data)));
    this.socket.addEventListener("close", ({ reason }) => this.closed(reason));
    window.addEventListener("beforeunload", (event) => this.isTalking && event.preventDefault());
  }

  get isTalking() {
    return this.model && !["ready", "ended"].includes(this.model.get("status").state);
  }

  send(message) {
    if (this.socket.readyState === WebSocket.OPEN) this.socket.send(JSON.stringify(message));
  }

  take(letter) {
    if (letter.audio) this.sound?.play(letter);
    else if ("flush" in letter) this.sound?.flush(letter.flush);
    else if ("timed" in letter) this.sound?.timing?.clock.answered(letter.timed, letter.at);
    else if (letter.set) this.model ? this.change(letter.set) : this.show(letter.set);
  }

  show(values) {
    this.media = new Model({ line: { phase: "ready", kind: "" }, levels: { user: 0, agent: 0 }, devices: [], test: {} });
    const parts = { media: this.media };
    this.model = new Model({ ...values, media: "media", alone: true, kinds: KINDS }, (message) => this.obey(message), parts);
    this.sound = new Sound(this.media, (message) => this.send(message), (error) => this.explain(error));
    document.title = `Talk with ${values.agent}`;
    const place = document.getElementById("window");
    place.replaceChildren();
    panel.render({ model: this.model, el: place });
  }

  change(values) {
    if (values.status?.state === "ended") this.sound.close();
    if (values.elapsed?.running) this.beganAt = performance.now();
    Object.entries(values).forEach(([name, value]) => this.model.set(name, value));
  }

  obey(asked) {
    if (asked.do === "say") this.say(asked.text);
    if (asked.do === "mute") this.send({ type: "live_mute", on: asked.on });
    if (asked.do === "end") this.send({ type: "window_end" });
    if (asked.do === "start") this.model.set("problem", {});
    if (asked.do === "play") this.play(this.model.get("finished").recording);
  }

  /** Fetch the recording with the token that the platform gave this page at the end, and play it. */
  async play(token) {
    const answer = await post("/window/recording", token);
    if (!answer?.ok) return this.model.set("problem", NO_RECORDING);
    const mime = answer.headers.get("content-type");
    return this.model.trigger("msg:custom", { do: "play", mime }, [await answer.arrayBuffer()]);
  }

  /** Say what went wrong in this page, in the platform's words. */
  explain(error) {
    const problems = this.model.get("problems");
    const code = error.code in problems ? error.code : "page";
    this.model.set("problem", { code, ...problems[code] });
  }

  async say(text) {
    await this.sound.openContext().catch(() => {}); // who types hears the answer, where there is sound
    if (this.media.get("line").phase === "ready") this.sound.use("text");
    this.send({ type: "user_message", text });
  }

  closed(reason) {
    if (!this.model) return explain(reason || `The platform closed the connection. ${GET_ANOTHER}`);
    this.sound.close();
    if (this.model.get("status").state === "ended") return undefined;
    const problem = { code: "gone", what: PLATFORM_GONE, instead: `It is in %transcripts. ${GET_ANOTHER}` };
    const elapsed = { secs: this.beganAt ? (performance.now() - this.beganAt) / 1000 : 0, running: false };
    return this.change({ problem, elapsed, partial: "", status: { state: "ended", words: "Ended: the platform is gone" } });
  }
}

try {
  new Page(await exchange(takeToken()));
} catch (error) {
  explain(error.message);
}
