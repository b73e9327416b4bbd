/**
 * Whether calls of the tests have sessions, unless a test says otherwise. `HAWSER_SESSIONS=off` says no: the behaviours
 * of calls are tested both ways, by two projects of vitest.config.ts.
 */
export const sessions = process.env.HAWSER_SESSIONS !== "off";

/**
 * Whether the clients of most tests reach their server through a WebSocket. `HAWSER_WEB_SOCKET=1` says so: many behaviours of
 * calls are tested there as well, by a third project of vitest.config.ts.
 */
export const inWebSocket = process.env.HAWSER_WEB_SOCKET === "1";

/** Whether they are clients of hawser/web. `HAWSER_WEB=1` says so: a fourth project of vitest.config.ts. */
export const isWeb = process.env.HAWSER_WEB === "1";

/**
 * Whether their calls are made in a page of Chromium. `HAWSER_PAGE=1` says so: a project of vitest.browser.config.ts. The test
 * and its server stay in this process.
 */
export const inPage = process.env.HAWSER_PAGE === "1";
