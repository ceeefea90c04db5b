// Joins a widget's script to a running kernel. The script defines mount(root, payload, state).

const PATIENCE = 5000; // milliseconds

async function render({ model, el }) {
  const root = document.createElement("div");
  el.appendChild(root);
  const waiting = setTimeout(() => {
    root.textContent = "Run this cell to wake its sliders: their data live in the kernel.";
  }, PATIENCE);
  const payload = await payloadOf(model);
  clearTimeout(waiting);
  root.textContent = "";
  // A native slider shares its keys with the notebook; the notebook must not see them.
  root.addEventListener("keydown", (event) => event.stopPropagation());
  const state = {
    get: (name) => model.get(name),
    set: (name, value) => {
      model.set(name, value);
      model.save_changes();
    },
    onChange: (name, react) => model.on("change:" + name, react),
  };
  return mount(root, payload, state);
}

// The data travel as a message and not as state, so that a saved notebook holds them only once.
function payloadOf(model) {
  return new Promise((resolve) => {
    const receive = (message) => {
      if (message.kind !== "payload") return;
      model.off("msg:custom", receive);
      resolve(message.payload);
    };
    model.on("msg:custom", receive);
    model.send({ kind: "payload" });
  });
}

export default { render };
