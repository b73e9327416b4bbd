import type { DescMethod, DescService, Registry } from "@bufbuild/protobuf";
import { usageError } from "../examples/terminal/command.ts";
import { nearest } from "../examples/terminal/nearest.ts";

/** What is known of services: by a server's reflection, or by .proto files. */
export interface Contract {
  /** Where it comes from, for errors: "the server", or the directory. */
  readonly source: string;
  /** Returns the names of all services, sorted. */
  serviceNames(): Promise<readonly string[]>;
  /** Describes a service; `undefined` if there is none of that name. */
  describe(service: string): Promise<Description | undefined>;
}

export interface Description {
  readonly service: DescService;
  /** The types that come with the service, for a google.protobuf.Any. */
  readonly registry: Registry;
}

/** A method, and the types that a google.protobuf.Any in its messages may have. */
export interface Target {
  readonly method: DescMethod;
  readonly registry: Registry;
}

/** The name of a method as the user types it: `example.Greeter/Chat`. */
export interface MethodName {
  readonly service: string;
  readonly method: string;
}

/** Returns the name of a method as a user types it. */
export function nameOf({ parent, name }: DescMethod): string {
  return `${parent.typeName}/${name}`;
}

/** Finds a method. Throws a usageError() with the most similar name if there is none. */
export async function findMethod(
  contract: Contract,
  { service: name, method: wanted }: MethodName,
): Promise<Target> {
  const found = await contract.describe(name);
  if (found === undefined) {
    const names = await contract.serviceNames();
    throw usageError(`${contract.source} has no service ${name}: ${remedy(name, names)}`);
  }
  const { service, registry } = found;
  const method = service.methods.find((one) => one.name === wanted);
  if (method !== undefined) return { method, registry };
  const names = service.methods.map((one) => one.name);
  throw usageError(`${service.typeName} has no method ${wanted}: ${remedy(wanted, names)}`);
}

function remedy(typed: string, names: readonly string[]): string {
  const near = nearest(typed, names);
  if (near !== undefined) return `did you mean ${near}?`;
  return names.length === 0 ? "it has none" : `there is ${names.join(", ")}`;
}
