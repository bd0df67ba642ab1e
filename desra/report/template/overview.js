// Summary, settings, search, filters, sorting: which rows are shown, and in which order.

const shareColumn = page.share === null ? null : page.columns[page.share];
const shareOf = (row) => row.values[page.share] ?? 0;
const good = rows.filter((row) => !row.error);
const flawed = shareColumn ? good.filter((row) => shareOf(row) > 0) : [];
const failed = rows.filter((row) => row.error);
const largestShare = flawed.reduce((most, row) => Math.max(most, shareOf(row)), 0);

const view = {
  query: "", filter: "all", minimum: 0, without: new Set(),
  column: page.sort ?? -1,
  descending: page.sort === null ? false : page.columns[page.sort].descending,
  shown: rows,
};

function figure(name, value, note, hint) {
  return make("div", { title: hint },
    make("dt", { text: name }),
    make("dd", {}, make("b", { text: value }), note ? make("span", { text: note }) : null));
}

function fillHeader() {
  const figures = [figure("Images", whole.format(rows.length))];
  if (shareColumn) {
    const mean = good.reduce((sum, row) => sum + shareOf(row), 0) / good.length;
    figures.push(
      figure("With artifacts", whole.format(flawed.length),
        good.length ? shareText(flawed.length / good.length) : ""),
      figure(`Mean ${shareColumn.title}`, good.length ? shareText(mean) : "–", "", shareColumn.hint));
  }
  for (const [name, value] of page.summary) {
    const [rate, counts] = value.split(/ (?=\()/);
    figures.push(figure(name, rate, counts));
  }
  const errors = figure("Errors", whole.format(failed.length));
  if (failed.length) {
    errors.classList.add("bad");
    errors.lastChild.append(make("button", {
      class: "link", text: "show", "aria-label": "Show the images with errors", onclick: () => chooseFilter("errors"),
    }));
  }
  byId("figures").append(...figures, errors);
  byId("subtitle").hidden = !byId("subtitle").textContent;
  byId("key").append(...page.outlines.map((outline) => make("li", {}, ...keyEntry(outline))));
  byId("settings").append(...page.settings.map(([name, value]) =>
    make("div", {}, make("dt", { text: name }), make("dd", { text: value }))));
}

// A kind of region that a column counts can be switched off: images that have no other go.
const counted = page.outlines.map((outline) => page.columns.findIndex((column) => column.title === outline.name))
  .filter((column) => column >= 0);
function keyEntry(outline) {
  const column = page.columns.findIndex(({ title }) => title === outline.name);
  if (column < 0) return [swatch(outline), outline.name];
  const press = ({ currentTarget: button }) => {
    if (!view.without.delete(column)) view.without.add(column);
    button.setAttribute("aria-pressed", !view.without.has(column));
    refresh();
  };
  return [make("button", {
    class: "switch", "aria-pressed": true, title: "Show or hide images with it", onclick: press,
  }, swatch(outline), make("span", { text: outline.name }))];
}
const hasKinds = (row) => !view.without.size ||
  counted.some((column) => !view.without.has(column) && row.values[column] > 0);

// Shares crowd near zero, so the slider and the histogram above it go with the square root.
const shareAt = (position) => largestShare * position ** 2;

function drawHistogram(bins = 48) {
  const counts = new Array(bins).fill(0);
  for (const row of flawed) {
    counts[Math.min(bins - 1, Math.floor(Math.sqrt(shareOf(row) / largestShare) * bins))] += 1;
  }
  const most = Math.max(...counts);
  const bars = counts.map((count, bin) => makeSvg("rect", {
    x: bin + 0.12, width: 0.76, y: 1 - (count ? 0.06 + 0.94 * count / most : 0.015), height: 2, rx: 0.1,
    class: count ? "bar" : "bar none",
  }));
  const chart = makeSvg("svg", { viewBox: `0 0 ${bins} 1`, preserveAspectRatio: "none", "aria-hidden": "true" }, ...bars);
  byId("histogram").replaceChildren(chart,
    make("span", { text: `${shareColumn.title} of the ${plural(flawed.length, "image")} with artifacts` }),
    make("span", { text: shareText(largestShare) }));
  byId("histogram").hidden = false;
  return () => bars.forEach((bar, bin) => bar.classList.toggle("out", (bin + 1) / bins <= Number(byId("minimum").value) / 100));
}

const collator = new Intl.Collator("en", { numeric: true, sensitivity: "base" });
function compare(first, second) {
  if (!first.error !== !second.error) return first.error ? 1 : -1;
  if (view.column >= 0) {
    const [a, b] = [first.values[view.column], second.values[view.column]];
    const [without, other] = [a === null, b === null];
    if (without !== other) return without ? 1 : -1;
    const order = typeof a === "number" && typeof b === "number" ? a - b : without ? 0 : collator.compare(a, b);
    if (order) return view.descending ? -order : order;
    return collator.compare(first.key, second.key);
  }
  return (view.descending ? -1 : 1) * collator.compare(first.key, second.key);
}

const FILTERS = {
  all: () => true,
  flawed: (row) => !row.error && shareOf(row) > 0,
  clean: (row) => !row.error && shareOf(row) === 0,
  errors: (row) => Boolean(row.error),
};

function refresh() {
  const words = view.query.toLowerCase().split(/\s+/).filter(Boolean);
  view.shown = rows.filter((row) =>
    FILTERS[view.filter](row) && hasKinds(row) &&
    (view.minimum === 0 || (!row.error && shareOf(row) >= view.minimum)) &&
    words.every((word) => row.key.toLowerCase().includes(word))).sort(compare);
  byId("count").textContent = view.shown.length === rows.length
    ? plural(rows.length, "image") : `${whole.format(view.shown.length)} of ${plural(rows.length, "image")}`;
  byId("nothing").hidden = view.shown.length > 0;
  byId("direction").replaceChildren(icon(view.descending ? "down" : "up"));
  byId("direction").setAttribute("aria-label", view.descending ? "Largest first" : "Smallest first");
  byId("direction").title = view.descending ? "Largest first" : "Smallest first";
  byId("sort").value = view.column;
  markTableHead();
  drawList(true);
}

function sortBy(column, descending) {
  view.column = column;
  view.descending = descending ?? (column < 0 ? false : page.columns[column].descending);
  refresh();
}

let chooseFilter = () => {};
function fillToolbar() {
  const search = byId("search");
  search.addEventListener("input", () => { view.query = search.value; refresh(); });
  search.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && search.value) { search.value = view.query = ""; refresh(); }
    if (event.key === "ArrowDown" || event.key === "Enter") { event.preventDefault(); focusItem(0); }
  });

  const options = [{ value: "all", label: "All" }];
  if (shareColumn) options.push({ value: "flawed", label: "With artifacts" }, { value: "clean", label: "Without" });
  if (failed.length) options.push({ value: "errors", label: "Errors" });
  chooseFilter = segments(byId("filter"), options, "all", (value) => { view.filter = value; refresh(); });
  byId("filter").hidden = options.length === 1;

  const minimum = byId("minimum");
  const marker = flawed.length > 1 ? drawHistogram() : () => {};
  byId("minimum-field").hidden = flawed.length < 2;
  const readMinimum = () => {
    view.minimum = shareAt(Number(minimum.value) / 100);
    byId("minimum-text").textContent = shareText(view.minimum);
    minimum.setAttribute("aria-valuetext", `${shareColumn?.title ?? ""} at least ${shareText(view.minimum)}`);
    marker();
  };
  readMinimum();
  minimum.addEventListener("input", () => { readMinimum(); refresh(); });

  byId("sort").append(make("option", { value: -1, text: "name" }),
    ...page.columns.map((column, index) => make("option", { value: index, text: column.title })));
  byId("sort").addEventListener("change", (event) => sortBy(Number(event.target.value)));
  byId("direction").addEventListener("click", () => sortBy(view.column, !view.descending));
  byId("clear").addEventListener("click", () => {
    search.value = view.query = "";
    minimum.value = 0;
    readMinimum();
    view.filter = "all";
    chooseFilter("all");
    search.focus();
  });
}
