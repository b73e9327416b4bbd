/** gRPC's interop suite: grpc-go's client against our server, and our client against grpc-go's server. */
import { createServer, type ServerOptions } from "../../src/server.ts";
import { certFile, certs } from "../support/tls.ts";
import { runSuiteClient, startSuiteServer } from "./grpc-go-programs.ts";
import { check } from "./report.ts";
import { cases } from "./suite.ts";
import { testServices } from "./test-service.ts";

/** Loads that a server reports reach this balancer, which the client has for its cases of them. */
const BALANCER = '{"loadBalancingConfig":[{"test_backend_metrics_load_balancer":{}}]}';

const SOAK = [
  ...["-soak_iterations=40", "-soak_num_threads=4", "-soak_overall_timeout_seconds=15"],
  "-soak_per_iteration_max_acceptable_latency_ms=5000",
];

/**
 * Every case of grpc-go's client, with its flags, but for those that need Google's credentials: compute_engine_creds,
 * service_account_creds, jwt_token_creds, per_rpc_creds, oauth2_auth_token, google_default_credentials and
 * compute_engine_channel_credentials.
 */
const CASES: Record<string, readonly string[]> = {
  empty_unary: [],
  large_unary: [],
  client_streaming: [],
  server_streaming: [],
  ping_pong: [],
  empty_stream: [],
  timeout_on_sleeping_server: [],
  cancel_after_begin: [],
  cancel_after_first_response: [],
  status_code_and_message: [],
  special_status_message: [],
  custom_metadata: [],
  unimplemented_method: [],
  unimplemented_service: [],
  pick_first_unary: [],
  rpc_soak: SOAK,
  channel_soak: SOAK,
  orca_per_rpc: [`-service_config_json=${BALANCER}`],
  orca_oob: [`-service_config_json=${BALANCER}`],
};

/** How many of the suite's clients run at the same time. */
const AT_ONCE = 4;

async function theirClient(
  what: string,
  options: Partial<ServerOptions>,
  flags: string[],
): Promise<void> {
  const server = createServer({ routes: testServices, ...options });
  const { port } = await server.listen({ port: 0 });
  const left = Object.entries(CASES);
  const worker = async () => {
    for (let next = left.shift(); next !== undefined; next = left.shift()) {
      const [name, own] = next;
      await check(`grpc-go's interop client, ${what}: ${name}`, () =>
        runSuiteClient(`-test_case=${name}`, `-server_port=${port}`, ...flags, ...own),
      );
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, worker));
  await check(`grpc-go's interop client, ${what}: the server closes`, () => server.close());
}

export async function grpcGoClientAgainstOurs(): Promise<void> {
  await theirClient("cleartext", {}, []);
  await theirClient("TLS", { tls: certs.server }, [
    ...["-use_tls", "-use_test_ca", "-ca_file", certFile("ca.pem")],
  ]);
}

export async function oursAgainstGrpcGoServer(): Promise<void> {
  {
    await using server = await startSuiteServer();
    await oursAgainst("cleartext", { baseUrl: `http://127.0.0.1:${server.port}` });
  }
  const keyPair = [
    "-tls_cert_file",
    certFile("server.pem"),
    "-tls_key_file",
    certFile("server.key"),
  ];
  await using server = await startSuiteServer("-use_tls", ...keyPair);
  await oursAgainst("TLS", {
    baseUrl: `https://127.0.0.1:${server.port}`,
    tls: { ca: certs.ca },
  });
}

async function oursAgainst(what: string, options: Parameters<typeof cases>[0]): Promise<void> {
  for (const [name, run] of Object.entries(cases(options))) {
    await check(`grpc-go's interop server, ${what}: ${name}`, run);
  }
}
