// The texts of dragtext_send.mjs; dragtext_words.mjs puts them with the others. No work at import.

export const en = {
  send_here: "Send to DragText",
  send_here_help: "Open this picture in the DragText tab.",
  send_nowhere: "This WebUI has no {target} tab; save the picture and open it where you need it.",
  send_no_mask: "This WebUI's inpaint tab takes no mask from outside; save picture and mask and open them there.",
  send_not_taken: "The other tab did not take the picture; save it and open it there.",
};

export const de = {
  send_here: "An DragText senden",
  send_here_help: "Dieses Bild im Reiter DragText öffnen.",
  send_nowhere: "Diese WebUI hat keinen Reiter {target}; speichern Sie das Bild und öffnen Sie es, wo Sie es brauchen.",
  send_no_mask:
    "Der Inpaint-Reiter dieser WebUI nimmt keine Maske von außen an; speichern Sie Bild und Maske und öffnen Sie beides dort.",
  send_not_taken: "Der andere Reiter hat das Bild nicht angenommen; speichern Sie es und öffnen Sie es dort.",
};
