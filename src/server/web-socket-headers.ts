/** Headers of the connection, and of the handshake (RFC 6455, 4.1): they say nothing of the client. */
const OF_HANDSHAKE = /^(connection|upgrade|sec-websocket-.*)$/;

/**
 * Returns the headers of a call in a WebSocket, with those of the request that opened the WebSocket. These win: a browser and
 * its proxies have written them, and the others a script. But the credentials of a call are its own.
 */
export function withWebSocketHeaders(ofCall: Headers, ofWebSocket: Headers): Headers {
  const headers = new Headers(ofCall);
  ofWebSocket.forEach((value, name) => {
    if (OF_HANDSHAKE.test(name) || (name === "authorization" && headers.has(name))) return;
    headers.set(name, value);
  });
  return headers;
}
