/**
 * Makes a producer that others cannot guess. A page has crypto.randomUUID() only over TLS, and on the machine of its server.
 */
export function randomProducer(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
