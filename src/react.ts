/** Calls in React components: `import { useDuplex, useWatch } from "hawser/react"`. */
export type { CallData } from "./react/call-store.ts";
export { useCallState } from "./react/use-call-state.ts";
export { type DuplexData, type UseDuplexOptions, useDuplex } from "./react/use-duplex.ts";
export { type UseWatchOptions, useWatch } from "./react/use-watch.ts";
