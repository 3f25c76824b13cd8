// Navigation on a machine with a network that changes meanwhile, as it does where a cluster runs beside: Chromium then ends every
// request, also those to loopback, with ERR_NETWORK_CHANGED.
const networkChanged = "ERR_NETWORK_CHANGED";
const attempts = 5;

// tellsOfNetwork says that a message is about nothing but such a change: visit repeats what it ended.
export const tellsOfNetwork = (text) => text.includes(networkChanged);

// visit is page.goto, again where the page or anything that it loads was ended by a change of the network, and in no other case.
export async function visit(page, url, options) {
  for (let attempt = 1; ; attempt++) {
    let changed = false;
    const look = (request) => { changed ||= tellsOfNetwork(request.failure()?.errorText ?? ""); };
    page.on("requestfailed", look);
    try {
      const answer = await page.goto(url, options);
      if (!changed) return answer;
    } catch (error) {
      if (!tellsOfNetwork(String(error))) throw error;
    } finally {
      page.off("requestfailed", look);
    }
    if (attempt === attempts) throw new Error(`${url}: the network changed during each of ${attempts} attempts`);
  }
}
