// Does the microphone work? The sound is the panel's own (`panel_media.js`); this is only what there is to see.

const HEARD = "✓ We hear you: this microphone works.";
const NOT_HEARD = "✗ Nothing heard: choose another microphone, or turn it up, and test again.";

function make(tag, properties, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

async function render({ model, el }) {
  const media = await model.widget_manager.get_model(model.get("media").replace("IPY_MODEL_", ""));
  const button = make("button", { type: "button", className: "convai-primary", textContent: "Test microphone" });
  const level = make("meter", { min: 0, max: 1 });
  const device = make("select", { hidden: true });
  const says = make("span", { className: "convai-small" });
  const problem = make("div", { className: "convai-problem", hidden: true });
  level.setAttribute("aria-label", "Your loudness");
  device.setAttribute("aria-label", "Microphone");
  says.setAttribute("role", "status");
  problem.setAttribute("role", "alert");
  const panel = make("section", { className: "convai-panel" }, make("div", { className: "convai-row" }, button, level, device, says), problem);
  panel.setAttribute("aria-label", "Microphone test");
  el.append(panel);

  const showTest = () => {
    const { phase, heard } = media.get("test") ?? {};
    const words = { listening: "Say something …", done: heard ? HEARD : NOT_HEARD }[phase] ?? "";
    if (says.textContent !== words) says.textContent = words;
    button.disabled = phase === "listening";
    button.textContent = phase === "done" ? "Test again" : "Test microphone";
    if (phase === "done") media.trigger("order", { do: "close" }); // the browser's sign of a listening page goes out
  };
  const showLevel = () => (level.value = media.get("levels")?.user ?? 0);
  const showDevices = () => {
    const devices = media.get("devices") ?? [];
    const before = device.value;
    device.replaceChildren(...devices.map(({ id, label }) => make("option", { value: id, textContent: label })));
    if (devices.some(({ id }) => id === before)) device.value = before;
    device.hidden = devices.length < 2;
  };
  const showProblem = () => {
    const { what, instead } = model.get("problem");
    problem.hidden = !what;
    problem.textContent = what ? `⚠ ${what} ${instead}` : "";
  };
  const listeners = [
    [media, "change:test", showTest], [media, "change:levels", showLevel], [media, "change:devices", showDevices],
    [model, "change:problem", showProblem],
  ];
  listeners.forEach(([who, what, react]) => who.on(what, react));
  let chosen = null; // until somebody chooses, the browser does
  device.addEventListener("change", () => (chosen = device.value));
  button.addEventListener("click", () => {
    model.set("problem", {});
    media.trigger("order", { do: "test", id: chosen });
  });
  showTest();
  return () => listeners.forEach(([who, what, react]) => who.off(what, react));
}

export default { render };
