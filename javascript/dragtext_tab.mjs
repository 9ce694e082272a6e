// Showing our tab of a WebUI. No work at import.

const NAME = "DragText";

/** Press the button of the tab that an element lies in; nothing where it lies in none, or is shown already. */
export function showTab(element) {
  for (let panel = element?.closest(".tabitem"); panel; panel = panel.parentElement?.closest(".tabitem")) {
    const bar = panel.parentElement.querySelector(":scope > .tab-nav");
    const buttons = [...(bar?.querySelectorAll("button") ?? [])];
    const panels = [...panel.parentElement.querySelectorAll(":scope > .tabitem")];
    const button = buttons.find(({ textContent }) => textContent.trim() === NAME) ?? buttons[panels.indexOf(panel)];
    button?.click();
  }
}
