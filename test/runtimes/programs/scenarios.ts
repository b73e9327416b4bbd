import { callScenarios } from "./calls.ts";
import { limitScenarios } from "./limits.ts";
import { networkScenarios } from "./network.ts";
import type { Scenario } from "./scenario.ts";
import { tlsScenarios } from "./tls.ts";
import { webScenarios } from "./web.ts";

/** All scenarios, in the order of docs/runtimes.md. */
export const scenarios: readonly Scenario[] = [
  ...callScenarios,
  ...tlsScenarios,
  ...webScenarios,
  ...limitScenarios,
  ...networkScenarios,
];
