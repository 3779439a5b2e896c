// The runs of this browser, in its own database. Nothing of it leaves the browser.

const MOST = 50;
const STORE = "runs";

let opened = null;

/** The database, or null where the browser keeps nothing (a private window): runs then live as long as the page. */
function database() {
  opened ??= new Promise((resolve) => {
    try {
      const request = indexedDB.open("mixture-of-agents", 1);
      request.onupgradeneeded = () => request.result.createObjectStore(STORE, { keyPath: "id" });
      request.onsuccess = () => resolve(request.result);
      request.onerror = () => resolve(null);
    } catch {
      resolve(null);
    }
  });
  return opened;
}

async function inStore(mode, action) {
  const base = await database();
  if (!base) return undefined;
  return new Promise((resolve, reject) => {
    const transaction = base.transaction(STORE, mode);
    const request = action(transaction.objectStore(STORE));
    transaction.oncomplete = () => resolve(request?.result);
    transaction.onabort = () => reject(transaction.error);
  });
}

/** Runs of this page, newest first: what the list shows. */
export class History {
  constructor() {
    this.runs = [];
  }

  /** Read what the browser has kept. */
  async load() {
    const kept = (await inStore("readonly", (store) => store.getAll())) ?? [];
    this.runs = kept.sort((one, other) => other.asked - one.asked);
  }

  /** Keep a run, and forget the oldest ones beyond the bound. */
  async add({ id, asked, model, question, events }) {
    const saved = { id, asked, model, question, events };
    this.runs = [saved, ...this.runs.filter((one) => one.id !== id)];
    const old = this.runs.splice(MOST);
    await inStore("readwrite", (store) => {
      for (const run of old) store.delete(run.id);
      return store.put(saved);
    });
  }

  async remove(id) {
    this.runs = this.runs.filter((one) => one.id !== id);
    await inStore("readwrite", (store) => store.delete(id));
  }

  async clear() {
    this.runs = [];
    await inStore("readwrite", (store) => store.clear());
  }
}
