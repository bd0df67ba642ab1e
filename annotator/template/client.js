// Talking to the server: requests, and who one is.

class Refused extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

/** The server's answer to a request, with a body if something is sent. Throws `Refused`. */
async function ask(path, body, options = {}) {
  const sending = body === undefined ? {} : {
    method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body),
  };
  const answer = await fetch(`api/${path}`, { ...sending, ...options });
  if (answer.ok) return answer.json();
  let detail = answer.statusText;
  try { detail = (await answer.json()).detail ?? detail; } catch { /* no JSON: a proxy's page */ }
  throw new Refused(answer.status, typeof detail === "string" ? detail : "The server did not understand the page; reload it.");
}

let session = null;

/** The session, once there is a name; asks for one where anybody may come. */
async function enter() {
  session = await ask("session");
  if (session.name) return session;
  const dialog = byId("enter");
  const title = make("h2", { id: "enter-title", text: session.open ? "Who are you?" : "Open your own link" });
  if (!session.open) {
    dialog.replaceChildren(title, make("p", { text: "Each annotator has a link, which the server printed when it was started. Open yours." }));
    dialog.showModal();
    return new Promise(() => {});
  }
  const name = make("input", {
    type: "text", name: "name", autocomplete: "name", maxlength: 60, required: true, autofocus: true,
    value: choices.get("name", ""), "aria-labelledby": "enter-title",
  });
  const message = make("p", { class: "reason", role: "alert" });
  return new Promise((resolve) => {
    const form = make("form", {
      onsubmit: async (event) => {
        event.preventDefault();
        try {
          await ask("enter", { name: name.value });
        } catch (error) {
          message.textContent = error.message;
          return;
        }
        choices.set("name", name.value);
        session = await ask("session");
        dialog.close();
        resolve(session);
      },
    }, make("p", { text: "What you do is kept under this name." }), name, message, make("button", { text: "Begin" }));
    dialog.addEventListener("cancel", (event) => event.preventDefault());
    dialog.replaceChildren(title, form);
    dialog.showModal();
  });
}

// What is behind requests: bytes as text, and how long somebody was at it.

function toText(bytes) {
  let text = "";
  for (let at = 0; at < bytes.length; at += 0x8000) text += String.fromCharCode(...bytes.subarray(at, at + 0x8000));
  return btoa(text);
}
function fromText(text) {
  const binary = atob(text);
  const bytes = new Uint8Array(binary.length);
  for (let at = 0; at < binary.length; at += 1) bytes[at] = binary.charCodeAt(at);
  return bytes;
}

const clock = { last: performance.now(), active: 0 };
const LONGEST_PAUSE = 30_000; // ms without any input that still count as work
for (const kind of ["pointermove", "pointerdown", "keydown", "wheel"]) {
  addEventListener(kind, () => {
    const now = performance.now();
    clock.active += Math.min(now - clock.last, LONGEST_PAUSE);
    clock.last = now;
  }, { capture: true, passive: true });
}
/** Seconds of work since this was asked last. */
function secondsSince() {
  const seconds = clock.active / 1000;
  clock.active = 0;
  return seconds;
}
