import type { TopicLog } from "../../src/topics/log.ts";

/** A log of which some methods are replaced. The caller disposes of the log below. */
export function logWith(log: TopicLog, own: Partial<TopicLog>): TopicLog {
  return {
    epoch: log.epoch,
    append: (topic, records) => log.append(topic, records),
    page: (topic, after, limits) => log.page(topic, after, limits),
    read: (topic, after, signal) => log.read(topic, after, signal),
    oldest: (topic) => log.oldest(topic),
    end: (topic) => log.end(topic),
    trim: (topic, upTo) => log.trim(topic, upTo),
    topics: (prefix, page) => log.topics(prefix, page),
    [Symbol.asyncDispose]: async () => {},
    ...own,
  };
}
