// The rows as a grid of thumbnails or as a table. Only what is near the window is in the document, so
// that a page of many thousand images opens, scrolls and filters at once.

const list = byId("list");
const tableHead = byId("table-head");
const layout = { kind: choices.get("layout", "grid"), size: choices.get("size", 220) };
const items = new Map(); // position in view.shown → element

const GAP = 14;
const CAPTION = 46;
const TABLE_ROW = 52;

function measure() {
  const width = list.clientWidth;
  if (layout.kind === "table") return { columns: 1, width, height: TABLE_ROW, gap: 0 };
  const columns = Math.max(width > 300 ? 2 : 1, Math.floor((width + GAP) / (layout.size + GAP)));
  const cell = (width - GAP * (columns - 1)) / columns;
  return { columns, width: cell, height: Math.round(cell / page.aspect) + CAPTION, gap: GAP };
}

/** Bring the document in line with the scroll position; `anew` where rows or layout have changed. */
function drawList(anew = false) {
  const { columns, width, height, gap } = measure();
  if (anew) {
    items.clear();
    list.replaceChildren();
    list.className = `list ${layout.kind}`;
    const table = layout.kind === "table";
    list.setAttribute("role", table ? "rowgroup" : "list");
    byId("frame").setAttribute("role", table ? "table" : "group");
    if (table) byId("frame").setAttribute("aria-rowcount", view.shown.length + 1);
    else byId("frame").removeAttribute("aria-rowcount");
    const lines = Math.ceil(view.shown.length / columns);
    list.style.height = `${Math.max(0, lines * (height + gap) - gap)}px`;
    list.style.setProperty("--cell", `${height - CAPTION}px`);
  }
  const above = -list.getBoundingClientRect().top;
  const first = Math.max(0, Math.floor((above - innerHeight / 2) / (height + gap))) * columns;
  const end = Math.ceil((above + innerHeight * 1.5) / (height + gap)) * columns;
  const last = Math.min(view.shown.length, Math.max(end, 0));
  for (const [position, element] of items) {
    const kept = (position >= first && position < last) || element.contains(document.activeElement);
    if (!kept) { element.remove(); items.delete(position); }
  }
  for (let position = first; position < last; position += 1) {
    if (items.has(position)) continue;
    const element = layout.kind === "table" ? tableRow(position) : card(position);
    const [line, column] = [Math.floor(position / columns), position % columns];
    element.style.transform = `translate(${column * (width + gap)}px, ${line * (height + gap)}px)`;
    element.style.width = `${width}px`;
    element.style.height = `${height}px`;
    // The order in the document is the order of reading.
    const after = [...items.keys()].filter((other) => other > position);
    list.insertBefore(element, after.length ? items.get(Math.min(...after)) : null);
    items.set(position, element);
  }
}

function splitName(key) {
  const cut = key.lastIndexOf("/") + 1;
  return make("span", { class: "name", title: key },
    cut ? make("i", { text: key.slice(0, cut) }) : null, make("b", { text: key.slice(cut) }));
}

function thumbnail(row) {
  if (row.error) return make("span", { class: "thumb" }, icon("warning"));
  const picture = (kind, suffix) => make("img", {
    src: pagePath(kind, row, suffix), alt: "", decoding: "async", draggable: "false",
    onerror: (event) => event.target.remove(),
  });
  return make("span", { class: "thumb" }, picture("thumbnails", "jpg"), picture("outlines", "svg"));
}

/** Number and bar of a row's share, and the value it is sorted by if that is another. */
function shareBar(row) {
  const parts = [];
  if (shareColumn) {
    const share = shareOf(row);
    parts.push(make("span", { class: share ? "share" : "share none" },
      make("span", { text: shareText(share) }),
      make("span", { class: "bar", style: `--part: ${largestShare ? Math.sqrt(share / largestShare) : 0}` })));
  }
  if (view.column >= 0 && view.column !== page.share) {
    const column = page.columns[view.column];
    parts.push(make("span", { class: "sorted", text: `${column.title} ${format(column, row.values[view.column])}` }));
  }
  return parts;
}

function card(position) {
  const row = view.shown[position];
  const inside = [thumbnail(row), make("span", { class: "caption" }, splitName(row.key),
    row.error ? make("span", { class: "reason", text: row.error, title: row.error }) : make("span", { class: "line" }, ...shareBar(row)))];
  const spoken = row.error ? `${row.key}: ${row.error}`
    : `${row.key}${shareColumn ? `, ${shareColumn.title} ${shareText(shareOf(row))}` : ""}`;
  const content = row.error
    ? make("div", { class: "card error", tabindex: 0, "aria-label": spoken }, ...inside)
    : make("a", { class: "card", href: `#${row.url}`, "aria-label": spoken }, ...inside);
  return make("div", { role: "listitem", class: "item", "aria-setsize": view.shown.length, "aria-posinset": position + 1 }, content);
}

function tableRow(position) {
  const row = view.shown[position];
  const name = row.error
    ? make("div", { class: "card error", tabindex: 0 }, thumbnail(row), splitName(row.key))
    : make("a", { class: "card", href: `#${row.url}` }, thumbnail(row), splitName(row.key));
  const cells = row.error
    ? [make("span", { role: "cell", class: "reason", text: row.error, title: row.error })]
    : page.columns.map((column, index) => make("span", {
      role: "cell", class: column.kind === "text" ? "text" : "value", text: format(column, row.values[index]),
      style: index === page.share && largestShare ? `--part: ${Math.sqrt(shareOf(row) / largestShare)}` : undefined,
    }));
  return make("div", { role: "row", class: "item row", "aria-rowindex": position + 2 },
    make("span", { role: "cell" }, name), ...cells);
}

function fillTableHead() {
  const heads = [["name", -1, "Relative path without suffix"],
    ...page.columns.map((column, index) => [column.title, index, column.hint])];
  tableHead.replaceChildren(...heads.map(([title, index, hint]) =>
    make("div", {
      role: "columnheader", "data-column": index, title: hint || undefined,
      class: index >= 0 && page.columns[index].kind !== "text" ? "value" : "text",
    }, make("button", {
      text: title, onclick: () => sortBy(index, view.column === index ? !view.descending : undefined),
    }))));
  document.documentElement.style.setProperty("--columns",
    `minmax(200px, 2.2fr) ${page.columns.map(({ kind }) => kind === "text" ? "minmax(96px, 1fr)" : "minmax(84px, .7fr)").join(" ")}`);
}

function markTableHead() {
  tableHead.hidden = layout.kind !== "table";
  for (const head of tableHead.children) {
    const sorted = Number(head.dataset.column) === view.column;
    head.setAttribute("aria-sort", sorted ? (view.descending ? "descending" : "ascending") : "none");
  }
}

/** Scroll an item into the window, make it and give it the focus. */
function focusItem(position) {
  if (position < 0 || position >= view.shown.length) return;
  const { columns, height, gap } = measure();
  const top = Math.floor(position / columns) * (height + gap);
  const cover = parseFloat(getComputedStyle(document.documentElement).getPropertyValue("--bar")) + (tableHead.hidden ? 0 : tableHead.offsetHeight) + 12;
  const seen = top + list.getBoundingClientRect().top;
  if (seen < cover) scrollBy(0, seen - cover);
  else if (seen + height > innerHeight) scrollBy(0, seen + height - innerHeight + 12);
  drawList();
  items.get(position)?.querySelector(".card")?.focus({ preventScroll: true });
}

function listKey(event) {
  const current = [...items].find(([, element]) => element.contains(document.activeElement));
  if (!current) return;
  const { columns } = measure();
  const step = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: columns, ArrowUp: -columns }[event.key];
  const target = event.key === "Home" ? 0 : event.key === "End" ? view.shown.length - 1 : step && current[0] + step;
  if (target === undefined) return;
  event.preventDefault();
  focusItem(target);
}

function startList() {
  fillTableHead();
  const size = byId("size");
  size.value = layout.size;
  const showSize = () => { byId("size-field").hidden = layout.kind === "table"; };
  showSize();
  size.addEventListener("input", () => { layout.size = Number(size.value); choices.set("size", layout.size); drawList(true); });
  segments(byId("layout"), [
    { value: "grid", icon: "grid", title: "Thumbnails" }, { value: "table", icon: "table", title: "Table" },
  ], layout.kind, (kind) => { layout.kind = kind; choices.set("layout", kind); showSize(); markTableHead(); drawList(true); });
  list.addEventListener("keydown", listKey);
  let queued = false;
  addEventListener("scroll", () => {
    if (queued) return;
    queued = true;
    requestAnimationFrame(() => { queued = false; drawList(); });
  }, { passive: true });
  new ResizeObserver(() => {
    const stuck = getComputedStyle(byId("toolbar")).position === "sticky";
    document.documentElement.style.setProperty("--bar", `${stuck ? byId("toolbar").offsetHeight : 0}px`);
  }).observe(byId("toolbar"));
  let width = 0;
  new ResizeObserver(() => {
    if (list.clientWidth !== width) { width = list.clientWidth; drawList(true); }
  }).observe(list);
}
