/** grpc.health.v1 (gRPC doc/health-checking.md): by it balancers and orchestrators know whether a server takes calls. */
import type { DescService, MessageInitShape } from "@bufbuild/protobuf";
import { Code, type ConnectRouter, type HandlerContext } from "@connectrpc/connect";
import {
  type HealthCheckResponseSchema,
  Health as Service,
  HealthCheckResponse_ServingStatus as ServingStatus,
} from "../../gen/grpc/health/v1/health_pb.js";
import { failure, fromAbort, peerFailure } from "../failure.ts";
import { PullIterator, type PullSource } from "../flow/pull.ts";
import { onAbort } from "../flow/wait.ts";
import { abortSource } from "../grpc/context.ts";
import { oneOf, wrong } from "../options.ts";

/** Whether a service takes calls. */
export type HealthStatus = "SERVING" | "NOT_SERVING";

/** The health of a server, as balancers and orchestrators see it: the option `health` of createServer. */
export interface ServerHealth {
  /**
   * Sets the status of a service, and tells it to those who watch it. At first each service of `routes` is SERVING, and so is
   * the server as a whole, whose name is "". Neither follows from the other. Other names, such as "database", may be set too.
   * Does nothing once close() was called: everything is NOT_SERVING then.
   *
   * Throws FAILED_PRECONDITION if the server was made without `health: true`, and INVALID_ARGUMENT if an argument is not
   * valid.
   *
   * @param service a service of the generated code, or its full name: "example.Greeter"
   */
  set(service: DescService | string, status: HealthStatus): void;
}

/** The longest request: the name of a service. Strangers send it. */
const READ_MAX_BYTES = 4096;

type Response = MessageInitShape<typeof HealthCheckResponseSchema>;

/** The statuses of a server, and those who watch them. */
export class Health implements ServerHealth {
  /** Whether the server tells its health. */
  readonly isOn: boolean;
  readonly #statuses = new Map([["", ServingStatus.SERVING]]);
  readonly #watches = new Set<Watch>();
  readonly #draining: AbortSignal;
  #isShutDown = false;

  /** @param draining ends the calls of those who watch */
  constructor(isOn: boolean, draining: AbortSignal) {
    this.isOn = isOn;
    this.#draining = draining;
  }

  /**
   * Registers grpc.health.v1.Health, without interceptors, if it is on. Throws INVALID_ARGUMENT if the application has
   * registered it.
   *
   * @param services those of the application
   */
  register(router: ConnectRouter, services: readonly DescService[]): void {
    if (!this.isOn) return;
    for (const { typeName } of services) {
      if (typeName === Service.typeName) {
        const what = `health is true, and routes registers ${typeName} too: leave one`;
        throw failure(Code.InvalidArgument, `createServer: ${what}`);
      }
      this.#statuses.set(typeName, ServingStatus.SERVING);
    }
    const handlers = {
      check: ({ service }: { service: string }) => ({ status: this.#known(service) }),
      list: () => ({
        statuses: Object.fromEntries(
          [...this.#statuses].map(([name, status]) => [name, { status }]),
        ),
      }),
      watch: ({ service }: { service: string }, context: HandlerContext) =>
        this.#watch(service, context),
    };
    router.service(Service, handlers, { interceptors: [], readMaxBytes: READ_MAX_BYTES });
  }

  set(service: DescService | string, status: HealthStatus): void {
    const of = "health.set";
    const name = typeof service === "string" ? service : service?.typeName;
    if (typeof name !== "string") {
      throw wrong({ of, option: "service" }, service, "a service of the generated code, or a name");
    }
    oneOf("SERVING", "NOT_SERVING")(status, { of, option: "status" });
    if (!this.isOn) {
      const what = `${of}(${JSON.stringify(name)}): the server does not tell its health: createServer({ health: true })`;
      throw failure(Code.FailedPrecondition, what);
    }
    if (!this.#isShutDown) this.#set(name, ServingStatus[status]);
  }

  /** Sets all statuses to NOT_SERVING, for good. */
  shutDown(): void {
    this.#isShutDown = true;
    for (const name of this.#statuses.keys()) this.#set(name, ServingStatus.NOT_SERVING);
  }

  #set(name: string, status: ServingStatus): void {
    this.#statuses.set(name, status);
    for (const watch of this.#watches) if (watch.service === name) watch.onChange();
  }

  #known(service: string): ServingStatus {
    const status = this.#statuses.get(service);
    if (status !== undefined) return status;
    const what = `the server has no service ${JSON.stringify(service.slice(0, 200))}`;
    throw peerFailure(Code.NotFound, what);
  }

  #watch(service: string, context: HandlerContext): AsyncIterable<Response> {
    const status = () => this.#statuses.get(service) ?? ServingStatus.SERVICE_UNKNOWN;
    const watch = new Watch({ service, status }, (watch) => this.#watches.delete(watch));
    this.#watches.add(watch);
    for (const source of [abortSource(context), this.#draining]) {
      watch.endWith(onAbort(source, (reason) => watch.updates.close(fromAbort(reason))));
    }
    return watch.updates;
  }
}

/** What is watched. */
interface Watched {
  readonly service: string;
  /** Returns the status that it has now. */
  readonly status: () => ServingStatus;
}

/** A call of Watch: it is told the newest status of a service, if that is not what it was told before. */
class Watch implements PullSource<Response> {
  readonly service: string;
  readonly updates: PullIterator<Response>;
  readonly #status: () => ServingStatus;
  readonly #onEnd: (watch: Watch) => void;
  readonly #listening: Disposable[] = [];
  #told: ServingStatus | undefined;
  #hasEnded = false;

  constructor({ service, status }: Watched, onEnd: (watch: Watch) => void) {
    this.service = service;
    this.#status = status;
    this.#onEnd = onEnd;
    this.updates = new PullIterator(this);
  }

  onChange(): void {
    this.updates.wake();
  }

  /** Disposes what ends with the call: now, if it has ended. */
  endWith(listening: Disposable): void {
    if (this.#hasEnded) listening[Symbol.dispose]();
    else this.#listening.push(listening);
  }

  take(): Response | undefined {
    const status = this.#status();
    if (status === this.#told) return undefined;
    this.#told = status;
    return { status };
  }

  onDry(): void {}

  onEnd(): void {
    this.#hasEnded = true;
    this.#onEnd(this);
    for (const listening of this.#listening) listening[Symbol.dispose]();
  }
}
