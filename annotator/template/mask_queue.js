// All images of the queue, as a list of which only what is in sight is in the document.

const QUEUE_ROW = 34;
const queue = { items: [], shown: [], at: 0 };

async function openQueue() {
  const dialog = byId("queue");
  const search = make("input", {
    type: "search", placeholder: "Search names", "aria-label": "Search names", autofocus: true,
    oninput: () => filterQueue(search.value),
    onkeydown: (event) => {
      const by = { ArrowDown: 1, ArrowUp: -1, PageDown: 10, PageUp: -10 }[event.key];
      if (by) { event.preventDefault(); moveInQueue(by); }
      if (event.key === "Enter") { event.preventDefault(); pickFromQueue(queue.shown[queue.at]); }
    },
  });
  const inner = make("div", { class: "lines" });
  parts.queueList = make("div", { class: "scroll", role: "listbox", "aria-label": "Images", onscroll: drawQueue }, inner);
  parts.queueCount = make("p", { class: "count", role: "status" });
  dialog.replaceChildren(make("h2", { id: "queue-title", text: "Images" }), search, parts.queueList, parts.queueCount,
    make("form", { method: "dialog" }, make("button", { text: "Close" })));
  dialog.showModal();
  await allSaved();
  queue.items = (await ask("items")).map(([id, key, status, lent, answers]) => ({ id, key, status, lent: Boolean(lent), answers }));
  filterQueue("");
}

function filterQueue(text) {
  const wanted = text.toLowerCase();
  queue.shown = queue.items.filter(({ key }) => key.toLowerCase().includes(wanted));
  queue.at = Math.max(0, queue.shown.findIndex(({ id }) => id === work?.id));
  const done = queue.items.filter(({ status }) => status === "done").length;
  parts.queueCount.textContent = `${plural(queue.shown.length, "image")} of ${whole.format(queue.items.length)}, ${whole.format(done)} done by you`;
  parts.queueList.firstChild.style.height = `${queue.shown.length * QUEUE_ROW}px`;
  moveInQueue(0);
}

function moveInQueue(by) {
  queue.at = clamp(queue.at + by, 0, Math.max(0, queue.shown.length - 1));
  const top = queue.at * QUEUE_ROW;
  const list = parts.queueList;
  if (top < list.scrollTop || top + QUEUE_ROW > list.scrollTop + list.clientHeight) list.scrollTop = top - list.clientHeight / 2;
  drawQueue();
}

function drawQueue() {
  const list = parts.queueList;
  const first = Math.max(0, Math.floor(list.scrollTop / QUEUE_ROW) - 5);
  const last = Math.min(queue.shown.length, first + Math.ceil(list.clientHeight / QUEUE_ROW) + 10);
  list.firstChild.replaceChildren(...queue.shown.slice(first, last).map((item, index) => {
    const place = first + index;
    const state = item.status || (item.lent ? "with another" : item.answers ? "done by another" : "");
    const line = make("button", {
      role: "option", "aria-selected": place === queue.at, class: place === queue.at ? "at" : "", tabindex: -1,
      onclick: () => pickFromQueue(item),
    }, make("span", { text: item.key }), make("small", { class: item.status, text: state }));
    line.style.transform = `translateY(${place * QUEUE_ROW}px)`;
    return line;
  }));
}

async function pickFromQueue(item) {
  if (!item) return;
  byId("queue").close();
  await openItem({ id: item.id });
}
