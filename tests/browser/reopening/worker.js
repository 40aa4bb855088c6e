// Opens the tab of an address that was closed last, with its session storage, as Ctrl+Shift+T does: a key that no test
// can press, as it is the browser's own.
globalThis.reopen = async (url) => {
  const closed = await chrome.sessions.getRecentlyClosed();
  const found = closed.find(({ tab, window }) => [tab, ...(window?.tabs ?? [])].some((one) => one?.url?.startsWith(url)));
  await chrome.sessions.restore((found.tab ?? found.window).sessionId);
};
