// What changes something: asked for once more, and sent with a header that no form can send.
import { replace, request } from "./page.js";

const dialog = document.getElementById("confirm");
const done = document.getElementById("done");
const sure = document.getElementById("confirm-sure");
const yes = document.getElementById("confirm-yes");

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
  yes.textContent = button.dataset.label;
  // What cannot be undone asks for one thing more, which the browser insists on.
  const isFinal = button.classList.contains("final");
  const box = sure.querySelector("input");
  sure.hidden = box.disabled = !isFinal;
  box.checked = false;
  yes.classList.toggle("final", isFinal);
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
  const { status, page } = await request("GET", location.href).catch(() => ({}));
  // What is old must not look as if it were true now.
  const shown = document.getElementById(id);
  if (status !== 200) {
    if (!shown.classList.contains("old")) {
      done.textContent = `The studio has not answered since ${new Date().toISOString().slice(11, 19)} UTC. What is shown is older.`;
    }
    shown.classList.add("old");
  } else if (!dialog.open) {
    if (shown.classList.contains("old")) done.textContent = "";
    shown.classList.remove("old");
    replace(id, page);
    reveal();
  }
}

if (document.getElementById("followers")) setInterval(() => refresh("followers"), 2000);
if (document.getElementById("verifying")) setTimeout(() => location.reload(), 1000);
reveal();
