// What does the person see and press? Text from outside becomes text only (textContent), never markup.

const ICONS = { ready: "○", connecting: "◌", listening: "●", thinking: "…", speaking: "▶", ended: "■" };
const KINDS = {
  auto: "sound: choose for me",
  webrtc: "WebRTC only",
  comm: "through the notebook",
  push_to_talk: "push to talk",
  text: "typing only",
};
const LOST = { what: "The kernel was restarted or is gone.", instead: "What was said is kept: run the cell again to start anew." };
const HINT = "Use headphones: then the agent never hears itself.";

/** Make an element: properties as given, text as text, elements as children. */
function make(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "class") element.className = value;
    else if (typeof value === "boolean") element.toggleAttribute(name, value);
    else element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child !== null && child !== ""));
  return element;
}

const show = (element, isShown) => (element.hidden = !isShown);

const clock = (secs) => `${Math.floor(secs / 60)}:${String(Math.floor(secs % 60)).padStart(2, "0")}`;

/** One turn: who, what was heard and what was not, tools, times. */
function turnView(turn) {
  return make(
    "li",
    { class: `convai-turn convai-${turn.role}` },
    make("div", { class: "convai-who" }, make("strong", {}, turn.who), ...turn.marks.map((m) => make("span", { class: "convai-mark" }, m))),
    ...turn.tools.map(toolView),
    saidView(turn),
    turn.error ? make("p", { class: "convai-wrong" }, `⚠ error: ${turn.error}`) : null,
    make("div", { class: "convai-small" }, turn.times.join(" · ")),
  );
}

function saidView(turn) {
  const cut = turn.unheard ? make("del", { title: "not heard" }, turn.unheard) : null;
  const words = turn.heard || turn.unheard ? [turn.heard, cut] : [turn.error ? "" : "(no words)"];
  const said = make("p", { class: "convai-said", dir: "auto" }, ...words.filter(Boolean));
  if (turn.interruption) said.append(make("span", { class: "convai-small" }, ` ✂ ${turn.interruption}`));
  return said;
}

function toolView(tool) {
  const summary = make("summary", {}, tool.is_error ? "⚠ tool " : "⚙ tool ", make("code", {}, tool.name), ` · ${tool.outcome}`);
  const given = tool.arguments ? [make("div", { class: "convai-small" }, "arguments"), make("pre", {}, tool.arguments)] : [];
  const label = tool.is_error ? "error" : "result";
  const result = tool.result === null ? [] : [make("div", { class: "convai-small" }, label), make("pre", {}, tool.result)];
  return make("details", { class: "convai-tool" }, summary, ...given, ...result);
}

class PanelView {
  constructor(model, el, media) {
    Object.assign(this, { model, el, media, shown: [], listeners: [] });
    this.build();
    this.follow(model, "status facts turns partial printed problem finished elapsed", () => this.update());
    this.follow(media, "line levels devices test delay muted", () => this.updateSound());
    this.follow(media, "line", () => this.isLost && this.update());
    this.ticking = setInterval(() => this.tick(), 500);
    this.update();
    this.updateSound();
  }

  follow(model, names, react) {
    names.split(" ").forEach((name) => this.hear(model, `change:${name}`, react));
  }

  hear(model, event, react) {
    model.on(event, react);
    this.listeners.push([model, event, react]);
  }

  close() {
    clearInterval(this.ticking);
    this.listeners.forEach(([model, event, react]) => model.off(event, react));
    if (this.playing) URL.revokeObjectURL(this.playing);
  }

  // What there is to see

  build() {
    this.state = make("span", { class: "convai-state", role: "status" });
    this.timer = make("span", { class: "convai-timer", title: "time since the start", "aria-hidden": "true" });
    const head = make("div", { class: "convai-head" }, this.state, make("strong", { class: "convai-agent" }, this.model.get("agent")), this.timer);
    this.facts = make("ul", { class: "convai-facts", "aria-label": "What serves this session" });
    this.problem = make("div", { class: "convai-problem", role: "alert" });
    this.turns = make("ol", { class: "convai-turns", "aria-label": "What was said" });
    this.announcer = make("div", { class: "convai-unseen", role: "log", "aria-live": "polite" });
    this.partial = make("p", { class: "convai-partial", "aria-hidden": "true", dir: "auto" });
    this.printed = make("pre", { class: "convai-printed", "aria-label": "Printed by tools" });
    this.root = make("section", {
      class: "convai-panel", tabindex: "0", "aria-label": `Voice session with ${this.model.get("agent")}`,
      "data-lm-suppress-shortcuts": "true", onkeydown: (event) => this.key(event), onkeyup: (event) => this.keyUp(event),
    });
    this.root.append(head, this.facts, this.problem, this.buildStart(), this.buildControls(), this.turns, this.announcer, this.partial, this.printed, this.buildForm(), this.buildFinished());
    this.el.append(this.root);
  }

  buildStart() {
    const kinds = this.model.get("kinds") ?? KINDS; // a page of its own has others
    this.startButton = this.button("Start talking", () => this.start(), "convai-primary");
    this.kind = make("select", { "aria-label": "How the sound travels" }, ...Object.entries(kinds).map(([value, name]) => make("option", { value }, name)));
    this.testButton = this.button("Test microphone", () => this.order({ do: "test" }));
    this.testSays = make("span", { class: "convai-small", role: "status" });
    const hint = make("div", { class: "convai-small convai-hint" }, HINT);
    this.startRow = make("div", { class: "convai-row" }, this.startButton, this.testButton, this.kind, this.testSays, hint);
    return this.startRow;
  }

  buildControls() {
    this.muteButton = this.button("Mute", () => this.mute(), "", { "aria-pressed": "false", title: "M" });
    this.pushButton = this.button("Hold to talk", null, "convai-primary", {
      title: "Space", onpointerdown: () => this.press(true), onpointerup: () => this.press(false), onpointerleave: () => this.press(false),
    });
    this.user = make("meter", { min: "0", max: "1", "aria-label": "Your loudness" });
    this.agent = make("meter", { min: "0", max: "1", "aria-label": "The agent's loudness" });
    this.device = make("select", { "aria-label": "Microphone", onchange: () => this.order({ do: "device", id: this.device.value }) });
    this.endButton = this.button("End", () => this.model.send({ do: "end" }));
    this.delay = make("span", { title: "How long sound takes to the platform and back; it is part of the times of the turns" });
    this.meters = make("span", { class: "convai-meters" }, make("label", {}, "you ", this.user), make("label", {}, "agent ", this.agent), this.delay);
    this.controls = make("div", { class: "convai-row" }, this.pushButton, this.muteButton, this.meters, this.device, this.endButton);
    return this.controls;
  }

  buildForm() {
    this.text = make("input", { type: "text", placeholder: "Or type here", "aria-label": "Type to the agent", maxlength: "20000" });
    const send = (event) => {
      event.preventDefault();
      const text = this.text.value.trim();
      if (text) this.model.send({ do: "say", text });
      this.text.value = "";
    };
    this.form = make("form", { class: "convai-row convai-form", onsubmit: send }, this.text, make("button", { type: "submit" }, "Send"));
    return this.form;
  }

  buildFinished() {
    this.sound = make("audio", { controls: true });
    this.playButton = this.button("Play", () => this.model.send({ do: "play" }));
    this.codeBox = make("pre", { class: "convai-code" });
    this.copied = make("span", { class: "convai-small", role: "status" });
    this.removeButton = this.button("Remove panel", () => this.model.send({ do: "remove" }), "", { title: "The transcript below stays" });
    const copy = (what, label) => this.button(label, () => this.copy(what));
    this.id = make("code", {});
    const row = make("div", { class: "convai-row" }, this.playButton, copy("code", "Copy as code"), copy("test", "Copy as test"), this.removeButton, this.copied);
    this.soundNote = make("div", { class: "convai-small" });
    this.done = make("div", { class: "convai-done" }, make("div", {}, "Conversation ", this.id), row, this.soundNote, this.sound, this.codeBox);
    show(this.sound, false);
    show(this.codeBox, false);
    this.hear(this.model, "msg:custom", (message, buffers) => message.do === "play" && this.play(buffers[0], message.mime));
    return this.done;
  }

  button(label, act, style = "", more = {}) {
    return make("button", { type: "button", class: style, ...(act ? { onclick: act } : {}), ...more }, label);
  }

  // What has changed

  update() {
    const { state, words } = this.isLost && this.model.get("status").state !== "ended" ? { state: "ended", words: "Ended" } : this.model.get("status");
    this.state.replaceChildren(make("span", { "aria-hidden": "true", class: `convai-icon convai-${state}` }, ICONS[state] ?? "○"), ` ${words}`);
    this.facts.replaceChildren(...this.model.get("facts").map(([name, value]) => make("li", {}, `${name} `, make("b", {}, value))));
    this.updateTurns();
    this.partial.textContent = this.model.get("partial");
    show(this.partial, this.partial.textContent !== "" && !this.isEnded);
    this.printed.textContent = this.model.get("printed");
    show(this.printed, this.printed.textContent !== "");
    this.updateProblem();
    this.updateFinished();
    this.updateSound();
    this.tick();
    if (this.isEnded && !this.hasLeft) leaveNotebook(this.model);
    this.hasLeft = this.isEnded;
  }

  /** Only what changed is made anew, so that opened tools stay open. */
  updateTurns() {
    const turns = this.model.get("turns").map((turn) => [turn.index, JSON.stringify(turn), turn]);
    const old = new Map(this.shown.map((known) => [known.index, known]));
    const isAtEnd = this.turns.scrollHeight - this.turns.scrollTop - this.turns.clientHeight < 40;
    this.shown = turns.map(([index, text, turn]) => {
      const known = old.get(index);
      if (!known) this.announce(turn);
      return known?.text === text ? known : { index, text, element: turnView(turn) };
    });
    this.shown.forEach(({ element }, i) => this.turns.children[i] !== element && this.turns.insertBefore(element, this.turns.children[i] ?? null));
    while (this.turns.children.length > this.shown.length) this.turns.lastChild.remove();
    show(this.turns, this.shown.length > 0 && (!this.isEnded || this.isAlone || this.isLost));
    if (isAtEnd) this.turns.scrollTop = this.turns.scrollHeight;
  }

  /** A screen reader reads each turn once, not again when its times are known. */
  announce(turn) {
    this.announcer.replaceChildren(make("p", {}, `${turn.who}: ${turn.heard}`));
  }

  updateProblem() {
    const { what, instead } = this.isLost && this.model.get("status").state !== "ended" ? LOST : this.model.get("problem");
    show(this.problem, Boolean(what));
    this.problem.replaceChildren(...(what ? [make("strong", {}, `⚠ ${what}`), ` ${instead}`] : []));
  }

  updateFinished() {
    const { id, code } = this.model.get("finished");
    show(this.done, this.isEnded && Boolean(id));
    this.id.textContent = id ?? "";
    show(this.playButton, Boolean(this.model.get("finished").has_audio) && this.sound.hidden);
    const lacks = this.model.get("finished").audio_problem;
    this.soundNote.textContent = lacks ? `⚠ sound: ${lacks}` : "";
    show(this.soundNote, Boolean(lacks));
    show(this.removeButton, !this.isAlone);
    if (!code) show(this.codeBox, false);
  }

  updateSound() {
    const line = this.media.get("line") ?? {};
    const isOpen = line.phase === "open" && line.kind !== "text";
    const isIdle = ["ready", "failed", "closed"].includes(line.phase) || (line.phase === "open" && line.kind === "text");
    show(this.startRow, !this.isEnded && isIdle);
    const isRunning = this.model.get("status").state !== "ready";
    show(this.controls, !this.isEnded && !isIdle);
    show(this.endButton, isRunning || !isIdle);
    const row = isIdle ? this.startRow : this.controls;
    const moved = [this.device, this.endButton].filter((control) => control.parentElement !== row);
    moved.forEach((control) => row.insertBefore(control, isIdle ? this.testSays : null));
    [this.muteButton, this.meters].forEach((control) => show(control, isOpen));
    show(this.pushButton, isOpen && line.kind === "push_to_talk");
    show(this.muteButton, isOpen && line.kind !== "push_to_talk");
    const isMuted = Boolean(this.media.get("muted"));
    this.muteButton.setAttribute("aria-pressed", String(isMuted));
    this.muteButton.textContent = isMuted ? "Unmute (you are muted)" : "Mute";
    this.pushButton.textContent = line.recording ? "Release to send" : "Hold to talk";
    show(this.form, !this.isEnded);
    this.startButton.textContent = this.model.get("status").state === "ready" ? "Start talking" : "Connect the microphone";
    this.updateLevels();
    this.updateDevices(isOpen || this.media.get("test")?.phase === "done");
  }

  updateLevels() {
    const levels = this.media.get("levels") ?? {};
    this.user.value = levels.user ?? 0;
    this.agent.value = levels.agent ?? 0;
    const delay = this.media.get("delay");
    this.delay.textContent = delay ? `on the way ${Math.round(delay)} ms` : "";
    const test = this.media.get("test") ?? {};
    const verdict = test.heard ? "✓ We hear you." : "✗ Nothing heard: choose another microphone, or turn it up.";
    const words = { listening: `Say something … ${"▮".repeat(Math.round((levels.user ?? 0) * 10))}`, done: verdict }[test.phase] ?? "";
    if (this.testSays.textContent !== words) this.testSays.textContent = words;
  }

  updateDevices(isShown) {
    const devices = this.media.get("devices") ?? [];
    show(this.device, isShown && devices.length > 1 && !this.isEnded);
    if (this.device.dataset.known === JSON.stringify(devices)) return;
    this.device.dataset.known = JSON.stringify(devices);
    this.device.replaceChildren(...devices.map(({ id, label }) => make("option", { value: id }, label)));
  }

  tick() {
    const { secs, running } = this.model.get("elapsed");
    if (this.elapsed !== this.model.get("elapsed")) {
      this.elapsed = this.model.get("elapsed");
      this.elapsedAt = performance.now();
    }
    if (this.isLost) return;
    this.timer.textContent = clock(secs + (running ? (performance.now() - this.elapsedAt) / 1000 : 0));
  }

  /** In a page of its own there is no transcript below that stays. */
  get isAlone() {
    return this.model.get("alone") === true;
  }

  get isEnded() {
    return this.isLost || this.model.get("status").state === "ended";
  }

  /** Whether the kernel went away, and with it whoever could tell anything more. */
  get isLost() {
    return this.media.get("line")?.phase === "lost";
  }

  // What the person does

  order(order) {
    this.media.trigger("order", order);
  }

  start(kind = this.kind.value) {
    this.model.send({ do: "start", kind });
    this.order({ do: "start", kind });
  }

  mute() {
    const on = !this.media.get("muted");
    this.order({ do: "mute", on });
    this.model.send({ do: "mute", on });
  }

  /** The pointer holds the button; one that only passes over it ends nothing that the space bar began. */
  press(on) {
    if (on || this.isPressed) this.clip(on);
    this.isPressed = on;
  }

  clip(on) {
    if (Boolean(this.media.get("line").recording) !== on) this.order({ do: "clip", on });
  }

  key(event) {
    const isElsewhere = event.key === " " && event.target.closest("button") && event.target !== this.pushButton;
    if (isElsewhere || event.target.closest("input, select, summary, audio") || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key.toLowerCase() === "m" && !this.muteButton.hidden) this.mute();
    else if (event.key === " " && !this.pushButton.hidden && !event.repeat) this.clip(true);
    else if (event.key !== " " || event.target !== this.root) return;
    event.preventDefault();
  }

  keyUp(event) {
    if (event.key === " " && !this.pushButton.hidden) this.clip(false);
  }

  async copy(what) {
    const text = this.model.get("finished")[what];
    this.codeBox.textContent = text;
    show(this.codeBox, true);
    try {
      await navigator.clipboard.writeText(text);
      this.copied.textContent = "Copied: paste it into a cell or a file.";
    } catch {
      this.copied.textContent = "The browser forbids copying: select the text below.";
    }
  }

  play(bytes, mime) {
    this.playing = URL.createObjectURL(new Blob([bytes], { type: mime }));
    this.sound.src = this.playing;
    show(this.sound, true);
    show(this.playButton, false);
    this.sound.play().catch(() => {});
  }
}

export default {
  async render({ model, el }) {
    const own = await model.widget_manager.get_model(model.get("view_id") ?? "").catch(() => null);
    if (own?.comm_live === false) return el.append(make("small", {}, goneLine(model))); // saved with all its state
    const media = await model.widget_manager.get_model(model.get("media").replace("IPY_MODEL_", ""));
    const view = new PanelView(model, el, media);
    if (!view.isEnded) standIn(model, true);
    model.send({ do: "shown" });
    return () => view.close();
  },
};
