// Going through a queue: what is open, what comes next and is made ready, what was before.
// A page that loads this says how an item is made ready (`prepare`), shown (`show`), and where the
// server has it (`workPath`).

let work = null; // the item that is open
let ahead = null; // a promise of the next one, with its pictures decoded
const past = []; // what was open before this one: id, repeat

function enterWork(target) {
  if (work && work !== target) past.push({ id: work.id, repeat: work.repeat });
  work = target;
}

/** Lets the browser draw and answer, in the middle of work that nobody waits for. */
const breath = () => new Promise((resolve) => { setTimeout(resolve); });
/** What is shown now is on the screen; in a tab that nobody sees, after a while. */
const painted = () => new Promise((resolve) => {
  requestAnimationFrame(() => setTimeout(resolve));
  setTimeout(resolve, 200);
});

function lookAhead() {
  ahead = (async () => {
    await painted();
    await allSaved(); // else the server would give once more what has just been done
    try {
      return await prepare(await ask("next", { without: [work?.id ?? 0], opened: false }));
    } catch { return undefined; } // asked again when it is needed
  })();
}

/** The next item: the one that was made ready, if it is still free. */
async function next() {
  const waited = ahead;
  ahead = null; // the next key, however soon, is for another one
  const ready = await waited;
  if (!ready) {
    await allSaved();
    try {
      show(await prepare(await ask("next", { without: [], opened: true })));
    } catch (error) {
      toast(error.message);
      return undefined;
    }
    lookAhead();
    return undefined;
  }
  const { version } = ready;
  show(ready);
  lookAhead();
  try {
    await allSaved();
    if (work !== ready) return undefined;
    const payload = await ask(`${workPath(ready)}/open`, {});
    // What is drawn meanwhile may have arrived or not; all else was made elsewhere.
    if (payload.version < version || payload.version > ready.version) return openItem(ready);
  } catch (error) {
    if (work !== ready) return undefined;
    toast(error.message);
    work = null;
    return next();
  }
  return undefined;
}

async function openItem(item) {
  await allSaved();
  try {
    const target = await prepare(await ask(`${workPath(item)}/open`, {}));
    if (isOpen(item)) work = null; // opened anew, not gone on from
    show(target);
    lookAhead();
  } catch (error) {
    toast(error.message);
  }
}

const isOpen = (item) => work !== null && work.id === item.id && work.repeat === item.repeat;

/** The server has not taken a change of this item: show it as the server has it. */
function refused(item, error) {
  toast(error.message);
  if (isOpen(item)) openItem(item);
}

async function back() {
  const item = past.pop();
  if (item === undefined) { toast("This was the first"); return; }
  const held = work;
  await openItem(item);
  if (held && work !== held) past.pop(); // going back is not a step on
}
