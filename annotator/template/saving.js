// What has to reach the server, one after the other. What is called saved is on its disk.

const outbox = { waiting: [], busy: false };

/** Send a change of an item; it is tried again until the server has it. */
function save(item, path, body) {
  const token = Math.random().toString(36).slice(2) + Math.random().toString(36).slice(2);
  outbox.waiting.push({ item, path, body: { ...body, token, seconds: secondsSince() } });
  if (!outbox.busy) empty();
}

async function empty() {
  outbox.busy = true;
  showSaved("saving");
  // What was done is seen first: the server, often on the same processors, would delay its picture.
  await painted();
  let pause = 250;
  while (outbox.waiting.length) {
    showSaved("saving");
    const [{ item, path, body }] = outbox.waiting;
    try {
      await ask(path, body);
      outbox.waiting.shift();
      pause = 250;
    } catch (error) {
      if (error instanceof Refused && error.status < 500) {
        // What was to come after it goes on from a state that is not there.
        outbox.waiting = outbox.waiting.filter((other) => other.item !== item);
        refused(item, error);
      } else {
        showSaved("failed", error instanceof Refused ? error.message : "no answer from the server");
        await new Promise((resolve) => { setTimeout(resolve, pause); });
        pause = Math.min(pause * 2, 5000);
      }
    }
  }
  outbox.busy = false;
  showSaved("saved");
}

/** A promise of the moment when nothing is left to send. */
async function allSaved() {
  while (outbox.busy) await new Promise((resolve) => { setTimeout(resolve, 20); });
}

const SAVED = { saved: "Saved", saving: "Saving…", failed: "Not saved" };
function showSaved(state, reason) {
  parts.saved.textContent = reason ? `${SAVED[state]}: ${reason}; trying again` : SAVED[state];
  parts.saved.dataset.state = state;
}

addEventListener("beforeunload", (event) => { if (outbox.busy) event.preventDefault(); });
