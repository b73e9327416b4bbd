/**
 * Interceptors of a test that run around calls of a page: the page has one in their place, which asks the test's. What may
 * change on the way passes; the response's trailers, which come last, do not.
 */
import type { DescService } from "@bufbuild/protobuf";
import type { Interceptor, StreamRequest, UnaryRequest } from "@connectrpc/connect";

type Request = UnaryRequest | StreamRequest;
type Response = Awaited<ReturnType<ReturnType<Interceptor>>>;

/** What passes of a request, and what returns. */
type RequestParts = Pick<
  Request,
  "stream" | "url" | "requestMethod" | "header" | "signal" | "contextValues" | "message"
> & { readonly service: string; readonly method: string };
type ChangedRequest = Pick<Request, "header" | "message">;
type ResponseParts = Pick<Response, "stream" | "header" | "trailer" | "message">;
type ChangedResponse = Pick<Response, "header" | "message">;

type Next = (request: ChangedRequest) => Promise<ResponseParts>;

/** An interceptor of the test, as the page calls it. */
export type RemoteInterceptor = (request: RequestParts, next: Next) => Promise<ChangedResponse>;

/** In the test: what the page may call for an interceptor. */
export function toRemote(
  interceptor: Interceptor,
  serviceOf: (name: string) => DescService,
): RemoteInterceptor {
  return async ({ service: name, method: methodName, ...parts }, next) => {
    const service = serviceOf(name);
    const method = service.methods.find(({ name }) => name === methodName);
    const around = interceptor(async ({ header, message }) => {
      const response = await next({ header, message } as ChangedRequest);
      return { ...response, service, method } as Response;
    });
    const { header, message } = await around({ ...parts, service, method } as Request);
    return { header, message } as ChangedResponse;
  };
}

/** In the page: an interceptor that asks the one of the test. */
export function ofRemote(remote: RemoteInterceptor): Interceptor {
  return (next) => async (request) => {
    const { stream, url, requestMethod, header, signal, contextValues, message } = request;
    let response: Response | undefined;
    const changed = await remote(
      {
        ...{ stream, url, requestMethod, header, signal, contextValues, message },
        service: request.service.typeName,
        method: request.method.name,
      },
      async (changed) => {
        response = await next({ ...request, ...changed } as Request);
        const { stream, header, trailer, message } = response;
        return { stream, header, trailer, message } as ResponseParts;
      },
    );
    if (response === undefined)
      throw new Error("an interceptor that does not call next() cannot answer");
    // The trailers of a stream are filled in later.
    const { trailer, ...rest } = response;
    return { ...rest, trailer, ...changed } as Response;
  };
}
