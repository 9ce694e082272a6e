// What the picture shows, in the words of the host's interrogators, at the press of a button. No work at import.

import { make } from "./dragtext_dom.mjs";
import { send } from "./dragtext_http.mjs";

/**
 * A button for each way that the host has. root: where they go, which names the ways, or null; picture(): id of the
 * picture on the canvas; prompt(), put(text): what stands in the form, and another text into it.
 */
export function addDescribers(root, { say, tell, picture, prompt, put }) {
  if (!root) return;
  const buttons = root.dataset.ways.split(" ").map((way) =>
    make("button", {
      type: "button",
      "data-way": way,
      text: say(`describe_${way}`),
      title: say(`describe_${way}_help`),
      onclick: () => describe(way),
    }),
  );
  root.replaceChildren(make("span", { text: say("describe") }), ...buttons);

  async function describe(way) {
    const asked = picture();
    if (!asked) return tell(say("no_picture"), true);
    for (const button of buttons) button.disabled = true;
    tell(say("describing"));
    try {
      const told = await send(`pictures/${encodeURIComponent(asked)}/prompt`, { way });
      if (picture() !== asked) return; // another one was opened meanwhile
      const before = prompt();
      await put(told.prompt);
      const back = { text: say("describe_back"), act: () => put(before).then(() => tell("")) };
      tell(say("described"), false, before && before !== told.prompt ? back : null);
    } catch (error) {
      tell(error.message, true);
    } finally {
      for (const button of buttons) button.disabled = false;
    }
  }
}
