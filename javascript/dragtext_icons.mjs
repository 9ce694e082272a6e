// The icons of the stage's buttons, lines on a field of 20 by 20. No work at import.

const PATHS = {
  open: '<path d="M2.5 15.5v-11h5l2 2h8v2.5"/><path d="M2.5 15.5l2.6-6.5h12.9l-2.6 6.5z"/>',
  undo: '<path d="M7 4L3.5 7.5 7 11"/><path d="M3.5 7.5H12a4.3 4.3 0 0 1 0 8.6H7.5"/>',
  redo: '<path d="M13 4l3.5 3.500L13 11"/><path d="M16.5 7.500H8a4.3 4.3 0 0 0 0 8.600h4.5"/>',
  drag: '<circle cx="4.8" cy="15.2" r="2.3" fill="currentColor"/><path d="M6.6 13.400L14 6"/><path d="M9.3 4.500h6.200v6.2"/>',
  move: '<path d="M5 2.800l10.5 8.4-4.9.7 2.7 4.8-2.2 1.2-2.7-4.900L5 16.500z"/>',
  pin: '<path d="M10 18s5.5-5.7 5.5-10A5.5 5.5 0 0 0 4.5 8c0 4.3 5.5 10 5.5 10z"/><circle cx="10" cy="7.8" r="1.9" fill="currentColor"/>',
  pick: '<path d="M3 17l8.5-8.5"/><path d="M13.5 2.500v3M13.5 10.500v3M8 8h3M16 8h3M17 4.500l-1.6 1.600M10 4.500l1.6 1.600M17 11.500l-1.6-1.6"/>',
  brush:
    '<path d="M16.8 3.200c-2.6 1.2-6.3 5-7.8 7.600l1.9 1.900c2.6-1.5 6.2-5.1 7.1-7.5.4-1.3-.2-2.3-1.2-2z"/><path d="M8.6 11.400c-2.3-.3-3.7 1-4.1 2.9-.3 1.3-1 2-2 2.4 2.8.8 7.6.7 8-3.3"/>',
  eraser:
    '<path d="M8 16.500L3.3 11.800a1.3 1.3 0 0 1 0-1.800l6.6-6.500a1.3 1.3 0 0 1 1.8 0l4.8 4.800a1.3 1.3 0 0 1 0 1.800L10 16.500z"/><path d="M6.6 6.900l6.5 6.500M6 16.500h11.5"/>',
  rectangle: '<rect x="3" y="4.5" width="14" height="11" rx="1" stroke-dasharray="3 2.2"/>',
  lasso:
    '<path d="M6.5 13.500C4 12.6 2.8 11 2.8 9c0-3.3 3.2-5.7 7.2-5.700s7.2 2.4 7.2 5.6-3.2 5.3-6.7 5.300c-1.7 0-3.3-.3-4.4-.9"/><circle cx="6.4" cy="14" r="1.5"/><path d="M6 15.400c.3 1.2-.3 2.2-1.5 2.8"/>',
  delete:
    '<path d="M3.5 5.500h13M8 5.500V3.300h4v2.200M5 5.500l.8 11.200h8.400L15 5.500M8.3 8.500v5.300M11.7 8.500v5.3"/>',
  around:
    '<path d="M6.5 13.500l6.3-6.300M9 6.800h4.200V11"/><path d="M4.2 11.200l7-7a3.250 3.250 0 0 1 4.6 4.600l-7 7a3.250 3.250 0 0 1-4.6-4.600z" stroke-dasharray="2.6 2"/>',
  invert: '<circle cx="10" cy="10" r="6.8"/><path d="M10 3.200a6.8 6.8 0 0 1 0 13.600z" fill="currentColor"/>',
  clear: '<circle cx="10" cy="10" r="6.8"/><path d="M7.4 7.400l5.2 5.200M12.6 7.400l-5.2 5.2"/>',
  fit: '<path d="M3 7V3h4M13 3h4v4M17 13v4h-4M7 17H3v-4"/><rect x="6.5" y="6.5" width="7" height="7" rx="1"/>',
  pixels: '<path d="M3 6.500l2-1.500v10M13 6.500L15 5v10"/><path d="M10 8v.3M10 12v.3" stroke-width="2.2"/>',
  preview:
    '<path d="M1.8 10S4.8 4.5 10 4.5 18.2 10 18.2 10 15.2 15.5 10 15.5 1.8 10 1.8 10z"/><circle cx="10" cy="10" r="2.5"/>',
  help: '<circle cx="10" cy="10" r="7.2"/><path d="M7.7 7.700c.1-1.3 1-2.1 2.3-2.100s2.3.8 2.3 2-.7 1.6-1.5 2.200c-.6.4-.8.8-.8 1.5"/><path d="M10 14v.2" stroke-width="2"/>',
  run: '<path d="M6.5 4l9 6-9 6z" fill="currentColor"/>',
  close: '<path d="M5 5l10 10M15 5L5 15"/>',
  plus: '<path d="M10 4.500v11M4.5 10h11"/>',
  minus: '<path d="M4.5 10h11"/>',
  object: '<path d="M10 3.200l6 3.300v7L10 16.8 4 13.500v-7z"/><path d="M4.3 6.700L10 9.800l5.7-3.100M10 9.800v6.7"/>',
};

/** The markup of an icon. It says nothing to a screen reader; the button has the name. */
export function icon(name) {
  return (
    '<svg class="dragtext_icon" viewBox="0 0 20 20" width="20" height="20" aria-hidden="true" focusable="false" fill="none" ' +
    `stroke="currentColor" stroke-width="1.6" stroke-linecap="round" stroke-linejoin="round">${PATHS[name]}</svg>`
  );
}
