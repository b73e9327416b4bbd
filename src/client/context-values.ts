import { type ContextKey, type ContextValues, createContextValues } from "@connectrpc/connect";
import { type CallOptions, compressRequests, sessionsOption } from "./call-options.ts";

/** The context values of a call: the caller's, and over them what Hawser adds. */
export function contextValuesOf(options: CallOptions | undefined): ContextValues | undefined {
  let values = options?.contextValues;
  if (options?.compress !== undefined) values = over(values, compressRequests, options.compress);
  if (options?.sessions !== undefined) values = over(values, sessionsOption, options.sessions);
  return values;
}

/** Values with one more, which the caller's own do not get to see. */
export function over<T>(
  values: ContextValues | undefined,
  key: ContextKey<T>,
  value: T,
): ContextValues {
  const added = createContextValues().set(key, value);
  if (values === undefined) return added;
  const of = (id: symbol) => (id === key.id ? added : values);
  return {
    get: (key) => of(key.id).get(key),
    set(key, value) {
      of(key.id).set(key, value);
      return this;
    },
    delete(key) {
      of(key.id).delete(key);
      return this;
    },
  };
}
