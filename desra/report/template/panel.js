// Beside the panes: figures of the image, legend, regions, files; and the tooltip at the pointer.

const percent = (share) => `${Math.round(share * 100)}\u00a0%`;
const classesText = (classes, most) => classes.slice(0, most).filter(([, share]) => share >= 0.005)
  .map(([index, share]) => `${className(index)}\u00a0${percent(share)}`).join(", ");
const areaText = (area) => `${whole.format(area)} px`;
/** Facts of a region to be told in words, but for the line that says why it was marked. */
const factsOf = (region) => Object.entries(region.facts).filter(([name]) => name !== "why");
const factText = ([name, value]) => `${name.replaceAll("_", " ")} ${typeof value === "number" ? small.format(value) : value}`;

function fillPanel() {
  const { row } = stage;
  parts.facts.replaceChildren(
    ...[["size", `${scene.width} × ${scene.height}`, ""],
      ...page.columns.map((column, index) => [column.title, format(column, row.values[index]), column.hint])]
      .filter(([name], index, all) => index === 0 || name !== all[0][0])
      .map(([name, value, hint]) => make("div", { title: hint || undefined }, make("dt", { text: name }), make("dd", { text: value }))));

  parts.outlineList.replaceChildren(...stage.outlines.map((outline) => make("li", {}, make("button", {
    class: "switch", "aria-pressed": !stage.hidden.has(outline.name), title: "Show or hide",
    onclick: (event) => toggleOutline(outline.name, event.currentTarget),
  }, swatch(outline), make("span", { text: outline.name }),
  make("small", { text: plural(outline.count, "region") })))));
  parts.outlineList.hidden = stage.outlines.length === 0;

  const facts = new Set(stage.regions.flatMap(({ facts }) => Object.keys(facts).filter((name) => typeof facts[name] === "number")));
  parts.regionTitle.replaceChildren(make("h3", { text: stage.regions.length ? plural(stage.regions.length, "region") : "No regions" }));
  if (facts.size) {
    parts.regionTitle.append(make("select", { "aria-label": "Sort regions by", onchange: (event) => listRegions(event.target.value) },
      ...["area", ...facts].map((name) => make("option", { value: name, text: `by ${name.replaceAll("_", " ")}` }))));
  }
  listRegions("area");

  parts.files.replaceChildren(
    ...page.files.map(([title, path]) => fileLink(title, path.split("{key}").map(escapePath).join(row.url))),
    ...stage.views.layers.map((layer) => fileLink(`${layer.name} as shown`, layerPath(row, layer))));
}

/** The list, of area or of a fact the largest first, of distances the lowest; as many as can be
    looked through. */
function listRegions(name, most = 300) {
  const sign = ["distance", "adjusted"].includes(name) ? -1 : 1;
  const value = (region) => (name === "area" ? region.area : sign * (region.facts[name] ?? -sign * Infinity));
  stage.regions.sort((one, other) => value(other) - value(one) || other.area - one.area);
  const rest = stage.regions.length - most;
  parts.regionList.replaceChildren(...stage.regions.slice(0, most).map(regionItem));
  parts.regionMore.textContent = rest > 0 ? `and ${plural(rest, "more region")}` : "";
}

function fileLink(title, path) {
  return make("li", {}, make("a", { href: path, target: "_blank", rel: "noopener", text: title }),
    make("a", { href: path, download: true, class: "icon", "aria-label": `Save ${title}`, title: `Save ${title}` }, icon("down")));
}

const swatch = (outline) => {
  const mark = make("span", { class: outline.dash ? "swatch dashed" : "swatch" });
  mark.style.setProperty("--colour", outline.colour);
  mark.style.setProperty("--fill", outline.fill);
  return mark;
};

function regionItem(region) {
  const facts = factsOf(region).map(factText);
  return make("li", { "data-region": region.id }, make("button", {
    onclick: () => { light(region); fly(boxView(region.box), 320); },
    onpointerenter: () => light(region), onpointerleave: () => light(null),
    onfocus: () => light(region), onblur: () => light(null),
    "aria-label": `Go to ${region.outline.name} ${region.number}, ${areaText(region.area)}`,
  },
  swatch(region.outline),
  make("span", { class: "what" },
    make("span", { class: "number", text: region.number }),
    make("b", { text: areaText(region.area) }),
    make("small", { text: shareText(region.area / (scene.width * scene.height)) }),
    ...facts.map((text) => make("em", { text })),
    region.classes.length ? make("span", { class: "classes", text: classesText(region.classes, 3) }) : null,
    region.facts.why ? make("span", { class: "why", text: region.facts.why }) : null)));
}

function toggleOutline(name, button) {
  if (!stage.hidden.delete(name)) stage.hidden.add(name);
  button.setAttribute("aria-pressed", !stage.hidden.has(name));
  if (!stage.lines) stage.lines = true;
  showOutlines();
}

/** Tooltip, readout and the pointer's twin in the other panes. */
function followPointer(event) {
  const over = paneUnder(event);
  if (!over || !stage.views) return leavePointer();
  const place = placeUnder(event, over);
  const inside = place.x >= 0 && place.y >= 0 && place.x < scene.width && place.y < scene.height;
  for (const other of parts.panes.children) {
    const ghost = other.querySelector(".ghost");
    ghost.hidden = other === over || !inside;
    const bounds = over.getBoundingClientRect();
    ghost.style.transform = `translate(${event.clientX - bounds.left}px, ${event.clientY - bounds.top}px)`;
  }
  if (!inside) return leavePointer();
  const values = stage.views.layers.filter((layer) => layer.values)
    .map((layer) => `${layer.name} ≈ ${valueAt(place, layer).toFixed(2)}`);
  parts.readout.textContent = [`x ${Math.floor(place.x)}  y ${Math.floor(place.y)}`, ...values].join("   ");
  const region = regionAt(place);
  if (region !== stage.lit) light(region);
  showTooltip(event, region, labelAt(place), values);
}

function showTooltip(event, region, label, values) {
  const busy = parts.panes.classList.contains("dragging") || event.target.closest("button, select, [role=slider]");
  parts.tooltip.hidden = Boolean(busy) || (!region && label === null);
  if (parts.tooltip.hidden) return;
  parts.tooltip.replaceChildren(
    ...(region ? [
      make("strong", {}, swatch(region.outline), `${region.outline.name} ${region.number}`,
        make("span", { text: `${areaText(region.area)} · ${shareText(region.area / (scene.width * scene.height))}` })),
      ...factsOf(region).map((fact) => make("div", { text: factText(fact) })),
      region.facts.why ? make("div", { text: region.facts.why }) : "",
      ...region.classes.map(([index, share]) => classBar(index, share)),
    ] : []),
    make("div", { class: "here" }, ...[
      label === null ? null : make("span", { text: `Here: ${className(label)}` }),
      ...values.map((text) => make("span", { text })),
    ].filter(Boolean)));
  const [width, height] = [parts.tooltip.offsetWidth, parts.tooltip.offsetHeight];
  const bounds = parts.body.getBoundingClientRect();
  const [x, y] = [event.clientX - bounds.left, event.clientY - bounds.top];
  const right = x + 18 + width > bounds.width ? x - width - 14 : x + 18;
  const down = y + 18 + height > bounds.height ? y - height - 14 : y + 18;
  parts.tooltip.style.transform = `translate(${Math.max(4, right)}px, ${Math.max(4, down)}px)`;
}

function classBar(index, share) {
  const bar = make("div", { class: "class" }, make("span", { text: className(index) }), make("span", { text: percent(share) }));
  bar.style.setProperty("--part", share);
  return bar;
}

function leavePointer() {
  parts.tooltip.hidden = true;
  parts.readout.textContent = "";
  for (const ghost of parts.panes.querySelectorAll(".ghost")) ghost.hidden = true;
  if (stage.lit && !parts.regionList.contains(document.activeElement)) light(null);
}
