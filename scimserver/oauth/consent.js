"use strict";
// Asks every two seconds whether a decision was made, and reads the page again once it was.
const request = document.getElementById("main").dataset.request;
const timer = setInterval(async () => {
  try {
    const answer = await fetch("state?request=" + encodeURIComponent(request), { cache: "no-store" });
    if (!answer.ok) return;
    const { state } = await answer.json();
    if (state === "pending") return;
    clearInterval(timer);
    document.getElementById("news").textContent = state === "approved" ? "Approved. Going back to Okta." : "There is a decision.";
    location.reload();
  } catch { /* the server is away for a moment: the next question tells */ }
}, 2000);
