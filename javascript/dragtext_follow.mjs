// Following a job to its end by asking for its state now and then. No work at import.

const ACTIVE = ["queued", "running"];
const OFTEN = 500; // milliseconds between questions
const SELDOM = 3000; // where nobody looks
const PATIENCE = 90000; // of a server that does not answer, for example while it is reloaded

/**
 * Ask until the job has ended, and give back its last state; null where it is gone, or another job is followed now.
 * ask(): the state, may throw an error with `status`; show(state); trouble(message, status); wait(milliseconds);
 * current(): whether this job is still the one that is followed; hidden(): whether nobody looks.
 */
export async function follow({ ask, show, trouble, wait, current, hidden, now = () => Date.now() }) {
  let silentSince = null;
  while (current()) {
    try {
      const state = await ask();
      silentSince = null;
      if (!current()) return null;
      await show(state);
      if (!ACTIVE.includes(state.state)) return state;
    } catch (error) {
      const status = error.status ?? 0;
      trouble(error.message, status);
      if (status === 401 || status === 403 || status === 404) return null;
      silentSince ??= now();
      if (now() - silentSince > PATIENCE) return null;
    }
    await wait(hidden() ? SELDOM : OFTEN);
  }
  return null;
}
