import type {
  DescMessage,
  DescMethodStreaming,
  DescMethodUnary,
  MessageShape,
} from "@bufbuild/protobuf";
import type { StreamResponse, UnaryResponse } from "@connectrpc/connect";

/** The call of a response: has the headers and the trailers, and makes them when they are read. */
interface Answered {
  readonly header: Headers;
  readonly trailer: Headers;
}

/**
 * A response as the client of a call reads it. Its accessors are not its own properties, because an object literal with
 * accessors would be a sixth of an idle call: a copy by spreading lacks what they return. See wholeResponse().
 */
abstract class CallResponse<Method extends DescMethodUnary | DescMethodStreaming, Message> {
  readonly method: Method;
  readonly message: Message;
  readonly #call: Answered;

  constructor(method: Method, message: Message, call: Answered) {
    this.method = method;
    this.message = message;
    this.#call = call;
  }

  get service() {
    return this.method.parent;
  }

  get header(): Headers {
    return this.#call.header;
  }

  get trailer(): Headers {
    return this.#call.trailer;
  }
}

export class UnaryCallResponse<I extends DescMessage, O extends DescMessage>
  extends CallResponse<DescMethodUnary<I, O>, MessageShape<O>>
  implements UnaryResponse<I, O>
{
  get stream() {
    return false as const;
  }
}

export class StreamingCallResponse<I extends DescMessage, O extends DescMessage>
  extends CallResponse<DescMethodStreaming<I, O>, AsyncIterable<MessageShape<O>>>
  implements StreamResponse<I, O>
{
  get stream() {
    return true as const;
  }
}

/** Returns a response that can be copied by spreading, as interceptors and other users of Connect's interface do. */
export function wholeResponse<R extends UnaryResponse | StreamResponse>(response: R): R {
  const { stream, service, method, message } = response;
  return {
    stream,
    service,
    method,
    message,
    // Getters, because most callers never read them.
    get header() {
      return response.header;
    },
    get trailer() {
      return response.trailer;
    },
  } as R;
}
