import { type DescFile, type DescService, toBinary } from "@bufbuild/protobuf";
import { nestedTypes } from "@bufbuild/protobuf/reflect";
import { FileDescriptorProtoSchema } from "@bufbuild/protobuf/wkt";

/**
 * The .proto files of services, and all that these import, as server reflection shows them: by their names, and by what they
 * declare. The index is made when it is first asked, and each file is encoded once.
 */
export class ReflectedFiles {
  readonly #services: readonly DescService[];
  readonly #more: readonly DescFile[];
  #index: FileIndex | undefined;
  readonly #encoded = new Map<DescFile, Uint8Array>();

  /** @param more files beside those of the services, which come first if they have the same names */
  constructor(services: readonly DescService[], more: readonly DescFile[]) {
    this.#services = services;
    this.#more = more;
  }

  /** @param name as other files import it: "example/greeter.proto" */
  byName(name: string): DescFile | undefined {
    return this.#indexed().files.get(name);
  }

  /**
   * Returns the file that declares a message, an enum, a service or an extension, or one of their fields, oneofs, values or
   * methods.
   *
   * @param symbol its full name: "example.Greeter.Chat"
   */
  bySymbol(symbol: string): DescFile | undefined {
    return this.#indexed().symbols.get(symbol);
  }

  /** Returns the files of the extensions of a message type, by their numbers; `undefined` if there is no such type. */
  extensionsOf(typeName: string): ReadonlyMap<number, DescFile> | undefined {
    return this.#indexed().extensions.get(typeName);
  }

  /** Returns a file as a serialized google.protobuf.FileDescriptorProto. Options that are not known here are in it. */
  encode(file: DescFile): Uint8Array {
    let bytes = this.#encoded.get(file);
    if (bytes === undefined) {
      bytes = toBinary(FileDescriptorProtoSchema, file.proto);
      this.#encoded.set(file, bytes);
    }
    return bytes;
  }

  #indexed(): FileIndex {
    this.#index ??= indexOf([...this.#services.map(({ file }) => file), ...this.#more]);
    return this.#index;
  }
}

interface FileIndex {
  readonly files: ReadonlyMap<string, DescFile>;
  readonly symbols: ReadonlyMap<string, DescFile>;
  /** By the type that they extend. Each message type has an entry. */
  readonly extensions: ReadonlyMap<string, ReadonlyMap<number, DescFile>>;
}

function indexOf(roots: readonly DescFile[]): FileIndex {
  const files = new Map<string, DescFile>();
  for (const file of roots.flatMap((root) => [...withImports(root)])) {
    const { name } = file.proto;
    if (!files.has(name)) files.set(name, file);
  }
  const symbols = new Map<string, DescFile>();
  const extensions = new Map<string, Map<number, DescFile>>();
  const extensionsOf = (typeName: string) => {
    let numbers = extensions.get(typeName);
    if (numbers === undefined) {
      numbers = new Map();
      extensions.set(typeName, numbers);
    }
    return numbers;
  };
  for (const file of files.values()) {
    for (const type of nestedTypes(file)) {
      symbols.set(type.typeName, file);
      if (type.kind === "message") extensionsOf(type.typeName);
      if (type.kind === "extension") extensionsOf(type.extendee.typeName).set(type.number, file);
      for (const name of membersOf(type)) symbols.set(name, file);
    }
  }
  return { files, symbols, extensions };
}

/** Returns the full names of what is declared in a type. */
function membersOf(type: ReturnType<typeof nestedTypes> extends Iterable<infer T> ? T : never) {
  const { typeName } = type;
  switch (type.kind) {
    case "message":
      return [...type.fields, ...type.oneofs].map(({ name }) => `${typeName}.${name}`);
    case "enum":
      // As in C++, the values of an enum are named beside it.
      return type.values.map(({ name }) => typeName.slice(0, -type.name.length) + name);
    case "service":
      return type.methods.map(({ name }) => `${typeName}.${name}`);
    case "extension":
      return [];
  }
}

/** Returns a file, and after it all files that it imports, and that these import. */
export function withImports(file: DescFile): Set<DescFile> {
  const found = new Set([file]);
  // A Set is iterated in the order of insertion, with what is added meanwhile.
  for (const { dependencies } of found) for (const one of dependencies) found.add(one);
  return found;
}
