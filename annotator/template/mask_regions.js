// The regions of the mask: accepted or rejected by a key, noticed or not, and what kind they are.

let selectedRegion = null;

/** The regions of the mask as it is, and those detected ones that nothing is left of. */
function lookAtRegions(target) {
  const { mask, width, height, base } = target;
  const regions = findRegions(mask, width, height);
  const states = new Map(); // the last word on each pixel that was accepted or rejected by
  for (const { tool, detail } of target.done) if (detail.x !== undefined && (tool === "accept" || tool === "reject")) states.set(`${detail.x} ${detail.y}`, { ...detail, tool });
  for (const region of regions) {
    region.detected = target.source === "detected" && countIn(base, width, region) > 0;
    region.state = [...states.values()].some(({ x, y, tool }) => tool === "accept" && inRegion(region, x, y)) ? "accepted" : "";
  }
  target.baseRegions ??= target.source === "detected" ? findRegions(base, width, height) : [];
  const gone = target.baseRegions.filter((region) => countIn(mask, width, region) === 0);
  for (const region of gone) Object.assign(region, { detected: true, state: "rejected" });
  return [...regions, ...gone].sort((one, other) => other.area - one.area);
}

let regionTimer = 0;
/** The mask is another now: its regions, soon, and what there is to undo, at once. */
function maskChanged() {
  showHistory();
  clearTimeout(regionTimer);
  regionTimer = setTimeout(refreshRegions, work.width * work.height > 2 ** 20 ? 150 : 0);
}

function refreshRegions() {
  clearTimeout(regionTimer);
  const held = selectedRegion;
  work.regions = lookAtRegions(work);
  selectedRegion = held && work.regions.find((region) => inRegion(region, held.x, held.y)) || null;
  listRegions();
  drawInk(null);
}

function regionNow() {
  refreshRegions();
  return selectedRegion;
}

const voteOn = (region) => work.votes.findLast(({ x, y }) => inRegion(region, x, y));

function listRegions(most = 200) {
  const open = work.regions.filter(({ detected, state }) => detected && !state).length;
  parts.regionTitle.textContent = work.regions.length ? plural(work.regions.length, "region") : "No regions";
  parts.regionMore.textContent = open ? `${whole.format(open)} to accept (y) or reject (n)` : "";
  parts.regionList.replaceChildren(...work.regions.slice(0, most).map(regionItem));
  parts.share.textContent = shareText(work.regions.reduce((sum, { state, area }) => sum + (state === "rejected" ? 0 : area), 0) / (work.width * work.height));
}

const STATES = { accepted: "accepted", rejected: "rejected", "": "to be decided" };
function regionItem(region) {
  const vote = voteOn(region);
  const said = region.state === "rejected" ? "rejected" : region.detected ? STATES[region.state] : "drawn";
  const noticed = vote?.noticed === true ? "noticed" : vote?.noticed === false ? "not noticed" : "notice it?";
  return make("li", { class: `${region.state || "open"} ${region === selectedRegion ? "lit" : ""}` },
    make("button", {
      class: "pick", "aria-label": `Region of ${whole.format(region.area)} pixels, ${said}`, "aria-pressed": region === selectedRegion,
      onclick: () => selectRegion(region),
    }, make("b", { text: `${whole.format(region.area)} px` }), make("small", { text: said })),
    make("span", { class: "verdict" },
      make("button", { class: "icon", title: "Accept (y)", "aria-label": "Accept", "aria-pressed": region.state === "accepted", onclick: () => decide(region, "accept") }, icon("yes")),
      make("button", { class: "icon", title: "Reject (n)", "aria-label": "Reject", "aria-pressed": region.state === "rejected", onclick: () => decide(region, "reject") }, icon("no"))),
    region.state === "rejected" ? null : make("span", { class: "said" },
      make("button", { class: "notice", title: "Do you notice it? (u)", "aria-pressed": vote?.noticed === true, onclick: () => voteNext(region), text: noticed }),
      make("input", {
        class: "kind", list: "kinds", placeholder: "kind (c)", "aria-label": "Kind of artifact", value: vote?.kind ?? "", maxlength: 80,
        onchange: (event) => sendVote(region, vote?.noticed ?? null, event.target.value),
        onkeydown: (event) => { event.stopPropagation(); if (event.key === "Enter" || event.key === "Escape") event.target.blur(); },
      })));
}
Object.assign(ICONS, { yes: "m3 8.500 3.500 3.500L13 4.500", no: "M4 4l8 8M12 4l-8 8" });

function selectRegion(region, go = true) {
  selectedRegion = region;
  listRegions();
  if (region && go) fly(boxView([region.left, region.top, region.right - region.left, region.bottom - region.top]), 200);
  drawInk(null);
  parts.regionList.querySelector(".lit")?.scrollIntoView({ block: "nearest" });
}

function stepRegion(by) {
  refreshRegions();
  if (!work.regions.length) return toast("No regions");
  const at = work.regions.indexOf(selectedRegion);
  const next = at < 0 ? (by > 0 ? 0 : work.regions.length - 1) : (at + by + work.regions.length) % work.regions.length;
  return selectRegion(work.regions[next]);
}

/** Accept or reject a region; then the next one that is open is selected. */
function decide(region, tool) {
  if (!region) return stepRegion(1);
  const place = { x: region.x, y: region.y };
  const value = tool === "accept" ? 1 : 0;
  const order = work.regions.filter(({ detected, state }) => detected && !state);
  const next = order[order.indexOf(region) + 1] ?? order.find((other) => other !== region) ?? null;
  let box = null;
  if (value === 0 || region.state === "rejected") {
    paintRegion(work.mask, work.width, region, value);
    box = { left: region.left, top: region.top, right: region.right, bottom: region.bottom };
    redraw(box);
  }
  commit(tool, box, place);
  refreshRegions();
  const follow = next && work.regions.find((other) => inRegion(other, next.x, next.y));
  if (follow && follow !== region) selectRegion(follow);
  else selectRegion(work.regions.find((other) => inRegion(other, place.x, place.y)) ?? null, false);
  return undefined;
}

/** Accept or reject all that is open. */
function decideAll(tool) {
  refreshRegions();
  for (const region of work.regions.filter(({ detected, state }) => detected && !state)) {
    let box = null;
    if (tool === "reject") {
      paintRegion(work.mask, work.width, region, 0);
      box = { left: region.left, top: region.top, right: region.right, bottom: region.bottom };
      redraw(box);
    }
    commit(tool, box, { x: region.x, y: region.y });
  }
  refreshRegions();
}

function voteNext(region) {
  if (!region) return toast("Select a region first: r");
  if (region.state === "rejected") return toast("A rejected region is not voted on");
  const vote = voteOn(region);
  const noticed = vote?.noticed === true ? false : vote?.noticed === false ? null : true;
  toast({ true: "Noticed", false: "Not noticed", null: "No vote" }[noticed]);
  return sendVote(region, noticed, vote?.kind ?? "");
}

function sendVote(region, noticed, kind) {
  const vote = { x: region.x, y: region.y, noticed, kind };
  work.votes.push(vote);
  save(work, `items/${work.id}/vote`, vote);
  listRegions();
}

function askKind() {
  if (!selectedRegion) return toast("Select a region first: r");
  const input = parts.regionList.querySelector(".lit .kind");
  input?.focus();
  input?.select();
  return undefined;
}
