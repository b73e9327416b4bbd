// Made by scripts/api.ts: npm run api. What the entry exports, in alphabetical order.

export interface CallData<State> {
    readonly data: State;
    readonly state: CallState;
    readonly error: ConnectError | undefined;
    restart(): void;
}

export interface DuplexData<Req, State> extends CallData<State> {
    send(message: Req): Promise<void>;
    closeSend(): void;
}

export interface UseDuplexOptions<Res, State> {
    readonly initial: State;
    readonly reduce: (data: State, response: Res) => State;
}

export interface UseWatchOptions<Res, State> {
    readonly initial: State;
    readonly reduce: (data: State, response: Res) => State;
}

export declare function useCallState(call: Stateful): CallState;

export declare function useDuplex<I extends DescMessage, O extends DescMessage, State>(open: BidirectionalCall<I, O>, options: UseDuplexOptions<MessageShape<O>, State>): DuplexData<MessageInitShape<I>, State>;

export declare function useWatch<Req, Res, State>(watch: (request: Req, options?: CallOptions) => ServerStream<Res>, request: NoInfer<Req>, options: UseWatchOptions<Res, State>): CallData<State>;

// Types that these mention, and that cannot be imported.

interface BidirectionalCall<I extends DescMessage, O extends DescMessage> {
    (options?: CallOptions): Duplex<Req<I>, Res<O>>;
    (requests: AsyncIterable<Req<I>>, options?: CallOptions): ServerStream<Res<O>>;
}

type CallHeaders = HeadersInit | HeadersFunction;

interface CallOptions extends Omit<ConnectCallOptions, "headers"> {
    headers?: CallHeaders;
    compress?: boolean;
    sessions?: SessionsOption;
}

type CallState = "connecting" | "open" | "resuming" | "closed";

interface Duplex<Req, Res> extends Ongoing, AsyncIterable<Res> {
    send(message: Req): Promise<void>;
    closeSend(): void;
}

type HeadersFunction = () => HeadersInit | Promise<HeadersInit>;

interface Ongoing extends AsyncDisposable {
    readonly headers: Promise<Headers>;
    readonly trailers: Promise<Headers>;
    readonly state: CallState;
    readonly resumable: boolean;
    onState(listener: (state: CallState) => void): Disposable;
    cancel(reason?: unknown): void;
}

type Req<I extends DescMessage> = MessageInitShape<I>;

type Res<O extends DescMessage> = MessageShape<O>;

interface ServerStream<Res> extends Ongoing, AsyncIterable<Res> {
}

interface SessionWindowOptions {
    windowBytes?: number;
    windowMessages?: number;
}

type SessionsOption = boolean | "required" | SessionWindowOptions;

interface Stateful {
    readonly state: CallState;
    onState(listener: (state: CallState) => void): Disposable;
}
