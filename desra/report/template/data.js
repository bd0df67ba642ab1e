// The data of the report: its rows, and what lies beside the page of each image.

const page = JSON.parse(document.getElementById("page-data").textContent);
const rows = page.rows.map(([key, error, values, file, url], index) =>
  ({ index, key, error, values, file: file ?? key, url: url ?? escapePath(key) }));
const rowOfKey = new Map(rows.map((row) => [row.key, row]));

/** Name of a semantic class; several are listed for one index, the first says it. */
function className(index) {
  return index === 255 ? "no class" : (page.classes[index] ?? `class ${index}`).split(/[;,]/)[0];
}

const pagePath = (kind, row, suffix) => `page/${kind}/${escapePath(row.file)}.${suffix}`;

// Data of an image comes as a script that calls this; a page opened from a disk may not fetch.
const waiting = new Map();
const loaded = new Map();
window.desraPage = (kind, key, data) => waiting.get(`${kind} ${key}`)?.(data);

/** What `write_views` ("views") or `write_regions` ("regions") wrote of an image; a promise. */
function load(kind, row) {
  const name = `${kind} ${row.key}`;
  if (!loaded.has(name)) {
    loaded.set(name, new Promise((resolve, reject) => {
      const source = pagePath(kind, row, "js");
      const script = make("script", { src: source });
      const finish = (action, value) => { waiting.delete(name); script.remove(); action(value); };
      waiting.set(name, (data) => finish(resolve, data));
      script.onerror = () => {
        loaded.delete(name);
        finish(reject, new Error(`${decodeURIComponent(source)} is missing`));
      };
      document.head.append(script);
    }));
    if (loaded.size > 64) loaded.delete(loaded.keys().next().value);
  }
  return loaded.get(name);
}
