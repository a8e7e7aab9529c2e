const MOST = 12;

// The pictures drawn so far, the newest first; a click shows one again, so that budgets can be told apart by eye.
export function remember(list, drawn, show) {
  const item = document.createElement("li");
  const button = Object.assign(document.createElement("button"), { type: "button", title: drawn.caption });
  const picture = Object.assign(document.createElement("img"), { src: drawn.url, alt: drawn.prompt });
  const steps = Object.assign(document.createElement("span"), { textContent: drawn.label });
  button.append(picture, steps);
  button.addEventListener("click", () => show(drawn));
  item.append(button);
  list.prepend(item);
  for (const old of [...list.children].slice(MOST)) {
    URL.revokeObjectURL(old.querySelector("img").src);
    old.remove();
  }
}
