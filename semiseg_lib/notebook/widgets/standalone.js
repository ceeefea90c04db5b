// Starts a widget's script on a page without a kernel: the data lie in the page itself.

function start(key) {
  const root = document.querySelector(`[data-static-widget="${key}"]:not([data-started])`);
  const data = document.querySelector(`script[data-static-payload="${key}"]`);
  if (!root || !data) return;
  root.setAttribute("data-started", "");
  const payload = JSON.parse(data.textContent);
  const values = { ...payload.state };
  const reactions = [];
  root.replaceChildren();
  mount(root, payload, {
    get: (name) => values[name],
    set: (name, value) => {
      values[name] = value;
      reactions.filter((entry) => entry.name === name).forEach((entry) => entry.react());
    },
    onChange: (name, react) => reactions.push({ name, react }),
  });
}
