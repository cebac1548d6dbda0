// What of the panel is in the notebook that is saved? A widget is one module: this file is put before `session_panel.js`.

const VIEW = "application/vnd.jupyter.widget-view+json";
const STATE = "application/vnd.jupyter.widget-state+json";
const STAND_IN = "convai-stand-in";

/** Call `see` with each output of the notebook that is the view of a widget: its id, its cell and its place there. */
function eachView(notebook, see) {
  for (const { sharedModel: cell } of notebook?.cells ?? []) {
    (cell?.getOutputs?.() ?? []).forEach((output, i) => output.data?.[VIEW] && see(output.data[VIEW].model_id, cell, i, output));
  }
}

/** Take the panel out of the notebook that will be saved, not out of sight: opened again, it could only say that its
 *  widget is not there, for ever, above the transcript that stays. */
function leaveNotebook(model) {
  const nothing = { "text/html": "", "text/plain": "" };
  eachView(model.widget_manager.context?.model, (id, cell, i, output) => {
    if (id === model.get("view_id")) cell.updateOutputs(i, i + 1, [{ ...output, data: nothing }], "silent-change");
  });
  standIn(model, false);
}

const goneLine = (model) => `The voice panel of ${model.get("agent")} shows only while its kernel runs; what was said is below.`;

/** Let a line stand in for the panel in a notebook that is saved now and opened again without this kernel: JupyterLab
 *  takes the widgets that no kernel has from the notebook. Lines for panels that were taken away go. */
function standIn(model, isHere) {
  const notebook = model.widget_manager.context?.model;
  if (typeof notebook?.setMetadata !== "function") return;
  const { [STATE]: kept = { version_major: 2, version_minor: 0 }, ...rest } = notebook.getMetadata("widgets") ?? {};
  const shown = new Set();
  eachView(notebook, (id) => shown.add(id));
  const own = model.get("view_id");
  const isOurs = ([id, { state }]) => state?._dom_classes?.includes?.(STAND_IN) && (id === own || !shown.has(id));
  const state = Object.fromEntries(Object.entries(kept.state ?? {}).filter((entry) => !isOurs(entry)));
  if (isHere) {
    const line = { value: make("small", {}, goneLine(model)).outerHTML, _dom_classes: [STAND_IN] };
    state[own] = { model_name: "HTMLModel", model_module: "@jupyter-widgets/controls", model_module_version: "2.0.0", state: line };
  }
  const widgets = Object.keys(state).length ? { ...rest, [STATE]: { ...kept, state } } : rest;
  if (Object.keys(widgets).length) notebook.setMetadata("widgets", widgets);
  else notebook.deleteMetadata("widgets");
}
