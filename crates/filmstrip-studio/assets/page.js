// What all pages share. Pages work without it.

/// Asks for a page and resolves to its status and its document. `fetch` would give text, and text must not become
/// markup here: only the browser's own parser makes documents, and runs no script in them.
export function request(method, url, headers = {}) {
  return new Promise((resolve, reject) => {
    const asked = new XMLHttpRequest();
    asked.open(method, url);
    asked.responseType = "document";
    // Also what has no type, because it has no body.
    asked.overrideMimeType("text/html");
    for (const [name, value] of Object.entries(headers)) asked.setRequestHeader(name, value);
    asked.onload = () => resolve({ status: asked.status, page: asked.response });
    asked.onerror = () => reject(new Error("The studio does not answer."));
    asked.send();
  });
}

/// Takes the children of an element of another document.
export function replace(id, page) {
  const [old, made] = [document.getElementById(id), page.getElementById(id)];
  old.replaceChildren(...made.childNodes);
}

/// Whether a key belongs to the field that has the focus.
export function isTyping(event) {
  const field = event.target.closest?.("input, textarea, select, dialog");
  return event.ctrlKey || event.metaKey || event.altKey || (field && field.type !== "range");
}

document.addEventListener("keydown", (event) => {
  if (event.key === "/" && !isTyping(event)) {
    event.preventDefault();
    document.getElementById("go").focus();
  }
});
