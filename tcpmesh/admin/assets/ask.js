// Questions before anything is changed, the forms of the endpoints, and how the answer is shown.

import { byId, say } from "./dom.js";

/** Ask; `act` is called if the answer is yes, and gives the text to show, or nothing. */
export function ask(title, text, word, act) {
  const dialog = byId("ask");
  const [yes, no, answer] = [byId("ask-yes"), byId("ask-no"), byId("ask-answer")];
  say(byId("ask-title"), title);
  say(byId("ask-text"), text);
  say(yes, word);
  say(no, "Cancel");
  answer.hidden = true;
  yes.hidden = yes.disabled = false;
  yes.onclick = async (event) => {
    event.preventDefault();
    yes.disabled = true;
    const said = await act();
    if (!said) {
      dialog.close();
      return;
    }
    yes.hidden = true;
    answer.hidden = false;
    say(answer, said);
    say(no, "Close");
    no.focus();
  };
  if (!dialog.open) dialog.showModal();
  no.focus();
}

/** Post to an endpoint; what it answered, with the status where that is not 200. */
export async function post(path, fields = {}) {
  try {
    const response = await fetch(path, { method: "POST", body: new URLSearchParams(fields) });
    const text = (await response.text()).slice(0, 10000).trim();
    return { ok: response.ok, text: response.ok ? text : `${response.status}: ${text}` };
  } catch (error) {
    return { ok: false, text: `no answer: ${error.message}` };
  }
}

/** The forms of endpoints that change something ask first, and show the answer here. */
export function takeOverForms(root) {
  root.addEventListener("submit", (event) => {
    const form = event.target;
    if (form.method !== "post") return;
    event.preventDefault();
    const path = form.getAttribute("action");
    const fields = [...new FormData(form)].filter(([, value]) => value !== "");
    const written = fields.map(([name, value]) => `${name}=${value}`).join("\n");
    ask(
      `POST /${path}`,
      [form.dataset.summary, written].filter(Boolean).join("\n\n"),
      "Send",
      async () => (await post(path, fields)).text || "OK",
    );
  });
}
