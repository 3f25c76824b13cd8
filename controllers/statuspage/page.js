"use strict";
// Reads the page again every ten seconds, but not while a person reads a part of it by keyboard or has selected text.
setInterval(async () => {
  const main = document.getElementById("main");
  if (document.hidden || main.contains(document.activeElement) || String(getSelection())) return;
  try {
    const answer = await fetch(location.href, { cache: "no-store" });
    if (!answer.ok) return;
    const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
    const count = (of) => of.querySelector("[data-count]")?.dataset.count;
    const before = count(document), after = count(fresh);
    main.replaceChildren(...fresh.getElementById("main").childNodes);
    document.getElementById("at").replaceWith(fresh.getElementById("at"));
    document.title = fresh.title;
    if (before !== after) document.getElementById("news").textContent = after + " problems are known.";
  } catch { /* the process restarts: the next reading tells */ }
}, 10000);
