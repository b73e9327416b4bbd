import { everyKind } from "./every-kind.ts";

/** A function for the option `headers` that returns a new token each time: "token 1", "token 2" … */
export function tokens(name = "authorization") {
  let count = 0;
  return async () => ({ [name]: `token ${++count}` });
}

/** Handlers of every kind that note the metadata of their calls. */
export function noting() {
  const seen: Headers[] = [];
  const greeter = everyKind(({ requestHeader }) => {
    seen.push(requestHeader);
    return {};
  });
  const value = (name: string) => seen.map((headers) => headers.get(name));
  return { seen, greeter, value };
}
