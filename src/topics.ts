/** The entry of topics: `import { createHub, memoryLog } from "hawser/topics"`. */
import "./node/runtime.ts";

export { decodeMessage, encodeMessage } from "./codec/stored-message.ts";
export type { Logger } from "./observe/logger.ts";
export { type AnnounceOptions, createHub, type Hub, type HubOptions } from "./topics/hub/hub.ts";
export type { HubEvent, SubscribeOptions, Subscription } from "./topics/hub/subscription.ts";
export type {
  Appended,
  AppendOptions,
  NewRecord,
  PageLimits,
  Retention,
  TopicGap,
  TopicItem,
  TopicLog,
  TopicPosition,
  TopicRecord,
} from "./topics/log.ts";
export { type MemoryLogOptions, memoryLog } from "./topics/memory.ts";
export { compareTopics, placeInTopics } from "./topics/topic-order.ts";
