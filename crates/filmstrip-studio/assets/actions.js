// What changes something: asked for once more, and sent with a header that no form can send.
import { replace, request } from "./page.js";

const dialog = document.getElementById("confirm");
const done = document.getElementById("done");

function reveal() {
  for (const button of document.querySelectorAll("button[data-action]")) button.hidden = false;
}

async function act(address) {
  try {
    const { status, page } = await request("POST", address, { "x-filmstrip-studio": "1" });
    if (status < 300) return location.reload();
    done.textContent = page?.querySelector(".fault p")?.textContent ?? `The studio answered ${status}.`;
  } catch (error) {
    done.textContent = error.message;
  }
}

document.addEventListener("click", (event) => {
  const button = event.target.closest?.("button[data-action]");
  if (!button) return;
  document.getElementById("confirm-title").textContent = button.dataset.title;
  document.getElementById("confirm-text").textContent = button.dataset.confirm;
  document.getElementById("confirm-yes").textContent = button.dataset.label;
  dialog.onclose = () => {
    if (dialog.returnValue === "yes") act(button.dataset.action);
  };
  dialog.returnValue = "no";
  dialog.showModal();
});

/// Shows what is true now, unless the person is busy with it.
async function refresh(id) {
  const isBusy = dialog.open || document.getElementById(id).contains(document.activeElement);
  if (isBusy || document.hidden) return;
  const { status, page } = await request("GET", location.href);
  if (status === 200 && !dialog.open) {
    replace(id, page);
    reveal();
  }
}

if (document.getElementById("followers")) setInterval(() => refresh("followers").catch(() => {}), 2000);
if (document.getElementById("verifying")) setTimeout(() => location.reload(), 1000);
reveal();
