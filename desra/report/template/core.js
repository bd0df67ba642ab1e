// Small helpers, number formats, theme: what every page has. The files become one script.

const byId = (id) => document.getElementById(id);
const clamp = (value, low, high) => Math.min(Math.max(value, low), high);
const calm = matchMedia("(prefers-reduced-motion: reduce)");

/** A key as part of a URL; rows whose key is not plain UTF-8 bring their own. */
function escapePath(path) {
  return path.split("/").map(encodeURIComponent).join("/");
}

/** An element with properties: class, text, attributes (aria-…, role, data-…), on… listeners. */
function make(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === undefined || value === null || value === false) continue;
    if (name === "class") element.className = value;
    else if (name === "text") element.textContent = value;
    else if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

const SVG = "http://www.w3.org/2000/svg";
function makeSvg(tag, attributes = {}, ...children) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

const ICONS = {
  back: "M10 3 5 8l5 5",
  previous: "M10 3 5 8l5 5",
  next: "m6 3 5 5-5 5",
  up: "M8 13V3M4 7l4-4 4 4",
  down: "M8 3v10M4 9l4 4 4-4",
  grid: "M2.5 2.5h4.5v4.5h-4.5zM9 2.5h4.5v4.5h-4.5zM2.5 9h4.5v4.5h-4.5zM9 9h4.5v4.5h-4.5z",
  table: "M2 4h12M2 8h12M2 12h12",
  theme: "M8 2a6 6 0 1 0 0 12zM8 2a6 6 0 0 1 0 12",
  help: "M5.8 6.2a2.2 2.2 0 1 1 3.2 2c-.7.4-1 .8-1 1.5M8 12.2v.1",
  single: "M2.5 3h11v10h-11z",
  wipe: "M2.5 3h11v10h-11zM8 1v14M5.5 6.5 4 8l1.5 1.5M10.5 6.5 12 8l-1.5 1.5",
  side: "M2 3h5v10H2zM9 3h5v10H9z",
  all: "M2 2.5h5v4.5H2zM9 2.5h5v4.5H9zM2 9h5v4.5H2zM9 9h5v4.5H9z",
  grip: "M6 4.5 2.5 8 6 11.5M10 4.5 13.5 8 10 11.5",
  outline: "M3 6.5 7 3l6 2.5.5 5L8 13l-4.5-2z",
  panel: "M2 3h12v10H2zM10 3v10",
  full: "M6 2.5H2.5V6M10 2.5h3.5V6M6 13.5H2.5V10M10 13.5h3.5V10",
  pixels: "M3 3h5v5H3zM8 8h5v5H8z",
  warning: "M8 2.5 14.5 13.5h-13zM8 6.5v3.5M8 11.8v.1",
};
function icon(name) {
  return makeSvg("svg", { viewBox: "0 0 16 16", class: "glyph", "aria-hidden": "true" },
    makeSvg("path", { d: ICONS[name] }));
}

const whole = new Intl.NumberFormat("en-US", { maximumFractionDigits: 0 });
const small = new Intl.NumberFormat("en-US", { maximumSignificantDigits: 3 });
const grouped = new Intl.NumberFormat("en-US", { maximumFractionDigits: 1 });
/** Three decimals, so that columns line up; more only where they would all be zero, fewer above 10. */
function numberText(value) {
  const size = Math.abs(value);
  if (size >= 10) return grouped.format(value);
  return size >= 0.01 || size === 0 ? value.toFixed(3) : small.format(value);
}
function shareText(value) {
  const percent = value * 100;
  if (percent === 0) return "0\u00a0%";
  if (percent < 0.01) return "<\u00a00.01\u00a0%";
  return `${percent.toFixed(percent < 9.95 ? 2 : 1)}\u00a0%`;
}
const FORMATS = {
  text: (value) => String(value),
  integer: (value) => whole.format(value),
  number: numberText,
  share: shareText,
  seconds: (value) => `${value.toFixed(value < 10 ? 2 : 1)} s`,
};
function format(column, value) {
  if (value === null || value === undefined || value === "") return "–";
  return typeof value === "number" ? FORMATS[column.kind](value) : String(value);
}
const plural = (count, word) => `${whole.format(count)} ${word}${count === 1 ? "" : "s"}`;

/** Choices kept between visits where the browser allows it for files. */
const choices = {
  get(name, standard) {
    try { return JSON.parse(localStorage.getItem(`desra.${name}`)) ?? standard; } catch { return standard; }
  },
  set(name, value) {
    try { localStorage.setItem(`desra.${name}`, JSON.stringify(value)); } catch { /* private window */ }
  },
};

/** A row of exclusive choices; arrow keys move within it. */
function segments(element, options, value, choose) {
  element.replaceChildren(...options.map(({ value: own, label, icon: glyph, title }) =>
    make("button", {
      role: "radio", title, "data-value": own, "aria-label": glyph ? title : undefined,
      onclick: () => select(own),
    }, glyph ? icon(glyph) : label)));
  function select(chosen, quiet = false) {
    for (const button of element.children) {
      const on = button.dataset.value === chosen;
      button.setAttribute("aria-checked", on);
      button.tabIndex = on ? 0 : -1;
      if (on && element.contains(document.activeElement)) button.focus();
    }
    if (!quiet) choose(chosen);
  }
  element.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    if (!step) return;
    event.preventDefault();
    event.stopPropagation();
    const all = [...element.children];
    const at = all.indexOf(document.activeElement);
    select(all[(at + step + all.length) % all.length].dataset.value);
  });
  select(value, true);
  return select;
}

let toastTimer = 0;
function toast(text) {
  const element = byId("toast");
  (document.querySelector("dialog[open] .viewer-body") ?? document.body).append(element);
  element.textContent = text;
  element.classList.add("shown");
  clearTimeout(toastTimer);
  toastTimer = setTimeout(() => element.classList.remove("shown"), 2600);
}

function setTheme(theme) {
  if (theme) document.documentElement.dataset.theme = theme;
}
function toggleTheme() {
  const dark = getComputedStyle(document.documentElement).colorScheme.startsWith("dark");
  setTheme(dark ? "light" : "dark");
  choices.set("theme", dark ? "light" : "dark");
}
setTheme(choices.get("theme", null));
byId("theme-button").append(icon("theme"));
byId("theme-button").addEventListener("click", toggleTheme);
