/** The vectors of test/protobuf/, and what a decoder makes of one. */
import { createFileRegistry, type DescMessage, fromBinary, toBinary } from "@bufbuild/protobuf";
import { FileDescriptorSetSchema } from "@bufbuild/protobuf/wkt";

export interface Vector {
  readonly name: string;
  /** "vectors.All" or "vectors.Old". */
  readonly type: string;
  readonly bytes: string;
  /** The message as upb writes it again; `null` where upb refuses the bytes. */
  readonly again: string | null;
  /** The difference between protobuf-es' fromBinary() and upb, if there is one. */
  es?: "accepts" | "refuses" | "reads another message";
}

export interface Vectors {
  readonly about: readonly string[];
  readonly protobuf: string;
  readonly schema: string;
  readonly vectors: Vector[];
  /** Of the type vectors.All. */
  readonly fuzz: readonly Pick<Vector, "bytes" | "again">[];
}

/** The types of the messages, by name. */
export function typesOf({ schema }: Vectors): (name: string) => DescMessage {
  const registry = createFileRegistry(
    fromBinary(FileDescriptorSetSchema, Buffer.from(schema, "base64")),
  );
  return (name) => registry.getMessage(name) as DescMessage;
}

/** The message that `decode` makes of the bytes, written again; `null` if it refuses them. */
export function written(
  type: DescMessage,
  hex: string,
  decode: (bytes: Buffer) => object,
): string | null {
  let message: object;
  try {
    message = decode(Buffer.from(hex, "hex"));
  } catch {
    return null;
  }
  return Buffer.from(toBinary(type, message as never)).toString("hex");
}
