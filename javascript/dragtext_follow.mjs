// Following a job to its end: by the server's events where they come through, else by asking now and then.
// No work at import.

const ACTIVE = ["queued", "running"];
const OFTEN = 500; // milliseconds between questions
const SELDOM = 3000; // where nobody looks; or answers, since A1111 dies of what is asked in the middle of its start
const PATIENCE = 90000; // of a server that does not answer, for example while it is reloaded
const FIRST = 3000; // until the first event; what is held back by a proxy is asked for instead
const SILENCE = 25000; // between two events; the server says something every ten seconds

const isActive = (state) => ACTIVE.includes(state.state);

/**
 * Follow until the job has ended, and give back its last state; null where it is gone, or another job is followed now.
 * listen(signal): async iterator of states, null for a sign of life; may be missing. ask(): the state, may throw an
 * error with `status`; show(state); trouble(message, status); wait(milliseconds); current(): whether this job is still the
 * one that is followed; hidden(): whether nobody looks.
 */
export async function follow({ listen, ask, show, trouble, wait, current, hidden, now = () => Date.now() }) {
  if (listen && current()) {
    const last = await hear({ listen, show, current, wait });
    if (!current()) return null;
    if (last) return last;
  }
  let silentSince = null;
  while (current()) {
    try {
      const state = await ask();
      silentSince = null;
      if (!current()) return null;
      await show(state);
      if (!isActive(state)) return state;
    } catch (error) {
      const status = error.status ?? 0;
      trouble(error.message, status);
      if (status === 401 || status === 403 || status === 404) return null;
      silentSince ??= now();
      if (now() - silentSince > PATIENCE) return null;
    }
    await wait(hidden() || silentSince !== null ? SELDOM : OFTEN);
  }
  return null;
}

/** The last state where the events came to the end of the job, else null: then it is for the questions. */
async function hear({ listen, show, current, wait }) {
  const stop = new AbortController();
  const events = listen(stop.signal);
  let patience = FIRST;
  try {
    while (current()) {
      const late = { late: true };
      const next = await Promise.race([events.next(), wait(patience).then(() => late)]);
      if (next.late || next.done) return null;
      patience = SILENCE;
      if (!next.value) continue;
      if (!current()) return null;
      await show(next.value);
      if (!isActive(next.value)) return next.value;
    }
  } catch {
    return null;
  } finally {
    stop.abort();
  }
  return null;
}

/** The events of a stream of bytes: {event, data}; a comment is an event without data. */
export async function* readEvents(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  try {
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      rest += value.replaceAll("\r", "");
      const parts = rest.split("\n\n");
      rest = parts.pop();
      for (const part of parts) yield readEvent(part);
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}

function readEvent(text) {
  const found = { event: "message", data: "" };
  for (const line of text.split("\n")) {
    if (line.startsWith("event:")) found.event = line.slice(6).trim();
    if (line.startsWith("data:")) found.data += line.slice(5).trim();
  }
  return found;
}
